"""Coefficient functions that are products of one of x and one of y."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from diffim_decorr.kernels.coefficients import Coefficients

__all__ = ("Axis", "PolynomialAxis", "SplineAxis", "TensorCoefficients")

Array = NDArray[Any]


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
@dataclass(frozen=True, eq=False, repr=False)
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
