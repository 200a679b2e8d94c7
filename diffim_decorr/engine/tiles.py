"""How an image is cut into tiles."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from diffim_decorr.fft import good_size
from diffim_decorr.geometry import Box

__all__ = ("Tiling",)

# Larger transforms waste fewer pixels on halos, smaller ones stay in the processor's cache.
_SMALLEST_TILE, _LARGEST_TILE = 480, 864


@dataclass(frozen=True)
class Tiling:
    """How an image is cut into tiles; it depends on nothing but the image's shape and the kernels' reach.

    Parameters
    ----------
    shape
        Of the image, (ny, nx).
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
