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
from diffim_decorr.spatial import Box
from diffim_decorr.whitening import forward, good_size, inverse

__all__ = ("MAX_LAG", "QualityFigures", "autocorrelation", "max_abs_rho", "measure_quality")

Array = NDArray[Any]

MAX_LAG = 5
_WINDOW = 256
_ENOUGH = 1_000_000
_WINDOWS_AT_ONCE = 18
_MOST_WINDOWS = 90
_FEWEST = 1000
# Sources are found in images smoothed with about the PSF. The brighter they are, the farther their wings reach:
# thresholds in units of the smoothed noise, and how far around the mask is grown. The first threshold is high enough
# for noise alone to lose few pixels; masking more of its peaks would itself correlate what is left.
_SMOOTHING = 1.5
_TIERS = ((3.5, 5), (10.0, 9), (100.0, 18))


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
    products = _lagged_products(np.where(use, images - level, 0.0), max_lag)
    return _normalised(products, _lagged_products(use, max_lag))


def _lagged_products(images: Array, max_lag: int) -> Array:
    """Sums of products of pixels (..., h, w) at each lag, over all windows."""
    height, width = images.shape[-2:]
    shape = (good_size(height + max_lag), good_size(width + max_lag))
    padded = np.zeros((*images.shape[:-2], *shape), dtype=np.float32)
    padded[..., :height, :width] = images
    spectrum = forward(padded)
    power = spectrum.real.astype(np.float64) ** 2 + spectrum.imag.astype(np.float64) ** 2
    power = power.reshape(-1, *power.shape[-2:]).sum(axis=0)
    lags = np.arange(-max_lag, max_lag + 1)
    result: Array = inverse(power.astype(complex), shape[1])[lags[:, None], lags[None, :]]
    return result


def _normalised(products: Array, counts: Array) -> Array:
    rho: Array = products / np.maximum(counts, 1.0)
    centre = rho[rho.shape[0] // 2, rho.shape[1] // 2]
    return rho / centre if centre > 0 else np.full_like(rho, np.nan)


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
    boxes = _sample(shape)
    with ThreadPoolExecutor(threads) as pool:

        def load(box: Box) -> _Window:
            return _load(box, science, template, before, after, bad_bits)

        for start in range(0, min(len(boxes), _MOST_WINDOWS), _WINDOWS_AT_ONCE):
            windows += pool.map(load, boxes[start : start + _WINDOWS_AT_ONCE])
            # What stands out is judged by the scatter of the whole sample: a window may be full of sources.
            sigmas = [_typical([window.scatter[k] for window in windows]) for k in range(2)]
            list(pool.map(_mask_sources, windows, [sigmas] * len(windows)))
            used = sum(int(window.use.sum()) for window in windows)
            if used >= _ENOUGH:
                break
        if used < _FEWEST:
            nothing = np.full((2 * MAX_LAG + 1, 2 * MAX_LAG + 1), np.nan)
            return QualityFigures(np.nan, np.nan, np.nan, used, nothing, nothing, nothing, nothing)
        levels = [
            float(np.median(np.concatenate([getattr(window, name)[window.use] for window in windows])))
            for name in ("before", "after")
        ]
        products = list(pool.map(lambda window: _products(window, levels), windows))
    counts, *sums = (sum(parts) for parts in zip(*products, strict=True))
    rhos = [_normalised(total, counts) for total in sums]
    snr = np.concatenate([window.after[window.use] / np.sqrt(window.variance[window.use]) for window in windows])
    std = float(1.4826 * np.median(np.abs(snr - np.median(snr))))
    return QualityFigures(max_abs_rho(rhos[0]), max_abs_rho(rhos[1]), std, used, *rhos)


def _sample(shape: tuple[int, int]) -> list[Box]:
    """Windows in an order in which any number of them, from the first on, is spread over the field."""
    height, width = min(_WINDOW, shape[0]), min(_WINDOW, shape[1])
    rows, columns = shape[0] // height, shape[1] // width
    order = np.argsort((np.arange(rows * columns) * 0.6180339887498949) % 1.0, kind="stable")
    boxes = []
    for index in order:
        row, column = divmod(int(index), columns)
        y, x = row * shape[0] // rows, column * shape[1] // columns
        boxes.append(Box(x, y, x + width, y + height))
    return boxes


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
        level = np.median(pixels[use]) if use.any() else np.float32(0)
        inputs[k] = np.where(use, pixels - level, np.float32(0))
        smooth.append(_smoothed(inputs[k]))
        scatter.append(float(1.4826 * np.median(np.abs(smooth[k][use]))) if use.any() else np.nan)
    return _Window(difference, image, variance, tuple(inputs), use, tuple(smooth), tuple(scatter))  # type: ignore[arg-type]


def _typical(scatters: list[float]) -> float:
    finite = [scatter for scatter in scatters if np.isfinite(scatter)]
    return float(np.median(finite)) if finite else np.nan


def _mask_sources(window: _Window, sigmas: list[float]) -> None:
    """Leave out pixels near anything that stands out of the background of either input."""
    for smooth, sigma in zip(window.smooth, sigmas, strict=True):
        for threshold, radius in _TIERS:
            above = np.abs(smooth) > threshold * sigma
            if not above.any():
                break
            window.use &= ~_grown(above, radius)


def _products(window: _Window, levels: list[float]) -> list[Array]:
    """Lagged products of the mask, of the difference before and after, and of the inputs."""
    use = window.use
    planes = [use, window.before - np.float32(levels[0]), window.after - np.float32(levels[1])]
    for pixels in window.inputs:
        planes.append(pixels - (np.median(pixels[use]) if use.any() else np.float32(0)))
    return [_lagged_products(np.where(use, plane, 0), MAX_LAG) for plane in planes]


def _smoothed(image: Array) -> Array:
    """An image (h, w) convolved with a Gaussian, its edges held."""
    radius = int(3 * _SMOOTHING) + 1
    weights = np.exp(-0.5 * (np.arange(radius + 1) / _SMOOTHING) ** 2)
    weights = (weights / (2 * weights.sum() - weights[0])).astype(np.float32)
    for axis in (0, 1):
        padded = np.pad(image, [(radius, radius) if k == axis else (0, 0) for k in (0, 1)], mode="edge")

        def shifted(by: int, padded: Array = padded, axis: int = axis, size: int = image.shape[axis]) -> Array:
            part = slice(radius + by, radius + by + size)
            return padded[part] if axis == 0 else padded[:, part]

        image = weights[0] * shifted(0)
        for by in range(1, radius + 1):
            image += weights[by] * (shifted(by) + shifted(-by))
    return image


def _grown(mask: Array, radius: int) -> Array:
    """A mask (h, w) grown by a square."""
    for axis in (0, 1):
        size = mask.shape[axis]
        counts = np.pad(mask, [(radius + 1, radius) if k == axis else (0, 0) for k in (0, 1)])
        counts = counts.cumsum(axis=axis, dtype=np.int32)
        if axis == 0:
            mask = counts[2 * radius + 1 : 2 * radius + 1 + size] > counts[:size]
        else:
            mask = counts[:, 2 * radius + 1 : 2 * radius + 1 + size] > counts[:, :size]
    return mask
