"""Bad pixels of a variance plane."""

from __future__ import annotations

import numpy as np
import pytest

from diffim_decorr import Exposure, decorrelate
from support.hole import KERNEL, SHAPE, SVAR, TVAR, images


@pytest.mark.parametrize("value", [np.nan, np.inf, 0.0, -1.0, 1e30, 1e37])
@pytest.mark.parametrize("variance", ["full", "estimate"])
@pytest.mark.parametrize("whose", [0, 1])
def test_bad_pixels_of_a_variance_plane_stay_their_own_problem(value: float, variance: str, whose: int) -> None:
    """One bad variance must not spoil those of pixels that do not depend on it, nor the image."""
    science, template, difference = images()
    planes = [np.full(SHAPE, v, "f4") for v in (SVAR, TVAR)]
    good = decorrelate(
        Exposure(science, planes[0]), Exposure(template, planes[1]), Exposure(difference), KERNEL, variance=variance
    )
    planes[whose][75, 80] = value
    inputs = Exposure(science, planes[0]), Exposure(template, planes[1]), Exposure(difference)
    with np.errstate(over="ignore"):
        result = decorrelate(*inputs, KERNEL, variance=variance)
    np.testing.assert_allclose(result.exposure.image, good.exposure.image, atol=1e-4)
    half = max(result.psi.shape) // 2 + 8
    far = np.ones(SHAPE, bool)
    far[75 - half : 76 + half, 80 - half : 81 + half] = False
    np.testing.assert_allclose(result.exposure.variance[far], good.exposure.variance[far], rtol=1e-3)
    # An unknown variance is unknown afterwards, and nothing that was known is a worse one than nothing.
    own = result.exposure.variance[75, 80]
    assert not np.isfinite(own) or own > 0.5 * good.exposure.variance[75, 80]
    assert not (result.exposure.variance < 0).any()
