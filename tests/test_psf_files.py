"""PSFs of files: images, grids and PSFEx models, and what becomes of them under ψ."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits
from command import INPUTS, decorr, make_inputs, quickly
from diffim_decorr.psf import composed_psf
from diffim_decorr.spatial import GridCoefficients, PolynomialCoefficients
from reference import convolved, exposures, gaussian, hotpants_kernel

from diffim_decorr import InputError, SpatialKernel, decorrelate, read_exposure, read_kernel, read_psf

FIELD = (240, 300)


def grid_file(path: Path, images: np.ndarray, x: np.ndarray, y: np.ndarray) -> Path:
    columns = [fits.Column(name, "D", array=values) for name, values in (("X", x), ("Y", y))]
    hdus = [fits.PrimaryHDU(), fits.ImageHDU(images, name="PSF"), fits.BinTableHDU.from_columns(columns, name="AT")]
    fits.HDUList(hdus).writeto(path, overwrite=True)
    return path


def widths(x: Any, y: Any) -> Any:
    return 1.3 + 0.4 * x / FIELD[1] + 0.3 * y / FIELD[0]


def gaussian_grid(path: Path, x0: float = 0.0, y0: float = 0.0) -> Path:
    """A full grid in no order, of PSFs that get wider to the upper right."""
    x, y = (p.ravel() for p in np.meshgrid([0.0, 150, 299], [0.0, 239]))
    order = np.random.default_rng(3).permutation(len(x))
    images = np.array([3.0 * gaussian(21, widths(a, b)) for a, b in zip(x, y, strict=True)])
    return grid_file(path, images[order], x[order] + x0, y[order] + y0)


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


# PSFEx


def psfex_file(path: Path, images: np.ndarray, step: float, **cards: Any) -> Path:
    """A model as PSFEx writes it (its manual, and files that it has written)."""
    n, h, w = images.shape
    degree = {1: 0, 3: 1, 6: 2}[n]
    column = fits.Column("PSF_MASK", f"{images.size}E", dim=f"({w}, {h}, {n})", array=images[None].astype("f4"))
    table = fits.BinTableHDU.from_columns([column], name="PSF_DATA")
    table.header.update(
        {
            "LOADED": 100, "ACCEPTED": 90, "CHI2": 1.1, "POLNAXIS": 2, "POLGRP1": 1, "POLNAME1": "X_IMAGE",
            "POLZERO1": 151.0, "POLSCAL1": 300.0, "POLGRP2": 1, "POLNAME2": "Y_IMAGE", "POLZERO2": 121.0,
            "POLSCAL2": 240.0, "POLNGRP": 1, "POLDEG1": degree, "PSF_FWHM": 3.5, "PSF_SAMP": step, "PSFNAXIS": 3,
            "PSFAXIS1": w, "PSFAXIS2": h, "PSFAXIS3": n,
        } | cards
    )  # fmt: skip
    fits.HDUList([fits.PrimaryHDU(), table]).writeto(path, overwrite=True)
    return path


def moments(width: int, sigma: float, step: float) -> np.ndarray:
    """A Gaussian sampled at steps of so many pixels, and what makes it longer along x, and along y."""
    y, x = (np.mgrid[:width, :width] - width // 2) * step
    profile = np.exp(-0.5 * (x**2 + y**2) / sigma**2) / (2 * np.pi * sigma**2)
    zero, u, v = profile, profile * (x**2 / sigma**2 - 1), profile * (y**2 / sigma**2 - 1)
    # The terms of degree 2 in their order: 1, u, u², v, uv, v².
    return np.array([zero, 0.2 * u, 0 * u, 0.1 * v, 0.3 * u * y / 2, 0 * u])


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
    ],
)
def test_psfex_models_that_cannot_be_used(tmp_path: Path, cards: dict[str, Any], says: str) -> None:
    path = psfex_file(tmp_path / "model.psf", moments(25, 2.0, 1.0), 1.0, **cards)
    with pytest.raises(InputError, match=rf"model\.psf\[PSF_DATA\].*{says}"):
        read_psf(path)


def test_psfex_model_with_bad_pixels(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="not finite"):
        read_psf(psfex_file(tmp_path / "model.psf", np.full((3, 9, 9), np.nan), 1.0))


# Corrected


def exact(psf: SpatialKernel, psi: SpatialKernel, x: float, y: float, shape: tuple[int, int]) -> np.ndarray:
    margin = [(n - m) // 2 for n, m in zip(shape, psf.shape, strict=True)]
    return convolved(np.pad(psf.at(x, y), [(m, m) for m in margin]), psi.at(x, y))


@pytest.mark.parametrize("form", ["grid", "psfex"])
def test_psf_that_varies_under_a_psi_that_varies(tmp_path: Path, form: str) -> None:
    """φ' = φ ⊗ ψ at every position, both taken there."""
    hotpants = hotpants_kernel(FIELD, seed=9)
    zero = np.zeros(FIELD)
    kernel = read_kernel(hotpants.write(tmp_path / "diff.fits", zero))
    grid = form == "grid"
    psf = read_psf(gaussian_grid(tmp_path / "p") if grid else psfex_file(tmp_path / "p", moments(21, 1.8, 1), 1.0))
    result = decorrelate(*exposures(zero, zero, zero, 1.0, 2.0), kernel, psf=psf, spatial=True)
    corrected = result.exposure.psf
    for x, y in ((0.0, 0.0), (37.0, 180.0), (150.0, 100.0), (221.5, 60.5), (299.0, 239.0)):
        expected = exact(psf, result.psi, x, y, corrected.shape)
        np.testing.assert_allclose(corrected.at(x, y), expected, atol=6e-4 * expected.max())


def test_product_across_a_border_of_regions(tmp_path: Path) -> None:
    """ψ may jump where HOTPANTS has another region; the PSF on the grid jumps there as well, within a pixel."""
    from diffim_decorr.spatial import Box, PiecewiseCoefficients

    left, right = gaussian(9, 0.8), gaussian(9, 1.6)
    one = [PolynomialCoefficients.constant(values) for values in ([1.0, 0.0], [0.0, 1.0])]
    pieces = ((Box(0, 0, 100, 240), one[0]), (Box(100, 0, 300, 240), one[1]))
    psi = SpatialKernel(np.array([left, right]), PiecewiseCoefficients(pieces))
    psf = composed_psf((SpatialKernel.constant(gaussian(15, 2.0)), psi), FIELD)
    for x, kernel in ((0.0, left), (99.0, left), (100.0, right), (299.0, right)):
        expected = convolved(np.pad(gaussian(15, 2.0), 4), kernel)
        np.testing.assert_allclose(psf.at(x, 50.0), expected, atol=1e-12)


def test_grid_of_a_psf_under_a_constant_psi_keeps_its_positions(tmp_path: Path) -> None:
    psf = read_psf(gaussian_grid(tmp_path / "grid.fits"))
    product = composed_psf((psf, SpatialKernel.constant(gaussian(9, 1.0))), FIELD)
    assert isinstance(product.coefficients, GridCoefficients)
    assert list(product.coefficients.x) == [0, 150, 299]
    assert list(product.coefficients.y) == [0, 239]


def test_grid_does_not_grow_without_limit() -> None:
    """A PSF that changes from pixel to pixel is not followed to the end."""
    powers = np.array([[0, 0], [60, 60]])
    wild = PolynomialCoefficients(np.eye(2), powers, (150.0, 120.0), (150.0, 120.0))
    psf = SpatialKernel(np.array([gaussian(101, 5.0), gaussian(101, 2.0)]), wild)
    product = composed_psf((psf, SpatialKernel.identity()), FIELD)
    assert product.basis.size <= 4_000_000


def test_grid_is_no_finer_than_it_has_to_be() -> None:
    """ψ may have knots every eight pixels, where the noise has steps, which nobody wants a large PSF at."""
    x, y = np.linspace(0, 299, 38), np.linspace(0, 239, 31)
    amounts = 0.1 * np.add.outer(y / 239, x / 299)
    narrow, wide = (gaussian(31, sigma) for sigma in (1.5, 2.0))
    values = np.array([1 - amounts, amounts])
    psi = SpatialKernel(np.array([narrow, wide]), GridCoefficients(values, x, y, order=1))
    product = composed_psf((SpatialKernel.constant(gaussian(101, 2.5)), psi), FIELD)
    assert product.basis.size <= 4_000_000
    between = composed_psf((SpatialKernel.constant(gaussian(101, 2.5)), psi.frozen(120.0, 77.0)), FIELD)
    assert np.abs(product.at(120.0, 77.0) - between).max() <= 1e-3 * between.max()


# In the output, and out of it


def test_corrected_psf_in_the_output(tmp_path: Path) -> None:
    """What the file has is what Python has, and can be read again as a PSF."""
    hotpants = hotpants_kernel(FIELD, seed=9)
    zero = np.random.default_rng(1).normal(size=FIELD)
    hotpants.write(tmp_path / "diff.fits", zero)
    fits.writeto(tmp_path / "sci.fits", zero)
    gaussian_grid(tmp_path / "psf.fits")
    options = ("--svar", "1", "--tvar", "2", "--spatial", "-q", "-o", "out.fits")
    files = ("sci.fits", "sci.fits", "diff.fits", "--kernel", "diff.fits", "--psf", "psf.fits")
    done = quickly(tmp_path, "run", *files, *options)
    assert done.returncode == 0, done.stderr
    images = [read_exposure(tmp_path / name) for name in ("sci.fits", "sci.fits", "diff.fits")]
    kernel = read_kernel(tmp_path / "diff.fits", FIELD)
    psf = read_psf(tmp_path / "psf.fits")
    result = decorrelate(*images, kernel, psf=psf, spatial=True, svar=1.0, tvar=2.0)
    stored = read_exposure(tmp_path / "out.fits").psf
    np.testing.assert_allclose(stored.at(70, 90), result.exposure.psf.at(70, 90), atol=1e-6)
    # An image of it at a position.
    done = decorr(tmp_path, "psf", "out.fits", "70", "90", "-o", "at.fits")
    assert done.returncode == 0, done.stderr
    image, header = fits.getdata(tmp_path / "at.fits", header=True)
    np.testing.assert_allclose(image, stored.at(70, 90), atol=1e-7)
    assert (header["PSFFILE"], header["PSFX"], header["PSFY"]) == ("out.fits", 70, 90)


@pytest.mark.parametrize(
    ("args", "status", "says"),
    [
        (("psf.fits", "1", "2", "-o", "psf.fits"), 3, "the output is the same file as the input"),
        (("psf.fits", "1", "2", "-o", "there.fits"), 3, "there.fits: the output exists already"),
        (("none.fits", "1", "2", "-o", "at.fits"), 3, "none.fits: no such file"),
        (("psf.fits", "nan", "2", "-o", "at.fits"), 3, "nan 2 is no position"),
        (("psf.fits", "1", "2"), 2, "--output"),
        (("psf.fits", "east", "2", "-o", "at.fits"), 2, "east"),
    ],
)
def test_psf_command_refuses(tmp_path: Path, args: tuple[str, ...], status: int, says: str) -> None:
    fits.writeto(tmp_path / "psf.fits", gaussian(9, 1.0))
    fits.writeto(tmp_path / "there.fits", gaussian(9, 1.0))
    done = quickly(tmp_path, "psf", *args)
    assert done.returncode == status
    assert says in done.stderr
    assert not (tmp_path / "at.fits").exists()


def test_psf_command_on_an_image(tmp_path: Path) -> None:
    make_inputs(tmp_path)
    done = quickly(tmp_path, "run", *INPUTS, "--psf", "psf.fits", "-q", "-o", "out.fits")
    assert done.returncode == 0, done.stderr
    done = quickly(tmp_path, "psf", "out.fits", "-3", "2.5", "-o", "at.fits")
    assert done.returncode == 0, done.stderr
    psf = fits.getdata(tmp_path / "out.fits", "PSF")
    np.testing.assert_allclose(fits.getdata(tmp_path / "at.fits"), psf / psf.sum(), rtol=1e-6)
