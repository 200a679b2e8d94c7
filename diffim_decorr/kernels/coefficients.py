"""Functions of position, by which the basis images of a kernel are weighted."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import comb
from typing import Any, final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from diffim_decorr.geometry import Box

__all__ = (
    "AffineCoefficients",
    "Coefficients",
    "JoinedCoefficients",
    "PolynomialCoefficients",
    "powers_of_degree",
    "substitution",
)

Array = NDArray[Any]


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

    def places(self, first: int, end: int, count: int, axis: str) -> Array:
        """Positions from first to end - 1 along the axis x or y, so many and what else tells of the functions."""
        return np.linspace(first, end - 1, min(count, end - first))

    def combined(self, matrix: Array) -> Coefficients:
        """The m functions ``matrix @ c(x, y)``, for a matrix (m, n)."""
        return AffineCoefficients(self, matrix, np.zeros(len(matrix)))

    @property
    def boxes(self) -> tuple[Box, ...]:
        """The rectangles within which the functions are smooth; none if they are smooth everywhere."""
        return ()

    def piece(self, number: int) -> Coefficients:
        """The functions of one of the boxes, as smooth beyond it as within."""
        return self

    def cutout(self, box: Box) -> Coefficients:
        """The same functions over a part of the field, whose first pixel is the origin."""
        return self.shifted(-box.x0, -box.y0)

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {self.described}>"

    @property
    def described(self) -> str:
        """In what way the functions vary, in a few words."""
        return "functions of position"

    @property
    def is_constant(self) -> bool:
        return False


@final
@dataclass(frozen=True, eq=False, repr=False)
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

    @property
    def described(self) -> str:
        return f"polynomials of degree {int(self.powers.sum(axis=1).max())}"

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
@dataclass(frozen=True, eq=False, repr=False)
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

    def piece(self, number: int) -> AffineCoefficients:
        return replace(self, inner=self.inner.piece(number))

    def cutout(self, box: Box) -> AffineCoefficients:
        return replace(self, inner=self.inner.cutout(box))

    @property
    def described(self) -> str:
        return self.inner.described

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
@dataclass(frozen=True, eq=False, repr=False)
class JoinedCoefficients(Coefficients):
    """Functions of several kinds, one kind after the other."""

    parts: tuple[Coefficients, ...]

    @property
    def count(self) -> int:
        return sum(part.count for part in self.parts)

    def grid(self, x: Array, y: Array) -> Array:
        return np.concatenate([part.grid(x, y) for part in self.parts])

    def at(self, x: Array, y: Array) -> Array:
        return np.concatenate([part.at(x, y) for part in self.parts])

    def shifted(self, dx: int, dy: int) -> JoinedCoefficients:
        return JoinedCoefficients(tuple(part.shifted(dx, dy) for part in self.parts))


def powers_of_degree(degree: int) -> Array:
    """Powers (terms, 2) of x and y up to a total degree: those of x outside, those of y inside."""
    return np.array([(i, j) for i in range(degree + 1) for j in range(degree + 1 - i)])


def substitution(degree: int, factor: float, offset: float) -> Array:
    """The matrix (new power, old power) that takes coefficients of powers of ``factor * t + offset`` to those of t."""
    matrix = np.zeros((degree + 1, degree + 1))
    for old in range(degree + 1):
        for new in range(old + 1):
            matrix[new, old] = comb(old, new) * factor**new * offset ** (old - new)
    return matrix
