"""Bits of masks, and the names of the planes that they make up."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ("any_of", "held_bits", "plane_bits", "unsigned")

Array = NDArray[Any]


def plane_bits(planes: Mapping[str, int], names: Iterable[str]) -> int:
    """The bits of those of the named planes that there are."""
    bits = 0
    for name in names:
        if name in planes:
            bits |= 1 << planes[name]
    return bits


def any_of(mask: Array, planes: Mapping[str, int], names: Iterable[str]) -> Array:
    """Where a bit mask of any integer type has any of the named planes set."""
    plain = unsigned(mask)
    found: Array = (plain & held_bits(plane_bits(planes, names), plain.dtype)) != 0
    return found


def unsigned(mask: Array) -> Array:
    """The same bits in native byte order and without a sign, so that the highest one is like the others."""
    native = mask.astype(mask.dtype.newbyteorder("="), copy=False)
    return native.view(f"u{mask.dtype.itemsize}")


def held_bits(bits: int, dtype: np.dtype[Any]) -> Any:
    """Those of the bits that a number of this type has."""
    return dtype.type(bits & np.iinfo(dtype).max)
