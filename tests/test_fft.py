"""Transforms, and what is computed without one."""

from __future__ import annotations

import numpy as np
import pytest

from diffim_decorr.fft import forward, inverse, inverse_near


@pytest.mark.parametrize("shape", [(24, 30), (30, 24), (20, 27)])
@pytest.mark.parametrize("reach", [0, 1, 6])
def test_pixels_around_the_first(shape: tuple[int, int], reach: int) -> None:
    """Of any real image, and of one whose spectrum is real for it is symmetric; negative positions wrap around."""
    images = np.random.default_rng(1).normal(size=(2, *shape))
    spectra = forward(images)
    wrapped = np.ix_(range(2), np.arange(-reach, reach + 1), np.arange(-reach, reach + 1))
    assert np.allclose(inverse_near(spectra, shape[1], reach), images[wrapped], atol=1e-13)
    power = np.abs(spectra) ** 2
    expected = inverse(power.astype(complex), shape[1])[wrapped]
    assert np.allclose(inverse_near(power, shape[1], reach), expected, atol=1e-10)
