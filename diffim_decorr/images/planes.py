"""Image planes that are read window by window, so that memory does not grow with the image."""

from __future__ import annotations

import errno
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, final
from weakref import WeakValueDictionary, finalize

import numpy as np
from numpy.typing import NDArray

from diffim_decorr.errors import InputError
from diffim_decorr.geometry import Box

__all__ = (
    "ArrayPlane",
    "ConstantPlane",
    "DerivedPlane",
    "FilePlane",
    "Identity",
    "Plane",
    "changed",
    "elsewhere",
    "identity_of",
    "is_same",
)

Array = NDArray[Any]

_COLUMNS = 16
_ANY_DEVICE = -1
_KEPT = 1 << 25  # bytes of rows that nobody holds any more, and more of the widest images would be missed elsewhere
_LEAST, _LARGEST = float(np.finfo(np.float32).tiny), float(np.finfo(np.float32).max)


class Plane(ABC):
    """A 2-D array that can be read in windows."""

    @property
    @abstractmethod
    def shape(self) -> tuple[int, int]:
        """(ny, nx)"""

    @abstractmethod
    def read(self, box: Box) -> Array:
        """A copy of the pixels in a box, which must lie inside, in native byte order."""

    def read_into(self, box: Box, out: Array) -> None:
        """Put the pixels in a box into an array of its shape, converted to the array's type."""
        out[...] = self.read(box)

    def read_every(self, box: Box, steps: tuple[int, int]) -> Array:
        """The pixels of a box in every so many rows and columns."""
        return self.read(box)[:: steps[0], :: steps[1]]

    def held(self, y0: int, y1: int) -> Any:
        """Something that, as long as it lives, makes windows of just these rows quick to read."""
        return None

    def read_all(self) -> Array:
        return self.read(Box(0, 0, self.shape[1], self.shape[0]))

    @property
    def in_memory(self) -> str | None:
        """What it is of if its pixels are in memory as a whole; None if windows are read where they are wanted."""
        return None


@final
@dataclass(frozen=True, eq=False)
class ArrayPlane(Plane):
    """A plane in memory, and what it is of."""

    array: Array
    name: str = "an array"

    @property
    def in_memory(self) -> str:
        return self.name

    @property
    def shape(self) -> tuple[int, int]:
        return self.array.shape[0], self.array.shape[1]

    def read(self, box: Box) -> Array:
        window = self.array[box.slices]
        return window.astype(window.dtype.newbyteorder("="))

    def read_into(self, box: Box, out: Array) -> None:
        window = self.array[box.slices]
        # Where columns lie side by side in memory, a few at a time use what each access fetches.
        step = _COLUMNS if window.strides[0] < window.strides[1] else max(box.shape[1], 1)
        for first in range(0, box.shape[1], step):
            out[:, first : first + step] = window[:, first : first + step]

    def read_every(self, box: Box, steps: tuple[int, int]) -> Array:
        window = self.array[box.slices][:: steps[0], :: steps[1]]
        return window.astype(window.dtype.newbyteorder("="))


@final
@dataclass(frozen=True)
class ConstantPlane(Plane):
    """The same value everywhere."""

    value: float
    extent: tuple[int, int]

    @property
    def shape(self) -> tuple[int, int]:
        return self.extent

    def read(self, box: Box) -> Array:
        fits = _LEAST <= abs(self.value) <= _LARGEST or not (np.isfinite(self.value) and self.value)
        return np.full(box.shape, self.value, dtype=np.float32 if fits else np.float64)


@final
@dataclass(frozen=True)
class DerivedPlane(Plane):
    """A function of another plane, pixel by pixel."""

    source: Plane
    function: Callable[[Array], Array]

    @property
    def shape(self) -> tuple[int, int]:
        return self.source.shape

    def read(self, box: Box) -> Array:
        return self.function(self.source.read(box))

    def read_every(self, box: Box, steps: tuple[int, int]) -> Array:
        return self.function(self.source.read_every(box, steps))

    def held(self, y0: int, y1: int) -> Any:
        return self.source.held(y0, y1)


Identity = tuple[int, int, int, int]


def identity_of(file: int | str) -> Identity:
    """What a file is: its place in the file system, its size, and when it was changed last.

    Parameters
    ----------
    file
        A descriptor or a name.
    """
    info = os.stat(file)
    return info.st_dev, info.st_ino, info.st_size, info.st_mtime_ns


def elsewhere(identity: Identity | None) -> Identity | None:
    """The same for another process: on another machine the same file system has another number."""
    return None if identity is None else (_ANY_DEVICE, *identity[1:])


def is_same(file: int | str, identity: Identity) -> bool:
    """Whether a file is the one that it was."""
    device, *found = identity_of(file)
    return tuple(found) == identity[1:] and identity[0] in (device, _ANY_DEVICE)


def changed(path: str) -> InputError:
    """What is to be said of a file that is another one by now."""
    return InputError(f"{path}: has changed since it was opened")


@final
@dataclass(frozen=True)
class FilePlane(Plane):
    """Uncompressed pixels in a file, of which rows are in memory for as long as they are held.

    They are read, not mapped: of a file that somebody cuts short a map ends the process (SIGBUS).

    Parameters
    ----------
    path
        The file.
    offset
        Of the first pixel, in bytes.
    extent
        (ny, nx)
    dtype
        As stored, with its byte order.
    scale, zero, blank
        BSCALE, BZERO and BLANK of the FITS standard (4.4.2).
    identity
        Of the file when it was opened, see `identity_of`: pixels of another one, or of what was made of it since, are
        none of this plane. None where nobody but ourselves writes to it.
    """

    path: str
    offset: int
    extent: tuple[int, int]
    dtype: np.dtype[Any]
    scale: float = 1.0
    zero: float = 0.0
    blank: int | None = None
    identity: Identity | None = None
    # Side by side tiles share their rows.
    _held: WeakValueDictionary[tuple[int, int], Array] = field(
        default_factory=WeakValueDictionary, repr=False, compare=False
    )
    # What rows were in that nobody holds any more: memory that is new costs as much as reading into it does.
    _spare: list[bytearray] = field(default_factory=list, repr=False, compare=False)

    def __reduce__(self) -> Any:
        # What is held stays in its process.
        return FilePlane, (
            self.path,
            self.offset,
            self.extent,
            self.dtype,
            self.scale,
            self.zero,
            self.blank,
            elsewhere(self.identity),
        )

    @property
    def shape(self) -> tuple[int, int]:
        return self.extent

    def read(self, box: Box) -> Array:
        return self.read_every(box, (1, 1))

    def read_into(self, box: Box, out: Array) -> None:
        out[...] = self._window(box) if self._is_plain else self.read(box)

    def read_every(self, box: Box, steps: tuple[int, int]) -> Array:
        rows = self._window(box) if steps[0] == 1 else self._rows(box, steps[0])
        return self._scaled(rows[:, :: steps[1]].astype(self.dtype.newbyteorder("=")))

    def _window(self, box: Box) -> Array:
        """The pixels in a box as stored."""
        held = self._held.get((box.y0, box.y1))
        return self._rows(box, 1) if held is None else held[:, box.x0 : box.x1]

    def held(self, y0: int, y1: int) -> Array:
        rows = self._held.get((y0, y1))
        if rows is None:
            flat = self._memory((y1 - y0) * self.extent[1])
            with self._opened() as file:
                self._fill(file, y0, 0, flat)
            rows = self._held[y0, y1] = flat.reshape(-1, self.extent[1])
        return rows

    def _memory(self, count: int) -> Array:
        """Room for so many pixels, used again once neither it nor any view of it is left."""
        try:
            memory = self._spare.pop()
        except IndexError:
            memory = bytearray()
        if len(memory) < count * self.dtype.itemsize:
            memory = bytearray(count * self.dtype.itemsize)
        flat = np.frombuffer(memory, self.dtype, count)
        if len(memory) <= _KEPT:
            finalize(flat, self._spare.append, memory).atexit = False
        return flat

    def _rows(self, box: Box, step: int) -> Array:
        """Every so many rows of the pixels in a box as stored."""
        numbers = range(box.y0, box.y1, step)
        rows = np.empty((len(numbers), box.x1 - box.x0), self.dtype)
        whole = step == 1 and rows.shape[1] == self.extent[1]
        with self._opened() as file:
            for number, part in zip(numbers, [rows.reshape(-1)] if whole else rows, strict=False):
                self._fill(file, number, box.x0, part)
        return rows

    def _fill(self, file: int, y: int, x: int, pixels: Array) -> None:
        """Read pixels that lie side by side in the file, from one on."""
        offset = self.offset + (y * self.extent[1] + x) * self.dtype.itemsize
        count = os.preadv(file, [pixels.data], offset)
        while count < pixels.nbytes:  # as of more than 2 GiB
            more = os.preadv(file, [pixels.view("u1").data[count:]], offset + count)
            if not more:
                if self.identity is not None:
                    raise changed(self.path)
                raise OSError(errno.EIO, "has become shorter while it was read", self.path)
            count += more

    @contextmanager
    def _opened(self) -> Iterator[int]:
        with open(self.path, "rb", buffering=0) as file:
            if self.identity is not None and not is_same(file.fileno(), self.identity):
                raise changed(self.path)
            yield file.fileno()

    @property
    def _is_plain(self) -> bool:
        return self.scale == 1.0 and self.zero == 0.0 and self.blank is None

    def _scaled(self, pixels: Array) -> Array:
        if self._is_plain:
            return pixels
        if self.blank is None and self.scale == 1.0 and self.zero == int(self.zero) and pixels.dtype.kind in "iu":
            if self.zero == 2.0**63:  # unsigned, in the convention of the FITS standard 4.4.2.5
                return pixels.view(np.uint64) + np.uint64(1 << 63)
            return pixels.astype(np.int64) + int(self.zero)
        scaled: Array = pixels * np.float64(self.scale) + self.zero
        if self.blank is not None:
            scaled[pixels == self.blank] = np.nan
        return scaled
