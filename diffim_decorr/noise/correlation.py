"""Correlation functions of noise."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from diffim_decorr.fft import forward, good_size, inverse_near
from diffim_decorr.noise.robust import median

__all__ = (
    "MAX_LAG",
    "autocorrelation",
    "correlation_function",
    "different_lags",
    "lagged_products",
    "max_abs_rho",
    "normalised",
    "on_grid",
    "paired",
    "positive",
    "power_of",
    "quick_median",
    "transforms",
)

Array = NDArray[Any]
Slices = tuple[slice, slice]

MAX_LAG = 5
_MEDIAN_SAMPLE = 16_384
_SMALLEST_POWER = 2e-3  # of a measured noise spectrum, relative to its largest value


def different_lags(most: int) -> list[tuple[int, int]]:
    """Lags (y, x) up to one along each axis, zero first: opposite ones are the same."""
    return [(y, x) for y in range(most + 1) for x in range(-most, most + 1) if y > 0 or x >= 0]


def paired(shape: tuple[int, int], lag: tuple[int, int]) -> tuple[Slices, Slices, Slices]:
    """Of pairs of pixels a lag of `different_lags` apart the ones, the others, and what is in the middle."""
    (ny, nx), (dy, dx) = shape, lag
    left, right, half = max(0, -dx), max(0, dx), abs(dx) // 2
    one, other = (slice(0, ny - dy), slice(left, nx - right)), (slice(dy, ny), slice(right, nx - left))
    return one, other, (slice(dy // 2, ny - dy + dy // 2), slice(half, nx - abs(dx) + half))


def on_grid(shape: tuple[int, ...], max_lag: int) -> tuple[int, int]:
    """The grid on which no lag up to the largest wraps around images (..., h, w)."""
    return good_size(shape[-2] + max_lag), good_size(shape[-1] + max_lag)


def transforms(images: Array, max_lag: int) -> Array:
    """Transforms (..., H, W // 2 + 1) of images (..., h, w) on the grid for a lag."""
    height, width = images.shape[-2:]
    padded = np.zeros((*images.shape[:-2], *on_grid(images.shape, max_lag)), dtype=np.float32)
    padded[..., :height, :width] = images
    return forward(padded)


def power_of(spectra: Array) -> Array:
    """Squares of the absolute values of complex numbers (..., k), in double precision."""
    squares = np.square(spectra.view(spectra.real.dtype), dtype=np.float64)
    power: Array = squares[..., ::2] + squares[..., 1::2]
    return power


def lagged_products(images: Array, max_lag: int) -> Array:
    """Sums of products of pixels (..., h, w) at each lag, over all windows."""
    power = power_of(transforms(images, max_lag))
    total = power.reshape(-1, *power.shape[-2:]).sum(axis=0)
    return inverse_near(total, on_grid(images.shape, max_lag)[1], max_lag)


def quick_median(values: Array) -> float:
    """Median of every so many of some values (k,), of Gaussian noise right to about 1 % of its scatter; NaN of none."""
    return median(values[:: 1 + len(values) // _MEDIAN_SAMPLE]) if len(values) else float("nan")


def normalised(products: Array, counts: Array) -> Array:
    """Correlation function of lagged products and of the numbers of pairs in them; NaN where there is no variance."""
    rho: Array = products / np.maximum(counts, 1.0)
    centre = rho[rho.shape[0] // 2, rho.shape[1] // 2]
    return rho / centre if centre > 0 else np.full_like(rho, np.nan)


def autocorrelation(images: Array, use: Array, max_lag: int = MAX_LAG) -> Array:
    """Masked autocorrelation function, normalised to 1 at zero lag.

    Parameters
    ----------
    images
        Windows (n, h, w), or one image (h, w); pixels that are not used must still be finite.
    use
        Which pixels to use, of the same shape.
    max_lag
        Largest lag along each axis.

    Returns
    -------
    rho
        Of shape (2 max_lag + 1, 2 max_lag + 1), zero lag in the middle.
    """
    level = np.median(images[use])
    products = lagged_products(np.where(use, images - level, 0.0), max_lag)
    return normalised(products, lagged_products(use, max_lag))


def max_abs_rho(rho: Array) -> float:
    """The largest absolute value of a correlation function other than at zero lag."""
    others = rho.copy()
    others[rho.shape[0] // 2, rho.shape[1] // 2] = 0.0
    return float(np.abs(others).max())


def correlation_function(covariance: Array, pixels: int) -> tuple[Array, float, float]:
    """Correlation function, variance and relative plateau from a measured covariance.

    The plateau at large lags (unresolved sources, errors of the background) is taken off, and the correlation goes
    smoothly to zero beyond the lags at which it is significant: more lags would add nothing but their own noise.

    Parameters
    ----------
    covariance
        Of shape (2 l + 1, 2 l + 1), zero lag in the middle.
    pixels
        Number of pixels that it was measured from.
    """
    lag = covariance.shape[0] // 2
    y, x = np.mgrid[-lag : lag + 1, -lag : lag + 1]
    radius = np.hypot(x, y)
    plateau = float(np.mean(covariance[(radius > 0.75 * lag) & (radius <= lag)]))
    variance = float(covariance[lag, lag]) - plateau
    if not variance > 0:
        return covariance, variance, 0.0
    rho = (covariance - plateau) / variance
    reach = 2
    for r in range(int(0.75 * lag), 2, -1):
        ring = rho[(radius > r - 0.5) & (radius <= r + 0.5)]
        # Opposite lags are the same number.
        mean_significance = abs(ring.mean()) * np.sqrt(pixels * len(ring) / 2)
        if np.abs(ring).max() * np.sqrt(pixels) > 4.5 or mean_significance > 4:
            reach = r
            break
    end = min(1.5 * reach + 1, lag)
    phase = np.clip((radius - reach) / max(end - reach, 1e-9), 0, 1)
    return rho * 0.5 * (1 + np.cos(np.pi * phase)), variance, plateau / variance


def positive(spectrum: Array) -> Array:
    """Power spectrum (..., k) of a measured correlation function, which errors may have made negative."""
    # A floor that sets in smoothly: a sharp one would make ψ ring.
    floor = _SMALLEST_POWER * spectrum.max()
    floored: Array = (spectrum + np.hypot(spectrum, 2 * floor)) / 2
    return floored
