"""What a detection code makes of an image: a matched filter, peaks, and how noise scatters."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import maximum_filter
from scipy.signal import fftconvolve

from diffim_decorr.kernels.spatial import SpatialKernel

__all__ = ("CELL", "block_scatter", "cell_spread", "matched_filter", "odd", "peaks", "robust")

Array = NDArray[Any]

_TILE = 128
BLOCK, CELL = 8, 64


def matched_filter(image: Array, variance: Array, use: Array, psf: Array | SpatialKernel) -> tuple[Array, Array]:
    """Flux of a point source at each pixel and its error, as if the noise were white.

    Parameters
    ----------
    image, variance
        Pixels (ny, nx).
    use
        Pixels that have weight.
    psf
        Of sum 1. One that varies is taken at the middle of tiles of 128 pixels.

    Returns
    -------
    flux, error
        ``Σφ D/V / Σφ²/V`` and ``1 / sqrt(Σφ²/V)``.
    """
    weight = np.where(use, 1 / np.where(use, variance, 1), 0)
    weighted = weight * np.where(use, image, 0)
    if not isinstance(psf, SpatialKernel):
        return _filtered(weighted, weight, psf)
    flux, error = np.empty(image.shape), np.empty(image.shape)
    margin = max(psf.shape) // 2 + 1
    padded = [np.pad(plane, margin) for plane in (weighted, weight)]
    for y in range(0, image.shape[0], _TILE):
        for x in range(0, image.shape[1], _TILE):
            window = np.s_[y : y + _TILE + 2 * margin, x : x + _TILE + 2 * margin]
            inner = np.s_[margin:-margin, margin:-margin]
            own = np.s_[y : y + _TILE, x : x + _TILE]
            parts = _filtered(*(plane[window] for plane in padded), psf.at(x + _TILE / 2, y + _TILE / 2))
            flux[own], error[own] = (part[inner] for part in parts)
    return flux, error


def _filtered(weighted: Array, weight: Array, psf: Array) -> tuple[Array, Array]:
    psf = odd(psf)[::-1, ::-1]
    top, bottom = fftconvolve(weighted, psf, "same"), fftconvolve(weight, psf**2, "same")
    bottom = np.maximum(bottom, 1e-12 * bottom.max())
    return top / bottom, 1 / np.sqrt(bottom)


def odd(psf: Array) -> Array:
    """The same PSF, its centre in the middle."""
    return np.pad(psf, [(0, 1 - size % 2) for size in psf.shape])


def peaks(significance: Array, use: Array, threshold: float) -> int:
    """Number of pixels above a threshold that are larger than their eight neighbours."""
    return int(np.count_nonzero((significance > threshold) & (significance == maximum_filter(significance, 3)) & use))


def robust(values: Array) -> float:
    """Standard deviation of Gaussian noise, from the median deviation."""
    return float(1.4826 * np.median(np.abs(values - np.median(values)))) if values.size else float("nan")


def _in_squares(image: Array, size: int) -> Array:
    """Pixels (squares, size²) of whole squares."""
    rows, columns = (length // size for length in image.shape)
    cut = image[: rows * size, : columns * size].reshape(rows, size, columns, size)
    return cut.swapaxes(1, 2).reshape(rows * columns, size * size)


def block_scatter(image: Array, variance: Array, free: Array) -> float:
    """Scatter of means over blocks of 8 x 8 source-free pixels, over that of as many independent ones."""
    whole = _in_squares(free, BLOCK).all(axis=1)
    total, noise = (_in_squares(plane, BLOCK)[whole].astype(float).sum(axis=1) for plane in (image, variance))
    return robust(total / np.sqrt(noise))


def cell_spread(image: Array, variance: Array, free: Array) -> float:
    """Relative spread of the scatter in cells of 64 pixels, beyond that of its error."""
    snr = np.where(free, image, np.nan) / np.sqrt(np.where(free, variance, 1))
    found = [(robust(own), len(own)) for cell in _in_squares(snr, CELL) if len(own := cell[np.isfinite(cell)]) > 800]
    if len(found) < 4:
        return float("nan")
    scatters, counts = np.array(found).T
    relative = scatters / np.average(scatters, weights=counts)
    return float(np.sqrt(max(np.mean((relative - 1) ** 2) - np.mean(1.1664**2 / counts), 0.0)))
