"""Rectangles of pixels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

__all__ = ("Box",)


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
