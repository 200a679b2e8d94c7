"""Writing files for the tests, spoiling them, and checking those that were made."""

from __future__ import annotations

import gzip
import os
import shutil
import subprocess
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits

from diffim_decorr import Exposure
from support.kernels import gaussian
from support.noise import PLANES, noise_pair
from support.reference import convolved

__all__ = (
    "INPUTS",
    "LAYOUTS",
    "SHAPE",
    "WHERE",
    "cube_hdus",
    "gzipped",
    "has_plane",
    "image_hdu",
    "image_planes",
    "listing",
    "make_inputs",
    "replace_card",
    "sound",
    "verified",
    "write_exposure",
    "write_hdus",
)

#: (ny, nx) of the inputs below, unless said otherwise.
SHAPE = (80, 96)
#: What `make_inputs` makes, as arguments of ``decorr run``.
INPUTS = ("sci.fits", "tmpl.fits", "diff.fits", "--kernel", "kernel.fits")

#: Layouts of outputs, and where in them the image, the mask and the variance or standard deviation are: what is put
#: to the name of the file, and the HDU.
LAYOUTS = ("lsst", "sci-err-dq", "flat")
WHERE = {
    "lsst": (("", "IMAGE"), ("", "MASK"), ("", "VARIANCE")),
    "sci-err-dq": (("", "SCI"), ("", "DQ"), ("", "ERR")),
    "flat": (("", 0), ("_mask", 0), ("_variance", 0)),
}


# Written


def image_hdu(data: Any, name: str = "", version: int = 1, **cards: Any) -> fits.ImageHDU:
    hdu = fits.ImageHDU(data, name=name or None, ver=version)
    hdu.header.update(cards)
    return hdu


def write_hdus(path: Path, *hdus: Any, **primary: Any) -> Path:
    """A file of some HDUs after a primary one without pixels."""
    first = fits.PrimaryHDU()
    first.header.update(primary)
    fits.HDUList([first, *hdus]).writeto(path, overwrite=True)
    return path


def cube_hdus(images: Any, x: Any, y: Any, name: str = "KERNEL") -> list[Any]:
    """A cube of kernels or PSFs and the table of their positions."""
    columns = [fits.Column(column, "D", array=values) for column, values in (("X", x), ("Y", y))]
    return [fits.ImageHDU(images, name=name), fits.BinTableHDU.from_columns(columns, name="POSITIONS")]


def write_exposure(
    path: Path, image: np.ndarray, variance: np.ndarray | None = None, mask: np.ndarray | None = None
) -> Path:
    """IMAGE, MASK and VARIANCE by name."""
    hdus = [image_hdu(image.astype("f4"), "IMAGE")]
    hdus.append(image_hdu(np.zeros(image.shape, "i4") if mask is None else mask.astype("i4"), "MASK"))
    for name, bit in PLANES.items():
        hdus[-1].header[f"MP_{name}" if len(name) <= 5 else f"HIERARCH MP_{name}"] = bit
    if variance is not None:
        hdus.append(image_hdu(variance.astype("f4"), "VARIANCE"))
    return write_hdus(path, *hdus)


def make_inputs(folder: Path, shape: tuple[int, int] = SHAPE) -> None:
    """A science image and a template of white noise, their difference, the kernel of it and PSFs."""
    science, template = (image.astype("f4") for image in noise_pair(7, shape, 2.0**2, 1.5**2))
    kernel = gaussian(9, 1.4)
    mask = np.zeros(shape, "i4")
    mask[20, 30:34] = 1 << PLANES["SAT"]
    mask[50:52, 60] = 1 << PLANES["CR"]
    for name, image, sigma in (("sci", science, 2.0), ("tmpl", template, 1.5)):
        write_exposure(folder / f"{name}.fits", image, np.full(shape, sigma**2), mask)
    difference = science - convolved(template, kernel).astype("f4")
    difference[10, 12] = np.nan
    header = fits.Header(
        [
            ("OBJECT", "field 7", "what was observed"),
            ("BUNIT", "adu"),
            ("CTYPE1", "RA---TAN"),
            ("CTYPE2", "DEC--TAN"),
            ("CRPIX1", 48.5),
            ("CRPIX2", 40.5),
            ("CRVAL1", 150.1),
            ("CRVAL2", 2.2),
            ("CUNIT1", "deg"),
            ("CUNIT2", "deg"),
            ("CD1_1", -5.5e-5),
            ("CD1_2", 1e-6),
            ("CD2_1", 1e-6),
            ("CD2_2", 5.5e-5),
            ("RADESYS", "ICRS"),
            ("MJD-OBS", 60100.25, "[d] start of the exposure"),
            ("DATE-OBS", "2023-06-05T06:00:00"),
        ]
    )
    header.add_history("made for a test")
    fits.writeto(folder / "diff.fits", difference, header, overwrite=True)
    fits.writeto(folder / "kernel.fits", kernel, overwrite=True)
    fits.writeto(folder / "psf.fits", gaussian(9, 1.6).astype("f4"), overwrite=True)


# Changed


def replace_card(path: Path, keyword: str, text: str | bytes) -> None:
    """Put a text in the place of the first card of a keyword, whatever the standard has to say to that."""
    content = path.read_bytes()
    begin = content.index(keyword.ljust(8).encode() + b"=")
    card = text.encode() if isinstance(text, str) else text
    path.write_bytes(content[:begin] + card.ljust(80) + content[begin + 80 :])


def gzipped(path: Path) -> Path:
    """A compressed copy beside the file."""
    packed = path.with_name(path.name + ".gz")
    packed.write_bytes(gzip.compress(path.read_bytes(), 1))
    return packed


# Looked at


def listing(folder: Path) -> dict[str, bytes | None]:
    """Every file in a folder with its content."""
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None
        for path in sorted(folder.rglob("*"))
    }


def has_plane(masked: Exposure | Any, name: str) -> np.ndarray:
    """Where a named mask plane is set, of an exposure or of a mask's HDU."""
    if isinstance(masked, Exposure):
        mask, bit = masked.mask, masked.mask_planes[name]
    else:
        mask, bit = masked.data, _plane_bit(masked.header.items(), name)
    assert mask is not None
    return (mask >> bit) & 1 == 1


def _plane_bit(cards: Iterable[tuple[str, Any]], name: str) -> int:
    return next(value for key, value in cards if key.endswith(f"MP_{name}"))


def image_planes(path: Path) -> Iterator[np.ndarray]:
    """The pixels of all images in a file but the primary one."""
    with fits.open(path) as hdus:
        for hdu in hdus[1:]:
            if hdu.is_image:
                yield hdu.data.copy()


def sound(path: Path) -> None:
    """What fitscheck checks, and that the headers keep to the standard."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with fits.open(path, checksum=True, disable_image_compression=True) as hdus:
            for hdu in hdus:
                assert "CHECKSUM" in hdu.header
                assert "DATASUM" in hdu.header
                assert hdu.verify_checksum() == 1
                assert hdu.verify_datasum() == 1
                hdu.verify("exception")
        with fits.open(path) as hdus:
            for hdu in hdus:
                assert hdu.data is None or hdu.data.size


def verified(path: Path) -> None:
    """fitsverify has nothing to say."""
    command = shutil.which("fitsverify")
    if command is None:
        if "DECORR_NEEDS_FITSVERIFY" in os.environ:
            pytest.fail("there is no fitsverify, which could have been installed")
        pytest.skip("there is no fitsverify (Debian: package fitsverify)")
    if path.suffix == ".gz":
        unpacked = path.with_suffix("")
        unpacked.write_bytes(gzip.decompress(path.read_bytes()))
        path = unpacked
    done = subprocess.run([command, path], capture_output=True, text=True, check=False)
    assert "Verification found 0 warning(s) and 0 error(s)" in done.stdout, done.stdout
    assert done.returncode == 0
