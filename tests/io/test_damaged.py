"""Files of images that cannot be used end in one clear line, and nothing is written or lost."""

from __future__ import annotations

import bz2
import gzip
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits

from support.command import decorr, refused
from support.files import INPUTS, SHAPE, write_exposure
from support.noise import PLANES
from support.spoil import Args, Spoil, be_directory, be_pipe, card, cut, pixels, table, write

NY, NX = SHAPE


FILES = {
    "missing": (Path.unlink, "no such file"),
    "dangling link": (lambda path: (path.unlink(), path.symlink_to("nowhere"))[0], "no such file"),
    "empty": (cut(0), "the file is empty"),
    "text": (write(b"not an image\n"), "not a FITS file"),
    "directory": (be_directory, "is a directory"),
    "pipe": (be_pipe, "is not a regular file"),
    "begins like FITS": (write(b"SIMPLE and nothing else"), "truncated"),
    "cut in the header": (cut(1000), "the header has no end"),
    "cut in the data": (cut(2880 + 5000), "truncated: the header declares an array of 96 x 80"),
    "huge axis": (card("NAXIS1  = 999999999999", "NAXIS1"), "truncated: the header declares an array of 999999999999"),
    "huge product": (card("NAXIS2  = 9223372036854775807", "NAXIS2"), "truncated"),
    "negative axis": (card("NAXIS1  = -96", "NAXIS1"), "NAXIS1 = -96 is negative"),
    "axis of letters": (card("NAXIS1  = 'wide'", "NAXIS1"), "NAXIS1 = 'wide' is not a whole number"),
    "no axis": (card("COMMENT", "NAXIS1"), "there is no card NAXIS1"),
    "too many axes": (card("NAXIS   = 1000", "NAXIS"), "NAXIS = 1000 is not from 0 to 999"),
    "strange pixels": (card("BITPIX  = 33", "BITPIX"), "BITPIX = 33"),
    "not gzip": (write(b"\x1f\x8b" + 100 * b"no"), "damaged"),
    "cut gzip": (write(gzip.compress(5000 * b"SIMPLE", mtime=0)[:-20]), "damaged"),
    "cut bzip2": (write(bz2.compress(5000 * b"SIMPLE")[:-9]), "damaged"),
    "compress": (write(b"\x1f\x9d" + bytes(99)), "is compressed by compress, which is not read: uncompress it"),
    "zip": (write(b"PK\x03\x04" + bytes(99)), "is compressed by zip, which is not read: uncompress it"),
    "gzipped text": (write(gzip.compress(b"not an image\n", mtime=0)), "what is compressed in it is not a FITS file"),
    "one axis": (pixels(np.ones(50)), "no HDU holds a 2-D image"),
    "three axes": (pixels(np.ones((3, 8, 9))), "no HDU holds a 2-D image"),
    "no pixels": (lambda path: fits.PrimaryHDU().writeto(path, overwrite=True), "no HDU holds a 2-D image"),
    "a table": (table, "no HDU holds a 2-D image"),
    "all NaN": (pixels(np.full(SHAPE, np.nan)), "not one pixel of the image holds data"),
    "another shape": (pixels(np.ones((NY, NX - 1), "f4")), f"{NX - 1} x {NY}"),
}


@pytest.mark.parametrize("defect", FILES)
def test_difference(folder: Path, defect: str) -> None:
    spoil, says = FILES[defect]
    spoil(folder / "diff.fits")
    refused(folder, ("diff.fits", says), "run", *INPUTS)


@pytest.mark.parametrize("defect", ["missing", "text", "cut gzip", "huge axis"])
def test_in_a_process_of_its_own(folder: Path, defect: str) -> None:
    spoil, says = FILES[defect]
    spoil(folder / "diff.fits")
    refused(folder, ("diff.fits", says), "run", *INPUTS, run=decorr)


@pytest.mark.parametrize("defect", ["missing", "text", "cut in the data", "three axes", "all NaN", "another shape"])
@pytest.mark.parametrize("name", ["sci.fits", "tmpl.fits"])
def test_science_and_template(folder: Path, name: str, defect: str) -> None:
    spoil, says = FILES[defect]
    shutil.copy(folder / "diff.fits", folder / name)
    spoil(folder / name)
    refused(folder, (name, says), "run", *INPUTS)


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may read everything")
def test_file_that_may_not_be_read(folder: Path) -> None:
    (folder / "sci.fits").chmod(0)
    refused(folder, ("sci.fits", "cannot be read: Permission denied"), "run", *INPUTS)


def exposure(path: Path, **planes: np.ndarray) -> None:
    good = {"image": np.ones(SHAPE, "f4"), "mask": np.zeros(SHAPE, "i4"), "variance": np.ones(SHAPE, "f4")}
    write_exposure(path, **{**good, **planes})


def variance_of(value: float) -> Spoil:
    return lambda folder: (exposure(folder / "sci.fits", variance=np.full(SHAPE, value, "f4")), INPUTS)[1]


def all_masked(plane: str) -> Spoil:
    mask = np.full(SHAPE, 1 << PLANES[plane], "i4")
    return lambda folder: (exposure(folder / "sci.fits", mask=mask), INPUTS)[1]


def with_bit(value: Any) -> Spoil:
    return lambda folder: (fits.setval(folder / "sci.fits", "MP_BAD", value=value, extname="MASK"), INPUTS)[1]


def two_images(folder: Path) -> Args:
    fits.append(folder / "tmpl.fits", np.ones((5, 6)), fits.Header([("EXTNAME", "OTHER")]))
    return ("sci.fits", "tmpl.fits[OTHER]", *INPUTS[2:])


def companion_of_another_shape(name: str) -> Spoil:
    def spoil(folder: Path) -> Args:
        with fits.open(folder / "sci.fits", mode="update") as hdus:
            hdus[name].data = hdus[name].data[:-2]
        return INPUTS

    return spoil


def companion_without_image(folder: Path) -> Args:
    with fits.open(folder / "sci.fits", mode="update") as hdus:
        hdus["VARIANCE"] = fits.BinTableHDU.from_columns([fits.Column("A", "D", array=[1.0])], name="VARIANCE")
    return INPUTS


def raw_card(name: str, keyword: str, text: str) -> Spoil:
    return lambda folder: (card(text, keyword)(folder / name), INPUTS)[1]


def parent_frames(folder: Path) -> Args:
    for name, ext, x0 in (("sci.fits", 1, 100), ("diff.fits", 0, 200)):
        with fits.open(folder / name, mode="update") as hdus:
            hdus[ext].header.update({"CTYPE1A": "LINEAR", "CRVAL1A": x0, "CRPIX1A": 1})
    return INPUTS


def decorrelated(folder: Path) -> Args:
    fits.setval(folder / "diff.fits", "DCVERS", value="0.1.0")
    return INPUTS


def given(position: int, spec: str) -> Spoil:
    return lambda folder: (*INPUTS[:position], spec, *INPUTS[position + 1 :])


def scaled(folder: Path) -> Args:
    fits.writeto(folder / "diff.fits", np.ones(SHAPE, "i2"), overwrite=True)
    with fits.open(folder / "diff.fits", mode="update", do_not_scale_image_data=True) as hdus:
        hdus[0].header["BSCALE"] = "two"
    return INPUTS


def damaged_tiles(folder: Path) -> Args:
    image = np.random.default_rng(1).normal(size=SHAPE).astype("f4")
    fits.HDUList([fits.PrimaryHDU(), fits.CompImageHDU(image)]).writeto(folder / "sci.fits", overwrite=True)
    content = bytearray((folder / "sci.fits").read_bytes())
    content[2 * 2880 + 2880 :] = bytes(len(content) - 3 * 2880)
    (folder / "sci.fits").write_bytes(content)
    return INPUTS


HDUS: dict[str, tuple[Spoil, tuple[str, ...]]] = {
    "number": (given(0, "sci.fits[9]"), ("sci.fits: there is no HDU [9]", "the file has 0 PRIMARY, 1 IMAGE, 2 MASK")),
    "name": (given(1, "tmpl.fits[NONE]"), ("tmpl.fits: there is no HDU [NONE]",)),
    "version": (given(1, "tmpl.fits[IMAGE,2]"), ("tmpl.fits: there is no HDU [IMAGE,2]",)),
    "version of letters": (given(1, "tmpl.fits[IMAGE,two]"), ("the version after the comma",)),
    "empty name": (given(0, "sci.fits[ ]"), ("sci.fits[ ]: the brackets name no HDU",)),
    "primary without pixels": (given(0, "sci.fits[0]"), ("sci.fits[0]: holds no 2-D image",)),
    "kernel's number": (given(4, "kernel.fits[3]"), ("kernel.fits: there is no HDU [3]",)),
    "smaller image": (two_images, ("tmpl.fits[OTHER]", "6 x 5 pixels")),
    "variance of another shape": (companion_of_another_shape("VARIANCE"), ("sci.fits[VARIANCE]", "has 96 x 78 pixels")),
    "mask of another shape": (companion_of_another_shape("MASK"), ("sci.fits[MASK]", "has 96 x 78 pixels")),
    "variance that is a table": (companion_without_image, ("sci.fits[VARIANCE]: holds no 2-D image",)),
    "variance of 0": (variance_of(0.0), ("sci.fits[IMAGE]", "no pixel has a variance > 0")),
    "variance below 0": (variance_of(-1.0), ("sci.fits[IMAGE]", "no pixel has a variance > 0")),
    "variance of NaN": (variance_of(np.nan), ("sci.fits[IMAGE]", "no pixel has a variance > 0")),
    "all masked": (all_masked("SAT"), ("sci.fits[IMAGE]", "every pixel is masked")),
    "bit of a plane": (with_bit(32), ("sci.fits[MASK]", "MP_BAD = 32 is not a bit number")),
    "bit of letters": (with_bit("x"), ("sci.fits[MASK]", "MP_BAD = 'x' is not a bit number")),
    "bit that is true": (with_bit(True), ("sci.fits[MASK]", "MP_BAD = True is not a bit number")),
    "card without sense": (raw_card("sci.fits", "EXTNAME", "EXTNAME = IMAGE"), ("sci.fits", "damaged FITS file")),
    "scale of letters": (scaled, ("diff.fits", "BSCALE = 'two' is not a number")),
    "compressed tiles": (damaged_tiles, ("sci.fits[COMPRESSED_IMAGE]", "damaged FITS file")),
    "parent frame": (
        lambda folder: (
            fits.setval(folder / "diff.fits", "CTYPE1A", value="LINEAR"),
            fits.setval(folder / "diff.fits", "CRVAL1A", value="left"),
            INPUTS,
        )[2],
        ("diff.fits", "CRVAL1A = 'left'"),
    ),
    "parent frames that differ": (parent_frames, ("sci.fits[IMAGE]", "diff.fits")),
    "decorrelated already": (decorrelated, ("diff.fits", "has been decorrelated already")),
}


@pytest.mark.parametrize("defect", HDUS)
def test_hdu(folder: Path, defect: str) -> None:
    spoil, says = HDUS[defect]
    refused(folder, says, "run", *spoil(folder))


def test_line_breaks_in_names_do_not_break_lines(folder: Path) -> None:
    refused(folder, "sci\\n.fits: no such file", "run", "sci\n.fits", *INPUTS[1:])
