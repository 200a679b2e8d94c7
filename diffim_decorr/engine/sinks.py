"""Where the result of the engine goes."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from diffim_decorr.geometry import Box

__all__ = ("InUnit", "MemorySink", "Sink", "in_unit")

Array = NDArray[Any]


class Sink(Protocol):
    """Takes rows of pixels, in any order and from several threads."""

    def rows(self, y0: int, y1: int) -> tuple[Array, Array, Array] | None:
        """Arrays of its own for rows of image, mask and variance, or None if it has none and they are to be written."""

    def write(self, y0: int, image: Array, mask: Array, variance: Array) -> None:
        """Take rows from y0 on: float32, int32, float32; the arrays may be overwritten."""

    def read(self, box: Box) -> tuple[Array, Array, Array]:
        """Image, mask and variance within a box that has been written."""


class MemorySink:
    """Keeps the result in memory.

    Parameters
    ----------
    shape
        (ny, nx)
    wide
        Whether variances are kept in double precision.
    """

    def __init__(self, shape: tuple[int, int], wide: bool = False) -> None:
        self.image = np.empty(shape, dtype=np.float32)
        self.mask = np.empty(shape, dtype=np.int32)
        self.variance = np.empty(shape, dtype=np.float64 if wide else np.float32)

    def rows(self, y0: int, y1: int) -> tuple[Array, Array, Array]:
        return self.image[y0:y1], self.mask[y0:y1], self.variance[y0:y1]

    def write(self, y0: int, image: Array, mask: Array, variance: Array) -> None:
        """Nothing is left to do: the rows are in their place."""

    def read(self, box: Box) -> tuple[Array, Array, Array]:
        return self.image[box.slices], self.mask[box.slices], self.variance[box.slices]


class InUnit:
    """Passes on pixels that were multiplied by a unit in that of the images.

    Parameters
    ----------
    sink
        Takes them, with variances in double precision.
    unit
        The factor.
    """

    def __init__(self, sink: Sink, unit: float) -> None:
        self._sink = sink
        self._unit = unit

    def rows(self, y0: int, y1: int) -> None:
        """Rows are to be written."""

    def write(self, y0: int, image: Array, mask: Array, variance: Array) -> None:
        scaled = image * np.float32(1 / self._unit), mask.copy(), variance.astype(np.float64) / self._unit**2
        own = self._sink.rows(y0, y0 + len(image))
        for rows, pixels in zip(own or (), scaled, strict=bool(own)):
            rows[...] = pixels
        self._sink.write(y0, *scaled)

    def read(self, box: Box) -> tuple[Array, Array, Array]:
        image, mask, variance = self._sink.read(box)
        return image * np.float32(self._unit), mask, (variance * self._unit**2).astype(np.float32)


def in_unit(sink: Sink, unit: float) -> Sink:
    """A sink for pixels that were multiplied by a unit."""
    return sink if unit == 1 else InUnit(sink, unit)
