"""Figures of an image over the field, in cells of 64 pixels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diffim_decorr.geometry import Box
from diffim_decorr.images.masks import plane_bits, unsigned
from diffim_decorr.qa.reader import Pixels

__all__ = ("CELL", "Cells", "Strip", "joined", "strip_of")

Array = NDArray[Any]

CELL = 64
_LEAST = 0.3  # of a cell's pixels
_CLIP = 6.0


@dataclass(frozen=True, eq=False)
class Cells:
    """Figures over the field; NaN where there are too few pixels.

    Parameters
    ----------
    snr_std, rho_1, level, flagged
        Robust scatter in units of the variance plane, correlation of neighbours (mean of both directions), level in
        units of the noise, and share of pixels flagged or without data, each (rows, columns).
    """

    snr_std: Array
    rho_1: Array
    level: Array
    flagged: Array


@dataclass(frozen=True, eq=False)
class Strip:
    """A row of cells: the figures of `Cells` (columns,), pixels by mask plane, and how many are not finite."""

    figures: tuple[Array, ...]
    planes: dict[str, int]
    missing: int


def joined(strips: list[Strip]) -> Cells:
    """The maps that rows make up."""
    return Cells(*(np.array([strip.figures[k] for strip in strips]) for k in range(4)))


def strip_of(pixels: Pixels, box: Box) -> Strip:
    """A row of cells."""
    image, variance, use, mask = pixels.read(box)
    height, width = image.shape
    columns = -(-width // CELL)
    padded = np.full((height, columns * CELL), np.nan, np.float32)
    padded[:, :width] = np.where(use, image / np.sqrt(np.where(use, variance, 1)), np.nan)
    cells = padded.reshape(height, columns, CELL).swapaxes(0, 1)
    counts = np.isfinite(cells).sum(axis=(1, 2))
    within = np.minimum((np.arange(columns) + 1) * CELL, width) - np.arange(columns) * CELL
    figures = np.full((3, columns), np.nan)
    for k in np.nonzero(counts >= _LEAST * within * height)[0]:
        figures[:, k] = _figures(cells[k], counts[k])
    planes = {} if mask is None else _planes(mask, pixels.exposure.mask_planes)
    missing = int(np.count_nonzero(~np.isfinite(image)))
    return Strip((*figures, 1 - counts / (within * height)), planes, missing)


def _figures(cell: Array, count: int) -> tuple[float, float, float]:
    """Scatter, correlation of neighbours and level of a cell (h, w)."""
    values = cell if count == cell.size else cell[np.isfinite(cell)]
    centre = float(np.median(values))
    scatter = 1.4826 * float(np.median(np.abs(values - centre)))
    away = cell - np.float32(centre)
    good = np.abs(away) < _CLIP * scatter  # not where there is no pixel
    if not good.any():
        return scatter, np.nan, centre
    away[~good] = 0
    products, pairs = 0.0, 0
    for one, other, first, second in (
        (away[:, 1:], away[:, :-1], good[:, 1:], good[:, :-1]),
        (away[1:], away[:-1], good[1:], good[:-1]),
    ):
        products += float(np.vdot(one, other))
        pairs += int(np.count_nonzero(first & second))
    square = float(np.vdot(away, away)) / np.count_nonzero(good)
    return scatter, products / pairs / square if pairs and square else np.nan, centre


def _planes(mask: Array, names: dict[str, int]) -> dict[str, int]:
    """Pixels of each mask plane that has any."""
    bits = unsigned(mask)
    held = int(np.bitwise_or.reduce(bits, axis=None))
    return {
        name: int(np.count_nonzero(bits & bits.dtype.type(plane_bits(names, [name]))))
        for name in names
        if held & plane_bits(names, [name])
    }
