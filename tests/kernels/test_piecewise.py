"""Kernels that differ from one rectangle of the field to the next."""

from __future__ import annotations

import numpy as np
import pytest

from diffim_decorr import Box, MatchingKernel, SpatialKernel, decorrelate
from diffim_decorr.kernels.coefficients import PolynomialCoefficients
from diffim_decorr.kernels.piecewise import PiecewiseCoefficients
from support.kernels import gaussian
from support.noise import exposures, noise_images, noise_pair
from support.reference import central, convolved, psi_of
from support.regions import in_regions
from support.results import assert_white

NARROW, WIDE = gaussian(21, 1.0), gaussian(21, 1.8)


def test_a_position_belongs_to_the_pixel_it_falls_into() -> None:
    """On a grid of positions as well as one by one, and between pixels."""
    kernel = in_regions((Box(0, 0, 100, 240), NARROW), (Box(100, 0, 240, 240), WIDE)).kernel
    x, y = np.array([99.0, 99.4, 99.6, 100.0]), np.array([5.0, 5.4])
    grid = kernel.coefficients.grid(x, y)
    for j, row in enumerate(y):
        alone = kernel.coefficients.at(x, np.full(len(x), row))
        np.testing.assert_array_equal(grid[:, j], alone)
    assert grid[0, 0].tolist() == [1, 1, 0, 0]


def _sloping(overlap: int) -> MatchingKernel:
    """Two by two regions of 150 pixels, each with a slope of its own, that share so many columns and rows."""
    pieces = []
    for j in range(2):
        for i in range(2):
            (x0, x1), (y0, y1) = ((150, 300) if k else (0, 150 + overlap) for k in (i, j))
            slopes = 0.05 * (1 + i), -0.04 * (1 + j)
            values = np.array([[1.0, 0.0, 0.0], [0.3 + 0.1 * (i - j), slopes[0], slopes[1]]])
            powers = np.array([(0, 0), (1, 0), (0, 1)])
            pieces.append((Box(x0, y0, x1, y1), PolynomialCoefficients(values, powers, (150, 150), (150, 150))))
    basis = np.array([NARROW, WIDE - NARROW])
    return MatchingKernel(SpatialKernel(basis, PiecewiseCoefficients(tuple(pieces))), parent_frame=False)


def test_regions_that_share_a_column_and_a_row() -> None:
    """As HOTPANTS' do: ψ is that of disjoint regions, and as smooth; nothing is sampled of a neighbour's kernel."""
    images = noise_images(10, (300, 300), NARROW, 1.0, 4.0)
    disjoint, sharing = (decorrelate(*images, _sloping(k), svar=1, tvar=4, spatial=True) for k in (0, 1))
    for result in (disjoint, sharing):
        assert result.record.psi.error < 1e-3
        assert result.record.psi.node_spacing > 30
    # Up to the last pixel of a region its own kernel counts, where the next region does not.
    for x, y in ((5, 5), (149, 60), (152, 60), (290, 10), (60, 149), (60, 152), (152, 152), (299, 299)):
        own = _sloping(1).kernel.at(x, y)
        psi = sharing.psi.at(x, y)
        expected = central(psi_of([np.ones((1, 1)), own], [1.0, 4.0]), psi.shape[0] // 2)
        assert np.sqrt(((psi - expected) ** 2).sum()) < 2e-3, (x, y)
    change = np.abs(sharing.exposure.image - disjoint.exposure.image)[20:-20, 20:-20] / 5**0.5
    assert change.max() < 5e-3


def test_a_spatial_kernel_with_regions_is_a_kernel() -> None:
    """What is said of one region holds for all of them."""
    kernel = in_regions((Box(0, 0, 80, 120), NARROW), (Box(80, 0, 150, 120), NARROW)).kernel
    images = noise_images(11, (120, 150), NARROW, 1.0, 1.0)
    one, other = (decorrelate(*images, k, spatial=True).exposure.image for k in (kernel, NARROW))
    np.testing.assert_allclose(one, other, atol=2e-3)


def test_a_kernel_of_the_science_image_beside_regions() -> None:
    """Cross-convolution: the matching kernel may have regions, and be normalised."""
    own = gaussian(7, 0.6)
    shape = 300, 300
    science, template = noise_pair(12, shape, 100.0, 400.0)
    science = convolved(science, own)
    matching = 1.5 * NARROW
    difference = science - convolved(template, matching)
    regions = in_regions((Box(0, 0, 150, 300), matching), (Box(150, 0, 300, 300), matching))
    divided = MatchingKernel(regions.kernel, normalized=(True,), parent_frame=False)
    for kernel, scale in ((regions, 1.0), (divided, 1.5)):
        images = exposures(science, template, difference / scale, 100.0, 400.0)
        result = decorrelate(*images, kernel, science_kernel=own, spatial=True)
        inner = np.s_[30:-30, 30:-30]
        assert_white(result.exposure.image[inner], result.exposure.variance[inner])


def test_a_kernel_that_vanishes_in_a_corner() -> None:
    """There the science image is alone, and ψ is nothing but 1."""
    shape = 240, 240
    ramp = np.arange(240) / 240
    science, template = noise_pair(13, shape, 100.0, 400.0)
    images = exposures(science, template, science - ramp * convolved(template, NARROW), 100.0, 400.0)
    kernel = SpatialKernel(NARROW[None], PolynomialCoefficients(np.array([[1 / 240]]), np.array([(1, 0)])))
    result = decorrelate(*images, MatchingKernel(kernel, parent_frame=False), svar=100, tvar=400, spatial=True)
    assert np.isfinite(result.exposure.image).all()
    psi = result.psi.at(0, 120)
    assert psi[psi.shape[0] // 2, psi.shape[1] // 2] == pytest.approx(1, abs=2e-3)
