"""Whom to believe about the noise where inputs and difference disagree: in crowded fields, the difference.

In the inputs there is no room between the stars there, and those too faint to be told from noise are taken for it. The
difference is without them. But what is whitened by its own noise looks white whatever is wrong with it. So it is
believed only where it is what the kernel makes of the two images, which can be computed; and on the same pixels it is
tested whether the variance planes tell the noise of what light there is.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diffim_decorr.calibrate import Calibration, scatter_of
from diffim_decorr.difference.remainder import Remainder
from diffim_decorr.difference.subtraction import Subtraction
from diffim_decorr.engine.field_work import FieldWork
from diffim_decorr.engine.job import Job
from diffim_decorr.geometry import Box
from diffim_decorr.images.background import local_background
from diffim_decorr.noise.chosen import ChosenPixels, snr_of
from diffim_decorr.noise.correlation import max_abs_rho
from diffim_decorr.noise.crowded import FEWEST, departure, own_correlation, quiet_pixels, trend, without_slope
from diffim_decorr.noise.likelihood import Likelihood
from diffim_decorr.noise.models import MODELS
from diffim_decorr.noise.windows import CrowdedError, sample_boxes
from diffim_decorr.options import Options
from diffim_decorr.record import Measured, Reason, Record
from diffim_decorr.whiten import Whitening, decorrelation_of, job_of, recipe_of, remarks_of, whitening_of

__all__ = ("settled_whitening",)

Array = NDArray[Any]

# By how much inputs and difference may disagree about the noise: in its variance, or in its spectrum, as an rms. What
# is between that and the correlation that matters in a result is whitened, but not without a question.
_DISAGREEMENT, _CORRELATION = 0.1, 0.02
# Of the difference's noise that may not come from the inputs as the kernel has them, without a question and at all.
_REMAINDER, _FOREIGN = 0.05, 0.3
_WINDOWS = 9  # are enough to see that
_TREND = 0.03  # by how much its scatter may change with the light of sources
_CHANCE = 4.0  # errors that figures may be off by besides
# Planes that mark sources do not matter to what has none.
_OF_SOURCES = ("DETECTED", "DETECTED_NEGATIVE")


def settled_whitening(subtraction: Subtraction, options: Options, record: Record) -> Whitening:
    """How a subtraction is to be whitened: by the noise of the inputs or, where that is not to be had, by its own.

    Raises
    ------
    InputError
        If neither can be told.
    """
    said = len(record.warnings)
    try:
        made = whitening_of(subtraction, options, record)
    except CrowdedError as error:
        own = None if options.score else _by_itself(subtraction, options, record, np.inf)
        if not isinstance(own, Whitening):
            raise
        remedy = "the noise was taken from the difference, which alone tells it; compare the result with --noise white"
        few = Reason("check", "noise.pixels", error.pixels, np.nan, np.nan, error.cause, remedy)
        return replace(own, doubts=(few, *own.doubts))
    if made.fitted is None:
        return made
    disagreement = _disagreement(made, made.fitted)
    # A variance from the median deviation of n Gaussian numbers has an error of 2.33 / √n.
    if disagreement > _DISAGREEMENT + _CHANCE * 2.33 / np.sqrt(max(made.fitted.pixels, 1)):
        # Nothing that was found with the noise of the inputs holds with the difference's.
        figures, warnings = (record.noise, record.psi), record.warnings[said:]
        del record.warnings[said:]
        own = _by_itself(subtraction, options, record, disagreement)
        if isinstance(own, Whitening):
            record.warn(
                f"the noise measured on the inputs is not that of the difference, by {disagreement:.0%}, as where "
                "faint stars pass for noise in crowded fields: that of the difference itself was taken, which is what "
                "the kernel makes of the inputs"
            )
            return own
        record.noise, record.psi = figures
        record.warnings[said:] = warnings
        return replace(made, doubts=(own,))
    if made.residual is not None and max_abs_rho(made.residual) > _CORRELATION:
        with record.timed("noise"):
            left = _unexplained(subtraction, options, made.job, made.fitted)
        if left > _REMAINDER:  # false where nothing could be measured
            return replace(made, doubts=(_foreign(left),))
    return made


def _disagreement(made: Whitening, fitted: ChosenPixels) -> float:
    """By how much the noise of the difference is not what that of the inputs makes it."""
    measured = scatter_of(made.job, fitted) ** 2 if made.calibration is None else made.calibration.measured
    # What a local model leaves on average over the field is no more right for any place.
    local = math.isfinite(made.noise.field.period)
    residual = None if local else made.residual
    return max(abs(measured - 1), 0.0 if residual is None else departure(residual, fitted.pixels))


def _by_itself(subtraction: Subtraction, options: Options, record: Record, disagreement: float) -> Whitening | Reason:
    """How a difference that is not what the inputs tell is to be whitened, or why it is not to be believed."""
    with record.timed("noise"):
        noise = MODELS["white"].of(subtraction, options, record)
        background = local_background(subtraction.difference, (noise.svar + noise.tvar) ** 0.5)
    recipe = recipe_of(options)
    with record.timed("psi"):
        decorrelation = decorrelation_of(subtraction, noise, options, recipe, record.steps("psi"))
        remarks = tuple(remarks_of(subtraction, noise, options, recipe, decorrelation))
    job = job_of(subtraction, noise, decorrelation, options, background)
    with record.timed("noise"):
        read = _reading(subtraction, options, job)
        quiet = quiet_pixels(subtraction.shape, read, options.workers)
        if quiet.pixels < FEWEST:
            text = f"only {quiet.pixels} pixels tell the noise of the difference"
            return Reason("check", "noise.pixels", quiet.pixels, np.nan, FEWEST, text, "look at the masks")
        left = _unexplained(subtraction, options, job, quiet)
        # As an amplitude it changes the spectrum by twice as much at the most. If that is half of what is to be
        # explained, it is the kernel.
        if not (left <= _FOREIGN and 2 * left + left**2 <= disagreement / 2):
            return _foreign(left)
        correlation = own_correlation(quiet.covariance(lambda box: snr_of(*read(box))))
    with record.timed("psi"):
        further = replace(recipe, residual=correlation, least=0.0)
        decorrelation = decorrelation_of(subtraction, noise, options, further, record.steps("psi"))
    job = job_of(subtraction, noise, decorrelation, options, background)
    with record.timed("noise"):
        calibration = None if options.calibrate == "none" else Calibration(scatter_of(job, quiet) ** 2)
        likelihood = Likelihood(subtraction.sides, subtraction.kernels, noise.field)
        images = subtraction.science, subtraction.template
        rise = trend(quiet, FieldWork(job, quiet.boxes[0].shape).pixels, images, _planes(options), likelihood)
    for remark in remarks:
        record.warn(remark)
    if options.calibrate == "local":
        record.warn(
            "--calibrate local: where the difference tells its noise itself, the variance is calibrated as a whole"
        )
    record.noise = replace(
        noise.figures(subtraction.contributions, options, subtraction.unit),
        source="difference",
        calibration=None if calibration is None else calibration.factor,
        residual_max_abs_rho=max_abs_rho(correlation),
        unexplained=left,
        trend=rise,
    )
    record.psi = decorrelation.figures()
    job = job_of(subtraction, noise, decorrelation, options, background, calibration)
    doubts = tuple(_doubts(rise, left))
    # There are too few such pixels to hold half of them back: a filter from so few would leave too much correlation.
    return Whitening(noise, decorrelation, job, calibration, doubts=doubts, crowded=True)


def _unexplained(subtraction: Subtraction, options: Options, job: Job, pixels: ChosenPixels) -> float:
    """Scatter of what is left of a difference without the images that it was made of, over its own, both whitened."""
    most = sorted(range(len(pixels.use)), key=lambda k: -int(pixels.use[k].sum()))[:_WINDOWS]
    some = ChosenPixels([pixels.boxes[k] for k in most], [pixels.use[k] for k in most], pixels.threads, pixels.coarse)
    whole, rest = (
        _reading(subtraction, options, replace(job, image=image)) for image in (job.image, Remainder(subtraction))
    )
    left = some.scatter(lambda box: without_slope(snr_of(*rest(box))))
    return left / some.scatter(lambda box: snr_of(*whole(box)))


def _foreign(left: float) -> Reason:
    """The difference was not made so."""
    text = (
        "the noise of the difference is not what the inputs and the kernel make it, and taken off as the kernel has "
        f"them they leave {left:.0%} of it"
    )
    remedy = "check that the kernel, --convolved and the scale are those that the difference was made with"
    return Reason("check", "noise.unexplained", left, 0.0, _REMAINDER, text, remedy)


def _doubts(rise: Measured, left: float) -> Iterator[Reason]:
    """What kernel and variance planes do not tell."""
    if left > _REMAINDER:
        yield _foreign(left)
    limit = _TREND + _CHANCE * rise.error
    if abs(rise.value - 1) > limit:
        text = f"the noise of the difference is {rise.value:.2f} times what its variance is, from dark to bright pixels"
        remedy = (
            "check that the variance planes have the photons of sources (--sci-gain, --tmpl-gain), and the subtraction "
            "for residuals"
        )
        yield Reason("check", "noise.trend", rise.value, 1.0, 1 + np.copysign(limit, rise.value - 1), text, remedy)


def _planes(options: Options) -> list[str]:
    """Mask planes of pixels that are not used."""
    return [plane for plane in (*options.bad_planes, *options.replace_planes) if plane not in _OF_SOURCES]


def _reading(subtraction: Subtraction, options: Options, job: Job) -> Callable[[Box], tuple[Array, Array]]:
    """What gives the decorrelated image and its variance within a box, NaN where a mask plane is set."""
    work = FieldWork(job, sample_boxes(subtraction.shape)[0].shape)
    bits = subtraction.masks.bits(_planes(options))

    def read(box: Box) -> tuple[Array, Array]:
        image, variance = work.pixels(box)
        return np.where(subtraction.masks.read(box) & bits, np.float32(np.nan), image), variance

    return read
