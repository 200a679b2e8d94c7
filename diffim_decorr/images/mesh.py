"""A background that is known in cells, and an image that it has been taken off."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from diffim_decorr.geometry import Box
from diffim_decorr.images.absent import Fill
from diffim_decorr.images.planes import Plane

__all__ = ("Flattened", "Mesh", "edges")

Array = NDArray[Any]


@final
@dataclass(frozen=True, eq=False)
class Mesh:
    """A smooth function over a field: values at the middles of cells, cubic between them, linear on to the borders.

    The cubics are those of Catmull & Rom (1974): as smooth as it takes, and of few cells at a time.

    Parameters
    ----------
    values
        Of the cells (rows, columns), which divide the field evenly.
    shape
        Of the field, (ny, nx).
    """

    values: Array
    shape: tuple[int, int]

    def at(self, rows: Array, columns: Array) -> Array:
        """Its values (k, m) in rows (k,) and columns (m,) of pixels, in double precision."""
        (near_y, along_y), (near_x, along_x) = (
            _weights(positions, length, count)
            for positions, length, count in zip((rows, columns), self.shape, self.values.shape, strict=True)
        )
        result: Array = along_y @ self.values[near_y, near_x] @ along_x.T
        return result

    def within(self, box: Box) -> Array:
        """Its values at the pixels of a box."""
        return self.at(np.arange(box.y0, box.y1), np.arange(box.x0, box.x1))

    def scaled(self, factor: float) -> Mesh:
        """The same in a unit that is so many times smaller."""
        return Mesh(self.values * factor, self.shape)


def edges(length: int, size: float) -> Array:
    """Where the cells of about a size begin that divide a length evenly, and its end."""
    count = max(1, round(length / size))
    return np.arange(count + 1) * length // count


def _weights(positions: Array, length: int, count: int) -> tuple[slice, Array]:
    """The cells along an axis that count at positions (k,), and how much the value of each does: (k, cells)."""
    if count == 1:
        return slice(0, 1), np.ones((len(positions), 1))
    place = (positions + 0.5) * (count / length) - 0.5
    first = np.floor(place).astype(int)
    t = place - first
    cubic = (t * (t * (2 - t) - 1), t * t * (3 * t - 5) + 2, t * (t * (4 - 3 * t) + 1), t * t * (t - 1))
    start = int(np.clip(first.min() - 1, 0, count - 2))
    stop = int(np.clip(first.max() + 3, start + 2, count))
    weights = np.zeros((len(positions), stop - start))
    each = np.arange(len(positions))
    for offset, part in enumerate(cubic, -1):
        cell = first + offset
        # Beyond the outermost cell a straight line goes on through it and the next one.
        inner = np.clip(cell, 0, count - 1)
        beyond = np.abs(cell - inner)
        towards = np.where(cell < 0, 1, count - 2)
        np.add.at(weights, (each, inner - start), part / 2 * (1 + beyond))
        np.add.at(weights, (each, np.where(beyond, towards, inner) - start), -part / 2 * beyond)
    return slice(start, stop), weights


@final
@dataclass(frozen=True, eq=False)
class Flattened(Plane):
    """An image without its background; NaN where it holds no data.

    Parameters
    ----------
    source
        The image.
    fills
        Values that stand for no data in it, which would not be known again with the background taken off.
    mesh
        The background.
    """

    source: Plane
    fills: Sequence[Fill]
    mesh: Mesh

    @property
    def shape(self) -> tuple[int, int]:
        return self.source.shape

    def read(self, box: Box) -> Array:
        pixels = self.source.read(box)
        single = pixels.astype(np.float32, copy=False)
        filled = [found for fill in self.fills if (found := fill.found(single)) is not None]
        flat: Array = (pixels - self.mesh.within(box)).astype(np.float32)
        for missing in filled:
            flat[missing] = np.nan
        return flat

    def held(self, y0: int, y1: int) -> Any:
        return self.source.held(y0, y1)
