"""From matching kernels and noise to whitening filters: pure functions on small arrays.

Filters are computed in Fourier space on a square grid of N x N pixels, as real transforms (..., N, N // 2 + 1).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import ducc0.fft
import numpy as np
from numpy.typing import NDArray

__all__ = (
    "centred_crop",
    "forward",
    "good_size",
    "inverse",
    "kernel_transform",
    "noise_power",
    "score_filter",
    "tail",
    "tail_peak",
    "whitening_filter",
)

Array = NDArray[Any]

_SCORE_FLOOR = 1e-10


def good_size(size: int) -> int:
    """The smallest even size, not below the given one, for which transforms are fast."""
    size = int(ducc0.fft.good_size(size, True))
    while size % 2:
        size = int(ducc0.fft.good_size(size + 1, True))
    return size


def forward(images: Array, out: Array | None = None) -> Array:
    """Real transform of images (..., h, w) over their last two axes."""
    axes = (images.ndim - 2, images.ndim - 1)
    result: Array = ducc0.fft.r2c(images, axes=axes, out=out)
    return result


def inverse(spectra: Array, width: int, out: Array | None = None) -> Array:
    """Inverse of `forward` for images of the given width; the spectra may be overwritten."""
    axes = (spectra.ndim - 2, spectra.ndim - 1)
    result: Array = ducc0.fft.c2r(
        spectra, axes=axes, lastsize=width, forward=False, inorm=2, out=out, allow_overwriting_input=True
    )
    return result


def kernel_transform(images: Array, shape: tuple[int, int], dtype: Any = np.complex128) -> Array:
    """Transforms of kernel images (..., h, w), their centres at the origin of a grid of the given shape."""
    height, width = images.shape[-2:]
    place = np.ix_((np.arange(height) - height // 2) % shape[0], (np.arange(width) - width // 2) % shape[1])
    result = np.empty((*images.shape[:-2], shape[0], shape[1] // 2 + 1), dtype)
    padded = np.zeros(shape)
    spectrum = np.empty(result.shape[-2:], np.complex128)
    # One by one, so that large grids need little memory besides the result.
    for image, out in zip(images.reshape(-1, height, width), result.reshape(-1, *spectrum.shape), strict=True):
        padded[place] = image
        out[...] = forward(padded, spectrum)
    return result


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


def centred_crop(images: Array, half_width: int) -> Array:
    """The pixels within a half-width of the origin of periodic images (..., N, N), with the origin in the middle."""
    offsets = np.arange(-half_width, half_width + 1)
    return images[..., offsets[:, None], offsets[None, :]]


def tail(images: Array) -> Array:
    """What lies outside each half-width, for periodic images (nodes, N, N) with their centre at the origin.

    Returns
    -------
    tail
        Sums (nodes, N // 2) of the pixels with max(abs(dx), abs(dy)) > h, for h = 0 to N // 2 - 1.
    """
    size = images.shape[-1]
    ring = _rings(size).ravel()
    sums = np.array([np.bincount(ring, image.ravel(), size // 2 + 1) for image in images])
    # Summed from outside, so that a small tail is not the difference of large numbers.
    outside: Array = sums[:, ::-1].cumsum(axis=1)[:, ::-1]
    return outside[:, 1:]


def tail_peak(images: Array) -> Array:
    """The largest value (nodes, N // 2) outside each half-width, as for `tail`."""
    size = images.shape[-1]
    ring = _rings(size).ravel()
    order = np.argsort(ring, kind="stable")
    begins = np.searchsorted(ring[order], np.arange(size // 2 + 1))
    peaks = np.maximum.reduceat(images.reshape(len(images), -1)[:, order], begins, axis=1)
    outside: Array = np.maximum.accumulate(peaks[:, ::-1], axis=1)[:, ::-1]
    return outside[:, 1:]


def _rings(size: int) -> Array:
    """Distance of the pixels (N, N) from the origin of a periodic image, along the axis where it is larger."""
    distance = np.minimum(np.arange(size), size - np.arange(size))
    return np.maximum(distance[:, None], distance[None, :])
