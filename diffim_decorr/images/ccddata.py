"""Exposures from and to `astropy.nddata.CCDData`."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from astropy.io import fits
from astropy.nddata import CCDData, InverseVariance, StdDevUncertainty, VarianceUncertainty
from astropy.units import UnitBase, dimensionless_unscaled
from astropy.utils.exceptions import AstropyWarning
from astropy.wcs import WCS
from numpy.typing import NDArray

from diffim_decorr.errors import InputError
from diffim_decorr.images.bunit import unit_of
from diffim_decorr.images.masks import any_of
from diffim_decorr.images.wcs import WCS_CARD

__all__ = ("MASKED_PLANES", "from_ccddata", "to_ccddata")

Array = NDArray[Any]

#: Planes whose pixels are of no use to whoever measures an image.
MASKED_PLANES = ("NO_DATA", "SAT", "CR", "BAD", "EDGE", "DECORR_BAD")
# How each kind of uncertainty becomes a variance.
_VARIANCES: dict[type, Callable[[Array], Array]] = {
    VarianceUncertainty: lambda values: values,
    StdDevUncertainty: np.square,
    InverseVariance: lambda values: np.where(values > 0, 1 / np.where(values > 0, values, 1), np.nan),
}
_PLANE_CARD = "MP_"


def from_ccddata(data: CCDData, name: str) -> dict[str, Any]:
    """The arguments of `Exposure` for a `CCDData`; see `Exposure.from_ccddata`."""
    if data.data is None or np.ndim(data.data) != 2:
        raise InputError(f"{name}: a CCDData must hold a 2-D image, not an array of shape {np.shape(data.data)}")
    header = _header(data)
    planes = {key[len(_PLANE_CARD) :].upper(): header[key] for key in header if key.upper().startswith(_PLANE_CARD)}
    mask, names = _mask(data, planes, name)
    psf = getattr(data, "psf", None)
    return {
        "image": np.asarray(data.data),
        "variance": _variance(data, name),
        "mask": mask,
        "mask_planes": names,
        "header": header,
        "psf": None if psf is None else np.asarray(psf),
        "missing_value": _missing_value(header),
        "name": name,
    }


def to_ccddata(
    image: Array,
    absent: Array | None,
    variance: Array | None,
    mask: Array | None,
    mask_planes: Mapping[str, int],
    header: fits.Header | None,
    psf: Array | None,
    unit: str | UnitBase | None,
    masked: Sequence[str],
) -> CCDData:
    """A `CCDData` with copies of an exposure's planes; see `Exposure.to_ccddata`."""
    header = fits.Header() if header is None else header.copy()
    for key in [key for key in header if key.upper().startswith(_PLANE_CARD)]:
        del header[key]
    image = np.array(image)
    bad = ~np.isfinite(image)
    if absent is not None:
        bad |= absent
    flags = None
    if mask is not None:
        flags = np.array(mask)
        bad |= any_of(flags, mask_planes, masked)
        for plane, bit in mask_planes.items():
            header[f"HIERARCH {_PLANE_CARD}{plane}" if len(plane) > 5 else f"{_PLANE_CARD}{plane}"] = bit
    if unit is None:
        unit = unit_of(str(header.get("BUNIT", ""))) or dimensionless_unscaled
    uncertainty = None if variance is None else VarianceUncertainty(np.array(variance))
    return CCDData(
        image, unit=unit, uncertainty=uncertainty, mask=bad, flags=flags, meta=header, wcs=_wcs(header), psf=psf
    )


def _header(data: CCDData) -> fits.Header:
    header = fits.Header()
    for key, value in dict(data.meta).items() if not isinstance(data.meta, fits.Header) else ():
        if isinstance(value, str | int | float | bool) and len(str(key)) <= 60:
            header[key if len(str(key)) <= 8 else f"HIERARCH {key}"] = value
    if isinstance(data.meta, fits.Header):
        header = data.meta.copy()
    if isinstance(data.wcs, WCS) and not _same_wcs(header, data.wcs, np.shape(data.data)):
        # What was read by CCDData.read has its WCS in the object only, and what was sliced has another one there.
        for key in [key for key in header if WCS_CARD.fullmatch(key)]:
            del header[key]
        header.update(data.wcs.to_header(relax=True))
    if data.unit is not None and data.unit != dimensionless_unscaled and "BUNIT" not in header:
        header["BUNIT"] = data.unit.to_string()
    return header


def _missing_value(header: fits.Header) -> float | None:
    """HOTPANTS' fill value."""
    value = header.get("MASKVAL")
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _wcs(header: fits.Header) -> WCS | None:
    if "CTYPE1" not in header:
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", AstropyWarning)
        return WCS(header, naxis=2)


def _same_wcs(header: fits.Header, wcs: WCS, shape: tuple[int, ...]) -> bool:
    """Whether the cards put the corners and the middle of the image where the object does."""
    own = _wcs(header)
    if own is None:
        return False
    y, x = (np.array([0.0, size - 1, (size - 1) / 2]) for size in shape)
    return np.array_equal(own.all_pix2world(x, y, 0), wcs.all_pix2world(x, y, 0), equal_nan=True)


def _variance(data: CCDData, name: str) -> Array | None:
    uncertainty = data.uncertainty
    if uncertainty is None:
        return None
    convert = _VARIANCES.get(type(uncertainty))
    if convert is None:
        raise InputError(
            f"{name}: its uncertainty is a {type(uncertainty).__name__}; understood are "
            + ", ".join(kind.__name__ for kind in _VARIANCES)
        )
    values = uncertainty.array
    power = {VarianceUncertainty: 2, StdDevUncertainty: 1, InverseVariance: -2}[type(uncertainty)]
    if uncertainty.unit is not None and data.unit is not None:
        values = values * float(uncertainty.unit.to(data.unit**power))
    variance: Array = convert(np.asarray(values))
    return variance


def _mask(data: CCDData, planes: dict[str, int], name: str) -> tuple[Array | None, dict[str, int]]:
    """Bits from flags with names, or whatever the mask marks; what has a mask only is BAD there."""
    if data.flags is not None and planes:
        flags = np.asarray(data.flags)
        if flags.dtype.kind not in "iu":
            raise InputError(f"{name}: its flags are of type {flags.dtype}, not whole numbers")
        return flags, planes
    if data.mask is None:
        return None, {}
    return (np.broadcast_to(np.asarray(data.mask) != 0, data.data.shape)).astype(np.int32), {"BAD": 0}
