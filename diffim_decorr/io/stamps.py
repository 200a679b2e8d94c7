"""Writing small images: a kernel at one position, a PSF or a source convolved with ψ."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from astropy.io import fits
from numpy.typing import NDArray

from diffim_decorr._version import __version__
from diffim_decorr.io.fits import readable_cards
from diffim_decorr.io.output import _DROPPED_CARD, _card
from diffim_decorr.io.whole import whole_file

__all__ = ("origin_cards", "write_kernel_image", "write_stamp")

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
    with whole_file(path, overwrite) as temporary:
        fits.PrimaryHDU(pixels, header).writeto(temporary, overwrite=True, checksum=True)


def write_stamp(
    path: str,
    pixels: Array,
    header: fits.Header | None,
    margin: int,
    inputs: dict[str, str],
    at: tuple[float, float],
    overwrite: bool,
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
    inputs
        Names of the input files by card.
    at
        The position (x, y), 0-based.
    overwrite
        Whether a file that is there may be replaced.
    """
    result = fits.Header()
    for card in [] if header is None else readable_cards(header):
        if not _DROPPED_CARD.fullmatch(card.keyword):
            result.append(card, bottom=True)
    for keyword in [*result.keys()]:
        if keyword.startswith(("CRPIX1", "CRPIX2")) and isinstance(result[keyword], int | float):
            result[keyword] += margin
    where = [("DCATX", at[0], "[pixel] position in the field, 0-based"), ("DCATY", at[1], "[pixel]")]
    for item in [*origin_cards(inputs), *where]:
        result.append(_card(*item), bottom=True)
    result.add_history(f"convolved with a decorrelation kernel by decorr {__version__}")
    with whole_file(path, overwrite) as temporary:
        fits.PrimaryHDU(pixels, result).writeto(temporary, overwrite=True, checksum=True)


def origin_cards(inputs: dict[str, str]) -> list[tuple[str, Any, str]]:
    """Who made a file, when, and from what."""
    return [
        ("DCVERS", __version__, "version of decorr"),
        ("DCDATE", datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S"), "[UTC] time of convolution"),
        *((f"DC{key}", name, "input file") for key, name in inputs.items()),
    ]
