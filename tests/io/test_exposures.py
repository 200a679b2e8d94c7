"""Exposures of every layout are read as they were written."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from diffim_decorr import Exposure, InputError, decorrelate, read_exposure, read_psf
from diffim_decorr.geometry import Box
from support.command import succeed
from support.data import DECAM, JWST, LSST, needs_decam, needs_jwst, needs_lsst
from support.files import has_plane, image_hdu, write_hdus
from support.pixels import IMAGE, MASK, VARIANCE, check

# LSST


@needs_lsst
@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("HSC-0908120-056-small.fits", (200, 200)),
        ("exposure-version-2.fits", (10, 10)),
        ("scienceMI.fits", (193, 193)),
        ("templateMI.fits", (193, 193)),
    ],
)
def test_lsst_files(name: str, shape: tuple[int, int]) -> None:
    file = LSST / name
    exposure = read_exposure(file)
    with fits.open(file) as hdus:
        image, mask, variance = (
            next(h for h in hdus if h.header.get("EXTTYPE") == t) for t in ("IMAGE", "MASK", "VARIANCE")
        )
        assert exposure.shape == image.data.shape == shape
        np.testing.assert_array_equal(exposure.image, image.data)
        np.testing.assert_array_equal(exposure.variance, variance.data)
        np.testing.assert_array_equal(exposure.mask, mask.data)
        cards = {key[3:]: value for key, value in mask.header.items() if key.startswith("MP_")}
        assert exposure.mask_planes == cards
        assert {"SAT", "CR", "EDGE", "DETECTED"} <= set(cards)
        parent = tuple(int(image.header.get(f"CRVAL{k}A", 0)) for k in (1, 2))
        assert exposure.xy0 == parent
        assert exposure.name == f"{file}[1]"
        np.testing.assert_array_equal(exposure.mask_plane.read(Box(3, 2, 9, 7)), mask.data[2:7, 3:9])


def test_afw_layout(path: Path) -> None:
    planes = {"MP_BAD": 0, "MP_SAT": 1, "HIERARCH MP_DETECTED_NEGATIVE": 6}
    frame = {"CTYPE1A": "LINEAR", "CTYPE2A": "LINEAR", "CRPIX1A": 1, "CRPIX2A": 1, "CRVAL1A": 120, "CRVAL2A": -7}
    write_hdus(
        path,
        image_hdu(VARIANCE, EXTTYPE="VARIANCE"),
        image_hdu(MASK, EXTTYPE="MASK", **planes),
        image_hdu(IMAGE, EXTTYPE="IMAGE", **frame),
        OBSID="x1",
    )
    exposure = read_exposure(path)
    check(exposure.image_plane, IMAGE)
    check(exposure.variance_plane, VARIANCE)
    check(exposure.mask_plane, MASK)
    assert exposure.mask_planes == {"BAD": 0, "SAT": 1, "DETECTED_NEGATIVE": 6}
    assert exposure.xy0 == (120, -7)
    assert exposure.header["OBSID"] == "x1"
    assert exposure.header["CRVAL1A"] == 120
    # Another HDU of the file is an image of its own.
    alone = read_exposure(f"{path}[1]")
    check(alone.image_plane, VARIANCE)
    assert alone.variance is None
    assert read_exposure(f"{path}[3]").mask_planes == exposure.mask_planes


def test_parent_frame_by_its_reference_pixel(path: Path) -> None:
    frame = {"CTYPE1A": "LINEAR", "CRPIX1A": 11.0, "CRPIX2A": 1.0, "CRVAL1A": 120.0, "CRVAL2A": 30.0}
    write_hdus(path, image_hdu(IMAGE, EXTTYPE="IMAGE", **frame))
    assert read_exposure(path).xy0 == (110, 30)


# By name


def test_image_mask_variance_by_name(path: Path) -> None:
    write_hdus(path, image_hdu(MASK, "MASK", MP_EDGE=4), image_hdu(IMAGE, "IMAGE"), image_hdu(VARIANCE, "VARIANCE"))
    exposure = read_exposure(path)
    check(exposure.image_plane, IMAGE)
    check(exposure.variance_plane, VARIANCE)
    check(exposure.mask_plane, MASK)
    assert exposure.mask_planes == {"EDGE": 4}
    assert exposure.name == f"{path}[IMAGE]"
    for spec in ("[IMAGE]", "[image]", "[2]", "[IMAGE,1]"):
        check(read_exposure(f"{path}{spec}").variance_plane, VARIANCE)


def test_mask_without_names_is_bad_where_it_is_not_zero(path: Path) -> None:
    write_hdus(path, image_hdu(IMAGE, "IMAGE"), image_hdu(MASK, "MASK"))
    exposure = read_exposure(path)
    assert exposure.variance is None
    assert exposure.mask_planes == {"BAD": 0}
    check(exposure.mask_plane, (MASK != 0).astype("i4"))


def test_missing_mask_and_variance(path: Path) -> None:
    write_hdus(path, image_hdu(IMAGE, "IMAGE"))
    exposure = read_exposure(path)
    assert exposure.variance is None
    assert exposure.mask is None
    assert exposure.mask_planes == {}


def test_versions(path: Path) -> None:
    hdus = []
    for version in (1, 2, 3):
        hdus += [image_hdu(version * IMAGE, "SCI", version), image_hdu(version * VARIANCE, "ERR", version)]
        if version > 1:
            hdus.append(image_hdu((MASK + version).astype("i2"), "DQ", version))
    write_hdus(path, *hdus)
    for spec, version in (("", 1), ("[SCI]", 1), ("[SCI,2]", 2), ("[sci, 3]", 3), ("[3]", 2)):
        exposure = read_exposure(f"{path}{spec}")
        check(exposure.image_plane, version * IMAGE)
        check(exposure.variance_plane, np.square(version * VARIANCE))
        if version == 1:
            assert exposure.mask is None
        else:
            assert exposure.mask_planes == {"BAD": 0}
            check(exposure.mask_plane, ((MASK + version) != 0).astype("i4"))
            assert exposure.name == f"{path}[SCI,{version}]"


def test_companions_without_pixels(path: Path) -> None:
    # As in HST files: NAXIS = 0, and NPIX1, NPIX2, PIXVALUE instead of an array.
    write_hdus(path, image_hdu(IMAGE, "SCI"), image_hdu(None, "ERR", PIXVALUE=0.0), image_hdu(None, "DQ", PIXVALUE=0))
    exposure = read_exposure(path)
    assert exposure.variance is None
    assert exposure.mask is None


# HOTPANTS


def hotpants_file(path: Path, *layers: str) -> Path:
    hdus = [image_hdu((k + 2) * VARIANCE, OBJECT=layer) for k, layer in enumerate(layers)]
    table = fits.BinTableHDU.from_columns(
        [fits.Column("Region0", "D", array=[0.0, 1.0])], name="Convolution Kernel Information"
    )
    primary = fits.PrimaryHDU(
        IMAGE, fits.Header([("OBJECT", "M 33"), ("EXTNAME", "SCI"), ("MASKVAL", 1e-30), ("KERINFO", True)])
    )
    fits.HDUList([primary, *hdus, table]).writeto(path)
    return path


def test_hotpants_layers(path: Path) -> None:
    hotpants_file(path, "Convolved Image", "Noise-scaled (sigma) Difference Image", "HOTPanTS Noise Image")
    exposure = read_exposure(path)
    check(exposure.image_plane, IMAGE)
    check(exposure.variance_plane, np.square(4 * VARIANCE))
    assert exposure.missing_value == 1e-30
    assert exposure.mask is None
    check(read_exposure(f"{path}[0]").variance_plane, np.square(4 * VARIANCE))
    convolved = read_exposure(f"{path}[1]")
    check(convolved.image_plane, 2 * VARIANCE)
    assert convolved.variance is None
    assert convolved.missing_value == 1e-30  # said in the primary header


def test_hotpants_without_noise_layer(path: Path) -> None:
    assert read_exposure(hotpants_file(path, "Convolved Image")).variance is None


@needs_jwst
def test_hotpants_real_files() -> None:
    exposure = read_exposure(JWST / "hotpants_diff.fits")
    with fits.open(JWST / "hotpants_diff.fits") as hdus:
        np.testing.assert_array_equal(exposure.image, hdus[0].data)
        sigma = hdus[2].data
        np.testing.assert_array_equal(exposure.variance, sigma**2)
    assert exposure.missing_value == 1e-30
    science = read_exposure(JWST / "sci.fits", noise=JWST / "sci_noise.fits")
    sigma = fits.getdata(JWST / "sci_noise.fits")  # one pixel is negative
    np.testing.assert_array_equal(science.variance, np.maximum(sigma, 0) ** 2)
    psf = read_psf(JWST / "sci_psf.fits")
    assert psf.sum() == pytest.approx(1)


# Names, headers, missing pixels


def test_header_is_of_the_image_and_below_it_of_the_file(path: Path) -> None:
    hdu = image_hdu(IMAGE, "SCI", FILTER="r")
    hdu.header.add_history("of the image")
    primary = fits.PrimaryHDU(header=fits.Header([("FILTER", "none"), ("OBSERVER", "Leavitt")]))
    primary.header.add_history("of the file")
    fits.HDUList([primary, hdu]).writeto(path)
    header = read_exposure(path).header
    assert header["FILTER"] == "r"
    assert header["OBSERVER"] == "Leavitt"
    assert list(header["HISTORY"]) == ["of the image", "of the file"]


def test_missing_value_does_not_count_as_data(path: Path) -> None:
    fits.writeto(path, np.full(IMAGE.shape, 1e-30, "f4"), fits.Header([("MASKVAL", 1e-30)]))
    with pytest.raises(InputError, match="not one pixel"):
        read_exposure(path)
    image = np.full(IMAGE.shape, 1e-30, "f4")
    image[-1, -1] = 2
    fits.writeto(path, image, fits.Header([("MASKVAL", 1e-30)]), overwrite=True)
    check(read_exposure(path).image_plane, image)
    fits.writeto(path, image, fits.Header([("MASKVAL", True)]), overwrite=True)
    assert read_exposure(path).missing_value is None


def test_compressed_difference_of_ztf(tmp_path: Path) -> None:
    """scimrefdiffimg.fits.fz: an image that was compressed out of the primary HDU."""
    hdus = [fits.PrimaryHDU(), fits.CompImageHDU(IMAGE, compression_type="GZIP_2", quantize_level=0)]
    fits.HDUList(hdus).writeto(tmp_path / "diffimg.fits.fz")
    np.testing.assert_array_equal(read_exposure(tmp_path / "diffimg.fits.fz").image, IMAGE)


@needs_decam
def test_real_cutout_of_decam(tmp_path: Path) -> None:
    """Cut out of an ooi file, with the EXTNAME of its CCD in the primary header, and a mask by NOIRLab's rules."""
    path = DECAM / "inputs" / "DEC-OBS04a.mini.fits"
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
    sci, err = (fits.getdata(JWST / f"{name}.fits") for name in ("sci", "sci_noise"))
    sci = sci.copy()
    sci[:, :7] = np.nan
    header = fits.getheader(JWST / "sci.fits")
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
    noise = np.random.default_rng(1).normal(size=(2, *sci.shape)) + 0 * sci
    template, difference = Exposure(noise[0], 1.0), Exposure(noise[1])
    result = decorrelate(exposure, template, difference, zero)
    assert np.isnan(result.exposure.image[:, :7]).all()
    assert has_plane(result.exposure, "NO_DATA")[:, :7].all()


@needs_lsst
@pytest.mark.parametrize("name", ["HSC-0908120-056-small.fits", "exposure-version-2.fits", "scienceMI.fits"])
def test_real_lsst_exposures_through_the_command(tmp_path: Path, name: str) -> None:
    """All bits of the mask come out, and the parent frame."""
    path = str(LSST / name)
    fits.writeto(tmp_path / "kernel.fits", np.outer([1, 2, 1], [1.0, 2, 1]) / 16)
    options = ("--svar", "1", "--tvar", "1", "-q", "-o", "out.fits")
    for name, factor in (("tmpl.fits", 1.5), ("diff.fits", 0.5)):
        with fits.open(path) as hdus:
            hdus[1].data = factor * hdus[1].data
            hdus.writeto(tmp_path / name)
    succeed(tmp_path, "run", path, "tmpl.fits", "diff.fits", "--kernel", "kernel.fits", *options)
    before, after = read_exposure(path), read_exposure(tmp_path / "out.fits")
    assert before.xy0 == after.xy0
    for plane in before.mask_planes:
        assert not (has_plane(before, plane) & ~has_plane(after, plane)).any()
