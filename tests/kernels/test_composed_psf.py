"""PSFs that vary, under a ψ that varies or does not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from diffim_decorr import SpatialKernel, decorrelate, read_kernel, read_psf
from diffim_decorr.geometry import Box
from diffim_decorr.kernels.coefficients import PolynomialCoefficients
from diffim_decorr.kernels.grid import GridCoefficients
from diffim_decorr.kernels.piecewise import PiecewiseCoefficients
from diffim_decorr.kernels.psf import composed_psf
from support.hotpants import hotpants_kernel
from support.kernels import gaussian
from support.noise import exposures
from support.psfs import FIELD, gaussian_grid, moments, psfex_file
from support.reference import convolved, widened


def exact(psf: SpatialKernel, psi: SpatialKernel, x: float, y: float, shape: tuple[int, int]) -> np.ndarray:
    """What a source becomes, pixel by pixel: each is written with the kernel of its own place."""
    source = widened(psf.at(x, y), shape)
    height, width = shape
    along_x = np.clip(x + np.arange(width) - width // 2, 0, FIELD[1] - 1)
    along_y = np.clip(y + np.arange(height) - height // 2, 0, FIELD[0] - 1)
    amounts = psi.coefficients.grid(along_x, along_y)
    return sum(amount * convolved(source, image) for amount, image in zip(amounts, psi.basis, strict=True))


@pytest.mark.filterwarnings("ignore::diffim_decorr.DecorrWarning")  # the noise is not what the kernel makes it
@pytest.mark.parametrize("form", ["grid", "psfex"])
def test_psf_that_varies_under_a_psi_that_varies(tmp_path: Path, form: str) -> None:
    """φ of the source's place, under the ψ of each pixel."""
    hotpants = hotpants_kernel(FIELD, seed=9)
    images = exposures(*np.random.default_rng(12).normal(size=(3, *FIELD)), 1.0, 2.0)
    kernel = read_kernel(hotpants.write(tmp_path / "diff.fits", images[2].image))
    grid = form == "grid"
    psf = read_psf(gaussian_grid(tmp_path / "p") if grid else psfex_file(tmp_path / "p", moments(21, 1.8, 1), 1.0))
    result = decorrelate(*images, kernel, psf=psf, spatial=True)
    corrected = result.exposure.psf
    for x, y in ((0.0, 0.0), (37.0, 180.0), (150.0, 100.0), (221.5, 60.5), (299.0, 239.0)):
        expected = exact(psf, result.psi, x, y, corrected.shape)
        np.testing.assert_allclose(corrected.at(x, y), expected, atol=6e-4 * expected.max())


def test_across_a_border_of_regions(tmp_path: Path) -> None:
    """A source at the border is written with one kernel on the left and with the other on the right."""
    left, right = gaussian(9, 0.8), gaussian(9, 1.6)
    one = [PolynomialCoefficients.constant(values) for values in ([1.0, 0.0], [0.0, 1.0])]
    pieces = ((Box(0, 0, 100, 240), one[0]), (Box(100, 0, 300, 240), one[1]))
    psi = SpatialKernel(np.array([left, right]), PiecewiseCoefficients(pieces))
    phi = gaussian(15, 2.0)
    psf = composed_psf((SpatialKernel.constant(phi), psi), FIELD).psf
    of_left, of_right = (convolved(np.pad(phi, 4), kernel) for kernel in (left, right))
    for x in (0, 80, 96, 99, 100, 104, 299):
        side = x + np.arange(23) - 11 < 100
        np.testing.assert_allclose(psf.at(x, 50.0), np.where(side, of_left, of_right), atol=3e-4 * of_left.max())


def test_a_step_in_the_middle_of_the_field_is_followed() -> None:
    """The interpolation between both ends is right in the very middle, and wrong everywhere else."""
    x = np.array([0.0, 145.0, 154.0, 299.0])
    amounts = np.array([[0.0, 0.0, 1.0, 1.0]] * 2)
    values = np.array([1 - amounts, amounts])
    basis = np.array([gaussian(9, 0.8), gaussian(9, 1.6)])
    psi = SpatialKernel(basis, GridCoefficients(values, x, np.array([0.0, 239.0]), order=1))
    phi = SpatialKernel.constant(gaussian(15, 2.0))
    psf, error = composed_psf((phi, psi), FIELD)
    assert error <= 3e-4
    for place in (20.0, 75.0, 140.0, 149.5, 152.0, 170.0, 260.0):
        expected = exact(phi, psi, place, 50.0, psf.shape)
        # Bilinear along both axes, each right to the tolerance; between positions that were tried, a little worse.
        np.testing.assert_allclose(psf.at(place, 50.0), expected, atol=1e-3 * expected.max())


def test_grid_of_a_psf_under_a_constant_psi_keeps_its_positions(tmp_path: Path) -> None:
    psf = read_psf(gaussian_grid(tmp_path / "grid.fits"))
    product = composed_psf((psf, SpatialKernel.constant(gaussian(9, 1.0))), FIELD).psf
    assert isinstance(product.coefficients, GridCoefficients)
    assert list(product.coefficients.x) == [0, 150, 299]
    assert list(product.coefficients.y) == [0, 239]


def test_grid_does_not_grow_without_limit() -> None:
    """A PSF that changes from pixel to pixel is not followed to the end."""
    powers = np.array([[0, 0], [60, 60]])
    wild = PolynomialCoefficients(np.eye(2), powers, (150.0, 120.0), (150.0, 120.0))
    psf = SpatialKernel(np.array([gaussian(101, 5.0), gaussian(101, 2.0)]), wild)
    product, error = composed_psf((psf, SpatialKernel.identity()), FIELD)
    assert product.basis.size <= 4_000_000
    assert error > 3e-4  # and that is said


def test_grid_is_no_finer_than_it_has_to_be() -> None:
    """ψ may have knots every eight pixels, where the noise has steps, which nobody wants a large PSF at."""
    x, y = np.linspace(0, 299, 38), np.linspace(0, 239, 31)
    amounts = 0.1 * np.add.outer(y / 239, x / 299)
    narrow, wide = (gaussian(31, sigma) for sigma in (1.5, 2.0))
    values = np.array([1 - amounts, amounts])
    psi = SpatialKernel(np.array([narrow, wide]), GridCoefficients(values, x, y, order=1))
    product = composed_psf((SpatialKernel.constant(gaussian(101, 2.5)), psi), FIELD).psf
    assert product.basis.size <= 4_000_000
    between = composed_psf((SpatialKernel.constant(gaussian(101, 2.5)), psi.frozen(120.0, 77.0)), FIELD).psf
    assert np.abs(product.at(120.0, 77.0) - between).max() <= 1e-3 * between.max()
