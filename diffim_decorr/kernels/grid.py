"""Coefficient functions on a grid of knots, and images on a grid of positions."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from diffim_decorr.kernels.coefficients import Coefficients
from diffim_decorr.kernels.spatial import SpatialKernel

__all__ = ("GridCoefficients", "lagrange_weights", "on_grid")

Array = NDArray[Any]

_BLOCK = 32  # positions
# Knots along an axis at which it is looked at what functions do.
_MOST_PLACES = 32


@final
@dataclass(frozen=True, eq=False, repr=False)
class GridCoefficients(Coefficients):
    """Values on a rectangular grid of knots, interpolated by piecewise polynomials through the nearest knots.

    Outside the grid the outermost value is held (order 1), or the outermost polynomial continued (higher orders),
    which is meant for the half pixel beyond the last knot and no further.

    Parameters
    ----------
    values
        Values (n, knots along y, knots along x).
    x, y
        Increasing positions of the knots.
    order
        Degree of the interpolating polynomials along each axis: 1 is bilinear.
    """

    values: Array
    x: Array
    y: Array
    order: int = 1
    _matrices: dict[tuple[bool, bytes], _Interpolation] = field(default_factory=dict)

    def __reduce__(self) -> Any:
        return GridCoefficients, (self.values, self.x, self.y, self.order)  # what is computed at need stays behind

    @property
    def count(self) -> int:
        return len(self.values)

    @property
    def is_constant(self) -> bool:
        return bool(np.ptp(self.values.reshape(self.count, -1), axis=1).max(initial=0.0) == 0.0)

    @property
    def described(self) -> str:
        how = "bilinear" if self.order == 1 else f"polynomials of degree {self.order}"
        return f"grid of {len(self.x)} x {len(self.y)} knots, {how} in between"

    def places(self, first: int, end: int, count: int, axis: str) -> Array:
        knots = self.x if axis == "x" else self.y
        # Between knots that are joined by straight lines nothing is farther off than at them.
        between = knots if self.order == 1 else np.concatenate([knots, (knots[1:] + knots[:-1]) / 2])
        inside = between[(between > first) & (between < end - 1)]
        inside = inside[np.linspace(0, len(inside) - 1, min(len(inside), _MOST_PLACES)).astype(int)]
        return np.unique(np.concatenate([super().places(first, end, count, axis), inside]))

    def grid(self, x: Array, y: Array) -> Array:
        result: Array = np.array([values.copy() for values in self.each(x, y)])
        return result

    def each(self, x: Array, y: Array) -> Iterator[Array]:
        along_y, along_x = self._interpolation(self.y, y), self._interpolation(self.x, x)
        result = np.empty((len(along_y.matrix), len(along_x.matrix)), dtype=self.values.dtype)
        for values in self.values:
            right = values[along_y.knots, along_x.knots] @ along_x.transposed
            for block, knots in along_y.blocks:
                np.matmul(along_y.matrix[block, knots], right[knots], out=result[block])
            yield result

    def _interpolation(self, knots: Array, positions: Array) -> _Interpolation:
        # The same rows and columns of tiles come again and again.
        key = (knots is self.x, positions.tobytes())
        if key not in self._matrices:
            self._matrices[key] = _interpolation(knots, positions, self.order, self.values.dtype)
        return self._matrices[key]

    def at(self, x: Array, y: Array) -> Array:
        first_x, weights_x = lagrange_weights(self.x, np.atleast_1d(x), self.order)
        first_y, weights_y = lagrange_weights(self.y, np.atleast_1d(y), self.order)
        result: Array = np.zeros((self.count, len(first_x)))
        for j in range(weights_y.shape[1]):
            for i in range(weights_x.shape[1]):
                result += weights_y[:, j] * weights_x[:, i] * self.values[:, first_y + j, first_x + i]
        return result

    def shifted(self, dx: int, dy: int) -> GridCoefficients:
        return GridCoefficients(self.values, self.x + dx, self.y + dy, self.order)

    def combined(self, matrix: Array) -> GridCoefficients:
        values = np.tensordot(matrix, self.values, axes=1).astype(self.values.dtype)
        return GridCoefficients(values, self.x, self.y, self.order, self._matrices)


def lagrange_weights(knots: Array, x: Array, order: int) -> tuple[Array, Array]:
    """Weights of piecewise polynomial interpolation.

    Parameters
    ----------
    knots
        Increasing positions (k,).
    x
        Positions (m,).
    order
        Degree of the polynomial; lowered to k - 1 where there are fewer knots.

    Returns
    -------
    first
        Index (m,) of the first knot used at each position.
    weights
        Weights (m, order + 1) of the knots from there on.
    """
    knots, x = np.asarray(knots, dtype=float), np.asarray(x, dtype=float)
    order = min(order, len(knots) - 1)
    if order <= 1:
        x = np.clip(x, knots[0], knots[-1])
    cell = np.searchsorted(knots, x, side="right") - 1
    first = np.clip(cell - (order - 1) // 2, 0, len(knots) - 1 - order)
    weights = np.ones((len(x), order + 1))
    for j in range(order + 1):
        for i in range(order + 1):
            if i != j:
                weights[:, j] *= (x - knots[first + i]) / (knots[first + j] - knots[first + i])
    return first, weights


@dataclass(frozen=True, eq=False)
class _Interpolation:
    """How values at knots are interpolated to positions.

    Parameters
    ----------
    knots
        Those that matter.
    matrix, transposed
        Weights (positions, knots), and the same the other way round.
    blocks
        So many positions at a time that they stay in the processor's cache, with the knots that these need.
    """

    knots: slice
    matrix: Array
    transposed: Array
    blocks: tuple[tuple[slice, slice], ...]


def _interpolation(knots: Array, x: Array, order: int, dtype: Any) -> _Interpolation:
    first, weights = lagrange_weights(knots, x, order)
    start, count = int(first.min()), weights.shape[1]
    first = first - start
    matrix = np.zeros((len(first), int(first.max()) + count), dtype=dtype)
    rows = np.arange(len(first))
    for j in range(count):
        matrix[rows, first + j] = weights[:, j]
    blocks = []
    for begin in range(0, len(first), _BLOCK):
        own = first[begin : begin + _BLOCK]
        blocks.append((slice(begin, begin + _BLOCK), slice(int(own.min()), int(own.max()) + count)))
    return _Interpolation(slice(start, start + matrix.shape[1]), matrix, np.ascontiguousarray(matrix.T), tuple(blocks))


def on_grid(images: Array, x: Array, y: Array) -> SpatialKernel:
    """The kernel that is bilinear between images on a rectangular grid, and constant beyond its borders.

    Parameters
    ----------
    images
        Of shape (len(y), len(x), h, w).
    x, y
        Increasing positions of the columns and rows of the grid.
    """
    count = len(x) * len(y)
    # Each image is a basis image of its own, and its coefficient is 1 at its own knot and 0 at all others.
    values = np.eye(count).reshape(count, len(y), len(x))
    return SpatialKernel(images.reshape(count, *images.shape[2:]), GridCoefficients(values, x, y, order=1))
