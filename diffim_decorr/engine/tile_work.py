"""What is done to each tile: fill holes, convolve, propagate variance and mask."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from diffim_decorr.engine.convolve import TileConvolver, Workspace
from diffim_decorr.engine.flags import Flags
from diffim_decorr.engine.job import Job
from diffim_decorr.engine.tiles import Tiling
from diffim_decorr.engine.variance import VariancePropagation
from diffim_decorr.geometry import Box
from diffim_decorr.kernels.bank import KernelBank

__all__ = ("TileWork",)

Array = NDArray[Any]

# Transforms in single precision have errors of 1e-7 of the brightest pixel; tiles with brighter ones than this, in
# units of the noise, are transformed in double precision.
_BRIGHT = 300.0


class TileWork:
    """What is done to each tile; safe to call from several threads."""

    def __init__(self, job: Job, tiling: Tiling | None = None) -> None:
        self._job = job
        self.tiling = tiling or job.tiling()
        self._workspace = Workspace()
        self._filter = TileConvolver(KernelBank.of(job.psi), self.tiling, self._workspace)
        self._variance = VariancePropagation(job, self.tiling, self._workspace, self._buffer)
        self._flags = Flags(job, self.tiling, self._workspace, self._buffer)
        # A filter that amplifies does so with rounding errors, too.
        amplification = max(1.0, float(np.abs(job.psi.basis).sum(axis=(1, 2)).max()))
        self._bright = _BRIGHT * job.sigma / amplification
        self._replace_bits = job.masks.bits(job.replaced)
        self._no_data = job.masks.bits(["NO_DATA"])

    def __call__(self, tile: Box, image: Array, mask: Array, variance: Array) -> None:
        """Put the result's pixels into arrays of the tile's shape."""
        job = self._job
        window = tile.grown(self.tiling.halo)
        inside = window.clipped(job.shape)
        own = tile.shifted(-inside.x0, -inside.y0).slices
        padded, pixels = self._buffer("image", window, inside)
        job.image.read_into(inside, pixels)
        bits = job.masks.read(inside)
        missing = self._missing(pixels, inside)
        replaced = _either(missing, bits & self._replace_bits)
        lost = None if missing is None else pixels[own].copy()
        if replaced is not None:
            pixels[replaced] = 0
        bright = not (-self._bright <= pixels.min() and pixels.max() <= self._bright)
        image[...] = self._filter(tile, [padded.astype(np.float64) if bright else padded])
        variance[...] = self._variance(tile, window, inside, replaced)
        mask[...] = bits[own]
        self._flags(tile, window, inside, mask, replaced)
        if missing is not None and lost is not None:
            hole = missing[own]
            image[hole] = np.where(np.isfinite(lost), np.nan, lost)[hole]
            variance[hole] = np.nan
            mask[hole] |= self._no_data

    def held(self, tile: Box) -> list[Any]:
        """As `Plane.held`, for all that is read for tiles in the same row."""
        inside = tile.grown(self.tiling.halo).clipped(self._job.shape)
        planes = [self._job.image, *(variance.plane for variance in self._job.variances)]
        return [self._job.masks.held(inside.y0, inside.y1), *(p.held(inside.y0, inside.y1) for p in planes)]

    def pixels(self, box: Box) -> tuple[Array, Array]:
        """The filtered image, NaN where it is flagged, and its variance; the box must not be larger than a tile."""
        image, variance = (np.empty(box.shape, dtype=np.float32) for _ in range(2))
        mask = np.empty(box.shape, dtype=np.int32)
        self(box, image, mask, variance)
        image[(mask & self._job.masks.bits(("NO_DATA", "EDGE", "DECORR_BAD"))) != 0] = np.nan
        return image, variance

    def _missing(self, pixels: Array, inside: Box) -> Array | None:
        """Pixels without a value or without a matching kernel; None if there are none."""
        value, regions = self._job.missing_value, self._job.regions
        if value is None and not regions and np.isfinite(pixels.min()) and np.isfinite(pixels.max()):
            return None
        missing = ~np.isfinite(pixels)
        if value is not None:
            missing |= pixels == np.float32(value)
        if regions:
            uncovered = np.ones(inside.shape, dtype=bool)
            for box in regions:
                uncovered[box.shifted(-inside.x0, -inside.y0).clipped(inside.shape).slices] = False
            missing |= uncovered
        return missing if missing.any() else None

    def _buffer(self, name: str, window: Box, inside: Box) -> tuple[Array, Array]:
        """An array of the transforms' shape for a tile's window, zero outside the image, and the part inside."""
        padded = self._workspace.array(name, self.tiling.fft_shape, np.float32)
        ny, nx = window.shape
        if inside == window:
            padded[ny:] = 0
            padded[:, nx:] = 0
        else:
            padded[...] = 0
        return padded, padded[inside.shifted(-window.x0, -window.y0).slices]


def _either(missing: Array | None, bits: Array) -> Array | None:
    """Pixels that are missing or have bits set; None if there are none."""
    if not bits.any():
        return missing
    flagged: Array = bits != 0
    return flagged if missing is None else flagged | missing
