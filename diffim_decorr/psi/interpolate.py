"""Coefficient functions from their values at nodes, and the error of that."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from diffim_decorr.geometry import Box
from diffim_decorr.kernels.coefficients import Coefficients
from diffim_decorr.kernels.grid import GridCoefficients, lagrange_weights
from diffim_decorr.kernels.piecewise import PiecewiseCoefficients
from diffim_decorr.noise.field import NoiseField
from diffim_decorr.psi.nodes import Nodes, picked, split
from diffim_decorr.psi.support import Support, cut_psi

__all__ = ("coefficients_from", "interpolation_errors")

Array = NDArray[Any]

# Of the interpolation between nodes.
_DEGREE = 7


def coefficients_from(weights: Array, nodes: list[Nodes], noise: NoiseField) -> Coefficients:
    """Coefficient functions from their values (k, n) at nodes."""
    pieces: list[tuple[Box, Coefficients]] = []
    for part, values in split(weights, nodes):
        if len(part.log_ratio) == 1:
            smooth = GridCoefficients(values[..., 0].astype(np.float32), part.x, part.y, order=_DEGREE)
            pieces.append((part.box, smooth))
        else:
            pieces.append((part.box, _with_ratio(values, part, noise)))
    return pieces[0][1] if len(pieces) == 1 else PiecewiseCoefficients(tuple(pieces))


def _with_ratio(values: Array, part: Nodes, noise: NoiseField) -> GridCoefficients:
    """Coefficients on the grid of the noise ratio, from values (n, gy, gx, gr) at nodes."""
    ratio = noise.log_ratio
    if ratio is None:
        raise TypeError("several noise ratios need a map of them")
    x, y = _knots(ratio.x, part.box.x0, part.box.x1), _knots(ratio.y, part.box.y0, part.box.y1)
    local = ratio.grid(x, y)[0]
    first, weights = lagrange_weights(part.log_ratio, local.ravel(), _DEGREE)
    result = np.zeros((len(values), local.size))
    for k in range(len(part.log_ratio)):
        spatial = GridCoefficients(values[..., k], part.x, part.y, order=_DEGREE).grid(x, y).reshape(len(values), -1)
        for j in range(weights.shape[1]):
            chosen = first + j == k
            result[:, chosen] += weights[chosen, j] * spatial[:, chosen]
    return GridCoefficients(result.reshape(-1, *local.shape).astype(np.float32), x, y, order=1)


def _knots(knots: Array, first: int, end: int) -> Array:
    """The knots inside a box, and the box's own edges."""
    inside = knots[(knots > first) & (knots < end - 1)]
    return np.unique(np.concatenate([[first], inside, [end - 1]]).astype(float))


def interpolation_errors(support: Support, basis: Array, weights: Array, nodes: list[Nodes], over: str) -> Array:
    """Rms difference in each region of interpolated and exact ψ between nodes of the field or of the noise ratio."""
    rng = np.random.default_rng(0)
    errors = np.zeros(len(nodes))
    for region, (part, values) in enumerate(split(weights, nodes)):
        between = (over == "field", over == "field", over == "ratio")
        axes = (part.x, part.y, part.log_ratio)
        if all(len(axis) == 1 for axis, chosen in zip(axes, between, strict=True) if chosen):
            continue
        x, y, r = (picked(axis, u, chosen) for axis, u, chosen in zip(axes, rng.random((3, 24)), between, strict=True))
        exact, _ = support.sampler.psi(x, y, r, region)
        exact = cut_psi(exact, support.half_width, support.sharpening)
        wx, wy, wr = (lagrange_weights(axis, p, _DEGREE) for axis, p in ((part.x, x), (part.y, y), (part.log_ratio, r)))
        amounts = np.zeros((len(values), len(x)))
        for i in range(wx[1].shape[1]):
            for j in range(wy[1].shape[1]):
                for k in range(wr[1].shape[1]):
                    factor = wx[1][:, i] * wy[1][:, j] * wr[1][:, k]
                    amounts += factor * values[:, wy[0] + j, wx[0] + i, wr[0] + k]
        # What lies outside the modes is counted already. The best amounts are those of least squares.
        design = basis.reshape(len(basis), -1)
        best = np.linalg.lstsq(design @ design.T, design @ exact.reshape(len(exact), -1).T, rcond=None)[0]
        errors[region] = np.sqrt((((amounts - best).T @ design) ** 2).sum(axis=1).mean())
    return errors
