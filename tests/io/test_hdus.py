"""Opening files and finding HDUs in them."""

from __future__ import annotations

import os
import warnings
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import pytest
from astropy.io import fits

from diffim_decorr import InputError, read_exposure
from diffim_decorr.io.fits import open_fits, split_spec
from diffim_decorr.spatial import Box
from support.data import DATA, needs_lsst
from support.files import image_hdu
from support.pixels import IMAGE, check

# Names, headers, missing pixels


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a.fits", ("a.fits", None)),
        ("a.fits[3]", ("a.fits", 3)),
        ("a.fits[SCI]", ("a.fits", "SCI")),
        ("a.fits[ SCI ]", ("a.fits", "SCI")),
        ("a.fits[SCI,2]", ("a.fits", ("SCI", 2))),
        ("d[1]/a.fits[SCI, 2]", ("d[1]/a.fits", ("SCI", 2))),
        ("a.fits[]", ("a.fits[]", None)),
    ],
)
def test_names_with_brackets(text: str, expected: tuple[str, Any]) -> None:
    assert split_spec(text) == expected


def test_file_whose_name_has_brackets(tmp_path: Path) -> None:
    path = tmp_path / "night[2]"
    fits.writeto(path, IMAGE)
    assert split_spec(path) == (str(path), None)
    check(read_exposure(path).image_plane, IMAGE)
    check(read_exposure(f"{path}[0]").image_plane, IMAGE)


# Opening


def test_padding_of_the_last_block_may_be_missing(path: Path) -> None:
    fits.writeto(path, IMAGE)
    os.truncate(path, 2880 + IMAGE.nbytes)
    check(read_exposure(path).image_plane, IMAGE)


def test_whatever_follows_the_last_hdu_is_of_no_concern(path: Path) -> None:
    fits.writeto(path, IMAGE)
    with open(path, "ab") as file:
        file.write(b"surplus")
    check(read_exposure(path).image_plane, IMAGE)
    with open(path, "ab") as file:
        file.write(5000 * b"surplus")
    check(read_exposure(path).image_plane, IMAGE)


def test_random_groups_have_a_length(path: Path) -> None:
    data = fits.GroupData(np.zeros((3, 1, 2, 4), "f4"), bitpix=-32, parnames=["A"], pardata=[np.zeros(3)])
    fits.HDUList([fits.GroupsHDU(data), image_hdu(IMAGE, "IMAGE")]).writeto(path)
    check(read_exposure(path).image_plane, IMAGE)


def test_long_headers(path: Path) -> None:
    header = fits.Header([(f"KEY{k}", k) for k in range(2000)])
    fits.writeto(path, IMAGE, header)
    check(read_exposure(path).image_plane, IMAGE)


def test_headers_without_end(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fits.writeto(path, IMAGE, fits.Header([(f"KEY{k}", k) for k in range(200)]))
    monkeypatch.setattr("diffim_decorr.io.fits._LONGEST_HEADER", 4)
    with pytest.raises(InputError, match="the header has no end"):
        read_exposure(path)


def test_remarks_of_astropy_are_not_passed_on(path: Path) -> None:
    fits.writeto(path, IMAGE, fits.Header([("FILTER", "r")]))
    content = path.read_bytes()
    begin = content.index(b"FILTER  =")
    path.write_bytes(content[:begin] + b"Filter  = 'r'  \xe9".ljust(80) + content[begin + 80 :])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check(read_exposure(path).image_plane, IMAGE)


def test_card_without_sense_is_a_damage(path: Path) -> None:
    fits.writeto(path, IMAGE, fits.Header([("MASKVAL", 1)]))
    content = path.read_bytes()
    begin = content.index(b"MASKVAL =")
    path.write_bytes(content[:begin] + b"MASKVAL = 1,5".ljust(80) + content[begin + 80 :])
    with pytest.raises(InputError, match="damaged FITS file"):
        read_exposure(path)


def test_opening_reads_headers_only(path: Path) -> None:
    # 8 GB that take no room, of which nothing but a few rows is read.
    header = fits.Header(
        [("XTENSION", "IMAGE"), ("BITPIX", -32), ("NAXIS", 2), ("NAXIS1", 1 << 15), ("NAXIS2", 1 << 14)]
    )
    hdus = [("IMAGE", -32), ("MASK", 32), ("VARIANCE", -32)]
    with open(path, "wb") as file:
        file.write(fits.PrimaryHDU().header.tostring().encode())
        for name, bitpix in hdus:
            header["BITPIX"] = bitpix
            header["PCOUNT"], header["GCOUNT"], header["EXTNAME"] = 0, 1, name
            file.write(header.tostring().encode())
            file.seek(4 << 29, os.SEEK_CUR)
            file.truncate()
            file.seek(-file.tell() % 2880, os.SEEK_CUR)
            file.truncate()
    start = perf_counter()
    exposure = read_exposure(path)
    assert perf_counter() - start < 1
    assert exposure.shape == (1 << 14, 1 << 15)
    assert exposure.mask_planes == {"BAD": 0}
    box = Box(32760, 16380, 32768, 16384)
    assert not exposure.variance_plane.read(box).any()


@needs_lsst
def test_opening_is_quick() -> None:
    files = [
        DATA / "lsst" / name for name in ("HSC-0908120-056-small.fits", "exposure-version-2.fits", "scienceMI.fits")
    ]
    seconds = []
    for file in 3 * files:
        start = perf_counter()
        read_exposure(file)
        seconds.append(perf_counter() - start)
    assert min(seconds[3:]) < 0.05


def test_files_are_closed(path: Path, tmp_path: Path) -> None:
    fits.writeto(path, IMAGE)
    with open_fits(path) as hdus:
        assert hdus[0].shape == IMAGE.shape
    exposure = read_exposure(path)
    exposure.image_plane.read(Box(0, 0, 2, 2))
    if os.path.isdir("/proc/self/fd"):
        links = [os.path.realpath(f"/proc/self/fd/{fd}") for fd in os.listdir("/proc/self/fd")]
        assert str(path) not in links
