"""How far what is wrong in an input reaches into the difference: as far as the kernel that it was convolved with."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from diffim_decorr.engine.job import Input, Job
from diffim_decorr.engine.tiles import Tiling
from diffim_decorr.fft import forward, good_size, inverse, kernel_transform
from diffim_decorr.geometry import Box
from diffim_decorr.images.absent import absent, unexplained
from diffim_decorr.images.masks import held_bits, unsigned

__all__ = ("Reach",)

Array = NDArray[Any]

# Shares below this are not told from rounding by transforms in single precision.
_ROUNDING = 1e-5


class Reach:
    """Finds pixels of tiles without data in an input, and those that owe too much to its defects."""

    def __init__(self, source: Input, spread: Array | None, job: Job, tiling: Tiling) -> None:
        self._source = source
        self._reach = 0 if spread is None else max(spread.shape) // 2
        self._field = job.shape
        self._limit = max(job.bad_fraction, _ROUNDING)
        height, width = tiling.fft_shape
        self._shape = good_size(height + 2 * self._reach), good_size(width + 2 * self._reach)
        self._spread = None if spread is None else kernel_transform(spread, self._shape, np.complex64)

    def seen(self, inside: Box) -> Box:
        """What has to be seen of the input for the pixels of a box."""
        return inside.grown(self._reach).clipped(self._field)

    def __call__(self, inside: Box) -> tuple[Array | None, Array | None]:
        """Where, of the pixels (h, w) of a box in the image; None if nowhere."""
        seen = self.seen(inside)
        own = inside.shifted(-seen.x0, -seen.y0).slices
        pixels = self._source.plane.read(seen).astype(np.float32, copy=False)
        hole = absent(pixels, self._source.fills)
        if unexplained(pixels, hole, self._source.fills):
            self._source.oversized.set()
        here = None if hole is None else hole[own]
        if self._spread is None:
            return here, None
        defects = hole
        if self._source.mask is not None:
            mask = unsigned(self._source.mask.read(seen))
            flagged = (mask & held_bits(self._source.bits, mask.dtype)) != 0
            if flagged.any():
                defects = flagged if hole is None else hole | flagged
        if defects is None:
            return here, None
        padded = np.zeros(self._shape, dtype=np.float32)
        padded[: seen.shape[0], : seen.shape[1]] = defects
        shares = inverse(forward(padded) * self._spread, self._shape[1])[: seen.shape[0], : seen.shape[1]]
        return here, shares[own] > self._limit
