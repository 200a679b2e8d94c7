"""Reading exposures in the layouts that surveys and subtraction codes write.

The layout is found by looking into the file: LSST afw (HDUs told apart by EXTTYPE), IMAGE / MASK / VARIANCE by name,
SCI / ERR / DQ (JWST, HST), HOTPANTS layers (told apart by OBJECT), or a plain image.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

from diffim_decorr.errors import InputError
from diffim_decorr.exposure import Exposure
from diffim_decorr.io.fits import hdu_label, image_plane, is_image, open_fits, read_array, select_hdu, split_spec
from diffim_decorr.planes import DerivedPlane, Plane
from diffim_decorr.spatial import Box

__all__ = ("read_exposure", "read_psf")

Array = NDArray[Any]
Spec = str | os.PathLike[str]

# What the bits of a data quality array mean, where we know (JWST: jwst-reference pipeline, DQ flags table;
# HST: WFC3 and ACS data handbooks, which agree on these). The names of LSST's planes are used where one fits.
_JWST_DQ = {0: "BAD", 1: "SAT", 2: "JUMP_DET", 3: "DROPOUT", 4: "OUTLIER", 9: "NON_SCIENCE", 10: "DEAD", 11: "HOT"}
_HST_DQ = {0: "NO_DATA", 2: "BAD", 3: "NO_DATA", 4: "HOT", 5: "WARM", 8: "SAT", 12: "CR", 13: "CR"}


@dataclass
class _Layers:
    """The HDUs of a file that make up one exposure."""

    image: Any
    variance: Any = None
    sigma: Any = None
    mask: Any = None
    dq: Any = None
    extra: list[Any] = field(default_factory=list)


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
        Variance, standard deviation or inverse variance image in a file of its own; at most one of them.
    mask
        Mask in a file of its own: with ``MP_`` cards a mask of named planes, otherwise every non-zero pixel is BAD.
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
        image = image_plane(path, hdus, layers.image, name)
        primary = hdus[0].header if layers.image is not hdus[0] else fits.Header()
        header = _merged(primary, layers.image.header)
        mask_plane, mask_planes = _mask_of(path, hdus, layers)
        variance_plane = _variance_of(path, hdus, layers)
        own_psf = _psf_of(path, hdus)
    for given, convert in ((variance, None), (noise, np.square), (weight, _inverse)):
        if given is not None:
            plane = _read_plane(given, image.shape, name)
            variance_plane = plane if convert is None else DerivedPlane(plane, convert)
    if mask is not None:
        mask_plane, mask_planes = _read_mask(mask, image.shape, name)
    return Exposure(
        image,
        variance_plane,
        mask_plane,
        mask_planes=mask_planes,
        header=header,
        psf=own_psf if psf is None else read_psf(psf),
        xy0=_xy0(header),
        missing_value=_missing_value(header),
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
        hdu = select_hdu(path, hdus, extension) if extension is not None else _first_image(path, hdus)
        name = hdu_label(path, hdus, hdu)
        return _checked_psf(read_array(hdus, hdu, name), name)


def _checked_psf(array: Array, name: str) -> Array:
    if array.ndim != 2:
        raise InputError(f"{name}: a PSF must be a 2-D image, not an array of shape {array.shape}")
    if not np.all(np.isfinite(array)):
        raise InputError(f"{name}: the PSF has pixels that are not finite")
    total = array.sum()
    if not total > 0:
        raise InputError(f"{name}: the PSF has a sum of {total:.4g}, which must be positive")
    normalised: Array = array / total
    return normalised


def _find_layers(path: str, hdus: fits.HDUList, extension: str | int | tuple[str, int] | None) -> _Layers:
    chosen = None if extension is None else select_hdu(path, hdus, extension)
    for find in (_afw_layers, _named_layers, _sci_layers, _hotpants_layers):
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


def _afw_layers(hdus: fits.HDUList, chosen: Any) -> _Layers | None:
    image = _pick(hdus, "EXTTYPE", "IMAGE")
    if image is None or chosen not in (None, image):
        return None
    return _Layers(image, variance=_pick(hdus, "EXTTYPE", "VARIANCE"), mask=_pick(hdus, "EXTTYPE", "MASK"))


def _named_layers(hdus: fits.HDUList, chosen: Any) -> _Layers | None:
    image = chosen if chosen is not None and chosen.name == "IMAGE" else None
    image = image or (_pick(hdus, "EXTNAME", "IMAGE") if chosen is None else None)
    if image is None:
        return None
    return _Layers(
        image,
        variance=_pick(hdus, "EXTNAME", "VARIANCE", image.ver),
        mask=_pick(hdus, "EXTNAME", "MASK", image.ver),
    )


def _sci_layers(hdus: fits.HDUList, chosen: Any) -> _Layers | None:
    image = chosen if chosen is not None and chosen.name == "SCI" else None
    image = image or (_pick(hdus, "EXTNAME", "SCI") if chosen is None else None)
    if image is None:
        return None
    return _Layers(image, sigma=_pick(hdus, "EXTNAME", "ERR", image.ver), dq=_pick(hdus, "EXTNAME", "DQ", image.ver))


def _hotpants_layers(hdus: fits.HDUList, chosen: Any) -> _Layers | None:
    # With -allm and the like the difference comes first; its layers are unnamed and told apart by OBJECT only.
    sigma = next((h for h in hdus if h.header.get("OBJECT") == "HOTPanTS Noise Image"), None)
    mask = next((h for h in hdus if h.header.get("OBJECT") == "Hotpants output Mask Image"), None)
    if (sigma is None and mask is None) or chosen not in (None, hdus[0]):
        return None
    return _Layers(hdus[0], sigma=sigma, extra=[] if mask is None else [mask])


def _variance_of(path: str, hdus: fits.HDUList, layers: _Layers) -> Plane | None:
    if layers.variance is not None:
        return image_plane(path, hdus, layers.variance, hdu_label(path, hdus, layers.variance))
    if layers.sigma is not None:
        return DerivedPlane(image_plane(path, hdus, layers.sigma, hdu_label(path, hdus, layers.sigma)), np.square)
    return None


def _mask_of(path: str, hdus: fits.HDUList, layers: _Layers) -> tuple[Plane | None, dict[str, int]]:
    if layers.mask is not None:
        return _named_mask(path, hdus, layers.mask)
    if layers.dq is not None:
        label = hdu_label(path, hdus, layers.dq)
        plane = _integer(image_plane(path, hdus, layers.dq, label), label)
        telescope = str(hdus[0].header.get("TELESCOP", "")).strip().upper()
        names = {"JWST": _JWST_DQ, "HST": _HST_DQ}.get(telescope)
        if names is None:
            return DerivedPlane(plane, _nonzero), {"BAD": 0}
        bits = tuple(names.items())
        ordered = {name: k for k, name in enumerate(dict.fromkeys(names.values()))}
        return DerivedPlane(plane, lambda dq: _regrouped(dq, bits, ordered)), ordered
    if layers.extra:
        label = hdu_label(path, hdus, layers.extra[0])
        # HOTPANTS' output mask: FLAG_OUTPUT_ISBAD is the bit 0x8000; the others are hints about inputs.
        plane = _integer(image_plane(path, hdus, layers.extra[0], label), label)
        return DerivedPlane(plane, lambda mask: ((mask & 0x8000) != 0).astype(np.int32)), {"BAD": 0}
    return None, {}


def _regrouped(dq: Array, bits: tuple[tuple[int, str], ...], planes: dict[str, int]) -> Array:
    mask = np.zeros(dq.shape, dtype=np.int32)
    for bit, name in bits:
        mask |= ((dq >> bit) & 1).astype(np.int32) << planes[name]
    return mask


def _named_mask(path: str, hdus: fits.HDUList, hdu: Any) -> tuple[Plane, dict[str, int]]:
    label = hdu_label(path, hdus, hdu)
    plane = _integer(image_plane(path, hdus, hdu, label), label)
    names: dict[str, int] = {}
    for card in hdu.header.cards:
        if card.keyword.upper().startswith("MP_"):
            if not isinstance(card.value, int) or not 0 <= card.value < 32:
                raise InputError(f"{label}: card {card.keyword} = {card.value!r} is not a bit number from 0 to 31")
            names[card.keyword.upper()[3:]] = card.value
    if not names:
        return DerivedPlane(plane, _nonzero), {"BAD": 0}
    return plane, names


def _integer(plane: Plane, name: str) -> Plane:
    if plane.read(Box(0, 0, 1, 1)).dtype.kind not in "iub":
        return DerivedPlane(plane, lambda mask: np.nan_to_num(mask, nan=1.0).astype(np.int64))
    return plane


def _nonzero(mask: Array) -> Array:
    bad: Array = (mask != 0).astype(np.int32)
    return bad


def _inverse(weight: Array) -> Array:
    with np.errstate(divide="ignore", invalid="ignore"):
        variance: Array = np.where(weight > 0, 1.0 / weight, np.nan).astype(weight.dtype)
    return variance


def _read_plane(spec: Spec, shape: tuple[int, int], owner: str) -> Plane:
    path, extension = split_spec(spec)
    with open_fits(path) as hdus:
        hdu = select_hdu(path, hdus, extension) if extension is not None else _first_image(path, hdus)
        name = hdu_label(path, hdus, hdu)
        return _fitting(image_plane(path, hdus, hdu, name), name, shape, owner)


def _read_mask(spec: Spec, shape: tuple[int, int], owner: str) -> tuple[Plane, dict[str, int]]:
    path, extension = split_spec(spec)
    with open_fits(path) as hdus:
        if extension is not None:
            hdu = select_hdu(path, hdus, extension)
        else:
            hdu = _pick(hdus, "EXTTYPE", "MASK") or _pick(hdus, "EXTNAME", "MASK") or _first_image(path, hdus)
        plane, names = _named_mask(path, hdus, hdu)
        return _fitting(plane, hdu_label(path, hdus, hdu), shape, owner), names


def _fitting(plane: Plane, name: str, shape: tuple[int, int], owner: str) -> Plane:
    if plane.shape != shape:
        mine, its = (f"{s[1]} x {s[0]}" for s in (plane.shape, shape))
        raise InputError(f"{name}: has {mine} pixels, but {owner} has {its}")
    return plane


def _psf_of(path: str, hdus: fits.HDUList) -> Array | None:
    hdu = _pick(hdus, "EXTNAME", "PSF")
    if hdu is None or not is_image(hdu) or max(hdu.shape) > 1001:
        return None
    name = hdu_label(path, hdus, hdu)
    return _checked_psf(read_array(hdus, hdu, name), name)


def _merged(primary: fits.Header, image: fits.Header) -> fits.Header:
    """The image's header, and below it what the primary header adds."""
    header = image.copy(strip=True)
    own = set(header)
    for card in primary.copy(strip=True).cards:
        if card.keyword not in own or card.keyword in ("HISTORY", "COMMENT", ""):
            header.append(card, bottom=True)
    return header


def _xy0(header: fits.Header) -> tuple[int, int]:
    # The alternative WCS "A" of afw: the parent position of the first pixel (0-based).
    if str(header.get("CTYPE1A", "")).strip() != "LINEAR":
        return 0, 0
    x0 = header.get("CRVAL1A", 0) - (header.get("CRPIX1A", 1) - 1)
    y0 = header.get("CRVAL2A", 0) - (header.get("CRPIX2A", 1) - 1)
    return round(x0), round(y0)


def _missing_value(header: fits.Header) -> float | None:
    value = header.get("MASKVAL")
    return float(value) if isinstance(value, int | float) else None
