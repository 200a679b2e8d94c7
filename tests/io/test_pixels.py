"""Pixels are read however they are stored."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from diffim_decorr import read_exposure
from support.files import gzipped, image_hdu, write_hdus
from support.pixels import IMAGE, MASK, RNG, VARIANCE, check


@pytest.mark.parametrize("dtype", ["u1", "i1", ">i2", "<i2", "u2", ">i4", "u4", ">i8", "u8", ">f4", "<f4", ">f8"])
@pytest.mark.parametrize("where", ["primary", "extension", "gzip"])
def test_types(tmp_path: Path, dtype: str, where: str) -> None:
    kind = np.dtype(dtype)
    if kind.kind == "f":
        pixels = RNG.normal(size=IMAGE.shape).astype(kind)
    else:
        limits = np.iinfo(kind)
        # The values of images are real numbers, of 53 bits.
        edge = min(limits.max, 1 << 52)
        pixels = RNG.integers(max(limits.min, -edge), edge, IMAGE.shape, endpoint=True).astype(kind)
    hdu = fits.PrimaryHDU(pixels) if where != "extension" else image_hdu(pixels)
    path = tmp_path / "image.fits"
    fits.HDUList([hdu] if where != "extension" else [fits.PrimaryHDU(), hdu]).writeto(path)
    if where == "gzip":
        path = gzipped(path)
    check(read_exposure(path).image_plane, pixels)


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("dtype", ["u1", "i2", "i4"])
def test_scaled_integers_with_blanks(tmp_path: Path, dtype: str, packed: bool) -> None:
    stored = RNG.integers(0, 100, IMAGE.shape).astype(dtype)
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
    fits.writeto(path, np.arange(713, dtype="i2").reshape(IMAGE.shape))
    with fits.open(path, mode="update", do_not_scale_image_data=True) as hdus:
        hdus[0].header.update({"BSCALE": 0.5, "BZERO": 2.0})
    check(read_exposure(gzipped(path) if packed else path).image_plane, np.arange(713).reshape(IMAGE.shape) * 0.5 + 2)


def test_blanks_of_unscaled_integers(path: Path) -> None:
    stored = RNG.integers(0, 100, IMAGE.shape).astype("i4")
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
    path = write_hdus(tmp_path / "image.fits", image_hdu(IMAGE[None, None], "SCI"), image_hdu(VARIANCE[None], "ERR"))
    exposure = read_exposure(gzipped(path) if packed else path)
    check(exposure.image_plane, IMAGE)
    check(exposure.variance_plane, np.square(VARIANCE))


def test_image_after_other_hdus(path: Path) -> None:
    table = fits.BinTableHDU.from_columns([fits.Column("A", "PD()", array=np.array([[1.0, 2.0]], dtype=object))])
    write_hdus(path, table, image_hdu(np.ones((3, 4, 5))), image_hdu(IMAGE))
    check(read_exposure(path).image_plane, IMAGE)


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
