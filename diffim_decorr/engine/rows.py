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
        self._free: list[tuple[Array, Array, Array]] = []

    def arrays(self, tile: Box) -> tuple[Array, Array, Array]:
        """Image, mask and variance of a tile's row."""
        if tile.y0 not in self._arrays:
            row = self._tiles[tile.y0]
            self._held[tile.y0] = self._hold(row)
            self._arrays[tile.y0] = self._sink.rows(tile.y0, tile.y1) or self._buffers((tile.shape[0], row[-1][0].x1))
        return self._arrays[tile.y0]

    def _buffers(self, shape: tuple[int, int]) -> tuple[Array, Array, Array]:
        fitting = next((k for k, free in enumerate(self._free) if free[0].shape == shape), None)
        if fitting is not None:
            return self._free.pop(fitting)
        image, variance = (np.empty(shape, dtype=np.float32) for _ in range(2))
        return image, np.empty(shape, dtype=np.int32), variance

    def complete(self, tile: Box) -> bool:
        """Note that a tile is done; whether its row is."""
        self._left[tile.y0] -= 1
        return self._left[tile.y0] == 0

    def release(self, tile: Box) -> None:
        """Let a row's arrays be used again, and its input go."""
        del self._held[tile.y0]
        self._free.append(self._arrays.pop(tile.y0))
