"""The few kernels that those of a tile are made of.

Kernels that vary over the field are sums of as many basis images as it takes for all of the field. Over one tile they
span much less, and each basis image costs a Fourier transform of the tile. There a kernel is

- a sum of products of polynomials in x and in y with kernels of the tile: those that share their polynomial in x share
  the transforms of the rows as well, and few of a low degree are enough for whatever is smooth;
- or a sum of kernels, found by a singular value decomposition of the coefficients, with functions of position: fewest
  for what is not smooth, as where the noise has steps.

Whichever takes less work is taken. What is left out of the kernels is known from where they are looked at.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.polynomial.chebyshev import chebvander
from numpy.typing import NDArray

from diffim_decorr.geometry import Box
from diffim_decorr.kernels.bank import KernelBank
from diffim_decorr.kernels.coefficients import Coefficients
from diffim_decorr.kernels.compress import SUM_WEIGHT

__all__ = ("Group", "LocalKernels", "Localizer")

Array = NDArray[Any]
#: Numbers of kernels, each with the degree of the polynomial in y that it is weighted with.
Group = tuple[tuple[int, int], ...]

# Degree of the polynomials along each axis, and of places along each axis from which they are found.
_DEGREE, _PLACES = 6, 9
# Share of what may be left out that kernels make which are of no account for one of several images.
_NEGLIGIBLE = 0.1
# Of basis images that hardly differ, what is not told from rounding.
_ROUNDING = 1e-12
# What the columns of a kernel cost, and the rows of several, without and with a function of both coordinates.
_COLUMNS, _ROWS, _ROWS_WEIGHTED = 1.8, 1.6, 2.8


@dataclass(frozen=True, eq=False)
class LocalKernels:
    """What the kernels of a tile are made of, in groups that share what they are weighted with along the rows.

    Parameters
    ----------
    tile
        The tile's pixels.
    matrix
        Sums (r, n) of the bank's basis images; None for these themselves.
    groups
        For each group the numbers of its kernels, each with the degree of the polynomial in y that it is weighted with.
    weights
        For each group the degree of the polynomial in x that it is weighted with; or functions of position, one for
        each; or None if there is nothing to weight.
    needed
        Which of the kernels (images, r) are not negligible; None if all of them count.
    """

    tile: Box
    matrix: Array | None
    groups: tuple[Group, ...]
    weights: tuple[int, ...] | Coefficients | None
    needed: Array | None = None

    def images(self, kernel: int, given: list[int]) -> list[int]:
        """For which of given images a kernel is not negligible; all of them if it is for each."""
        needed = given if self.needed is None else [k for k in given if self.needed[k, kernel]]
        return needed or given

    def values(self, rows: slice, columns: slice) -> Array:
        """What each kernel is weighted with at some of the tile's rows and columns (r, rows, columns)."""
        if isinstance(self.weights, Coefficients):
            x, y = np.arange(self.tile.x0, self.tile.x1), np.arange(self.tile.y0, self.tile.y1)
            return self.weights.grid(x[columns], y[rows])
        height, width = (len(range(*part.indices(n))) for part, n in zip((rows, columns), self.tile.shape, strict=True))
        of_x = self.weights or (0,) * len(self.groups)
        along_x, along_y = (_polynomials(n, np.dtype(float)) for n in self.tile.shape[::-1])
        values = np.empty((sum(map(len, self.groups)), height, width))
        for group, degree in zip(self.groups, of_x, strict=True):
            for number, own in group:
                values[number] = along_y[own][rows, None] * along_x[degree][columns]
        return values

    def along_x(self, dtype: Any) -> Iterator[Array | None]:
        """What each group is weighted with, to be broadcast to the tile's shape; None is 1 everywhere.

        What comes may be overwritten by the next.
        """
        if isinstance(self.weights, Coefficients):
            x, y = np.arange(self.tile.x0, self.tile.x1), np.arange(self.tile.y0, self.tile.y1)
            yield from self.weights.each(x, y)
        elif self.weights is None:
            yield None
        else:
            values = _polynomials(self.tile.shape[1], np.dtype(dtype))
            for degree in self.weights:
                yield values[degree] if degree else None

    def along_y(self, dtype: Any) -> Array:
        """Polynomials of each degree along the columns (degree, ny, 1)."""
        return _polynomials(self.tile.shape[0], np.dtype(dtype))[..., None]


class Localizer:
    """Finds what the kernels of a bank are made of within tiles.

    Parameters
    ----------
    bank
        The kernels.
    levels
        How much each image's kernel counts (images); the same without.
    """

    def __init__(self, bank: KernelBank, levels: Array | None = None) -> None:
        self._coefficients = bank.coefficients
        images, count = bank.bases.shape[:2]
        flat = bank.bases.reshape(images, count, -1)
        rows = [
            level * np.hstack([pixels, SUM_WEIGHT * pixels.sum(axis=1, keepdims=True)])
            for level, pixels in zip(np.ones(images) if levels is None else levels, flat, strict=True)
        ]
        self._products = np.array([pixels @ pixels.T for pixels in rows])
        powers, vectors = np.linalg.eigh(self._products.sum(axis=0))
        kept = powers > _ROUNDING * powers[-1]
        # The norm of these times a kernel's coefficients is that of the kernel, and their inverse leads back.
        self._root = np.sqrt(powers[kept])[:, None] * vectors[:, kept].T
        self._inverse = vectors[:, kept] / np.sqrt(powers[kept])

    def __call__(self, tile: Box, error: float) -> LocalKernels:
        """What a tile's kernels are made of.

        Parameters
        ----------
        tile
            Its pixels.
        error
            Bound of the norm of what is left out of any pixel's kernel; with 0 it is what the bank is made of.
        """
        count = self._coefficients.count
        everything = LocalKernels(tile, None, tuple(((k, 0),) for k in range(count)), self._coefficients)
        if self._coefficients.is_constant:
            return LocalKernels(tile, None, (((0, 0),),), None)
        if not error:
            return everything
        x = self._coefficients.places(tile.x0, tile.x1, _PLACES, "x")
        y = self._coefficients.places(tile.y0, tile.y1, _PLACES, "y")
        amounts = self._root @ self._coefficients.grid(x, y).reshape(count, -1).astype(float)
        found = (everything, self._modes(tile, amounts, error), self._polynomials(tile, amounts, x, y, error))
        cheapest = min((local for local in found if local is not None), key=_cost)
        return cheapest if cheapest.matrix is None else replace(cheapest, needed=self._needed(cheapest.matrix, error))

    def _needed(self, matrix: Array, error: float) -> Array:
        """Which of the sums of basis images (r, n) each image needs; the others together make no difference."""
        sizes = np.sqrt(np.maximum(np.einsum("rn,inm,rm->ir", matrix, self._products, matrix), 0))
        needed: Array = sizes > _NEGLIGIBLE * error / sizes.size
        return needed

    def _modes(self, tile: Box, amounts: Array, error: float) -> LocalKernels:
        """The fewest kernels that those at some places (n, k) are made of."""
        # The singular vectors, of a matrix that may have many columns.
        modes = np.linalg.eigh(amounts @ amounts.T)[1][:, ::-1]
        # Summed from the last one: what is left is not to be the difference of large numbers.
        left = ((modes.T @ amounts) ** 2)[::-1].cumsum(axis=0)[::-1]
        modes = modes[:, : max(1, int(np.count_nonzero(left.max(axis=1) > error**2)))]
        groups = tuple(((k, 0),) for k in range(modes.shape[1]))
        return LocalKernels(tile, (self._inverse @ modes).T, groups, self._coefficients.combined(modes.T @ self._root))

    def _polynomials(self, tile: Box, amounts: Array, x: Array, y: Array, error: float) -> LocalKernels | None:
        """The fewest terms of polynomials that are as good at the places; None if there are none."""
        if min(tile.shape) <= _PLACES:
            return None
        nodes = np.cos(np.pi * (np.arange(_PLACES) + 0.5) / _PLACES)
        at_nodes = (_absolute(nodes, *ends) for ends in ((tile.x0, tile.x1), (tile.y0, tile.y1)))
        values = self._coefficients.grid(*at_nodes).astype(float)
        # Polynomials that are orthogonal at these nodes.
        fit = chebvander(nodes, _DEGREE) * np.where(np.arange(_DEGREE + 1), 2, 1) / _PLACES
        terms = (self._root @ np.einsum("nyx,yj,xi->nij", values, fit, fit).reshape(len(values), -1)).T
        order = np.argsort(-np.linalg.norm(terms, axis=1), kind="stable")
        along_x, along_y = (
            chebvander(_relative(places, *ends), _DEGREE)
            for places, ends in ((x, (tile.x0, tile.x1)), (y, (tile.y0, tile.y1)))
        )
        products = np.einsum("yj,xi->ijyx", along_y, along_x).reshape(len(terms), -1)
        count = max(1, int(np.count_nonzero(np.linalg.norm(terms, axis=1) > error)))
        while True:
            chosen = order[:count]
            left = amounts - terms[chosen].T @ products[chosen]
            if (left**2).sum(axis=0).max() <= error**2:
                break
            if count == len(order):
                return None
            count += 1
        chosen = np.sort(chosen)
        of_x, of_y = np.divmod(chosen, _DEGREE + 1)
        degrees = np.unique(of_x)
        groups = tuple(tuple((int(k), int(of_y[k])) for k in np.flatnonzero(of_x == degree)) for degree in degrees)
        return LocalKernels(tile, (self._inverse @ terms[chosen].T).T, groups, tuple(int(degree) for degree in degrees))


def _cost(local: LocalKernels) -> float:
    rows = _ROWS_WEIGHTED if isinstance(local.weights, Coefficients) else _ROWS
    return _COLUMNS * sum(map(len, local.groups)) + rows * len(local.groups)


@lru_cache
def _polynomials(size: int, dtype: np.dtype[Any]) -> Array:
    """Polynomials of each degree at all pixels of an axis of a tile (degree, pixels)."""
    return np.ascontiguousarray(chebvander(_relative(np.arange(size), 0, size), _DEGREE).T, dtype)


def _relative(positions: Array, first: int, end: int) -> Array:
    """Positions along an axis of a tile, -1 for its first pixel and 1 for its last."""
    relative: Array = (2 * positions - (first + end - 1)) / max(end - first - 1, 1)
    return relative


def _absolute(relative: Array, first: int, end: int) -> Array:
    """The positions that these are."""
    positions: Array = (relative * (end - first - 1) + (first + end - 1)) / 2
    return positions
