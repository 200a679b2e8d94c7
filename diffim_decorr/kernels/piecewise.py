"""Coefficient functions that differ from one rectangle of the field to the next, and kernels of several parts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from diffim_decorr.errors import InputError
from diffim_decorr.geometry import Box
from diffim_decorr.kernels.coefficients import Coefficients
from diffim_decorr.kernels.grid import GridCoefficients
from diffim_decorr.kernels.spatial import SpatialKernel

__all__ = ("PiecewiseCoefficients", "joined", "parts_of")

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


def joined(parts: Sequence[tuple[Box, SpatialKernel]], field: Box) -> SpatialKernel:
    """One kernel of those of several boxes, which may be of different widths and have basis images of their own.

    The basis images of all of them are put side by side, with coefficients of zero where they do not belong.
    """
    if len(parts) == 1 and parts[0][0] == field:
        return SpatialKernel(parts[0][1].basis, parts[0][1].coefficients, field)
    half = max(max(kernel.shape) // 2 for _, kernel in parts)
    count = sum(len(kernel.basis) for _, kernel in parts)
    basis = np.zeros((count, 2 * half + 1, 2 * half + 1))
    pieces: list[tuple[Box, Coefficients]] = []
    first = 0
    for box, kernel in parts:
        own = slice(first, first := first + len(kernel.basis))
        (top, left), (height, width) = (half - n // 2 for n in kernel.shape), kernel.shape
        basis[own, top : top + height, left : left + width] = kernel.basis
        pieces.append((box, kernel.coefficients.combined(np.eye(count)[:, own])))
    return SpatialKernel(basis, PiecewiseCoefficients(tuple(pieces)), field)


def parts_of(kernel: SpatialKernel, field: Box) -> list[tuple[Box, SpatialKernel]]:
    """What a kernel is in each of its boxes, the field if it has none: without what it does not need there."""
    if not kernel.boxes:
        return [(field, kernel)]
    return [(box, _without_zeros(kernel.piece(k))) for k, box in enumerate(kernel.boxes)]


def _without_zeros(kernel: SpatialKernel) -> SpatialKernel:
    """A kernel without the basis images that it does not use, and without borders of zeros around the others."""
    grid = kernel.coefficients
    if not isinstance(grid, GridCoefficients):
        return kernel
    used = np.flatnonzero(grid.values.any(axis=(1, 2)))
    basis = kernel.basis[used]
    y, x = (np.abs(np.arange(n) - n // 2) for n in kernel.shape)
    reach = int(np.maximum(y[:, None], x)[basis.any(axis=0)].max(initial=0))
    rows, columns = (slice(n // 2 - reach, n // 2 + reach + 1) for n in kernel.shape)
    coefficients = GridCoefficients(grid.values[used], grid.x, grid.y, grid.order)
    return SpatialKernel(basis[:, rows, columns], coefficients, kernel.field)
