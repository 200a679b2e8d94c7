"""Where there are sources: what stands out of a smoothed background."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ("SOURCE_REACH", "mask_sources", "smoothed", "typical")

Array = NDArray[Any]

# Sources are found in images smoothed with about the PSF. The brighter they are, the farther their wings reach:
# thresholds in units of the smoothed noise, and how far around the mask is grown. The first threshold is high enough
# for noise alone to lose few pixels; masking more of its peaks would itself correlate what is left.
_SMOOTHING = 1.5
_TIERS = ((4.0, 5), (10.0, 9), (100.0, 18))
#: How far away a pixel may be that decides whether another one is near a source.
SOURCE_REACH = int(3 * _SMOOTHING) + 1 + _TIERS[-1][1]


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


def mask_sources(use: Array, smooth: Array, sigma: float) -> None:
    """Leave out of `use` the pixels (h, w) near anything that stands out of a smoothed background of scatter sigma."""
    for threshold, radius in _TIERS:
        above = np.abs(smooth) > threshold * sigma
        if not above.any():
            break
        use &= ~_grown(above, radius)


def typical(scatters: list[float]) -> float:
    """The median of those that could be measured, NaN if there are none."""
    finite = [scatter for scatter in scatters if np.isfinite(scatter)]
    return float(np.median(finite)) if finite else np.nan
