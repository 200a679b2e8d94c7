"""How far what is wrong in an input reaches into the difference: as far as the kernel that it was convolved with."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from diffim_decorr.engine.job import Input, Job
from diffim_decorr.engine.tiles import Tiling
from diffim_decorr.fft import forward, inverse, kernel_transform
from diffim_decorr.geometry import Box
from diffim_decorr.images.absent import absent
from diffim_decorr.images.masks import held_bits, unsigned

__all__ = ("Reach",)

Array = NDArray[Any]

# Shares below this are not told from rounding by transforms in single precision.
_ROUNDING = 1e-5


class Reach:
    """Finds pixels of tiles without data in an input, and those that owe too much to its defects."""

    def __init__(self, source: Input, job: Job, tiling: Tiling) -> None:
        self._source = source
        self._limit = max(job.bad_fraction, _ROUNDING)
        self._tiling = tiling
        self._spread = (
            None if source.spread is None else kernel_transform(source.spread, tiling.fft_shape, np.complex64)
        )

    def __call__(self, tile: Box, inside: Box) -> tuple[Array | None, Array | None]:
        """Where, of the pixels (h, w) inside the image that a tile is made from; None if nowhere."""
        hole = absent(self._source.plane.read(inside).astype(np.float32), self._source.fills)
        if self._spread is None:
            return hole, None
        defects = hole
        if self._source.mask is not None:
            mask = unsigned(self._source.mask.read(inside))
            flagged = (mask & held_bits(self._source.bits, mask.dtype)) != 0
            if flagged.any():
                defects = flagged if hole is None else hole | flagged
        return hole, None if defects is None else self._reached(defects, tile, inside)

    def _reached(self, defects: Array, tile: Box, inside: Box) -> Array | None:
        """Pixels of which the defects have more than the limit."""
        padded = np.zeros(self._tiling.fft_shape, dtype=np.float32)
        padded[: defects.shape[0], : defects.shape[1]] = defects
        shares = inverse(forward(padded) * self._spread, padded.shape[1])[: defects.shape[0], : defects.shape[1]]
        reached: Array = shares > self._limit
        # What lies outside the window is not known; nobody asks so near to its border.
        known = tile.grown(self._tiling.halo - self._source.reach).within(inside).shifted(-inside.x0, -inside.y0)
        result = np.zeros_like(reached)
        result[known.slices] = reached[known.slices]
        return result if result.any() else None
