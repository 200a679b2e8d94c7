"""The nodes over the field and over the noise ratio at which ψ is computed."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diffim_decorr.errors import InputError
from diffim_decorr.geometry import Box
from diffim_decorr.kernels.spatial import SpatialKernel
from diffim_decorr.noise.field import NoiseField

__all__ = (
    "Nodes",
    "Places",
    "batches",
    "extents",
    "knots_within",
    "picked",
    "probes_of",
    "ratio_nodes",
    "ratio_range",
    "smooth_boxes",
)

Array = NDArray[Any]
#: Positions x and y and logarithms of the noise ratio (k) of each.
Places = tuple[Array, Array, Array]

_FEWEST_INTERVALS = 4
# Share of the tolerance that one noise ratio for all of a box may be wrong by.
_ONE_RATIO = 0.3


@dataclass(frozen=True, eq=False)
class Nodes:
    """Nodes over one box of the field and over the noise ratio."""

    box: Box
    x: Array
    y: Array
    log_ratio: Array

    @classmethod
    def over(cls, box: Box, spacing: float, log_ratio: Array, closer: float = 1.0) -> Nodes:
        """Nodes that are not farther apart than a spacing, or closer by a factor."""

        def axis(first: int, end: int) -> Array:
            # However short an axis is, the kernel may go through all its range along it.
            intervals = math.ceil(closer * max(_FEWEST_INTERVALS, math.ceil((end - 1 - first) / spacing)))
            return np.linspace(first, end - 1, min(intervals + 1, end - first))

        return cls(box, axis(box.x0, box.x1), axis(box.y0, box.y1), log_ratio)

    @property
    def positions(self) -> Places:
        y, x, r = np.meshgrid(self.y, self.x, self.log_ratio, indexing="ij")
        return x.ravel(), y.ravel(), r.ravel()

    @property
    def count(self) -> int:
        return math.prod(self.shape)

    @property
    def shape(self) -> tuple[int, int, int]:
        return len(self.y), len(self.x), len(self.log_ratio)

    @property
    def spacing(self) -> float:
        """Largest distance of neighbours in the field; 0 if there are none."""
        return max((float(np.diff(axis).max()) for axis in (self.x, self.y) if len(axis) > 1), default=0.0)

    @property
    def areas(self) -> Array:
        """How much of the field each node stands for, 1 on average (k)."""
        along = [np.ones(n) for n in self.shape]
        for weights in along[:2]:
            if len(weights) > 1:
                weights[[0, -1]] = 0.5
        areas: Array = np.multiply.outer(np.multiply.outer(along[0], along[1]), along[2]).ravel()
        areas *= len(areas) / areas.sum()
        return areas


def smooth_boxes(inputs: Sequence[SpatialKernel], shape: tuple[int, int]) -> tuple[Box, ...]:
    """The rectangles within which all kernels are smooth.

    Raises
    ------
    InputError
        If several kernels have regions, and not the same ones.
    """
    divisions = {kernel.boxes for kernel in inputs if kernel.boxes}
    if len(divisions) > 1:
        raise InputError("several of the kernels have regions, which must be the same for all of them")
    return divisions.pop() if divisions else (Box(0, 0, shape[1], shape[0]),)


def probes_of(box: Box, log_ratio: Array, constant: bool, period: float = math.inf) -> Nodes:
    """Corners, edges and centre of a box, where ψ may be widest; more of them if the noise varies with a period."""
    shares = np.array([0, 0.5, 1]) if math.isinf(period) else np.array([0, 0.14, 0.33, 0.5, 0.61, 0.82, 1])
    y, x = (np.unique(first + (last - first) * shares) for first, last in extents(box))
    return Nodes(box, x[:1], y[:1], log_ratio) if constant else Nodes(box, x, y, log_ratio)


def extents(box: Box) -> tuple[tuple[int, int], tuple[int, int]]:
    """First and last row, first and last column of a box."""
    return (box.y0, box.y1 - 1), (box.x0, box.x1 - 1)


def ratio_range(noise: NoiseField, box: Box) -> tuple[float, float]:
    """The smallest and the largest logarithm of the noise ratio in a box."""
    if noise.log_ratio is None:
        return noise.mean_log_ratio, noise.mean_log_ratio
    # Bilinear between its knots, it is nowhere smaller or larger than at one of them, or at the edges of the box.
    here = noise.log_ratio.grid(
        knots_within(noise.log_ratio.x, box.x0, box.x1), knots_within(noise.log_ratio.y, box.y0, box.y1)
    )
    return float(here.min()), float(here.max())


def ratio_nodes(low: float, high: float, tolerance: float) -> tuple[Array, float]:
    """Nodes over the logarithm of the noise ratio, as many as its range needs to begin with.

    Returns
    -------
    nodes, error
        The error that one node makes that stands for the whole range; of several it is measured later.
    """
    # ψ̂ goes with the root of the noise's power, of which the sides make up shares that add up to 1: their ratio enters
    # with at most a quarter of its range.
    error = (high - low) / 4 if high > low else 0.0
    if error <= _ONE_RATIO * tolerance:
        return np.array([(low + high) / 2 if high > low else low]), error
    # The filter is smooth in the logarithm.
    return np.linspace(low, high, 2 if high - low < 0.05 else 3 + int(2 * (high - low))), 0.0


def knots_within(knots: Array, first: int, end: int) -> Array:
    """The knots inside a box along an axis, and the box's own edges."""
    inside = knots[(knots > first) & (knots < end - 1)]
    return np.unique(np.concatenate([[first], inside, [end - 1]]).astype(float))


def batches(places: Places, size: int) -> Iterator[Places]:
    """So many places at a time."""
    for start in range(0, len(places[0]), size):
        x, y, log_ratio = (values[start : start + size] for values in places)
        yield x, y, log_ratio


def picked(axis: Array, u: Array, between: bool) -> Array:
    """Randomly chosen nodes of an axis, or the middles of its intervals, where interpolation is worst."""
    if not between or len(axis) == 1:
        nodes: Array = axis[(u * len(axis)).astype(int)]
        return nodes
    cell = (u * (len(axis) - 1)).astype(int)
    result: Array = (axis[cell] + axis[cell + 1]) / 2
    return result
