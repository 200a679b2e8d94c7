"""Rectangles of pixels."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

__all__ = ("Box", "divided")


@dataclass(frozen=True)
class Box:
    """A rectangle of pixels, ``x0 <= x < x1`` and ``y0 <= y < y1``."""

    x0: int
    y0: int
    x1: int
    y1: int

    @property
    def shape(self) -> tuple[int, int]:
        return self.y1 - self.y0, self.x1 - self.x0

    @property
    def slices(self) -> tuple[slice, slice]:
        return slice(self.y0, self.y1), slice(self.x0, self.x1)

    def grown(self, margin: int) -> Box:
        return Box(self.x0 - margin, self.y0 - margin, self.x1 + margin, self.y1 + margin)

    def clipped(self, shape: tuple[int, int]) -> Box:
        """The part inside an image (ny, nx), which is empty if there is none."""
        return self.within(Box(0, 0, shape[1], shape[0]))

    def within(self, other: Box) -> Box:
        """The part inside another box, which is empty if there is none."""
        # Both ends have to be limited on both sides: a slice with a negative end would begin to count from behind.
        x0, x1 = (min(max(x, other.x0), other.x1) for x in (self.x0, self.x1))
        y0, y1 = (min(max(y, other.y0), other.y1) for y in (self.y0, self.y1))
        return Box(x0, y0, x1, y1)

    def contains(self, x: Any, y: Any) -> Any:
        """Whether positions belong to pixels of the box: from half a pixel before the first to half a pixel behind."""
        # With & instead of `and` for arrays of positions.
        return (x >= self.x0 - 0.5) & (x < self.x1 - 0.5) & (y >= self.y0 - 0.5) & (y < self.y1 - 0.5)

    def __str__(self) -> str:
        return f"x from {self.x0} to {self.x1 - 1} and y from {self.y0} to {self.y1 - 1}"

    def shifted(self, dx: int, dy: int) -> Box:
        return Box(self.x0 + dx, self.y0 + dy, self.x1 + dx, self.y1 + dy)


def divided(field: Box, boxes: Sequence[Box]) -> list[list[tuple[Box, int | None]]]:
    """Cut a field so that each piece lies in one of some boxes as a whole, or in none.

    Parameters
    ----------
    field
        What is to be cut.
    boxes
        Rectangles that may overlap, in which case the last one counts, or leave gaps.

    Returns
    -------
    bands
        Pieces from left to right in bands from bottom to top, each with the number of its box, None for a gap. There
        are as few as there may be in bands that go all across the field.
    """
    inside = [box.within(field) for box in boxes]
    bands: list[list[tuple[Box, int | None]]] = []
    for y0, y1 in _intervals(field.y0, field.y1, [(box.y0, box.y1) for box in inside]):
        here = {k: box for k, box in enumerate(inside) if box.y0 <= y0 and y1 <= box.y1}
        band: list[tuple[Box, int | None]] = []
        for x0, x1 in _intervals(field.x0, field.x1, [(box.x0, box.x1) for box in here.values()]):
            owner = max((k for k, box in here.items() if box.x0 <= x0 and x1 <= box.x1), default=None)
            start = band.pop()[0].x0 if band and band[-1][1] == owner else x0
            band.append((Box(start, y0, x1, y1), owner))
        below = bands[-1] if bands else []
        if [(own.x0, own.x1, k) for own, k in below] == [(own.x0, own.x1, k) for own, k in band]:
            bands.pop()
            band = [(replace(own, y0=lower.y0), k) for (own, k), (lower, _) in zip(band, below, strict=True)]
        bands.append(band)
    return bands


def _intervals(first: int, end: int, others: list[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """What the ends of all intervals divide one into."""
    return itertools.pairwise(sorted({first, end, *itertools.chain.from_iterable(others)}))
