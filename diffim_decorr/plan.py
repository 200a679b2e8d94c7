"""All that is known before the first pixel is filtered: the noise, ψ, the masks, the PSF."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from diffim_decorr.contributions import Contribution, side_kernels, total_kernels
from diffim_decorr.convolution import FilterBank
from diffim_decorr.correlation import MeasuredNoise, SourceFreeWindows, plateau_warning
from diffim_decorr.decorrelation import Decorrelation, Recipe, build_decorrelation, variation
from diffim_decorr.errors import InputError
from diffim_decorr.exposure import Exposure
from diffim_decorr.masks import MaskUnion
from diffim_decorr.matching import MatchingKernel
from diffim_decorr.noise import NoiseField, background_variance, local_noise, measured_variance
from diffim_decorr.options import Options
from diffim_decorr.planes import ConstantPlane, Plane
from diffim_decorr.psf import composed_psf
from diffim_decorr.spatial import GridCoefficients, SpatialKernel

__all__ = ("Plan", "PlaneNoise", "calibrated", "make_plan", "with_residual")

Array = NDArray[Any]

# A constant ψ is worth a warning where it is wrong by more than this, in units of the noise.
_NOTABLE_VARIATION = 0.02
# What is measured on the inputs explains the noise of the result to a few per cent, unless it is not only noise.
_NOTABLE_CALIBRATION = 0.1


@dataclass(frozen=True)
class PlaneNoise:
    """What a contribution's variance plane is worth.

    Parameters
    ----------
    plane
        The variance plane.
    factor
        By which its values are multiplied, so that they agree with the measured noise.
    level
        Its background value, before multiplication.
    measured
        Measured noise, if it was measured.
    """

    plane: Plane
    factor: float
    level: float
    measured: MeasuredNoise | None = None


@dataclass
class Plan:
    """All that is known before the first pixel is filtered.

    Parameters
    ----------
    science, template, difference
        The inputs.
    kernel
        The matching kernel, in the pixel coordinates of the arrays.
    options
        The knobs.
    contributions
        The images that the difference is made of.
    kernels
        Their kernels.
    planes
        Their variance planes.
    noise
        Their background noise.
    recipe
        What ψ is to do.
    decorrelation
        ψ and its companions.
    masks
        The union of the inputs' masks.
    point_source
        PSF of the image that was not convolved, and what the science image was convolved with; nothing if it is not
        known.
    timings
        Seconds by stage.
    warnings
        What the user should know.
    calibration
        Factor of all variances that was measured on the result, 1 if it was not.
    """

    science: Exposure
    template: Exposure
    difference: Exposure
    kernel: MatchingKernel
    options: Options
    contributions: tuple[Contribution, ...]
    kernels: list[SpatialKernel]
    planes: list[PlaneNoise]
    noise: NoiseField
    recipe: Recipe
    decorrelation: Decorrelation
    masks: MaskUnion
    point_source: tuple[SpatialKernel, ...]
    timings: dict[str, float] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    calibration: float = 1.0

    @property
    def shape(self) -> tuple[int, int]:
        return self.difference.shape

    @cached_property
    def psf(self) -> Array | SpatialKernel | None:
        """The corrected PSF ``φ ⊗ ψ``, with the sum of φ: an image (h, w), or images on a grid if it varies."""
        if not self.point_source:
            return None
        return composed_psf((*self.point_source, self.decorrelation.psi), self.shape)

    @contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        """Add the time that is spent inside to a stage's."""
        with _timed(self.timings, stage):
            yield


def make_plan(
    science: Exposure,
    template: Exposure,
    difference: Exposure,
    kernel: MatchingKernel | SpatialKernel | ArrayLike,
    options: Options,
    *,
    psf: ArrayLike | SpatialKernel | None = None,
    science_kernel: MatchingKernel | SpatialKernel | ArrayLike | None = None,
    contributions: Sequence[Contribution] = (),
) -> tuple[Plan, SourceFreeWindows | None]:
    """Check the inputs, estimate the noise and build ψ; see `decorrelate` for the parameters.

    Returns
    -------
    plan, windows
        The source-free windows that the noise was measured on, if it was.
    """
    timings: dict[str, float] = {}
    warnings: list[str] = []
    matching = _placed(kernel, difference)
    own = None if science_kernel is None else _placed(science_kernel, difference).kernel
    if options.score:
        if own is None:
            raise InputError("a score image needs the kernel of the pre-convolution (--pre-conv-kernel)")
        # The difference was pre-convolved with the PSF's reflection: it is a correlation with the PSF.
        own = _reflected(own)
    placed = (c if c.kernel is None else replace(c, kernel=_placed(c.kernel, difference)) for c in contributions)
    contributions = tuple(placed) or _ordinary(science, template, options)
    _check(science, template, difference, matching, options, contributions)
    sides = side_kernels(matching, options.convolved, own)
    kernels = total_kernels(contributions, sides)
    windows = None
    with _timed(timings, "noise"):
        if options.noise == "measured":
            images = {id(e): e for e in (science, template, difference, *(c.exposure for c in contributions)) if e}
            images.pop(id(difference))
            windows = SourceFreeWindows(list(images.values()), options.bad_planes, options.threads)
        planes = [_plane_noise(c, difference.shape, options, windows, warnings) for c in contributions]
        noise = _noise_field(contributions, planes, options)
    recipe = Recipe(options.score, options.max_gain, half_width=options.half_width)
    with _timed(timings, "psi"):
        decorrelation = _decorrelation(kernels, noise, planes, difference, options, recipe)
        warnings += _remarks(kernels, noise, difference, options, recipe, decorrelation)
    plan = Plan(
        science,
        template,
        difference,
        matching,
        options,
        contributions,
        kernels,
        planes,
        noise,
        recipe,
        decorrelation,
        MaskUnion.of((difference, science, template)),
        _point_source(science, template, matching, options, psf, own),
        timings,
        warnings,
    )
    return plan, windows


def with_residual(plan: Plan, residual: Array) -> Plan:
    """The same plan with a ψ that also whitens what a first one left, given by its correlation function."""
    recipe = replace(plan.recipe, residual=residual)
    with plan.timed("psi"):
        decorrelation = _decorrelation(plan.kernels, plan.noise, plan.planes, plan.difference, plan.options, recipe)
    return replace(plan, recipe=recipe, decorrelation=decorrelation)


def calibrated(plan: Plan, factor: float) -> Plan:
    """The same plan with its variances scaled to what was measured on the result, which should be a small change."""
    if abs(factor - 1) > _NOTABLE_CALIBRATION:
        usable = 0.5 <= factor <= 2.0
        plan.warnings.append(
            f"the noise variance of the result is {factor:.2f} times what the noise measured on the inputs explains"
            f"{', to which the variance plane is scaled' if usable else '; the variance plane is left at the latter'}: "
            "the inputs show structure besides noise, or the kernel is not the one that was used; mask extended "
            "sources, subtract the background, or use --noise white"
        )
        if not usable:
            return plan
    bank = plan.decorrelation.variance
    scaled = replace(plan.decorrelation, variance=FilterBank(bank.bases * factor, bank.coefficients))
    return replace(plan, decorrelation=scaled, calibration=factor)


def _decorrelation(
    kernels: Sequence[SpatialKernel],
    noise: NoiseField,
    planes: Sequence[PlaneNoise],
    difference: Exposure,
    options: Options,
    recipe: Recipe,
) -> Decorrelation:
    decorrelation = build_decorrelation(
        kernels,
        noise,
        difference.shape,
        at=_constant_at(difference, options),
        tolerance=options.tolerance,
        node_spacing=options.node_spacing,
        recipe=recipe,
        threads=options.threads,
    )
    factors = np.array([plane.factor for plane in planes])[:, None, None, None]
    bank = decorrelation.variance
    return replace(decorrelation, variance=FilterBank(bank.bases * factors, bank.coefficients))


def _constant_at(difference: Exposure, options: Options) -> tuple[float, float] | None:
    """Where the kernels are taken for a constant ψ."""
    if options.spatial:
        return None
    ny, nx = difference.shape
    return options.kernel_at or ((nx - 1) / 2, (ny - 1) / 2)


def _remarks(
    kernels: Sequence[SpatialKernel],
    noise: NoiseField,
    difference: Exposure,
    options: Options,
    recipe: Recipe,
    decorrelation: Decorrelation,
) -> Iterator[str]:
    """What the user should know about ψ."""
    if options.spatial and decorrelation.error > options.tolerance:
        yield (
            f"the decorrelation kernel is accurate to {decorrelation.error:.1e} of the noise only, not to the "
            f"tolerance of {options.tolerance:.0e}: the matching kernel or the noise varies within few pixels"
        )
    if not options.spatial:
        varies = variation(kernels, noise, difference.shape, decorrelation, recipe)
        if varies > _NOTABLE_VARIATION:
            yield (
                f"the decorrelation kernel varies over the field by up to {varies:.1%} of the noise; "
                "--spatial follows it"
            )
    if decorrelation.frequencies_limited:
        yield (
            f"the gain was limited to {options.max_gain:g} "
            f"at {decorrelation.frequencies_limited:.2%} of frequencies, where the noise stays correlated"
        )


def _ordinary(science: Exposure, template: Exposure, options: Options) -> tuple[Contribution, ...]:
    """A science image and a template."""
    given = [None if variance is None else variance**0.5 for variance in (options.svar, options.tvar)]
    return (
        Contribution("science", science, noise=given[0], name=science.name),
        Contribution("template", template, noise=given[1], name=template.name),
    )


def _plane_noise(
    contribution: Contribution,
    shape: tuple[int, int],
    options: Options,
    windows: SourceFreeWindows | None,
    warnings: list[str],
) -> PlaneNoise:
    exposure = contribution.exposure
    # The digits of a variance that was given come back from its root.
    given = None if contribution.noise is None else float(f"{contribution.noise**2:.15g}")
    plane = None if exposure is None else exposure.variance_plane
    background, measured = None, None
    if exposure is not None and plane is not None and (given is None or windows is not None):
        background = background_variance(exposure, options.bad_planes)
    level = background if given is None else given
    if exposure is not None and windows is not None:
        measured = windows.measure(exposure, background)
        remark = plateau_warning(exposure.name, measured)
        if remark:
            warnings.append(remark)
        if given is not None:
            measured = replace(measured, variance=given)
    if plane is not None and level is not None:
        if measured is not None and level > 0:
            return PlaneNoise(plane, measured.variance / level, level, measured)
        return PlaneNoise(plane, 1.0, level)
    if measured is not None:
        level = measured.variance
    elif given is not None:
        level = given
    elif exposure is not None:
        level = measured_variance(exposure, options.bad_planes)
        option = "--svar" if contribution.side == "science" else "--tvar"
        warnings.append(
            f"{exposure.name}: has no variance plane; a constant variance of {level:.6g} was measured from its "
            f"background ({option} or a variance, noise or weight file would replace it)"
        )
    else:
        raise InputError(f"{contribution.name}: needs a file or a noise figure")
    return PlaneNoise(ConstantPlane(level, shape), 1.0, level, measured)


def _noise_field(contributions: Sequence[Contribution], planes: Sequence[PlaneNoise], options: Options) -> NoiseField:
    log_ratio = None
    exposures = [c.exposure for c in contributions if c.exposure is not None and c.noise is None]
    if len(contributions) == len(exposures) == 2:
        levels = planes[0].level, planes[1].level
        log_ratio = local_noise(exposures[0], exposures[1], levels, options.bad_planes, options.threads)
        if log_ratio is not None:
            shift = np.log(planes[1].factor / planes[0].factor)
            log_ratio = GridCoefficients(log_ratio.values + shift, log_ratio.x, log_ratio.y, log_ratio.order)
    return NoiseField(
        tuple(plane.level * plane.factor for plane in planes),
        tuple(contribution.side for contribution in contributions),
        log_ratio,
        tuple(None if plane.measured is None else plane.measured.correlation for plane in planes),
    )


def _point_source(
    science: Exposure,
    template: Exposure,
    matching: MatchingKernel,
    options: Options,
    given: ArrayLike | SpatialKernel | None,
    science_kernel: SpatialKernel | None,
) -> tuple[SpatialKernel, ...]:
    """PSF of the difference: that of the image that was not convolved, or of the pre-convolved science image."""
    sides = {options.convolved or side or "template" for side in matching.convolved}
    if given is None and len(sides) == 1:
        given = template.psf if sides == {"science"} else science.psf
    if given is None and options.score and science_kernel is not None:
        given = _reflected(science_kernel)
    if given is None:
        return ()
    psf = given if isinstance(given, SpatialKernel) else SpatialKernel.constant(given)
    return (psf,) if science_kernel is None else (psf, science_kernel)


def _reflected(kernel: SpatialKernel) -> SpatialKernel:
    """The kernel whose convolution is the correlation with this one."""
    odd = np.pad(kernel.basis, [(0, 0), *((0, 1 - n % 2) for n in kernel.shape)])
    return SpatialKernel(odd[:, ::-1, ::-1], kernel.coefficients)


def _placed(kernel: MatchingKernel | SpatialKernel | ArrayLike, difference: Exposure) -> MatchingKernel:
    """A kernel in the pixel coordinates of the arrays."""
    if isinstance(kernel, SpatialKernel):
        kernel = MatchingKernel(kernel)
    elif not isinstance(kernel, MatchingKernel):
        from diffim_decorr.io.kernels import kernel_from_array

        kernel = kernel_from_array(np.asarray(kernel))
    if not kernel.parent_frame or difference.xy0 == (0, 0):
        return kernel
    moved = kernel.kernel.shifted(-difference.xy0[0], -difference.xy0[1])
    return replace(kernel, kernel=moved, parent_frame=False)


def _check(
    science: Exposure,
    template: Exposure,
    difference: Exposure,
    kernel: MatchingKernel,
    options: Options,
    contributions: Sequence[Contribution],
) -> None:
    ny, nx = difference.shape
    for exposure in (science, template, *(c.exposure for c in contributions if c.exposure is not None)):
        if exposure.shape != difference.shape:
            mine, its = (f"{e.shape[1]} x {e.shape[0]}" for e in (exposure, difference))
            raise InputError(f"{exposure.name}: has {mine} pixels, but the difference {difference.name} has {its}")
        if (0, 0) not in (exposure.xy0, difference.xy0) and exposure.xy0 != difference.xy0:
            raise InputError(
                f"{exposure.name}: begins at {exposure.xy0} of its parent frame, but the difference "
                f"{difference.name} at {difference.xy0}"
            )
    for side in ("science", "template"):
        if not any(contribution.side == side for contribution in contributions):
            raise InputError(f"there is no contribution on the {side} side")
    height, width = kernel.kernel.shape
    if height > ny or width > nx:
        raise InputError(f"{kernel.name}: the kernel has {width} x {height} pixels, more than the image's {nx} x {ny}")
    if options.kernel_at is not None:
        x, y = options.kernel_at
        if not (-0.5 <= x < nx - 0.5 and -0.5 <= y < ny - 0.5):
            raise InputError(f"kernel_at {x:g} {y:g} lies outside the image of {nx} x {ny} pixels")


@contextmanager
def _timed(timings: dict[str, float], stage: str) -> Iterator[None]:
    start = time.perf_counter()
    yield
    timings[stage] = timings.get(stage, 0.0) + time.perf_counter() - start
