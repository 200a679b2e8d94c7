"""Mask planes: the union of the inputs' masks, and which planes matter."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diffim_decorr.errors import InputError
from diffim_decorr.exposure import Exposure
from diffim_decorr.planes import Plane
from diffim_decorr.spatial import Box

__all__ = ("BAD_PLANES", "REPLACED_PLANES", "MaskUnion", "any_of", "plane_bits")

Array = NDArray[Any]

# Left out of statistics, as in LSST's DecorrelateALKernelConfig.ignoreMaskPlanes.
BAD_PLANES = ("INTRP", "EDGE", "DETECTED", "SAT", "CR", "BAD", "NO_DATA", "DETECTED_NEGATIVE")
# Replaced by the background before filtering, so that they do not ring over their neighbours.
REPLACED_PLANES = ("NO_DATA", "SAT", "CR", "BAD")
_OWN_PLANES = ("NO_DATA", "EDGE", "DECORR_BAD")


def plane_bits(planes: dict[str, int], names: Iterable[str]) -> int:
    """The bits of those of the named planes that there are."""
    bits = 0
    for name in names:
        if name in planes:
            bits |= 1 << planes[name]
    return bits


def any_of(mask: Array, planes: dict[str, int], names: Iterable[str]) -> Array:
    """Where a bit mask of any integer type has any of the named planes set."""
    unsigned = _unsigned(mask)
    found: Array = (unsigned & _held(plane_bits(planes, names), unsigned.dtype)) != 0
    return found


def _unsigned(mask: Array) -> Array:
    """The same bits without a sign, so that the highest one is like the others."""
    return mask.view(f"u{mask.dtype.itemsize}")


def _held(bits: int, dtype: np.dtype[Any]) -> Any:
    """Those of the bits that a number of this type has."""
    return dtype.type(bits & np.iinfo(dtype).max)


@dataclass(frozen=True)
class MaskUnion:
    """The union, plane by plane, of the masks of several exposures.

    Parameters
    ----------
    planes
        Bit number of each plane of the union.
    sources
        Mask planes, each with its (bit in the source, bit in the union) pairs, or None where all are the same.
    """

    planes: dict[str, int]
    sources: tuple[tuple[Plane, tuple[tuple[int, int], ...] | None], ...]

    @classmethod
    def of(cls, exposures: Sequence[Exposure]) -> MaskUnion:
        """The union over exposures; bit numbers are those of the first one that has the plane, where they are free.

        Raises
        ------
        InputError
            If more than 32 planes would be needed.
        """
        wanted: dict[str, int | None] = {}
        for exposure in exposures:
            for name, bit in exposure.mask_planes.items():
                wanted.setdefault(name, bit)
        for name in _OWN_PLANES:
            wanted.setdefault(name, None)
        planes: dict[str, int] = {}
        for name, preferred in sorted(wanted.items(), key=lambda item: item[1] is None):
            used = set(planes.values())
            free = preferred if preferred is not None and preferred not in used else min(set(range(33)) - used)
            if free > 31:
                raise InputError(f"{', '.join(e.name for e in exposures)}: more than 32 mask planes in all")
            planes[name] = free
        sources = []
        for exposure in exposures:
            if exposure.mask_plane is not None:
                pairs = tuple((bit, planes[name]) for name, bit in exposure.mask_planes.items())
                sources.append((exposure.mask_plane, pairs))
        return cls(planes, tuple(sources))

    def read(self, box: Box) -> Array:
        """The union's bits (int32) within a box."""
        union = np.zeros(box.shape, dtype=np.int32)
        for plane, pairs in self.sources:
            mask = _unsigned(plane.read(box))
            # Most pixels of most masks are clear, and most masks have the union's own numbering.
            if not mask.any():
                continue
            moved = [pair for pair in pairs or () if pair[0] != pair[1]]
            kept = sum(1 << a for a, b in pairs or () if a == b)
            union |= (mask & _held(kept, mask.dtype)).astype(np.uint32).view(np.int32)
            for source, target in moved:
                bits = ((mask >> source) & 1).astype(np.uint32) << np.uint32(target)
                union |= bits.view(np.int32)
        return union

    def bits(self, names: Iterable[str]) -> np.int32:
        """The bits of those of the named planes that there are."""
        return np.uint32(plane_bits(self.planes, names)).view(np.int32)
