"""The noise of a difference as it has it itself: on which pixels, how correlated, and whether its variance tells it."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from diffim_decorr import Exposure, SpatialKernel
from diffim_decorr.geometry import Box
from diffim_decorr.noise.crowded import departure, own_correlation, quiet_pixels, trend, without_slope
from diffim_decorr.noise.field import NoiseField
from diffim_decorr.noise.likelihood import Likelihood

SHAPE = 512, 768


def reading(image: np.ndarray, variance: np.ndarray):
    return lambda box: (image[box.slices].astype("f4"), variance[box.slices].astype("f4"))


def chosen(image: np.ndarray, variance: np.ndarray) -> np.ndarray:
    quiet = quiet_pixels(SHAPE, reading(image, variance), 1)
    use = np.zeros(SHAPE, dtype=bool)
    for box, mask in zip(quiet.boxes, quiet.use, strict=True):
        use[box.slices] = mask
    assert quiet.pixels == use.sum()
    return use


def test_pixels_of_the_background_are_taken() -> None:
    """Those whose variance is below 1.1 times its second percentile, but at least the tenth with the least."""
    image = np.random.default_rng(1).normal(size=SHAPE)
    variance = np.full(SHAPE, 4.0)
    variance[:, 300:] = 5.0
    image *= variance**0.5
    image[3, 5] = np.nan
    use = chosen(image, variance)
    assert not use[:, 300:].any()
    assert not use[3, 5]
    # The variance is smoothed before it is compared.
    assert use[:, :290].sum() == 290 * SHAPE[0] - 1
    everywhere = np.linspace(1, 100, variance.size).reshape(SHAPE)
    noise = np.random.default_rng(2).normal(size=SHAPE) * np.sqrt(everywhere)
    assert chosen(noise, everywhere).mean() == pytest.approx(0.1, abs=1e-4)


def test_what_stands_out_is_not_taken() -> None:
    """Within two pixels of what is beyond 6 σ, of which noise has one in 5 · 10⁸."""
    image = np.random.default_rng(1).normal(size=SHAPE)
    image[100, 200] = 8.0
    image[300, 400] = -8.0
    expected = np.ones(SHAPE, dtype=bool)
    expected[98:103, 198:203] = expected[298:303, 398:403] = False
    assert np.array_equal(chosen(image, np.ones(SHAPE)), expected)


def test_correlation_and_its_departure_from_white() -> None:
    """A Gaussian smoothing of σ has ρ = exp(-r²/4σ²); of white noise nothing is left beyond its own error."""
    rng = np.random.default_rng(2)
    white = rng.normal(size=SHAPE)
    smooth = gaussian_filter(white, 0.8, mode="wrap")
    found = {}
    for name, image in (("white", white), ("smooth", smooth)):
        quiet = quiet_pixels(SHAPE, reading(image, np.full(SHAPE, image.var())), 1)
        found[name] = own_correlation(quiet.covariance(lambda box, image=image: image[box.slices].astype("f4")))
    y, x = np.mgrid[-20:21, -20:21]
    true = np.exp(-(x**2 + y**2) / (4 * 0.8**2))
    assert found["smooth"] == pytest.approx(true, abs=5 * np.sqrt((true**2).sum() / white.size))
    assert np.count_nonzero(found["white"][np.hypot(x, y) >= 10]) == 0
    assert departure(found["white"], white.size) < 0.02
    # The rms over frequencies is that of ρ over lags, by Parseval.
    true[20, 20] = 0
    assert departure(found["smooth"], white.size) == pytest.approx(np.sqrt((true**2).sum()), rel=0.02)


@pytest.mark.parametrize(("photons", "expected"), [(1.0, 1.0), (0.3, None), (0.0, None)])
def test_the_light_of_sources_shows_what_the_variance_does_not_tell(photons: float, expected: float | None) -> None:
    """On the background alone there is no trend even where the noise of the two images is not as it was said."""
    rng = np.random.default_rng(3)
    light = np.zeros(SHAPE)
    light[tuple(rng.integers(0, n, 8000) for n in SHAPE)] = 10 ** rng.uniform(1, 3, 8000)
    light = gaussian_filter(light, 1.5)
    science, template = (light + rng.normal(size=SHAPE) * np.sqrt(1 + light / 5) for _ in range(2))
    told = 2 + 2 * photons * light / 5
    quiet = quiet_pixels(SHAPE, reading(science - template, told), 1)
    identity = SpatialKernel.identity()
    sources = Likelihood((identity, identity), (identity, identity), NoiseField((1.0, 1.3)))
    images = [Exposure(image.astype("f4")) for image in (science, template)]
    found = trend(quiet, reading(science - template, told), images, (), sources)
    significance = (found.value - 1) / found.error
    if expected is not None:
        assert abs(significance) < 3.5
    else:
        assert significance > 5


def test_backgrounds_are_taken_off_but_no_noise() -> None:
    rng = np.random.default_rng(4)
    y, x = np.mgrid[:100, :140] / 100
    noise = rng.normal(size=x.shape)
    image = noise + 30 * x - 5 * x * y + 8 * y**3
    image[10, 20], image[50, 60] = np.nan, 1e4
    left = without_slope(image)
    image[50, 60] = noise[50, 60] = np.nan
    known = np.isfinite(image)
    # Ten terms take 10 / 14000 of the noise's variance.
    assert np.std((left - noise)[known]) < 3 * np.sqrt(10 / noise.size)
    few = np.full((3, 3), 2.0)
    assert np.array_equal(without_slope(few), few)


def test_nothing_is_told_where_nothing_is_known() -> None:
    nothing = np.full(SHAPE, np.nan)
    assert quiet_pixels(SHAPE, reading(nothing, nothing), 1).pixels == 0
    image = np.ones((30, 30))
    quiet = quiet_pixels((30, 30), reading(np.random.default_rng(1).normal(size=(30, 30)), image), 1)
    identity = SpatialKernel.identity()
    sources = Likelihood((identity, identity), (identity, identity), NoiseField((1.0, 1.0)))
    exposures = [Exposure(image), Exposure(image)]
    assert np.isnan(trend(quiet, reading(image, image), exposures, (), sources).value)
    assert Box(0, 0, 30, 30) == quiet.boxes[0]
