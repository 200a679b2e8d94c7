"""What the variance planes are worth."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.signal import fftconvolve

from diffim_decorr import Contribution, Exposure, decorrelate
from support.kernels import gaussian
from support.noise import noise_images

KERNEL = gaussian(11, 1.4)
SHAPE = 160, 160


@pytest.mark.parametrize("mode", ["full", "estimate"])
@pytest.mark.parametrize(("svar", "gain"), [(1.0, 1e4), (0.0, 20.0)])
def test_variance_given_for_one_side_leaves_the_planes_as_they_are(svar: float, gain: float, mode: str) -> None:
    """``V' = psi² ⊗ V_s + (psi ⊗ kappa)² ⊗ V_t``, whatever the noise that psi was made for (DMTN-179, section 5)."""
    images = noise_images(3, SHAPE, KERNEL, 1.0, 2.0)
    result = decorrelate(*images, KERNEL, svar=svar, tvar=2.0, max_gain=gain, variance=mode)
    psi = result.psi.at(0, 0)
    expected = (psi**2).sum() + 2 * (fftconvolve(psi, KERNEL) ** 2).sum()
    assert result.exposure.variance[80, 80] == pytest.approx(expected, rel=1e-4)


def test_the_order_of_contributions_does_not_matter() -> None:
    """Sides are told by their names."""
    tvar = np.where(np.arange(160) < 80, 1.0, 9.0) * np.ones(SHAPE)
    science, template, difference = noise_images(4, SHAPE, KERNEL, np.ones(SHAPE), tvar)
    parts = [Contribution("science", science), Contribution("template", template)]
    plain, one, other = (
        decorrelate(science, template, difference, KERNEL, spatial=True, contributions=c).psi
        for c in ((), parts, parts[::-1])
    )
    for x in (20, 140):
        for psi in (one, other):
            np.testing.assert_allclose(psi.at(x, 80), plain.at(x, 80), atol=1e-6)
    assert plain.at(20, 80).max() < plain.at(140, 80).max()


@pytest.mark.parametrize("weight", [None, 0.25])
def test_the_noise_of_a_stack_is_that_of_the_weighted_mean(weight: float | None) -> None:
    """Four images of 20 and of 40 each: variances of 100 and of 400."""
    images = noise_images(5, SHAPE, KERNEL, 100.0, 400.0)
    parts = [
        Contribution(side, noise=sigma, weight=weight)
        for side, sigma in (("science", 20.0), ("template", 40.0))
        for _ in range(4)
    ]
    noise = decorrelate(*images, KERNEL, contributions=parts).record.noise
    assert (noise.svar, noise.tvar) == pytest.approx((100.0, 400.0))


def test_variances_that_a_stack_does_not_use_are_said_to_be_unused() -> None:
    images = noise_images(6, SHAPE, KERNEL, 1.0, 1.0)
    parts = [Contribution("science", noise=1.0), Contribution("template", noise=1.0)]
    assert any("--svar is not used" in w for w in decorrelate(*images, KERNEL, contributions=parts, svar=3).warnings)


def test_a_plane_without_a_usable_pixel_is_no_worse_than_none() -> None:
    science, template, difference = noise_images(7, SHAPE, KERNEL, 1.0, 1.0)
    empty = Exposure(science.image, np.zeros(SHAPE))
    result = decorrelate(empty, template, difference, KERNEL, svar=1.0, tvar=1.0)
    assert result.record.noise.svar == 1.0
