"""The exposures of a file that holds several, such as the CCDs of a mosaic camera."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from astropy.io import fits

from diffim_decorr.errors import InputError
from diffim_decorr.io.companions import is_exposure
from diffim_decorr.io.hdus import Extension, is_image, is_numpy_archive, open_fits, select_hdu, split_spec
from diffim_decorr.io.psfs import psf_numbers

__all__ = ("Place", "at_extension", "exposures_in", "has_extension", "psf_of")


@dataclass(frozen=True)
class Place:
    """Where one of several exposures in a file is from.

    Parameters
    ----------
    number
        Counted from 1; the EXTVER of its HDUs.
    name, version
        EXTNAME and EXTVER of the difference.
    """

    number: int
    name: str
    version: int


def exposures_in(spec: str | os.PathLike[str]) -> dict[str, Place]:
    """The exposures of a file.

    Parameters
    ----------
    spec
        The file.

    Returns
    -------
    places
        By what is to be put between brackets: ``NAME``, ``NAME,VERSION``, or the number of an HDU without a name. These
        are the HDUs called IMAGE, or else SCI, or else all 2-D images that are no companions by their names; the first
        HDU is not among them if there are others.

    Raises
    ------
    InputError
        If the file cannot be read or has no image.
    """
    path, extension = split_spec(spec)
    if extension is not None:
        raise InputError(f"{path}[{extension}]: all HDUs are asked for, and one of them")
    with open_fits(path) as hdus:
        found = [("" if hdu.name == "PRIMARY" else str(hdu.name), int(hdu.ver), k) for k, hdu in _exposures(hdus)]
    if not found:
        raise InputError(f"{path}: no HDU holds a 2-D image")
    times = Counter((name, version) for name, version, _ in found)
    places = {}
    for number, (name, version, k) in enumerate(found, 1):
        if not name or times[name, version] > 1:
            places[str(k)] = Place(number, name or str(k), version)
        else:
            places[name if version == 1 else f"{name},{version}"] = Place(number, name, version)
    return places


def _exposures(hdus: fits.HDUList) -> list[tuple[int, Any]]:
    """Numbers and HDUs of the exposures in a file."""
    images = [(k, hdu) for k, hdu in enumerate(hdus) if is_image(hdu)]
    # LSST tells planes without names apart by this card, and its files have one exposure.
    if any(hdu.header.get("EXTTYPE") == "IMAGE" for _, hdu in images):
        return [(k, hdu) for k, hdu in images if hdu.header.get("EXTTYPE") == "IMAGE"]
    for name in ("IMAGE", "SCI"):
        if any(hdu.name == name for _, hdu in images):
            images = [(k, hdu) for k, hdu in images if hdu.name == name]
            break
    else:
        images = [(k, hdu) for k, hdu in images if is_exposure(hdu)]
    return [(k, hdu) for k, hdu in images if k > 0] if len(images) > 1 else images


def psf_of(spec: str, images: Sequence[str]) -> str:
    """The PSF that belongs to an exposure, in a file that may hold those of all CCDs of a mosaic.

    Parameters
    ----------
    spec
        The file.
    images
        Images of the exposure, ``name.fits[EXT]`` where they are among several.

    Returns
    -------
    spec
        With the HDU of an image's name; or else, if there are as many PSFs as exposures in a file of the images, as in
        the models that PSFEx writes, the one of the same place among them; or else the file as it is.
    """
    path, own = split_spec(spec)
    if own is not None:
        return spec
    extensions = {image: split_spec(image)[1] for image in images}
    for extension in extensions.values():
        text = ",".join(map(str, extension)) if isinstance(extension, tuple) else str(extension)
        if isinstance(extension, str | tuple) and has_extension(path, text):
            return f"{path}[{text}]"
    numbers = psf_numbers(path)
    for image, extension in extensions.items():
        if len(numbers) > 1 and extension is not None:
            place, count = _place_among(split_spec(image)[0], extension)
            if count == len(numbers) and place is not None:
                return f"{path}[{numbers[place]}]"
    return spec


def _place_among(path: str, extension: Extension) -> tuple[int | None, int]:
    """Place of an HDU among the exposures of its file, counted from 0, and how many there are."""
    with open_fits(path) as hdus:
        exposures = _exposures(hdus)
        chosen = select_hdu(path, hdus, extension)
        return next((k for k, (_, hdu) in enumerate(exposures) if hdu is chosen), None), len(exposures)


def has_extension(path: str, extension: str) -> bool:
    """Whether a file has an HDU of that name (and version), numbers not counting."""
    if is_numpy_archive(path):
        return False
    name, _, version = extension.partition(",")
    wanted = int(version) if version.strip().isdigit() else 1
    with open_fits(path) as hdus:
        return any(hdu.name == name.strip().upper() and hdu.ver == wanted for hdu in hdus)


def at_extension(spec: str, extension: str) -> str:
    """What belongs to an exposure in a file of kernels: the HDU of its name, or the file if that has none."""
    path, own = split_spec(spec)
    return f"{path}[{extension}]" if own is None and has_extension(path, extension) else spec
