"""Coefficient functions that kernel files bring along: thin plates between scattered positions, tensor products.

They are evaluated position by position, which is enough for kernels: the engine samples these at nodes.
"""

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
    "SourcePixelCoefficients",
    "SplineAxis",
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


class _PointwiseCoefficients(Coefficients):
    """Functions of which only values at single positions are cheap."""

    def grid(self, x: Array, y: Array) -> Array:
        values = self.at(np.tile(x, len(y)), np.repeat(y, len(x)))
        return values.reshape(self.count, len(y), len(x))


@final
@dataclass(frozen=True)
class ScatteredCoefficients(_PointwiseCoefficients):
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

    def at(self, x: Array, y: Array) -> Array:
        wanted = np.stack([np.atleast_1d(x), np.atleast_1d(y)], axis=1).astype(float)
        result: Array = self._spline(wanted).T
        return result

    def shifted(self, dx: int, dy: int) -> ScatteredCoefficients:
        return ScatteredCoefficients(self.positions + np.array([dx, dy]))


@final
@dataclass(frozen=True)
class JoinedCoefficients(_PointwiseCoefficients):
    """Functions of several kinds, one kind after the other."""

    parts: tuple[Coefficients, ...]

    @property
    def count(self) -> int:
        return sum(part.count for part in self.parts)

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
class SourcePixelCoefficients(_PointwiseCoefficients):
    """Coefficients of single kernel pixels, taken where the light comes from.

    The pixel at an offset (dx, dy) from the kernel's centre moves light from (x - dx, y - dy) to (x, y). SFFT weights
    the image before it convolves, so that this pixel has the coefficient ``sum_ij P_ij f_i(x - dx) g_j(y - dy)``.

    Parameters
    ----------
    values
        P, of shape (functions along x, functions along y, h, w).
    along_x, along_y
        The functions f and g.
    origin
        Of x and y.
    """

    values: Array
    along_x: Axis
    along_y: Axis
    origin: tuple[int, int] = (0, 0)

    @property
    def count(self) -> int:
        return int(self.values.shape[2] * self.values.shape[3])

    def at(self, x: Array, y: Array) -> Array:
        height, width = self.values.shape[2:]
        x = np.atleast_1d(x) - self.origin[0]
        y = np.atleast_1d(y) - self.origin[1]
        f = np.array([self.along_x.values(x - (column - width // 2)) for column in range(width)])
        g = np.array([self.along_y.values(y - (row - height // 2)) for row in range(height)])
        result: Array = np.einsum("aik,bjk,ijba->bak", f, g, self.values, optimize=True)
        return result.reshape(self.count, -1)

    def shifted(self, dx: int, dy: int) -> SourcePixelCoefficients:
        return replace(self, origin=(self.origin[0] + dx, self.origin[1] + dy))
