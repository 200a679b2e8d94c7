"""Coefficient functions from their values at nodes, and the error of that."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diffim_decorr.kernels.grid import GridCoefficients, lagrange_weights
from diffim_decorr.noise.field import NoiseField
from diffim_decorr.psi.nodes import Nodes, Places, knots_within, picked

__all__ = ("Interpolation", "interpolation_of", "places_between", "values_between")

Array = NDArray[Any]

# Of the interpolation between nodes.
_DEGREE = 7
# How many places are looked at for its error.
_PLACES = 64
# Pixels between knots of coefficients that follow the noise ratio, at least.
_FINEST = 4.0


def places_between(nodes: Nodes, over: str) -> Places | None:
    """Places between nodes of the field or of the noise ratio, where interpolation is worst; None if there are none."""
    axes = (nodes.x, nodes.y, nodes.log_ratio)
    between = (over == "field", over == "field", over == "ratio")
    if all(len(axis) == 1 for axis, chosen in zip(axes, between, strict=True) if chosen):
        return None
    somewhere = np.random.default_rng(0).random((3, _PLACES))
    x, y, log_ratio = (picked(axis, u, chosen) for axis, u, chosen in zip(axes, somewhere, between, strict=True))
    return x, y, log_ratio


def values_between(values: Array, nodes: Nodes, places: Places) -> Array:
    """Values (p, n) at places, interpolated from those at nodes (k, n)."""
    (first_x, along_x), (first_y, along_y), (first_r, along_r) = (
        lagrange_weights(axis, place, _DEGREE)
        for axis, place in zip((nodes.x, nodes.y, nodes.log_ratio), places, strict=True)
    )
    grid = values.reshape(*nodes.shape, -1)
    result = np.zeros((len(first_x), grid.shape[-1]))
    for j in range(along_y.shape[1]):
        for i in range(along_x.shape[1]):
            for k in range(along_r.shape[1]):
                weights = along_y[:, j] * along_x[:, i] * along_r[:, k]
                result += weights[:, None] * grid[first_y + j, first_x + i, first_r + k]
    return result


@dataclass(frozen=True, eq=False)
class Interpolation:
    """How coefficients go on between nodes: by polynomials, or where the noise ratio varies by way of a finer grid.

    Parameters
    ----------
    nodes
        The nodes.
    knots
        The grid's (x, y), between which coefficients are bilinear, as the noise ratio is; None for polynomials.
    log_ratio
        Logarithm of the noise ratio there (y, x).
    error
        Of ψ, from that it is bilinear.
    """

    nodes: Nodes
    knots: tuple[Array, Array] | None = None
    log_ratio: Array | None = None
    error: float = 0.0

    def coefficients(self, values: Array) -> GridCoefficients:
        """Coefficient functions from their values (k, n) at nodes."""
        nodes = self.nodes
        grids = values.T.reshape(-1, *nodes.shape)
        if self.knots is None or self.log_ratio is None:
            return GridCoefficients(grids[..., 0].astype(np.float32), nodes.x, nodes.y, order=_DEGREE)
        x, y = self.knots
        first, weights = lagrange_weights(nodes.log_ratio, self.log_ratio.ravel(), _DEGREE)
        share = np.zeros((len(nodes.log_ratio), self.log_ratio.size))
        for j in range(weights.shape[1]):
            share[first + j, np.arange(len(first))] += weights[:, j]
        share = share.reshape(-1, *self.log_ratio.shape)
        apart = np.moveaxis(grids, -1, 1).reshape(-1, *nodes.shape[:2])
        result = np.zeros((len(grids), *self.log_ratio.shape), dtype=np.float32)
        # One by one: there may be many knots.
        total = np.empty(self.log_ratio.shape)
        for number, over_field in enumerate(GridCoefficients(apart, nodes.x, nodes.y, order=_DEGREE).each(x, y)):
            mode, ratio = divmod(number, len(share))
            total = share[ratio] * over_field if ratio == 0 else total + share[ratio] * over_field
            result[mode] = total
        return GridCoefficients(result, x, y, order=1)


def interpolation_of(
    values: Array, images: Array, nodes: Nodes, noise: NoiseField, allowed: float, memory: int
) -> Interpolation:
    """How coefficients go on between nodes.

    Parameters
    ----------
    values
        Amounts (k, n) of modes at nodes.
    images
        The modes as anything (n, p) in which norms are those of images.
    nodes, noise
        The nodes, and the noise of the images.
    allowed
        Bound of the rms error that is made on top of that between nodes.
    memory
        Bytes for the values of coefficients at knots.
    """
    ratio = noise.log_ratio
    if len(nodes.log_ratio) == 1:
        return Interpolation(nodes)
    if ratio is None:
        raise TypeError("several noise ratios need a map of them")
    box = nodes.box
    edges = knots_within(ratio.x, box.x0, box.x1), knots_within(ratio.y, box.y0, box.y1)
    u, v = np.random.default_rng(0).random((2, _PLACES))
    x, y = box.x0 + u * (box.x1 - 1 - box.x0), box.y0 + v * (box.y1 - 1 - box.y0)
    places = x, y, ratio.at(x, y)[0]
    exact = values_between(values, nodes, places)

    def error(times: int) -> float:
        bilinear = _bilinear(values, nodes, places, (_divided(edges[0], times), _divided(edges[1], times)))
        return float(np.sqrt((((bilinear - exact) @ images) ** 2).sum(axis=1).mean()))

    # The kernel is not bilinear between the knots of the noise ratio, which may be far from each other.
    times, left = 1, error(1)
    if left > allowed:
        widest = max(float(np.diff(axis).max(initial=0)) for axis in edges)
        room = memory / (4 * values.shape[1] * len(edges[0]) * len(edges[1]))
        finest = max(1, math.floor(min(widest / _FINEST, math.sqrt(room))))
        times = min(math.ceil(math.sqrt(left / allowed)), finest)
        left = error(times) if times > 1 else left
    x, y = (_divided(axis, times) for axis in edges)
    return Interpolation(nodes, (x, y), ratio.grid(x, y)[0], left)


def _divided(knots: Array, times: int) -> Array:
    """Knots with each interval divided into so many."""
    steps = np.arange(times) / times
    return np.append((knots[:-1, None] + np.diff(knots)[:, None] * steps).ravel(), knots[-1])


def _bilinear(values: Array, nodes: Nodes, places: Places, knots: tuple[Array, Array]) -> Array:
    """Values (p, n) at places, bilinear between those at knots, all for the noise ratio of the place itself."""
    x, y, log_ratio = places
    (first_x, along_x), (first_y, along_y) = (
        lagrange_weights(axis, place, 1) for axis, place in zip(knots, (x, y), strict=True)
    )
    result = np.zeros((len(x), values.shape[1]))
    for j in range(along_y.shape[1]):
        for i in range(along_x.shape[1]):
            corner = knots[0][first_x + i], knots[1][first_y + j], log_ratio
            result += (along_y[:, j] * along_x[:, i])[:, None] * values_between(values, nodes, corner)
    return result
