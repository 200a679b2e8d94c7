"""Coefficient functions between scattered positions."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, final

import numpy as np
from numpy.typing import NDArray

from diffim_decorr.kernels.coefficients import Coefficients
from diffim_decorr.threads import serial_blas

if TYPE_CHECKING:
    from scipy.interpolate import RBFInterpolator

__all__ = ("ScatteredCoefficients",)

Array = NDArray[Any]


@final
@dataclass(frozen=True, eq=False, repr=False)
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

    def __reduce__(self) -> Any:
        return ScatteredCoefficients, (self.positions,)

    @property
    def described(self) -> str:
        return f"thin-plate splines between {self.count} positions"

    @cached_property
    def _spline(self) -> RBFInterpolator:
        # Most kernels need none of it, and scipy.interpolate takes long to import.
        from scipy.interpolate import RBFInterpolator

        with serial_blas():
            return RBFInterpolator(self.positions, np.eye(self.count), kernel="thin_plate_spline", degree=1)

    def grid(self, x: Array, y: Array) -> Array:
        values = self.at(np.tile(x, len(y)), np.repeat(y, len(x)))
        return values.reshape(self.count, len(y), len(x))

    def at(self, x: Array, y: Array) -> Array:
        wanted = np.stack([np.atleast_1d(x), np.atleast_1d(y)], axis=1).astype(float)
        # scipy has a linear algebra library of its own, which may have been loaded just now.
        with serial_blas():
            result: Array = self._spline(wanted).T
        return result

    def shifted(self, dx: int, dy: int) -> ScatteredCoefficients:
        return ScatteredCoefficients(self.positions + np.array([dx, dy]))
