"""Filtering the difference, and propagating variance and mask, tile by tile."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from diffim_decorr.convolution import FilterBank, TileConvolver, Tiling, Workspace
from diffim_decorr.masks import EdgeLoss
from diffim_decorr.plan import Plan
from diffim_decorr.spatial import Box

__all__ = ("MemorySink", "Progress", "Sink", "TileWork", "apply", "tiling_of")

Array = NDArray[Any]
Progress = Callable[[int, int], None]

# Transforms in single precision have errors of 1e-7 of the brightest pixel; tiles with brighter ones than this, in
# units of the noise (of the median for variances), are transformed in double precision.
_BRIGHT = 300.0
_BRIGHT_VARIANCE = 1e4
# A variance this many times that of the background says that there is no information.
_BOUNDLESS = 1e8


class Sink(Protocol):
    """Where the result goes, rows of pixels at a time, in any order and from several threads."""

    def write(self, y0: int, image: Array, mask: Array, variance: Array) -> None:
        """Take rows from y0 on: float32, int32, float32; the arrays may be overwritten."""

    def read(self, box: Box) -> tuple[Array, Array, Array]:
        """Image, mask and variance within a box that has been written."""


class MemorySink:
    """Keeps the result in memory."""

    def __init__(self, shape: tuple[int, int]) -> None:
        self.image = np.empty(shape, dtype=np.float32)
        self.mask = np.empty(shape, dtype=np.int32)
        self.variance = np.empty(shape, dtype=np.float32)

    def write(self, y0: int, image: Array, mask: Array, variance: Array) -> None:
        rows = slice(y0, y0 + len(image))
        self.image[rows], self.mask[rows], self.variance[rows] = image, mask, variance

    def read(self, box: Box) -> tuple[Array, Array, Array]:
        return self.image[box.slices], self.mask[box.slices], self.variance[box.slices]


def apply(plan: Plan, sink: Sink, progress: Progress | None = None) -> None:
    """Filter the difference, propagate variance and mask, tile by tile."""
    with plan.timed("filter"):
        work = TileWork(plan)
        tiles = list(work.tiling)
        rows = _Rows(work.tiling)
        lock = threading.Lock()
        done = 0

        def process(tile: Box) -> None:
            nonlocal done
            with lock:
                arrays = rows.arrays(tile)
            work(tile, *(array[:, tile.x0 : tile.x1] for array in arrays))
            with lock:
                complete = rows.complete(tile)
                done += 1
                if progress is not None:
                    progress(done, len(tiles))
            if complete:
                sink.write(tile.y0, *arrays)
                with lock:
                    rows.release(tile)

        with ThreadPoolExecutor(plan.options.threads) as pool:
            futures = [pool.submit(process, tile) for tile in tiles]
            try:
                for future in futures:
                    future.result()
            except BaseException:
                for future in futures:
                    future.cancel()
                raise


class _Rows:
    """Pixels of rows of tiles, kept until all tiles of a row are done; not safe without a lock."""

    def __init__(self, tiling: Tiling) -> None:
        self._width = tiling.shape[1]
        self._left = {y0: len(tiling.columns) for y0, _ in tiling.rows}
        self._arrays: dict[int, tuple[Array, Array, Array]] = {}
        self._free: list[tuple[Array, Array, Array]] = []

    def arrays(self, tile: Box) -> tuple[Array, Array, Array]:
        """Image, mask and variance of a tile's row."""
        if tile.y0 not in self._arrays:
            shape = (tile.shape[0], self._width)
            fitting = next((k for k, free in enumerate(self._free) if free[0].shape == shape), None)
            if fitting is not None:
                self._arrays[tile.y0] = self._free.pop(fitting)
            else:
                image, variance = (np.empty(shape, dtype=np.float32) for _ in range(2))
                self._arrays[tile.y0] = (image, np.empty(shape, dtype=np.int32), variance)
        return self._arrays[tile.y0]

    def complete(self, tile: Box) -> bool:
        """Note that a tile is done; whether its row is."""
        self._left[tile.y0] -= 1
        return self._left[tile.y0] == 0

    def release(self, tile: Box) -> None:
        """Let a row's arrays be used again."""
        self._free.append(self._arrays.pop(tile.y0))


def tiling_of(plan: Plan, shape: tuple[int, int] | None = None) -> Tiling:
    """Tiles of the image, or for windows of some shape, with the halo that the plan's kernels need."""
    psi, variance = plan.decorrelation.psi, plan.decorrelation.variance
    return Tiling(shape or plan.shape, max(max(psi.shape) // 2, variance.reach))


class TileWork:
    """What is done to each tile; safe to call from several threads."""

    def __init__(self, plan: Plan, tiling: Tiling | None = None) -> None:
        psi, variance, footprint = (
            plan.decorrelation.psi,
            plan.decorrelation.variance,
            plan.decorrelation.footprint,
        )
        self._plan = plan
        self.tiling = tiling or tiling_of(plan)
        self._workspace = Workspace()
        self._filter = TileConvolver(FilterBank.of(psi), self.tiling, self._workspace)
        self._propagate = TileConvolver(variance, self.tiling, self._workspace)
        self._spread = TileConvolver(FilterBank.of(footprint), self.tiling, self._workspace)
        self._edge_loss = EdgeLoss(footprint, plan.shape)
        self._gains = variance.bases.sum(axis=(2, 3))
        self._levels = [noise.level for noise in plan.planes]
        # A filter that amplifies does so with rounding errors, too.
        amplification = max(1.0, float(np.abs(psi.basis).sum(axis=(1, 2)).max()))
        self._bright = _BRIGHT * float(np.sqrt(plan.noise.science + plan.noise.template)) / amplification
        self._boxes = plan.kernel.kernel.boxes
        self._bits = {name: plan.masks.bits([name]) for name in plan.masks.planes}
        self._replace_bits = plan.masks.bits(plan.options.replace_planes)
        for convolver in (self._filter, self._propagate, self._spread):
            convolver.prepare()

    def __call__(self, tile: Box, image: Array, mask: Array, variance: Array) -> None:
        """Put the result's pixels into arrays of the tile's shape."""
        plan = self._plan
        window = tile.grown(self.tiling.halo)
        inside = window.clipped(plan.shape)
        own = tile.shifted(-inside.x0, -inside.y0).slices
        padded, pixels = self._buffer("image", window, inside)
        plan.difference.image_plane.read_into(inside, pixels)
        missing = ~np.isfinite(pixels)
        if plan.difference.missing_value is not None:
            missing |= pixels == np.float32(plan.difference.missing_value)
        if self._boxes:
            missing |= self._uncovered(inside)
        bits = plan.masks.read(inside)
        replaced = missing | ((bits & self._replace_bits) != 0)
        hole = missing[own]
        holes = bool(hole.any())
        lost = pixels[own][hole] if holes else None
        spoiled = bool(replaced.any())
        if spoiled:
            pixels[replaced] = 0
        image[...] = self._filter(tile, self._precise([padded], self._bright))
        variance[...] = self._variance(tile, window, inside, replaced if spoiled else None)
        mask[...] = bits[own]
        self._flag(tile, window, inside, mask, replaced if spoiled else None)
        if lost is not None:
            image[hole] = np.where(np.isfinite(lost), np.nan, lost)
            variance[hole] = np.nan
            mask[hole] |= self._bits["NO_DATA"]

    def pixels(self, box: Box) -> tuple[Array, Array]:
        """The filtered image, NaN where it is flagged, and its variance; the box must not be larger than a tile."""
        image, variance = (np.empty(box.shape, dtype=np.float32) for _ in range(2))
        mask = np.empty(box.shape, dtype=np.int32)
        self(box, image, mask, variance)
        image[(mask & self._plan.masks.bits(("NO_DATA", "EDGE", "DECORR_BAD"))) != 0] = np.nan
        return image, variance

    def _uncovered(self, inside: Box) -> Array:
        """Pixels for which there is no matching kernel."""
        uncovered = np.ones(inside.shape, dtype=bool)
        for box in self._boxes:
            part = box.shifted(-inside.x0, -inside.y0).clipped(inside.shape)
            uncovered[part.slices] = False
        return uncovered

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

    def _precise(self, images: list[Array], bright: float) -> list[Array]:
        """The images, in double precision where one of them has pixels that single precision is not enough for."""
        if all(-bright <= float(image.min()) and float(image.max()) <= bright for image in images):
            return images
        return [image.astype(np.float64) for image in images]

    def _variance(self, tile: Box, window: Box, inside: Box, replaced: Array | None) -> Array:
        if self._plan.options.variance == "estimate":
            return self._estimated_variance(tile)
        padded, holes = [], []
        own = tile.shifted(-inside.x0, -inside.y0).slices
        for k, (noise, level) in enumerate(zip(self._plan.planes, self._levels, strict=True)):
            array, pixels = self._buffer(f"variance{k}", window, inside)
            noise.plane.read_into(inside, pixels)
            unknown = _fill_unknown(pixels, level)
            if unknown is not None:
                hole = unknown[0][own]
                holes.append((hole, unknown[1][own][hole]))
            if replaced is not None:
                pixels[replaced] = 0
            padded.append(array)
        result = self._propagate(tile, self._precise(padded, _BRIGHT_VARIANCE * max(self._levels)))
        # Rounding may leave tiny negative values where all pixels around are replaced.
        np.maximum(result, 0, out=result)
        for hole, values in holes:
            result[hole] = values
        return result

    def _estimated_variance(self, tile: Box) -> Array:
        x, y = np.arange(tile.x0, tile.x1), np.arange(tile.y0, tile.y1)
        gains = np.tensordot(self._gains, self._propagate.bank.coefficients.grid(x, y), axes=1)
        result: Array = np.zeros(tile.shape)
        for noise, level, gain in zip(self._plan.planes, self._levels, gains, strict=True):
            variance = noise.plane.read(tile).astype(np.float64)
            unknown = _fill_unknown(variance, level)
            if unknown is not None:
                variance[unknown[0]] = unknown[1][unknown[0]]
            result += gain * variance
        return result

    def _flag(self, tile: Box, window: Box, inside: Box, mask: Array, replaced: Array | None) -> None:
        limit = self._plan.options.bad_fraction
        outside = self._edge_loss(tile)
        edge = None if outside is None else outside > limit
        if edge is not None:
            mask[edge] |= self._bits["EDGE"]
        if replaced is not None:
            padded, pixels = self._buffer("replaced", window, inside)
            pixels[...] = replaced
            fraction = self._spread(tile, [padded])
            bad = fraction > limit
            if outside is not None and edge is not None:
                bad |= (fraction + outside > limit) & ~edge
            mask[bad] |= self._bits["DECORR_BAD"]


def _fill_unknown(variance: Array, level: float) -> tuple[Array, Array] | None:
    """Put the background's variance where there is none.

    Returns
    -------
    hole, values
        Where the variance stands for a pixel without information, being not finite or beyond all bounds, and the
        variance as it was; None if there is no such pixel.
    """
    # Comparisons with NaN are false, so that one pass finds all that is usual.
    known = (variance > 0) & (variance < _BOUNDLESS * level)
    if known.all():
        return None
    hole = ~known & ~(variance <= 0)
    values = variance.copy()
    # An unknown variance is most likely that of the background.
    variance[~known] = level
    return (hole, values) if hole.any() else None
