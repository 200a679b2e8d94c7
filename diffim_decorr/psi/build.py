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
from diffim_decorr.kernels.coefficients import PolynomialCoefficients
from diffim_decorr.kernels.compress import condensed
from diffim_decorr.kernels.piecewise import joined
from diffim_decorr.kernels.spatial import SpatialKernel
from diffim_decorr.noise.field import NoiseField
from diffim_decorr.psi.interpolate import interpolation_of
from diffim_decorr.psi.modes import companions_of, images_of, measured_error, most_places, psi_of
from diffim_decorr.psi.nodes import (
    Places,
    batches,
    extents,
    knots_within,
    probes_of,
    ratio_nodes,
    ratio_range,
    smooth_boxes,
)
from diffim_decorr.psi.sampler import Recipe, Sampler, mirrored
from diffim_decorr.psi.support import Support, support_of
from diffim_decorr.psi.trial import MODES, Wanted, settled
from diffim_decorr.record import PsiFigures

__all__ = ("Decorrelation", "DecorrelationPart", "build_decorrelation", "variation")

Array = NDArray[Any]

# Share of the tolerance by which ψ may be simplified within a tile.
_SIMPLIFIED = 0.2
# Share of the tolerance that there always is for coefficients between the knots of the noise ratio.
_BILINEAR = 0.3
# What part of the image a ψ may be wide, on either side, that comes from noise measured on it.
_SHARE_OF_IMAGE = 6
# At how many places the error is measured in the end.
_CHECKED = 16
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
    whole = Box(0, 0, shape[1], shape[0])
    if at is not None:
        inputs = [kernel.frozen(*at) for kernel in inputs]
        noise = noise.uniform
    planes = np.asarray(noise.variances if levels is None else levels)
    boxes, parts = smooth_boxes(inputs, shape), []
    for k, box in enumerate(boxes):

        def step(share: float, before: int = k) -> None:
            if progress is not None:
                progress(int(_STEPS * (before + share)), _STEPS * len(boxes))

        own = [condensed(kernel.piece(k)) for kernel in inputs]
        low, high = ratio_range(noise, box)
        ratios, error = ratio_nodes(low, high, tolerance)
        constant = all(kernel.is_constant for kernel in own) and not math.isfinite(noise.period)
        probes = probes_of(box, np.unique([low, high]), constant, noise.period)
        support = support_of(own, noise, recipe or Recipe(), probes, tolerance, threads, min(shape) // _SHARE_OF_IMAGE)
        step(0.2)
        if constant and len(ratios) == 1:
            parts.append(_constant(support, ratios, box, error))
        else:
            most = most_places(support, memory // 3)
            wanted = Wanted(tolerance, node_spacing, planes, most, threads, constant, noise.period)
            parts.append(_varying(support, noise, box, ratios, error, wanted, memory, step))
        step(1.0)
    return Decorrelation(tuple(parts), whole)


def _varying(
    support: Support,
    noise: NoiseField,
    box: Box,
    ratios: Array,
    one_ratio_error: float,
    wanted: Wanted,
    memory: int,
    step: Callable[[float], None],
) -> DecorrelationPart:
    """ψ in a rectangle in which all kernels are smooth; `step` is told what share of the work is done."""
    tolerance, threads = wanted.tolerance, wanted.threads
    allowed = math.sqrt(tolerance**2 - one_ratio_error**2 - (_SIMPLIFIED * tolerance) ** 2)
    trial = settled(support, box, ratios, allowed, wanted)
    step(0.3)
    images, chains, limited = images_of(
        support, trial.span, threads, lambda count: step(0.3 + 0.4 * count / trial.span.count)
    )
    left = math.sqrt(max(allowed**2 - trial.error**2 - (MODES * tolerance) ** 2, (_BILINEAR * allowed) ** 2))
    # A third of the memory for images at places, one for modes of ψ, and one for those of |ψ| and what they are found
    # in.
    interpolation = interpolation_of(
        trial.amounts, trial.span.own, trial.nodes, noise, left * support.norm, memory // 6
    )
    psi, rows, weights, mode_error = psi_of(support, trial, images, interpolation, tolerance, memory // 3)
    del images
    step(0.8)
    estimated = math.hypot(trial.error, mode_error, interpolation.error / support.norm)
    measured = measured_error(support, psi, rows, _anywhere(box, noise, trial.nodes.log_ratio), threads)
    variance, footprint = companions_of(
        support.sampler, trial, chains, interpolation, rows, weights, wanted.levels, memory // 6, threads
    )
    return DecorrelationPart(
        box,
        psi,
        variance,
        footprint,
        support.energy_lost,
        limited,
        trial.nodes.spacing,
        math.hypot(max(estimated, measured), one_ratio_error, _SIMPLIFIED * tolerance),
        _SIMPLIFIED * tolerance * support.norm,
    )


def _anywhere(box: Box, noise: NoiseField, ratios: Array) -> Places:
    """Some places in a box, with the noise ratio that is there."""
    u, v = np.random.default_rng(1).random((2, _CHECKED))
    if noise.log_ratio is None or len(ratios) == 1:
        x, y = box.x0 + u * (box.x1 - 1 - box.x0), box.y0 + v * (box.y1 - 1 - box.y0)
        return x, y, np.full(_CHECKED, ratios[0])
    # Where the ratio is known. In between so is ψ what it is interpolated to.
    along = knots_within(noise.log_ratio.x, box.x0, box.x1), knots_within(noise.log_ratio.y, box.y0, box.y1)
    x, y = (knots[(share * len(knots)).astype(int)] for knots, share in zip(along, (u, v), strict=True))
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
    noise = replace(noise, correlations=noise.usual)
    correlations = [rho.shape[0] for rho in (recipe.residual, *noise.correlations) if isinstance(rho, np.ndarray)]
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
    zero = np.zeros(1)
    spectra = sampler.spectra((zero, zero, ratio))
    psi, chains = sampler.images(spectra, support.half_width, support.reach)
    psi = mirrored(support.cut(psi))
    chains *= chains
    chains = np.array([sampler.moved(own, number, (zero, zero)) for number, own in enumerate(chains)])
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
