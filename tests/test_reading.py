"""Images of every layout are read as they were written, whole and through windows."""

from __future__ import annotations

import gzip
import os
import warnings
from collections.abc import Callable
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import pytest
from astropy.io import fits
from diffim_decorr.io.fits import open_fits, split_spec
from diffim_decorr.planes import ArrayPlane, ConstantPlane, FilePlane, Plane
from diffim_decorr.spatial import Box

from diffim_decorr import Exposure, InputError, read_exposure, read_psf

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
needs_lsst = pytest.mark.skipif(not (DATA / "lsst").is_dir(), reason="the data folder shared/data/lsst is absent")
needs_jwst = pytest.mark.skipif(
    not (DATA / "jwst_a2744").is_dir(), reason="the data folder shared/data/jwst_a2744 is absent"
)

SHAPE = (23, 31)
WINDOWS = [Box(0, 0, 31, 23), Box(0, 0, 1, 1), Box(30, 22, 31, 23), Box(4, 7, 19, 8), Box(0, 5, 31, 17)]
RNG = np.random.default_rng(11)
IMAGE = RNG.normal(3, 5, SHAPE).astype("f4")
VARIANCE = RNG.uniform(1, 2, SHAPE).astype("f4")
MASK = RNG.integers(0, 64, SHAPE).astype("i4")


def check(plane: Plane | None, expected: np.ndarray) -> None:
    """A plane has these pixels, in any window of it."""
    assert plane is not None
    assert plane.shape == expected.shape
    np.testing.assert_array_equal(plane.read_all(), expected)
    for box in WINDOWS:
        window = plane.read(box)
        assert window.dtype.isnative
        np.testing.assert_array_equal(window, expected[box.slices])
        out = np.empty(box.shape)
        plane.read_into(box, out)
        np.testing.assert_array_equal(out, expected[box.slices].astype(float))


def has_plane(exposure: Exposure, name: str) -> np.ndarray:
    """Where a named mask plane is set."""
    assert exposure.mask is not None
    return (exposure.mask >> exposure.mask_planes[name]) & 1 == 1


def image_hdu(data: Any, name: str = "", version: int = 1, **cards: Any) -> fits.ImageHDU:
    hdu = fits.ImageHDU(data, name=name or None, ver=version)
    hdu.header.update(cards)
    return hdu


def write(path: Path, *hdus: Any, **primary: Any) -> Path:
    first = fits.PrimaryHDU()
    first.header.update(primary)
    fits.HDUList([first, *hdus]).writeto(path, overwrite=True)
    return path


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "image.fits"


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
    file = DATA / "lsst" / name
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
    write(
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
    write(path, image_hdu(IMAGE, EXTTYPE="IMAGE", **frame))
    assert read_exposure(path).xy0 == (110, 30)


# By name


def test_image_mask_variance_by_name(path: Path) -> None:
    write(path, image_hdu(MASK, "MASK", MP_EDGE=4), image_hdu(IMAGE, "IMAGE"), image_hdu(VARIANCE, "VARIANCE"))
    exposure = read_exposure(path)
    check(exposure.image_plane, IMAGE)
    check(exposure.variance_plane, VARIANCE)
    check(exposure.mask_plane, MASK)
    assert exposure.mask_planes == {"EDGE": 4}
    assert exposure.name == f"{path}[IMAGE]"
    for spec in ("[IMAGE]", "[image]", "[2]", "[IMAGE,1]"):
        check(read_exposure(f"{path}{spec}").variance_plane, VARIANCE)


def test_mask_without_names_is_bad_where_it_is_not_zero(path: Path) -> None:
    write(path, image_hdu(IMAGE, "IMAGE"), image_hdu(MASK, "MASK"))
    exposure = read_exposure(path)
    assert exposure.variance is None
    assert exposure.mask_planes == {"BAD": 0}
    check(exposure.mask_plane, (MASK != 0).astype("i4"))


def test_missing_mask_and_variance(path: Path) -> None:
    write(path, image_hdu(IMAGE, "IMAGE"))
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
    write(path, *hdus)
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


# Data quality


def dq_file(path: Path, bits: np.ndarray, dtype: str, **primary: Any) -> Exposure:
    dq = np.zeros(SHAPE, dtype)
    dq[5, : len(bits)] = [1 << int(bit) for bit in bits]
    return read_exposure(write(path, image_hdu(IMAGE, "SCI"), image_hdu(dq, "DQ"), **primary))


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


def test_companions_without_pixels(path: Path) -> None:
    # As in HST files: NAXIS = 0, and NPIX1, NPIX2, PIXVALUE instead of an array.
    write(path, image_hdu(IMAGE, "SCI"), image_hdu(None, "ERR", PIXVALUE=0.0), image_hdu(None, "DQ", PIXVALUE=0))
    exposure = read_exposure(path)
    assert exposure.variance is None
    assert exposure.mask is None


# Plain images and files beside them


def test_plain_image_with_files_beside_it(tmp_path: Path) -> None:
    fits.writeto(tmp_path / "image.fits", IMAGE)
    fits.writeto(tmp_path / "variance.fits", VARIANCE)
    fits.writeto(tmp_path / "noise.fits", np.sqrt(VARIANCE))
    weight = (1 / VARIANCE).astype("f4")
    weight[2, 3] = 0
    fits.writeto(tmp_path / "weight.fits", weight)
    write(tmp_path / "mask.fits", image_hdu(MASK, MP_SAT=1, MP_CR=3))
    plain = read_exposure(tmp_path / "image.fits")
    check(plain.image_plane, IMAGE)
    assert plain.variance is None
    assert plain.mask is None
    assert plain.name == str(tmp_path / "image.fits")
    exposure = read_exposure(tmp_path / "image.fits", variance=tmp_path / "variance.fits", mask=tmp_path / "mask.fits")
    check(exposure.variance_plane, VARIANCE)
    check(exposure.mask_plane, MASK)
    assert exposure.mask_planes == {"SAT": 1, "CR": 3}
    noisy = read_exposure(tmp_path / "image.fits", noise=tmp_path / "noise.fits")
    np.testing.assert_allclose(noisy.variance, VARIANCE, rtol=1e-6)
    weighted = read_exposure(tmp_path / "image.fits", weight=tmp_path / "weight.fits")
    assert np.isnan(weighted.variance[2, 3])
    expected = np.where(weight > 0, VARIANCE, np.nan)
    np.testing.assert_allclose(weighted.variance, expected, rtol=1e-6)


def test_files_beside_an_image_go_before_its_own(tmp_path: Path) -> None:
    own = write(
        tmp_path / "own.fits", image_hdu(IMAGE, "IMAGE"), image_hdu(VARIANCE, "VARIANCE"), image_hdu(MASK, "MASK")
    )
    other = write(tmp_path / "other.fits", image_hdu(2 * IMAGE, "IMAGE"), image_hdu(2 * VARIANCE, "VARIANCE"))
    fits.append(other, np.zeros(SHAPE, "u1"), fits.Header([("EXTNAME", "MASK"), ("MP_CR", 3)]))
    exposure = read_exposure(own, variance=other, mask=other)
    check(exposure.image_plane, IMAGE)
    check(exposure.variance_plane, 2 * VARIANCE)
    check(exposure.mask_plane, np.zeros(SHAPE))
    assert exposure.mask_planes == {"CR": 3}
    check(read_exposure(own, variance=f"{other}[1]").variance_plane, 2 * IMAGE)


def test_noise_and_weight_by_their_usual_names(tmp_path: Path) -> None:
    path = write(
        tmp_path / "drizzled.fits", image_hdu(IMAGE, "SCI"), image_hdu(VARIANCE, "WHT"), image_hdu(VARIANCE, "ERR")
    )
    np.testing.assert_allclose(read_exposure(path, weight=path).variance, 1 / VARIANCE, rtol=1e-6)
    np.testing.assert_allclose(read_exposure(path, noise=path).variance, VARIANCE**2, rtol=1e-6)


def test_companions_in_files_of_several_images(tmp_path: Path) -> None:
    """The HDU of the image's version, name or number, if the image was picked."""
    sci = write(tmp_path / "sci.fits", *(image_hdu(k * IMAGE, "SCI", k) for k in (1, 2, 3)))
    err = write(tmp_path / "err.fits", *(image_hdu(k * VARIANCE, "ERR", k) for k in (1, 2, 3)))
    np.testing.assert_allclose(read_exposure(f"{sci}[SCI,2]", noise=err).variance, (2 * VARIANCE) ** 2, rtol=1e-6)
    np.testing.assert_allclose(read_exposure(sci, noise=err).variance, VARIANCE**2, rtol=1e-6)
    same = write(tmp_path / "same.fits", *(image_hdu(k * VARIANCE, "SCI", k) for k in (3, 2, 1)))
    check(read_exposure(f"{sci}[SCI,3]", variance=same).variance_plane, 3 * VARIANCE)
    unnamed = write(tmp_path / "unnamed.fits", *(image_hdu(k * VARIANCE) for k in (1, 2, 3)))
    check(read_exposure(f"{unnamed}[2]", variance=unnamed).variance_plane, 2 * VARIANCE)
    one = write(tmp_path / "one.fits", image_hdu(VARIANCE, "V"))
    check(read_exposure(f"{sci}[SCI,3]", variance=one).variance_plane, VARIANCE)
    with pytest.raises(InputError, match=r"unnamed\.fits: none of its 3 images is \[SCI,3\]"):
        read_exposure(f"{sci}[SCI,3]", variance=unnamed)


@pytest.mark.parametrize("dtype", ["u1", "i2", "u2", "i4", "u4", "f4", "f8"])
def test_noise_and_weight_of_any_type(tmp_path: Path, dtype: str) -> None:
    pixels = np.full(SHAPE, 200, dtype)
    pixels[0, 0] = 0
    fits.writeto(tmp_path / "image.fits", IMAGE)
    fits.writeto(tmp_path / "plane.fits", pixels)
    noisy = read_exposure(tmp_path / "image.fits", noise=tmp_path / "plane.fits").variance
    assert noisy[0, 0] == 0
    assert (noisy.ravel()[1:] == 40000).all()
    weighted = read_exposure(tmp_path / "image.fits", weight=tmp_path / "plane.fits").variance
    assert np.isnan(weighted[0, 0])
    np.testing.assert_allclose(weighted.ravel()[1:], 0.005, rtol=1e-6)


def test_sigma_that_is_no_sigma(tmp_path: Path) -> None:
    sigma = np.ones(SHAPE, "f4")
    sigma[0, :4] = np.nan, -1, 1e30, 1e-30
    fits.writeto(tmp_path / "image.fits", IMAGE)
    fits.writeto(tmp_path / "sigma.fits", sigma)
    variance = read_exposure(tmp_path / "image.fits", noise=tmp_path / "sigma.fits").variance
    np.testing.assert_array_equal(variance[0, :5], [np.nan, 0, np.inf, 0, 1])


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


def test_hotpants_mask_in_a_file_of_its_own(tmp_path: Path) -> None:
    flags = np.zeros(SHAPE, "u2")
    flags[3, :4] = 0x8000, 0x40, 0x8081, 0x200
    header = fits.Header([("OBJECT", "Hotpants output Mask Image")])
    fits.writeto(tmp_path / "mask.fits", flags, header)
    fits.writeto(tmp_path / "image.fits", IMAGE)
    exposure = read_exposure(tmp_path / "image.fits", mask=tmp_path / "mask.fits")
    assert exposure.mask_planes == {"BAD": 15}
    assert list(exposure.mask[3, :5] >> 15) == [1, 0, 1, 0, 0]
    assert (exposure.mask != 0).sum() == 2


@needs_jwst
def test_hotpants_real_files() -> None:
    exposure = read_exposure(DATA / "jwst_a2744" / "hotpants_diff.fits")
    with fits.open(DATA / "jwst_a2744" / "hotpants_diff.fits") as hdus:
        np.testing.assert_array_equal(exposure.image, hdus[0].data)
        sigma = hdus[2].data
        np.testing.assert_array_equal(exposure.variance, sigma**2)
    assert exposure.missing_value == 1e-30
    science = read_exposure(DATA / "jwst_a2744" / "sci.fits", noise=DATA / "jwst_a2744" / "sci_noise.fits")
    sigma = fits.getdata(DATA / "jwst_a2744" / "sci_noise.fits")  # one pixel is negative
    np.testing.assert_array_equal(science.variance, np.maximum(sigma, 0) ** 2)
    psf = read_psf(DATA / "jwst_a2744" / "sci_psf.fits")
    assert psf.sum() == pytest.approx(1)


# How pixels are stored


@pytest.mark.parametrize("dtype", ["u1", "i1", ">i2", "<i2", "u2", ">i4", "u4", ">i8", "u8", ">f4", "<f4", ">f8"])
@pytest.mark.parametrize("where", ["primary", "extension", "gzip"])
def test_types(tmp_path: Path, dtype: str, where: str) -> None:
    kind = np.dtype(dtype)
    if kind.kind == "f":
        pixels = RNG.normal(size=SHAPE).astype(kind)
    else:
        limits = np.iinfo(kind)
        # The values of images are real numbers, of 53 bits.
        edge = min(limits.max, 1 << 52)
        pixels = RNG.integers(max(limits.min, -edge), edge, SHAPE, endpoint=True).astype(kind)
    hdu = fits.PrimaryHDU(pixels) if where != "extension" else image_hdu(pixels)
    path = tmp_path / "image.fits"
    fits.HDUList([hdu] if where != "extension" else [fits.PrimaryHDU(), hdu]).writeto(path)
    if where == "gzip":
        path = gzipped(path)
    check(read_exposure(path).image_plane, pixels)


@pytest.mark.parametrize("dtype", ["u1", "i2", "u2", "i4", "u4", "i8", "u8", "f4"])
@pytest.mark.parametrize("packed", [False, True])
def test_masks_of_any_type(tmp_path: Path, dtype: str, packed: bool) -> None:
    mask = RNG.integers(0, 64, SHAPE).astype(dtype)
    path = write(tmp_path / "image.fits", image_hdu(IMAGE, "IMAGE"), image_hdu(mask, "MASK", MP_SAT=1, MP_CR=5))
    if packed:
        path = gzipped(path)
    exposure = read_exposure(path)
    assert exposure.mask.dtype.kind in "iu"
    check(exposure.mask_plane, mask)


def test_highest_bit_of_an_unsigned_mask(path: Path) -> None:
    mask = np.zeros(SHAPE, "u4")
    mask[1, 2] = 1 << 31
    write(path, image_hdu(IMAGE, "IMAGE"), image_hdu(mask, "MASK", MP_TOP=31))
    assert np.argwhere(has_plane(read_exposure(path), "TOP")).tolist() == [[1, 2]]


def test_mask_of_which_pixels_are_undefined(path: Path) -> None:
    mask = np.zeros(SHAPE, "f4")
    mask[1, :3] = np.nan, 2, 1e30
    write(path, image_hdu(IMAGE, "IMAGE"), image_hdu(mask, "MASK", MP_SAT=1, MP_CR=5))
    exposure = read_exposure(path)
    assert has_plane(exposure, "SAT")[1, :4].tolist() == [True, True, True, False]
    assert has_plane(exposure, "CR")[1, :4].tolist() == [True, False, True, False]


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("dtype", ["u1", "i2", "i4"])
def test_scaled_integers_with_blanks(tmp_path: Path, dtype: str, packed: bool) -> None:
    stored = RNG.integers(0, 100, SHAPE).astype(dtype)
    stored[3, 4:7] = 101
    path = tmp_path / "image.fits"
    hdu = fits.PrimaryHDU(stored)
    hdu.writeto(path)
    with fits.open(path, mode="update", do_not_scale_image_data=True) as hdus:
        hdus[0].header.update({"BSCALE": 0.25, "BZERO": -3.0, "BLANK": 101})
    if packed:
        path = gzipped(path)
    expected = stored * 0.25 - 3.0
    expected[3, 4:7] = np.nan
    exposure = read_exposure(path)
    check(exposure.image_plane, expected)


@pytest.mark.parametrize("packed", [False, True])
def test_scaled_integers(tmp_path: Path, packed: bool) -> None:
    path = tmp_path / "image.fits"
    fits.writeto(path, np.arange(713, dtype="i2").reshape(SHAPE))
    with fits.open(path, mode="update", do_not_scale_image_data=True) as hdus:
        hdus[0].header.update({"BSCALE": 0.5, "BZERO": 2.0})
    check(read_exposure(gzipped(path) if packed else path).image_plane, np.arange(713).reshape(SHAPE) * 0.5 + 2)


def test_blanks_of_unscaled_integers(path: Path) -> None:
    stored = RNG.integers(0, 100, SHAPE).astype("i4")
    stored[3, 4:7] = -9
    fits.writeto(path, stored)
    with fits.open(path, mode="update", do_not_scale_image_data=True) as hdus:
        hdus[0].header["BLANK"] = -9
    expected = np.where(stored == -9, np.nan, stored)
    check(read_exposure(path).image_plane, expected)


def test_pixels_that_are_not_finite(path: Path) -> None:
    image = IMAGE.copy()
    image[0, :3] = np.nan, np.inf, -np.inf
    fits.writeto(path, image)
    check(read_exposure(path).image_plane, image)


@pytest.mark.parametrize("packed", [False, True])
def test_leading_axes_of_length_one(tmp_path: Path, packed: bool) -> None:
    path = write(tmp_path / "image.fits", image_hdu(IMAGE[None, None], "SCI"), image_hdu(VARIANCE[None], "ERR"))
    exposure = read_exposure(gzipped(path) if packed else path)
    check(exposure.image_plane, IMAGE)
    check(exposure.variance_plane, np.square(VARIANCE))


def test_image_after_other_hdus(path: Path) -> None:
    table = fits.BinTableHDU.from_columns([fits.Column("A", "PD()", array=np.array([[1.0, 2.0]], dtype=object))])
    write(path, table, image_hdu(np.ones((3, 4, 5))), image_hdu(IMAGE))
    check(read_exposure(path).image_plane, IMAGE)


def gzipped(path: Path) -> Path:
    packed = path.with_name(path.name + ".gz")
    packed.write_bytes(gzip.compress(path.read_bytes(), 1))
    return packed


@pytest.mark.parametrize("kind", ["RICE_1", "GZIP_1", "GZIP_2"])
def test_tile_compressed(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "image.fits.fz"
    hdus = [fits.PrimaryHDU()]
    for name, pixels in (("IMAGE", IMAGE.astype("i4")), ("MASK", MASK), ("VARIANCE", (9 * VARIANCE).astype("i2"))):
        hdus.append(fits.CompImageHDU(pixels, name=name, compression_type=kind, tile_shape=(5, 31)))
    hdus[2].header["MP_SAT"] = 1
    fits.HDUList(hdus).writeto(path)
    exposure = read_exposure(path)
    check(exposure.image_plane, IMAGE.astype("i4"))
    check(exposure.mask_plane, MASK)
    check(exposure.variance_plane, (9 * VARIANCE).astype("i2"))
    assert exposure.mask_planes == {"SAT": 1}
    assert exposure.name == f"{path}[IMAGE]"
    check(read_exposure(f"{path}[VARIANCE]").image_plane, (9 * VARIANCE).astype("i2"))


def test_tile_compressed_reals(tmp_path: Path) -> None:
    image = IMAGE.copy()
    image[4, 5] = np.nan
    lossless = tmp_path / "lossless.fits.fz"
    hdu = fits.CompImageHDU(image, compression_type="GZIP_2", quantize_level=0)
    fits.HDUList([fits.PrimaryHDU(), hdu]).writeto(lossless)
    check(read_exposure(lossless).image_plane, image)
    lossy = tmp_path / "lossy.fits.fz"
    hdu = fits.CompImageHDU(image, compression_type="RICE_1", quantize_level=16)
    fits.HDUList([fits.PrimaryHDU(), hdu]).writeto(lossy)
    read = read_exposure(lossy).image
    assert np.isnan(read[4, 5])
    assert np.nanmax(np.abs(read - image)) < 0.5


def test_compressed_unsigned_mask_and_leading_axis(tmp_path: Path) -> None:
    path = tmp_path / "image.fits.fz"
    mask = MASK.astype("u2")
    hdus = [fits.PrimaryHDU(), fits.CompImageHDU(IMAGE[None], name="SCI", compression_type="GZIP_1", quantize_level=0)]
    hdus.append(fits.CompImageHDU(mask, name="DQ", compression_type="RICE_1"))
    fits.HDUList(hdus).writeto(path)
    exposure = read_exposure(path)
    check(exposure.image_plane, IMAGE)
    check(exposure.mask_plane, (MASK != 0).astype("i4"))


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
    fits.writeto(path, np.full(SHAPE, 1e-30, "f4"), fits.Header([("MASKVAL", 1e-30)]))
    with pytest.raises(InputError, match="not one pixel"):
        read_exposure(path)
    image = np.full(SHAPE, 1e-30, "f4")
    image[-1, -1] = 2
    fits.writeto(path, image, fits.Header([("MASKVAL", 1e-30)]), overwrite=True)
    check(read_exposure(path).image_plane, image)
    fits.writeto(path, image, fits.Header([("MASKVAL", True)]), overwrite=True)
    assert read_exposure(path).missing_value is None


def test_psf_of_a_file(tmp_path: Path) -> None:
    psf = np.outer([1, 2, 1], [1, 2, 1]).astype("f4")
    path = write(tmp_path / "a.fits", image_hdu(IMAGE, "IMAGE"), image_hdu(psf, "PSF"))
    exposure = read_exposure(path)
    np.testing.assert_allclose(exposure.psf, psf / 16)
    np.testing.assert_allclose(read_psf(path), psf / 16)
    np.testing.assert_allclose(read_psf(f"{path}[PSF]"), psf / 16)
    fits.writeto(tmp_path / "psf.fits", 3 * np.ones((1, 5, 5), "i2"))
    np.testing.assert_allclose(read_exposure(path, psf=tmp_path / "psf.fits").psf, np.full((5, 5), 0.04))
    table = fits.BinTableHDU.from_columns([fits.Column("A", "D", array=[1.0])], name="PSF")
    assert read_exposure(write(tmp_path / "b.fits", image_hdu(IMAGE, "IMAGE"), table)).psf is None
    with pytest.raises(InputError, match=r"a\.fits\[IMAGE\].*sum|PSF"):
        read_psf(f"{write(tmp_path / 'c.fits', image_hdu(-np.ones((3, 3)), 'IMAGE'))}[IMAGE]")
    with pytest.raises(InputError, match="a table with their positions"):
        read_psf(f"{write(tmp_path / 'd.fits', image_hdu(np.ones((2, 3, 3)), 'CUBE'))}[CUBE]")


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
        assert hdus[0].shape == SHAPE
    exposure = read_exposure(path)
    exposure.image_plane.read(Box(0, 0, 2, 2))
    if os.path.isdir("/proc/self/fd"):
        links = [os.path.realpath(f"/proc/self/fd/{fd}") for fd in os.listdir("/proc/self/fd")]
        assert str(path) not in links


# Exposures of arrays


def test_exposure_of_arrays() -> None:
    exposure = Exposure(IMAGE, 2.0, MASK, mask_planes={"SAT": 1}, name="night 3")
    assert exposure.image is IMAGE
    assert (exposure.variance == 2).all()
    assert exposure.mask is MASK
    assert repr(exposure) == "<Exposure night 3: 31 x 23 pixels, mask planes ['SAT']>"
    swapped = Exposure(IMAGE.astype(IMAGE.dtype.newbyteorder()))
    check(swapped.image_plane, IMAGE)
    assert swapped.mask is None
    assert swapped.variance is None


def test_exposure_with_a_mask_without_names() -> None:
    for mask in (MASK, MASK != 0, MASK.astype("u1")):
        exposure = Exposure(IMAGE, mask=mask)
        assert exposure.mask_planes == {"BAD": 0}
        check(exposure.mask_plane, (MASK != 0).astype("i4"))


def test_masked_arrays_have_no_data_where_they_are_masked() -> None:
    exposure = Exposure(np.ma.masked_where(MASK > 30, IMAGE))
    np.testing.assert_array_equal(exposure.image, np.where(MASK > 30, np.nan, IMAGE))


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: Exposure(np.ones(4)), "the image must be a 2-D array"),
        (lambda: Exposure(3.0), "the image must be a 2-D array"),
        (lambda: Exposure(np.ones((0, 4))), "the image must be a 2-D array"),
        (lambda: Exposure(IMAGE.astype(complex)), "not real numbers"),
        (lambda: Exposure(IMAGE, VARIANCE[:-1]), "the variance plane has 31 x 22 pixels, the image 31 x 23"),
        (lambda: Exposure(IMAGE, mask=MASK[:, 1:]), "the mask plane has 30 x 23 pixels, the image 31 x 23"),
        (lambda: Exposure(IMAGE, mask=MASK.astype(float)), "the mask plane has pixels of type float64, not whole"),
        (lambda: Exposure(IMAGE, ConstantPlane(1.0, (3, 4))), "the variance plane has 4 x 3 pixels"),
        (lambda: Exposure(IMAGE, mask=MASK, mask_planes={"SAT": 32}), "mask plane SAT is said to be bit 32"),
    ],
)
def test_exposure_of_wrong_arrays(make: Callable[[], Exposure], says: str) -> None:
    with pytest.raises(InputError, match=says):
        make()


def test_planes(path: Path) -> None:
    check(ArrayPlane(IMAGE), IMAGE)
    check(ConstantPlane(2.5, SHAPE), np.full(SHAPE, 2.5))
    path.write_bytes(b"offset" + IMAGE.astype(">f4").tobytes())
    check(FilePlane(str(path), 6, SHAPE, np.dtype(">f4")), IMAGE)
