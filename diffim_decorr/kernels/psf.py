"""The corrected PSF: that of an image after one convolution upon another, anywhere in the field."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diffim_decorr.kernels.compose import Product
from diffim_decorr.kernels.grid import GridCoefficients, on_grid
from diffim_decorr.kernels.spatial import SpatialKernel

__all__ = ("composed_psf",)

Array = NDArray[Any]

# Between the positions of the grid, in units of the peak.
_TOLERANCE = 3e-4
_LARGEST = 4_000_000  # pixels of all images of the grid


def composed_psf(kernels: Sequence[SpatialKernel], shape: tuple[int, int]) -> Array | SpatialKernel:
    """What one point source becomes under one convolution after another, each taken at the source's place.

    Parameters
    ----------
    kernels
        The PSF and what it is convolved with.
    shape
        Of the image, (ny, nx).

    Returns
    -------
    psf
        An image (h, w) if all kernels are constant. Otherwise images on a grid over the field, fine enough for bilinear
        interpolation to be right to 3e-4 of the peak, as far as no more than 4 million pixels are needed for it.
    """
    product = Product(kernels)
    if all(kernel.is_constant for kernel in kernels):
        image: Array = product.sample(np.zeros(1), np.zeros(1))[0]
        return image
    breaks = [_breaks(kernels, axis, size, knots=True) for axis, size in enumerate(shape[::-1])]
    if math.prod(len(points) for points in breaks) * math.prod(product.shape) > _LARGEST:
        # Knots may be as close as a map of the noise is fine.
        breaks = [_breaks(kernels, axis, size, knots=False) for axis, size in enumerate(shape[::-1])]
    parts = 1
    while True:
        x, y = (_divided(points, parts) for points in breaks)
        psf = on_grid(product.grid(x, y), x, y)
        middle_x, middle_y = _middles(x), _middles(y)
        if 4 * len(x) * len(y) * psf.basis[0].size > _LARGEST:
            return psf
        exact = product.grid(middle_x, middle_y)
        between = psf.sample(*(p.ravel() for p in np.meshgrid(middle_x, middle_y))).reshape(exact.shape)
        if np.abs(between - exact).max() <= _TOLERANCE * np.abs(exact).max():
            return psf
        parts *= 2


def _breaks(kernels: Sequence[SpatialKernel], axis: int, size: int, *, knots: bool) -> Array:
    """Positions between which the product is smooth: the ends of the image and of regions, knots of other grids."""
    points = {0.0, size - 1.0}
    for kernel in kernels:
        for box in kernel.boxes:
            for edge in (box.x0, box.x1) if axis == 0 else (box.y0, box.y1):
                points |= {edge - 1.0, float(edge)}
        own = kernel.coefficients
        if knots and isinstance(own, GridCoefficients) and own.order == 1:
            points |= set(own.x if axis == 0 else own.y)
    return np.array(sorted(point for point in points if 0 <= point <= size - 1))


def _divided(points: Array, parts: int) -> Array:
    """The points, and between those that are more than a pixel apart others at equal distances."""
    pieces = [np.linspace(a, b, parts if b - a > 1 else 1, endpoint=False) for a, b in pairwise(points)]
    return np.concatenate([*pieces, points[-1:]])


def _middles(points: Array) -> Array:
    """Between points that are more than a pixel apart, the middle; between the two sides of a border there is none."""
    wide = np.diff(points) > 1
    middles = (points[:-1] + points[1:])[wide] / 2
    return middles if len(middles) else points
