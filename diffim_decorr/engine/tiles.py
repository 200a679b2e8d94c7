"""How an image is cut into tiles."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from diffim_decorr.fft import good_size
from diffim_decorr.geometry import Box, divided

__all__ = ("FieldTiling", "TileRow", "Tiling")

#: Tiles side by side, each with the number of the part that it lies in.
TileRow = list[tuple[Box, int | None]]

# Larger transforms waste fewer pixels on halos, smaller ones stay in the processor's cache.
_SMALLEST_TILE, _LARGEST_TILE = 480, 864


@dataclass(frozen=True)
class Tiling:
    """How a rectangle is cut into tiles; it depends on nothing but its shape and the kernels' reach.

    Parameters
    ----------
    shape
        Of the rectangle, (ny, nx).
    halo
        Pixels needed around each tile.
    """

    shape: tuple[int, int]
    halo: int

    @cached_property
    def _edges(self) -> tuple[list[int], list[int]]:
        return self._cut(self.shape[0]), self._cut(self.shape[1])

    def _cut(self, size: int) -> list[int]:
        fewest = math.ceil(size / _LARGEST_TILE)
        choices = range(fewest, max(fewest, size // _SMALLEST_TILE) + 1)
        pieces = min(choices, key=lambda pieces: pieces * self._transform(math.ceil(size / pieces)))
        return [round(k * size / pieces) for k in range(pieces + 1)]

    def _transform(self, size: int) -> int:
        """Side of the transforms for tiles of some size and their halo."""
        return good_size(size + 2 * self.halo)

    @cached_property
    def fft_shape(self) -> tuple[int, int]:
        """Shape of the transforms: the largest tile and its halo."""
        y, x = (self._transform(int(np.diff(edges).max())) for edges in self._edges)
        return y, x

    @property
    def rows(self) -> list[tuple[int, int]]:
        """Begin and end of each row of tiles."""
        edges = self._edges[0]
        return list(itertools.pairwise(edges))

    @property
    def columns(self) -> list[tuple[int, int]]:
        """Begin and end of each column of tiles."""
        edges = self._edges[1]
        return list(itertools.pairwise(edges))

    def __iter__(self) -> Iterator[Box]:
        for y0, y1 in self.rows:
            for x0, x1 in self.columns:
                yield Box(x0, y0, x1, y1)


class FieldTiling:
    """How an image is cut into tiles, each of which lies in one part of the field as a whole, or in none.

    Parameters
    ----------
    shape
        Of the image, (ny, nx).
    boxes, halos
        The parts, of which the last one counts where they overlap, and the pixels needed around the tiles of each.
    """

    def __init__(self, shape: tuple[int, int], boxes: Sequence[Box], halos: Sequence[int]) -> None:
        self._halos = tuple(halos)
        #: The tiles, row by row, and the number of the part that each lies in.
        self.rows: list[TileRow] = []
        for band in divided(Box(0, 0, shape[1], shape[0]), boxes):
            widest = max(self._halo(number) for _, number in band)
            first, end = band[0][0].y0, band[0][0].y1
            columns = [
                (area.x0 + x0, area.x0 + x1, number)
                for area, number in band
                for x0, x1 in Tiling(area.shape, self._halo(number)).columns
            ]
            self.rows += [
                [(Box(x0, first + y0, x1, first + y1), number) for x0, x1, number in columns]
                for y0, y1 in Tiling((end - first, 1), widest).rows
            ]

    def _halo(self, number: int | None) -> int:
        return 0 if number is None else self._halos[number]

    def __iter__(self) -> Iterator[tuple[Box, int | None]]:
        return itertools.chain.from_iterable(self.rows)

    def tiling(self, number: int) -> Tiling:
        """That of a part's tiles, all of which its transforms can hold."""
        shapes = [tile.shape for tile, own in self if own == number] or [(1, 1)]
        return Tiling((max(height for height, _ in shapes), max(width for _, width in shapes)), self._halos[number])
