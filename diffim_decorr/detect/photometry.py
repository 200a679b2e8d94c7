"""Flux of a point source at given positions, in parts of pixels, and how well it fits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diffim_decorr.detect.point_source import PointSource
from diffim_decorr.geometry import Box
from diffim_decorr.images.exposure import Exposure
from diffim_decorr.images.masks import plane_bits, unsigned
from diffim_decorr.noise.plane_level import PlaneLevel

__all__ = ("Measurement", "Photometer")

Array = NDArray[Any]

# Pixels with so much of the peak make up the core of a source, of which the flags and the χ² are.
_CORE = 0.05
_NOTHING = 1e-3


@dataclass(frozen=True)
class Measurement:
    """What is measured at a position.

    Parameters
    ----------
    flux, flux_err
        Of a point source, in the image's unit times a pixel; NaN and infinite where nothing is known.
    chi2, pixels
        Σ (D - f R)² / V over the usable pixels of its core, and how many these are.
    weight
        Share of the PSF's weight on usable pixels.
    bits
        Of the mask, of all pixels of the core.
    """

    flux: float = np.nan
    flux_err: float = np.inf
    chi2: float = np.nan
    pixels: int = 0
    weight: float = 0.0
    bits: int = 0


class Photometer:
    """Measures point sources in an image.

    Parameters
    ----------
    exposure
        The image, with its variance.
    source
        What a point source becomes in it.
    level
        Which of the variances can be believed.
    unusable
        Mask planes whose pixels have no weight.
    """

    def __init__(self, exposure: Exposure, source: PointSource, level: PlaneLevel, unusable: tuple[str, ...]) -> None:
        self._exposure, self.source, self._level = exposure, source, level
        self._unusable = plane_bits(exposure.mask_planes, unusable)

    def __call__(self, x: float, y: float) -> Measurement:
        """Measure at a position, 0-based pixels; nothing where the source is outside the image as a whole."""
        image, x0, y0 = self.source.at(x, y)
        window = Box(x0, y0, x0 + 1, y0 + 1).grown(self.source.reach)
        inside = window.clipped(self._exposure.shape)
        if min(inside.shape) < 1:
            return Measurement()
        own = image[inside.shifted(-window.x0, -window.y0).slices]
        data, weight, bits = self.pixels(inside)
        information, total = float((own**2 * weight).sum()), float((image**2).sum())
        share = float((own**2)[weight > 0].sum()) / total
        core = own > _CORE * image.max()
        found = int(np.bitwise_or.reduce(bits[core], initial=0)) if bits is not None else 0
        if share < _NOTHING:
            return Measurement(weight=share, bits=found)
        flux = float((own * weight * data).sum()) / information
        used = core & (weight > 0)
        chi2 = float((weight * (data - flux * own) ** 2)[used].sum())
        return Measurement(flux, information**-0.5, chi2, int(np.count_nonzero(used)), share, found)

    @property
    def shape(self) -> tuple[int, int]:
        """Of the image, (ny, nx)."""
        return self._exposure.shape

    def pixels(self, box: Box) -> tuple[Array, Array, Array | None]:
        """Pixels of a box, 0 where they have no weight, their weights 1/V, and the bits of the mask."""
        exposure = self._exposure
        assert exposure.variance_plane is not None
        single = exposure.image_plane.read(box).astype(np.float32)
        variance = exposure.variance_plane.read(box).astype(np.float64)
        usable = self._level.known(variance)
        missing = exposure.absent(single)
        if missing is not None:
            usable &= ~missing
        bits = None
        if exposure.mask_plane is not None:
            bits = unsigned(exposure.mask_plane.read(box)).astype(np.int64)
            usable &= (bits & self._unusable) == 0
        weight = np.where(usable, 1 / np.where(usable, variance, 1), 0)
        return np.where(usable, single, 0).astype(np.float64), weight, bits

    def names(self, bits: int) -> str:
        """The names of mask planes, with | between them."""
        return "|".join(name for name, bit in self._exposure.mask_planes.items() if bits >> bit & 1)
