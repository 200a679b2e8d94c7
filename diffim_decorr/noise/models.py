"""What is assumed of the inputs' noise: one class for each model.

Every model says how much noise each image has, how the ratio of the two sides varies over the field, and how the noise
of each image is correlated. A new one is a class here, and a word in the options.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from diffim_decorr.difference.contributions import Contribution
from diffim_decorr.difference.subtraction import Subtraction
from diffim_decorr.geometry import Box
from diffim_decorr.kernels.grid import GridCoefficients
from diffim_decorr.noise.cells import Squares, correlation_in_cells, finer, squares_of, variation_of
from diffim_decorr.noise.correlation import max_abs_rho
from diffim_decorr.noise.estimate import PlaneNoise, plane_noise
from diffim_decorr.noise.field import NoiseField
from diffim_decorr.noise.halves import Halves
from diffim_decorr.noise.likelihood import Likelihood
from diffim_decorr.noise.local import LocalNoise, agreement_with, local_noise_of, told_by_level
from diffim_decorr.noise.local_correlation import LocalCorrelation
from diffim_decorr.noise.plane_level import plane_level
from diffim_decorr.noise.ratio import local_noise
from diffim_decorr.noise.realisations import realised_pixels
from diffim_decorr.noise.regressed import regressed
from diffim_decorr.noise.windows import SourceFreeWindows
from diffim_decorr.options import SIDES, NoiseModelName, Options
from diffim_decorr.record import ImageNoise, NoiseFigures, Record

__all__ = ("MODELS", "Noise", "NoiseModel")

Array = NDArray[Any]


@dataclass(frozen=True, eq=False)
class Noise:
    """The noise of the images that a difference is made of.

    Parameters
    ----------
    planes
        Of each image.
    field
        How they share in the noise over the field.
    svar, tvar
        Background variance of each side, of a stack that of the weighted mean.
    windows
        Source-free windows, if the noise was measured there.
    shares
        Of each image, how much of the variation that is expected of its warp is there; None if it has none.
    variations
        How much its covariance varies from cell to cell, relative to the variance; None if it cannot be told.
    """

    planes: tuple[PlaneNoise, ...]
    field: NoiseField
    svar: float
    tvar: float
    windows: SourceFreeWindows | None = None
    shares: tuple[float | None, ...] = ()
    variations: tuple[float | None, ...] = ()

    def figures(self, contributions: Sequence[Contribution], options: Options, unit: float = 1.0) -> NoiseFigures:
        """What is to be recorded of it, for pixels that have been multiplied by a unit."""
        nothing = [None] * len(self.planes)
        images = tuple(
            ImageNoise(
                contribution.name,
                contribution.side,
                plane.measured.variance / unit**2,
                plane.factor,
                max_abs_rho(plane.measured.correlation),
                plane.measured.plateau,
                plane.measured.pixels,
                share,
                plane.measured.source,
                varies,
            )
            for contribution, plane, share, varies in zip(
                contributions, self.planes, self.shares or nothing, self.variations or nothing, strict=True
            )
            if plane.measured is not None
        )
        given = tuple(any(c.side == side and c.noise is not None for c in contributions) for side in SIDES)
        source = "inputs" if images else None
        variances = self.svar / unit**2, self.tvar / unit**2
        return NoiseFigures(*variances, given[0], given[1], options.noise, images, source=source)


class NoiseModel(ABC):
    """What is assumed of the inputs' noise."""

    @abstractmethod
    def of(self, subtraction: Subtraction, options: Options, record: Record) -> Noise:
        """The noise of the images of a subtraction; what the user should know of it goes to the record."""


@final
class White(NoiseModel):
    """Neighbouring pixels of each input have nothing to do with each other."""

    def of(self, subtraction: Subtraction, options: Options, record: Record) -> Noise:
        return _noise(subtraction, options, record, None)


@final
class Measured(NoiseModel):
    """The noise of each input has one correlation function, which is measured on source-free pixels."""

    def of(self, subtraction: Subtraction, options: Options, record: Record) -> Noise:
        windows = _windows(subtraction, options)
        noise = _noise(subtraction, options, record, windows)
        variations = []
        size = Halves.of(subtraction.shape).size
        for products, image in zip(_products(noise, subtraction, options), subtraction.contributions, strict=True):
            variation = None if products is None else variation_of(products(size))
            if variation is not None and variation.notable:
                record.warn(f"{image.name}: {variation}; --noise local follows what it can of that")
            variations.append(None if variation is None else variation.rms)
        return replace(noise, variations=tuple(variations))


@final
class Local(NoiseModel):
    """The noise of each input varies over the field.

    Where the resampling is known, with the sub-pixel phase, as it follows from that or as it is measured; otherwise
    from cell to cell, as far as it can be measured. What cannot be followed has one correlation function.
    """

    def of(self, subtraction: Subtraction, options: Options, record: Record) -> Noise:
        windows = _windows(subtraction, options)
        judged = [_by_phase(c, windows, subtraction, options, record) for c in subtraction.contributions]
        found = [local for local, _ in judged]
        contributions = tuple(
            c if local is None else replace(c, exposure=local.exposure)
            for c, local in zip(subtraction.contributions, found, strict=True)
        )
        noise = _noise(replace(subtraction, contributions=contributions), options, record, windows, found)
        correlations, variations = list(noise.field.correlations), []
        size = Halves.of(subtraction.shape).size
        for k, products in enumerate(_products(noise, subtraction, options)):
            squares = None if products is None else products(size)
            variation = None if squares is None else variation_of(squares)
            variations.append(None if variation is None else variation.rms)
            plane, image = noise.planes[k], contributions[k]
            # What a warp is known of and was not believed is not followed from cell to cell: it varies within these.
            if products is None or squares is None or plane.measured is None or _has_warps(image):
                continue
            usual = plane.measured.correlation
            several = [squares, *map(products, finer(size, usual)[1:])]
            correlation = correlation_in_cells(several, usual, subtraction.shape)
            if correlation is not None:
                correlations[k] = correlation
                variation = variation_of(squares.without(correlation))
            if variation is not None and variation.notable:
                record.warn(f"{image.name}: {variation}, which is not followed; --sci-warp or --tmpl-warp may tell how")
        if not any(isinstance(correlation, LocalCorrelation) for correlation in correlations):
            record.warn(
                "--noise local: nothing varies over the field that can be followed; each input has one correlation "
                "function, as with --noise measured"
            )
        return replace(
            noise,
            field=replace(noise.field, correlations=tuple(correlations)),
            shares=tuple(share for _, share in judged),
            variations=tuple(variations),
        )


#: The models by their names.
MODELS: dict[NoiseModelName, NoiseModel] = {"white": White(), "measured": Measured(), "local": Local()}


def _windows(subtraction: Subtraction, options: Options) -> SourceFreeWindows | None:
    """Where the images have no sources; None where nothing is left to be measured on them, known from other images."""
    if all(c.realisations for c in subtraction.contributions):
        return None
    given = zip((subtraction.science, subtraction.template), SIDES, strict=True)
    placed = [*given, *((c.exposure, c.side) for c in subtraction.contributions)]
    images = {id(e): (e, side) for e, side in placed if e is not None and e is not subtraction.difference}
    exposures, sides = zip(*images.values(), strict=True)
    return SourceFreeWindows(exposures, options.bad_planes, options.workers, sides)


def _has_warps(contribution: Contribution) -> bool:
    return contribution.exposure is not None and bool(contribution.exposure.warps) and not contribution.realisations


def _by_phase(
    contribution: Contribution,
    windows: SourceFreeWindows | None,
    subtraction: Subtraction,
    options: Options,
    record: Record,
) -> tuple[LocalNoise | None, float | None]:
    """The noise of an image whose resampling is known, and how much of what is expected of that is there.

    It varies with the sub-pixel phase, as it follows from that if the pixels agree, or else as they tell.
    """
    exposure = contribution.exposure
    if exposure is None or windows is None or not _has_warps(contribution):
        return None, None
    local = local_noise_of(exposure)
    level = None if exposure.variance_plane is None else plane_level(local.exposure, options.bad_planes)
    measured = windows.measure(exposure=local.exposure, level=level, structure=local.structure)
    agreement = agreement_with(local, measured, windows, level)
    remark = agreement.remark
    if remark is None:
        return told_by_level(local, measured, level), agreement.share
    fitted = regressed(local, windows, level, Halves.of(subtraction.shape))
    if fitted is None:
        remark += "; one correlation function, which is measured, stands for all of its field"
    else:
        remark = (
            f"its noise varies with the sub-pixel phase by {agreement.share:.0%} of what that makes of white noise: it "
            "was correlated before it was resampled, or interpolated otherwise; how it varies was measured"
        )
    record.warn(f"{exposure.name}: {remark}")
    return fitted, agreement.share


def _products(noise: Noise, subtraction: Subtraction, options: Options) -> Iterator[Callable[[int], Squares] | None]:
    """Lagged products of the noise of each image in squares of a size; None where it was not measured."""
    for image, plane in zip(subtraction.contributions, noise.planes, strict=True):
        level = None if image.exposure is None or image.exposure.variance_plane is None else plane.background
        if image.exposure is None or plane.measured is None:
            yield None
        elif image.realisations:
            pixels = partial(realised_pixels, image.realisations, image.exposure, level, options)
            yield partial(_in_squares, pixels, options.workers)
        elif noise.windows is not None:
            yield partial(_in_squares, partial(noise.windows.scaled, image.exposure, level), options.workers)
        else:
            yield None


def _in_squares(pixels: Callable[[], Iterable[tuple[Box, Array, Array]]], threads: int, size: int) -> Squares:
    return squares_of(pixels(), size, threads)


def _noise(
    subtraction: Subtraction,
    options: Options,
    record: Record,
    windows: SourceFreeWindows | None,
    local: Sequence[LocalNoise | None] = (),
) -> Noise:
    contributions = subtraction.contributions
    local = local or [None] * len(contributions)
    planes = tuple(
        plane_noise(c, subtraction.shape, options, record, windows, subtraction.unit, own)
        for c, own in zip(contributions, local, strict=True)
    )
    field = NoiseField(
        tuple(plane.variance for plane in planes),
        tuple(contribution.side for contribution in contributions),
        _log_ratio(contributions, planes, options),
        tuple(
            own.correlation if own is not None else None if plane.measured is None else plane.measured.correlation
            for plane, own in zip(planes, local, strict=True)
        ),
        tuple(None if own is None else own.response for own in local),
    )
    if windows is not None and not options.score:  # nothing is measured on the difference then
        windows.leave_out(Likelihood(subtraction.sides, subtraction.kernels, field))
    weighted = [
        (c.side, weight**2 * plane.variance)
        for c, weight, plane in zip(contributions, subtraction.weights, planes, strict=True)
    ]
    svar, tvar = (sum(variance for own, variance in weighted if own == side) for side in SIDES)
    return Noise(planes, field, svar, tvar, windows)


def _log_ratio(
    contributions: Sequence[Contribution], planes: Sequence[PlaneNoise], options: Options
) -> GridCoefficients | None:
    """How the ratio of the two sides' variances varies over the field; None if it does not, or cannot be told."""
    by_side = {c.side: (c, plane) for c, plane in zip(contributions, planes, strict=True)}
    if len(contributions) != 2 or len(by_side) != 2:
        return None
    (science, one), (template, other) = by_side["science"], by_side["template"]
    if science.exposure is None or template.exposure is None or not science.noise is template.noise is None:
        return None
    levels = one.background, other.background
    log_ratio = local_noise(science.exposure, template.exposure, levels, options.bad_planes, options.workers)
    if log_ratio is None:
        return None
    shift = np.log(other.factor / one.factor)
    return GridCoefficients(log_ratio.values + shift, log_ratio.x, log_ratio.y, log_ratio.order)
