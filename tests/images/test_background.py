"""The local background."""

from __future__ import annotations

import numpy as np
import pytest

from diffim_decorr import Exposure
from diffim_decorr.geometry import Box
from diffim_decorr.images.background import NO_BACKGROUND, local_background

SHAPE = (400, 500)


def noise(sigma: float = 2.0) -> np.ndarray:
    return np.random.default_rng(6).normal(0, sigma, SHAPE)


def test_noise_has_none() -> None:
    assert local_background(Exposure(noise()), 2.0) == NO_BACKGROUND


def test_without_a_scatter_there_is_none() -> None:
    assert local_background(Exposure(noise() + 100), 0.0) == NO_BACKGROUND


@pytest.mark.parametrize("pedestal", [-1000.0, 32000.0])
def test_a_pedestal_is_a_level_and_nothing_above(pedestal: float) -> None:
    background = local_background(Exposure(noise() + pedestal), 2.0)
    # 3100 pixels are looked at.
    assert background.level == pytest.approx(pedestal, abs=4 * 1.2533 * 2.0 / 3100**0.5)
    assert background.above is None


def test_a_gradient_is_followed() -> None:
    y, x = np.indices(SHAPE)
    truth = 100 + 0.5 * x - 0.3 * y
    background = local_background(Exposure(noise() + truth), 2.0)
    box = Box(100, 100, 380, 290)
    found = background.level + background.within(box)
    # The scatter of a cell's pixels, of which 64 are looked at, has 15 of the gradient in it; bilinear weights average.
    np.testing.assert_allclose(found, truth[box.slices], atol=4 * np.hypot(2.0, 64 * 0.58 / 12**0.5) * 1.2533 / 8)


def test_sources_and_fills_take_no_part() -> None:
    image = noise() + 50
    image[40:60, 60:90] += 1e4
    image[200:300, 100:300] = 0
    image[310:400, 0:200] = np.nan
    image[0:90, 300:420] = 1e-30
    background = local_background(Exposure(image, missing_value=1e-30), 2.0)
    assert background.level == pytest.approx(50, abs=0.3)
    assert background.above is None
