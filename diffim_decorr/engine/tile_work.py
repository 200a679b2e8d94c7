"""What is done to each tile of a part of the field: fill holes, convolve, propagate variance and mask."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diffim_decorr.engine.convolve import GROUPS, KERNEL_BYTES, TileConvolver
from diffim_decorr.engine.flags import Flags
from diffim_decorr.engine.job import Job, Part
from diffim_decorr.engine.kernel_sums import KernelSums
from diffim_decorr.engine.narrow import half_width_within, narrowed
from diffim_decorr.engine.reach import Reach
from diffim_decorr.engine.tiles import Tiling
from diffim_decorr.engine.variance import VariancePropagation
from diffim_decorr.engine.window import Windows
from diffim_decorr.engine.workspace import Workspace
from diffim_decorr.geometry import Box
from diffim_decorr.images.absent import absent, largest_size, unexplained
from diffim_decorr.kernels.bank import KernelBank

__all__ = ("TileWork",)

Array = NDArray[Any]

# Transforms in single precision have errors of 1e-7 of the brightest pixel; tiles with brighter ones than this, in
# units of the noise, are transformed in double precision.
_BRIGHT = 300.0
# Noise is hardly ever larger, in units of its scatter.
_NOISE = 5.0
# Pixels up to which narrower filters are made, in units of the noise; what may be missing of these, as a share of what
# may be left out, and what trace such a pixel may leave where they end.
_LIMITS = (50.0, 5000.0)
_CUT, _TRACE = 0.1, 1e-3
# How much more memory tiles take on average, of which some are worked on in double precision.
_PRECISE = 1.25


class TileWork:
    """What is done to each tile of a part of the field; safe to call from several threads."""

    def __init__(self, job: Job, part: Part, tiling: Tiling, workspace: Workspace) -> None:
        self._job, self._part = job, part
        self.tiling = tiling
        self._windows = Windows(tiling, job.shape, workspace)
        psi = KernelBank.of(part.psi)
        self._filters = tuple(_filters(part, psi, tiling, job.shape, workspace))
        self._variance = VariancePropagation(job, part, tiling, workspace)
        spreads = part.spreads or (None,) * len(job.inputs)
        self._reaches = [Reach(*source, job, tiling) for source in zip(job.inputs, spreads, strict=True)]
        self._level = job.background.level
        self._sums = KernelSums(psi, job.shape) if self._level else None
        self._flags = Flags(job, part, tiling, workspace)
        # A filter that amplifies does so with rounding errors, too.
        amplification = max(1.0, float(np.abs(part.psi.basis).sum(axis=(1, 2)).max()))
        self._bright = _BRIGHT * job.sigma / amplification
        self._noise, self._error = _NOISE * job.sigma, part.error
        self._replace_bits = job.masks.bits(job.replaced)
        self._no_data = job.masks.bits(["NO_DATA"])
        self._filled_bit = job.masks.bits(["DECORR_FILLED"])

    def __call__(self, tile: Box, image: Array, mask: Array, variance: Array) -> None:
        """Put the result's pixels into arrays of the tile's shape."""
        job = self._job
        inside, own = self._windows.inside(tile), self._windows.own(tile)
        padded, pixels = self._windows.array("image", tile)
        job.image.read_into(inside, pixels)
        bits = job.masks.set_bits(inside)
        size = largest_size(pixels)
        missing, reached = self._missing(pixels, size, inside)
        replaced = _either(missing, None if bits is None else (bits & self._replace_bits) != 0)
        # What an input's defects have become is replaced as well; of the variance planes they take no part.
        filled = _either(replaced, reached)
        lost = None if missing is None else pixels[own].copy()
        if self._level:
            pixels -= np.float32(self._level)
        if filled is not None:
            background = job.background.within(inside)
            pixels[filled] = background[filled] if isinstance(background, np.ndarray) else background
        if filled is not None or self._level:
            size = largest_size(pixels)
        image[...] = self._filtered(tile, inside, padded, pixels, size)
        if self._sums is not None:  # of an image that is the same everywhere the filter makes its sum
            image += self._sums.whole(tile, [self._level])
        variance[...] = self._variance(tile, inside, replaced)
        if job.calibration is not None:
            variance *= job.calibration.within(tile).astype(np.float32)
        mask[...] = 0 if bits is None else bits[own]
        self._flags(tile, mask, filled)
        if filled is not None:
            mask[filled[own]] |= self._filled_bit
        if missing is not None and lost is not None:
            hole = missing[own]
            image[hole] = np.where(np.isfinite(lost), np.nan, lost)[hole]
            variance[hole] = np.nan
            mask[hole] |= self._no_data

    @property
    def bytes_each(self) -> int:
        """Bytes that a thread takes for a tile."""
        height, width = self.tiling.fft_shape
        images = max(len(self._job.variances), 1)
        # Three planes and the variances; the images as they are transformed, their transforms, what becomes of these.
        planes = 3 + images + 2 * images + 1 + GROUPS
        return int(_PRECISE * 4 * height * width * planes) + KERNEL_BYTES

    @property
    def bytes_kept(self) -> int:
        """Bytes that kernels and sums of them take for as long as there are tiles."""
        part = self._part
        filters = sum(convolver.bank.bases.nbytes for _, _, convolver in self._filters)
        return filters + part.psi.basis.nbytes + 2 * (part.footprint.basis.nbytes + part.variance_kernels.bases.nbytes)

    def _filtered(self, tile: Box, inside: Box, padded: Array, pixels: Array, size: float) -> Array:
        """A tile's pixels after the filter, given what is seen of the image and its largest absolute value."""
        *narrow_ones, widest = self._filters
        fitting = [own for own in narrow_ones if size <= own[0] * self._job.sigma]
        limit, windows, convolver = (*fitting, widest)[0]
        if limit < np.inf:
            own = windows.inside(tile).shifted(-inside.x0, -inside.y0).slices
            padded, narrow = windows.array("narrow", tile)
            narrow[...] = pixels[own]
        precise = padded if size <= self._bright else padded.astype(np.float64)
        # What is left out shows next to bright pixels first.
        error = self._error * (self._noise / size if size > self._noise else 1.0)
        return convolver(convolver.local(tile, error), [precise])

    def held(self, tile: Box) -> list[Any]:
        """As `Plane.held`, for all that is read for tiles in the same row."""
        inside = self._windows.inside(tile)
        held = [plane.held(inside.y0, inside.y1) for plane in (self._job.masks, self._job.image)]
        held += self._variance.held(tile)
        for source, reach in zip(self._job.inputs, self._reaches, strict=True):
            seen = reach.seen(inside)
            held += [p.held(seen.y0, seen.y1) for p in (source.plane, source.mask) if p is not None]
        return held

    def _missing(self, pixels: Array, size: float, inside: Box) -> tuple[Array | None, Array | None]:
        """Pixels without a value, in the image or in what it was made of, or without a matching kernel; and those that
        defects of a convolved image have reached. None if there are none."""
        missing, reached = absent(pixels, self._job.fills, self._job.largest, size), None
        if unexplained(pixels, missing, self._job.fills, self._job.largest):
            self._job.oversized.set()
        for reach in self._reaches:
            hole, far = reach(inside)
            missing, reached = _either(missing, hole), _either(reached, far)
        if self._job.regions:
            uncovered = np.ones(inside.shape, dtype=bool)
            for box in self._job.regions:
                uncovered[box.shifted(-inside.x0, -inside.y0).clipped(inside.shape).slices] = False
            if uncovered.any():
                missing = _either(missing, uncovered)
        return missing, reached


def _filters(
    part: Part, psi: KernelBank, tiling: Tiling, field: tuple[int, int], workspace: Workspace
) -> Iterator[tuple[float, Windows, TileConvolver]]:
    """Up to which pixels, in units of the noise, a filter will do, from the narrowest to ψ as it is."""
    for limit in _LIMITS if part.error else ():
        half_width = half_width_within(part.psi, part.box, _CUT * part.error, _TRACE / limit)
        if half_width < psi.reach:
            own = Tiling(tiling.shape, half_width)
            yield limit, Windows(own, field, workspace), TileConvolver(narrowed(psi, half_width), own, workspace)
    yield np.inf, Windows(tiling, field, workspace), TileConvolver(psi, tiling, workspace)


def _either(one: Array | None, other: Array | None) -> Array | None:
    """Pixels that are in one of two masks; None if there are none."""
    if other is None or not other.any():
        return one
    return other if one is None else one | other
