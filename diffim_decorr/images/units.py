"""The unit that is worked in: that of the images, or where squares of it do not fit single precision, a multiple.

The noise of images in erg/s/cm2/Hz is of 1e-25, its variance of 1e-50; the least normal number of single precision is
1e-38. Multiplied with a power of two the pixels keep all their digits.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from diffim_decorr.errors import InputError
from diffim_decorr.geometry import Box
from diffim_decorr.images.exposure import Exposure

__all__ = ("working_unit",)

_ROWS = 33  # tell the scale of an image
# Noise between these has squares, and products with squares of kernels, that fit; that beyond the others does not fit
# itself.
_LEAST, _MOST = 1e-12, 1e12
_TINY, _HUGE = 1e-36, 1e30


def working_unit(exposures: Sequence[Exposure]) -> float:
    """What pixels are to be multiplied with before they are worked on: 1, or a power of two.

    Parameters
    ----------
    exposures
        Images of one unit; the first that has any noise tells its scale.

    Raises
    ------
    InputError
        If the pixels themselves do not fit single precision.
    """
    for exposure in exposures:
        scale = _scale(exposure)
        if scale > 0:
            if not _TINY < scale < _HUGE:
                raise InputError(
                    f"{exposure.name}: its noise is of {scale:.1g}, which single precision does not hold: multiply the "
                    "images by a factor, to another unit"
                )
            return 1.0 if _LEAST < scale < _MOST else float(2.0 ** -np.round(np.log2(scale)))
    return 1.0


def _scale(exposure: Exposure) -> float:
    """How much the pixels of an image scatter, to an order of magnitude; 0 if they do not."""
    ny, nx = exposure.shape
    rows = np.unique(np.linspace(0, ny - 1, _ROWS).astype(int))
    pixels = np.concatenate([exposure.image_plane.read(Box(0, y, nx, y + 1)).ravel() for y in rows])
    pixels = pixels[np.isfinite(pixels)].astype(np.float64)
    for fill in exposure.fills:
        pixels = pixels[~fill.like(pixels)]
    if not len(pixels):
        return 0.0
    residuals = np.abs(pixels - np.median(pixels))
    return float(np.median(residuals) or residuals.mean())
