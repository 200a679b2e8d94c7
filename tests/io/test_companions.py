"""Variances, noise, weights and masks in files of their own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from diffim_decorr import DecorrWarning, InputError, read_exposure
from support.command import refused
from support.files import INPUTS, SHAPE, has_plane, image_hdu, write_hdus
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
    image = write_hdus(tmp_path / "image.fits", *(image_hdu(k * IMAGE) for k in (1, 2, 3)))
    check(read_exposure(f"{image}[2]", variance=unnamed).variance_plane, 2 * VARIANCE)
    one = write_hdus(tmp_path / "one.fits", image_hdu(VARIANCE, "V"))
    check(read_exposure(f"{sci}[SCI,3]", variance=one).variance_plane, VARIANCE)
    with pytest.raises(InputError, match=r"unnamed\.fits: none of its 3 images is \[SCI,3\]"):
        read_exposure(f"{sci}[SCI,3]", variance=unnamed)


# Companions in the image's own file, by the names that surveys give them

# The HDU of the image ("" is the primary one), the mask, the plane of noise and what that plane holds.
LAYOUTS = {
    "LSST": ("IMAGE", "MASK", "VARIANCE", "variance"),
    "Gemini": ("SCI", "DQ", "VAR", "variance"),
    "JWST": ("SCI", "DQ", "ERR", "noise"),
    "DES": ("SCI", "MSK", "WGT", "weight"),
    "BANZAI": ("SCI", "BPM", "ERR", "noise"),
    "CCDData": ("", "MASK", "UNCERT", "noise"),
    "SPHEREx": ("IMAGE", "FLAGS", "VARIANCE", "variance"),
    "TESS": ("CAMERA.CCD 1.1 CAL", None, "CAMERA.CCD 1.1 UNCERT", "noise"),
    "delta": ("DIFFERENCE", "MASK", "VARIANCE", "variance"),
    "Legacy Surveys": ("CCD", None, "INVVAR", "weight"),
}
SIGMA = np.sqrt(VARIANCE)
PLANES = {"variance": VARIANCE, "noise": SIGMA, "weight": (1 / VARIANCE).astype("f4")}


def write_layout(path: Path, image: str, mask: str | None, noise: str, kind: str, **cards: object) -> Path:
    """One exposure; the mask has a single bit set in some pixels."""
    hdus = [fits.PrimaryHDU(None if image else IMAGE)]
    hdus += [image_hdu(IMAGE, image)] if image else []
    hdus += [image_hdu((MASK > 55).astype("u1"), mask)] if mask else []
    fits.HDUList([*hdus, image_hdu(PLANES[kind], noise, **cards)]).writeto(path)
    return path


@pytest.mark.parametrize("survey", LAYOUTS)
def test_companions_of_surveys(path: Path, survey: str) -> None:
    """Mask and noise are found beside the image, and with the option of their kind, for which nothing else is taken."""
    image, mask, noise, kind = LAYOUTS[survey]
    write_layout(path, image, mask, noise, kind)
    other = np.full(IMAGE.shape, 7.0)
    fits.writeto(path.parent / "other.fits", other)
    for exposure in (read_exposure(path), read_exposure(path, **{kind: path})):
        check(exposure.image_plane, IMAGE)
        np.testing.assert_allclose(exposure.variance, VARIANCE, rtol=1e-6)
        assert not exposure.remarks
        if mask is not None:
            np.testing.assert_array_equal(has_plane(exposure, "BAD"), MASK > 55)
    check(read_exposure(path, variance=path.parent / "other.fits").variance_plane, other)


@pytest.mark.parametrize(
    ("said", "kind"),
    [("std", "noise"), ("StdDevUncertainty", "noise"), ("var", "variance"), ("ivar", "weight")],
)
def test_uncertainty_of_ccddata_says_what_it_is(path: Path, said: str, kind: str) -> None:
    exposure = read_exposure(write_layout(path, "", "MASK", "UNCERT", kind, UTYPE=said))
    np.testing.assert_allclose(exposure.variance, VARIANCE, rtol=1e-6)


@pytest.mark.parametrize("kind", ["std", "var", "ivar"])
def test_files_that_ccddata_writes(path: Path, kind: str) -> None:
    from astropy.nddata import CCDData, InverseVariance, StdDevUncertainty, VarianceUncertainty

    values, form = {
        "std": (SIGMA, StdDevUncertainty),
        "var": (VARIANCE, VarianceUncertainty),
        "ivar": (1 / VARIANCE, InverseVariance),
    }[kind]
    CCDData(IMAGE, unit="adu", uncertainty=form(values), mask=MASK > 55).write(path)
    exposure = read_exposure(path)
    np.testing.assert_allclose(exposure.variance, VARIANCE, rtol=1e-6)
    check(exposure.mask_plane, MASK > 55)


def test_companions_of_one_ccd_of_several(path: Path) -> None:
    """Without a version it cannot be told whose companions they are: none is taken, and that is said."""
    write_hdus(path, image_hdu(IMAGE, "CCD1"), image_hdu(IMAGE, "CCD2"), image_hdu(MASK, "MASK"))
    with pytest.warns(DecorrWarning, match=r"\[CCD1\]: is the image that is taken; \[CCD2\], \[MASK\] .* left out"):
        exposure = read_exposure(path)
    assert exposure.mask is None
    assert not read_exposure(f"{path}[CCD2]").remarks


def test_further_exposures_are_said_to_be_left_out(path: Path) -> None:
    write_hdus(path, *(image_hdu(k * IMAGE, name, k) for k in range(1, 11) for name in ("SCI", "ERR")))
    with pytest.warns(
        DecorrWarning, match=r"\[SCI,2\], .*\[SCI,7\] and 3 more in the same file are left out.*--all-ext"
    ):
        read_exposure(path)
    assert not read_exposure(f"{path}[SCI,3]").remarks


def test_planes_that_are_neither_exposures_nor_companions_are_not_worth_a_word(path: Path) -> None:
    names = ("SCORE", "CON", "WHT", "VAR_POISSON", "ZODI", "BKG", "PSF")
    small = image_hdu(np.eye(3), "KERNEL")
    write_hdus(path, image_hdu(IMAGE, "SCI"), image_hdu(VARIANCE, "ERR"), *(image_hdu(IMAGE, n) for n in names), small)
    check(read_exposure(path, psf=write_hdus(path.parent / "psf.fits", small)).image_plane, IMAGE)


def test_weights_of_drizzled_images_are_taken_only_if_asked_for(path: Path) -> None:
    """They are times of exposure as often as inverse variances."""
    write_hdus(path, image_hdu(IMAGE, "SCI"), image_hdu(PLANES["weight"], "WHT"))
    assert read_exposure(path).variance is None
    np.testing.assert_allclose(read_exposure(path, weight=path).variance, VARIANCE, rtol=1e-6)


@pytest.mark.parametrize("kind", ["variance", "noise", "weight", "mask"])
def test_image_itself_is_no_companion(path: Path, kind: str) -> None:
    fits.writeto(path, IMAGE)
    for spec in (path, f"{path}[0]"):
        with pytest.raises(InputError, match=rf"image\.fits: is the image itself.*{kind}"):
            read_exposure(path, **{kind: spec})
    write_hdus(path, image_hdu(IMAGE, "SCI"), image_hdu(IMAGE, "DIFF"), image_hdu(IMAGE, "DEEP"))
    says = (
        rf"none of its 3 images, besides .*\[SCI\] itself, is known to be the {kind}, .*: \[1\] SCI, \[2\] DIFF, \[3\]"
    )
    with pytest.raises(InputError, match=says):
        read_exposure(path, **{kind: path})


def test_companion_file_of_several_images(path: Path, tmp_path: Path) -> None:
    """What is something else by its name is not taken; of several that it could be, none."""
    fits.writeto(path, IMAGE)
    other = write_hdus(tmp_path / "a.fits", image_hdu(VARIANCE, "A"), image_hdu(VARIANCE, "B"))
    with pytest.raises(InputError, match=r"a\.fits: none of its 2 images is known .* VARIANCE or VAR: \[1\] A,"):
        read_exposure(path, variance=other)
    other = write_hdus(tmp_path / "b.fits", image_hdu(SIGMA, "ERR"), image_hdu(MASK, "DQ"))
    with pytest.raises(InputError, match=r"b\.fits: none of its 2 images is known .*: \[1\] ERR, \[2\] DQ"):
        read_exposure(path, variance=other)
    other = write_hdus(tmp_path / "c.fits", image_hdu(VARIANCE, "ANY"), image_hdu(MASK, "DQ"))
    check(read_exposure(path, variance=other).variance_plane, VARIANCE)
    with pytest.raises(InputError, match=r"d\.fits: no HDU holds a 2-D image"):
        read_exposure(path, variance=write_hdus(tmp_path / "d.fits"))


def test_plane_given_for_what_it_is_not_by_its_name(path: Path, tmp_path: Path) -> None:
    fits.writeto(path, IMAGE)
    other = write_hdus(tmp_path / "err.fits", image_hdu(SIGMA, "ERR"))
    with pytest.warns(DecorrWarning, match=r"err\.fits\[ERR\]: was given as the variance image, but is a noise image"):
        check(read_exposure(path, variance=other).variance_plane, SIGMA)


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
