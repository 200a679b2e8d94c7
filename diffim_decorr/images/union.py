"""The union of the masks of several exposures."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diffim_decorr.errors import InputError
from diffim_decorr.geometry import Box
from diffim_decorr.images.exposure import Exposure
from diffim_decorr.images.masks import held_bits, plane_bits, unsigned
from diffim_decorr.images.planes import Plane

__all__ = ("OWN_PLANES", "MaskUnion")

Array = NDArray[Any]

#: What a run sets in the mask of its result.
OWN_PLANES = ("NO_DATA", "EDGE", "DECORR_BAD", "DECORR_FILLED")


@dataclass(frozen=True, eq=False)
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
    def of(cls, exposures: Sequence[Exposure], own: Sequence[str] = OWN_PLANES) -> MaskUnion:
        """The union over exposures; bit numbers are those of the first one that has the plane, where they are free.

        Parameters
        ----------
        exposures
            Whose masks it is of.
        own
            Planes that it has besides.

        Raises
        ------
        InputError
            If more than 32 planes would be needed.
        """
        wanted: dict[str, int | None] = {}
        for exposure in exposures:
            for name, bit in exposure.mask_planes.items():
                wanted.setdefault(name, bit)
        for name in own:
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
        bits = self.set_bits(box)
        return np.zeros(box.shape, dtype=np.int32) if bits is None else bits

    def set_bits(self, box: Box) -> Array | None:
        """The same; None if none of them is set."""
        union: Array | None = None
        for plane, pairs in self.sources:
            mask = unsigned(plane.read(box))
            # Most pixels of most masks are clear, and most masks have the union's own numbering.
            if not mask.any():
                continue
            if union is None:
                union = np.zeros(box.shape, dtype=np.int32)
            moved = [pair for pair in pairs or () if pair[0] != pair[1]]
            kept = sum(1 << a for a, b in pairs or () if a == b)
            union |= (mask & held_bits(kept, mask.dtype)).astype(np.uint32).view(np.int32)
            for source, target in moved:
                bits = ((mask >> source) & 1).astype(np.uint32) << np.uint32(target)
                union |= bits.view(np.int32)
        return union

    def held(self, y0: int, y1: int) -> list[Any]:
        """As `Plane.held`, for the masks that the union is of."""
        return [plane.held(y0, y1) for plane, _ in self.sources]

    def bits(self, names: Iterable[str]) -> np.int32:
        """The bits of those of the named planes that there are."""
        return np.uint32(plane_bits(self.planes, names)).view(np.int32)
