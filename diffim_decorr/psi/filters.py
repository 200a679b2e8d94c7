"""From noise power spectra to the filters that whiten them: pure functions on small arrays.

Spectra are arrays (nodes, frequencies), of whatever frequencies are needed; that of frequency zero stands for itself.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ("score_filter", "squared", "whitening_filter")

Array = NDArray[Any]

_SCORE_FLOOR = 1e-10


def squared(real: Array, imaginary: Array | None) -> Array:
    """The squared amplitude of a transform, from its parts; None for one that is real."""
    power: Array = real**2
    if imaginary is not None:
        power += imaginary**2
    return power


def whitening_filter(power: Array, zero: Array, max_gain: float) -> tuple[Array, float]:
    """The filter ``sqrt(P_D(0) / P_D(k))`` that whitens noise and keeps fluxes.

    Where it would exceed the largest gain it levels off smoothly: a sharp limit would ring.

    Parameters
    ----------
    power
        Noise power of the difference (nodes, frequencies), the sum of ``σ_i² ρ̂_i(k) |κ̂_i(k)|²`` over its inputs;
        overwritten.
    zero
        That at frequency zero (nodes, 1).
    max_gain
        Limit of the filter relative to its value at k = 0.

    Returns
    -------
    filter
        Of the shape of the power.
    limited
        The fraction of frequencies at which the filter was limited.

    References
    ----------
    Reiss & Lupton, DMTN-021, eq. 2; DMTN-061 (artefacts of filters that diverge); Hu et al. 2022 (SFFT), ApJ 936, 157.
    """
    floor = zero / max_gain**2
    limited = np.count_nonzero(power < floor) / power.size
    power += floor
    np.divide(zero + floor, power, out=power)
    return np.sqrt(power, out=power), limited


def score_filter(power: Array, zero: Array, science_power: Array, science_variance: Array) -> Array:
    """The filter that makes a pre-convolved difference the optimal detection ("score") image.

    It is ``P_0 / (σ_s² + σ_t² |κ̂|² / |p̂|²)``, and not a square root.

    Parameters
    ----------
    power
        Noise power (nodes, frequencies) of the difference, ``σ_s² |p̂|² + σ_t² |κ̂|²``.
    zero
        That at frequency zero (nodes, 1).
    science_power
        The science image's part in it if its noise is white, ``σ_s² |p̂|²``.
    science_variance
        Noise variance (nodes, 1) of the science image.

    References
    ----------
    Kovacs, DMTN-179.
    """
    # Where neither PSF nor matching kernel has power, both are rounding errors and so is the difference. The filter
    # goes over smoothly to what it is without a template, instead of to a ratio of rounding errors.
    floor = _SCORE_FLOOR * science_variance
    filtered: Array = (science_power + floor) / (power + floor)
    filtered *= zero / science_variance
    return filtered
