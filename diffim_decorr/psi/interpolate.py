"""Coefficient functions from their values at nodes, and the error of that."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from diffim_decorr.kernels.grid import GridCoefficients, lagrange_weights
from diffim_decorr.noise.field import NoiseField
from diffim_decorr.psi.nodes import Nodes, knots_within, picked
from diffim_decorr.psi.support import Support, cut_psi

__all__ = ("coefficients_from", "interpolation_error")

Array = NDArray[Any]

# Of the interpolation between nodes.
_DEGREE = 7


def coefficients_from(weights: Array, nodes: Nodes, noise: NoiseField) -> GridCoefficients:
    """Coefficient functions from their values (k, n) at nodes."""
    values = _on_axes(weights, nodes)
    if len(nodes.log_ratio) > 1:
        return _with_ratio(values, nodes, noise)
    return GridCoefficients(values[..., 0].astype(np.float32), nodes.x, nodes.y, order=_DEGREE)


def _on_axes(weights: Array, nodes: Nodes) -> Array:
    """Values (k, n) at all nodes as (n, y, x, ratio)."""
    return weights.T.reshape(-1, *nodes.shape)


def _with_ratio(values: Array, nodes: Nodes, noise: NoiseField) -> GridCoefficients:
    """Coefficients on the grid of the noise ratio, from values (n, gy, gx, gr) at nodes."""
    ratio = noise.log_ratio
    if ratio is None:
        raise TypeError("several noise ratios need a map of them")
    box = nodes.box
    x, y = knots_within(ratio.x, box.x0, box.x1), knots_within(ratio.y, box.y0, box.y1)
    local = ratio.grid(x, y)[0]
    first, weights = lagrange_weights(nodes.log_ratio, local.ravel(), _DEGREE)
    result = np.zeros((len(values), local.size))
    for k in range(len(nodes.log_ratio)):
        spatial = GridCoefficients(values[..., k], nodes.x, nodes.y, order=_DEGREE).grid(x, y).reshape(len(values), -1)
        for j in range(weights.shape[1]):
            chosen = first + j == k
            result[:, chosen] += weights[chosen, j] * spatial[:, chosen]
    return GridCoefficients(result.reshape(-1, *local.shape).astype(np.float32), x, y, order=1)


def interpolation_error(support: Support, basis: Array, weights: Array, nodes: Nodes, over: str) -> float:
    """Rms difference of interpolated and exact ψ between nodes of the field or of the noise ratio."""
    between = (over == "field", over == "field", over == "ratio")
    axes = (nodes.x, nodes.y, nodes.log_ratio)
    if all(len(axis) == 1 for axis, chosen in zip(axes, between, strict=True) if chosen):
        return 0.0
    places = np.random.default_rng(0).random((3, 24))
    x, y, r = (picked(axis, u, chosen) for axis, u, chosen in zip(axes, places, between, strict=True))
    exact, _ = support.sampler.psi(x, y, r)
    exact = cut_psi(exact, support.half_width, support.sharpening)
    wx, wy, wr = (lagrange_weights(axis, p, _DEGREE) for axis, p in zip(axes, (x, y, r), strict=True))
    values = _on_axes(weights, nodes)
    amounts = np.zeros((len(values), len(x)))
    for i in range(wx[1].shape[1]):
        for j in range(wy[1].shape[1]):
            for k in range(wr[1].shape[1]):
                factor = wx[1][:, i] * wy[1][:, j] * wr[1][:, k]
                amounts += factor * values[:, wy[0] + j, wx[0] + i, wr[0] + k]
    # What lies outside the modes is counted already. The best amounts are those of least squares.
    design = basis.reshape(len(basis), -1)
    best = np.linalg.lstsq(design @ design.T, design @ exact.reshape(len(exact), -1).T, rcond=None)[0]
    return float(np.sqrt((((amounts - best).T @ design) ** 2).sum(axis=1).mean()))
