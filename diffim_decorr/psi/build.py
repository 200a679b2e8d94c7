"""The decorrelation kernel over the field, and the kernels that propagate variance and missing pixels through it.

The decorrelation kernel ψ is not linear in the matching kernel, but it is as smooth: it is computed at nodes over the
field (and over the noise ratio), its samples are compressed by a singular value decomposition, and the coefficients
interpolated. The variance kernels ``(ψ ⊗ κ_i)²`` are treated likewise, jointly for all inputs.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diffim_decorr.fft import good_size
from diffim_decorr.geometry import Box
from diffim_decorr.kernels.bank import KernelBank
from diffim_decorr.kernels.coefficients import PolynomialCoefficients
from diffim_decorr.kernels.piecewise import joined
from diffim_decorr.kernels.spatial import SpatialKernel
from diffim_decorr.noise.field import NoiseField
from diffim_decorr.psi.interpolate import coefficients_from
from diffim_decorr.psi.nodes import Nodes, extents, probes_of, ratio_nodes, ratio_range, smooth_boxes
from diffim_decorr.psi.sampler import Recipe, Sampler
from diffim_decorr.psi.support import Support, cut_psi, cut_squares, support_of
from diffim_decorr.psi.trial import companions_of, psi_from_nodes
from diffim_decorr.record import PsiFigures

__all__ = ("Decorrelation", "DecorrelationPart", "build_decorrelation", "variation")

Array = NDArray[Any]

# How many nodes along an axis are enough to begin with.
_MOST_NODES = 9
_USUAL_SPACING = 256.0
_MOST_RATIOS = 24
_SMALLEST_SPACING = 8.0
# With which power of the nodes' distance the error falls at least, and by what factor they come closer at a time.
_ORDER = 4
_LEAST_STEP, _LARGEST_STEP = 1.25, 3.0
# Share of the tolerance by which ψ may be simplified within a tile.
_SIMPLIFIED = 0.2


@dataclass(frozen=True, eq=False)
class DecorrelationPart:
    """ψ and what goes with it in a rectangle of the field within which all kernels are smooth.

    Parameters
    ----------
    box
        The rectangle.
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
    error
        Estimated rms error, from compression, from interpolation over the field and over the noise ratio, and from
        what may be left out within a tile, in units of the noise.
    simplified
        Norm of what of ψ may be left out within a tile.
    """

    box: Box
    psi: SpatialKernel
    variance: KernelBank
    footprint: SpatialKernel
    energy_lost: float
    frequencies_limited: float
    node_spacing: float = 0.0
    error: float = 0.0
    simplified: float = 0.0


@dataclass(frozen=True, eq=False)
class Decorrelation:
    """ψ over the field, in one part or in several that know nothing of each other.

    Its figures are those of the part in which they are largest.
    """

    parts: tuple[DecorrelationPart, ...]
    field: Box

    @cached_property
    def psi(self) -> SpatialKernel:
        """That of all parts in one."""
        return joined([(part.box, part.psi) for part in self.parts], self.field)

    @property
    def error(self) -> float:
        """Estimated rms error in units of the noise."""
        return max(part.error for part in self.parts)

    @property
    def frequencies_limited(self) -> float:
        return max(part.frequencies_limited for part in self.parts)

    def figures(self) -> PsiFigures:
        """What is to be recorded of it."""
        return PsiFigures(
            self.psi.shape[0] // 2,
            len(self.psi.basis),
            max(part.node_spacing for part in self.parts),
            max(part.energy_lost for part in self.parts),
            self.frequencies_limited,
            self.error,
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
        Distance of nodes in pixels to begin with; they come closer until the tolerance is met. The usual 256 pixels
        stand for an eighth of the field, or of the kernel's region, where that is more.
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
    if at is not None:
        inputs = [kernel.frozen(*at) for kernel in inputs]
        noise = replace(noise, log_ratio=None)
    planes = np.asarray(noise.variances if levels is None else levels)
    parts = [
        _part(box, [kernel.piece(k) for kernel in inputs], noise, planes, tolerance, node_spacing, recipe, threads)
        for k, box in enumerate(smooth_boxes(inputs, shape))
    ]
    return Decorrelation(tuple(parts), whole)


def _part(
    box: Box,
    inputs: Sequence[SpatialKernel],
    noise: NoiseField,
    levels: Array,
    tolerance: float,
    node_spacing: float,
    recipe: Recipe,
    threads: int,
) -> DecorrelationPart:
    """ψ in a rectangle in which all kernels are smooth."""
    low, high = ratio_range(noise, box)
    ratios, one_ratio_error = ratio_nodes(low, high, tolerance)
    constant = all(kernel.is_constant for kernel in inputs)
    support = support_of(inputs, noise, recipe, probes_of(box, np.unique([low, high]), constant), tolerance)
    if constant and len(ratios) == 1:
        return _constant(support, ratios, box, one_ratio_error)
    support = support.fitted()
    coarsest = max(box.shape) / (_MOST_NODES - 1)
    spacing = max(node_spacing, coarsest) if node_spacing >= _USUAL_SPACING else node_spacing
    allowed = math.sqrt(tolerance**2 - one_ratio_error**2 - (_SIMPLIFIED * tolerance) ** 2)
    closer = 1.0
    while True:
        nodes = probes_of(box, ratios, True) if constant else Nodes.over(box, spacing, ratios, closer)
        trial = psi_from_nodes(support, nodes, tolerance, threads)
        # More nodes do nothing for what the modes leave out.
        if trial.error <= allowed or trial.mode_error > allowed:
            break
        if trial.ratio_error > trial.field_error and len(ratios) < _MOST_RATIOS:
            ratios = np.linspace(low, high, min(len(ratios) + 3, _MOST_RATIOS))
        elif nodes.spacing > _SMALLEST_SPACING:
            left = math.sqrt(max(allowed**2 - trial.mode_error**2 - trial.ratio_error**2, (0.1 * allowed) ** 2))
            closer *= min(max((trial.field_error / left) ** (1 / _ORDER), _LEAST_STEP), _LARGEST_STEP)
        else:
            break
        del trial  # what is not needed any more is large
    variance, footprint = companions_of(support, trial, noise, levels, threads)
    return DecorrelationPart(
        box,
        SpatialKernel(trial.basis, coefficients_from(trial.weights, nodes, noise)),
        variance,
        footprint,
        support.energy_lost,
        trial.limited,
        nodes.spacing,
        math.hypot(trial.error, one_ratio_error, _SIMPLIFIED * tolerance),
        _SIMPLIFIED * tolerance * support.norm,
    )


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
    size = good_size(2 * widest)
    # Before it is cut to its support, which changes it everywhere alike.
    there = Sampler([kernel.frozen(*at) for kernel in inputs], noise, recipe, size)
    own, _, _ = there.filters(np.zeros(1), np.zeros(1), np.array([noise.mean_log_ratio]))
    largest = 0.0
    for k, box in enumerate(smooth_boxes(inputs, shape)):
        sampler = Sampler([kernel.piece(k) for kernel in inputs], noise, recipe, size)
        y, x = (a.ravel() for a in np.meshgrid(*(np.linspace(*e, 5) for e in extents(box)), indexing="ij"))
        ratio = np.full(len(x), noise.mean_log_ratio)
        if noise.log_ratio is not None:
            ratio = noise.log_ratio.at(x, y)[0]
        psi, _, _ = sampler.filters(x, y, ratio)
        # ψ̂ is the inverse of the noise's amplitude, so that the ratio of two of them is the error's amplitude.
        largest = max(largest, float(np.sqrt(np.mean((own / psi - 1) ** 2, axis=(1, 2))).max()))
    return largest


def _constant(support: Support, ratio: Array, box: Box, error: float) -> DecorrelationPart:
    """The same ψ all over a rectangle."""
    zero = np.zeros(1)
    psi, squares, limited = support.sampler.all(zero, zero, ratio)
    psi, squares = cut_psi(psi, support.half_width, support.sharpening), cut_squares(squares, support.reach)
    one = PolynomialCoefficients.constant([1.0])
    footprint = np.abs(psi) / np.abs(psi).sum()
    return DecorrelationPart(
        box,
        SpatialKernel(psi, one),
        KernelBank(squares, one),
        SpatialKernel(footprint, one),
        support.energy_lost,
        limited,
        error=error,
    )
