"""Sound headers, whatever the header of the difference has."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits
from astropy.nddata import CCDData, StdDevUncertainty, VarianceUncertainty
from astropy.units import Unit
from astropy.wcs import WCS

from support.command import OUT, decorr, succeed
from support.files import INPUTS, image_planes, replace_card, sound, verified, write_hdus
from support.noise import PLANES

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


# What must not be in them

OF_THE_RAW_NOISE = (
    "X2NRM", "NX2NRM", "DMEAN", "DSIGE", "DSIG", "DMEANO", "DSIGEO", "DSIGO", "SSSIG", "SSSCAT", "FSIG", "FSCAT",
)  # fmt: skip
OF_THE_KERNEL = {"NREGION": 2, "REGION00": "[1:48,1:80]", "CONVOL01": "TEMPLATE", "KSUM00": "0.9992", "PHOTNORM": "i"}


def test_figures_of_the_raw_noise_are_dropped(folder: Path) -> None:
    """HOTPANTS' cards about the noise of each region would be wrong for the result; those about its kernel are not."""
    with fits.open(folder / "diff.fits", mode="update") as hdus:
        hdus[0].header.update({f"{name}{region:02}": "1.0119" for name in OF_THE_RAW_NOISE for region in (0, 1)})
        hdus[0].header.update(OF_THE_KERNEL)
    succeed(folder, "run", *INPUTS, *OUT)
    for header in headers(folder / "out.fits"):
        assert not [card for card in header if card.startswith(OF_THE_RAW_NOISE)]
    header = fits.getheader(folder / "out.fits")
    assert {key: header[key] for key in OF_THE_KERNEL} == OF_THE_KERNEL


def warned(folder: Path) -> None:
    """So many warnings that more cards come than there are of a good run: the noise is twice as large as was said."""
    with fits.open(folder / "sci.fits", mode="update") as hdus:
        hdus["VARIANCE"].data[:] /= 16
    with fits.open(folder / "tmpl.fits", mode="update") as hdus:
        hdus["VARIANCE"].data[:] /= 4


def unmeasured(folder: Path) -> None:
    """Fewer cards, for there are no source-free pixels."""
    with fits.open(folder / "sci.fits", mode="update") as hdus:
        hdus["MASK"].data[:78] |= 1 << PLANES["DETECTED"]


def long(folder: Path) -> None:
    """Headers of several blocks, with blank cards of their own."""
    with fits.open(folder / "diff.fits", mode="update") as hdus:
        for number in range(90):
            hdus[0].header[f"KEY{number}"] = number
            hdus[0].header.append("", end=True)


@pytest.mark.parametrize(
    "options", [(), ("--layout", "sci-err-dq"), ("--layout", "flat"), ("--all-ext",)], ids=" ".join
)
@pytest.mark.parametrize("change", [warned, unmeasured, long])
def test_neither_blank_cards_nor_numbers_that_are_none(folder: Path, change: Any, options: tuple[str, ...]) -> None:
    """However many cards there are once the pixels have been written; these stay what they are."""
    change(folder)
    in_an_extension(folder / "diff.fits")
    succeed(folder, "run", *INPUTS, "-o", "out.fits", "-q", *options)
    for path in sorted(folder.glob("out*.fits")):
        sound(path)
        verified(path)
        for header in headers(path):
            assert "" not in header
            assert "undefined" not in header.values()
            assert all(math.isfinite(value) for value in header.values() if isinstance(value, float))
    succeed(folder, "run", *INPUTS, "-o", "other.fits", "-q")
    where = "SCI" if "sci-err-dq" in options else 0 if "flat" in options else "IMAGE"
    np.testing.assert_array_equal(fits.getdata(folder / "out.fits", where), next(image_planes(folder / "other.fits")))


def in_an_extension(path: Path) -> None:
    """Where exposures of a mosaic are."""
    with fits.open(path) as hdus:
        image = fits.ImageHDU(hdus[0].data, hdus[0].header, "IMAGE")
    write_hdus(path, image)


def headers(path: Path) -> list[fits.Header]:
    with fits.open(path) as hdus:
        return [hdu.header for hdu in hdus]


# As astropy.nddata reads them


@pytest.mark.parametrize("unit", ["adu", "electron", "MJy/sr", ""])
def test_ccddata_reads_the_output(folder: Path, unit: str) -> None:
    with fits.open(folder / "diff.fits", mode="update") as hdus:
        hdus[0].header["BUNIT"] = unit
        if not unit:
            del hdus[0].header["BUNIT"]
    succeed(folder, "run", *INPUTS, *OUT)
    names = {"hdu": "IMAGE", "hdu_uncertainty": "VARIANCE", "hdu_mask": "MASK"}
    data = CCDData.read(folder / "out.fits", **names, unit=None if unit else "count")
    image, mask, variance = image_planes_of(folder / "out.fits")
    assert isinstance(data.uncertainty, VarianceUncertainty)
    assert data.unit == Unit(unit or "count")
    assert data.uncertainty.unit == data.unit**2
    np.testing.assert_array_equal(data.data, image)
    np.testing.assert_array_equal(data.uncertainty.array, variance)
    np.testing.assert_array_equal(data.mask, mask != 0)
    assert data.mask[20, 31]
    assert data.wcs is not None
    header = fits.getheader(folder / "out.fits", "VARIANCE")
    assert ("BUNIT" in header) == bool(unit)
    if unit:
        assert Unit(header["BUNIT"]) == Unit(unit) ** 2


def image_planes_of(path: Path) -> list[np.ndarray]:
    return [fits.getdata(path, name) for name in ("IMAGE", "MASK", "VARIANCE")]


def test_ccddata_reads_standard_deviations(folder: Path) -> None:
    succeed(folder, "run", *INPUTS, *OUT, "--layout", "sci-err-dq")
    data = CCDData.read(folder / "out.fits", hdu="SCI", hdu_uncertainty="ERR", hdu_mask="DQ")
    assert isinstance(data.uncertainty, StdDevUncertainty)
    assert data.uncertainty.unit == data.unit == Unit("adu")
    np.testing.assert_array_equal(data.uncertainty.array, fits.getdata(folder / "out.fits", "ERR"))
