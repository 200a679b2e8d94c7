"""The local background of an image, which stands in for pixels that are replaced."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from diffim_decorr.geometry import Box
from diffim_decorr.images.exposure import Exposure

__all__ = ("NO_BACKGROUND", "LocalBackground", "local_background")

Array = NDArray[Any]

_CELL, _EVERY = 64, 8
# Backgrounds nearer to 0, or to one level, than this many σ are left as they are; and those within so many errors.
_LEVEL, _LOCAL = 0.05, 0.2
_SIGNIFICANT = 4.0
_MEDIAN = 1.2533  # error of a median of n Gaussian numbers, in σ/√n


class LocalBackground(NamedTuple):
    """A level that is taken off before filtering, and what the background is above it.

    Parameters
    ----------
    level
        Of the whole image.
    above
        In cells (rows, columns); None if it is the level everywhere.
    """

    level: float = 0.0
    above: Array | None = None

    def within(self, box: Box) -> Array | float:
        """What the background is above the level at the pixels of a box, bilinear between the cells' middles."""
        if self.above is None:
            return 0.0
        rows, columns = self.above.shape
        along_y, along_x = _weights(np.arange(box.y0, box.y1), rows), _weights(np.arange(box.x0, box.x1), columns)
        result: Array = along_y @ self.above.astype(np.float32) @ along_x.T
        return result


NO_BACKGROUND = LocalBackground()


def local_background(exposure: Exposure, sigma: float) -> LocalBackground:
    """The background of an image, from medians of cells of 64 pixels of which every eighth along each axis is read.

    Parameters
    ----------
    exposure
        The image.
    sigma
        Scatter of its noise; 0 if it is not known, and then there is none.
    """
    if not sigma > 0:
        return NO_BACKGROUND
    ny, nx = exposure.shape
    rows = [_medians(exposure, Box(0, y, nx, min(y + _CELL, ny))) for y in range(0, ny, _CELL)]
    cells, counts = np.array(rows).swapaxes(0, 1)
    known = np.isfinite(cells)
    if not known.any():
        return NO_BACKGROUND
    level = float(np.median(cells[known]))
    scatter = _SIGNIFICANT * _MEDIAN * sigma
    level = level if abs(level) > max(_LEVEL * sigma, scatter / counts[known].sum() ** 0.5) else 0.0
    above = _smoothed(np.where(known, cells - level, 0.0))
    varies = np.abs(above) > np.maximum(_LOCAL * sigma, scatter / np.maximum(counts, 1) ** 0.5)
    return LocalBackground(level, above if varies.any() else None)


def _medians(exposure: Exposure, box: Box) -> Array:
    """Medians of a row of cells, NaN of cells without data, and of how many pixels they are: (2, columns)."""
    pixels = exposure.image_plane.read_every(box, (_EVERY, _EVERY)).astype(np.float32)
    given = [fill for fill in exposure.fills if fill.area == 1]
    pixels[~np.isfinite(pixels)] = np.nan
    for fill in given:
        pixels[np.abs(pixels) == np.float32(abs(fill.value))] = np.nan
    pixels[pixels == 0] = np.nan  # the image may end here
    each = _CELL // _EVERY
    columns = -(-pixels.shape[1] // each)
    padded = np.full((pixels.shape[0], columns * each), np.nan, dtype=np.float32)
    padded[:, : pixels.shape[1]] = pixels
    cells = padded.reshape(-1, columns, each).swapaxes(0, 1).reshape(columns, -1)
    medians = np.full(columns, np.nan)
    counts = np.isfinite(cells).sum(axis=1)
    known = counts >= each
    medians[known] = np.nanmedian(cells[known], axis=1)
    return np.array([medians, counts])


def _smoothed(cells: Array) -> Array:
    """Medians of 3 x 3 cells, against sources and the scatter of single ones."""
    from numpy.lib.stride_tricks import sliding_window_view

    padded = np.pad(cells, 1, mode="edge")
    result: Array = np.median(sliding_window_view(padded, (3, 3)), axis=(-2, -1))
    return result


def _weights(positions: Array, count: int) -> Array:
    """Weights (k, count) of cells along an axis, linear between their middles and constant beyond the outer ones."""
    place = np.clip((positions + 0.5) / _CELL - 0.5, 0, count - 1)
    distance: Array = np.abs(place[:, None] - np.arange(count))
    weights: Array = np.maximum(1 - distance, 0).astype(np.float32)
    return weights
