"""ψ and what goes with it from one choice of nodes: samples, the modes they are made of, and the errors of that."""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diffim_decorr.kernels.bank import KernelBank
from diffim_decorr.kernels.compress import compressed
from diffim_decorr.kernels.spatial import SpatialKernel
from diffim_decorr.noise.field import NoiseField
from diffim_decorr.psi.interpolate import coefficients_from, interpolation_error
from diffim_decorr.psi.nodes import Nodes, all_areas, batches
from diffim_decorr.psi.support import VARIANCE_TOLERANCE, Support, cut_psi, cut_squares

__all__ = ("Trial", "footprint_of", "interpolated_further", "psi_from_nodes", "variance_bank")

Array = NDArray[Any]

# Share of the tolerance that modes may leave out, and the weight of the kernels' sums in finding them.
_MODES = 0.6
_SUM_WEIGHT = 20.0


@dataclass(frozen=True, eq=False)
class Trial:
    """ψ from one choice of nodes.

    Samples (k, s, s), those of the variance kernels (inputs, k, r, r), modes (n, s, s) of ψ, their weights (k, n) at
    the nodes, errors. There may be more nodes with weights than with samples.
    """

    samples: Array
    squares: Array
    modes: Array
    basis: Array
    weights: Array
    limited: float
    mode_error: float
    field_error: float = 0.0
    ratio_error: float = 0.0

    @property
    def error(self) -> float:
        return math.hypot(self.mode_error, self.field_error, self.ratio_error)


def psi_from_nodes(support: Support, nodes: list[Nodes], tolerance: float, threads: int) -> Trial:
    """ψ and the variance kernels at nodes, and the fewest modes that ψ is made of there."""

    def work(batch: tuple[Array, Array, Array, int]) -> tuple[Array, Array, float]:
        psi, squares, limited = support.sampler.all(*batch)
        psi = cut_psi(psi, support.half_width, support.sharpening)
        return psi, cut_squares(squares, support.reach), limited

    with ThreadPoolExecutor(support.sampler.workers(threads)) as pool:
        parts = list(pool.map(work, batches(nodes, support.sampler.batch)))
    samples = np.concatenate([psi for psi, _, _ in parts])
    squares = np.concatenate([some for _, some, _ in parts], axis=1)
    limited = max(part for _, _, part in parts)
    flat = _flattened(samples)
    modes, amounts, residual = compressed(flat, all_areas(nodes), _MODES * tolerance * support.norm)
    basis = modes[:, :-1].reshape(-1, *samples.shape[1:])
    trial = Trial(samples, squares, modes, basis, _scaled(amounts, basis), limited, residual / support.norm)
    return _with_errors(support, trial, nodes)


def interpolated_further(support: Support, trial: Trial, nodes: list[Nodes], threads: int) -> Trial:
    """The same modes with weights at more nodes."""

    def work(batch: tuple[Array, Array, Array, int]) -> tuple[Array, Array, float]:
        psi, limited = support.sampler.psi(*batch)
        flat = _flattened(cut_psi(psi, support.half_width, support.sharpening))
        amounts = flat @ trial.modes.T
        return amounts, (flat**2).sum(axis=1) - (amounts**2).sum(axis=1), limited

    with ThreadPoolExecutor(support.sampler.workers(threads)) as pool:
        parts = list(pool.map(work, batches(nodes, support.sampler.batch)))
    amounts = np.concatenate([some for some, _, _ in parts])
    left = np.concatenate([some for _, some, _ in parts])
    residual = math.sqrt(max(float(all_areas(nodes) @ left) / len(left), 0.0))
    limited = max(part for _, _, part in parts)
    weights = _scaled(amounts, trial.basis)
    return _with_errors(
        support, replace(trial, weights=weights, limited=limited, mode_error=residual / support.norm), nodes
    )


def _flattened(samples: Array) -> Array:
    """Samples of ψ as rows, with their sum, 1, in a last column.

    That takes part in the compression with some weight, so that the modes hold it nearly and little has to be done for
    it to hold exactly, at nodes and in between.
    """
    return np.hstack([samples.reshape(len(samples), -1), np.full((len(samples), 1), _SUM_WEIGHT)])


def _scaled(amounts: Array, basis: Array) -> Array:
    """Weights of the modes with which Σψ = 1."""
    weights: Array = amounts / (amounts @ basis.sum(axis=(1, 2)))[:, None]
    return weights


def _with_errors(support: Support, trial: Trial, nodes: list[Nodes]) -> Trial:
    field, ratio = (
        interpolation_error(support, trial.basis, trial.weights, nodes, over) / support.norm
        for over in ("field", "ratio")
    )
    return replace(trial, field_error=field, ratio_error=ratio)


def footprint_of(trial: Trial, nodes: list[Nodes], noise: NoiseField) -> SpatialKernel:
    """How much each pixel matters to its neighbours: the absolute value of ψ, normalised to a sum of 1."""
    absolute = np.abs(trial.samples).reshape(len(trial.samples), -1)
    absolute /= absolute.sum(axis=1, keepdims=True)
    modes, shares, _ = compressed(absolute, all_areas(nodes), 1e-3)
    shares = shares / (shares @ modes.sum(axis=1))[:, None]
    return SpatialKernel(modes.reshape(-1, *trial.samples.shape[1:]), coefficients_from(shares, nodes, noise))


def variance_bank(trial: Trial, nodes: list[Nodes], noise: NoiseField, levels: Array) -> KernelBank:
    """The variance kernels; all inputs share the coefficient functions.

    What counts is the error of the sum over inputs, so that each weighs as much as the level of its variance plane.
    """
    squares = trial.squares.swapaxes(0, 1)
    levels = (levels / levels.sum()).clip(1e-9)[:, None, None]
    weighted = squares * levels
    total = weighted.sum() / len(squares)
    stacked = (weighted / total).reshape(len(squares), -1)
    # Variance planes are smooth in most places: there only the kernels' sums matter, and they matter more.
    sums = _SUM_WEIGHT * (weighted / total).sum(axis=(2, 3))
    modes, amounts, _ = compressed(np.hstack([stacked, sums]), all_areas(nodes), VARIANCE_TOLERANCE)
    images = modes[:, : stacked.shape[1]].reshape(-1, *squares.shape[1:]) * (total / levels)
    return KernelBank(np.ascontiguousarray(images.swapaxes(0, 1)), coefficients_from(amounts, nodes, noise))
