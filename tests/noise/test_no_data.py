"""Variance planes of zeros where there is no data."""

from __future__ import annotations

import numpy as np
import pytest

from diffim_decorr import Exposure, decorrelate
from support.hole import KERNEL, PSI, SHAPE, SVAR, TVAR, images, plane, run
from support.noise import PLANES
from support.reference import central


def test_a_variance_plane_of_zeros_where_there_is_no_data() -> None:
    """As in many surveys' files: NO_DATA pixels have variance 0, which is not to be averaged in."""
    science, template, difference = images()
    mask = plane("NO_DATA", (slice(None), slice(0, 50)))
    svar = np.full(SHAPE, SVAR, "f4")
    svar[:, :50] = 0
    inputs = Exposure(science, svar, mask, mask_planes=PLANES), Exposure(template, TVAR), Exposure(difference)
    for spatial in (False, True):
        result = decorrelate(*inputs, KERNEL, spatial=spatial)
        np.testing.assert_allclose(result.psi.at(100, 75), central(PSI, result.psi.shape[0] // 2), atol=1e-4)
        assert result.exposure.variance[75, 120] == pytest.approx(run(difference).exposure.variance[75, 120], rel=1e-3)
