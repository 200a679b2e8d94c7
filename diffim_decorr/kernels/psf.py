"""The corrected PSF: what a point source becomes under one convolution upon another, anywhere in the field.

A convolution whose kernel varies takes the kernel of the pixel that is written, not that of the source: a source of
shape φ at x₀ becomes ``Σₙ cₙ(x₀ + u) (Bₙ ⊗ φ)(u)`` at the offset u, for basis images Bₙ and coefficients cₙ.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from diffim_decorr.fft import good_size, inverse, kernel_transform
from diffim_decorr.kernels.compose import Product
from diffim_decorr.kernels.grid import GridCoefficients, on_grid
from diffim_decorr.kernels.spatial import SpatialKernel

__all__ = ("PSF_TOLERANCE", "ComposedPsf", "composed_psf")

Array = NDArray[Any]
Part = tuple[slice, slice]

#: Between the positions of the grid, in units of the peak.
PSF_TOLERANCE = 3e-4
_LARGEST = 4_000_000  # pixels of all images of the grid
# Positions along each axis to begin with, and where between two of them the interpolation is tried: not in the middle,
# where that of a step is right by chance.
_FIRST = 9
_TRIED = 0.38
_WHOLE: Part = (slice(None), slice(None))


class ComposedPsf(NamedTuple):
    """A PSF, one image (h, w) or images on a grid over the field, and the largest error between the positions."""

    psf: Array | SpatialKernel
    error: float


def composed_psf(kernels: Sequence[SpatialKernel], shape: tuple[int, int]) -> ComposedPsf:
    """What one point source becomes under one convolution after another.

    Parameters
    ----------
    kernels
        The PSF and what it is convolved with, the last of them with its kernel at each pixel that it writes.
    shape
        Of the image, (ny, nx).

    Returns
    -------
    psf
        An image (h, w) if all kernels are constant. Otherwise images on a grid over the field, fine enough for bilinear
        interpolation to be right to 3e-4 of the peak, as far as no more than 4 million pixels are needed for it.
    error
        How right it is.
    """
    if all(kernel.is_constant for kernel in kernels):
        return ComposedPsf(Product(kernels).sample(np.zeros(1), np.zeros(1))[0], 0.0)
    response = _Response(kernels, shape)
    axes = [_first(kernels, axis, size) for axis, size in enumerate(shape[::-1])]
    while True:
        x, y = axes
        psf = on_grid(response.grid(x, y), x, y)
        peak = float(np.abs(psf.basis).max())
        # Each axis by itself, at the positions of the other one.
        core = _core(psf)
        errors = [
            _errors(psf, response, core, _tried(x), y, x, 0),
            _errors(psf, response, core, x, _tried(y), y, 1),
        ]
        error = max(float(e.max(initial=0.0)) for e in errors) / peak
        finer = [_halved(own, e > PSF_TOLERANCE * peak) for own, e in zip(axes, errors, strict=True)]
        enough = all(len(new) == len(own) for new, own in zip(finer, axes, strict=True))
        if enough or math.prod(len(new) for new in finer) * math.prod(response.shape) > _LARGEST:
            return ComposedPsf(psf, error)
        axes = finer


class _Response:
    """What a point source becomes, at any position."""

    def __init__(self, kernels: Sequence[SpatialKernel], shape: tuple[int, int]) -> None:
        *first, self._last = kernels
        self._source = Product(first)
        height, width = self._source.shape
        self.shape = tuple(n + 2 * (own // 2) for n, own in zip((height, width), self._last.shape, strict=True))
        self._padded = (good_size(self.shape[0]), good_size(self.shape[1]))
        self._spectra = kernel_transform(self._last.basis, self._padded)
        self._limits = shape
        self._images = self._pairs()

    def _pairs(self) -> Array | None:
        """Each basis image of the source under each of the last convolution (m, n, h, w), if they are not too many."""
        sources = self._source.basis
        if sources is None or len(sources) * len(self._spectra) * math.prod(self.shape) > _LARGEST:
            return None
        return np.array([self._convolved(image) for image in sources])

    def _convolved(self, source: Array) -> Array:
        """The source, convolved with each basis image (n, h, w)."""
        images = inverse(self._spectra * kernel_transform(source, self._padded), self._padded[1])
        rows, columns = (np.arange(n) - n // 2 for n in self.shape)
        result: Array = images[:, rows[:, None], columns[None, :]]
        return result

    def _source_at(self, x: float, y: float, part: Part) -> Array:
        """The source at a position under each basis image (n, h, w), or part of it."""
        position = np.array([x]), np.array([y])
        if self._images is None:
            return self._convolved(self._source.sample(*position)[0])[(..., *part)]
        amounts = self._source.amounts(*position)[:, 0]
        used = np.flatnonzero(amounts)
        result: Array = sum(amounts[m] * self._images[m][(..., *part)] for m in used)
        return result

    def at(self, x: float, y: float, part: Part = _WHOLE) -> Array:
        """The image (h, w) of a source at a position, or part of it."""
        (ny, nx), (height, width) = self._limits, self.shape
        rows, columns = (np.arange(n)[own] - n // 2 for n, own in zip((height, width), part, strict=True))
        # Of what is written outside the image nobody knows the kernel; it goes on as at the edge.
        along_x, along_y = np.clip(x + columns, 0, nx - 1), np.clip(y + rows, 0, ny - 1)
        amounts = self._last.coefficients.grid(along_x, along_y)
        result: Array = np.einsum("nyx,nyx->yx", amounts, self._source_at(x, y, part))
        return result

    def grid(self, x: Array, y: Array, part: Part = _WHOLE) -> Array:
        """Images (len(y), len(x), h, w) on the grid that the positions span, or part of each."""
        return np.array([[self.at(column, row, part) for column in x] for row in y])


def _core(psf: SpatialKernel) -> Part:
    """The rows and columns in which anything is so bright that its interpolation could be wrong by what is allowed."""
    brightest = np.abs(psf.basis).max(axis=0)
    bright = brightest > PSF_TOLERANCE / 2 * brightest.max()
    rows, columns = (np.flatnonzero(bright.any(axis=1 - axis)) for axis in (0, 1))
    return slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)


def _first(kernels: Sequence[SpatialKernel], axis: int, size: int) -> Array:
    """The first positions along an axis: spread over it, the PSF's own, and on both sides of the borders of regions."""
    grids = [kernel.coefficients for kernel in kernels[:-1] if isinstance(kernel.coefficients, GridCoefficients)]
    knots = {float(knot) for grid in grids if grid.order == 1 for knot in (grid.x if axis == 0 else grid.y)}
    # Under a kernel that is the same everywhere, a PSF on a grid is one on the same grid.
    spread = () if knots and kernels[-1].is_constant else np.round(np.linspace(0, size - 1, min(size, _FIRST)))
    points = {0.0, size - 1.0, *knots, *spread}
    for kernel in kernels:
        for box in kernel.boxes:
            for edge in (box.x0, box.x1) if axis == 0 else (box.y0, box.y1):
                points |= {edge - 1.0, float(edge)}
    return np.array(sorted(point for point in points if 0 <= point <= size - 1))


def _tried(points: Array) -> Array:
    """A place in each interval."""
    tried: Array = points[:-1] + _TRIED * np.diff(points)
    return tried


def _errors(psf: SpatialKernel, response: _Response, core: Part, x: Array, y: Array, own: Array, other: int) -> Array:
    """Largest error of the interpolation in each interval of its own axis, at all positions along the other."""
    if not (len(x) and len(y)):
        return np.zeros(0)
    all_x, all_y = np.meshgrid(x, y)
    truth = response.grid(x, y, core)
    amounts = psf.coefficients.at(all_x.ravel(), all_y.ravel())
    between = np.tensordot(amounts, psf.basis[(..., *core)], axes=(0, 0)).reshape(truth.shape)
    error = np.abs(between - truth).max(axis=(2, 3)).max(axis=other)
    # Between neighbouring pixels a step may well be.
    wide: Array = np.where(np.diff(own) > 1, error, 0)
    return wide


def _halved(points: Array, where: Array) -> Array:
    """Points with the middle, a whole pixel, of those intervals that are to be halved."""
    middles = np.floor((points[:-1] + points[1:]) / 2)
    return np.unique(np.concatenate([points, middles[where]]))
