"""Reading how an image was resampled: the interpolation, and a file with the WCS of the pixels before."""

from __future__ import annotations

from typing import Any

import numpy as np

from diffim_decorr.errors import InputError
from diffim_decorr.images.exposure import Exposure
from diffim_decorr.images.warps import KINDS, Warp
from diffim_decorr.images.wcs import pixels_of
from diffim_decorr.io.companions import main_image
from diffim_decorr.io.hdus import hdu_label, open_fits, select_hdu, split_spec

__all__ = ("read_warp",)

# Knots of the map along an axis to begin with and at most, and how far off it may be between them, in pixels.
_KNOTS, _MOST_KNOTS, _ACCURATE = 17, 129, 0.005
# By how much pixels before and after may differ in length, and nearly none of both for such as were not resampled.
_SCALES = {"drizzle": 4.0}
_LARGEST_SCALE = 2.0
_SAME = 0.01


def read_warp(text: str, exposure: Exposure) -> Warp:
    """Read how an image, or one of those that it was combined from, was resampled.

    Parameters
    ----------
    text
        ``KIND:NATIVE``, with a KIND of ``bilinear``, ``lanczos3``, ``lanczos4``, ``cubic`` (the spline through the
        pixels) or ``drizzle,PIXFRAC``, and the name of a FITS file, ``name.fits[EXT]`` where the HDU matters, whose WCS
        is that of the pixels before.
    exposure
        The image as it is now, with its header.

    Returns
    -------
    Warp
        To be given to an exposure, see `Exposure.with_warps`.

    Raises
    ------
    InputError
        If one of both has no WCS, or they do not fit together.

    Examples
    --------
    >>> science = read_exposure("science.fits")  # doctest: +SKIP
    >>> science = science.with_warps([read_warp("lanczos3:raw.fits[SCI]", science)])  # doctest: +SKIP
    """
    kind, _, native = text.partition(":")
    kind, _, pixfrac = kind.partition(",")
    drop = _pixfrac(text, kind, pixfrac)
    path, extension = split_spec(native)
    with open_fits(path) as hdus:
        hdu = main_image(path, hdus) if extension is None else select_hdu(path, hdus, extension)
        name = hdu_label(path, hdus, hdu)
        headers = [hdu.header, hdus[0].header]
        header = next((header for header in headers if "CTYPE1" in header), hdu.header)
        size = tuple(int(n) for n in getattr(hdu, "shape", ())[-2:])
    if len(size) != 2:
        raise InputError(f"{name}: holds no image, whose size and WCS are those of the pixels before resampling")
    mapping = pixels_of(exposure.header, header)
    if mapping is None:
        raise InputError(
            f"{name}: its WCS does not tell where the pixels of {exposure.name} were before they were resampled: one "
            "of both has none of the sky, or they are in different systems of coordinates"
        )
    return _checked(_accurate(kind, mapping, exposure, size, drop, name), exposure)


def _pixfrac(text: str, kind: str, pixfrac: str) -> float:
    try:
        value = float(pixfrac) if kind == "drizzle" else 1.0
    except ValueError:
        value = 0.0
    if kind not in KINDS or (kind != "drizzle" and pixfrac) or not 0 < value <= 1:
        known = ", ".join(f"{name},PIXFRAC" if name == "drizzle" else name for name in KINDS)
        raise InputError(f"{text}: must be KIND:NATIVE with one of {known}; PIXFRAC is above 0 and not above 1")
    return value


def _accurate(kind: str, mapping: Any, exposure: Exposure, size: tuple[int, int], pixfrac: float, name: str) -> Warp:
    """The warp on a grid that is fine enough."""
    ny, nx = exposure.shape
    u, v = np.random.default_rng(0).random((2, 200))
    x, y = u * (nx - 1), v * (ny - 1)
    exact = np.array(mapping(x, y))
    if not np.isfinite(exact).all():
        raise InputError(f"{name}: has no pixels where some of {exposure.name} are on the sky: it is of another field")
    knots = _KNOTS
    while True:
        warp = Warp.of(kind, mapping, exposure.shape, size, pixfrac=pixfrac, name=name, knots=knots)
        off = float(np.abs(warp.places.at(x, y) - exact).max())
        if off <= _ACCURATE:
            return warp
        if knots >= _MOST_KNOTS:
            raise InputError(
                f"{name}: its WCS is not smooth: within {max(nx, ny) // knots} pixels it is {off:.2g} pixels off a "
                "polynomial, so that sub-pixel phases cannot be told"
            )
        knots = 2 * knots - 1


def _checked(warp: Warp, exposure: Exposure) -> Warp:
    """A warp that can be what was meant."""
    ny, nx = exposure.shape
    axes = (np.unique(np.linspace(0, n - 1, 33).round()) for n in (nx, ny))
    x, y = (axis.ravel() for axis in np.meshgrid(*axes))
    if not warp.inside(x, y).any():
        raise InputError(f"{warp.name}: has no pixel where {exposure.name} is on the sky: it is of another field")
    largest = _SCALES.get(warp.kind, _LARGEST_SCALE)
    if not 1 / largest <= warp.scale <= largest:
        raise InputError(
            f"{warp.name}: {exposure.name} has pixels of {warp.scale:.3g} times its, which cannot be what was "
            f"resampled by {warp.kind}"
        )
    places = warp.places.at(x, y)
    if warp.kind != "drizzle" and np.abs(places - np.round(places)).max() < _SAME:
        same = np.abs(places - np.array([x, y])).max() < _SAME
        raise InputError(
            f"{warp.name}: has the pixels of {exposure.name}{'' if same else ', moved by whole ones'}: nothing was "
            "interpolated, and such noise stays white; give the image as it was before it was resampled"
        )
    return warp
