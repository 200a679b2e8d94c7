"""Rows of an image that are made of tiles, each given to a sink once all of its tiles are done."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diffim_decorr.engine.sinks import Sink
from diffim_decorr.engine.tiles import FieldTiling, TileRow
from diffim_decorr.geometry import Box

__all__ = ("Rows",)

Array = NDArray[Any]


class Rows:
    """Pixels of rows of tiles, kept until all tiles of a row are done; not safe without a lock.

    Parameters
    ----------
    tiling
        The tiles.
    sink
        Where rows go, which may have arrays for them.
    held
        Gives what is to be kept for as long as a row of tiles is worked on.
    """

    def __init__(self, tiling: FieldTiling, sink: Sink, held: Callable[[TileRow], Any] = lambda row: None) -> None:
        self._sink = sink
        self._hold = held
        self._tiles = {row[0][0].y0: row for row in tiling.rows}
        self._left = {y0: len(row) for y0, row in self._tiles.items()}
        self._held: dict[int, Any] = {}
        self._arrays: dict[int, tuple[Array, Array, Array]] = {}
        self._largest = max(row[0][0].shape[0] * row[-1][0].x1 for row in self._tiles.values())
        self._lent: dict[int, Array] = {}
        self._free: list[Array] = []

    def arrays(self, tile: Box) -> tuple[Array, Array, Array]:
        """Image, mask and variance of a tile's row."""
        if tile.y0 not in self._arrays:
            row = self._tiles[tile.y0]
            self._held[tile.y0] = self._hold(row)
            shape = tile.shape[0], row[-1][0].x1
            self._arrays[tile.y0] = self._sink.rows(tile.y0, tile.y1) or self._buffers(tile.y0, shape)
        return self._arrays[tile.y0]

    def _buffers(self, y0: int, shape: tuple[int, int]) -> tuple[Array, Array, Array]:
        """Room for a row: that of one that is done, or else as much as any row takes, for heights differ by a pixel."""
        lent = self._lent[y0] = self._free.pop() if self._free else np.empty((3, self._largest), np.float32)
        image, mask, variance = (plane[: shape[0] * shape[1]].reshape(shape) for plane in lent)
        return image, mask.view(np.int32), variance

    def complete(self, tile: Box) -> bool:
        """Note that a tile is done; whether its row is."""
        self._left[tile.y0] -= 1
        return self._left[tile.y0] == 0

    def release(self, tile: Box) -> None:
        """Let a row's arrays be used again, and its input go."""
        del self._held[tile.y0], self._arrays[tile.y0]
        if tile.y0 in self._lent:
            self._free.append(self._lent.pop(tile.y0))
