"""From noise power spectra to the filters that whiten them: pure functions on small arrays.

Filters are computed in Fourier space on a square grid of N x N pixels, as real transforms (..., N, N // 2 + 1).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ("noise_power", "score_filter", "whitening_filter")

Array = NDArray[Any]

_SCORE_FLOOR = 1e-10


def noise_power(transforms: list[Array], variances: Array, correlations: Sequence[Array | None]) -> Array:
    """Noise power spectra of a difference's inputs, ``σ_i² ρ̂_i(k) |κ̂_i(k)|²``; their sum is that of the difference.

    Parameters
    ----------
    transforms
        For each input i the transforms (nodes, N, N // 2 + 1) of its kernel.
    variances
        Noise variances (inputs, nodes).
    correlations
        For each input the transform (N, N // 2 + 1) of the correlation function of its noise, or None if it is white.

    Returns
    -------
    power
        Of shape (inputs, nodes, N, N // 2 + 1).

    References
    ----------
    Reiss & Lupton, DMTN-021, eq. 2; Hu et al. 2022 (SFFT), ApJ 936, 157.
    """
    powers = np.empty((len(transforms), *transforms[0].shape))
    for k, (transform, variance, correlation) in enumerate(zip(transforms, variances, correlations, strict=True)):
        powers[k] = variance[:, None, None] * (transform.real**2 + transform.imag**2)
        if correlation is not None:
            powers[k] *= correlation
    return powers


def whitening_filter(power: Array, max_gain: float) -> tuple[Array, float]:
    """The filter ``sqrt(P_D(0) / P_D(k))`` that whitens noise and keeps fluxes.

    Where it would exceed the largest gain it levels off smoothly: a sharp limit would ring.

    Parameters
    ----------
    power
        Noise power (..., N, N // 2 + 1).
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
    Reiss & Lupton, DMTN-021, eq. 2; DMTN-061 (artefacts of filters that diverge).
    """
    zero = power[..., :1, :1]
    floor = zero / max_gain**2
    limited = float(np.mean(power < floor))
    return np.sqrt((zero + floor) / (power + floor)), limited


def score_filter(power: Array, science_power: Array, science_variance: Array) -> Array:
    """The filter that makes a pre-convolved difference the optimal detection ("score") image.

    It is ``P_0 / (σ_s² + σ_t² |κ̂|² / |p̂|²)``, and not a square root.

    Parameters
    ----------
    power
        Noise power (nodes, N, N // 2 + 1) of the difference, ``σ_s² |p̂|² + σ_t² |κ̂|²``.
    science_power
        The science image's part in it if its noise is white, ``σ_s² |p̂|²``.
    science_variance
        Noise variance (nodes) of the science image.

    References
    ----------
    Kovacs, DMTN-179.
    """
    # Where neither PSF nor matching kernel has power, both are rounding errors and so is the difference. The filter
    # goes over smoothly to what it is without a template, instead of to a ratio of rounding errors.
    floor = _SCORE_FLOOR * science_variance[:, None, None]
    filtered: Array = (science_power + floor) / (power + floor)
    filtered *= power[:, :1, :1] / science_variance[:, None, None]
    return filtered
