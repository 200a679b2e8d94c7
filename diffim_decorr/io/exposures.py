"""Reading exposures in the layouts that surveys and subtraction codes write.

The layout is found by looking into the file: LSST afw (HDUs told apart by EXTTYPE), HOTPANTS layers (told apart by
OBJECT), or an image with companions by the names that surveys give them, see `companions`.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

from diffim_decorr.errors import DecorrWarning, InputError
from diffim_decorr.geometry import Box
from diffim_decorr.images.absent import Fill, area_fill
from diffim_decorr.images.exposure import Exposure
from diffim_decorr.images.planes import DerivedPlane, Plane
from diffim_decorr.images.sample import negative_share, same_pixels
from diffim_decorr.io.asinh import linear
from diffim_decorr.io.companions import Owner, Role, accompanies, asked_for, main_image, own_companions, role_of
from diffim_decorr.io.hdus import (
    Extension,
    hdu_label,
    holds_integers,
    image_plane,
    open_fits,
    pick,
    quantization_step,
    select_hdu,
    shape_of,
    split_spec,
)
from diffim_decorr.io.headers import last_card, parent_origin, readable_cards
from diffim_decorr.io.lsst_images import CONTAINER_CARDS, is_lsst_images, refuse_newer, tree_of, tree_psf
from diffim_decorr.io.mask_bits import bit_flags, named_planes
from diffim_decorr.io.psfs import psf_hdu, read_psf
from diffim_decorr.kernels.spatial import SpatialKernel
from diffim_decorr.noise.robust import median

__all__ = ("Layout", "Spec", "layout_in", "parent_origin", "read_exposure")

Array = NDArray[Any]

Spec = str | os.PathLike[str]
_HOTPANTS_NOISE = "HOTPANTS NOISE IMAGE"
_NO_MASK: tuple[Plane | None, dict[str, int]] = (None, {})
_MOST_LISTED = 6
_LEAST_ROOT, _LARGEST_ROOT, _SOME = 1e-15, 1e18, 1000
_NEGATIVE = 0.01  # is the share of a plane of noise that may be negative
_ROUNDED = 0.51  # is the most that a fill is off after a lossy compression, in its steps


@dataclass(frozen=True, eq=False)
class _Layers:
    """The HDUs of a file that make up one exposure, and those that could have been meant as well."""

    image: Any
    companions: Mapping[Role, Any] = field(default_factory=dict)
    others: Sequence[Any] = ()
    layout: str = ""
    single: bool = False


@dataclass(frozen=True)
class Layout:
    """Where in a file an exposure is found.

    Parameters
    ----------
    name
        What the layout is called.
    image
        ``name.fits[EXT]`` of the image.
    companions
        The same of its mask and of its plane of noise, by what they tell.
    others
        What else is in the file and could have been meant.
    single
        Whether a file of this layout has one exposure, whatever images there are.
    """

    name: str
    image: str
    companions: Mapping[Role, str]
    others: Sequence[str]
    single: bool


def layout_in(spec: Spec) -> Layout:
    """Where in a file its exposure, or the one that ``[EXT]`` chooses, is found.

    Raises
    ------
    InputError
        If the file cannot be read, or holds no image.
    """
    path, extension = split_spec(spec)
    with open_fits(path) as hdus:
        layers = _find_layers(path, hdus, extension)
        alone = not layers.companions and len(hdus) == 1
        others = "an image alone" if alone else "planes by their names"
        return Layout(
            "lsst.images" if is_lsst_images(hdus) else layers.layout or others,
            hdu_label(path, hdus, layers.image),
            {role: hdu_label(path, hdus, hdu) for role, hdu in layers.companions.items()},
            [hdu_label(path, hdus, hdu) for hdu in layers.others],
            layers.single,
        )


def read_exposure(
    spec: Spec,
    *,
    variance: Spec | None = None,
    noise: Spec | None = None,
    weight: Spec | None = None,
    mask: Spec | None = None,
    psf: Spec | None = None,
    dq_bad: str | int | None = None,
) -> Exposure:
    """Read an image with its variance and mask.

    Parameters
    ----------
    spec
        The file; ``name.fits[EXT]`` picks the image HDU. Its companions are then those of the same EXTVER.
    variance, noise, weight
        Variance, standard deviation or inverse variance image in a file of its own; at most one of them. Without
        ``[EXT]`` it is the HDU called VARIANCE, ERR or WHT, or as surveys call it; or, if the image's HDU was picked,
        the one of its name or number; or else the only image that it can be.
    mask
        Mask in a file of its own, the HDU called MASK or DQ and the like, or as above. Its planes have the names in
        ``MP_`` cards, or those that are known for data of JWST, HST, ZTF, NOIRLab's pipelines and HOTPANTS; otherwise
        every pixel but 0 is BAD.
    psf
        PSF in a file of its own, see `read_psf`.
    dq_bad
        Bits that make a pixel BAD, all others being ignored, in a mask without ``MP_`` cards: values of bits with
        commas between them, or their sum; ``~`` before them takes all but these.

    Returns
    -------
    Exposure
        Uncompressed pixels stay in the file until they are needed.

    Warns
    -----
    DecorrWarning
        If something in the file is not as it should be.

    Raises
    ------
    InputError
        If something cannot be read or does not fit together.
    """
    exposure = load_exposure(spec, variance=variance, noise=noise, weight=weight, mask=mask, psf=psf, dq_bad=dq_bad)
    for remark in exposure.remarks:
        warnings.warn(remark, DecorrWarning, stacklevel=2)
    return exposure


def as_exposure(given: Any, what: str) -> Exposure:
    """The exposure that is meant: an `Exposure`, an array (of dask, too), a `CCDData`, or the name of a file.

    Parameters
    ----------
    given
        What a user handed over.
    what
        What it is to be, for messages.

    Raises
    ------
    InputError
        If it is nothing of that kind, or cannot be read.
    """
    if isinstance(given, Exposure):
        return given
    if isinstance(given, str | os.PathLike):
        return load_exposure(given, is_difference=what == "difference")
    # A CCDData is an instance of a class that only astropy.nddata defines: who has one has loaded that.
    if any(kind.__name__ == "CCDData" for kind in type(given).__mro__):
        return Exposure.from_ccddata(given, name=what)
    # Arrays of other libraries, such as those of dask, are computed once: every tile would compute its part anew.
    if isinstance(given, np.ndarray) or (hasattr(given, "__array__") and getattr(given, "ndim", None) == 2):
        return Exposure(np.asanyarray(given), name=what)
    raise InputError(
        f"{what}: must be an Exposure, an array, a CCDData or the name of a file, not {type(given).__name__}"
    )


def load_exposure(
    spec: Spec,
    *,
    variance: Spec | None = None,
    noise: Spec | None = None,
    weight: Spec | None = None,
    mask: Spec | None = None,
    psf: Spec | None = None,
    dq_bad: str | int | None = None,
    is_difference: bool = False,
) -> Exposure:
    """As `read_exposure`; what a user should know of the file is in the remarks only.

    Cards that say how pixels of an input are scaled do not hold for a difference that has inherited them.
    """
    if sum(other is not None for other in (variance, noise, weight)) > 1:
        raise InputError(f"{os.fspath(spec)}: give only one of a variance, a noise and a weight image")
    path, extension = split_spec(spec)
    bad_bits = None if dq_bad is None else bit_flags(dq_bad)
    with open_fits(path) as hdus:
        layers = _find_layers(path, hdus, extension)
        name = hdu_label(path, hdus, layers.image)
        owner = _owner(path, hdus, layers.image, extension)
        remarks = [*_left_out(path, hdus, layers, name)]
        image = _real(image_plane(path, hdus, layers.image), layers.image)
        if not is_difference:
            image = linear(image, layers.image.header, name, remarks)
        headers = [layers.image.header] if layers.image is hdus[0] else [layers.image.header, hdus[0].header]
        own_variance, own_mask = None, _NO_MASK
        if variance is noise is weight is None:
            own_variance = _variance_of(path, hdus, layers, image.shape, name, remarks)
        if mask is None and "mask" in layers.companions:
            hdu = layers.companions["mask"]
            own_mask = named_planes(_fitting(path, hdus, hdu, image.shape, name), path, hdus, hdu, bad_bits, remarks)
        xy0, missing_value = parent_origin(headers, name), _missing_value(headers)
        fills = _fills(missing_value, image, layers.image, quantization_step(path, hdus, layers.image), name, remarks)
        own_psf, psf_fault = None, None
        if psf is None:
            try:
                own_psf = _psf_of(path, hdus, layers.image.ver, xy0)
            except InputError as error:  # nothing else depends on it
                psf_fault = str(error)
    given: dict[Role, Spec | None] = {"variance": variance, "noise": noise, "weight": weight}
    planes = [
        _read_plane(other, role, owner, image, name, remarks) for role, other in given.items() if other is not None
    ]
    if mask is not None:
        own_mask = _read_mask(mask, owner, image.shape, name, bad_bits, remarks)
    _check_pixels(image, missing_value, name)
    return Exposure(
        image,
        planes[0] if planes else own_variance,
        own_mask[0],
        mask_planes=own_mask[1],
        header=_merged(headers),
        psf=own_psf if psf is None else read_psf(psf, xy0),
        xy0=xy0,
        missing_value=missing_value,
        fills=fills,
        name=name,
        remarks=remarks,
        psf_fault=psf_fault,
    )


def _find_layers(path: str, hdus: fits.HDUList, extension: Extension) -> _Layers:
    chosen = None if extension is None else select_hdu(path, hdus, extension)
    for find in (_afw_layers, _hotpants_layers):
        layers = find(hdus, chosen)
        if layers is not None:
            return layers
    image = main_image(path, hdus) if chosen is None else chosen
    companions = own_companions(hdus, image)
    others = accompanies(hdus, image, companions.values()) if chosen is None else []
    if is_lsst_images(hdus):
        refuse_newer(path, hdus)
        # What it has besides belongs to its one image; only further planes of the mask are missed.
        others = [hdu for hdu in others if role_of(hdu) == "mask"]
    return _Layers(image, companions, others)


def _afw_layers(hdus: fits.HDUList, chosen: Any) -> _Layers | None:
    image = pick(hdus, "EXTTYPE", "IMAGE")
    if image is None or (chosen is not None and chosen is not image):
        return None
    roles: tuple[Role, ...] = ("mask", "variance")
    found = {role: pick(hdus, "EXTTYPE", role.upper()) for role in roles}
    planes = {role: hdu for role, hdu in found.items() if hdu is not None and hdu.header["NAXIS"] > 0}
    return _Layers(image, planes, layout="LSST's, by EXTTYPE")


def _hotpants_layers(hdus: fits.HDUList, chosen: Any) -> _Layers | None:
    # With -allm and the like the difference comes first; its layers are unnamed and told apart by OBJECT only.
    sigma = next((hdu for hdu in hdus[1:] if _object(hdu) == _HOTPANTS_NOISE), None)
    # Compressed by fpack it is no longer in the primary HDU.
    image = next((hdu for hdu in hdus if hdu.header["NAXIS"] > 0), None)
    if sigma is None or sigma is image or (chosen is not None and chosen is not image):
        return None
    return _Layers(image, {"noise": sigma}, layout="HOTPANTS' layers, by OBJECT", single=True)


def _object(hdu: Any) -> str:
    return str(hdu.header.get("OBJECT", "")).strip().upper()


def _left_out(path: str, hdus: fits.HDUList, layers: _Layers, name: str) -> Iterator[str]:
    """What else is in the file and could have been meant."""
    if layers.others:
        listed = [hdu_label("", hdus, hdu) for hdu in layers.others[:_MOST_LISTED]]
        more = len(layers.others) - len(listed)
        yield (
            f"{name}: is the image that is taken; {', '.join(listed)}{f' and {more} more' if more else ''} in the same "
            "file are left out (FILE[HDU] or --ext chooses another image, --all-ext takes all; --sci-mask FILE[HDU] "
            "and the like take a mask or a plane of noise)"
        )


def _variance_of(
    path: str, hdus: fits.HDUList, layers: _Layers, shape: tuple[int, int], owner: str, remarks: list[str]
) -> Plane | None:
    for role, hdu in layers.companions.items():
        if role != "mask":
            plane = _linear_plane(path, hdus, hdu, shape, owner, remarks)
            return _converted(plane, role)
    return None


def _linear_plane(
    path: str, hdus: fits.HDUList, hdu: Any, shape: tuple[int, int], owner: str, remarks: list[str]
) -> Plane:
    plane = _real(_fitting(path, hdus, hdu, shape, owner), hdu)
    return linear(plane, hdu.header, hdu_label(path, hdus, hdu), remarks)


def _converted(plane: Plane, role: Role) -> Plane:
    """The variances that a plane of noise stands for."""
    convert = {"noise": _squared, "weight": _inverse}.get(role)
    return plane if convert is None else DerivedPlane(plane, convert)


def _real(plane: Plane, hdu: Any) -> Plane:
    """Pixels as real numbers, for integers overflow when they are squared and have no NaN."""
    return DerivedPlane(plane, _as_real) if holds_integers(hdu) else plane


def _as_real(pixels: Array) -> Array:
    return pixels.astype(np.float32 if pixels.dtype.itemsize <= 2 else np.float64)


def _squared(sigma: Array) -> Array:
    # A negative sigma is no more than an unknown one, as 0 is.
    sigma = np.maximum(sigma, 0)
    some = sigma.ravel()[:: 1 + sigma.size // _SOME]
    some = some[(some > 0) & np.isfinite(some)]
    # Single precision does not hold the squares of such numbers.
    beyond = some.size and not (_LEAST_ROOT < median(some) < _LARGEST_ROOT)
    with np.errstate(over="ignore", under="ignore"):
        variance: Array = np.square(sigma, dtype=np.float64 if beyond else None)
    return variance


def _inverse(weight: Array) -> Array:
    with np.errstate(all="ignore"):
        return np.where(weight > 0, 1 / weight, np.nan).astype(weight.dtype, copy=False)


def _owner(path: str, hdus: fits.HDUList, hdu: Any, extension: Extension) -> Owner:
    number = next(k for k, other in enumerate(hdus) if other is hdu)
    return Owner(path, number, hdu.name, hdu.ver, extension is not None)


def _read_plane(spec: Spec, role: Role, owning: Owner, image: Plane, owner: str, remarks: list[str]) -> Plane:
    path, extension = split_spec(spec)
    with open_fits(path) as hdus:
        hdu = asked_for(path, hdus, extension, role, owning)
        said = role_of(hdu)
        if said is not None and said != role:
            remarks.append(
                f"{hdu_label(path, hdus, hdu)}: was given as the {role} image, but is a {said} image by its name (if "
                f"it is, give it with the option for that)"
            )
        plane = _linear_plane(path, hdus, hdu, image.shape, owner, remarks)
        _refuse_sky(plane, image, role, hdu_label(path, hdus, hdu), owner)
        return _converted(plane, role)


def _refuse_sky(plane: Plane, image: Plane, role: Role, name: str, owner: str) -> None:
    """Refuse a plane of noise that is an image of the sky, which scatters about its background."""
    remedy = "give the file with that, as variances, standard deviations (noise) or inverse variances (weight)"
    if same_pixels(plane, image):
        raise InputError(f"{name}: has the same pixels as the image {owner}, and so is not its {role} image: {remedy}")
    share = negative_share(plane)
    if share > _NEGATIVE:
        raise InputError(
            f"{name}: {share:.0%} of its pixels are negative, as in an image of the sky, and so it is not the {role} "
            f"image of {owner}: {remedy}"
        )


def _read_mask(
    spec: Spec, image: Owner, shape: tuple[int, int], owner: str, bad_bits: int | None, remarks: list[str]
) -> tuple[Plane | None, dict[str, int]]:
    path, extension = split_spec(spec)
    with open_fits(path) as hdus:
        hdu = asked_for(path, hdus, extension, "mask", image)
        return named_planes(_fitting(path, hdus, hdu, shape, owner), path, hdus, hdu, bad_bits, remarks)


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


def _psf_of(path: str, hdus: fits.HDUList, version: int, xy0: tuple[int, int]) -> Array | SpatialKernel | None:
    if is_lsst_images(hdus):
        return tree_psf(tree_of(path, hdus), path)
    hdu = pick(hdus, "EXTNAME", "PSF", version)
    if hdu is None or len(shape_of(hdu)) < 2:
        return None
    return psf_hdu(path, hdus, hdu, xy0)


def _merged(headers: Sequence[fits.Header]) -> fits.Header:
    """The image's header, and below it what the primary header adds."""
    cards: list[fits.Card] = []
    for other in headers:
        own = {*(card.keyword for card in cards), *CONTAINER_CARDS}
        for card in readable_cards(other.copy(strip=True)):
            if card.keyword not in own or card.keyword in ("HISTORY", "COMMENT", ""):
                cards.append(card)
    # All at once: a header takes longer the more cards it has to append one.
    return fits.Header(cards)


def _missing_value(headers: Sequence[fits.Header]) -> float | None:
    header = next((header for header in headers if "MASKVAL" in header), None)
    value = None if header is None else last_card(header, "MASKVAL")
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _fills(value: float | None, image: Plane, hdu: Any, step: float, name: str, remarks: list[str]) -> list[Fill]:
    """The fill value as it is read of an image's HDU, in which it may have been rounded."""
    if value is None:
        return []
    header = hdu.header
    if not step and header["BITPIX"] < 0 and value != 0:
        return [Fill(value)]
    if header["BITPIX"] > 0:
        scale, zero = (float(header.get(key, default)) for key, default in (("BSCALE", 1.0), ("BZERO", 0.0)))
        value = round((value - zero) / scale) * scale + zero if scale else value
    fill = area_fill(image, value, _ROUNDED * step)
    if fill is None or fill.area > 1:
        remarks.append(
            f"{name}: the fill value MASKVAL is {value:g} in this file, as pixels with data may be; "
            f"{'no' if fill is None else 'only'} areas of it are taken for missing data, single pixels are not (a file "
            "of floating-point numbers without lossy compression keeps the difference, or give masks)"
        )
    return [] if fill is None else [fill]
