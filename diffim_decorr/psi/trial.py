"""ψ and what goes with it from one choice of nodes: samples, the modes they are made of, and the errors of that.

Samples of a wide ψ at many nodes would take gigabytes. As many are kept as fit into a fixed amount of memory, evenly
spread over the nodes. The modes are found in those; weights and errors are then computed at all nodes, a few at a time.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from diffim_decorr.kernels.bank import KernelBank
from diffim_decorr.kernels.compress import compressed
from diffim_decorr.kernels.spatial import SpatialKernel
from diffim_decorr.noise.field import NoiseField
from diffim_decorr.psi.interpolate import coefficients_from, interpolation_error
from diffim_decorr.psi.nodes import Nodes, batches
from diffim_decorr.psi.support import VARIANCE_TOLERANCE, Support, cut_psi, cut_squares

__all__ = ("Trial", "companions_of", "psi_from_nodes")

Array = NDArray[Any]
_Result = TypeVar("_Result")

# Bytes for the samples that are kept, and how many are kept however large they are.
_KEPT, _FEWEST_KEPT = 96 << 20, 81
# Share of the tolerance that modes may leave out, and the weight of the kernels' sums in finding them.
_MODES = 0.6
_SUM_WEIGHT = 20.0


@dataclass(frozen=True, eq=False)
class Trial:
    """ψ from one choice of nodes.

    Parameters
    ----------
    nodes, kept
        The nodes, and the numbers of those whose samples are kept.
    samples, squares
        What is kept: ψ as rows (kept, s s + 1), see `_rows_of_psi`, and the variance kernels (inputs, kept, r, r).
    basis, weights
        Modes (n, s, s) of ψ, and their weights (k, n) at all nodes.
    limited
        The largest fraction of frequencies at which the gain was limited.
    mode_error, field_error, ratio_error
        From the modes that were left out, and from interpolation over the field and over the noise ratio.
    """

    nodes: Nodes
    kept: Array
    samples: Array
    squares: Array
    basis: Array
    weights: Array
    limited: float
    mode_error: float
    field_error: float
    ratio_error: float

    @property
    def complete(self) -> bool:
        """Whether all samples are kept."""
        return len(self.kept) == self.nodes.count

    @property
    def error(self) -> float:
        return math.hypot(self.mode_error, self.field_error, self.ratio_error)


def psi_from_nodes(support: Support, nodes: Nodes, tolerance: float, threads: int) -> Trial:
    """ψ and the variance kernels at nodes, and the fewest modes that ψ is made of there."""
    kept = _kept(support, nodes)
    samples, squares, limited = _samples(support, nodes, kept, threads)
    areas = nodes.areas
    some = areas[kept] / areas[kept].mean()
    modes, amounts, residual = compressed(samples, some, _MODES * tolerance * support.norm)
    if len(kept) < nodes.count:

        def work(batch: tuple[Array, Array, Array]) -> tuple[Array, Array, float]:
            psi, limited = support.sampler.psi(*batch)
            rows = _rows_of_psi(cut_psi(psi, support.half_width, support.sharpening))
            amounts = rows @ modes.T
            return amounts, (rows**2).sum(axis=1) - (amounts**2).sum(axis=1), limited

        found = list(_over_nodes(support, nodes, _others(nodes, kept), work, threads))
        left = (samples**2).sum(axis=1) - (amounts**2).sum(axis=1)
        left = _in_order(nodes, kept, left, [part for _, part, _ in found])
        amounts = _in_order(nodes, kept, amounts, [part for part, _, _ in found])
        residual = math.sqrt(max(float(areas @ left) / len(left), 0.0))
        limited = max(limited, *(part for _, _, part in found))
    side = 2 * support.half_width + 1
    basis = modes[:, :-1].reshape(-1, side, side)
    # With these, Σψ = 1.
    weights = amounts / (amounts @ basis.sum(axis=(1, 2)))[:, None]
    over_field, over_ratio = (
        interpolation_error(support, basis, weights, nodes, over) / support.norm for over in ("field", "ratio")
    )
    return Trial(
        nodes, kept, samples, squares, basis, weights, limited, residual / support.norm, over_field, over_ratio
    )


def companions_of(
    support: Support, trial: Trial, noise: NoiseField, levels: Array, threads: int
) -> tuple[KernelBank, SpatialKernel]:
    """The variance kernels, and the footprint: |ψ|, normalised to a sum of 1.

    Of the variance kernels, all of which share the coefficient functions, the error of the sum over inputs counts, so
    that each weighs as much as the level of its variance plane. The trial's samples are overwritten: they may be most
    of what there is in memory.
    """
    inputs, _, height, width = trial.squares.shape
    pixels = inputs * height * width
    levels = (levels / levels.sum()).clip(1e-9)
    scales = levels / (np.mean(trial.squares.sum(axis=(2, 3)), axis=1) @ levels)

    def rows_of_squares(squares: Array) -> Array:
        # Variance planes are smooth in most places: there only the kernels' sums matter, and they matter more.
        weighted = (squares * scales[:, None, None, None]).swapaxes(0, 1)
        sums = _SUM_WEIGHT * weighted.sum(axis=(2, 3))
        return np.hstack([weighted.reshape(len(weighted), -1), sums])

    areas = trial.nodes.areas[trial.kept]
    areas /= areas.mean()
    square_modes, square_amounts, _ = compressed(rows_of_squares(trial.squares), areas, VARIANCE_TOLERANCE)
    shares = np.abs(trial.samples[:, :-1], out=trial.samples[:, :-1])
    shares /= shares.sum(axis=1, keepdims=True)
    share_modes, share_amounts, _ = compressed(shares, areas, 1e-3)
    if not trial.complete:

        def work(batch: tuple[Array, Array, Array]) -> tuple[Array, Array]:
            psi, squares, _ = support.sampler.all(*batch)
            absolute = np.abs(cut_psi(psi, support.half_width, support.sharpening)).reshape(len(psi), -1)
            amounts = (absolute / absolute.sum(axis=1, keepdims=True)) @ share_modes.T
            return rows_of_squares(cut_squares(squares, support.reach)) @ square_modes.T, amounts

        found = list(_over_nodes(support, trial.nodes, _others(trial.nodes, trial.kept), work, threads))
        square_amounts = _in_order(trial.nodes, trial.kept, square_amounts, [part for part, _ in found])
        share_amounts = _in_order(trial.nodes, trial.kept, share_amounts, [part for _, part in found])
    images = square_modes[:, :pixels].reshape(-1, inputs, height, width) / scales[:, None, None]
    variance = KernelBank(
        np.ascontiguousarray(images.swapaxes(0, 1)), coefficients_from(square_amounts, trial.nodes, noise)
    )
    share_amounts = share_amounts / (share_amounts @ share_modes.sum(axis=1))[:, None]
    footprint = share_modes.reshape(-1, *trial.basis.shape[1:])
    return variance, SpatialKernel(footprint, coefficients_from(share_amounts, trial.nodes, noise))


def _kept(support: Support, nodes: Nodes) -> Array:
    """The numbers of the nodes whose samples are kept."""
    inputs = len(support.sampler.inputs)
    each = 8 * ((2 * support.half_width + 1) ** 2 + inputs * (2 * support.reach + 1) ** 2)
    count = min(nodes.count, max(_FEWEST_KEPT, _KEPT // each))
    return np.linspace(0, nodes.count - 1, count).round().astype(int)


def _samples(support: Support, nodes: Nodes, kept: Array, threads: int) -> tuple[Array, Array, float]:
    """The samples that are kept, put in their place as they come."""

    def work(batch: tuple[Array, Array, Array]) -> tuple[Array, Array, float]:
        psi, squares, limited = support.sampler.all(*batch)
        rows = _rows_of_psi(cut_psi(psi, support.half_width, support.sharpening))
        return rows, cut_squares(squares, support.reach), limited

    count = len(support.sampler.inputs)
    samples = np.empty((len(kept), (2 * support.half_width + 1) ** 2 + 1))
    squares = np.empty((count, len(kept), 2 * support.reach + 1, 2 * support.reach + 1))
    limited, done = 0.0, 0
    for rows, some, part in _over_nodes(support, nodes, kept, work, threads):
        samples[done : done + len(rows)] = rows
        squares[:, done : done + len(rows)] = some
        limited = max(limited, part)
        done += len(rows)
    return samples, squares, limited


def _over_nodes(
    support: Support,
    nodes: Nodes,
    chosen: Array,
    work: Callable[[tuple[Array, Array, Array]], _Result],
    threads: int,
) -> Iterator[_Result]:
    """What is found at chosen nodes, a few at a time, in their order."""
    x, y, log_ratio = (values[chosen] for values in nodes.positions)
    with ThreadPoolExecutor(support.sampler.workers(threads)) as pool:
        yield from pool.map(work, batches((x, y, log_ratio), support.sampler.batch))


def _others(nodes: Nodes, kept: Array) -> Array:
    """The numbers of the nodes whose samples are not kept."""
    return np.setdiff1d(np.arange(nodes.count), kept)


def _in_order(nodes: Nodes, kept: Array, own: Array, others: list[Array]) -> Array:
    """Values at all nodes, of those at the nodes whose samples are kept and at the others."""
    values = np.empty((nodes.count, *own.shape[1:]))
    values[kept] = own
    values[_others(nodes, kept)] = np.concatenate(others)
    return values


def _rows_of_psi(psi: Array) -> Array:
    """ψ (k, s, s) as rows, with its sum, 1, in a last column.

    That takes part in the compression with some weight, so that the modes hold it nearly and little has to be done for
    it to hold exactly, at nodes and in between.
    """
    return np.hstack([psi.reshape(len(psi), -1), np.full((len(psi), 1), _SUM_WEIGHT)])
