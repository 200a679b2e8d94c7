"""Opening files and finding HDUs in them."""

from __future__ import annotations

import bz2
import gzip
import os
import re
import resource
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits

from diffim_decorr import InputError, read_exposure
from diffim_decorr.geometry import Box
from diffim_decorr.io.hdus import open_fits, split_spec
from diffim_decorr.io.output.layouts import default_output
from support.data import LSST, needs_lsst
from support.files import image_hdu, replace_card, write_hdus
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


@pytest.mark.parametrize("tail", [b"\0" * 77, b" / the end", b" " * 75 + b"\r\n", b"\n", b"= 1", b"."])
@pytest.mark.parametrize("first", [True, False])
def test_end_cards_as_astropy_takes_them(path: Path, tail: bytes, first: bool) -> None:
    """What follows END makes no difference, be it in the primary header or in another, to the end of the block."""
    fits.HDUList([fits.PrimaryHDU(IMAGE), fits.ImageHDU(2 * IMAGE, name="NEXT")]).writeto(path)
    content = path.read_bytes()
    begin = (content.index if first else content.rindex)(b"END" + 77 * b" ") + 3
    path.write_bytes(content[:begin] + tail.ljust(77, tail[-1:]) + content[begin + 77 :])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        np.testing.assert_array_equal(fits.getdata(path, 1), 2 * IMAGE)
    check(read_exposure(f"{path}[0]").image_plane, IMAGE)
    check(read_exposure(f"{path}[NEXT]").image_plane, 2 * IMAGE)


@pytest.mark.parametrize("keyword", ["ENDED   =", "END-DATE=", "END_X   =", "ENDING"])
def test_keywords_that_begin_with_end_are_no_end(path: Path, keyword: str) -> None:
    fits.writeto(path, IMAGE, fits.Header([("FILTER", "r")]))
    replace_card(path, "FILTER", f"{keyword} 5")
    check(read_exposure(path).image_plane, IMAGE)


def test_bzip2(path: Path, tmp_path: Path) -> None:
    """As SDSS packs its frames; what is made of it is not packed so."""
    write_hdus(path, image_hdu(IMAGE, "SCI"), image_hdu((IMAGE > 0).astype("i2"), "ERR"))
    packed = tmp_path / "image.fits.bz2"
    packed.write_bytes(bz2.compress(path.read_bytes()))
    check(read_exposure(packed).image_plane, IMAGE)
    check(read_exposure(packed).variance_plane, read_exposure(path).variance)
    assert default_output("d/image.fits.bz2") == "d/image_decorr.fits"


def test_image_sections_are_refused(path: Path) -> None:
    fits.writeto(path, IMAGE)
    with pytest.raises(InputError, match=r"image sections such as \[1:20,1:20\] are not read"):
        read_exposure(f"{path}[1:20,1:20]")


def test_primary_image_of_a_single_pixel_is_passed_over(path: Path) -> None:
    fits.HDUList([fits.PrimaryHDU(np.zeros((1, 1), "i2")), fits.ImageHDU(IMAGE)]).writeto(path)
    exposure = read_exposure(path)
    check(exposure.image_plane, IMAGE)
    assert not exposure.remarks
    fits.writeto(path, np.ones((1, 1), "f4"), overwrite=True)
    assert read_exposure(path).shape == (1, 1)


def test_headers_without_end(path: Path) -> None:
    """What goes on for 10 000 blocks is taken for no header, even if an END should follow."""
    first = fits.PrimaryHDU(IMAGE).header.tostring(endcard=False, padding=False).encode()
    path.write_bytes(first + bytes(10_000 * 2880).replace(b"\0", b" ") + b"END".ljust(2880))
    with pytest.raises(InputError, match="the header has no end"):
        read_exposure(path)


def test_remarks_of_astropy_are_not_passed_on(path: Path) -> None:
    fits.writeto(path, IMAGE, fits.Header([("FILTER", "r")]))
    replace_card(path, "FILTER", b"Filter  = 'r'  \xe9")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check(read_exposure(path).image_plane, IMAGE)


def test_card_without_sense_is_a_damage(path: Path) -> None:
    fits.writeto(path, IMAGE, fits.Header([("MASKVAL", 1)]))
    replace_card(path, "MASKVAL", "MASKVAL = 1,5")
    with pytest.raises(InputError, match="damaged FITS file"):
        read_exposure(path)


def bytes_read() -> int:
    """What this process has asked files for until now."""
    return int(re.search(r"^rchar: (\d+)$", Path("/proc/self/io").read_text(), flags=re.MULTILINE)[1])


def pages_touched() -> int:
    """Of memory, that of mapped files included."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt


needs_proc = pytest.mark.skipif(not os.path.exists("/proc/self/io"), reason="there is no /proc/self/io")


@needs_proc
def test_opening_reads_headers_only(path: Path) -> None:
    """Of 8 GB, which take no room, nothing but the headers and the rows that are asked for is read."""
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
    before = bytes_read(), pages_touched()
    exposure = read_exposure(path)
    assert exposure.shape == (1 << 14, 1 << 15)
    assert exposure.mask_planes == {"BAD": 0}
    box = Box(32760, 16380, 32768, 16384)
    assert not exposure.variance_plane.read(box).any()
    assert bytes_read() - before[0] < 10e6
    assert pages_touched() - before[1] < 10e6 / resource.getpagesize()


@needs_lsst
@needs_proc
def test_opening_leaves_the_pixels_alone() -> None:
    """Of a real exposure with its many tables the headers are read."""
    file = LSST / "HSC-0908120-056-small.fits"
    before = bytes_read()
    read_exposure(file)
    assert bytes_read() - before < file.stat().st_size / 2


def test_files_are_closed(path: Path, tmp_path: Path) -> None:
    fits.writeto(path, IMAGE)
    with open_fits(path) as hdus:
        assert hdus[0].shape == IMAGE.shape
    exposure = read_exposure(path)
    exposure.image_plane.read(Box(0, 0, 2, 2))
    if os.path.isdir("/proc/self/fd"):
        links = [os.path.realpath(f"/proc/self/fd/{fd}") for fd in os.listdir("/proc/self/fd")]
        assert str(path) not in links


# Damage that astropy finds late


@pytest.mark.parametrize("count", ["-1", "1000", "999999999999"])
def test_numbers_of_columns_that_cannot_be(path: Path, count: str) -> None:
    fits.BinTableHDU.from_columns([fits.Column("A", "D", array=[1.0])]).writeto(path)
    replace_card(path, "TFIELDS", f"TFIELDS = {count:>20}")
    with (
        pytest.raises(InputError, match=rf"\[1\]: damaged FITS file \(TFIELDS = {count} is not from 0 to 999\)"),
        open_fits(path),
    ):
        pass


def test_headers_without_an_end(path: Path) -> None:
    """Behind the HDUs whose structure is whole, where astropy looks for more only when it is asked for one."""
    write_hdus(path, image_hdu(IMAGE))
    with path.open("ab") as file:
        file.write(b"nothing".ljust(2880) * 2)
    with pytest.raises(InputError, match=r"damaged FITS file \(Header missing END card"), open_fits(path) as hdus:
        list(hdus)


def test_what_the_system_says_is_no_damage(path: Path) -> None:
    write_hdus(path, image_hdu(IMAGE))
    with pytest.raises(FileNotFoundError), open_fits(path):
        open(path.with_name("other"))  # noqa: SIM115


@pytest.mark.parametrize("packing", [gzip, bz2])
def test_what_is_packed_is_looked_at_before_it_is_unpacked(path: Path, packing: Any) -> None:
    """Zeros without end take no memory."""
    with packing.open(path, "wb") as file:
        for _ in range(150):
            file.write(bytes(1_000_000))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(InputError, match="what is compressed in it is not a FITS file"), open_fits(path):
        pass
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000
