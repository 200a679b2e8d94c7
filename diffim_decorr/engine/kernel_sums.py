"""Sums of kernels that vary over the field, and of their parts that lie inside the image."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diffim_decorr.engine.local import LocalKernels
from diffim_decorr.geometry import Box
from diffim_decorr.kernels.bank import KernelBank

__all__ = ("KernelSums",)

Array = NDArray[Any]

_ROWS = 128  # at the edges that are worked on at once


class KernelSums:
    """What the kernels of a filter bank sum to at each pixel of an image.

    That is what a convolution makes of an image that is 1 everywhere, without any transform.

    Parameters
    ----------
    bank
        The kernels.
    shape
        Of the image, (ny, nx).
    """

    def __init__(self, bank: KernelBank, shape: tuple[int, int]) -> None:
        self._shape = shape
        bank = bank.simplified()
        self._coefficients = bank.coefficients
        images, count, height, width = bank.bases.shape
        self._size = height, width
        # table[k, n, j, i] is the sum of the first j rows and i columns of basis image n for image k.
        self._table = np.zeros((images, count, height + 1, width + 1))
        self._table[:, :, 1:, 1:] = bank.bases.cumsum(axis=2).cumsum(axis=3)

    @property
    def means(self) -> Array:
        """What the kernel of each image sums to in the middle of the image (images)."""
        middle = self._coefficients.at(*(np.array([side / 2]) for side in self._shape[::-1]))[:, 0]
        means: Array = self._table[:, :, -1, -1] @ middle
        return means

    def whole(self, tile: Box, levels: Sequence[float] | Array) -> Array:
        """What the kernels of a tile's pixels make of images that are at some levels everywhere.

        Parameters
        ----------
        tile
            The tile's pixels.
        levels
            That of each image.

        Returns
        -------
        sums
            Of the tile's shape, or (1, 1) if they are all equal.
        """
        totals: Array = np.tensordot(levels, self._table[:, :, -1, -1], axes=1)
        if self._coefficients.is_constant:
            return totals[:, None]
        x, y = np.arange(tile.x0, tile.x1), np.arange(tile.y0, tile.y1)
        sums: Array = self._coefficients.combined(totals[None]).grid(x, y)[0]
        return sums

    def reach_beyond(self, tile: Box) -> bool:
        """Whether kernels of a tile's pixels reach beyond the image."""
        reach = max(self._size) // 2
        ny, nx = self._shape
        return tile.grown(reach).clipped((ny, nx)) != tile.grown(reach)

    def inside(
        self, local: LocalKernels, levels: Sequence[float] | Array
    ) -> Iterator[tuple[tuple[slice, slice], Array]]:
        """The same where a tile's kernels reach beyond the image, of whose pixels only those inside count.

        Parameters
        ----------
        local
            What the kernels are made of in the tile.
        levels
            That of each image.

        Yields
        ------
        index, sums
            Rectangles of an array of the tile's shape, which do not overlap, and the sums there.
        """
        (height, width), tile = self._size, local.tile
        y, x = np.arange(tile.y0, tile.y1), np.arange(tile.x0, tile.x1)
        first_y, last_y = _overlap(y, self._shape[0], height)
        first_x, last_x = _overlap(x, self._shape[1], width)
        table = None
        along_y, along_x = _thirds(last_y - first_y < height), _thirds(last_x - first_x < width)
        for (y_near, band), (x_near, columns) in itertools.product(along_y, along_x):
            for rows in _pieces(band) if columns.start < columns.stop and (y_near or x_near) else ():
                if table is None:
                    table = np.tensordot(levels, self._table, axes=1)
                    if local.matrix is not None:
                        table = np.tensordot(local.matrix, table, axes=1)
                # Where nothing is cut off along an axis one place along it stands for all.
                j, i = rows if y_near else rows.start, columns if x_near else columns.start
                sums = table[:, np.atleast_1d(last_y[j])] - table[:, np.atleast_1d(first_y[j])]
                sums = sums[:, :, np.atleast_1d(last_x[i])] - sums[:, :, np.atleast_1d(first_x[i])]
                yield (rows, columns), (local.values(rows, columns) * sums).sum(axis=0)


def _thirds(near: Array) -> tuple[tuple[bool, slice], ...]:
    """The pixels along an axis that are near its first end, near none, and near its other end, and whether they are."""
    far = np.flatnonzero(~near)
    begin, end = (int(far[0]), int(far[-1]) + 1) if len(far) else (len(near), len(near))
    return (True, slice(0, begin)), (False, slice(begin, end)), (True, slice(end, len(near)))


def _pieces(rows: slice) -> Iterator[slice]:
    """Few rows at a time, as much of a table is looked up for each."""
    return (slice(first, min(first + _ROWS, rows.stop)) for first in range(rows.start, rows.stop, _ROWS))


def _overlap(positions: Array, size: int, width: int) -> tuple[Array, Array]:
    """First and last + 1 index of the kernel pixels that fall inside: pixel k looks at position - (k - width // 2)."""
    first = np.clip(positions + width // 2 - (size - 1), 0, width)
    last = np.clip(positions + width // 2 + 1, 0, width)
    return first, np.maximum(first, last)
