"""Writing small images: a kernel at one position, a PSF or a source convolved with ψ."""

from __future__ import annotations

from typing import Any

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

from diffim_decorr._version import __version__
from diffim_decorr.io.atomic import whole_file
from diffim_decorr.io.output.cards import card_of, kept_cards
from diffim_decorr.io.output.provenance import provenance_cards
from diffim_decorr.record import Record

__all__ = ("write_kernel_image", "write_psf_image", "write_stamp")

Array = NDArray[Any]


def write_kernel_image(
    path: str, pixels: Array, source: str, form: str, at: tuple[float, float], overwrite: bool
) -> None:
    """Write a kernel at one position as an image.

    Parameters
    ----------
    path
        The file to write.
    pixels
        The kernel image (h, w).
    source, form
        Where it comes from: a file and its format.
    at
        The position (x, y), 0-based.
    overwrite
        Whether to replace a file that exists.
    """
    header = fits.Header()
    header["DCKFORM"] = (form, "format that the kernel came in")
    header["DCATX"], header["DCATY"] = (at[0], "[pixel] position in the field, 0-based"), (at[1], "[pixel]")
    header.add_history(f"kernel of {source.encode('ascii', 'backslashreplace').decode()}")
    with whole_file(path, overwrite) as temporary, open(temporary, "wb") as file:
        fits.PrimaryHDU(pixels, header).writeto(file, checksum=True)


def write_psf_image(
    path: str, pixels: Array, source: str, at: tuple[float, float], response: bool, overwrite: bool
) -> None:
    """Write a PSF at one position as an image; see `write_kernel_image` for the parameters.

    Whether it is that of a decorrelated image is recorded, for it must not be convolved with ψ once more.
    """
    header = fits.Header([card_of("PSFFILE", source, "where the PSF is from")])
    header["PSFX"], header["PSFY"] = (at[0], "[pixel] where it was taken, 0-based"), (at[1], "[pixel]")
    if response:
        header["PSFRESP"] = (True, "PSF of a decorrelated image")
    with whole_file(path, overwrite) as temporary, open(temporary, "wb") as file:
        fits.PrimaryHDU(pixels.astype(np.float32), header).writeto(file, checksum=True)


def write_stamp(
    path: str, pixels: Array, header: fits.Header | None, margin: int, record: Record, overwrite: bool
) -> None:
    """Write a small image that was convolved at one position.

    Parameters
    ----------
    path
        The file to write.
    pixels
        The result (h, w).
    header
        Of the image that was convolved.
    margin
        By how many pixels it has grown on each side.
    record
        How it was made.
    overwrite
        Whether a file that is there may be replaced.
    """
    result = fits.Header()
    for card in kept_cards(header):
        result.append(card, end=True)
    for keyword in [*result.keys()]:
        if keyword.startswith(("CRPIX1", "CRPIX2")) and isinstance(result[keyword], int | float):
            result[keyword] += margin
    for card in provenance_cards(record):
        result.append(card, end=True)
    result.add_history(f"convolved with a decorrelation kernel by decorr {__version__}")
    with whole_file(path, overwrite) as temporary, open(temporary, "wb") as file:
        fits.PrimaryHDU(pixels, result).writeto(file, checksum=True)
