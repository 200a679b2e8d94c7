"""Which pixels hold no data: those that are not finite or huge, and those that were filled with a value.

A value that noise never has, as HOTPANTS' 1e-30, is a fill wherever it is. One that noise may have, as 0, or the former
after it was rounded to integers or compressed with losses, is a fill where it covers an area.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diffim_decorr.geometry import Box
from diffim_decorr.images.planes import Plane

__all__ = ("HUGE", "MOST_TIES", "Fill", "absent", "area_fill", "largest_size", "tie_step", "unexplained")

Array = NDArray[Any]

#: Larger values are marks, or the garbage of a damaged file; single precision does not hold their squares.
HUGE = 1e30
#: So few values among the pixels are levels of a converter.
MOST_TIES = 0.25
_RAGGED = 4  # pixels by which an area may reach beyond the squares in it
_ROWS = 33  # tell how often a pixel has a value by chance
_LARGEST = 64
_FEWEST = 0.1  # of the pixels have other values, or the one in question is the rule


@dataclass(frozen=True)
class Fill:
    """A value that stands for no data.

    Parameters
    ----------
    value
        As it is read.
    within
        How far from it pixels may be, after a compression with losses.
    area
        Width of the squares that pixels of the value have to form; 1 for a value that data never have.
    """

    value: float
    within: float = 0.0
    area: int = 1

    def scaled(self, factor: float) -> Fill:
        """That of pixels that are multiplied."""
        return Fill(self.value * factor, self.within * factor, self.area)

    def like(self, pixels: Array) -> Array:
        """Which pixels have the value, of either sign."""
        if not (self.value or self.within):
            zero: Array = pixels == 0
            return zero
        distance: Array = np.abs(np.abs(pixels) - np.float32(abs(self.value)))
        return distance <= np.float32(self.within)

    def found(self, pixels: Array) -> Array | None:
        """Where pixels (h, w) are filled, of either sign; None if nowhere."""
        same = self.like(pixels)
        if not same.any():
            return None
        if self.area > 1:
            areas = _opened(same, self.area)
            # Their borders are as ragged as what was masked.
            for _ in range(_RAGGED if areas.any() else 0):
                areas = _swept(areas, 1, 1, np.logical_or) & same
            same = areas
        return same if same.any() else None


def area_fill(
    plane: Plane, value: float, within: float = 0.0, *, by_chance: float = 1.0, smallest: int = 1
) -> Fill | None:
    """The fill of a value that pixels of data may have as well; None if areas of it are not told from data.

    Integers, photon counts and clipped pixels have a value by chance as often as the right neighbour of a pixel that
    has not, which areas do not change. The squares that areas consist of are so large that chance makes next to none.

    Parameters
    ----------
    plane, value, within
        The image, and the value as in `Fill`.
    by_chance
        How many squares without meaning there may be in the image.
    smallest
        Least width of the squares.
    """
    ny, nx = plane.shape
    places = np.unique(np.linspace(0, ny - 1, _ROWS).astype(int))
    rows = np.concatenate([plane.read(Box(0, y, nx, y + 1)) for y in places])
    same = Fill(value, within).like(rows)
    others = np.isfinite(rows) & ~same
    if not others[:, :-1].any() or others.mean() < _FEWEST:
        return None
    chance = float(same[:, 1:][others[:, :-1]].mean())
    if chance >= 1:
        return None
    pixels = np.log(by_chance / (nx * ny)) / np.log(chance) if chance > 0 else 0.0
    size = max(smallest, int(np.ceil(pixels**0.5)))
    return Fill(value, within, size) if size <= _LARGEST else None


def absent(pixels: Array, fills: Sequence[Fill], largest: float = HUGE, size: float | None = None) -> Array | None:
    """Where pixels (h, w) of single precision hold no data, or are larger than any can be; None if nowhere.

    Their largest absolute value may be given, where it is known.
    """
    missing: Array | None = None
    if not (largest_size(pixels) if size is None else size) <= largest:  # or NaN
        missing = ~(np.abs(pixels) <= largest)
    for fill in fills:
        found = fill.found(pixels)
        if found is not None:
            missing = found if missing is None else missing | found
    return missing


def largest_size(pixels: Array) -> float:
    """The largest absolute value of pixels; NaN if one of them is NaN."""
    return float(np.maximum(-pixels.min(), pixels.max()))


def unexplained(pixels: Array, missing: Array | None, fills: Sequence[Fill], largest: float = HUGE) -> bool:
    """Whether some of the missing pixels are so for their size only, which no fill value accounts for."""
    if missing is None:
        return False
    values = pixels[missing]
    values = values[np.isfinite(values) & (np.abs(values) > largest)]
    for fill in fills:
        values = values[~fill.like(values)]
    return bool(values.size)


def _opened(mask: Array, size: int) -> Array:
    """The union of the squares of some width that lie in a mask."""
    return _swept(_swept(mask, size - 1, 0, np.logical_and), 0, size - 1, np.logical_or)


def _swept(mask: Array, before: int, after: int, combine: np.ufunc) -> Array:
    """Each pixel combined with so many before and behind it, along both axes."""
    for axis in (0, 1):
        padded = np.pad(mask, [(before, after) if k == axis else (0, 0) for k in (0, 1)])
        length = mask.shape[axis]
        parts = [padded[k : k + length] if axis == 0 else padded[:, k : k + length] for k in range(before + after + 1)]
        mask = combine.reduce(parts)
    return mask


def tie_step(values: Array) -> float:
    """The step between the values (k,) that pixels can have, of integers or multiples of a gain; 0 if there is none."""
    levels = np.unique(values)
    if not 1 < len(levels) <= MOST_TIES * len(values):
        return 0.0
    return float(np.median(np.diff(levels)))
