"""What is done to tiles and windows anywhere in the field, each in the part of it that it lies in."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from diffim_decorr.engine.job import Job
from diffim_decorr.engine.tile_work import TileWork
from diffim_decorr.engine.tiles import TileRow, Tiling
from diffim_decorr.engine.workspace import Workspace
from diffim_decorr.geometry import Box, divided

__all__ = ("FieldWork",)

Array = NDArray[Any]


class FieldWork:
    """What is done to tiles and windows anywhere in the field; safe to call from several threads.

    Parameters
    ----------
    job
        What is to be done.
    window
        Largest shape (ny, nx) of the windows that are asked for; that of its tiles without.
    """

    def __init__(self, job: Job, window: tuple[int, int] | None = None) -> None:
        self._job = job
        self._boxes = [part.box for part in job.parts]
        self.tiling = job.tiling
        workspace = Workspace()
        tilings = [
            self.tiling.tiling(k) if window is None else Tiling(window, part.halo) for k, part in enumerate(job.parts)
        ]
        self._works = [TileWork(job, part, tiling, workspace) for part, tiling in zip(job.parts, tilings, strict=True)]
        #: Shape of the largest transforms.
        self.fft_shape = max((tiling.fft_shape for tiling in tilings), key=np.prod)
        self._nothing = job.masks.bits(["NO_DATA", "DECORR_FILLED"])
        #: Bytes that a thread takes for a tile, and all tiles together for kernels.
        self.bytes_each = max(work.bytes_each for work in self._works)
        self.bytes_kept = sum(work.bytes_kept for work in self._works)

    def __call__(self, tile: Box, part: int | None, image: Array, mask: Array, variance: Array) -> None:
        """Put the result's pixels into arrays of the tile's shape; None is the part that there is no ψ for."""
        if part is None:
            image[...] = variance[...] = np.nan
            mask[...] = self._job.masks.read(tile) | self._nothing
        else:
            self._works[part](tile, image, mask, variance)

    def held(self, row: TileRow) -> list[Any]:
        """As `Plane.held`, for all that is read for a row of tiles."""
        one_of_each = {part: tile for tile, part in row if part is not None}
        return [held for part, tile in one_of_each.items() for held in self._works[part].held(tile)]

    def pixels(self, box: Box) -> tuple[Array, Array]:
        """The filtered image, NaN where it is flagged, and its variance; of no larger box than a window or tile."""
        image, variance = (np.empty(box.shape, dtype=np.float32) for _ in range(2))
        mask = np.empty(box.shape, dtype=np.int32)
        for band in divided(box, self._boxes):
            for piece, part in band:
                own = piece.shifted(-box.x0, -box.y0).slices
                self(piece, part, image[own], mask[own], variance[own])
        image[(mask & self._job.masks.bits(("NO_DATA", "EDGE", "DECORR_BAD"))) != 0] = np.nan
        return image, variance
