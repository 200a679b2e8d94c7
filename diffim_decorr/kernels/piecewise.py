"""Coefficient functions that differ from one rectangle of the field to the next."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from diffim_decorr.errors import InputError
from diffim_decorr.geometry import Box
from diffim_decorr.kernels.coefficients import Coefficients
from diffim_decorr.kernels.grid import GridCoefficients

__all__ = ("PiecewiseCoefficients",)

Array = NDArray[Any]


@final
@dataclass(frozen=True, eq=False, repr=False)
class PiecewiseCoefficients(Coefficients):
    """Different functions in different rectangles, zero outside them.

    A position belongs to the pixel that it falls into. Where rectangles overlap, the last one counts.
    """

    pieces: tuple[tuple[Box, Coefficients], ...]

    @property
    def count(self) -> int:
        return self.pieces[0][1].count

    @property
    def boxes(self) -> tuple[Box, ...]:
        return tuple(box for box, _ in self.pieces)

    @property
    def described(self) -> str:
        kinds = ", ".join(sorted({piece.described for _, piece in self.pieces}))
        return f"{kinds} in each of {len(self.pieces)} regions" if len(self.pieces) > 1 else kinds

    def piece(self, number: int) -> Coefficients:
        return self.pieces[number][1]

    def grid(self, x: Array, y: Array) -> Array:
        x, y = np.asarray(x), np.asarray(y)
        result: Array = np.zeros((self.count, len(y), len(x)), dtype=np.float32 if self._single else np.float64)
        for box, piece in self.pieces:
            columns = np.flatnonzero(box.contains(x, box.y0))
            rows = np.flatnonzero(box.contains(box.x0, y))
            if len(columns) and len(rows):
                result[np.ix_(np.arange(self.count), rows, columns)] = piece.grid(x[columns], y[rows])
        return result

    @property
    def _single(self) -> bool:
        return all(isinstance(p, GridCoefficients) and p.values.dtype == np.float32 for _, p in self.pieces)

    def at(self, x: Array, y: Array) -> Array:
        x, y = np.atleast_1d(x), np.atleast_1d(y)
        result: Array = np.zeros((self.count, len(x)))
        for box, piece in self.pieces:
            inside = box.contains(x, y)
            if inside.any():
                result[:, inside] = piece.at(x[inside], y[inside])
        return result

    def shifted(self, dx: int, dy: int) -> PiecewiseCoefficients:
        return PiecewiseCoefficients(tuple((b.shifted(dx, dy), c.shifted(dx, dy)) for b, c in self.pieces))

    def combined(self, matrix: Array) -> PiecewiseCoefficients:
        return PiecewiseCoefficients(tuple((box, piece.combined(matrix)) for box, piece in self.pieces))

    def cutout(self, box: Box) -> PiecewiseCoefficients:
        kept = [(own.within(box), piece) for own, piece in self.pieces if min(own.within(box).shape) > 0]
        if not kept:
            raise InputError(f"the kernel has no region within {box}")
        return PiecewiseCoefficients(tuple(kept)).shifted(-box.x0, -box.y0)
