"""Pixels on the scale of asinh magnitudes, as Pan-STARRS stores its stacks, made linear.

References
----------
Lupton, Gunn & Szalay 1999, AJ 118, 1406. "PS1 stack images", https://outerspace.stsci.edu/display/PANSTARRS: pixels v
stand for ``BOFFSET + 2 BSOFTEN sinh(v / a)`` with ``a = 2.5 log10(e)``.
"""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

from diffim_decorr.errors import InputError
from diffim_decorr.geometry import Box
from diffim_decorr.images.planes import DerivedPlane, Plane

__all__ = ("linear",)

Array = NDArray[Any]

_CARDS = ("BOFFSET", "BSOFTEN")
_UNIT = 2.5 * math.log10(math.e)
# That many magnitudes are 10^12 softenings, the softening being about the noise: no detector has them.
_LARGEST = 30.0
_SAMPLE = 1 << 20  # pixels


def linear(plane: Plane, header: fits.Header, name: str, remarks: list[str]) -> Plane:
    """The pixels of an image on a linear scale.

    Parameters
    ----------
    plane, header, name
        The image.
    remarks
        Takes what a user should know.

    Raises
    ------
    InputError
        If the cards that say how pixels are scaled are not complete.
    """
    if not any(key in header for key in _CARDS):
        return plane
    values = [header.get(key) for key in _CARDS]
    for key, value in zip(_CARDS, values, strict=True):
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise InputError(
                f"{name}: BSOFTEN and BOFFSET should say how its pixels are scaled with asinh, but {key} is {value!r} "
                "(store it on a linear scale, without these cards)"
            )
    largest = _largest(plane)
    if largest > _LARGEST:
        remarks.append(
            f"{name}: has cards of asinh scaling, BSOFTEN and BOFFSET, but a pixel of {largest:.4g}, which is none: it "
            "is taken for linear (remove the cards)"
        )
        return plane
    remarks.append(
        f"{name}: its pixels are scaled with asinh, by the cards BSOFTEN and BOFFSET, and are made linear (remove the "
        "cards if they are linear already)"
    )
    offset, softening = map(float, values)
    return DerivedPlane(plane, partial(_from_asinh, offset=offset, softening=softening))


def _largest(plane: Plane) -> float:
    """The largest absolute value in some of the rows."""
    ny, nx = plane.shape
    rows = plane.read_every(Box(0, 0, nx, ny), (max(1, ny * nx // _SAMPLE), 1))
    return float(np.fmax.reduce(np.abs(rows), axis=None, initial=0.0))


def _from_asinh(pixels: Array, offset: float, softening: float) -> Array:
    with np.errstate(over="ignore"):
        scaled: Array = offset + 2 * softening * np.sinh(pixels / pixels.dtype.type(_UNIT))
    return scaled
