"""Source-free pixels: windows spread over the field, what stands out in them, and correlations of what is left."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from diffim_decorr.spatial import Box
from diffim_decorr.whitening import forward, good_size, inverse

__all__ = (
    "ENOUGH",
    "MOST_WINDOWS",
    "WINDOWS_AT_ONCE",
    "lagged_products",
    "mask_sources",
    "normalised",
    "quick_median",
    "sample_boxes",
    "smoothed",
    "typical",
)

Array = NDArray[Any]

# A million pixels tell correlations to 1e-3; more are not looked at where the image has more.
ENOUGH = 1_000_000
WINDOWS_AT_ONCE = 18
MOST_WINDOWS = 90
_WINDOW = 256
_MEDIAN_SAMPLE = 16_384
# Sources are found in images smoothed with about the PSF. The brighter they are, the farther their wings reach:
# thresholds in units of the smoothed noise, and how far around the mask is grown. The first threshold is high enough
# for noise alone to lose few pixels; masking more of its peaks would itself correlate what is left.
_SMOOTHING = 1.5
_TIERS = ((4.0, 5), (10.0, 9), (100.0, 18))


def sample_boxes(shape: tuple[int, int]) -> list[Box]:
    """Windows in an order in which any number of them, from the first on, is spread over the field."""
    rows, columns = -(-shape[0] // _WINDOW), -(-shape[1] // _WINDOW)
    height, width = shape[0] // rows, shape[1] // columns
    order = np.argsort((np.arange(rows * columns) * 0.6180339887498949) % 1.0, kind="stable")
    boxes = []
    for index in order:
        row, column = divmod(int(index), columns)
        y, x = row * shape[0] // rows, column * shape[1] // columns
        boxes.append(Box(x, y, x + width, y + height))
    return boxes


def lagged_products(images: Array, max_lag: int) -> Array:
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


def quick_median(values: Array) -> float:
    """Median of every so many of some values (k,), of Gaussian noise right to about 1 % of its scatter; NaN of none."""
    return float(np.median(values[:: 1 + len(values) // _MEDIAN_SAMPLE])) if len(values) else float("nan")


def normalised(products: Array, counts: Array) -> Array:
    rho: Array = products / np.maximum(counts, 1.0)
    centre = rho[rho.shape[0] // 2, rho.shape[1] // 2]
    return rho / centre if centre > 0 else np.full_like(rho, np.nan)


def smoothed(image: Array, sigma: float = _SMOOTHING) -> Array:
    """An image (h, w) convolved with a Gaussian, its edges held."""
    radius = int(3 * sigma) + 1
    weights = np.exp(-0.5 * (np.arange(radius + 1) / sigma) ** 2)
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


def typical(scatters: list[float]) -> float:
    finite = [scatter for scatter in scatters if np.isfinite(scatter)]
    return float(np.median(finite)) if finite else np.nan


def mask_sources(use: Array, smooth: Array, sigma: float) -> None:
    """Leave out of `use` the pixels (h, w) near anything that stands out of a smoothed background of scatter sigma."""
    for threshold, radius in _TIERS:
        above = np.abs(smooth) > threshold * sigma
        if not above.any():
            break
        use &= ~_grown(above, radius)
