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

#: Between the positions of the grid, in units of the peak.
PSF_TOLERANCE = 3e-4
_LARGEST = 4_000_000  # pixels of all images of the grid
# Positions along each axis to begin with, and where between two of them the interpolation is tried: not in the middle,
# where that of a step is right by chance.
_FIRST = 9
_TRIED = 0.38


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
        errors = [
            _errors(psf, response, _tried(x), y, x, 0),
            _errors(psf, response, x, _tried(y), y, 1),
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
        constant = all(kernel.is_constant for kernel in first)
        self._images = self._convolved(0.0, 0.0) if constant else None

    def _convolved(self, x: float, y: float) -> Array:
        """The source at a position, convolved with each basis image (n, h, w)."""
        source = self._source.sample(np.array([x]), np.array([y]))[0]
        images = inverse(self._spectra * kernel_transform(source, self._padded), self._padded[1])
        rows, columns = (np.arange(n) - n // 2 for n in self.shape)
        result: Array = images[:, rows[:, None], columns[None, :]]
        return result

    def at(self, x: float, y: float) -> Array:
        """The image (h, w) of a source at a position."""
        images = self._convolved(x, y) if self._images is None else self._images
        (ny, nx), (height, width) = self._limits, self.shape
        # Of what is written outside the image nobody knows the kernel; it goes on as at the edge.
        along_x = np.clip(x + np.arange(width) - width // 2, 0, nx - 1)
        along_y = np.clip(y + np.arange(height) - height // 2, 0, ny - 1)
        amounts = self._last.coefficients.grid(along_x, along_y)
        result: Array = np.einsum("nyx,nyx->yx", amounts, images)
        return result

    def grid(self, x: Array, y: Array) -> Array:
        """Images (len(y), len(x), h, w) on the grid that the positions span."""
        return np.array([[self.at(column, row) for column in x] for row in y])


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


def _errors(psf: SpatialKernel, response: _Response, x: Array, y: Array, own: Array, other: int) -> Array:
    """Largest error of the interpolation in each interval of its own axis, at all positions along the other."""
    if not (len(x) and len(y)):
        return np.zeros(0)
    all_x, all_y = np.meshgrid(x, y)
    truth = response.grid(x, y)
    between = psf.sample(all_x.ravel(), all_y.ravel()).reshape(truth.shape)
    error = np.abs(between - truth).max(axis=(2, 3)).max(axis=other)
    # Between neighbouring pixels a step may well be.
    wide: Array = np.where(np.diff(own) > 1, error, 0)
    return wide


def _halved(points: Array, where: Array) -> Array:
    """Points with the middle, a whole pixel, of those intervals that are to be halved."""
    middles = np.floor((points[:-1] + points[1:]) / 2)
    return np.unique(np.concatenate([points, middles[where]]))
