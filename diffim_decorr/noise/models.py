"""What is assumed of the inputs' noise: one class for each model.

Every model says how much noise each image has, how the ratio of the two sides varies over the field, and how the noise
of each image is correlated. A new one is a class here, and a word in the options.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import numpy as np

from diffim_decorr.difference.contributions import Contribution
from diffim_decorr.difference.subtraction import Subtraction
from diffim_decorr.kernels.grid import GridCoefficients
from diffim_decorr.noise.correlation import max_abs_rho
from diffim_decorr.noise.estimate import PlaneNoise, plane_noise
from diffim_decorr.noise.field import NoiseField
from diffim_decorr.noise.likelihood import Likelihood
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
    """

    planes: tuple[PlaneNoise, ...]
    field: NoiseField
    svar: float
    tvar: float
    windows: SourceFreeWindows | None = None

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
                plane.measured.source,
            )
            for contribution, plane in zip(contributions, self.planes, strict=True)
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
        if all(c.realisations for c in subtraction.contributions):
            return _noise(subtraction, options, record, None)
        exposures = (subtraction.science, subtraction.template, *(c.exposure for c in subtraction.contributions))
        images = {id(e): e for e in exposures if e is not None and e is not subtraction.difference}
        windows = SourceFreeWindows(list(images.values()), options.bad_planes, options.workers)
        noise = _noise(subtraction, options, record, windows)
        if not options.score:  # nothing is measured on the difference then
            windows.leave_out(Likelihood(subtraction.sides, subtraction.kernels, noise.field))
        return noise


#: The models by their names.
MODELS: dict[NoiseModelName, NoiseModel] = {"white": White(), "measured": Measured()}


def _noise(subtraction: Subtraction, options: Options, record: Record, windows: SourceFreeWindows | None) -> Noise:
    contributions = subtraction.contributions
    planes = tuple(plane_noise(c, subtraction.shape, options, record, windows, subtraction.unit) for c in contributions)
    field = NoiseField(
        tuple(plane.variance for plane in planes),
        tuple(contribution.side for contribution in contributions),
        _log_ratio(contributions, planes, options),
        tuple(None if plane.measured is None else plane.measured.correlation for plane in planes),
    )
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
