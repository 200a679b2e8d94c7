"""Variances, noise, weights and masks in files of their own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from diffim_decorr import InputError, read_exposure
from support.command import refused
from support.files import INPUTS, SHAPE, image_hdu, write_hdus
from support.pixels import IMAGE, MASK, VARIANCE, check

# Plain images and files beside them


def test_plain_image_with_files_beside_it(tmp_path: Path) -> None:
    fits.writeto(tmp_path / "image.fits", IMAGE)
    fits.writeto(tmp_path / "variance.fits", VARIANCE)
    fits.writeto(tmp_path / "noise.fits", np.sqrt(VARIANCE))
    weight = (1 / VARIANCE).astype("f4")
    weight[2, 3] = 0
    fits.writeto(tmp_path / "weight.fits", weight)
    write_hdus(tmp_path / "mask.fits", image_hdu(MASK, MP_SAT=1, MP_CR=3))
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
    own = write_hdus(
        tmp_path / "own.fits", image_hdu(IMAGE, "IMAGE"), image_hdu(VARIANCE, "VARIANCE"), image_hdu(MASK, "MASK")
    )
    other = write_hdus(tmp_path / "other.fits", image_hdu(2 * IMAGE, "IMAGE"), image_hdu(2 * VARIANCE, "VARIANCE"))
    fits.append(other, np.zeros(IMAGE.shape, "u1"), fits.Header([("EXTNAME", "MASK"), ("MP_CR", 3)]))
    exposure = read_exposure(own, variance=other, mask=other)
    check(exposure.image_plane, IMAGE)
    check(exposure.variance_plane, 2 * VARIANCE)
    check(exposure.mask_plane, np.zeros(IMAGE.shape))
    assert exposure.mask_planes == {"CR": 3}
    check(read_exposure(own, variance=f"{other}[1]").variance_plane, 2 * IMAGE)


def test_noise_and_weight_by_their_usual_names(tmp_path: Path) -> None:
    path = write_hdus(
        tmp_path / "drizzled.fits", image_hdu(IMAGE, "SCI"), image_hdu(VARIANCE, "WHT"), image_hdu(VARIANCE, "ERR")
    )
    np.testing.assert_allclose(read_exposure(path, weight=path).variance, 1 / VARIANCE, rtol=1e-6)
    np.testing.assert_allclose(read_exposure(path, noise=path).variance, VARIANCE**2, rtol=1e-6)


def test_companions_in_files_of_several_images(tmp_path: Path) -> None:
    """The HDU of the image's version, name or number, if the image was picked."""
    sci = write_hdus(tmp_path / "sci.fits", *(image_hdu(k * IMAGE, "SCI", k) for k in (1, 2, 3)))
    err = write_hdus(tmp_path / "err.fits", *(image_hdu(k * VARIANCE, "ERR", k) for k in (1, 2, 3)))
    np.testing.assert_allclose(read_exposure(f"{sci}[SCI,2]", noise=err).variance, (2 * VARIANCE) ** 2, rtol=1e-6)
    np.testing.assert_allclose(read_exposure(sci, noise=err).variance, VARIANCE**2, rtol=1e-6)
    same = write_hdus(tmp_path / "same.fits", *(image_hdu(k * VARIANCE, "SCI", k) for k in (3, 2, 1)))
    check(read_exposure(f"{sci}[SCI,3]", variance=same).variance_plane, 3 * VARIANCE)
    unnamed = write_hdus(tmp_path / "unnamed.fits", *(image_hdu(k * VARIANCE) for k in (1, 2, 3)))
    check(read_exposure(f"{unnamed}[2]", variance=unnamed).variance_plane, 2 * VARIANCE)
    one = write_hdus(tmp_path / "one.fits", image_hdu(VARIANCE, "V"))
    check(read_exposure(f"{sci}[SCI,3]", variance=one).variance_plane, VARIANCE)
    with pytest.raises(InputError, match=r"unnamed\.fits: none of its 3 images is \[SCI,3\]"):
        read_exposure(f"{sci}[SCI,3]", variance=unnamed)


@pytest.mark.parametrize("dtype", ["u1", "i2", "u2", "i4", "u4", "f4", "f8"])
def test_noise_and_weight_of_any_type(tmp_path: Path, dtype: str) -> None:
    pixels = np.full(IMAGE.shape, 200, dtype)
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
    sigma = np.ones(IMAGE.shape, "f4")
    sigma[0, :4] = np.nan, -1, 1e30, 1e-30
    fits.writeto(tmp_path / "image.fits", IMAGE)
    fits.writeto(tmp_path / "sigma.fits", sigma)
    variance = read_exposure(tmp_path / "image.fits", noise=tmp_path / "sigma.fits").variance
    np.testing.assert_array_equal(variance[0, :5], [np.nan, 0, np.inf, 0, 1])


def test_hotpants_mask_in_a_file_of_its_own(tmp_path: Path) -> None:
    flags = np.zeros(IMAGE.shape, "u2")
    flags[3, :4] = 0x8000, 0x40, 0x8081, 0x200
    header = fits.Header([("OBJECT", "Hotpants output Mask Image")])
    fits.writeto(tmp_path / "mask.fits", flags, header)
    fits.writeto(tmp_path / "image.fits", IMAGE)
    exposure = read_exposure(tmp_path / "image.fits", mask=tmp_path / "mask.fits")
    assert exposure.mask_planes == {"BAD": 15}
    assert list(exposure.mask[3, :5] >> 15) == [1, 0, 1, 0, 0]
    assert (exposure.mask != 0).sum() == 2


NY, NX = SHAPE

# Files beside the images


@pytest.mark.parametrize("kind", ["variance", "noise", "weight", "mask"])
def test_plane_of_another_shape(folder: Path, kind: str) -> None:
    fits.writeto(folder / "plane.fits", np.ones((NY, NX + 3), "i2"))
    refused(
        folder, ("plane.fits: has 99 x 80 pixels", "tmpl.fits[IMAGE]"), "run", *INPUTS, f"--tmpl-{kind}", "plane.fits"
    )


@pytest.mark.parametrize("kind", ["variance", "noise", "weight"])
def test_plane_without_noise(folder: Path, kind: str) -> None:
    fits.writeto(folder / "plane.fits", np.zeros(SHAPE, "f4"))
    refused(folder, ("sci.fits[IMAGE]", "no pixel has a variance > 0"), "run", *INPUTS, f"--sci-{kind}", "plane.fits")


@pytest.mark.parametrize("pair", [("variance", "noise"), ("variance", "weight"), ("noise", "weight")])
def test_two_planes_of_one_image(folder: Path, pair: tuple[str, str]) -> None:
    fits.writeto(folder / "plane.fits", np.ones(SHAPE, "f4"))
    options = [text for kind in pair for text in (f"--sci-{kind}", "plane.fits")]
    refused(folder, ("sci.fits", "only one of a variance, a noise and a weight image"), "run", *INPUTS, *options)


@pytest.mark.parametrize("option", ["--sci-mask", "--diff-mask", "--tmpl-noise"])
def test_missing_plane(folder: Path, option: str) -> None:
    refused(folder, "plane.fits: no such file", "run", *INPUTS, option, "plane.fits")
