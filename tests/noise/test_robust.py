"""Robust scatters on pixels as detectors give them: integers, multiples of a gain, photons, and fills."""

from __future__ import annotations

import numpy as np
import pytest

from diffim_decorr import Exposure, decorrelate
from diffim_decorr.images.absent import tie_step
from diffim_decorr.noise.background import measured_variance
from diffim_decorr.noise.robust import fill_value, is_coarse, median, spread_ties, standard_deviation
from support.kernels import gaussian
from support.reference import convolved

SHAPE = (512, 512)
# Of a variance from so many pixels: 0.3 %; and from the median of 64 cells, 1.25 times that.
FOUR_ERRORS = 4 * 1.25 * (2 / np.prod(SHAPE)) ** 0.5


@pytest.mark.parametrize(("gain", "level"), [(1.0, 100.0), (0.37, 100.3), (12.5, 100.5), (1.0, 100.5)])
@pytest.mark.parametrize("sigma", [0.5, 0.6, 0.8, 1.0, 1.7, 20.0])
def test_variance_of_rounded_noise(level: float, sigma: float, gain: float) -> None:
    """As counts, or as counts times a gain in single precision."""
    noise = np.random.default_rng(int(10 * sigma + 100 * level)).normal(level, sigma, SHAPE)
    image = (np.rint(noise) * gain).astype(np.float32)
    assert measured_variance(Exposure(image), ()) == pytest.approx(image.var(), rel=max(0.01, FOUR_ERRORS))


@pytest.mark.parametrize("electrons", [50, 100, 240, 1000, 100_000])
def test_variance_of_photons(electrons: float) -> None:
    """Skewed by 1/√N: the half below the level alone has up to 7 % less."""
    image = np.random.default_rng(electrons).poisson(electrons, SHAPE).astype(np.float32)
    assert measured_variance(Exposure(image), ()) == pytest.approx(electrons, rel=max(0.01, FOUR_ERRORS))


@pytest.mark.parametrize("seed", range(4))
def test_variance_of_few_photons_has_no_bias(seed: int) -> None:
    """What the lower half allows is judged for all cells together: cell by cell it would take off 1 %."""
    shape = (1024, 1024)
    image = np.random.default_rng(seed).poisson(50, shape).astype(np.float32)
    # 256 cells are looked at, all of them; the median of so many, with what is cut off at 4 σ.
    assert measured_variance(Exposure(image), ()) == pytest.approx(50.0, rel=0.002 + 3 * 1.25 * (2 / image.size) ** 0.5)


@pytest.mark.parametrize("share", [0.4, 0.8])
@pytest.mark.parametrize("fill", [0.0, -999.0])
def test_what_is_filled_has_no_say(share: float, fill: float) -> None:
    """A template with coverage of a part of the image only, whose edge goes through cells."""
    image = np.random.default_rng(4).normal(3.0, 20.0, SHAPE).astype(np.float32)
    image[:, : int(share * SHAPE[1])] = fill
    assert measured_variance(Exposure(image), ()) == pytest.approx(400.0, rel=0.02)


def test_fills_and_levels_are_told_apart() -> None:
    rng = np.random.default_rng(5)
    noise = rng.normal(size=4000)
    assert fill_value(noise) is None
    assert fill_value(np.where(np.arange(4000) < 100, -1.0, noise)) == -1.0
    for sigma in (0.5, 0.6, 1.0, 3.0):
        assert fill_value(np.rint(sigma * noise)) is None
    assert fill_value(np.where(np.arange(4000) < 2000, -99.0, np.rint(3 * noise))) == -99.0
    assert fill_value(np.zeros(10)) == 0.0
    assert fill_value(np.zeros(0)) is None


def test_steps_between_values() -> None:
    noise = np.random.default_rng(6).normal(size=4000)
    assert tie_step(noise) == 0.0
    assert tie_step(np.zeros(9)) == 0.0
    assert tie_step(np.float32(0.37) * np.rint(3 * noise).astype(np.float32)) == pytest.approx(0.37, rel=1e-5)
    assert is_coarse(np.rint(noise))
    assert not is_coarse(np.rint(20 * noise))
    spread = spread_ties(np.rint(3 * noise), 1.0)
    assert spread.var() == pytest.approx(np.rint(3 * noise).var() + 1 / 12, rel=0.01)
    assert np.array_equal(spread_ties(noise, 0.0), noise)


def test_outliers_and_nothing() -> None:
    noise = np.random.default_rng(7).normal(size=10_000)
    noise[:50] = 1e6
    # 50 more at the upper end of what is kept would add 50 · 16 / 10⁴, but they are far beyond it.
    assert standard_deviation(noise) == pytest.approx(1.0, abs=4 * 0.5 * (2 / 1e4) ** 0.5)
    assert standard_deviation(np.zeros(0)) == 0.0
    assert standard_deviation(np.full(9, 3.0)) == 0.0


@pytest.mark.parametrize("noise", ["white", "measured"])
@pytest.mark.parametrize("sigma", [0.6, 1.0])
def test_a_run_on_integers(sigma: float, noise: str) -> None:
    """The difference has lumps: one image is integer, the other one was smoothed."""
    rng = np.random.default_rng(8)
    kernel = gaussian(11, 1.2)
    science, template = (np.rint(rng.normal(level, sigma, SHAPE)) for level in (100.3, 50.3))
    images = science, template, science - convolved(template, kernel)
    result = decorrelate(*(Exposure(image.astype(np.float32)) for image in images), kernel, noise=noise)
    assert result.qa.snr_std == pytest.approx(1.0, abs=0.01)
    assert result.verdict.status == "ok", str(result.verdict)


@pytest.mark.parametrize("count", [1, 2, 3, 1000, 1001])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_median_is_that_of_numpy(count: int, dtype: type) -> None:
    """To the last bit, of values of which some are alike as well."""
    rng = np.random.default_rng(count)
    for values in (rng.normal(size=count), np.rint(rng.normal(size=count))):
        assert median(values.astype(dtype)) == float(np.median(values.astype(dtype)))
