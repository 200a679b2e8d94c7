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
    return convolved(widened(psf.at(x, y), shape), psi.at(x, y))


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
