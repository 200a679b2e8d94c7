"""A difference as a list of contributions."""

from __future__ import annotations

import numpy as np

from diffim_decorr import Contribution, Exposure, decorrelate
from support.kernels import gaussian
from support.noise import PLANES, noise_pair
from support.reference import convolved


def test_a_stack_of_one_is_the_ordinary_case() -> None:
    """Whatever the variance planes say, the noise figures that are given count; a bad column is left out."""
    shape, kernel = (250, 270), gaussian(15, 1.3)
    science, template = noise_pair(31, shape, 2.0, 3.0)
    mask = np.zeros(shape, "i4")
    mask[:, 133] = 1 << PLANES["BAD"]
    images = (
        Exposure(science, 2.0 * 1.3, mask, mask_planes=PLANES, name="science"),
        Exposure(template, 3.0 / 1.5, mask, mask_planes=PLANES, name="template"),
        Exposure(science - convolved(template, kernel), name="difference"),
    )
    ordinary = decorrelate(*images, kernel, svar=2.0, tvar=3.0)
    stack = [Contribution("science", noise=2.0**0.5), Contribution("template", noise=3.0**0.5)]
    listed = decorrelate(*images, kernel, contributions=stack)
    np.testing.assert_array_equal(ordinary.exposure.image, listed.exposure.image)
