"""Variance from gain and read noise: that of the photons in each pixel.

With gain g in electrons per unit of the pixels and read noise R in electrons an image I with its sky in it has the
variance

    V = max(I, 0) / g + (R / g)²

An image whose sky has been subtracted has lost the count of the sky's photons, but not their noise. Without R the
background variance is therefore measured from the pixels, and what is above the level L of the background adds its own,

    V = V_background + (I - L) / g

which holds with the sky and without it. Away from sources I is the image smoothed with about the PSF:
variances of single pixels would go up and down with their noise, so that S/N was biased, and taking only what is above
L would add that noise to the mean.

References
----------
Howell 2006, Handbook of CCD Astronomy, section 4.4 (the CCD equation).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from diffim_decorr.difference.subtraction import Subtraction
from diffim_decorr.geometry import Box
from diffim_decorr.images.exposure import Exposure
from diffim_decorr.images.planes import Plane
from diffim_decorr.noise.background import Background, measured_background
from diffim_decorr.noise.sources import SOURCE_REACH, mask_sources, smoothed
from diffim_decorr.options import Options
from diffim_decorr.record import Record

__all__ = ("PhotonVariance", "with_photon_noise")

Array = NDArray[Any]

# Model and pixels may differ by so much before it is said.
_NOTABLE = 1.2
_SMOOTHED = 0.2  # is what smoothing leaves of the noise of a pixel


@final
@dataclass(frozen=True, eq=False)
class PhotonVariance(Plane):
    """The variance plane of an image, from its photons.

    Parameters
    ----------
    exposure
        The image.
    gain
        Electrons per unit of its pixels.
    zero, base
        The value at which there are no photons to count, and the variance there.
    level, sigma
        The background's value and the noise of a pixel.
    dark
        How far below zero photons may be missing.
    """

    exposure: Exposure
    gain: float
    zero: float
    base: float
    level: float
    sigma: float
    dark: float

    @property
    def shape(self) -> tuple[int, int]:
        return self.exposure.shape

    def read(self, box: Box) -> Array:
        seen = box.grown(SOURCE_REACH).clipped(self.shape)
        above = self.exposure.image_plane.read(seen).astype(np.float32)
        missing = self.exposure.absent(above)
        above -= np.float32(self.level)
        if missing is not None:
            above[missing] = 0
        smooth, faint = smoothed(above), np.ones(seen.shape, dtype=bool)
        mask_sources(faint, smooth, _SMOOTHED * self.sigma)
        own = box.shifted(-seen.x0, -seen.y0).slices
        above = np.where(faint, smooth, above)[own]
        photons = np.maximum(above + np.float32(self.level - self.zero), np.float32(-self.dark))
        variance: Array = np.float32(self.base) + photons * np.float32(1 / self.gain)
        return variance

    def held(self, y0: int, y1: int) -> Any:
        rows = max(0, y0 - SOURCE_REACH), min(self.shape[0], y1 + SOURCE_REACH)
        return self.exposure.image_plane.held(*rows)


def with_photon_noise(subtraction: Subtraction, options: Options, record: Record) -> Subtraction:
    """A subtraction in which images whose gain is given have the variance plane that follows from it.

    Where model and pixels do not agree on the background's variance, that goes to the record.

    Raises
    ------
    InputError
        If the background cannot be measured.
    """
    new: dict[int, Exposure] = {}
    for exposure, gain, read_noise, given, side in (
        (subtraction.science, options.sci_gain, options.sci_read_noise, options.svar, "sci"),
        (subtraction.template, options.tmpl_gain, options.tmpl_read_noise, options.tvar, "tmpl"),
    ):
        if gain is None:
            continue
        unit = subtraction.unit
        background = measured_background(exposure, options.bad_planes)
        plane = _plane(exposure, gain / unit, read_noise, background, None if given is None else given * unit**2)
        remark = _remark(plane, read_noise, background, side, unit)
        if remark:
            record.warn(f"{exposure.name}: {remark}")
        new[id(exposure)] = exposure.with_variance(plane)
    contributions = tuple(
        c if c.exposure is None else replace(c, exposure=new.get(id(c.exposure), c.exposure))
        for c in subtraction.contributions
    )
    return replace(
        subtraction,
        science=new.get(id(subtraction.science), subtraction.science),
        template=new.get(id(subtraction.template), subtraction.template),
        contributions=contributions,
    )


def _plane(
    exposure: Exposure, gain: float, read_noise: float | None, background: Background, given: float | None
) -> PhotonVariance:
    level, sigma = background.level, background.variance**0.5
    if read_noise is not None:
        return PhotonVariance(exposure, gain, 0.0, (read_noise / gain) ** 2, level, sigma, 0.0)
    base = given or background.variance
    # Where there is less of a sky that is still in the image there is less noise; of what was subtracted, or added, the
    # noise stays.
    has_sky = 0 < level / gain <= _NOTABLE * base
    return PhotonVariance(exposure, gain, level, base, level, sigma, max(level if has_sky else 0.0, sigma))


def _remark(
    plane: PhotonVariance, read_noise: float | None, background: Background, side: str, unit: float
) -> str | None:
    """What is to be said of a model that the pixels contradict."""
    photons = max(background.level, 0.0) / plane.gain
    pixels = f"its pixels scatter with {background.variance / unit**2:.4g}"
    too_much = (
        "the gain is not in electrons per unit of the pixels (of an average of N images it is N times that of one, of "
        "counts per second the exposure time times that), a constant was added to the image, or it was resampled"
    )
    if read_noise is None:
        if photons <= _NOTABLE * background.variance:
            return None
        return (
            f"by --{side}-gain the photons of its level of {background.level / unit:.4g} alone have a variance of "
            f"{photons / unit**2:.4g}, but {pixels}: {too_much}"
        )
    model = photons + plane.base
    if background.variance / _NOTABLE <= model <= background.variance * _NOTABLE:
        return None
    too_little = (
        f"the sky has been subtracted (without --{side}-read-noise the photons of sources are added to what is "
        "measured), or gain or read noise are not those of these pixels"
    )
    return (
        f"--{side}-gain and --{side}-read-noise give its background a variance of {model / unit**2:.4g}, but {pixels}: "
        f"{too_much if model > background.variance else too_little}"
    )
