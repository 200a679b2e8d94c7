"""Which pixels of a tile owe too much to pixels that are replaced, or outside the image."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from diffim_decorr.engine.convolve import TileConvolver
from diffim_decorr.engine.job import Job, Part
from diffim_decorr.engine.kernel_sums import KernelSums
from diffim_decorr.engine.tiles import Tiling
from diffim_decorr.engine.window import Windows
from diffim_decorr.engine.workspace import Workspace
from diffim_decorr.geometry import Box
from diffim_decorr.kernels.bank import KernelBank

__all__ = ("Flags",)

Array = NDArray[Any]

# Shares below these are not told from rounding by transforms in single and in double precision.
_SINGLE, _DOUBLE = 1e-4, 1e-12
# By how much the footprint, whose sum is 1, may be simplified within a tile: little where a part of its sum is told
# from a limit, more where it only spreads what pixels have lost.
_ERROR_OF_SUMS, _ERROR = 1e-6, 1e-3


class Flags:
    """Sets EDGE and DECORR_BAD in the masks of tiles."""

    def __init__(self, job: Job, part: Part, tiling: Tiling, workspace: Workspace) -> None:
        bank = KernelBank.of(part.footprint)
        self._spread = TileConvolver(bank, tiling, workspace)
        self._sums = KernelSums(bank, job.shape)
        self._windows = Windows(tiling, job.shape, workspace)
        self._precise = job.bad_fraction < _SINGLE
        self._limit = max(job.bad_fraction, _DOUBLE)
        self._edge, self._bad = (job.masks.bits([name]) for name in ("EDGE", "DECORR_BAD"))

    def __call__(self, tile: Box, mask: Array, replaced: Array | None) -> None:
        """Set them in a tile's mask, given which pixels are replaced of what is seen for it."""
        limit = self._limit
        outside: list[tuple[tuple[slice, slice], Array]] = []
        if self._sums.reach_beyond(tile):
            local = self._spread.local(tile, _ERROR_OF_SUMS)
            outside = [(index, 1 - share) for index, share in self._sums.inside(local, [1.0])]
        for index, fraction in outside:
            mask[index] |= np.where(fraction > limit, self._edge, np.int32(0))
        if replaced is None:
            return
        padded, pixels = self._windows.array("replaced", tile)
        pixels[...] = replaced
        lost = self._spread(self._spread.local(tile, _ERROR), [padded.astype(np.float64) if self._precise else padded])
        bad = lost > limit
        for index, fraction in outside:
            bad[index] |= (lost[index] + fraction > limit) & (fraction <= limit)
        mask[bad] |= self._bad
