"""PSFs of files: images, grids and PSFEx models."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits

from diffim_decorr import InputError, SpatialKernel, read_exposure, read_psf
from diffim_decorr.io.extensions import psf_of
from support.files import image_hdu, write_hdus
from support.kernels import gaussian
from support.pixels import IMAGE, MASK
from support.psfs import FIELD, gaussian_grid, grid_file, moments, psfex_file, widths

# Grids


def test_grid_is_bilinear_and_normalised(tmp_path: Path) -> None:
    psf = read_psf(gaussian_grid(tmp_path / "grid.fits"))
    assert isinstance(psf, SpatialKernel)
    np.testing.assert_allclose(psf.at(150, 239), gaussian(21, widths(150, 239)), atol=1e-12)
    between = (gaussian(21, widths(0, 0)) + gaussian(21, widths(150, 0))) / 2
    np.testing.assert_allclose(psf.at(75, 0), between, atol=1e-12)
    assert psf.at(40, 77).sum() == pytest.approx(1, abs=1e-12)


def test_grid_is_in_the_parent_frame(tmp_path: Path) -> None:
    path = gaussian_grid(tmp_path / "grid.fits", 1000, 2000)
    np.testing.assert_array_equal(
        read_psf(path, (1000, 2000)).at(33, 44), read_psf(gaussian_grid(tmp_path / "0.fits")).at(33, 44)
    )
    frame = {"CTYPE1A": "LINEAR", "CTYPE2A": "LINEAR", "CRVAL1A": 1000, "CRVAL2A": 2000, "CRPIX1A": 1, "CRPIX2A": 1}
    fits.writeto(tmp_path / "image.fits", np.zeros(FIELD), fits.Header(frame))
    exposure = read_exposure(tmp_path / "image.fits", psf=path)
    np.testing.assert_allclose(exposure.psf.at(150, 0), gaussian(21, widths(150, 0)), atol=1e-12)


def test_grid_of_one_is_an_image(tmp_path: Path) -> None:
    path = grid_file(tmp_path / "one.fits", gaussian(9, 1.0)[None], np.array([5.0]), np.array([5.0]))
    assert read_psf(path).shape == (9, 9)


@pytest.mark.parametrize(
    ("x", "y", "says"),
    [
        ([0.0, 1, 2], [0.0, 0, 1], "are not a full rectangular grid, having 3 different X and 2 different Y"),
        ([0.0, 1], [0.0, 0], "a cube of 3 PSFs, but 2 positions"),
        ([0.0, 1, np.nan], [0.0, 0, 0], "a position of the PSFs is not finite"),
    ],
)
def test_grids_that_are_none(tmp_path: Path, x: list[float], y: list[float], says: str) -> None:
    path = grid_file(tmp_path / "grid.fits", np.ones((3, 5, 5)), np.array(x), np.array(y))
    with pytest.raises(InputError, match=rf"grid\.fits\[PSF\].*{says}"):
        read_psf(path)


# Files of several PSFs


def two_ccds(folder: Path, kind: str) -> np.ndarray:
    """A difference of two CCDs and the PSFs of both, which are returned; the HDUs of PSFEx have all the same name."""
    psfs = np.array([gaussian(21, sigma) for sigma in (1.5, 3.0)])
    if kind == "models":
        models = []
        for psf in psfs:
            with fits.open(psfex_file(folder / "one.psf", psf[None], 1.0, POLNAXIS=0)) as hdus:
                models.append(hdus[1].copy())
        write_hdus(folder / "psf.fits", *models)
    elif kind == "names":
        write_hdus(folder / "psf.fits", *(image_hdu(psfs[k], f"CCD{k + 1}") for k in (1, 0)))
    else:
        write_hdus(folder / "psf.fits", *(image_hdu(psfs[k], "PSF", k + 1) for k in (0, 1)))
    write_hdus(folder / "diff.fits", image_hdu(IMAGE, "CCD1"), image_hdu(MASK, "MASK"), image_hdu(IMAGE, "CCD2"))
    return psfs


@pytest.mark.parametrize("kind", ["models", "names", "versions"])
def test_psf_of_the_ccd_is_taken(tmp_path: Path, kind: str) -> None:
    """That of the CCD's name, or of its place among the exposures."""
    psfs = two_ccds(tmp_path, kind)
    single = tmp_path / "single.fits"
    fits.writeto(single, IMAGE)
    for extension, psf in (("CCD1", psfs[0]), ("CCD2", psfs[1]), ("1", psfs[0]), ("3", psfs[1])):
        if kind == "names" and extension.isdigit():
            continue
        spec = psf_of(str(tmp_path / "psf.fits"), [str(single), f"{tmp_path / 'diff.fits'}[{extension}]"])
        np.testing.assert_allclose(read_psf(spec), psf, atol=1e-7)
    assert psf_of("psf.fits[7]", [f"{tmp_path / 'diff.fits'}[CCD1]"]) == "psf.fits[7]"


@pytest.mark.parametrize("kind", ["models", "names", "versions"])
def test_psf_that_could_be_any_of_several(tmp_path: Path, kind: str) -> None:
    two_ccds(tmp_path, kind)
    with pytest.raises(InputError, match=r"holds 2 PSFs, \[1\] .*, \[2\] .*: name the one .*psf\.fits\[HDU\]"):
        read_psf(psf_of(str(tmp_path / "psf.fits"), [str(tmp_path / "diff.fits")]))
    # The mask is not among the exposures, and of three CCDs it cannot be told which the two PSFs belong to.
    fits.append(tmp_path / "diff.fits", IMAGE, fits.Header([("EXTNAME", "CCD3")]))
    for extension in ("MASK", "CCD3"):
        with pytest.raises(InputError, match="holds 2 PSFs"):
            read_psf(psf_of(str(tmp_path / "psf.fits"), [f"{tmp_path / 'diff.fits'}[{extension}]"]))


# PSFEx


@pytest.mark.parametrize(("step", "width"), [(0.5, 51), (1.0, 25), (0.8, 31)])
def test_psfex_model_is_what_its_polynomial_says(tmp_path: Path, step: float, width: int) -> None:
    """At any position, the model's value at the centres of the image's pixels."""
    psf = read_psf(psfex_file(tmp_path / "model.psf", 5.0 * moments(width, 2.0, step), step))
    assert isinstance(psf, SpatialKernel)
    size = psf.shape[0]
    assert size % 2 == 1
    assert abs(size - width * step) <= 2
    image = moments(size, 2.0, 1.0)
    for x, y in ((150.0, 120.0), (0.0, 0.0), (299.0, 30.0)):
        # X_IMAGE begins at 1.
        u, v = (x + 1 - 151) / 300, (y + 1 - 121) / 240
        expected = image[0] + u * image[1] + u * u * image[2] + v * image[3] + u * v * image[4]
        # Lanczos' interpolation of a profile this narrow is good to about 1e-3.
        tolerance = 1e-6 if step == 1 else 3e-3
        np.testing.assert_allclose(psf.at(x, y), expected / image[0].sum(), atol=tolerance * expected.max())
        assert psf.at(x, y).sum() == pytest.approx(1, abs=1e-6)


def test_psfex_model_without_variation(tmp_path: Path) -> None:
    path = psfex_file(tmp_path / "model.psf", moments(25, 2.0, 1.0)[:1], 1.0, POLNAXIS=0)
    np.testing.assert_allclose(read_psf(path), gaussian(25, 2.0), atol=1e-6)
    with fits.open(path) as hdus:
        assert [hdu.name for hdu in hdus] == ["PRIMARY", "PSF_DATA"]
    np.testing.assert_array_equal(read_psf(f"{path}[PSF_DATA]"), read_psf(path))


@pytest.mark.parametrize(
    ("cards", "says"),
    [
        ({"POLNAME2": "MAG_AUTO"}, "depends on X_IMAGE, MAG_AUTO in 1 group"),
        ({"POLGRP2": 2}, "in 2 group"),
        ({"POLNAXIS": 1}, "depends on X_IMAGE in 1 group"),
        ({"POLDEG1": 1}, "6 images, but 3 polynomial terms"),
        ({"POLSCAL1": 0.0}, "make no polynomial"),
        ({"PSF_SAMP": -1.0}, "PSF_SAMP = -1 is not positive"),
        ({"PSF_SAMP": "fine"}, "card PSF_SAMP = 'fine' is not a number"),
        ({"POLDEG1": 99_999_999}, "make no polynomial"),
        ({"POLDEG1": 1.5}, "make no polynomial"),
        ({"POLNAXIS": 99_999_999}, "only X_IMAGE and Y_IMAGE"),
        ({"PSF_SAMP": 1e8}, "make no PSF"),
    ],
)
def test_psfex_models_that_cannot_be_used(tmp_path: Path, cards: dict[str, Any], says: str) -> None:
    path = psfex_file(tmp_path / "model.psf", moments(25, 2.0, 1.0), 1.0, **cards)
    with pytest.raises(InputError, match=rf"model\.psf\[PSF_DATA\].*{says}"):
        read_psf(path)


def test_psfex_model_with_bad_pixels(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="not finite"):
        read_psf(psfex_file(tmp_path / "model.psf", np.full((3, 9, 9), np.nan), 1.0))


def test_psf_of_a_file(tmp_path: Path) -> None:
    psf = np.outer([1, 2, 1], [1, 2, 1]).astype("f4")
    path = write_hdus(tmp_path / "a.fits", image_hdu(IMAGE, "IMAGE"), image_hdu(psf, "PSF"))
    exposure = read_exposure(path)
    np.testing.assert_allclose(exposure.psf, psf / 16)
    np.testing.assert_allclose(read_psf(path), psf / 16)
    np.testing.assert_allclose(read_psf(f"{path}[PSF]"), psf / 16)
    fits.writeto(tmp_path / "psf.fits", 3 * np.ones((1, 5, 5), "i2"))
    np.testing.assert_allclose(read_exposure(path, psf=tmp_path / "psf.fits").psf, np.full((5, 5), 0.04))
    table = fits.BinTableHDU.from_columns([fits.Column("A", "D", array=[1.0])], name="PSF")
    assert read_exposure(write_hdus(tmp_path / "b.fits", image_hdu(IMAGE, "IMAGE"), table)).psf is None
    with pytest.raises(InputError, match=r"a\.fits\[IMAGE\].*sum|PSF"):
        read_psf(f"{write_hdus(tmp_path / 'c.fits', image_hdu(-np.ones((3, 3)), 'IMAGE'))}[IMAGE]")
    with pytest.raises(InputError, match="a table with their positions"):
        read_psf(f"{write_hdus(tmp_path / 'd.fits', image_hdu(np.ones((2, 3, 3)), 'CUBE'))}[CUBE]")
