"""The filter ψ: its limit, and that it knows no units."""

from __future__ import annotations

import numpy as np
import pytest

from diffim_decorr import decorrelate
from support.kernels import gaussian
from support.noise import exposures, noise_images, noise_pair
from support.reference import convolved


def test_the_gain_is_limited_and_that_is_said() -> None:
    """Without science noise the noise power of a wide kernel vanishes at high frequencies."""
    kernel = gaussian(31, 2.0)
    images = noise_images(44, (260, 260), kernel, 0.0, 1.0)
    result = decorrelate(*images, kernel, svar=0.0, tvar=1.0, max_gain=50.0)
    psi = result.psi.at(0, 0)
    transform = np.abs(np.fft.fft2(psi, s=(1200, 1200)))
    # The support is cut, which makes ripples.
    assert transform.max() == pytest.approx(50.0, rel=0.02)
    exact = np.abs(np.fft.fft2(kernel, s=(512, 512)))
    share = np.mean(exact < exact.max() / 50)
    (warning,) = (text for text in result.warnings if "gain" in text)
    assert "50" in warning
    assert any(abs(float(word.strip("%,")) / 100 - share) < 0.02 for word in warning.split() if word.endswith("%"))
    # The kernel is constant, and so is ψ.
    assert not any("varies" in text for text in result.warnings)


def test_psi_does_not_depend_on_the_unit_of_the_images() -> None:
    kernel = gaussian(13, 1.4)
    science, template = noise_pair(37, (300, 300), 1.0, 2.0)
    difference = science - convolved(template, kernel)
    one = decorrelate(*exposures(science, template, difference, 1.0, 2.0), kernel)
    for unit in (1e-9, 1e9):
        images = exposures(science * unit, template * unit, difference * unit, unit**2, 2 * unit**2)
        other = decorrelate(*images, kernel)
        np.testing.assert_allclose(other.psi.at(0, 0), one.psi.at(0, 0), atol=1e-6)
        np.testing.assert_allclose(other.exposure.image / unit, one.exposure.image, atol=1e-5)
        np.testing.assert_allclose(other.exposure.variance / unit**2, one.exposure.variance, rtol=1e-5)
        assert other.qa.snr_std == pytest.approx(one.qa.snr_std, rel=1e-4)
