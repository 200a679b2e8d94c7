"""A kernel of any form as images on a grid of positions, bilinear in between to a given accuracy."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diffim_decorr.errors import InputError
from diffim_decorr.geometry import Box
from diffim_decorr.kernels.grid import GridCoefficients
from diffim_decorr.kernels.spatial import SpatialKernel

__all__ = ("bilinear_grid",)

Array = NDArray[Any]

# What is asked for between the places where the error is measured, which need not be the worst.
_SAFETY = 0.8
_MOST_PIXELS = 1 << 25
_BATCH = 4096


def bilinear_grid(kernel: SpatialKernel, field: Box, tolerance: float, name: str) -> tuple[Array, Array, Array, float]:
    """Sample a kernel so that bilinear interpolation gives it back.

    Parameters
    ----------
    kernel
        The kernel, smooth all over the field.
    field
        The pixels that it is for.
    tolerance
        Largest error of any pixel of the kernel anywhere in the field, relative to the kernel's peak.
    name
        What to call it in messages.

    Returns
    -------
    images, x, y
        Kernel images (k, h, w) and their positions (k).
    error
        The largest error that was found in the middle between positions, where bilinear interpolation is worst.

    Raises
    ------
    InputError
        If the kernel jumps within the field, or too many images would be needed.
    """
    if len(kernel.boxes) > 1:
        raise InputError(
            f"{name}: the kernel jumps from one of its {len(kernel.boxes)} regions to the next, which images on a grid "
            "cannot follow"
        )
    if kernel.is_constant:
        return kernel.sample(np.array([float(field.x0)]), np.array([float(field.y0)])), *_origin(field), 0.0
    coefficients = kernel.coefficients
    if isinstance(coefficients, GridCoefficients) and coefficients.order == 1:
        knots_x, knots_y, error = coefficients.x, coefficients.y, 0.0
        _check_size(kernel, len(knots_x) * len(knots_y), tolerance, name)
    else:
        knots_x, knots_y, error = _spaced(kernel, field, tolerance, name)
    y, x = (axis.ravel() for axis in np.meshgrid(knots_y, knots_x, indexing="ij"))
    return kernel.sample(x, y), x, y, error


def _origin(field: Box) -> tuple[Array, Array]:
    return np.array([float(field.x0)]), np.array([float(field.y0)])


def _check_size(kernel: SpatialKernel, count: int, tolerance: float, name: str) -> None:
    if count * math.prod(kernel.shape) > _MOST_PIXELS:
        raise InputError(
            f"{name}: {count} images of {kernel.shape[1]} x {kernel.shape[0]} pixels would be needed for a tolerance "
            f"of {tolerance:g}; a larger --tolerance needs fewer"
        )


def _spaced(kernel: SpatialKernel, field: Box, tolerance: float, name: str) -> tuple[Array, Array, float]:
    """Knots along x and y that are close enough, and the error that is left."""
    counts = [2, 2]
    allowed = _SAFETY * tolerance
    while True:
        _check_size(kernel, math.prod(counts), tolerance, name)
        knots_x = np.linspace(field.x0, field.x1 - 1, counts[0]) if field.shape[1] > 1 else np.array([float(field.x0)])
        knots_y = np.linspace(field.y0, field.y1 - 1, counts[1]) if field.shape[0] > 1 else np.array([float(field.y0)])
        along_x, along_y, both, peak = _errors(kernel, knots_x, knots_y)
        if both <= allowed * peak:
            return knots_x, knots_y, both / peak
        # The error falls with the square of the distance between knots; each axis gets half of what is allowed.
        for axis, error in enumerate((along_x, along_y)):
            excess = 2 * error / (allowed * peak)
            if excess > 1:
                counts[axis] = math.ceil((counts[axis] - 1) * min(max(math.sqrt(excess), 1.05), 4.0)) + 1
        if max(along_x, along_y) * 2 <= allowed * peak:
            counts = [count + 1 for count in counts]


def _errors(kernel: SpatialKernel, knots_x: Array, knots_y: Array) -> tuple[float, float, float, float]:
    """Largest errors between neighbours along x, along y and between all four, and the kernel's peak."""
    at_knots = kernel.coefficients.grid(knots_x, knots_y)
    middle_x, middle_y = ((knots[1:] + knots[:-1]) / 2 for knots in (knots_x, knots_y))
    rows = (at_knots[:, :, 1:] + at_knots[:, :, :-1]) / 2
    columns = (at_knots[:, 1:] + at_knots[:, :-1]) / 2
    along_x = _largest(kernel.basis, rows - kernel.coefficients.grid(middle_x, knots_y))
    along_y = _largest(kernel.basis, columns - kernel.coefficients.grid(knots_x, middle_y))
    cells = (rows[:, 1:] + rows[:, :-1]) / 2
    both = _largest(kernel.basis, cells - kernel.coefficients.grid(middle_x, middle_y))
    return along_x, along_y, max(along_x, along_y, both), _largest(kernel.basis, at_knots)


def _largest(basis: Array, amounts: Array) -> float:
    """The largest absolute pixel of sums of basis images (n, h, w) with some amounts (n, …)."""
    flat, amounts = basis.reshape(len(basis), -1), amounts.reshape(len(basis), -1).T
    parts = (np.abs(amounts[k : k + _BATCH] @ flat).max() for k in range(0, len(amounts), _BATCH))
    return float(max(parts, default=0.0))
