"""Sound headers, whatever the header of the difference has."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from astropy.io import fits
from astropy.wcs import WCS

from support.command import OUT, decorr, succeed
from support.files import INPUTS, replace_card, sound, verified

STRANGE = {
    "long string": ("LONG", 40 * "many words".ljust(11) + "end"),
    "HIERARCH": ("HIERARCH ESO DET OUT1 GAIN", 1.5),
    "alternative WCS": ("CRVAL1A", 7.0),
    "SIP": ("A_ORDER", 2),
    "TNX": ("WAT1_001", "wtype=tnx axtype=ra"),
    "lookup tables of another file": ("CPDIS1", "LOOKUP"),
    "compressed": ("ZIMAGE", True),
    "version of another HDU": ("EXTVER", 7),
    "checksum of other pixels": ("DATASUM", "12345"),
    "card of an earlier run": ("DCSVAR", -5.0),
    "range of other pixels": ("DATAMAX", 1e4),
}


@pytest.mark.parametrize("case", STRANGE)
def test_strange_headers(folder: Path, case: str) -> None:
    key, value = STRANGE[case]
    with fits.open(folder / "diff.fits", mode="update") as hdus:
        hdus[0].header[key] = value
    succeed(folder, "run", *INPUTS, *OUT)
    sound(folder / "out.fits")
    verified(folder / "out.fits")
    header = fits.getheader(folder / "out.fits")
    kept = case in ("long string", "HIERARCH", "alternative WCS", "SIP", "TNX")
    if case == "HIERARCH":
        key = key.removeprefix("HIERARCH ")
    assert (header.get(key) == value) == kept
    if case == "long string":
        assert header["LONGSTRN"]
    if case == "card of an earlier run":
        assert header["DCSVAR"] == pytest.approx(4)


@pytest.mark.parametrize(
    "text",
    [
        b"B@NIT   = 'adu'",
        b"BUNIT   = \xff\xfe",
        b"BUNIT   = adu",
        b"BUNIT   = 'adu",
        b"OBJECT  = 'another'",
        b"bunit   = 'adu'",
        b"BUNIT     'adu'",
    ],
)
def test_cards_that_break_the_standard(folder: Path, text: bytes) -> None:
    replace_card(folder / "diff.fits", "BUNIT", text)
    done = succeed(folder, "run", *INPUTS, *OUT)
    assert done.stderr == ""
    sound(folder / "out.fits")
    verified(folder / "out.fits")
    assert fits.getheader(folder / "out.fits")["OBJECT"] == "field 7"


def test_names_that_do_not_fit_into_cards(folder: Path) -> None:
    name = "nacht-größe-" + 80 * "x" + "\n[red].fits"
    os.rename(folder / "sci.fits", folder / name)
    done = decorr(folder, "run", name, *INPUTS[1:], "-o", "aus[red]é.fits")
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert done.stdout.splitlines()[1].split(maxsplit=1) == ["output", "aus[red]é.fits"]
    out = folder / "out.fits"
    os.rename(folder / "aus[red]é.fits", out)
    sound(out)
    verified(out)
    assert fits.getheader(out)["DCSCI"] == name.replace("\n", "\\n").replace("ö", "\\xf6").replace("ß", "\\xdf")


def test_image_in_an_extension_with_leading_axes(folder: Path) -> None:
    with fits.open(folder / "diff.fits") as hdus:
        header = hdus[0].header
        header.update({"CTYPE3": "FREQ", "CRPIX3": 1.0, "CRVAL3": 1.4e9, "CDELT3": 1e6, "CUNIT3": "Hz"})
        cube = fits.ImageHDU(hdus[0].data[None], header, name="SCI")
        fits.HDUList([fits.PrimaryHDU(header=fits.Header([("OBSERVER", "Leavitt")])), cube]).writeto(
            folder / "new.fits"
        )
    os.replace(folder / "new.fits", folder / "diff.fits")
    succeed(folder, "run", *INPUTS, *OUT)
    sound(folder / "out.fits")
    verified(folder / "out.fits")
    assert fits.getheader(folder / "out.fits")["OBSERVER"] == "Leavitt"
    celestial = WCS(fits.getheader(folder / "out.fits", "IMAGE")).celestial
    assert celestial.all_pix2world(47.5, 39.5, 0) == pytest.approx((150.1, 2.2))
