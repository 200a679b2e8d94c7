"""Where there are sources: what stands out of a smoothed background."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ("SOURCE_REACH", "grown", "mask_sources", "smoothed", "typical")

Array = NDArray[Any]

# Sources are found in images smoothed with about the PSF. The brighter they are, the farther their wings reach:
# thresholds in units of the smoothed noise, and how far around the mask is grown. The first threshold is high enough
# for noise alone to lose few pixels; masking more of its peaks would itself correlate what is left.
_SMOOTHING = 1.5
_TIERS = ((4.0, 5), (10.0, 9), (100.0, 18))
_VECTOR = 16  # numbers of single precision
#: How far away a pixel may be that decides whether another one is near a source.
SOURCE_REACH = int(3 * _SMOOTHING) + 1 + _TIERS[-1][1]


def smoothed(image: Array, sigma: float = _SMOOTHING) -> Array:
    """An image (h, w) convolved with a Gaussian, its edges held."""
    radius = int(3 * sigma) + 1
    weights = np.exp(-0.5 * (np.arange(radius + 1) / sigma) ** 2)
    weights = (weights / (2 * weights.sum() - weights[0])).astype(np.float32)
    height, width = image.shape
    rows = np.clip(np.arange(-radius, height + radius), 0, height - 1)
    # Rows of whole vectors of the processor are several times quicker to add.
    columns = np.clip(np.arange(-radius, width + radius + -(width + 2 * radius) % _VECTOR), 0, width - 1)
    padded = np.take(np.take(image, rows, axis=0), columns, axis=1)

    def along_rows(image: Array, length: int) -> Array:
        result: Array = weights[0] * image[radius:][:length]
        both = np.empty_like(result)
        for by in range(1, radius + 1):
            np.add(image[radius + by :][:length], image[radius - by :][:length], out=both)
            both *= weights[by]
            result += both
        return result

    result: Array = along_rows(along_rows(padded, height).T, width).T
    return result


def grown(mask: Array, radius: int) -> Array:
    """A mask (h, w) grown by a square."""
    wide = 2 * radius + 1
    for _ in (0, 1):
        grown = np.zeros((len(mask) + 2 * radius, mask.shape[1]), dtype=bool)
        grown[radius : radius + len(mask)] = mask
        reached = 1
        while reached < wide:
            step = min(reached, wide - reached)
            grown = grown[:-step] | grown[step:]
            reached += step
        mask = grown.T
    return mask


def mask_sources(use: Array, smooth: Array, sigma: float) -> None:
    """Leave out of `use` the pixels (h, w) near anything that stands out of a smoothed background of scatter sigma."""
    for threshold, radius in _TIERS:
        above = np.abs(smooth) > threshold * sigma
        if not above.any():
            break
        use &= ~grown(above, radius)


def typical(scatters: list[float]) -> float:
    """The median of those that could be measured, NaN if there are none."""
    finite = [scatter for scatter in scatters if np.isfinite(scatter)]
    return float(np.median(finite)) if finite else np.nan
