"""From matching kernels and noise to whitening filters: pure functions on small arrays.

Filters are computed in Fourier space on a square grid of N x N pixels, as real transforms (..., N, N // 2 + 1).
"""

from __future__ import annotations

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
    "tail",
    "whitening_filter",
)

Array = NDArray[Any]


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


def kernel_transform(images: Array, shape: tuple[int, int]) -> Array:
    """Transforms of kernel images (..., h, w), their centres at the origin of a grid of the given shape."""
    height, width = images.shape[-2:]
    padded = np.zeros((*images.shape[:-2], *shape), dtype=images.dtype)
    padded[..., :height, :width] = images
    return forward(np.roll(padded, (-(height // 2), -(width // 2)), axis=(-2, -1)))


def noise_power(transforms: list[Array], variances: Array) -> Array:
    """Noise power spectrum of a difference, ``P_D(k) = sum_i sigma_i^2 |kappa_i(k)|^2``.

    Parameters
    ----------
    transforms
        For each input i the transforms (nodes, N, N // 2 + 1) of its kernel.
    variances
        Noise variances (inputs, nodes).

    Returns
    -------
    power
        Of shape (nodes, N, N // 2 + 1).

    References
    ----------
    Reiss & Lupton, DMTN-021, eq. 2; Kovacs, DMTN-179; Hu et al. 2022 (SFFT), ApJ 936, 157.
    """
    total: Array = np.zeros(transforms[0].shape)
    for transform, variance in zip(transforms, variances, strict=True):
        total += variance[:, None, None] * (transform.real**2 + transform.imag**2)
    return total


def whitening_filter(power: Array, max_gain: float) -> tuple[Array, float]:
    """The filter ``sqrt(P_D(0) / P_D(k))`` that whitens noise and keeps fluxes.

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
    Reiss & Lupton, DMTN-021, eq. 2.
    """
    zero = power[..., :1, :1]
    floor = zero / max_gain**2
    limited = float(np.mean(power < floor))
    return np.sqrt(zero / np.maximum(power, floor)), limited


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
    distance = np.minimum(np.arange(size), size - np.arange(size))
    ring = np.maximum(distance[:, None], distance[None, :]).ravel()
    sums = np.array([np.bincount(ring, image.ravel(), size // 2 + 1) for image in images])
    # Summed from outside, so that a small tail is not the difference of large numbers.
    outside: Array = sums[:, ::-1].cumsum(axis=1)[:, ::-1]
    return outside[:, 1:]
