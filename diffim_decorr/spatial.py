"""Kernels that vary over the field: basis images times coefficient functions.

Matching kernels of every format, decorrelation kernels and PSF models are all of the form
``K(x, y) = sum_n c_n(x, y) B_n``. They differ only in how the coefficient functions are written down.

Positions are 0-based pixel centres, x to the right and y up; arrays are indexed [y, x]. Kernels are meant for true
convolution, and their centre is at index (h // 2, w // 2).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any, final

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = (
    "AffineCoefficients",
    "Box",
    "Coefficients",
    "GridCoefficients",
    "PiecewiseCoefficients",
    "PolynomialCoefficients",
    "SpatialKernel",
)

Array = NDArray[Any]

_SERIAL_PRODUCT = 1 << 18  # multiplications in a product of matrices


@dataclass(frozen=True)
class Box:
    """A rectangle of pixels, ``x0 <= x < x1`` and ``y0 <= y < y1``."""

    x0: int
    y0: int
    x1: int
    y1: int

    @property
    def shape(self) -> tuple[int, int]:
        return self.y1 - self.y0, self.x1 - self.x0

    @property
    def slices(self) -> tuple[slice, slice]:
        return slice(self.y0, self.y1), slice(self.x0, self.x1)

    def grown(self, margin: int) -> Box:
        return Box(self.x0 - margin, self.y0 - margin, self.x1 + margin, self.y1 + margin)

    def clipped(self, shape: tuple[int, int]) -> Box:
        ny, nx = shape
        return Box(max(self.x0, 0), max(self.y0, 0), min(self.x1, nx), min(self.y1, ny))

    def shifted(self, dx: int, dy: int) -> Box:
        return Box(self.x0 + dx, self.y0 + dy, self.x1 + dx, self.y1 + dy)


class Coefficients(ABC):
    """Coefficient functions c_n(x, y) of n basis images."""

    @property
    @abstractmethod
    def count(self) -> int:
        """The number of functions."""

    @abstractmethod
    def grid(self, x: Array, y: Array) -> Array:
        """Values (n, len(y), len(x)) on the grid that the positions x and y span."""

    def each(self, x: Array, y: Array) -> Iterator[Array]:
        """The functions' values (len(y), len(x)) one after the other; each may be overwritten by the next."""
        yield from self.grid(x, y)

    @abstractmethod
    def at(self, x: Array, y: Array) -> Array:
        """Values (n, k) at k positions."""

    @abstractmethod
    def shifted(self, dx: int, dy: int) -> Coefficients:
        """The same functions with their origin moved by (dx, dy) pixels."""

    def combined(self, matrix: Array) -> Coefficients:
        """The m functions ``matrix @ c(x, y)``, for a matrix (m, n)."""
        return AffineCoefficients(self, matrix, np.zeros(len(matrix)))

    @property
    def boxes(self) -> tuple[Box, ...]:
        """The rectangles within which the functions are smooth; none if they are smooth everywhere."""
        return ()

    @property
    def is_constant(self) -> bool:
        return False


@final
@dataclass(frozen=True)
class PolynomialCoefficients(Coefficients):
    """Polynomials in ``u = (x - origin_x) / scale_x`` and v likewise.

    Parameters
    ----------
    values
        Coefficients (n, terms).
    powers
        Powers (terms, 2) of u and v.
    origin, scale
        Of x and y.
    """

    values: Array
    powers: Array
    origin: tuple[float, float] = (0.0, 0.0)
    scale: tuple[float, float] = (1.0, 1.0)

    @classmethod
    def constant(cls, values: ArrayLike) -> PolynomialCoefficients:
        column = np.asarray(values, dtype=float).reshape(-1, 1)
        return cls(column, np.zeros((1, 2), dtype=int))

    @property
    def count(self) -> int:
        return len(self.values)

    @property
    def is_constant(self) -> bool:
        return not np.any(self.values[:, self.powers.any(axis=1)])

    def _terms(self, x: Array, y: Array) -> tuple[Array, Array]:
        u = (np.asarray(x, dtype=float) - self.origin[0]) / self.scale[0]
        v = (np.asarray(y, dtype=float) - self.origin[1]) / self.scale[1]
        return u[None, :] ** self.powers[:, :1], v[None, :] ** self.powers[:, 1:]

    def grid(self, x: Array, y: Array) -> Array:
        along_x, along_y = self._terms(x, y)
        result: Array = (self.values[:, None, :] * along_y.T[None]) @ along_x
        return result

    def at(self, x: Array, y: Array) -> Array:
        along_x, along_y = self._terms(np.atleast_1d(x), np.atleast_1d(y))
        result: Array = self.values @ (along_x * along_y)
        return result

    def shifted(self, dx: int, dy: int) -> PolynomialCoefficients:
        return replace(self, origin=(self.origin[0] + dx, self.origin[1] + dy))

    def combined(self, matrix: Array) -> PolynomialCoefficients:
        return replace(self, values=matrix @ self.values)


@final
@dataclass(frozen=True)
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
    _matrices: dict[tuple[bool, bytes], tuple[slice, Array]] = field(default_factory=dict, repr=False, compare=False)

    @property
    def count(self) -> int:
        return len(self.values)

    @property
    def is_constant(self) -> bool:
        return bool(np.ptp(self.values.reshape(self.count, -1), axis=1).max(initial=0.0) == 0.0)

    def grid(self, x: Array, y: Array) -> Array:
        result: Array = np.array([values.copy() for values in self.each(x, y)])
        return result

    def each(self, x: Array, y: Array) -> Iterator[Array]:
        rows, along_y = self._matrix(self.y, y)
        columns, along_x = self._matrix(self.x, x)
        result = np.empty((len(along_y), len(along_x)), dtype=self.values.dtype)
        # Products small enough for linear algebra libraries to do them in the calling thread: whoever evaluates
        # coefficients has threads of his own, and those of the library would only keep them waiting.
        step = max(1, _SERIAL_PRODUCT // along_x.size)
        for values in self.values:
            left = along_y @ values[rows, columns]
            for begin in range(0, len(left), step):
                np.matmul(left[begin : begin + step], along_x.T, out=result[begin : begin + step])
            yield result

    def _matrix(self, knots: Array, positions: Array) -> tuple[slice, Array]:
        # The same rows and columns of tiles come again and again.
        key = (knots is self.x, positions.tobytes())
        if key not in self._matrices:
            self._matrices[key] = _interpolation_matrix(knots, positions, self.order, self.values.dtype)
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
        return GridCoefficients(values, self.x, self.y, self.order)


@final
@dataclass(frozen=True)
class PiecewiseCoefficients(Coefficients):
    """Different functions in different rectangles, zero outside them; where rectangles overlap, the last one counts."""

    pieces: tuple[tuple[Box, Coefficients], ...]

    @property
    def count(self) -> int:
        return self.pieces[0][1].count

    @property
    def boxes(self) -> tuple[Box, ...]:
        return tuple(box for box, _ in self.pieces)

    def grid(self, x: Array, y: Array) -> Array:
        x, y = np.asarray(x), np.asarray(y)
        result: Array = np.zeros((self.count, len(y), len(x)), dtype=np.float32 if self._single else np.float64)
        for box, piece in self.pieces:
            columns = np.flatnonzero((x >= box.x0) & (x < box.x1))
            rows = np.flatnonzero((y >= box.y0) & (y < box.y1))
            if len(columns) and len(rows):
                result[:, rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1] = piece.grid(x[columns], y[rows])
        return result

    @property
    def _single(self) -> bool:
        return all(isinstance(p, GridCoefficients) and p.values.dtype == np.float32 for _, p in self.pieces)

    def at(self, x: Array, y: Array) -> Array:
        x, y = np.atleast_1d(x), np.atleast_1d(y)
        result: Array = np.zeros((self.count, len(x)))
        for box, piece in self.pieces:
            # A position belongs to the pixel it falls into.
            inside = (x >= box.x0 - 0.5) & (x < box.x1 - 0.5) & (y >= box.y0 - 0.5) & (y < box.y1 - 0.5)
            if inside.any():
                result[:, inside] = piece.at(x[inside], y[inside])
        return result

    def shifted(self, dx: int, dy: int) -> PiecewiseCoefficients:
        return PiecewiseCoefficients(tuple((b.shifted(dx, dy), c.shifted(dx, dy)) for b, c in self.pieces))

    def combined(self, matrix: Array) -> PiecewiseCoefficients:
        return PiecewiseCoefficients(tuple((box, piece.combined(matrix)) for box, piece in self.pieces))


@final
@dataclass(frozen=True)
class AffineCoefficients(Coefficients):
    """The functions ``matrix @ c(x, y) + offset`` of other coefficient functions c.

    Parameters
    ----------
    inner
        The n functions c.
    matrix
        Of shape (m, n).
    offset
        Of shape (m,).
    """

    inner: Coefficients
    matrix: Array
    offset: Array

    @property
    def count(self) -> int:
        return len(self.matrix)

    @property
    def boxes(self) -> tuple[Box, ...]:
        return self.inner.boxes

    @property
    def is_constant(self) -> bool:
        return self.inner.is_constant or not self.matrix.any()

    def grid(self, x: Array, y: Array) -> Array:
        return np.tensordot(self.matrix, self.inner.grid(x, y), axes=1) + self.offset[:, None, None]

    def at(self, x: Array, y: Array) -> Array:
        result: Array = self.matrix @ self.inner.at(x, y) + self.offset[:, None]
        return result

    def shifted(self, dx: int, dy: int) -> AffineCoefficients:
        return replace(self, inner=self.inner.shifted(dx, dy))

    def combined(self, matrix: Array) -> AffineCoefficients:
        return replace(self, matrix=matrix @ self.matrix, offset=matrix @ self.offset)


@final
@dataclass(frozen=True)
class SpatialKernel:
    """A kernel that may vary over the field.

    Parameters
    ----------
    basis
        Basis images (n, h, w).
    coefficients
        Their n coefficient functions.
    """

    basis: Array
    coefficients: Coefficients

    def __post_init__(self) -> None:
        if self.basis.ndim != 3 or len(self.basis) != self.coefficients.count:
            raise ValueError(
                f"a basis of shape {self.basis.shape} does not fit {self.coefficients.count} coefficient functions"
            )

    @classmethod
    def constant(cls, image: ArrayLike) -> SpatialKernel:
        """The kernel that is one image (h, w) everywhere."""
        return cls(np.array(image, dtype=float)[None], PolynomialCoefficients.constant([1.0]))

    @classmethod
    def identity(cls) -> SpatialKernel:
        """The kernel that changes nothing."""
        return cls.constant([[1.0]])

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width of the kernel image."""
        return self.basis.shape[1], self.basis.shape[2]

    @property
    def is_constant(self) -> bool:
        return self.coefficients.is_constant

    @property
    def boxes(self) -> tuple[Box, ...]:
        """The rectangles within which the kernel is smooth; none if it is smooth everywhere."""
        return self.coefficients.boxes

    def at(self, x: float, y: float) -> Array:
        """The kernel image (h, w) at one position."""
        result: Array = self.sample(np.array([x]), np.array([y]))[0]
        return result

    def sample(self, x: Array, y: Array) -> Array:
        """Kernel images (k, h, w) at k positions."""
        return np.tensordot(self.coefficients.at(x, y), self.basis, axes=(0, 0))

    def sum_at(self, x: float, y: float) -> float:
        """The kernel sum, which is the photometric scale, at one position."""
        return float(self.at(x, y).sum())

    def frozen(self, x: float, y: float) -> SpatialKernel:
        """The constant kernel that this one is at a position."""
        return SpatialKernel.constant(self.at(x, y))

    def shifted(self, dx: int, dy: int) -> SpatialKernel:
        """The same kernel in pixel coordinates moved by (dx, dy)."""
        return replace(self, coefficients=self.coefficients.shifted(dx, dy)) if dx or dy else self


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


def _interpolation_matrix(knots: Array, x: Array, order: int, dtype: Any) -> tuple[slice, Array]:
    """The knots that matter for positions x, and the matrix (len(x), knots) that interpolates between them."""
    first, weights = lagrange_weights(knots, x, order)
    start = int(first.min())
    matrix = np.zeros((len(first), int(first.max()) - start + weights.shape[1]), dtype=dtype)
    rows = np.arange(len(first))
    for j in range(weights.shape[1]):
        matrix[rows, first - start + j] = weights[:, j]
    return slice(start, start + matrix.shape[1]), matrix
