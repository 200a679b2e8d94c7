"""The decorrelation kernel over the field, and the kernels that propagate variance and missing pixels through it.

The decorrelation kernel ψ is not linear in the matching kernel, but it is as smooth: it is computed at nodes over the
field (and over the noise ratio), its samples are compressed by a singular value decomposition, and the coefficients
interpolated. The variance kernels ``(ψ ⊗ κ_i)²`` are treated likewise, jointly for all inputs.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diffim_decorr.fft import good_size
from diffim_decorr.geometry import Box
from diffim_decorr.kernels.bank import KernelBank
from diffim_decorr.kernels.compress import condensed
from diffim_decorr.kernels.coefficients import PolynomialCoefficients
from diffim_decorr.kernels.piecewise import joined
from diffim_decorr.kernels.spatial import SpatialKernel
from diffim_decorr.noise.field import NoiseField
from diffim_decorr.psi.interpolate import interpolation_of
from diffim_decorr.psi.modes import companions_of, images_of, measured_error, most_places, psi_of
from diffim_decorr.psi.nodes import (
    Nodes,
    Places,
    batches,
    extents,
    probes_of,
    ratio_nodes,
    ratio_range,
    smooth_boxes,
)
from diffim_decorr.psi.sampler import Recipe, Sampler, mirrored
from diffim_decorr.psi.span import Span, quadrature_of
from diffim_decorr.psi.support import Support, support_of
from diffim_decorr.psi.trial import Trial, trial_of
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
# How many frequencies are looked at to begin with, and how many at least for each place that ψ is made of.
_FREQUENCIES, _FEWEST_PER_PLACE = 2048, 8
# At how many places the error is measured in the end.
_CHECKED = 24
# Steps of progress for each part of the field.
_STEPS = 100


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
        Estimated rms error, from compression and from interpolation over the field and over the noise ratio, in units
        of the noise.
    """

    box: Box
    psi: SpatialKernel
    variance: KernelBank
    footprint: SpatialKernel
    energy_lost: float
    frequencies_limited: float
    node_spacing: float = 0.0
    error: float = 0.0


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
    memory: int = 256 << 20,
    progress: Callable[[int, int], None] | None = None,
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
    memory
        Bytes that images of ψ may take while it is made, about. With fewer than a wild ψ needs, its error is larger.
    progress
        Told of how much is done, and of how much there is to do, every time when that is more.

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
    wanted = _Wanted(tolerance, node_spacing, recipe or Recipe(), planes, threads, memory)
    boxes, parts = smooth_boxes(inputs, shape), []
    for k, box in enumerate(boxes):

        def step(share: float, before: int = k) -> None:
            if progress is not None:
                progress(int(_STEPS * (before + share)), _STEPS * len(boxes))

        parts.append(_part(box, [condensed(kernel.piece(k)) for kernel in inputs], noise, wanted, step))
    return Decorrelation(tuple(parts), whole)


@dataclass(frozen=True, eq=False)
class _Wanted:
    """What ψ is to be like, and what it may take; see `build_decorrelation`."""

    tolerance: float
    node_spacing: float
    recipe: Recipe
    levels: Array
    threads: int
    memory: int


def _part(
    box: Box, inputs: Sequence[SpatialKernel], noise: NoiseField, wanted: _Wanted, step: Callable[[float], None]
) -> DecorrelationPart:
    """ψ in a rectangle in which all kernels are smooth; `step` is told what share of the work is done."""
    tolerance, threads = wanted.tolerance, wanted.threads
    low, high = ratio_range(noise, box)
    ratios, one_ratio_error = ratio_nodes(low, high, tolerance)
    constant = all(kernel.is_constant for kernel in inputs)
    probes = probes_of(box, np.unique([low, high]), constant)
    support = support_of(inputs, noise, wanted.recipe, probes, tolerance, threads)
    step(0.2)
    if constant and len(ratios) == 1:
        part = _constant(support, ratios, box, one_ratio_error)
        step(1.0)
        return part
    allowed = math.sqrt(tolerance**2 - one_ratio_error**2)
    trial = _settled(support, box, ratios, constant, probes.positions, allowed, wanted)
    step(0.3)
    images = images_of(support, trial.span, threads, lambda count: step(0.3 + 0.4 * count / trial.span.count))
    left = math.sqrt(max(allowed**2 - trial.error**2, (0.3 * allowed) ** 2))
    interpolation = interpolation_of(trial.amounts, trial.span.own, trial.nodes, noise, left * support.norm)
    psi, rows, weights = psi_of(support, trial, images, interpolation, tolerance)
    step(0.8)
    estimated = math.hypot(trial.error, interpolation.error / support.norm)
    measured = measured_error(support, psi, _anywhere(box, noise), threads)
    print(len(trial.span.places[0]), "est", estimated, trial.mode_error, trial.field_error, trial.ratio_error, "bil", interpolation.error, "measured", measured)
    variance, footprint = companions_of(
        support, trial, images, interpolation, rows, weights, wanted.levels, wanted.memory // 4, threads
    )
    step(1.0)
    return DecorrelationPart(
        box,
        psi,
        variance,
        footprint,
        support.energy_lost,
        images.limited,
        trial.nodes.spacing,
        math.hypot(max(estimated, measured), one_ratio_error),
    )


def _settled(
    support: Support,
    box: Box,
    ratios: Array,
    constant: bool,
    probes: Places,
    allowed: float,
    wanted: _Wanted,
) -> Trial:
    """Nodes that are close enough, and what ψ is at them."""
    most = most_places(support, wanted.memory // 2)
    count = _FREQUENCIES
    coarsest = max(box.shape) / (_MOST_NODES - 1)
    usual = wanted.node_spacing >= _USUAL_SPACING
    spacing = max(wanted.node_spacing, coarsest) if usual else wanted.node_spacing
    low, high = ratios[0], ratios[-1]
    span, closer = None, 1.0
    while True:
        if span is None:
            span = Span.empty(quadrature_of(support, probes, count, wanted.levels, wanted.tolerance))
        nodes = probes_of(box, ratios, True) if constant else Nodes.over(box, spacing, ratios, closer)
        trial = trial_of(span, nodes, wanted.tolerance, support.norm, most, wanted.threads)
        span = trial.span
        if _FEWEST_PER_PLACE * span.count > count and count < support.sampler.frequencies:
            # From so few frequencies so many amounts cannot be told.
            count *= 4
            span = None
            continue
        # More nodes do nothing for what the modes leave out.
        if trial.error <= allowed or trial.mode_error > allowed:
            return trial
        if trial.ratio_error > trial.field_error and len(ratios) < _MOST_RATIOS:
            ratios = np.linspace(low, high, min(len(ratios) + 3, _MOST_RATIOS))
        elif nodes.spacing > _SMALLEST_SPACING:
            left = math.sqrt(max(allowed**2 - trial.mode_error**2 - trial.ratio_error**2, (0.1 * allowed) ** 2))
            closer *= min(max((trial.field_error / left) ** (1 / _ORDER), _LEAST_STEP), _LARGEST_STEP)
        else:
            return trial


def _anywhere(box: Box, noise: NoiseField) -> Places:
    """Some places in a box, with the noise ratio that is there."""
    u, v = np.random.default_rng(1).random((2, _CHECKED))
    x, y = box.x0 + u * (box.x1 - 1 - box.x0), box.y0 + v * (box.y1 - 1 - box.y0)
    if noise.log_ratio is None:
        return x, y, np.full(_CHECKED, noise.mean_log_ratio)
    return x, y, noise.log_ratio.at(x, y)[0]


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
    there = Sampler([condensed(kernel.frozen(*at)) for kernel in inputs], noise, recipe, size)
    own = there.spectra((np.zeros(1), np.zeros(1), np.array([noise.mean_log_ratio])), chains=False).psi
    largest = 0.0
    for k, box in enumerate(smooth_boxes(inputs, shape)):
        sampler = Sampler([condensed(kernel.piece(k)) for kernel in inputs], noise, recipe, size)
        y, x = (a.ravel() for a in np.meshgrid(*(np.linspace(*e, 5) for e in extents(box)), indexing="ij"))
        ratio = np.full(len(x), noise.mean_log_ratio)
        if noise.log_ratio is not None:
            ratio = noise.log_ratio.at(x, y)[0]
        for places in batches((x, y, ratio), sampler.batch):
            psi = sampler.spectra(places, chains=False).psi
            # ψ̂ is the inverse of the noise's amplitude, so that the ratio of two of them is the error's amplitude.
            largest = max(largest, float(np.sqrt(np.mean((own / psi - 1) ** 2, axis=1)).max()))
    return largest


def _constant(support: Support, ratio: Array, box: Box, error: float) -> DecorrelationPart:
    """The same ψ all over a rectangle."""
    sampler = support.sampler
    spectra = sampler.spectra((np.zeros(1), np.zeros(1), ratio))
    psi, chains = sampler.images(spectra, support.half_width, support.reach)
    psi = mirrored(support.cut(psi))
    chains *= chains
    # Cut to their support, the variance kernels have the sums that they had.
    left = chains.sum(axis=(2, 3), keepdims=True)
    chains *= sampler.gains(spectra, sampler.weights)[:, :, None, None] / np.where(left > 0, left, 1)
    one = PolynomialCoefficients.constant([1.0])
    footprint = np.abs(psi) / np.abs(psi).sum()
    return DecorrelationPart(
        box,
        SpatialKernel(psi, one),
        KernelBank(chains, one),
        SpatialKernel(footprint, one),
        support.energy_lost,
        spectra.limited,
        error=error,
    )
