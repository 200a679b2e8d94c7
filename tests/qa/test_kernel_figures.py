"""What is measured on a kernel."""

from __future__ import annotations

import numpy as np
import pytest

from diffim_decorr import MatchingKernel, SpatialKernel
from diffim_decorr.kernels.coefficients import PolynomialCoefficients
from diffim_decorr.qa.kernel_figures import decorrelation_at, field_of, shape_of
from support.kernels import IDENTITY, gaussian
from support.reference import central, psi_of

SHAPE = (120, 150)
FWHM = np.sqrt(8 * np.log(2))


@pytest.mark.parametrize("angle", [0, 30, 45])
@pytest.mark.parametrize("shift", [(0.0, 0.0), (0.3, -0.4)])
@pytest.mark.parametrize("axes", [(1.5, 1.5), (2.5, 1.5), (4.0, 1.6)])
def test_shape_of_a_gaussian(axes: tuple[float, float], shift: tuple[float, float], angle: float) -> None:
    shape = shape_of(gaussian(41, axes, angle, shift))
    assert shape is not None
    assert shape.fwhm == pytest.approx(FWHM * np.sqrt(axes[0] * axes[1]), rel=5e-3)
    assert shape.ellipticity == pytest.approx(1 - axes[1] / axes[0], abs=0.01)


def test_shape_is_that_of_the_core() -> None:
    """Negative wings do not count, nor does a second peak elsewhere."""
    core = gaussian(61, 1.5)
    winged = 1.3 * core - 0.3 * gaussian(61, 6.0)
    other = core + 0.9 * gaussian(61, 1.5, shift=(20.0, 0.0))
    alone, with_wings, with_other = (shape_of(image) for image in (core, winged, other))
    assert alone is not None
    assert with_wings is not None
    assert with_other == alone
    # The wings lower half of the maximum by 0.3 (1.5 / 6)² / 1.3 of it, which makes the core 4 % narrower at most.
    assert 0.96 * alone.fwhm < with_wings.fwhm < alone.fwhm


def test_shape_of_extremes() -> None:
    single = shape_of(np.ones((1, 1)))
    assert single is not None
    assert 1.1 < single.fwhm < 1.3
    assert single.ellipticity == pytest.approx(0, abs=0.01)
    assert shape_of(-np.ones((3, 3))) is None


def test_psi_that_is_drawn() -> None:
    """The formula for white noise, with the variances that were given."""
    image = gaussian(15, 1.3)
    (psi,) = decorrelation_at(MatchingKernel(SpatialKernel.constant(image)), [(0.0, 0.0)], (2.0, 3.0))
    expected = psi_of([IDENTITY, image], [2.0, 3.0])
    np.testing.assert_allclose(psi, central(expected, len(psi) // 2), atol=1e-5)


def test_field_that_nobody_knows() -> None:
    powers = np.array([[0, 0], [1, 0]])
    varying = SpatialKernel(np.ones((1, 3, 3)), PolynomialCoefficients(np.array([[1.0, 0.1]]), powers))
    matching = MatchingKernel(varying, name="k.fits")
    assert varying.described == "polynomials of degree 1"
    assert field_of(matching) is None
    assert field_of(matching, (120, 150)).shape == (120, 150)
