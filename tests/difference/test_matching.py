"""Which image was convolved, and by what the difference was divided."""

from __future__ import annotations

import numpy as np
import pytest

from diffim_decorr import MatchingKernel, SpatialKernel, decorrelate
from support.kernels import IDENTITY, gaussian
from support.noise import exposures, noise_pair
from support.reference import convolved, psi_of


def test_science_convolved_is_divided_by_the_kernel_sum_unless_said_otherwise() -> None:
    kernel = gaussian(21, 1.8, total=2.5)
    science, template = noise_pair(4, (400, 400), 1.0, 1.0)
    images = exposures(science, template, (convolved(science, kernel) - template) / 2.5, 1.0, 1.0)
    default = decorrelate(*images, kernel, convolved="science")
    said = decorrelate(
        *images, MatchingKernel(SpatialKernel.constant(kernel), convolved=("science",), normalized=(True,))
    )
    np.testing.assert_array_equal(default.exposure.variance, said.exposure.variance)
    psi = psi_of([kernel, IDENTITY], [1.0, 1.0])
    expected = ((convolved(psi, kernel) ** 2).sum() + (psi**2).sum()) / 2.5**2
    assert default.exposure.variance[200, 200] == pytest.approx(expected, rel=1e-4)
