"""Reading PSFs: an image, a cube of images on a grid of positions, or a PSFEx model."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

from diffim_decorr.errors import InputError
from diffim_decorr.geometry import Box
from diffim_decorr.io.hdus import (
    column_names,
    damaged,
    hdu_label,
    is_image,
    is_numpy_archive,
    open_fits,
    read_array,
    select_hdu,
    shape_of,
    split_spec,
)
from diffim_decorr.io.headers import parent_origin
from diffim_decorr.kernels.coefficients import PolynomialCoefficients
from diffim_decorr.kernels.grid import GridCoefficients, on_grid
from diffim_decorr.kernels.spatial import SpatialKernel
from diffim_decorr.threads import serial_blas

__all__ = ("holds_psf", "is_response", "psf_hdu", "psf_numbers", "read_psf", "said_to_be_psf")

Array = NDArray[Any]

_LARGEST_PSF = 1001
_LARGEST_DEGREE = 20
_MOST_AXES = 10
_NEGATIVE = 0.1  # of the peak; no PSF goes as far below zero
# The interpolant that PSFEx has fitted the model with.
_LANCZOS = 4
_PSFEX_CARDS = ("POLNAXIS", "PSFNAXIS", "PSFAXIS1", "PSFAXIS2", "PSF_SAMP")


def read_psf(spec: str | os.PathLike[str], xy0: tuple[int, int] = (0, 0)) -> Array | SpatialKernel:
    """Read a PSF, normalised to a sum of 1 everywhere but for that of decorr's own outputs.

    Parameters
    ----------
    spec
        A FITS file, or ``name.fits[EXT]``. It holds a 2-D image; a cube (n, h, w) and a table of the n positions X, Y;
        or a PSFEx model. Without ``[EXT]`` the only PSFEx model, or HDU named PSF, or image, is meant.
    xy0
        Position of the image's first pixel in its parent frame, which positions of a grid are in.

    Returns
    -------
    psf
        The image (h, w), or a `SpatialKernel` if the PSF varies over the field.

    Raises
    ------
    InputError
        If it is no PSF, or one without a positive, finite sum.

    References
    ----------
    Bertin 2011, ASP Conf. Ser. 442, 435, and the PSFEx manual for its models.
    """
    path, extension = split_spec(spec)
    with open_fits(path) as hdus:
        hdu = _only_psf(path, hdus) if extension is None else select_hdu(path, hdus, extension)
        return psf_hdu(path, hdus, hdu, xy0)


def psf_numbers(path: str) -> list[int]:
    """Numbers of the HDUs of a file that hold a PSF."""
    with open_fits(path) as hdus:
        found = _psfs(hdus)
        return [k for k, hdu in enumerate(hdus) if any(hdu is one for one in found)]


def holds_psf(spec: str | os.PathLike[str]) -> bool:
    """Whether a file, or the HDU that is named, holds a PSF and says so."""
    path, extension = split_spec(spec)
    with open_fits(path) as hdus:
        looked_at = hdus if extension is None else [select_hdu(path, hdus, extension)]
        return any(_is_psfex(hdu) or _is_called_psf(hdu) for hdu in looked_at)


def said_to_be_psf(spec: str | os.PathLike[str]) -> str | None:
    """The card by which an image says that it is a PSF; None if it does not, or is something else as well."""
    path, extension = split_spec(spec)
    if is_numpy_archive(path):
        return None
    with open_fits(path) as hdus:
        hdu = (hdus[0] if len(hdus) == 1 else None) if extension is None else select_hdu(path, hdus, extension)
        if hdu is None:
            return None
        if _is_called_psf(hdu):
            return "EXTNAME"
        named = re.match(r"PSF\b(?!\s*J?\d)", str(hdu.header.get("OBJECT", "")), re.IGNORECASE)
        return "OBJECT" if named else next((card for card in ("PSFRESP", "PSFFILE") if card in hdu.header), None)


def _psfs(hdus: fits.HDUList) -> list[Any]:
    """PSFEx models; or else the HDUs called PSF; or else all that have pixels."""
    kinds: tuple[Callable[[Any], bool], ...] = (_is_psfex, _is_called_psf, _has_pixels)
    return next((found for found in ([hdu for hdu in hdus if kind(hdu)] for kind in kinds) if found), [])


def _only_psf(path: str, hdus: fits.HDUList) -> Any:
    found = _psfs(hdus)
    if not found:
        raise InputError(f"{path}: no HDU holds a PSF")
    if _is_response(hdus) and not _is_called_psf(found[0]):
        raise InputError(
            f"{path}: has no PSF, for the run was given none: give decorr run that of the input that was not convolved "
            "(--psf)"
        )
    if not _is_psfex(found[0]) and not _is_called_psf(found[0]):
        _refuse_sky(path, hdus, found[0])
    if len(found) > 1:
        numbers = [k for k, hdu in enumerate(hdus) if any(hdu is one for one in found)]
        listed = ", ".join(f"[{k}]{f' {hdu.name}' if hdu.name else ''}" for k, hdu in zip(numbers, found, strict=True))
        raise InputError(f"{path}: holds {len(found)} PSFs, {listed}: name the one that is meant as {path}[HDU]")
    return found[0]


def _refuse_sky(path: str, hdus: fits.HDUList, hdu: Any) -> None:
    """Refuse an image that is not called a PSF, and has a place on the sky and pixels without data or below zero."""
    if "CTYPE1" not in hdu.header or len(shape_of(hdu)) != 2:
        return
    pixels = read_array(hdus, hdu, hdu_label(path, hdus, hdu))
    if not (np.isfinite(pixels).all() and pixels.min() >= -_NEGATIVE * pixels.max()):
        height, width = pixels.shape
        raise InputError(f"{path}: holds no PSF, but an image of the sky of {width} x {height} pixels")


def _is_called_psf(hdu: Any) -> bool:
    return any(str(hdu.header.get(card, "")).strip().upper() == "PSF" for card in ("EXTTYPE", "EXTNAME"))


def psf_hdu(path: str, hdus: fits.HDUList, hdu: Any, xy0: tuple[int, int]) -> Array | SpatialKernel:
    """The PSF in an HDU of an open file; see `read_psf`."""
    name = hdu_label(path, hdus, hdu)
    if _is_psfex(hdu):
        return _psfex(hdu, name)
    pixels = read_array(hdus, hdu, name)
    if pixels.ndim == 3:
        psf = _grid(pixels, path, hdus, hdu)
        if isinstance(psf, np.ndarray):
            return psf
        return replace(psf, field=_field(hdus, hdu, psf, name)).shifted(-xy0[0], -xy0[1])
    if pixels.ndim != 2:
        raise InputError(f"{name}: a PSF must be a 2-D image, not an array of shape {pixels.shape}")
    image: Array = _normalised(pixels[None], name, _is_response(hdus))[0]
    return image


def is_response(spec: str) -> bool:
    """Whether a file holds the PSF of a decorrelated image, not that of an input."""
    path, extension = split_spec(spec)
    with open_fits(path) as hdus:
        inputs = extension is not None and str(select_hdu(path, hdus, extension).name).startswith("PSF_INPUT")
        return (_is_response(hdus) and not inputs) or hdus[0].header.get("PSFRESP") is True


def _is_response(hdus: fits.HDUList) -> bool:
    """Whether a file is an output of decorr, whose PSF is the response to a source: where ψ varies its sum is not 1."""
    return "DCVERS" in hdus[0].header


def _field(hdus: fits.HDUList, hdu: Any, psf: SpatialKernel, name: str) -> Box:
    """Where in the parent frame a PSF on a grid holds: all over the image in the same file, or about its positions."""
    versions = [other for other in hdus if other.ver == hdu.ver and is_image(other)]
    image = next((other for other in versions if other.name in ("IMAGE", "SCI", "PRIMARY")), None)
    if image is not None:
        height, width = image.shape[-2:]
        return Box(0, 0, width, height).shifted(*parent_origin([image.header, hdus[0].header], name))
    assert isinstance(psf.coefficients, GridCoefficients)
    # Without an image, as far beyond the outermost positions as these are from their neighbours.
    ends = []
    for knots in (psf.coefficients.x, psf.coefficients.y):
        steps = np.diff(knots)[[0, -1]] if len(knots) > 1 else np.zeros(2)
        ends.append((math.floor(knots[0] - steps[0]), math.ceil(knots[-1] + steps[1]) + 1))
    return Box(ends[0][0], ends[1][0], ends[0][1], ends[1][1])


def _has_pixels(hdu: Any) -> bool:
    return bool(shape_of(hdu))


def _normalised(images: Array, name: str, as_it_is: bool = False) -> Array:
    """PSF images (n, h, w), each divided by its sum unless it is to be left as it is."""
    if max(images.shape[1:]) > _LARGEST_PSF:
        raise InputError(f"{name}: {images.shape[2]} x {images.shape[1]} pixels look like an image, not a PSF")
    if not np.all(np.isfinite(images)):
        raise InputError(f"{name}: the PSF has pixels that are not finite")
    totals = images.sum(axis=(1, 2))
    if not np.all(totals > 0):
        raise InputError(f"{name}: the PSF has a sum of {totals.min():.4g}, which must be positive")
    normalised: Array = images if as_it_is else images / totals[:, None, None]
    return normalised


def _grid(cube: Array, path: str, hdus: fits.HDUList, hdu: Any) -> Array | SpatialKernel:
    """Images at positions of a full rectangular grid, in any order; of one position, the image."""
    name = hdu_label(path, hdus, hdu)
    # A file of several exposures has a cube and a table for each.
    tables = [h for h in hdus if isinstance(h, fits.BinTableHDU | fits.TableHDU) and _has_positions(h)]
    tables = [h for h in tables if h.name == f"{hdu.name}_POSITIONS"] or tables
    table = next((h for h in tables if h.ver == hdu.ver), tables[0] if tables else None)
    if table is None:
        raise InputError(f"{name}: a cube of PSFs needs a table with their positions, columns X and Y")
    with damaged(hdu_label(path, hdus, table)):
        x, y = (np.asarray(table.data[column], dtype=np.float64) for column in "XY")
    if x.shape != (len(cube),) or y.shape != (len(cube),):
        raise InputError(f"{name}: a cube of {len(cube)} PSFs, but {x.size} positions")
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        raise InputError(f"{name}: a position of the PSFs is not finite")
    images = _normalised(cube, name, _is_response(hdus))
    if len(images) == 1:
        image: Array = images[0]
        return image
    knots_x, column = np.unique(x, return_inverse=True)
    knots_y, row = np.unique(y, return_inverse=True)
    order = np.full((len(knots_y), len(knots_x)), -1)
    order[row, column] = np.arange(len(images))
    if order.size != len(images) or (order < 0).any():
        raise InputError(
            f"{name}: the positions of the {len(images)} PSFs are not a full rectangular grid, having {len(knots_x)} "
            f"different X and {len(knots_y)} different Y"
        )
    return on_grid(images[order], knots_x, knots_y)


def _has_positions(table: Any) -> bool:
    return {"X", "Y"} <= {name.upper() for name in column_names(table)}


def _is_psfex(hdu: Any) -> bool:
    return isinstance(hdu, fits.BinTableHDU) and "PSF_MASK" in hdu.columns.names and "POLNAXIS" in hdu.header


def _psfex(hdu: Any, name: str) -> Array | SpatialKernel:
    """A PSFEx model at the image's own sampling.

    The model is a sum of images times the terms ``u**i v**j`` (j outermost, i + j up to POLDEG1) of
    ``u = (X - POLZERO1) / POLSCAL1`` and v likewise, X and Y counted from 1. Its pixels have PSF_SAMP times the size of
    the image's and hold the PSF's value at their centres, the image's pixel response included. It is interpolated at
    the centres of the image's pixels with the Lanczos function of order 4, as PSFEx does.
    """
    header = hdu.header
    with damaged(name):
        cards = {key: header[key] for key in _PSFEX_CARDS}
        mask = np.asarray(hdu.data["PSF_MASK"][0], dtype=np.float64)
    for key, value in cards.items():
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise InputError(f"{name}: card {key} = {value!r} is not a number")
    step = float(cards["PSF_SAMP"])
    if not 0 < step < np.inf:
        raise InputError(f"{name}: the sampling step PSF_SAMP = {step:g} is not positive")
    powers, origin, scale = _psfex_polynomial(header, int(cards["POLNAXIS"]), name)
    images = mask.reshape(-1, *mask.shape[-2:])
    if len(images) != len(powers):
        raise InputError(f"{name}: a PSFEx model of {len(images)} images, but {len(powers)} polynomial terms")
    if not np.all(np.isfinite(images)):
        raise InputError(f"{name}: the PSF has pixels that are not finite")
    resampled = _resampled(images, step, name)
    first, others = _normalised(resampled[:1], name), resampled[1:] / resampled[0].sum()
    # The sum is 1 everywhere if that of all images but the first is 0.
    basis = np.concatenate([first, others - others.sum(axis=(1, 2), keepdims=True) * first])
    if len(basis) == 1:
        image: Array = basis[0]
        return image
    # X and Y of FITS begin at 1.
    position = origin[0] - 1, origin[1] - 1
    # The model was fitted within half a scale of its origin; polynomials are not to be believed much farther out.
    (x0, x1), (y0, y1) = (
        (math.floor(o - abs(s)), math.ceil(o + abs(s)) + 1) for o, s in zip(position, scale, strict=True)
    )
    coefficients = PolynomialCoefficients(np.eye(len(powers)), powers, position, scale)
    return SpatialKernel(basis, coefficients, Box(x0, y0, x1, y1))


def _psfex_polynomial(
    header: fits.Header, axes: int, name: str
) -> tuple[Array, tuple[float, float], tuple[float, float]]:
    """Powers (terms, 2), origin and scale of the polynomial, a constant if there are no axes."""
    if axes == 0:
        return np.zeros((1, 2), dtype=int), (0.0, 0.0), (1.0, 1.0)
    numbers = range(1, min(axes, _MOST_AXES) + 1)
    names = [str(header.get(f"POLNAME{k}", "")).strip() for k in numbers]
    groups = [header.get(f"POLGRP{k}", 1) for k in numbers]
    patterns = (r"X\w*_IMAGE(_DBL)?", r"Y\w*_IMAGE(_DBL)?")
    if axes != 2 or any(not re.fullmatch(p, n) for p, n in zip(patterns, names, strict=True)) or len(set(groups)) != 1:
        raise InputError(
            f"{name}: the PSFEx model depends on {', '.join(names) or 'nothing'} in {len(set(groups))} group(s); only "
            "X_IMAGE and Y_IMAGE in one group are understood"
        )
    with damaged(name):
        degree = float(header["POLDEG1"])
        x, y = (float(header[f"POLZERO{k}"]) for k in (1, 2))
        scale_x, scale_y = (float(header[f"POLSCAL{k}"]) for k in (1, 2))
    if not (
        0 <= degree <= _LARGEST_DEGREE
        and degree == int(degree)
        and np.isfinite([x, y, scale_x, scale_y]).all()
        and scale_x
        and scale_y
    ):
        raise InputError(f"{name}: POLDEG1, POLZERO and POLSCAL make no polynomial")
    powers = [(i, j) for j in range(int(degree) + 1) for i in range(int(degree) + 1 - j)]
    return np.array(powers), (x, y), (scale_x, scale_y)


def _resampled(images: Array, step: float, name: str) -> Array:
    """Images (n, h, w) in pixels of ``step`` times the size, in pixels of size 1 and of an odd number."""
    if step == 1:
        return images
    if max(images.shape[1:]) * step > _LARGEST_PSF:
        raise InputError(f"{name}: pixels of {step:g} times the image's size make no PSF (PSF_SAMP)")
    rows, columns = (_lanczos(size, step) for size in images.shape[1:])
    with serial_blas():
        resampled: Array = rows @ images @ columns.T
    return resampled


def _lanczos(size: int, step: float) -> Array:
    """The matrix that interpolates ``size`` pixels of ``step`` times the size at the centres of pixels of size 1."""
    reach = int(np.floor(min(size // 2, (size - 1) - size // 2) * step))
    positions = np.arange(-reach, reach + 1) / step + size // 2
    offsets = positions[:, None] - np.arange(size)
    weights = np.where(np.abs(offsets) < _LANCZOS, np.sinc(offsets) * np.sinc(offsets / _LANCZOS), 0.0)
    matrix: Array = weights / weights.sum(axis=1, keepdims=True)
    return matrix
