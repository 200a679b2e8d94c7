"""The decorrelation kernel over the field, and the kernels that propagate variance and missing pixels through it.

The decorrelation kernel ψ is not linear in the matching kernel, but it is as smooth: it is computed at nodes over the
field (and over the noise ratio), its samples are compressed by a singular value decomposition, and the coefficients
interpolated. The variance kernels ``(ψ ⊗ κ_i)²`` are treated likewise, jointly for all inputs.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diffim_decorr.fft import good_size
from diffim_decorr.geometry import Box
from diffim_decorr.kernels.bank import KernelBank
from diffim_decorr.kernels.coefficients import PolynomialCoefficients
from diffim_decorr.kernels.spatial import SpatialKernel
from diffim_decorr.noise.field import NoiseField
from diffim_decorr.psi.interpolate import coefficients_from
from diffim_decorr.psi.nodes import (
    FEWEST_INTERVALS,
    Nodes,
    extents,
    probes_of,
    ratio_nodes_of,
    smooth_boxes,
)
from diffim_decorr.psi.sampler import Recipe, Sampler
from diffim_decorr.psi.support import Support, cut_psi, cut_squares, support_of
from diffim_decorr.psi.trial import footprint_of, interpolated_further, psi_from_nodes, variance_bank
from diffim_decorr.record import PsiFigures

__all__ = ("Decorrelation", "build_decorrelation", "variation")

Array = NDArray[Any]

# How many nodes along an axis are enough to begin with.
_MOST_NODES = 9
_USUAL_SPACING = 256.0
# Of more nodes than these ψ's samples are not kept: the modes are known by then.
_MOST_KEPT = 4000
_MOST_RATIOS = 24
_SMALLEST_SPACING = 8.0


@dataclass(frozen=True, eq=False)
class Decorrelation:
    """ψ and what goes with it.

    Parameters
    ----------
    psi
        The decorrelation kernel.
    variance
        Kernels of the variance planes, one basis for each input.
    footprint
        The absolute value of ψ, normalised to a sum of 1: how much each pixel matters to its neighbours.
    energy_lost
        The largest fraction of Σψ² that was cut off.
    frequencies_limited
        The largest fraction of frequencies at which the gain was limited.
    node_spacing
        Largest distance of neighbouring nodes in pixels; 0 for a constant kernel.
    mode_error, field_error, ratio_error
        Estimated rms errors from compression and from interpolation over the field and over the noise ratio, in units
        of the noise.
    """

    psi: SpatialKernel
    variance: KernelBank
    footprint: SpatialKernel
    energy_lost: float
    frequencies_limited: float
    node_spacing: float = 0.0
    mode_error: float = 0.0
    field_error: float = 0.0
    ratio_error: float = 0.0

    @property
    def half_width(self) -> int:
        return self.psi.shape[0] // 2

    @property
    def modes(self) -> int:
        return len(self.psi.basis)

    @property
    def error(self) -> float:
        """Estimated rms error in units of the noise."""
        return math.hypot(self.mode_error, self.field_error, self.ratio_error)

    def figures(self) -> PsiFigures:
        """What is to be recorded of it."""
        return PsiFigures(
            self.half_width, self.modes, self.node_spacing, self.energy_lost, self.frequencies_limited, self.error
        )


def build_decorrelation(
    inputs: Sequence[SpatialKernel],
    noise: NoiseField,
    shape: tuple[int, int],
    *,
    at: tuple[float, float] | None = None,
    tolerance: float = 1e-3,
    node_spacing: float = 256.0,
    recipe: Recipe | None = None,
    levels: Sequence[float] | None = None,
    threads: int = 1,
) -> Decorrelation:
    """Compute the decorrelation kernel of a difference ``D = Σ_i κ_i ⊗ I_i``.

    Parameters
    ----------
    inputs
        Kernel of each image I_i, the identity for one that was not convolved.
    noise
        Noise of each image.
    shape
        Of the image, (ny, nx).
    at
        Position (x, y) at which the kernels are taken for a constant ψ; None for one that varies over the field.
    tolerance
        Bound of the rms error in units of the noise.
    node_spacing
        Distance of nodes in pixels to begin with; it is halved until the tolerance is met. The usual 256 pixels stand
        for an eighth of the field where that is more.
    recipe
        What ψ is to do, whitening by default.
    levels
        Of the variance planes, where they are not the noise.
    threads
        Number of threads.

    Returns
    -------
    Decorrelation

    Raises
    ------
    InputError
        If the kernels sum to zero.

    References
    ----------
    Reiss & Lupton, DMTN-021, eq. 2; DMTN-061 (spatial variation); Kovacs, DMTN-179, section 5 (variance).
    """
    recipe = recipe or Recipe()
    whole = Box(0, 0, shape[1], shape[0])
    boxes = smooth_boxes(inputs, shape)
    ratio_nodes = ratio_nodes_of(noise, tolerance)
    if at is not None:
        inputs = [kernel.frozen(*at) for kernel in inputs]
        ratio_nodes = np.array([noise.mean_log_ratio])
        boxes = (whole,)
    constant = all(kernel.is_constant for kernel in inputs) and len(boxes) == 1
    probes = [probes_of(box, ratio_nodes[[0, -1]], constant) for box in boxes]
    support = support_of(inputs, noise, recipe, probes, tolerance)
    if constant and len(ratio_nodes) == 1:
        return _constant(support, ratio_nodes, whole)
    extent = max(max(box.shape) for box in boxes)
    spacing = max(node_spacing, extent / (_MOST_NODES - 1)) if node_spacing >= _USUAL_SPACING else node_spacing
    # Only where ψ needs them nodes come closer.
    closer = [0] * len(boxes)
    trial = None
    while True:
        if constant:
            nodes = [probes_of(box, ratio_nodes, constant) for box in boxes]
        else:
            nodes = [Nodes.over(box, spacing, ratio_nodes, level) for box, level in zip(boxes, closer, strict=True)]
        if trial is None or sum(math.prod(part.shape) for part in nodes) <= _MOST_KEPT:
            sampled, trial = nodes, None  # what is not needed any more is large
            trial = psi_from_nodes(support, nodes, tolerance, threads)
        else:
            trial = interpolated_further(support, trial, nodes, threads)
        # More nodes do nothing for modes that were found at fewer.
        if trial.error <= tolerance or trial.mode_error > tolerance:
            break
        if trial.ratio_error > trial.field_error and len(ratio_nodes) < _MOST_RATIOS:
            low, high = ratio_nodes[0], ratio_nodes[-1]
            ratio_nodes = np.linspace(low, high, min(len(ratio_nodes) + 3, _MOST_RATIOS))
            continue
        # What the other errors leave of the tolerance; all regions together have more than that.
        left = math.sqrt(max(tolerance**2 - trial.mode_error**2 - trial.ratio_error**2, 0.0))
        wanting = [k for k, error in enumerate(trial.field_errors) if error > left and _divisible(boxes[k], closer[k])]
        if constant or not wanting:
            break
        for region in wanting:
            closer[region] += 1
    gaps = [float(np.diff(axis).max()) for part in nodes for axis in (part.x, part.y) if len(axis) > 1]
    return Decorrelation(
        SpatialKernel(trial.basis, coefficients_from(trial.weights, nodes, noise), whole),
        variance_bank(trial, sampled, noise, np.asarray(noise.variances if levels is None else levels)),
        footprint_of(trial, sampled, noise),
        support.energy_lost,
        trial.limited,
        max(gaps, default=0.0),
        trial.mode_error,
        trial.field_error,
        trial.ratio_error,
    )


def _divisible(box: Box, level: int) -> bool:
    """Whether nodes that are as close as a level says may come closer still."""
    return max(box.shape) / (FEWEST_INTERVALS << level) >= _SMALLEST_SPACING


def variation(
    inputs: Sequence[SpatialKernel],
    noise: NoiseField,
    shape: tuple[int, int],
    decorrelation: Decorrelation,
    recipe: Recipe,
    at: tuple[float, float],
) -> float:
    """By how much ψ would vary over the field: the largest rms difference from ψ at a place, in units of the noise."""
    # ψ may be narrower than what it is made from.
    correlations = [rho.shape[0] for rho in (recipe.residual, *noise.correlations) if rho is not None]
    widest = max(*decorrelation.psi.shape, *correlations, *(max(kernel.shape) for kernel in inputs))
    boxes = smooth_boxes(inputs, shape)
    size = good_size(2 * widest)
    sampler = Sampler(inputs, noise, recipe, size, len(boxes))
    # Before it is cut to its support, which changes it everywhere alike.
    there = Sampler([kernel.frozen(*at) for kernel in inputs], noise, recipe, size)
    own, _, _ = there.filters(np.zeros(1), np.zeros(1), np.array([noise.mean_log_ratio]))
    largest = 0.0
    for region, box in enumerate(boxes):
        y, x = (a.ravel() for a in np.meshgrid(*(np.linspace(*e, 5) for e in extents(box)), indexing="ij"))
        ratio = np.full(len(x), noise.mean_log_ratio)
        if noise.log_ratio is not None:
            ratio = noise.log_ratio.at(x, y)[0]
        psi, _, _ = sampler.filters(x, y, ratio, region)
        # ψ̂ is the inverse of the noise's amplitude, so that the ratio of two of them is the error's amplitude.
        largest = max(largest, float(np.sqrt(np.mean((own / psi - 1) ** 2, axis=(1, 2))).max()))
    return largest


def _constant(support: Support, ratio: Array, field: Box) -> Decorrelation:
    """The same ψ all over the field."""
    zero = np.zeros(1)
    psi, squares, limited = support.sampler.all(zero, zero, ratio)
    psi, squares = cut_psi(psi, support.half_width, support.sharpening), cut_squares(squares, support.reach)
    one = PolynomialCoefficients.constant([1.0])
    footprint = np.abs(psi) / np.abs(psi).sum()
    return Decorrelation(
        SpatialKernel(psi, one, field),
        KernelBank(squares, one),
        SpatialKernel(footprint, one),
        support.energy_lost,
        limited,
    )
