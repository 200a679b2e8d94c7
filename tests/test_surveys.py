"""Files laid out as surveys do: which HDU is what, and what the bits of their masks mean."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits
from command import INPUTS, SHAPE, make_inputs, quickly
from test_reading import DATA, has_plane, needs_jwst, needs_lsst

from diffim_decorr import Exposure, InputError, decorrelate, read_exposure

needs_decam = pytest.mark.skipif(not (DATA / "decam").is_dir(), reason="the data folder shared/data/decam is absent")
IMAGE = np.random.default_rng(1).normal(3, 5, (20, 30)).astype("f4")


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
    from diffim_decorr.masks import REPLACED_PLANES

    return name in exposure.mask_planes and name not in REPLACED_PLANES


# ZTF

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


def test_compressed_difference_of_ztf(tmp_path: Path) -> None:
    """scimrefdiffimg.fits.fz: an image that was compressed out of the primary HDU."""
    hdus = [fits.PrimaryHDU(), fits.CompImageHDU(IMAGE, compression_type="GZIP_2", quantize_level=0)]
    fits.HDUList(hdus).writeto(tmp_path / "diffimg.fits.fz")
    np.testing.assert_array_equal(read_exposure(tmp_path / "diffimg.fits.fz").image, IMAGE)


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


@needs_decam
def test_real_cutout_of_decam(tmp_path: Path) -> None:
    """Cut out of an ooi file, with the EXTNAME of its CCD in the primary header, and a mask by NOIRLab's rules."""
    path = DATA / "decam" / "inputs" / "DEC-OBS04a.mini.fits"
    pixels = fits.getdata(path)
    dq = np.zeros(pixels.shape, "i2")
    dq[3, 4] = 3
    out = fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(1 - dq, name="S1"), fits.ImageHDU(dq, name="N6")])
    out[0].header["PRODTYPE"] = "dqmask"
    out.writeto(tmp_path / "ood.fits")
    exposure = read_exposure(f"{path}[N6]", mask=tmp_path / "ood.fits")
    np.testing.assert_array_equal(exposure.image, pixels)
    assert np.argwhere(has_plane(exposure, "SAT")).tolist() == [[3, 4]]
    assert exposure.header["PROCTYPE"] == "InstCal"


# JWST and LSST


@needs_jwst
def test_jwst_i2d(tmp_path: Path) -> None:
    """Real pixels in the HDUs of an i2d file, which has no DQ but other images beside SCI and ERR."""
    sci, err = (fits.getdata(DATA / "jwst_a2744" / f"{name}.fits") for name in ("sci", "sci_noise"))
    sci = sci.copy()
    sci[:, :7] = np.nan
    header = fits.getheader(DATA / "jwst_a2744" / "sci.fits")
    hdus = [fits.PrimaryHDU(), fits.ImageHDU(sci, header, name="SCI"), fits.ImageHDU(err, name="ERR")]
    hdus[0].header["TELESCOP"] = "JWST"
    hdus.append(fits.ImageHDU(np.ones((2, *sci.shape), "i4"), name="CON"))
    hdus += [fits.ImageHDU(np.ones_like(sci), name=n) for n in ("WHT", "VAR_POISSON", "VAR_RNOISE", "VAR_FLAT")]
    fits.HDUList(hdus).writeto(tmp_path / "i2d.fits")
    exposure = read_exposure(tmp_path / "i2d.fits")
    np.testing.assert_array_equal(exposure.image, sci)
    # One of the real sigmas is negative.
    np.testing.assert_allclose(exposure.variance, np.maximum(err, 0).astype("f4") ** 2, rtol=1e-6)
    assert exposure.mask is None
    assert exposure.header["CRPIX1"] == header["CRPIX1"]
    zero = np.zeros((3, 3))
    zero[1, 1] = 1
    result = decorrelate(exposure, exposure, exposure, zero)
    assert np.isnan(result.exposure.image[:, :7]).all()
    assert has_plane(result.exposure, "NO_DATA")[:, :7].all()


@needs_lsst
@pytest.mark.parametrize("name", ["HSC-0908120-056-small.fits", "exposure-version-2.fits", "scienceMI.fits"])
def test_real_lsst_exposures_through_the_command(tmp_path: Path, name: str) -> None:
    """All bits of the mask come out, and the parent frame."""
    path = str(DATA / "lsst" / name)
    fits.writeto(tmp_path / "kernel.fits", np.outer([1, 2, 1], [1.0, 2, 1]) / 16)
    options = ("--svar", "1", "--tvar", "1", "-q", "-o", "out.fits")
    done = quickly(tmp_path, "run", path, path, path, "--kernel", "kernel.fits", *options)
    assert done.returncode == 0, done.stderr
    before, after = read_exposure(path), read_exposure(tmp_path / "out.fits")
    assert before.xy0 == after.xy0
    for plane in before.mask_planes:
        assert not (has_plane(before, plane) & ~has_plane(after, plane)).any()


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
    done = quickly(tmp_path, "run", *INPUTS, *options)
    assert done.returncode == 0, done.stderr
    assert "--dq-bad" not in done.stderr
    exposure = read_exposure(tmp_path / "out.fits")
    sure = has_plane(read_exposure(tmp_path / "sci.fits"), "BAD")
    assert np.argwhere(has_plane(exposure, "BAD") & ~sure).tolist() == [[60, 20]]
    done = quickly(tmp_path, "run", *INPUTS, "--dq-bad", "4", "-o", "other.fits")
    assert "decorr: warning: --dq-bad: all masks have names for their bits, or there are none" in done.stderr
    done = quickly(tmp_path, "run", *INPUTS, "--dq-bad", "five", "-o", "third.fits")
    assert (done.returncode, done.stderr.count("\n")) == (3, 1)
    assert "dq_bad = 'five' is no selection of bits" in done.stderr
