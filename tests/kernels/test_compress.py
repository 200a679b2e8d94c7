"""Many images of few independent ones are few again."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from diffim_decorr import SpatialKernel, read_kernel, write_grid_kernel
from diffim_decorr.kernels.coefficients import AffineCoefficients, PolynomialCoefficients, powers_of_degree
from diffim_decorr.kernels.compress import condensed


def test_many_images_are_compacted_without_loss(tmp_path: Path) -> None:
    """A kernel of three basis images at 64 positions has three again, and is the same to rounding."""
    rng = np.random.default_rng(8)
    cube = np.tensordot(rng.normal(size=(64, 3)) * [1, 0.1, 1e-3], rng.normal(size=(3, 7, 9)), axes=1)
    x, y = (axis.ravel() for axis in np.meshgrid(np.linspace(0, 99, 8), np.linspace(0, 49, 8)))
    write_grid_kernel(tmp_path / "g.fits", cube, x, y)
    grid = read_kernel(tmp_path / "g.fits").kernel
    assert len(grid.basis) == 3
    np.testing.assert_allclose(grid.sample(x, y), cube, rtol=0, atol=1e-12 * np.abs(cube).max())


def test_a_polynomial_kernel_has_an_image_for_each_power() -> None:
    rng = np.random.default_rng(9)
    polynomials = PolynomialCoefficients(rng.normal(size=(20, 6)), powers_of_degree(2), (40.0, 30.0), (40.0, 30.0))
    affine = AffineCoefficients(polynomials, rng.normal(size=(21, 20)), rng.normal(size=21))
    basis = np.zeros((21, 11, 9))
    basis[:, 2:9, 1:8] = rng.normal(size=(21, 7, 7))
    for kernel in (SpatialKernel(basis[:20], polynomials), SpatialKernel(basis, affine)):
        few = condensed(kernel)
        assert len(few.basis) <= 7
        assert few.shape == (7, 7)
        x, y = rng.uniform(0, 80, (2, 12))
        np.testing.assert_allclose(few.sample(x, y), kernel.sample(x, y)[:, 2:9, 1:8], rtol=1e-10, atol=1e-10)


def test_an_identity_among_many_images_is_one_pixel() -> None:
    """As in the regions of a HOTPANTS run in which the other image was convolved."""
    basis = np.zeros((30, 19, 19))
    basis[0, 9, 9] = 1
    basis[1:] = np.random.default_rng(2).normal(size=(29, 19, 19))
    first = np.eye(30)[0]
    coefficients = AffineCoefficients(PolynomialCoefficients.constant(np.ones(4)), np.zeros((30, 4)), first)
    few = condensed(SpatialKernel(basis, coefficients))
    assert few.is_constant
    np.testing.assert_array_equal(few.at(3, 4), [[1.0]])
