"""From a subtraction to a job for the engine: the noise of the inputs, ψ, and what ψ leaves where noise is measured."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diffim_decorr.calibrate import Calibration, calibration_of
from diffim_decorr.difference.subtraction import Subtraction
from diffim_decorr.engine.field_work import FieldWork
from diffim_decorr.engine.job import Input, Job, Part, VariancePlane
from diffim_decorr.geometry import Box
from diffim_decorr.images.background import LocalBackground, local_background
from diffim_decorr.images.masks import plane_bits
from diffim_decorr.kernels.spatial import SpatialKernel
from diffim_decorr.noise.chosen import ChosenPixels
from diffim_decorr.noise.correlation import correlation_function, max_abs_rho
from diffim_decorr.noise.halves import Halves
from diffim_decorr.noise.models import MODELS, Noise
from diffim_decorr.options import Options
from diffim_decorr.psi.build import Decorrelation, build_decorrelation, variation
from diffim_decorr.psi.sampler import Recipe
from diffim_decorr.record import Reason, Record

__all__ = ("Whitening", "decorrelation_of", "job_of", "recipe_of", "remarks_of", "whitening_of")

Array = NDArray[Any]

# A constant ψ is worth a warning where it is wrong by more than this, in units of the noise.
_NOTABLE_VARIATION = 0.02
_NOTABLE_LOSS = 1e-3  # share of Σψ² that was cut off
# Local noise is modelled as if it were the same all over the few pixels of ψ, which is not better than this.
_LOCAL_TOLERANCE, _NOTABLE_ERROR = 2e-2, 5e-2
# What a first ψ left is whitened as well if it stands out of its statistical error by this factor.
_SIGNIFICANT = 5.0
# Bytes for images of ψ while it is made, of which more would not help.
_PSI = 256 << 20
_PLACES = 3  # along each axis of the field, or of each region, at which the matching kernel is looked at


@dataclass(frozen=True, eq=False)
class Whitening:
    """How a subtraction is to be whitened.

    Parameters
    ----------
    noise
        Of the inputs.
    decorrelation
        ψ and its companions.
    job
        What the engine is to do.
    calibration
        What the variances are multiplied with, if they are.
    held_back
        The half of the pixels that nothing was measured on; None if nothing was measured on the result.
    fitted, residual
        Where the noise was measured: source-free pixels of the other half, and the correlation function that a first ψ
        left there, if it was significant.
    doubts
        Why the result may be wrong, whatever its figures are.
    crowded
        Whether the noise is that of the difference itself, since the inputs do not tell it.
    """

    noise: Noise
    decorrelation: Decorrelation
    job: Job
    calibration: Calibration | None = None
    held_back: Halves | None = None
    fitted: ChosenPixels | None = None
    residual: Array | None = None
    doubts: tuple[Reason, ...] = ()
    crowded: bool = False


def recipe_of(options: Options) -> Recipe:
    """What ψ is to do."""
    return Recipe(options.score, options.max_gain, half_width=options.half_width)


def whitening_of(subtraction: Subtraction, options: Options, record: Record) -> Whitening:
    """Estimate the noise of the inputs and build ψ; figures, timings and what the user should know go to the record."""
    with record.timed("noise"):
        noise = MODELS[options.noise].of(subtraction, options, record)
    record.noise = noise.figures(subtraction.contributions, options, subtraction.unit)
    recipe = recipe_of(options)
    with record.timed("psi"):
        decorrelation = decorrelation_of(subtraction, noise, options, recipe, record.steps("psi"))
        for remark in remarks_of(subtraction, noise, options, recipe, decorrelation):
            record.warn(remark)
    background = local_background(subtraction.difference, (noise.svar + noise.tvar) ** 0.5)
    job = job_of(subtraction, noise, decorrelation, options, background)
    halves, residual = Halves.of(subtraction.shape), None
    # What is fitted to the difference is fitted to half of its pixels, so that the others can judge it.
    fitted = None if noise.windows is None or options.score else noise.windows.half(halves)
    if fitted is not None:
        with record.timed("noise"):
            residual = _residual(job, fitted)
        if residual is not None:
            with record.timed("psi"):
                further = replace(recipe, residual=residual)
                decorrelation = decorrelation_of(subtraction, noise, options, further, record.steps("psi"))
            job = job_of(subtraction, noise, decorrelation, options, background)
    calibration = calibration_of(job, subtraction, fitted, halves, options, record)
    record.noise = replace(
        record.noise,
        residual_max_abs_rho=None if residual is None else max_abs_rho(residual),
        calibration=None if calibration is None else calibration.factor,
        calibration_spread=None if calibration is None else calibration.spread,
    )
    if calibration is not None:
        job = job_of(subtraction, noise, decorrelation, options, background, calibration)
    record.psi = decorrelation.figures()
    unjudged = fitted is not None or calibration is not None
    return Whitening(noise, decorrelation, job, calibration, halves if unjudged else None, fitted, residual)


def decorrelation_of(
    subtraction: Subtraction,
    noise: Noise,
    options: Options,
    recipe: Recipe,
    progress: Callable[[int, int], None] | None,
) -> Decorrelation:
    """ψ for the noise of the inputs."""
    return build_decorrelation(
        subtraction.kernels,
        noise.field,
        subtraction.shape,
        at=subtraction.place_of_constant(options),
        tolerance=_tolerance(noise, options),
        node_spacing=options.node_spacing,
        recipe=recipe,
        levels=[plane.level * plane.factor for plane in noise.planes],
        threads=options.workers,
        memory=min(_PSI, options.memory // 2),
        progress=progress,
    )


def _tolerance(noise: Noise, options: Options) -> float:
    """Bound of the rms error of ψ."""
    return max(options.tolerance, _LOCAL_TOLERANCE) if math.isfinite(noise.field.period) else options.tolerance


def remarks_of(
    subtraction: Subtraction, noise: Noise, options: Options, recipe: Recipe, decorrelation: Decorrelation
) -> Iterator[str]:
    """What the user should know about ψ."""
    place = subtraction.place_of_constant(options)
    tolerance = _tolerance(noise, options)
    limit = max(tolerance, _NOTABLE_ERROR) if math.isfinite(noise.field.period) else tolerance
    if place is None and decorrelation.error > limit:
        yield (
            f"the decorrelation kernel is accurate to {decorrelation.error:.1e} of the noise only, not to the "
            f"tolerance of {tolerance:.0e}: the matching kernel or the noise varies within few pixels"
        )
    if place is not None:
        varies = variation(subtraction.kernels, noise.field, subtraction.shape, decorrelation, recipe, place)
        if varies > _NOTABLE_VARIATION:
            yield (
                f"the decorrelation kernel varies over the field by up to {varies:.1%} of the noise; "
                "--spatial follows it"
            )
    lost = max(part.energy_lost for part in decorrelation.parts)
    if options.half_width is None and lost > _NOTABLE_LOSS:
        yield (
            "the image is too small to measure all of the decorrelation kernel on: it was cut to a half width of "
            f"{decorrelation.psi.shape[0] // 2} pixels, which leaves out {lost:.1%} of its energy"
        )
    if decorrelation.frequencies_limited:
        yield (
            f"the gain was limited to {options.max_gain:g} "
            f"at {decorrelation.frequencies_limited:.2%} of frequencies, where the noise stays correlated"
        )


def job_of(
    subtraction: Subtraction,
    noise: Noise,
    decorrelation: Decorrelation,
    options: Options,
    background: LocalBackground,
    calibration: Calibration | None = None,
) -> Job:
    """What the engine is to do."""
    factor = 1.0 if calibration is None else calibration.factor
    factors = factor * np.array([plane.factor for plane in noise.planes])
    parts = [
        Part(part.box, part.psi, part.footprint, part.variance.scaled(factors), spreads, error=part.simplified)
        for part, spreads in zip(decorrelation.parts, _spreads(subtraction, decorrelation), strict=True)
    ]
    return Job(
        image=subtraction.difference.image_plane,
        fills=subtraction.difference.fills,
        regions=subtraction.matching.kernel.boxes,
        masks=subtraction.masks,
        replaced=options.replace_planes,
        parts=tuple(parts),
        variances=tuple(VariancePlane(plane.plane, plane.background) for plane in noise.planes),
        full=options.variance == "full",
        sigma=(noise.svar + noise.tvar) ** 0.5,
        bad_fraction=options.bad_fraction,
        threads=options.workers,
        memory=options.memory,
        inputs=tuple(_inputs(subtraction, options)),
        background=background,
        calibration=None if calibration is None else calibration.local,
    )


def _inputs(subtraction: Subtraction, options: Options) -> Iterator[Input]:
    """The images that the difference was made of."""
    for exposure in (subtraction.science, subtraction.template):
        bits = plane_bits(exposure.mask_planes, options.replace_planes)
        yield Input(exposure.image_plane, exposure.fills, exposure.mask_plane if bits else None, bits)


def _spreads(subtraction: Subtraction, decorrelation: Decorrelation) -> Iterator[tuple[Array | None, ...]]:
    """How far the pixels of these images reach, in each part of the field."""
    alone = len(decorrelation.parts) == 1
    for k, part in enumerate(decorrelation.parts):
        kernels = subtraction.sides if alone else [kernel.piece(k) for kernel in subtraction.sides]
        yield tuple(None if max(kernel.shape) == 1 else _spread(kernel, part.box) for kernel in kernels)


def _spread(kernel: SpatialKernel, field: Box) -> Array:
    """The largest share that a pixel has in each of its neighbours, at any of some places of a part of the field."""
    places = [
        (x, y)
        for box in kernel.boxes or (field,)
        for x in np.linspace(box.x0, box.x1 - 1, _PLACES)
        for y in np.linspace(box.y0, box.y1 - 1, _PLACES)
    ]
    images = np.abs(kernel.sample(*np.array(places).T))
    totals = images.sum(axis=(1, 2), keepdims=True)
    largest: Array = (images / np.where(totals > 0, totals, 1)).max(axis=0)
    return largest


def _residual(job: Job, chosen: ChosenPixels) -> Array | None:
    """The correlation function that ψ leaves in the difference, if it is significant."""
    # Of the image alone.
    work = FieldWork(replace(job, variances=()), chosen.boxes[0].shape)
    covariance = chosen.covariance(lambda box: work.pixels(box)[0])
    pairs = max(chosen.fewest_pairs, 1)
    rho, variance, _ = correlation_function(covariance, pairs)
    significant = variance > 0 and max_abs_rho(rho) >= _SIGNIFICANT / np.sqrt(pairs)
    return rho if significant else None
