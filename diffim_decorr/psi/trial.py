"""ψ and what goes with it from one choice of nodes: samples, the modes they are made of, and the errors of that."""

from __future__ import annotations

import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diffim_decorr.kernels.bank import KernelBank
from diffim_decorr.kernels.compress import compressed
from diffim_decorr.kernels.spatial import SpatialKernel
from diffim_decorr.noise.field import NoiseField
from diffim_decorr.psi.interpolate import coefficients_from, interpolation_errors
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
    the nodes, errors by region. There may be more nodes with weights than with samples.
    """

    samples: Array
    squares: Array
    modes: Array
    basis: Array
    weights: Array
    limited: float
    mode_error: float
    field_errors: Array = field(default_factory=lambda: np.zeros(1))
    ratio_errors: Array = field(default_factory=lambda: np.zeros(1))

    @property
    def field_error(self) -> float:
        """From interpolation over the field, of all regions together."""
        return float(np.sqrt(np.mean(self.field_errors**2)))

    @property
    def ratio_error(self) -> float:
        """From interpolation over the noise ratio, likewise."""
        return float(np.sqrt(np.mean(self.ratio_errors**2)))

    @property
    def error(self) -> float:
        return math.hypot(self.mode_error, self.field_error, self.ratio_error)


def psi_from_nodes(support: Support, nodes: list[Nodes], tolerance: float, threads: int) -> Trial:
    """ψ and the variance kernels at nodes, and the fewest modes that ψ is made of there."""

    def work(batch: tuple[Array, Array, Array, int]) -> tuple[Array, Array, float]:
        psi, squares, limited = support.sampler.all(*batch)
        psi = cut_psi(psi, support.half_width, support.sharpening)
        return psi, cut_squares(squares, support.reach), limited

    samples, squares, limited = _gathered(support, nodes, work, threads)
    flat = _flattened(samples)
    modes, amounts, residual = compressed(flat, all_areas(nodes), _MODES * tolerance * support.norm)
    del flat
    basis = modes[:, :-1].reshape(-1, *samples.shape[1:])
    trial = Trial(samples, squares, modes, basis, _scaled(amounts, basis), limited, residual / support.norm)
    return _with_errors(support, trial, nodes)


def _gathered(
    support: Support,
    nodes: list[Nodes],
    work: Callable[[tuple[Array, Array, Array, int]], tuple[Array, Array, float]],
    threads: int,
) -> tuple[Array, Array, float]:
    """What batches of nodes give, put in its place as it comes: it may be most of the memory that a run takes."""
    count = sum(math.prod(part.shape) for part in nodes)
    samples, squares, limited = np.empty(0), np.empty(0), 0.0
    done = 0
    with ThreadPoolExecutor(support.sampler.workers(threads)) as pool:
        for psi, some, part in pool.map(work, batches(nodes, support.sampler.batch)):
            if not done:
                samples = np.empty((count, *psi.shape[1:]))
                squares = np.empty((len(some), count, *some.shape[2:]))
            samples[done : done + len(psi)] = psi
            squares[:, done : done + len(psi)] = some
            limited = max(limited, part)
            done += len(psi)
    return samples, squares, limited


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
    over_field, over_ratio = (
        interpolation_errors(support, trial.basis, trial.weights, nodes, over) / support.norm
        for over in ("field", "ratio")
    )
    return replace(trial, field_errors=over_field, ratio_errors=over_ratio)


def footprint_of(trial: Trial, nodes: list[Nodes], noise: NoiseField) -> SpatialKernel:
    """How much each pixel matters to its neighbours: the absolute value of ψ, normalised to a sum of 1.

    The samples, of which nothing else is wanted any more, are overwritten: they may be most of what there is in memory.
    """
    absolute = np.abs(trial.samples, out=trial.samples).reshape(len(trial.samples), -1)
    absolute /= absolute.sum(axis=1, keepdims=True)
    modes, shares, _ = compressed(absolute, all_areas(nodes), 1e-3)
    shares = shares / (shares @ modes.sum(axis=1))[:, None]
    return SpatialKernel(modes.reshape(-1, *trial.samples.shape[1:]), coefficients_from(shares, nodes, noise))


def variance_bank(trial: Trial, nodes: list[Nodes], noise: NoiseField, levels: Array) -> KernelBank:
    """The variance kernels; all inputs share the coefficient functions.

    What counts is the error of the sum over inputs, so that each weighs as much as the level of its variance plane.
    """
    inputs, count, height, width = trial.squares.shape
    levels = (levels / levels.sum()).clip(1e-9)[:, None, None]
    pixels = inputs * height * width
    # Variance planes are smooth in most places: there only the kernels' sums matter, and they matter more.
    totals = trial.squares.sum(axis=(2, 3)) * levels[:, 0, 0, None]
    total = totals.sum() / count
    stacked = np.empty((count, pixels + inputs))
    for k, (squares, level) in enumerate(zip(trial.squares, levels[:, 0, 0], strict=True)):
        own = slice(k * height * width, (k + 1) * height * width)
        np.multiply(squares.reshape(count, -1), level / total, out=stacked[:, own])
    stacked[:, pixels:] = _SUM_WEIGHT * totals.T / total
    modes, amounts, _ = compressed(stacked, all_areas(nodes), VARIANCE_TOLERANCE)
    images = modes[:, :pixels].reshape(-1, inputs, height, width) * (total / levels)
    return KernelBank(np.ascontiguousarray(images.swapaxes(0, 1)), coefficients_from(amounts, nodes, noise))
