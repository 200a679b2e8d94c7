"""The exposures of a file that holds several, such as the CCDs of a mosaic camera."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass

from diffim_decorr.errors import InputError
from diffim_decorr.io.companions import is_exposure
from diffim_decorr.io.hdus import is_image, open_fits, split_spec

__all__ = ("Place", "at_extension", "exposures_in", "has_extension")


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
        images = [(k, hdu) for k, hdu in enumerate(hdus) if is_image(hdu)]
        for name in ("IMAGE", "SCI"):
            if any(hdu.name == name for _, hdu in images):
                images = [(k, hdu) for k, hdu in images if hdu.name == name]
                break
        else:
            images = [(k, hdu) for k, hdu in images if is_exposure(hdu)]
        if len(images) > 1:
            images = [(k, hdu) for k, hdu in images if k > 0]
        found = [("" if hdu.name == "PRIMARY" else str(hdu.name), int(hdu.ver), k) for k, hdu in images]
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


def has_extension(path: str, extension: str) -> bool:
    """Whether a file has an HDU of that name (and version), numbers not counting."""
    name, _, version = extension.partition(",")
    wanted = int(version) if version.strip().isdigit() else 1
    with open_fits(path) as hdus:
        return any(hdu.name == name.strip().upper() and hdu.ver == wanted for hdu in hdus)


def at_extension(spec: str, extension: str) -> str:
    """What belongs to an exposure in a file of kernels or PSFs: the HDU of its name, or the file if that has none."""
    path, own = split_spec(spec)
    return f"{path}[{extension}]" if own is None and has_extension(path, extension) else spec
