"""What the variance plane of one image is worth: its background level, and how the measured noise compares with it."""

from __future__ import annotations

from dataclasses import dataclass, replace

from diffim_decorr.difference.contributions import Contribution
from diffim_decorr.errors import InputError
from diffim_decorr.images.exposure import Exposure
from diffim_decorr.images.planes import ConstantPlane, Plane
from diffim_decorr.noise.background import measured_variance
from diffim_decorr.noise.local import LocalNoise
from diffim_decorr.noise.measured import MeasuredNoise, plateau_warning
from diffim_decorr.noise.plane_level import PlaneLevel, plane_level
from diffim_decorr.noise.realisations import realised_noise
from diffim_decorr.noise.unsmoothed import unsmoothed
from diffim_decorr.noise.windows import SourceFreeWindows
from diffim_decorr.options import Options
from diffim_decorr.record import Record

__all__ = ("PlaneNoise", "plane_noise")

# More pixels without a variance than this are worth a warning.
_NOTABLE = 1e-3


@dataclass(frozen=True, eq=False)
class PlaneNoise:
    """The noise of one image, and its variance plane.

    Parameters
    ----------
    variance
        Background variance that ψ is made for, in the image's unit squared.
    plane
        The variance plane, which is propagated; where noise was measured, of the pixels before they were correlated.
    factor
        By which its values are multiplied, so that they agree with the measured noise.
    background
        Its background value, before multiplication, and which of its values can be believed.
    measured
        Measured noise, if it was measured.
    """

    variance: float
    plane: Plane
    factor: float
    background: PlaneLevel
    measured: MeasuredNoise | None = None

    @property
    def level(self) -> float:
        """The plane's background value."""
        return self.background.level


def plane_noise(
    contribution: Contribution,
    shape: tuple[int, int],
    options: Options,
    record: Record,
    windows: SourceFreeWindows | None = None,
    unit: float = 1.0,
    local: LocalNoise | None = None,
) -> PlaneNoise:
    """The noise of a contribution: as given, or that of its variance plane, or of its pixels.

    Parameters
    ----------
    contribution
        The image.
    shape
        Of the difference, (ny, nx).
    options
        Which masks matter.
    record
        Takes what the user should know.
    windows
        Source-free windows, if the noise is to be measured there.
    unit
        By what the pixels have been multiplied, for messages.
    local
        What is expected of it where its resampling is known.

    Raises
    ------
    InputError
        If nothing tells how much noise there is.
    """
    exposure = contribution.exposure
    # The digits of a variance that was given come back from its root.
    given = None if contribution.noise is None else float(f"{contribution.noise**2:.15g}")
    if exposure is None:
        if given is None:
            raise InputError(f"{contribution.name}: needs a file or a noise figure")
        return _constant(given, shape)
    plane = exposure.variance_plane
    level = None if plane is None else _level(exposure, options, given)
    if level is not None and level.unknown > _NOTABLE:
        record.warn(
            f"{exposure.name}: {level.unknown:.1%} of the pixels that hold data have no variance that can be believed: "
            "0, negative, not finite, or out of all proportion to that of the background; where it is not above 0, "
            "or next to 0, the background's is taken instead, elsewhere the result's is infinite or NaN (a mask of "
            "such pixels replaces and flags them)"
        )
    measured = None
    if contribution.realisations:
        measured = realised_noise(contribution.realisations, exposure, level, options, record, unit)
        if given is not None:
            measured = replace(measured, variance=given)
    elif windows is not None:
        measured = windows.measure(exposure, level, None if local is None else local.structure)
        remark = plateau_warning(exposure.name, measured)
        if remark:
            record.warn(remark)
        if given is not None:
            measured = replace(measured, variance=given)
    if plane is not None and level is not None:
        if measured is not None:
            plane = unsmoothed(plane, measured.correlation, None if local is None else local.response)
        if measured is not None and given is None:
            return PlaneNoise(measured.variance, plane, measured.variance / level.level, level, measured)
        return PlaneNoise(level.level if given is None else given, plane, 1.0, level, measured)
    if measured is not None:
        return _constant(measured.variance, shape, measured)
    if given is not None:
        return _constant(given, shape)
    variance = measured_variance(exposure, options.bad_planes)
    option, gain = ("--svar", "--sci-gain") if contribution.side == "science" else ("--tvar", "--tmpl-gain")
    record.warn(
        f"{exposure.name}: has no variance plane; a constant variance of {variance / unit**2:.6g} was measured from "
        f"its background ({option}, {gain} or a variance, noise or weight file would replace it)"
    )
    return _constant(variance, shape)


def _constant(variance: float, shape: tuple[int, int], measured: MeasuredNoise | None = None) -> PlaneNoise:
    """Noise of the same variance everywhere."""
    return PlaneNoise(variance, ConstantPlane(variance, shape), 1.0, PlaneLevel(variance), measured)


def _level(exposure: Exposure, options: Options, given: float | None) -> PlaneLevel:
    """Background value of the variance plane."""
    try:
        return plane_level(exposure, options.bad_planes)
    except InputError:
        # A plane without a usable pixel is no worse than none, where the noise was given.
        if given is None:
            raise
        return PlaneLevel.of(given)
