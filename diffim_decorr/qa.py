"""Quality figures: is the noise white, and does the variance plane tell its size?

All figures are of source-free pixels: where neither input shows a source nearby and no mask plane is set. On large
images they are measured on a sample of windows, spread evenly over the field, with a million such pixels.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diffim_decorr.planes import Plane
from diffim_decorr.sampling import (
    ENOUGH,
    MOST_WINDOWS,
    WINDOWS_AT_ONCE,
    lagged_products,
    mask_sources,
    normalised,
    quick_median,
    sample_boxes,
    smoothed,
    typical,
)
from diffim_decorr.spatial import Box

__all__ = ("MAX_LAG", "QualityFigures", "autocorrelation", "max_abs_rho", "measure_quality")

Array = NDArray[Any]

MAX_LAG = 5
_FEWEST = 1000
_EVERY = 7  # of the pixels are enough for a level, which with a million of them is right to 0.3 % of the noise


@dataclass(frozen=True)
class QualityFigures:
    """Figures of DESIGN: how white the noise is and whether the variance plane is right.

    Parameters
    ----------
    max_abs_rho_before, max_abs_rho_after
        Largest absolute correlation of pixels up to 5 pixels apart along each axis, in the difference and in the
        decorrelated difference. NaN if there were too few source-free pixels.
    snr_std
        Robust standard deviation of the decorrelated difference in units of the square root of its variance plane.
    pixels_used
        Number of source-free pixels.
    rho_before, rho_after, rho_science, rho_template
        Correlation functions (11, 11), with their centre at [5, 5]; those of the inputs tell whether the assumption of
        white noise holds.
    """

    max_abs_rho_before: float
    max_abs_rho_after: float
    snr_std: float
    pixels_used: int
    rho_before: Array
    rho_after: Array
    rho_science: Array
    rho_template: Array


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


@dataclass
class _Window:
    """Pixels of one window, and what is derived from them."""

    before: Array
    after: Array
    variance: Array
    inputs: tuple[Array, Array]
    use: Array
    smooth: tuple[Array, Array]
    scatter: tuple[float, float]


def measure_quality(
    shape: tuple[int, int],
    science: Plane,
    template: Plane,
    before: Plane,
    after: Callable[[Box], tuple[Array, Array, Array]],
    bad_bits: np.int32,
    threads: int = 1,
) -> QualityFigures:
    """Measure the figures on a sample of windows.

    Parameters
    ----------
    shape
        Of the images, (ny, nx).
    science, template
        The inputs, which show where sources are.
    before
        The difference.
    after
        Reads image, mask and variance of the decorrelated difference within a box.
    bad_bits
        Mask bits of pixels that are not used.
    threads
        Number of threads.
    """
    windows: list[_Window] = []
    boxes = sample_boxes(shape)
    with ThreadPoolExecutor(threads) as pool:

        def load(box: Box) -> _Window:
            return _load(box, science, template, before, after, bad_bits)

        for start in range(0, min(len(boxes), MOST_WINDOWS), WINDOWS_AT_ONCE):
            windows += pool.map(load, boxes[start : start + WINDOWS_AT_ONCE])
            # What stands out is judged by the scatter of the whole sample: a window may be full of sources.
            sigmas = [typical([window.scatter[k] for window in windows]) for k in range(2)]
            list(pool.map(_mask_sources, windows, [sigmas] * len(windows)))
            used = sum(int(window.use.sum()) for window in windows)
            if used >= ENOUGH:
                break
        if used < _FEWEST:
            nothing = np.full((2 * MAX_LAG + 1, 2 * MAX_LAG + 1), np.nan)
            return QualityFigures(np.nan, np.nan, np.nan, used, nothing, nothing, nothing, nothing)
        levels = [
            float(np.median(np.concatenate([getattr(window, name)[window.use][::_EVERY] for window in windows])))
            for name in ("before", "after")
        ]
        products = list(pool.map(lambda window: _products(window, levels), windows))
    counts, *sums = (sum(parts) for parts in zip(*products, strict=True))
    rhos = [normalised(total, counts) for total in sums]
    snr = np.concatenate([window.after[window.use] / np.sqrt(window.variance[window.use]) for window in windows])
    std = float(1.4826 * np.median(np.abs(snr - np.median(snr[::_EVERY]))))
    return QualityFigures(max_abs_rho(rhos[0]), max_abs_rho(rhos[1]), std, used, *rhos)


def _load(
    box: Box,
    science: Plane,
    template: Plane,
    before: Plane,
    after: Callable[[Box], tuple[Array, Array, Array]],
    bad_bits: np.int32,
) -> _Window:
    image, mask, variance = after(box)
    difference, *inputs = (plane.read(box).astype(np.float32) for plane in (before, science, template))
    use = ((mask & bad_bits) == 0) & (variance > 0)
    for plane in (image, variance, difference, *inputs):
        use &= np.isfinite(plane)
    smooth, scatter = [], []
    for k, pixels in enumerate(inputs):
        # The level of an input is its background, which need not be flat: it is taken off window by window.
        level = np.float32(quick_median(pixels[use]))
        inputs[k] = np.where(use, pixels - level, np.float32(0))
        smooth.append(smoothed(inputs[k]))
        scatter.append(1.4826 * quick_median(np.abs(smooth[k][use])))
    return _Window(difference, image, variance, tuple(inputs), use, tuple(smooth), tuple(scatter))  # type: ignore[arg-type]


def _mask_sources(window: _Window, sigmas: list[float]) -> None:
    """Leave out pixels near anything that stands out of the background of either input."""
    for smooth, sigma in zip(window.smooth, sigmas, strict=True):
        mask_sources(window.use, smooth, sigma)


def _products(window: _Window, levels: list[float]) -> list[Array]:
    """Lagged products of the mask, of the difference before and after, and of the inputs."""
    use = window.use
    planes = [use, window.before - np.float32(levels[0]), window.after - np.float32(levels[1])]
    for pixels in window.inputs:
        planes.append(pixels - np.float32(quick_median(pixels[use])))
    return [lagged_products(np.where(use, plane, 0), MAX_LAG) for plane in planes]
