"""What is assumed of the inputs' noise: one class for each model.

Every model says how much noise each image has, how the ratio of the two sides varies over the field, and how the noise
of each image is correlated. A new one is a class here, and a word in the options.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import final

import numpy as np

from diffim_decorr.difference.contributions import Contribution
from diffim_decorr.difference.subtraction import Subtraction
from diffim_decorr.errors import UsageError
from diffim_decorr.kernels.grid import GridCoefficients
from diffim_decorr.noise.correlation import max_abs_rho
from diffim_decorr.noise.estimate import PlaneNoise, plane_noise
from diffim_decorr.noise.field import NoiseField
from diffim_decorr.noise.likelihood import Likelihood
from diffim_decorr.noise.local import LocalNoise, agreement_with, local_noise_of
from diffim_decorr.noise.plane_level import plane_level
from diffim_decorr.noise.ratio import local_noise
from diffim_decorr.noise.windows import SourceFreeWindows
from diffim_decorr.options import SIDES, NoiseModelName, Options
from diffim_decorr.record import ImageNoise, NoiseFigures, Record

__all__ = ("MODELS", "Noise", "NoiseModel")


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
    """

    planes: tuple[PlaneNoise, ...]
    field: NoiseField
    svar: float
    tvar: float
    windows: SourceFreeWindows | None = None
    shares: tuple[float | None, ...] = ()

    def figures(self, contributions: Sequence[Contribution], options: Options, unit: float = 1.0) -> NoiseFigures:
        """What is to be recorded of it, for pixels that have been multiplied by a unit."""
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
            )
            for contribution, plane, share in zip(
                contributions, self.planes, self.shares or [None] * len(self.planes), strict=True
            )
            if plane.measured is not None
        )
        given = tuple(any(c.side == side and c.noise is not None for c in contributions) for side in SIDES)
        return NoiseFigures(self.svar / unit**2, self.tvar / unit**2, given[0], given[1], options.noise, images)


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
        # Nothing is left to be measured on the images where their noise is known from others.
        known = all(c.realisations for c in subtraction.contributions)
        return _noise(subtraction, options, record, None if known else _windows(subtraction, options))


@final
class Local(NoiseModel):
    """The noise of inputs whose resampling is known varies with the sub-pixel phase; that of the others is measured.

    An image that does not agree with what is expected of it has one correlation function, which is measured.
    """

    def of(self, subtraction: Subtraction, options: Options, record: Record) -> Noise:
        if not any(c.exposure is not None and c.exposure.warps for c in subtraction.contributions):
            raise UsageError(
                "local noise needs to know how an image was resampled: --sci-warp or --tmpl-warp KIND:NATIVE, or the "
                "warps of an exposure; --noise measured takes one correlation function for all of the field"
            )
        windows = _windows(subtraction, options)
        judged = [_local(c, windows, options, record) for c in subtraction.contributions]
        found = [local for local, _ in judged]
        contributions = tuple(
            c if local is None else replace(c, exposure=local.exposure)
            for c, local in zip(subtraction.contributions, found, strict=True)
        )
        noise = _noise(replace(subtraction, contributions=contributions), options, record, windows, found)
        return replace(noise, shares=tuple(share for _, share in judged))


#: The models by their names.
MODELS: dict[NoiseModelName, NoiseModel] = {"white": White(), "measured": Measured(), "local": Local()}


def _windows(subtraction: Subtraction, options: Options) -> SourceFreeWindows:
    exposures = (subtraction.science, subtraction.template, *(c.exposure for c in subtraction.contributions))
    images = {id(e): e for e in exposures if e is not None and e is not subtraction.difference}
    return SourceFreeWindows(list(images.values()), options.bad_planes, options.workers)


def _local(
    contribution: Contribution, windows: SourceFreeWindows, options: Options, record: Record
) -> tuple[LocalNoise | None, float | None]:
    """The noise of an image whose resampling is known, if its pixels agree with that, and how much of it is there."""
    exposure = contribution.exposure
    if exposure is None or not exposure.warps or contribution.realisations:
        return None, None
    local = local_noise_of(exposure)
    level = None if exposure.variance_plane is None else plane_level(local.exposure, options.bad_planes)
    measured = windows.measure(exposure=local.exposure, level=level, structure=local.structure)
    agreement = agreement_with(local, measured, windows, level)
    remark = agreement.remark
    if remark is None:
        return local, agreement.share
    record.warn(f"{exposure.name}: {remark}; one correlation function, which is measured, stands for all of its field")
    return None, agreement.share


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
        plane_noise(
            c, subtraction.shape, options, record, windows, subtraction.unit, None if own is None else own.structure
        )
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
