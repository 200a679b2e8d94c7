"""Propagation of variance planes through a tile: convolved with squared kernels, or scaled by the sums of these."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diffim_decorr.engine.convolve import TileConvolver
from diffim_decorr.engine.job import Job, Part
from diffim_decorr.engine.kernel_sums import KernelSums
from diffim_decorr.engine.local import LocalKernels
from diffim_decorr.engine.tiles import Tiling
from diffim_decorr.engine.window import Windows
from diffim_decorr.engine.workspace import Workspace
from diffim_decorr.geometry import Box
from diffim_decorr.noise.plane_level import PlaneLevel

__all__ = ("VariancePropagation",)

Array = NDArray[Any]

# Transforms in single precision have errors of 1e-7 of the largest value; tiles with larger ones than this, in units of
# the background's, are transformed in double precision.
_BRIGHT = 1e4
# By how much the kernels may be simplified within a tile, relative to the variance.
_ERROR = 3e-4


class VariancePropagation:
    """``V' = sum_i (ψ ⊗ κ_i)² ⊗ V_i`` of tiles, or the estimate ``sum_i V_i sum (ψ ⊗ κ_i)²``.

    References
    ----------
    Kovacs, DMTN-179, section 5.
    """

    def __init__(self, job: Job, part: Part, tiling: Tiling, workspace: Workspace) -> None:
        self._job = job
        self._workspace = workspace
        # Squares fall off faster than what they are the squares of: they need less of a halo.
        narrow = Tiling(tiling.shape, part.variance_kernels.reach)
        self._windows = Windows(narrow, job.shape, workspace)
        self._levels = [variance.background for variance in job.variances]
        levels = np.array([background.level for background in self._levels])
        self._propagate = TileConvolver(part.variance_kernels, narrow, workspace, levels if levels.any() else None)
        self._gains = KernelSums(part.variance_kernels, job.shape)
        self._error = _ERROR * float(levels @ self._gains.means) if len(levels) else 0.0

    def held(self, tile: Box) -> list[Any]:
        """As `Plane.held`, for tiles in the same row."""
        inside = self._windows.inside(tile)
        return [variance.plane.held(inside.y0, inside.y1) for variance in self._job.variances]

    def __call__(self, tile: Box, seen: Box, replaced: Array | None) -> Array:
        """The variance of a tile, given which pixels of a box around it are replaced."""
        if not self._job.variances:
            return np.full(tile.shape, np.nan, dtype=np.float32)
        return self._full(tile, seen, replaced) if self._job.full else self._estimated(tile)

    def _full(self, tile: Box, seen: Box, replaced: Array | None) -> Array:
        images, same, holes = [], [], []
        inside, own = self._windows.inside(tile), self._windows.own(tile)
        if replaced is not None:
            replaced = replaced[inside.shifted(-seen.x0, -seen.y0).slices]
            if not replaced.any():
                replaced = None
        brightest = 0.0
        for k, (variance, level) in enumerate(zip(self._job.variances, self._levels, strict=True)):
            padded, pixels = self._windows.array(f"variance{k}", tile)
            variance.plane.read_into(inside, pixels)
            least, most = pixels.min(), pixels.max()
            if not (level.least < least and most < level.most):  # or one of them NaN
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
        local = self._propagate.local(tile, self._error)
        result = self._same_everywhere(local, same)
        if any(image is not None for image in images):
            precise = brightest > _BRIGHT * max(background.level for background in self._levels)
            as_needed = [image if image is None or not precise else image.astype(np.float64) for image in images]
            result += self._propagate(local, as_needed)
            # Rounding may leave tiny negative values where all pixels around are replaced.
            np.maximum(result, 0, out=result)
        for hole, values in holes:
            result[hole] = values[hole]
        return result

    def _same_everywhere(self, local: LocalKernels, variances: Sequence[float]) -> Array:
        """The result's variance where each input has the same one all over."""
        tile = local.tile
        if not any(variances):
            return np.zeros(tile.shape, dtype=np.float32)
        result = np.empty(tile.shape, dtype=np.float32)
        result[...] = self._gains.whole(tile, variances)
        for index, inside in self._gains.inside(local, variances):
            result[index] = inside
        return result

    def _estimated(self, tile: Box) -> Array:
        result = np.zeros(tile.shape, dtype=np.float32)
        pixels = self._workspace.array("estimate", tile.shape, np.float32)
        alone = np.eye(len(self._levels))
        for variance, level, one in zip(self._job.variances, self._levels, alone, strict=True):
            variance.plane.read_into(tile, pixels)
            if not (level.least < pixels.min() and pixels.max() < level.most):  # or one of them NaN
                hole, values = _fill_unknown(pixels, level)
                pixels[hole] = values[hole]
            pixels *= self._gains.whole(tile, one)
            result += pixels
        return result


def _fill_unknown(variance: Array, background: PlaneLevel) -> tuple[Array, Array]:
    """Put the background's variance where there is none.

    Returns
    -------
    hole, values
        Where the variance stands for a pixel without information, being not a number or beyond all bounds, and what it
        is there: NaN or infinite.
    """
    # Comparisons with NaN are false. An unknown variance is most likely that of the background.
    unknown, tiny = ~background.known(variance), variance <= background.least
    values = np.where(np.isnan(variance), variance, np.float32(np.inf))
    variance[unknown] = background.level
    return unknown & ~tiny, values
