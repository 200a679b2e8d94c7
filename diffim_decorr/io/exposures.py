"""Reading exposures in the layouts that surveys and subtraction codes write.

The layout is found by looking into the file: LSST afw (HDUs told apart by EXTTYPE), IMAGE / MASK / VARIANCE by name,
SCI / ERR / DQ (JWST, HST), HOTPANTS layers (told apart by OBJECT), or a plain image.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

from diffim_decorr.errors import InputError
from diffim_decorr.exposure import Exposure
from diffim_decorr.io.fits import (
    Extension,
    hdu_label,
    holds_integers,
    image_plane,
    is_image,
    open_fits,
    read_array,
    readable_cards,
    select_hdu,
    split_spec,
)
from diffim_decorr.planes import DerivedPlane, Plane
from diffim_decorr.spatial import Box

__all__ = ("parent_origin", "read_exposure", "read_psf")

Array = NDArray[Any]
Spec = str | os.PathLike[str]

# What the bits of a data quality array mean, where we know, under the names of LSST's planes where one fits.
# JWST: jwst pipeline documentation, "Data Quality Flags". DO_NOT_USE is set wherever something makes a pixel useless.
_JWST_DQ = {
    0: "BAD",
    1: "SAT",
    2: "JUMP_DET",
    3: "DROPOUT",
    4: "OUTLIER",
    5: "PERSISTENCE",
    9: "NON_SCIENCE",
    10: "DEAD",
    11: "HOT",
    12: "WARM",
}
# HST: ACS and WFC3 data handbooks. A pixel lost in transmission, one filled in for it, a bad detector pixel, one behind
# the aperture's edge, hot, unstable, warm, bad bias, saturated, bad flat, charge trap, A/D saturation, and cosmic rays
# found by AstroDrizzle and in CR-SPLIT exposures.
_ACS_DQ = {
    0: "NO_DATA",
    1: "NO_DATA",
    2: "BAD",
    3: "BAD",
    4: "HOT",
    5: "UNSTABLE",
    6: "WARM",
    7: "BAD_BIAS",
    8: "SAT",
    9: "BAD_FLAT",
    10: "TRAP",
    11: "SAT",
    12: "CR",
    13: "CR",
}
# The infrared channel counts differently: signal in the zeroth read, and cosmic rays that the ramp fit has removed.
_WFC3_IR_DQ = {**_ACS_DQ, 11: "ZERO_SIGNAL", 13: "JUMP_DET"}
# HOTPANTS' output mask (-omi): FLAG_OUTPUT_ISBAD; the other bits are remarks about the inputs.
_HOTPANTS_MASK = "HOTPANTS OUTPUT MASK IMAGE"
_HOTPANTS_NOISE = "HOTPANTS NOISE IMAGE"
_HOTPANTS_BAD = {15: "BAD"}
_LARGEST_PSF = 1001
_NO_MASK: tuple[Plane | None, dict[str, int]] = (None, {})
_PARENT_CARDS = (("CRVAL1A", 0), ("CRPIX1A", 1), ("CRVAL2A", 0), ("CRPIX2A", 1))


@dataclass(frozen=True)
class _Layers:
    """The HDUs of a file that make up one exposure."""

    image: Any
    variance: Any = None
    sigma: Any = None
    mask: Any = None


def read_exposure(
    spec: Spec,
    *,
    variance: Spec | None = None,
    noise: Spec | None = None,
    weight: Spec | None = None,
    mask: Spec | None = None,
    psf: Spec | None = None,
) -> Exposure:
    """Read an image with its variance and mask.

    Parameters
    ----------
    spec
        The file; ``name.fits[EXT]`` picks the image HDU. Its companions are then those of the same EXTVER.
    variance, noise, weight
        Variance, standard deviation or inverse variance image in a file of its own; at most one of them. Without
        ``[EXT]`` it is the HDU called VARIANCE, ERR or WHT, or else the first image.
    mask
        Mask in a file of its own, the HDU called MASK or DQ or the first image. Its planes have the names in ``MP_``
        cards, or those that are known for data of JWST, HST and HOTPANTS; otherwise every pixel but 0 is BAD.
    psf
        PSF image in a file of its own.

    Returns
    -------
    Exposure
        Uncompressed pixels stay in the file until they are needed.

    Raises
    ------
    InputError
        If something cannot be read or does not fit together.
    """
    if sum(other is not None for other in (variance, noise, weight)) > 1:
        raise InputError(f"{os.fspath(spec)}: give only one of a variance, a noise and a weight image")
    path, extension = split_spec(spec)
    with open_fits(path) as hdus:
        layers = _find_layers(path, hdus, extension)
        name = hdu_label(path, hdus, layers.image)
        image = _real(image_plane(path, hdus, layers.image), layers.image)
        headers = [layers.image.header] if layers.image is hdus[0] else [layers.image.header, hdus[0].header]
        own_variance, own_mask = None, _NO_MASK
        if variance is noise is weight is None:
            own_variance = _variance_of(path, hdus, layers, image.shape, name)
        if mask is None and layers.mask is not None:
            own_mask = _mask_of(path, hdus, layers.mask, image.shape, name)
        own_psf = _psf_of(path, hdus) if psf is None else None
        xy0, missing_value = parent_origin(headers, name), _missing_value(headers)
    companions = ((variance, None, "VARIANCE"), (noise, _squared, "ERR"), (weight, _inverse, "WHT"))
    given = [
        _read_plane(other, convert, usual, image.shape, name)
        for other, convert, usual in companions
        if other is not None
    ]
    mask_plane, mask_planes = own_mask if mask is None else _read_mask(mask, image.shape, name)
    _check_pixels(image, missing_value, name)
    return Exposure(
        image,
        given[0] if given else own_variance,
        mask_plane,
        mask_planes=mask_planes,
        header=_merged(headers),
        psf=own_psf if psf is None else read_psf(psf),
        xy0=xy0,
        missing_value=missing_value,
        name=name,
    )


def read_psf(spec: Spec) -> Array:
    """Read a PSF image (h, w), normalised to a sum of 1.

    Raises
    ------
    InputError
        If it is not a 2-D image with a positive, finite sum.
    """
    path, extension = split_spec(spec)
    with open_fits(path) as hdus:
        hdu = _meant(path, hdus, extension, "PSF")
        name = hdu_label(path, hdus, hdu)
        return _checked_psf(read_array(hdus, hdu, name), name)


def _checked_psf(array: Array, name: str) -> Array:
    if array.ndim != 2:
        raise InputError(f"{name}: a PSF must be a 2-D image, not an array of shape {array.shape}")
    if max(array.shape) > _LARGEST_PSF:
        raise InputError(f"{name}: {array.shape[1]} x {array.shape[0]} pixels look like an image, not a PSF")
    if not np.all(np.isfinite(array)):
        raise InputError(f"{name}: the PSF has pixels that are not finite")
    total = array.sum()
    if not total > 0:
        raise InputError(f"{name}: the PSF has a sum of {total:.4g}, which must be positive")
    normalised: Array = array / total
    return normalised


def _find_layers(path: str, hdus: fits.HDUList, extension: Extension) -> _Layers:
    chosen = None if extension is None else select_hdu(path, hdus, extension)
    for find in (_afw_layers, _hotpants_layers, _named_layers, _sci_layers):
        layers = find(hdus, chosen)
        if layers is not None:
            return layers
    return _Layers(_first_image(path, hdus) if chosen is None else chosen)


def _first_image(path: str, hdus: fits.HDUList) -> Any:
    for hdu in hdus:
        if is_image(hdu):
            return hdu
    raise InputError(f"{path}: no HDU holds a 2-D image")


def _pick(hdus: Iterable[Any], card: str, value: str, version: int | None = None) -> Any:
    for hdu in hdus:
        if str(hdu.header.get(card, "")).strip().upper() == value and (version is None or hdu.ver == version):
            return hdu
    return None


def _companion(hdus: fits.HDUList, card: str, value: str, version: int | None = None) -> Any:
    # HST files have companions without pixels where there is nothing to say.
    hdu = _pick(hdus, card, value, version)
    return None if hdu is None or hdu.header["NAXIS"] == 0 else hdu


def _afw_layers(hdus: fits.HDUList, chosen: Any) -> _Layers | None:
    image = _pick(hdus, "EXTTYPE", "IMAGE")
    if image is None or (chosen is not None and chosen is not image):
        return None
    return _Layers(image, variance=_companion(hdus, "EXTTYPE", "VARIANCE"), mask=_companion(hdus, "EXTTYPE", "MASK"))


def _named_layers(hdus: fits.HDUList, chosen: Any) -> _Layers | None:
    image = _named("IMAGE", hdus, chosen)
    if image is None:
        return None
    return _Layers(
        image,
        variance=_companion(hdus, "EXTNAME", "VARIANCE", image.ver),
        mask=_companion(hdus, "EXTNAME", "MASK", image.ver),
    )


def _sci_layers(hdus: fits.HDUList, chosen: Any) -> _Layers | None:
    image = _named("SCI", hdus, chosen)
    if image is None:
        return None
    return _Layers(
        image,
        sigma=_companion(hdus, "EXTNAME", "ERR", image.ver),
        mask=_companion(hdus, "EXTNAME", "DQ", image.ver),
    )


def _named(name: str, hdus: fits.HDUList, chosen: Any) -> Any:
    if chosen is None:
        return _pick(hdus, "EXTNAME", name)
    return chosen if chosen.name == name else None


def _hotpants_layers(hdus: fits.HDUList, chosen: Any) -> _Layers | None:
    # With -allm and the like the difference comes first; its layers are unnamed and told apart by OBJECT only.
    sigma = next((hdu for hdu in hdus[1:] if _object(hdu) == _HOTPANTS_NOISE), None)
    if sigma is None or (chosen is not None and chosen is not hdus[0]):
        return None
    return _Layers(hdus[0], sigma=sigma)


def _object(hdu: Any) -> str:
    return str(hdu.header.get("OBJECT", "")).strip().upper()


def _variance_of(path: str, hdus: fits.HDUList, layers: _Layers, shape: tuple[int, int], owner: str) -> Plane | None:
    if layers.variance is not None:
        return _real(_fitting(path, hdus, layers.variance, shape, owner), layers.variance)
    if layers.sigma is not None:
        return DerivedPlane(_real(_fitting(path, hdus, layers.sigma, shape, owner), layers.sigma), _squared)
    return None


def _mask_of(
    path: str, hdus: fits.HDUList, hdu: Any, shape: tuple[int, int], owner: str
) -> tuple[Plane | None, dict[str, int]]:
    """A mask of named planes where the file says what its bits mean, otherwise one where all but zero is BAD."""
    plane = _fitting(path, hdus, hdu, shape, owner)
    if not holds_integers(hdu):
        plane = DerivedPlane(plane, _whole)
    names = _plane_cards(hdu, hdu_label(path, hdus, hdu))
    if names:
        return plane, names
    bits = _HOTPANTS_BAD if _object(hdu) == _HOTPANTS_MASK else None
    if hdu.name == "DQ":
        bits = _data_quality(hdus[0].header)
    if bits is None:
        return DerivedPlane(plane, _nonzero), {"BAD": 0}
    planes = {name: k for k, name in enumerate(dict.fromkeys(bits.values()))}
    return DerivedPlane(plane, partial(_regrouped, bits=bits, planes=planes)), planes


def _plane_cards(hdu: Any, label: str) -> dict[str, int]:
    names: dict[str, int] = {}
    for card in hdu.header.cards:
        keyword = card.keyword.upper()
        if keyword.startswith("MP_"):
            value = card.value
            if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 32:
                raise InputError(f"{label}: card {keyword} = {value!r} is not a bit number from 0 to 31")
            names[keyword[3:]] = value
    return names


def _data_quality(primary: fits.Header) -> dict[int, str] | None:
    telescope, instrument, detector = (
        str(primary.get(key, "")).strip().upper() for key in ("TELESCOP", "INSTRUME", "DETECTOR")
    )
    if telescope == "JWST":
        return _JWST_DQ
    if telescope == "HST" and instrument in ("ACS", "WFC3"):
        return _WFC3_IR_DQ if detector == "IR" else _ACS_DQ
    return None


def _regrouped(dq: Array, bits: dict[int, str], planes: dict[str, int]) -> Array:
    mask = np.zeros(dq.shape, dtype=np.int32)
    for bit, name in bits.items():
        mask |= ((dq >> dq.dtype.type(bit)) & dq.dtype.type(1)).astype(np.int32) << planes[name]
    return mask


def _whole(mask: Array) -> Array:
    # A pixel of which nothing is known has every flag.
    with np.errstate(invalid="ignore"):
        return np.where(np.abs(mask) < 2.0**63, mask, -1).astype(np.int64)


def _nonzero(mask: Array) -> Array:
    bad: Array = (mask != 0).astype(np.int32)
    return bad


def _real(plane: Plane, hdu: Any) -> Plane:
    """Pixels as real numbers, for integers overflow when they are squared and have no NaN."""
    return DerivedPlane(plane, _as_real) if holds_integers(hdu) else plane


def _as_real(pixels: Array) -> Array:
    return pixels.astype(np.float32 if pixels.dtype.itemsize <= 2 else np.float64)


def _squared(sigma: Array) -> Array:
    # A negative sigma is no more than an unknown one, as 0 is.
    with np.errstate(over="ignore", under="ignore"):
        variance: Array = np.square(np.maximum(sigma, 0))
    return variance


def _inverse(weight: Array) -> Array:
    with np.errstate(all="ignore"):
        return np.where(weight > 0, 1 / weight, np.nan).astype(weight.dtype)


def _read_plane(
    spec: Spec, convert: Callable[[Array], Array] | None, usual: str, shape: tuple[int, int], owner: str
) -> Plane:
    path, extension = split_spec(spec)
    with open_fits(path) as hdus:
        hdu = _meant(path, hdus, extension, usual)
        plane = _real(_fitting(path, hdus, hdu, shape, owner), hdu)
    return plane if convert is None else DerivedPlane(plane, convert)


def _read_mask(spec: Spec, shape: tuple[int, int], owner: str) -> tuple[Plane | None, dict[str, int]]:
    path, extension = split_spec(spec)
    with open_fits(path) as hdus:
        hdu = _meant(path, hdus, extension, "MASK", "DQ")
        return _mask_of(path, hdus, hdu, shape, owner)


def _meant(path: str, hdus: fits.HDUList, extension: Extension, *usual: str) -> Any:
    """The HDU that the user names, or one by its usual name, or else the first image."""
    if extension is not None:
        return select_hdu(path, hdus, extension)
    for name in usual:
        for card in ("EXTTYPE", "EXTNAME"):
            hdu = _pick(hdus, card, name)
            if hdu is not None:
                return hdu
    return _first_image(path, hdus)


def _fitting(path: str, hdus: fits.HDUList, hdu: Any, shape: tuple[int, int], owner: str) -> Plane:
    plane = image_plane(path, hdus, hdu)
    if plane.shape != shape:
        mine, its = (f"{s[1]} x {s[0]}" for s in (plane.shape, shape))
        raise InputError(f"{hdu_label(path, hdus, hdu)}: has {mine} pixels, but {owner} has {its}")
    return plane


def _check_pixels(image: Plane, missing_value: float | None, name: str) -> None:
    """Refuse an image without a single pixel of data; most others are known by their first rows."""
    ny, nx = image.shape
    y, end = 0, 1
    while y < ny:
        pixels = image.read(Box(0, y, nx, end))
        y, end = end, min(ny, 2 * end)
        usable = np.isfinite(pixels)
        if missing_value is not None:
            usable &= pixels != np.float32(missing_value)
        if usable.any():
            return
    raise InputError(f"{name}: not one pixel of the image holds data")


def _psf_of(path: str, hdus: fits.HDUList) -> Array | None:
    hdu = _pick(hdus, "EXTNAME", "PSF")
    if hdu is None or not is_image(hdu):
        return None
    name = hdu_label(path, hdus, hdu)
    return _checked_psf(read_array(hdus, hdu, name), name)


def _merged(headers: Sequence[fits.Header]) -> fits.Header:
    """The image's header, and below it what the primary header adds."""
    header = fits.Header()
    for other in headers:
        own = set(header)
        for card in readable_cards(other.copy(strip=True)):
            if card.keyword not in own or card.keyword in ("HISTORY", "COMMENT", ""):
                header.append(card, bottom=True)
    return header


def _get(headers: Sequence[fits.Header], key: str, default: Any = None) -> Any:
    return next((header[key] for header in headers if key in header), default)


def parent_origin(headers: Sequence[fits.Header], name: str) -> tuple[int, int]:
    """Position of the first pixel in the parent frame of an LSST exposure, (0, 0) where there is none."""
    # The alternative WCS "A" of afw: the parent position of the first pixel (0-based).
    if str(_get(headers, "CTYPE1A", "")).strip() != "LINEAR":
        return 0, 0
    cards = {key: _get(headers, key, default) for key, default in _PARENT_CARDS}
    for key, value in cards.items():
        if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < 2**31:
            raise InputError(f"{name}: card {key} = {value!r} is no position in a parent frame")
    x0, y0 = (round(cards[f"CRVAL{k}A"] - (cards[f"CRPIX{k}A"] - 1)) for k in (1, 2))
    return x0, y0


def _missing_value(headers: Sequence[fits.Header]) -> float | None:
    value = _get(headers, "MASKVAL")
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
