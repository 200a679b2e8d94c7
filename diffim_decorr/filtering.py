"""Filtering the difference, and propagating variance and mask, tile by tile."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from diffim_decorr.convolution import FilterBank, TileConvolver, Tiling, Workspace
from diffim_decorr.coverage import KernelSums
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

    def rows(self, y0: int, y1: int) -> tuple[Array, Array, Array] | None:
        """Arrays of its own for rows of image, mask and variance, or None if it has none and they are to be written."""

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

    def rows(self, y0: int, y1: int) -> tuple[Array, Array, Array]:
        return self.image[y0:y1], self.mask[y0:y1], self.variance[y0:y1]

    def write(self, y0: int, image: Array, mask: Array, variance: Array) -> None:
        """Nothing is left to do: the rows are in their place."""

    def read(self, box: Box) -> tuple[Array, Array, Array]:
        return self.image[box.slices], self.mask[box.slices], self.variance[box.slices]


def apply(plan: Plan, sink: Sink, progress: Progress | None = None) -> None:
    """Filter the difference, propagate variance and mask, tile by tile."""
    with plan.timed("filter"):
        work = TileWork(plan)
        tiles = list(work.tiling)
        rows = _Rows(work, sink)
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

    def __init__(self, work: TileWork, sink: Sink) -> None:
        self._width = work.tiling.shape[1]
        self._work = work
        self._sink = sink
        self._left = {y0: len(work.tiling.columns) for y0, _ in work.tiling.rows}
        self._held: dict[int, Any] = {}
        self._arrays: dict[int, tuple[Array, Array, Array]] = {}
        self._free: list[tuple[Array, Array, Array]] = []

    def arrays(self, tile: Box) -> tuple[Array, Array, Array]:
        """Image, mask and variance of a tile's row."""
        if tile.y0 not in self._arrays:
            self._held[tile.y0] = self._work.held(tile)
            self._arrays[tile.y0] = self._sink.rows(tile.y0, tile.y1) or self._buffers((tile.shape[0], self._width))
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
        self._footprint_sums = KernelSums(FilterBank.of(footprint), plan.shape)
        self._gains = KernelSums(variance, plan.shape)
        self._levels = [noise.level for noise in plan.planes]
        # A filter that amplifies does so with rounding errors, too.
        amplification = max(1.0, float(np.abs(psi.basis).sum(axis=(1, 2)).max()))
        self._bright = _BRIGHT * float(np.sqrt(plan.noise.science + plan.noise.template)) / amplification
        self._boxes = plan.kernel.kernel.boxes
        self._bits = {name: plan.masks.bits([name]) for name in plan.masks.planes}
        self._replace_bits = plan.masks.bits(plan.options.replace_planes)

    def __call__(self, tile: Box, image: Array, mask: Array, variance: Array) -> None:
        """Put the result's pixels into arrays of the tile's shape."""
        plan = self._plan
        window = tile.grown(self.tiling.halo)
        inside = window.clipped(plan.shape)
        own = tile.shifted(-inside.x0, -inside.y0).slices
        padded, pixels = self._buffer("image", window, inside)
        plan.difference.image_plane.read_into(inside, pixels)
        bits = plan.masks.read(inside)
        missing = self._missing(pixels, inside)
        replaced = _either(missing, bits & self._replace_bits)
        lost = None if missing is None else pixels[own].copy()
        if replaced is not None:
            pixels[replaced] = 0
        precise = not (-self._bright <= pixels.min() and pixels.max() <= self._bright)
        image[...] = self._filter(tile, [_as_precise(padded, precise)])
        variance[...] = self._variance(tile, window, inside, replaced)
        mask[...] = bits[own]
        self._flag(tile, window, inside, mask, replaced)
        if missing is not None and lost is not None:
            hole = missing[own]
            image[hole] = np.where(np.isfinite(lost), np.nan, lost)[hole]
            variance[hole] = np.nan
            mask[hole] |= self._bits["NO_DATA"]

    def held(self, tile: Box) -> list[Any]:
        """As `Plane.held`, for all that is read for tiles in the same row."""
        inside = tile.grown(self.tiling.halo).clipped(self._plan.shape)
        planes = [self._plan.difference.image_plane, *(noise.plane for noise in self._plan.planes)]
        return [self._plan.masks.held(inside.y0, inside.y1), *(p.held(inside.y0, inside.y1) for p in planes)]

    def pixels(self, box: Box) -> tuple[Array, Array]:
        """The filtered image, NaN where it is flagged, and its variance; the box must not be larger than a tile."""
        image, variance = (np.empty(box.shape, dtype=np.float32) for _ in range(2))
        mask = np.empty(box.shape, dtype=np.int32)
        self(box, image, mask, variance)
        image[(mask & self._plan.masks.bits(("NO_DATA", "EDGE", "DECORR_BAD"))) != 0] = np.nan
        return image, variance

    def _missing(self, pixels: Array, inside: Box) -> Array | None:
        """Pixels without a value or without a matching kernel; None if there are none."""
        value = self._plan.difference.missing_value
        if value is None and not self._boxes and np.isfinite(pixels.min()) and np.isfinite(pixels.max()):
            return None
        missing = ~np.isfinite(pixels)
        if value is not None:
            missing |= pixels == np.float32(value)
        if self._boxes:
            uncovered = np.ones(inside.shape, dtype=bool)
            for box in self._boxes:
                part = box.shifted(-inside.x0, -inside.y0).clipped(inside.shape)
                uncovered[part.slices] = False
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

    def _variance(self, tile: Box, window: Box, inside: Box, replaced: Array | None) -> Array:
        if self._plan.options.variance == "estimate":
            return self._estimated_variance(tile)
        images, same, holes = [], [], []
        own = tile.shifted(-inside.x0, -inside.y0).slices
        brightest = 0.0
        for k, (noise, level) in enumerate(zip(self._plan.planes, self._levels, strict=True)):
            padded, pixels = self._buffer(f"variance{k}", window, inside)
            noise.plane.read_into(inside, pixels)
            least, most = pixels.min(), pixels.max()
            if not (least > 0 and most < _BOUNDLESS * level):  # or one of them NaN
                hole, values = _fill_unknown(pixels, level)
                holes.append((hole[own], values[own]))
                least, most = pixels.min(), pixels.max()
            # The same variance all over needs no transform, unless there are pixels without any in between.
            is_same = replaced is None and least == most
            same.append(float(least) if is_same else 0.0)
            images.append(None if is_same else padded)
            brightest = max(brightest, 0.0 if is_same else float(most))
            if replaced is not None:
                pixels[replaced] = 0
        result = self._same_everywhere(tile, same)
        if any(image is not None for image in images):
            precise = brightest > _BRIGHT_VARIANCE * max(self._levels)
            result += self._propagate(tile, [_as_precise(image, precise) for image in images])
            # Rounding may leave tiny negative values where all pixels around are replaced.
            np.maximum(result, 0, out=result)
        for hole, values in holes:
            result[hole] = values[hole]
        return result

    def _same_everywhere(self, tile: Box, variances: Sequence[float]) -> Array:
        """The result's variance where each input has the same one all over."""
        if not any(variances):
            return np.zeros(tile.shape, dtype=np.float32)
        result = np.empty(tile.shape, dtype=np.float32)
        result[...] = self._gains.whole(tile, variances)
        for index, inside in self._gains.inside(tile, variances):
            result[index] = inside
        return result

    def _estimated_variance(self, tile: Box) -> Array:
        result = np.zeros(tile.shape, dtype=np.float32)
        variance = self._workspace.array("estimate", tile.shape, np.float32)
        alone = np.eye(len(self._levels))
        for noise, level, one in zip(self._plan.planes, self._levels, alone, strict=True):
            noise.plane.read_into(tile, variance)
            if not (variance.min() > 0 and variance.max() < _BOUNDLESS * level):  # or one of them NaN
                hole, values = _fill_unknown(variance, level)
                variance[hole] = values[hole]
            variance *= self._gains.whole(tile, one)
            result += variance
        return result

    def _flag(self, tile: Box, window: Box, inside: Box, mask: Array, replaced: Array | None) -> None:
        limit = self._plan.options.bad_fraction
        outside = [(index, 1 - inside) for index, inside in self._footprint_sums.inside(tile, [1.0])]
        for index, fraction in outside:
            mask[index] |= np.where(fraction > limit, self._bits["EDGE"], np.int32(0))
        if replaced is not None:
            padded, pixels = self._buffer("replaced", window, inside)
            pixels[...] = replaced
            lost = self._spread(tile, [padded])
            bad = lost > limit
            for index, fraction in outside:
                bad[index] |= (lost[index] + fraction > limit) & (fraction <= limit)
            mask[bad] |= self._bits["DECORR_BAD"]


def _either(missing: Array | None, bits: Array) -> Array | None:
    """Pixels that are missing or have bits set; None if there are none."""
    if not bits.any():
        return missing
    flagged: Array = bits != 0
    return flagged if missing is None else flagged | missing


def _as_precise(image: Array | None, precise: bool) -> Array | None:
    return image.astype(np.float64) if precise and image is not None else image


def _fill_unknown(variance: Array, level: float) -> tuple[Array, Array]:
    """Put the background's variance where there is none.

    Returns
    -------
    hole, values
        Where the variance stands for a pixel without information, being not finite or beyond all bounds, and the
        variances as they were.
    """
    values = variance.copy()
    # Comparisons with NaN are false. An unknown variance is most likely that of the background.
    known = (variance > 0) & (variance < _BOUNDLESS * level)
    variance[~known] = level
    return ~known & ~(values <= 0), values
