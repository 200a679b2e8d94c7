"""What the bits and codes of masks mean, by survey and by the user's choice."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits

from diffim_decorr import DecorrWarning, Exposure, InputError, read_exposure
from diffim_decorr.options import REPLACED_PLANES
from support.command import quickly, succeed
from support.files import INPUTS, SHAPE, gzipped, has_plane, image_hdu, make_inputs, write_hdus
from support.pixels import IMAGE, MASK, RNG, check

# Data quality


def dq_file(path: Path, bits: np.ndarray, dtype: str, **primary: Any) -> Exposure:
    dq = np.zeros(IMAGE.shape, dtype)
    dq[5, : len(bits)] = [1 << int(bit) for bit in bits]
    return read_exposure(write_hdus(path, image_hdu(IMAGE, "SCI"), image_hdu(dq, "DQ"), **primary))


def test_data_quality_of_jwst(path: Path) -> None:
    exposure = dq_file(path, np.arange(31), "u4", TELESCOP="JWST")
    expected = {"BAD": 0, "SAT": 1, "JUMP_DET": 2, "DROPOUT": 3, "OUTLIER": 4, "NON_SCIENCE": 9, "DEAD": 10, "HOT": 11}
    for name, bit in expected.items():
        where = has_plane(exposure, name)
        assert where[5, bit]
        assert where.sum() == 1
    assert not exposure.mask[5, 20:].any()
    check(exposure.mask_plane, exposure.mask)


@pytest.mark.parametrize(
    ("cards", "expected"),
    [
        ({"INSTRUME": "ACS", "DETECTOR": "WFC"}, {"NO_DATA": {0, 1}, "BAD": {2, 3}, "SAT": {8, 11}, "CR": {12, 13}}),
        ({"INSTRUME": "WFC3", "DETECTOR": "UVIS"}, {"HOT": {4}, "SAT": {8, 11}, "CR": {12, 13}}),
        ({"INSTRUME": "WFC3", "DETECTOR": "IR"}, {"BAD": {2, 3}, "SAT": {8}, "CR": {12}, "JUMP_DET": {13}}),
    ],
)
@pytest.mark.parametrize("dtype", ["i2", "u2"])
def test_data_quality_of_hst(path: Path, cards: dict[str, str], expected: dict[str, set[int]], dtype: str) -> None:
    exposure = dq_file(path, np.arange(15), dtype, TELESCOP="HST", **cards)
    for name, bits in expected.items():
        assert set(np.flatnonzero(has_plane(exposure, name)[5])) == bits
        assert has_plane(exposure, name).sum() == len(bits)


@pytest.mark.parametrize("cards", [{}, {"TELESCOP": "HST", "INSTRUME": "WFPC2"}, {"TELESCOP": "Keck"}])
def test_data_quality_of_others(path: Path, cards: dict[str, str]) -> None:
    exposure = dq_file(path, np.arange(15), "i2", **cards)
    assert exposure.mask_planes == {"BAD": 0}
    assert set(np.flatnonzero(exposure.mask[5])) == set(range(15))


# Masks of other surveys

SURVEYS = {
    "DES": (
        "MSK",
        {},
        {"BAD": [1, 4], "SAT": [2, 7, 8], "INTRP": [3], "CR": [5], "STAR": [6], "EDGE": [10], "STREAK": [11]},
        ("STAR", "SUSPECT", "FIXED", "NEAR_EDGE", "TAPE_BUMP"),
    ),
    "Gemini": (
        "DQ",
        {"TELESCOP": "Gemini-South"},
        {"BAD": [1], "NONLINEAR": [2], "SAT": [3], "CR": [4], "NO_DATA": [5], "OVERLAP": [6]},
        ("OVERLAP", "NONLINEAR", "UNILLUMINATED"),
    ),
    "BANZAI": ("BPM", {"ORIGIN": "LCOGT"}, {"BAD": [1, 3], "SAT": [2], "CR": [4]}, ()),
    "delta": ("MASK", {"DLTBETA": 1.4}, {"BAD": [1, 6], "SAT": [2], "CR": [3], "NO_DATA": [4], "EDGE": [5]}, ("EDGE",)),
}


@pytest.mark.parametrize("survey", SURVEYS)
def test_bits_of_surveys(path: Path, survey: str) -> None:
    name, primary, expected, kept = SURVEYS[survey]
    exposure = read_exposure(write_hdus(path, image_hdu(IMAGE, "SCI"), image_hdu(every_bit("i4"), name), **primary))
    assert {plane: pixels_of(exposure, plane) for plane in expected} == expected
    assert all(sources_are_kept(exposure, plane) for plane in kept)
    assert not exposure.remarks


def named(path: Path, cards: dict[str, Any], bits: int, name: str = "MASK") -> Exposure:
    """An exposure with a mask of so many bits and with such cards."""
    mask = image_hdu(every_bit("i4", bits), name)
    mask.header.update(cards)
    return read_exposure(write_hdus(path, image_hdu(IMAGE, "IMAGE"), mask))


def test_planes_of_spherex(path: Path) -> None:
    """Named as in FLAGS; known sources, and pixels whose whole history was sent down, are no defects."""
    bits = {"TRANSIENT": 0, "OVERFLOW": 1, "SUR_ERROR": 2, "NONFUNC": 6, "MISSING_DATA": 9, "HOT": 10}
    bits |= {"FULLSAMPLE": 12, "SOURCE": 21, **{f"B{k}": k for k in (3, 4, 5, 7, 8, 11, *range(13, 21))}}
    exposure = named(path, {f"HIERARCH MP_{name}": bit for name, bit in bits.items()}, 22, "FLAGS")
    expected = {"CR": [1], "SAT": [2], "BAD": [3, 7], "NO_DATA": [10], "HOT": [11], "FULLSAMPLE": [13], "SOURCE": [22]}
    assert {plane: pixels_of(exposure, plane) for plane in expected} == expected
    assert sources_are_kept(exposure, "SOURCE")
    assert sources_are_kept(exposure, "FULLSAMPLE")


def test_planes_of_pan_starrs(path: Path) -> None:
    """Names and values in cards; the last ones are of no single bit, or for internal use."""
    names = ("DETECTOR", "FLAT", "DARK", "BLANK", "CTE", "SAT", "LOW", "SUSPECT", "BURNTOOL", "CR", "SPIKE", "GHOST")
    names += ("STREAK", "STARCORE", "CONV.BAD", "CONV.POOR", "MASK.VALUE", "MARK.VALUE")
    values = [*(1 << k for k in range(8)), 128, *(1 << k for k in range(8, 15)), 8575, 32768]
    cards = {f"MSKNAM{k:02}": name for k, name in enumerate(names)}
    cards |= {f"MSKVAL{k:02}": value for k, value in enumerate(values)}
    exposure = named(path, cards, 15)
    expected = {"BAD": [1, 2, 3, 5, 7, 14], "NO_DATA": [4], "SAT": [6], "SUSPECT": [8], "CR": [9], "SPIKE": [10]}
    expected |= {"GHOST": [11], "STREAK": [12], "STARCORE": [13], "CONV_POOR": [15]}
    assert {plane: pixels_of(exposure, plane) for plane in exposure.mask_planes} == expected
    assert not exposure.remarks


# Masks of which not all is known


def test_bits_without_a_name_are_told(path: Path) -> None:
    with pytest.warns(DecorrWarning, match=r"\[MASK\]: its header has no name for the bits 2, 16 of its pixels"):
        exposure = named(path, {"MP_BAD": 0, "MP_SAT": 2, "MP_CR": 3, "MP_TOP": 31}, 5)
    assert exposure.mask_planes == {"BAD": 0, "SAT": 2, "CR": 3, "TOP": 31}


@pytest.mark.parametrize("dtype", ["u1", "i2", "i8", "f4"])
def test_what_is_done_with_unknown_bits_is_told(path: Path, dtype: str) -> None:
    mask = np.zeros(IMAGE.shape, dtype)
    mask[1, 2], mask[3, 4] = 4, 64
    write_hdus(path, image_hdu(IMAGE, "IMAGE"), image_hdu(mask, "MASK"))
    with pytest.warns(DecorrWarning, match=r"not known what its bits 4, 64 mean: every pixel but 0 is BAD.*--dq-bad"):
        exposure = read_exposure(path)
    assert np.argwhere(has_plane(exposure, "BAD")).tolist() == [[1, 2], [3, 4]]
    assert not read_exposure(path, dq_bad="4").remarks


@pytest.mark.parametrize("value", [1, 4, 255])
def test_masks_of_one_value_need_no_names(path: Path, value: int) -> None:
    write_hdus(path, image_hdu(IMAGE, "IMAGE"), image_hdu((value * (MASK > 55)).astype("u1"), "MASK"))
    exposure = read_exposure(path)
    assert not exposure.remarks
    np.testing.assert_array_equal(has_plane(exposure, "BAD"), MASK > 55)


def test_masks_that_count_the_other_way_round_are_told(path: Path) -> None:
    write_hdus(path, image_hdu(IMAGE, "IMAGE"), image_hdu((MASK < 55).astype("u1"), "MASK"))
    with pytest.warns(DecorrWarning, match=r"0\.\d+ of its pixels are not 0, and so BAD: should 0 mark bad pixels"):
        read_exposure(path)


# LSST's files of 2026


def test_planes_named_by_numbered_cards(path: Path) -> None:
    """The names of lsst.images; the usual planes have their usual names, and sources stay as they are."""
    names = ["BAD", "SATURATED", "INTERPOLATED", "COSMIC_RAY", "DETECTION_EDGE", "DETECTED", "NO_DATA", "SAT_TEMPLATE"]
    mask = image_hdu(every_bit("i4", len(names)), "MASK")
    for k, name in enumerate(names):
        mask.header[f"MSKN{k:04}"], mask.header[f"MSKM{k:04}"] = name, 1 << k
    exposure = read_exposure(write_hdus(path, image_hdu(IMAGE, "IMAGE"), mask))
    expected = ["BAD", "SAT", "INTRP", "CR", "EDGE", "DETECTED", "NO_DATA", "SAT_TEMPLATE"]
    assert exposure.mask_planes == {name: k for k, name in enumerate(expected)}
    for k, name in enumerate(expected):
        assert pixels_of(exposure, name) == [k + 1]
    assert sources_are_kept(exposure, "DETECTED")
    assert {"SAT", "CR", "BAD", "NO_DATA"} == {name for name in exposure.mask_planes if name in REPLACED_PLANES}


@pytest.mark.parametrize("value", [0, 3, -4, 1.0, "x", None, True])
def test_numbered_plane_without_a_bit(path: Path, value: Any) -> None:
    mask = image_hdu(MASK, "MASK", MSKN0007="BAD")
    if value is not None:
        mask.header["MSKM0007"] = value
    with pytest.raises(InputError, match=r"\[MASK\]: card MSKM0007 = .* is not the value of a bit"):
        read_exposure(write_hdus(path, image_hdu(IMAGE, "IMAGE"), mask))


def test_numbered_plane_beyond_32_bits(path: Path) -> None:
    mask = image_hdu(MASK, "MASK", MSKN0040="BAD", MSKM0040=1 << 40)
    with pytest.raises(InputError, match="card MSKM0040 = 40 is not a bit number from 0 to 31"):
        read_exposure(write_hdus(path, image_hdu(IMAGE, "IMAGE"), mask))


# How pixels are stored


@pytest.mark.parametrize("dtype", ["u1", "i2", "u2", "i4", "u4", "i8", "u8", "f4"])
@pytest.mark.parametrize("packed", [False, True])
def test_masks_of_any_type(tmp_path: Path, dtype: str, packed: bool) -> None:
    mask = RNG.integers(0, 64, IMAGE.shape).astype(dtype)
    path = write_hdus(tmp_path / "image.fits", image_hdu(IMAGE, "IMAGE"), image_hdu(mask, "MASK", MP_SAT=1, MP_CR=5))
    if packed:
        path = gzipped(path)
    exposure = read_exposure(path)
    assert exposure.mask.dtype.kind in "iu"
    check(exposure.mask_plane, mask)


def test_highest_bit_of_an_unsigned_mask(path: Path) -> None:
    mask = np.zeros(IMAGE.shape, "u4")
    mask[1, 2] = 1 << 31
    write_hdus(path, image_hdu(IMAGE, "IMAGE"), image_hdu(mask, "MASK", MP_TOP=31))
    assert np.argwhere(has_plane(read_exposure(path), "TOP")).tolist() == [[1, 2]]


def test_mask_of_which_pixels_are_undefined(path: Path) -> None:
    mask = np.zeros(IMAGE.shape, "f4")
    mask[1, :3] = np.nan, 2, 1e30
    write_hdus(path, image_hdu(IMAGE, "IMAGE"), image_hdu(mask, "MASK", MP_SAT=1, MP_CR=5))
    exposure = read_exposure(path)
    assert has_plane(exposure, "SAT")[1, :4].tolist() == [True, True, True, False]
    assert has_plane(exposure, "CR")[1, :4].tolist() == [True, False, True, False]


def every_bit(dtype: str, count: int = 16) -> np.ndarray:
    """Zero, and then each bit in a pixel of its own."""
    mask = np.zeros(IMAGE.shape, dtype)
    mask[0, 1 : count + 1] = [1 << bit if bit < 8 * mask.itemsize - 1 else -(1 << bit) for bit in range(count)]
    return mask


def pixels_of(exposure: Exposure, name: str) -> list[int]:
    """Where along the first row a plane is set; it is nowhere else."""
    where = has_plane(exposure, name)
    assert not where[1:].any()
    return list(np.flatnonzero(where[0]))


def sources_are_kept(exposure: Exposure, name: str) -> bool:
    return name in exposure.mask_planes and name not in REPLACED_PLANES


ZTF_BITS = (
    "AIRCRAFT/SATELLITE TRACK", "CONTAINS SEXTRACTOR DETECTION", "LOW RESPONSIVITY", "HIGH RESPONSIVITY", "NOISY",
    "GHOST FROM BRIGHT SOURCE", "GHOST FROM CHARGE SPILLAGE", "PIXEL SPIKE (POSSIBLE RAD HIT)", "SATURATED",
    "DEAD (UNRESPONSIVE)", "NAN (not a number)", "CONTAINS PSF-EXTRACTED SOURCE POSITION", "HALO FROM BRIGHT SOURCE",
)  # fmt: skip


def ztf_mask(path: Path) -> Path:
    header = fits.Header([(f"BIT{k:02}", k, what) for k, what in enumerate(ZTF_BITS)])
    fits.writeto(path, every_bit("i2"), header)
    return path


def test_ztf(tmp_path: Path) -> None:
    """sciimg and mskimg. Two of the bits are sources, which must not be taken out."""
    fits.writeto(tmp_path / "sciimg.fits", IMAGE, fits.Header({"INSTRUME": "ZTF/MOSAIC"}))
    exposure = read_exposure(tmp_path / "sciimg.fits", mask=ztf_mask(tmp_path / "mskimg.fits"))
    np.testing.assert_array_equal(exposure.image, IMAGE)
    planes = {
        "BAD": [3, 4, 5, 10],
        "CR": [8],
        "SAT": [9],
        "NO_DATA": [11],
        "STREAK": [1],
        "GHOST": [6, 7],
        "HALO": [13],
    }
    for name, expected in planes.items():
        assert pixels_of(exposure, name) == expected
    for name, expected in {"DETECTED": [2], "SOURCE": [12]}.items():
        assert pixels_of(exposure, name) == expected
        assert sources_are_kept(exposure, name)


# NOIRLab


def noirlab(folder: Path, dq: np.ndarray, **primary: Any) -> None:
    """ooi, oow and ood of two CCDs; the first CCD is not the one that is wanted."""
    for name, pixels in (("ooi", IMAGE), ("oow", np.where(IMAGE > 0, 0.25, 0).astype("f4")), ("ood", dq)):
        first = fits.PrimaryHDU()
        first.header.update({"INSTRUME": "DECam", "PROCTYPE": "InstCal"} | (primary if name == "ood" else {}))
        hdus = [
            fits.CompImageHDU(k * pixels, name=ccd, compression_type="GZIP_2", quantize_level=0)
            for k, ccd in ((0, "S29"), (1, "S30"))
        ]
        fits.HDUList([first, *hdus]).writeto(folder / f"{name}.fits.fz")


def noirlab_exposure(folder: Path, **options: Any) -> Exposure:
    return read_exposure(
        folder / "ooi.fits.fz[S30]", weight=folder / "oow.fits.fz", mask=folder / "ood.fits.fz", **options
    )


def test_noirlab_codes(tmp_path: Path) -> None:
    dq = np.zeros(IMAGE.shape, "i2")
    dq[0, :10] = range(10)
    noirlab(tmp_path, dq, PRODTYPE="dqmask", PLVER="V5.2.2LS")
    exposure = noirlab_exposure(tmp_path)
    np.testing.assert_array_equal(exposure.image, IMAGE)
    np.testing.assert_array_equal(exposure.variance, np.where(IMAGE > 0, 4, np.nan))
    expected = {
        "BAD": [1, 9], "NO_DATA": [2], "SAT": [3, 4], "CR": [5], "LOW_WEIGHT": [6], "TRANSIENT": [7], "STREAK": [8],
    }  # fmt: skip
    assert {name: pixels_of(exposure, name) for name in exposure.mask_planes} == expected
    assert sources_are_kept(exposure, "TRANSIENT")
    with pytest.raises(InputError, match=r"ood\.fits\.fz\[S30\]: a pixel of this mask holds one code"):
        noirlab_exposure(tmp_path, dq_bad="1,2")


@pytest.mark.parametrize("version", ["V3.4.9", "V2.1.0"])
def test_noirlab_bits(tmp_path: Path, version: str) -> None:
    noirlab(tmp_path, every_bit("i2", 8), PRODTYPE="dqmask", PLVER=version)
    exposure = noirlab_exposure(tmp_path)
    expected = {"BAD": [1], "SAT": [2, 7], "INTRP": [3], "CR": [5], "TRANSIENT": [8]}
    assert {name: pixels_of(exposure, name) for name in exposure.mask_planes} == expected
    chosen = noirlab_exposure(tmp_path, dq_bad="1,128")
    assert chosen.mask_planes == {"BAD": 0}
    assert pixels_of(chosen, "BAD") == [1, 8]


# Bits that the user selects


@pytest.mark.parametrize(
    ("bits", "expected"),
    [
        ("1", [1]),
        ("1,4,16", [1, 3, 5]),
        ("1+4", [1, 3]),
        ("21", [1, 3, 5]),
        (4, [3]),
        ("~1", list(range(2, 17))),
        ("~2,8", [1, 3, *range(5, 17)]),
        ("32768", [16]),
    ],
)
@pytest.mark.parametrize("dtype", ["i2", "u2", "i4"])
def test_bits_that_are_bad(tmp_path: Path, bits: str | int, expected: list[int], dtype: str) -> None:
    mask = every_bit("i4").astype("u2") if dtype == "u2" else every_bit(dtype)
    hdus = [fits.PrimaryHDU(), fits.ImageHDU(IMAGE, name="SCI"), fits.ImageHDU(mask, name="DQ")]
    hdus[0].header.update({"TELESCOP": "JWST"})
    fits.HDUList(hdus).writeto(tmp_path / "image.fits")
    exposure = read_exposure(tmp_path / "image.fits", dq_bad=bits)
    assert exposure.mask_planes == {"BAD": 0}
    assert pixels_of(exposure, "BAD") == expected


@pytest.mark.parametrize("bits", ["SATURATED", "", "3,4", "0", "-", "1e3", 2**64])
def test_bits_that_are_none(tmp_path: Path, bits: str | int) -> None:
    fits.writeto(tmp_path / "image.fits", IMAGE)
    with pytest.raises(InputError, match="dq_bad = "):
        read_exposure(tmp_path / "image.fits", dq_bad=bits)


def test_named_planes_stay_as_they_are(tmp_path: Path) -> None:
    mask = fits.ImageHDU(every_bit("i2"), name="MASK")
    mask.header["MP_SAT"] = 3
    fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(IMAGE, name="IMAGE"), mask]).writeto(tmp_path / "image.fits")
    assert read_exposure(tmp_path / "image.fits", dq_bad="1").mask_planes == {"SAT": 3}


def test_dq_bad_of_the_command(tmp_path: Path) -> None:
    """Pixels with other bits are used as they are, and a selection without effect is noted."""
    make_inputs(tmp_path)
    dq = np.zeros(SHAPE, "i2")
    dq[40, 50], dq[60, 20] = 2, 4
    fits.writeto(tmp_path / "dq.fits", dq)
    options = ("--diff-mask", "dq.fits", "--dq-bad", "4", "-o", "out.fits")
    done = succeed(tmp_path, "run", *INPUTS, *options)
    assert "--dq-bad" not in done.stderr
    exposure = read_exposure(tmp_path / "out.fits")
    sure = has_plane(read_exposure(tmp_path / "sci.fits"), "BAD")
    assert np.argwhere(has_plane(exposure, "BAD") & ~sure).tolist() == [[60, 20]]
    done = quickly(tmp_path, "run", *INPUTS, "--dq-bad", "4", "-o", "other.fits")
    assert "decorr: warning: --dq-bad: all masks have names for their bits, or there are none" in done.stderr
    done = quickly(tmp_path, "run", *INPUTS, "--dq-bad", "five", "-o", "third.fits")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "dq_bad = 'five' is no selection of bits" in done.stderr
