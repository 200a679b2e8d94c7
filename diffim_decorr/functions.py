"""Coefficient functions that kernel files bring along: thin plates between scattered positions, tensor products."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from functools import cached_property
from math import comb
from typing import TYPE_CHECKING, Any, final

import numpy as np
from numpy.typing import NDArray

from diffim_decorr.spatial import Coefficients

if TYPE_CHECKING:
    from scipy.interpolate import RBFInterpolator

__all__ = (
    "Axis",
    "JoinedCoefficients",
    "PolynomialAxis",
    "ScatteredCoefficients",
    "SplineAxis",
    "TensorCoefficients",
    "powers_of_degree",
    "substitution",
)

Array = NDArray[Any]


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


@final
@dataclass(frozen=True)
class ScatteredCoefficients(Coefficients):
    """Functions that are 1 at their own position and 0 at all others: thin-plate splines (Duchon 1977).

    They bend as little as possible in between, reproduce planes exactly, and continue almost as planes outside.

    Parameters
    ----------
    positions
        Positions (n, 2) of x and y, different from each other and not all on one line.
    """

    positions: Array

    @property
    def count(self) -> int:
        return len(self.positions)

    @cached_property
    def _spline(self) -> RBFInterpolator:
        # Most kernels need none of it, and scipy.interpolate takes long to import.
        from scipy.interpolate import RBFInterpolator

        return RBFInterpolator(self.positions, np.eye(self.count), kernel="thin_plate_spline", degree=1)

    def grid(self, x: Array, y: Array) -> Array:
        values = self.at(np.tile(x, len(y)), np.repeat(y, len(x)))
        return values.reshape(self.count, len(y), len(x))

    def at(self, x: Array, y: Array) -> Array:
        wanted = np.stack([np.atleast_1d(x), np.atleast_1d(y)], axis=1).astype(float)
        result: Array = self._spline(wanted).T
        return result

    def shifted(self, dx: int, dy: int) -> ScatteredCoefficients:
        return ScatteredCoefficients(self.positions + np.array([dx, dy]))


@final
@dataclass(frozen=True)
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


class Axis(ABC):
    """A family of functions of one coordinate."""

    @abstractmethod
    def values(self, position: Array) -> Array:
        """Values (functions, k) at k positions (0-based pixels)."""


@final
@dataclass(frozen=True)
class PolynomialAxis(Axis):
    """The powers of ``(position + 1) / length``."""

    degree: int
    length: int

    def values(self, position: Array) -> Array:
        powers: Array = ((position + 1) / self.length) ** np.arange(self.degree + 1)[:, None]
        return powers


@final
@dataclass(frozen=True)
class SplineAxis(Axis):
    """The B-splines of a degree over an axis of pixels, constant beyond its ends.

    Parameters
    ----------
    degree
        Of the splines.
    length
        Number of pixels.
    knots
        Inner knots, in pixels counted from 1.
    """

    degree: int
    length: int
    knots: tuple[float, ...]

    @property
    def count(self) -> int:
        return len(self.knots) + self.degree + 1

    def values(self, position: Array) -> Array:
        from scipy.interpolate import BSpline

        ends = 0.5, self.length + 0.5
        repeated = self.degree + 1
        knots = np.concatenate([np.repeat(ends[0], repeated), self.knots, np.repeat(ends[1], repeated)])
        result: Array = BSpline(knots, np.eye(self.count), self.degree)(np.clip(position + 1, *ends)).T
        return result


@final
@dataclass(frozen=True)
class TensorCoefficients(Coefficients):
    """Products of a function of x and a function of y.

    Parameters
    ----------
    along_x, along_y
        The two families of functions.
    terms
        Which of them are multiplied (n, 2): numbers of the one of x and of the one of y.
    origin
        Of x and y.
    """

    along_x: Axis
    along_y: Axis
    terms: Array
    origin: tuple[int, int] = (0, 0)

    @property
    def count(self) -> int:
        return len(self.terms)

    def _values(self, x: Array, y: Array) -> tuple[Array, Array]:
        """The functions of x and of y of each term, (n, len(x)) and (n, len(y))."""
        along_x = self.along_x.values(np.atleast_1d(x) - self.origin[0])
        along_y = self.along_y.values(np.atleast_1d(y) - self.origin[1])
        return along_x[self.terms[:, 0]], along_y[self.terms[:, 1]]

    def grid(self, x: Array, y: Array) -> Array:
        along_x, along_y = self._values(x, y)
        result: Array = along_y[:, :, None] * along_x[:, None, :]
        return result

    def at(self, x: Array, y: Array) -> Array:
        along_x, along_y = self._values(x, y)
        return along_x * along_y

    def shifted(self, dx: int, dy: int) -> TensorCoefficients:
        return replace(self, origin=(self.origin[0] + dx, self.origin[1] + dy))
