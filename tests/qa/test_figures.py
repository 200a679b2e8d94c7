"""Quality figures: against direct evaluation, and on noise of known correlation."""

from __future__ import annotations

import numpy as np
import pytest

from diffim_decorr import Exposure, Result, decorrelate
from diffim_decorr.noise import correlation
from diffim_decorr.noise.correlation import max_abs_rho
from support.kernels import gaussian
from support.noise import PLANES, exposures, noise_pair
from support.reference import autocorrelation, convolved

KERNEL = gaussian(15, 1.5)


def neighbours(image: np.ndarray) -> np.ndarray:
    """A moving average with ρ(1, 0) = 0.4, ρ(0, 1) = 0.2 / 1.04, and their products on the diagonals."""
    along_x, along_y = np.array([[0.5, 1.0]]), np.array([[0.2], [1.0]])
    return convolved(convolved(image, along_x), along_y)


# The autocorrelation function


@pytest.mark.parametrize("masked", [0.0, 0.4])
def test_autocorrelation_is_that_of_direct_evaluation(masked: float) -> None:
    rng = np.random.default_rng(1)
    image = neighbours(rng.normal(3.0, 1.0, (60, 71)))
    use = rng.random(image.shape) >= masked
    measured = correlation.autocorrelation(np.where(use, image, 0.0)[None], use[None])
    np.testing.assert_allclose(measured, autocorrelation(image, use), atol=1e-6)


def test_windows_do_not_touch_each_other() -> None:
    """Several windows: sums over pairs of pixels within each of them."""
    rng = np.random.default_rng(2)
    images = rng.normal(size=(3, 30, 41))
    use = rng.random(images.shape) < 0.7
    gap = np.full((30, 10), 0.0)
    joined = np.hstack([part for image in images for part in (image, gap)])
    joined_use = np.hstack([part for one in use for part in (one, gap.astype(bool))])
    measured = correlation.autocorrelation(images, use)
    np.testing.assert_allclose(measured, autocorrelation(joined, joined_use), atol=1e-6)


def test_known_noise_has_its_known_correlation() -> None:
    image = neighbours(np.random.default_rng(3).normal(size=(900, 900)))[1:, 1:]
    rho = correlation.autocorrelation(image[None], np.ones((1, *image.shape), bool))
    tx, ty = 0.5 / 1.25, 0.2 / 1.04
    expected = np.zeros((11, 11))
    for dx, fx in ((-1, tx), (0, 1.0), (1, tx)):
        for dy, fy in ((-1, ty), (0, 1.0), (1, ty)):
            expected[5 + dy, 5 + dx] = fx * fy
    np.testing.assert_allclose(rho, expected, atol=6 / 900)
    assert max_abs_rho(rho) == pytest.approx(tx, abs=6 / 900)


def test_max_abs_rho_is_of_either_sign_and_not_at_the_centre() -> None:
    rho = np.zeros((11, 11))
    rho[5, 5], rho[2, 7], rho[8, 3] = 1.0, -0.3, -0.3
    assert max_abs_rho(rho) == 0.3
    assert rho[5, 5] == 1.0


# The figures of a run


def run(
    seed: int = 4, shape: tuple[int, int] = (500, 520), stars: int = 0, scale: float = 1.0, **options: object
) -> Result:
    """Decorrelated noise, with stars that both images have alike; the variance planes are wrong by a scale."""
    science, template = noise_pair(seed, shape, 1.0, 2.0)
    difference = science - convolved(template, KERNEL)
    rng = np.random.default_rng(seed + 1)
    star = gaussian(41, 2.0)
    for _ in range(stars):
        x, y = rng.integers(21, shape[1] - 21), rng.integers(21, shape[0] - 21)
        flux = 10 ** rng.uniform(2, 4)
        for image in (science, template):
            image[y - 20 : y + 21, x - 20 : x + 21] += flux * star
        # What an imperfect kernel leaves: a percent of the star, as a dipole.
        dipole = 0.01 * flux * (star - np.roll(star, 1, axis=1))
        difference[y - 20 : y + 21, x - 20 : x + 21] += dipole
    return decorrelate(*exposures(science, template, difference, scale, 2.0 * scale), KERNEL, **options)


def test_figures_are_those_of_the_pixels_in_use() -> None:
    result = run()
    figures = result.qa
    assert figures.pixels_used > 0.8 * 500 * 520
    assert 0.9 < figures.max_abs_rho_before / 0.0585 < 1.1
    assert figures.max_abs_rho_after <= 4 / np.sqrt(figures.pixels_used)
    # A robust standard deviation scatters by 1.17 / sqrt(N).
    assert figures.snr_std == pytest.approx(1, abs=4.5 * 1.17 / np.sqrt(figures.pixels_used))
    centre = result.exposure.image[40:-40, 40:-40].astype(float)
    np.testing.assert_allclose(figures.rho_after, autocorrelation(centre), atol=5 / 400)
    assert figures.rho_after[5, 5] == 1.0


@pytest.mark.parametrize("scale", [0.25, 4.0])
def test_snr_std_tells_by_how_much_the_variance_is_wrong(scale: float) -> None:
    right, wrong = run().qa, run(scale=scale).qa
    assert wrong.snr_std == pytest.approx(right.snr_std / np.sqrt(scale), rel=1e-4)
    assert wrong.max_abs_rho_after == pytest.approx(right.max_abs_rho_after, abs=1e-5)


def test_stars_do_not_change_the_figures() -> None:
    """200 bright stars in both images, badly subtracted: what is measured is the noise between them."""
    shape = (1000, 1000)
    without, stars = run(shape=shape).qa, run(shape=shape, stars=200).qa
    assert 0.3 * without.pixels_used < stars.pixels_used < 0.9 * without.pixels_used
    # Fewer pixels measure the same to within their errors, which is what is allowed besides the 1 %.
    few = stars.pixels_used
    assert stars.snr_std == pytest.approx(without.snr_std, rel=0.01)
    assert stars.max_abs_rho_before == pytest.approx(without.max_abs_rho_before, rel=0.01, abs=3 / np.sqrt(few))
    assert stars.max_abs_rho_after <= 4 / np.sqrt(few)


def test_pixels_in_use_are_not_masked_and_far_from_the_edges() -> None:
    science, template = noise_pair(5, (400, 400), 1.0, 2.0)
    difference = (science - convolved(template, KERNEL)).astype("f4")
    mask = np.zeros(difference.shape, "i4")
    mask[:200] = 1 << PLANES["BAD"]
    made = [
        Exposure(science, 1.0, mask, mask_planes=PLANES),
        Exposure(template, 2.0),
        Exposure(difference),
    ]
    result = decorrelate(*made, KERNEL)
    flags = 0
    for name in ("BAD", "EDGE", "DECORR_BAD", "NO_DATA"):
        flags |= 1 << result.exposure.mask_planes[name]
    clear = np.count_nonzero(result.exposure.mask & flags == 0)
    # Few noise peaks pass for sources.
    assert 0.9 * clear < result.qa.pixels_used <= clear
    assert result.qa.snr_std == pytest.approx(1, abs=0.02)


def test_figures_of_a_large_image_are_of_a_stated_sample() -> None:
    result = run(shape=(1400, 1500))
    assert result.qa.pixels_used >= 1_000_000
    assert result.qa.max_abs_rho_after <= 4 / np.sqrt(result.qa.pixels_used)


def test_too_few_pixels_are_said_to_be_too_few() -> None:
    result = run(shape=(30, 33))
    assert np.isnan(result.qa.max_abs_rho_after)
    assert np.isnan(result.qa.snr_std)
    (text,) = (text for text in result.warnings if "source-free" in text)
    assert str(result.qa.pixels_used) in text


def test_inputs_with_correlated_noise_are_warned_of() -> None:
    """As of resampled images: the white-noise formula cannot remove it, and the run says so."""
    rng = np.random.default_rng(6)
    shape = (500, 500)
    smooth = gaussian(5, 0.7)
    science = convolved(rng.normal(size=shape), smooth)
    template = rng.normal(size=shape)
    science /= science.std()
    difference = science - convolved(template, KERNEL)
    result = decorrelate(*exposures(science, template, difference, 1.0, 1.0), KERNEL)
    assert "--noise measured" in result.verdict.explanation
    (text,) = (text for text in result.warnings if "max_abs_rho" in text)
    assert "--noise measured" in text
    assert "science" in text
    assert "template" not in text
    assert result.qa.rho_science[5, 6] == pytest.approx(autocorrelation(science)[5, 6], abs=0.02)
    assert abs(result.qa.rho_template[5, 6]) < 0.02


def test_white_inputs_are_not_warned_of() -> None:
    assert run(stars=50).warnings == []
