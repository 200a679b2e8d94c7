"""Background noise: clipped means, and noise measured from images without variance planes."""

from __future__ import annotations

import numpy as np
import pytest

from diffim_decorr import Exposure, InputError, decorrelate
from diffim_decorr.noise.background import clipped_mean, measured_variance
from diffim_decorr.noise.plane_level import plane_level
from diffim_decorr.options import BAD_PLANES
from support.kernels import gaussian
from support.noise import PLANES, noise_pair
from support.reference import convolved

KERNEL = gaussian(15, 1.5)
STAR = gaussian(41, 1.8)


def simple_clipped_mean(values: np.ndarray, clip: float = 3.0, passes: int = 3) -> float:
    """LSST's MEANCLIP: around the median with the interquartile range first, then around the mean."""
    ordered = sorted(float(v) for v in np.ravel(values))

    def quantile(q: float) -> float:
        position = q * (len(ordered) - 1)
        low = int(position)
        high = min(low + 1, len(ordered) - 1)
        return ordered[low] + (position - low) * (ordered[high] - ordered[low])

    centre, spread = quantile(0.5), 0.741 * (quantile(0.75) - quantile(0.25))
    for _ in range(passes):
        kept = [v for v in ordered if abs(v - centre) <= clip * spread]
        if not kept:
            break
        centre = sum(kept) / len(kept)
        spread = (sum((v - centre) ** 2 for v in kept) / len(kept)) ** 0.5
    return centre


# Clipped means


@pytest.mark.parametrize("seed", range(6))
def test_clipped_mean_is_that_of_a_simple_implementation(seed: int) -> None:
    rng = np.random.default_rng(seed)
    values = rng.normal(10, 1, 2001 + seed)
    values[:60] += rng.exponential(50, 60)
    assert clipped_mean(values) == pytest.approx(simple_clipped_mean(values), rel=1e-12)
    assert clipped_mean(values, clip=2.0, iterations=5) == pytest.approx(simple_clipped_mean(values, 2.0, 5), rel=1e-12)


def test_clipped_mean_of_special_values() -> None:
    assert clipped_mean(np.full(100, 3.5)) == 3.5
    assert clipped_mean(np.array([7.0])) == 7.0
    assert np.isnan(clipped_mean(np.array([])))
    # Values of which more than half are the same have no width: the others are clipped.
    assert clipped_mean(np.concatenate([np.full(80, 2.0), np.full(20, 9.0)])) == 2.0
    assert clipped_mean(np.full((4, 5), 2, dtype=np.float32)) == 2.0


def test_background_variance_leaves_out_what_is_masked_or_no_variance() -> None:
    shape = (200, 210)
    rng = np.random.default_rng(1)
    variance = rng.normal(5, 0.05, shape).astype("f4")
    mask = np.zeros(shape, "i4")
    mask[:, :100] = 1 << PLANES["DETECTED"]
    variance[:, :100] = 6.0
    expected = simple_clipped_mean(variance[:, 100:])
    image = np.zeros(shape, "f4")
    exposure = Exposure(image, variance, mask, mask_planes=PLANES)
    assert plane_level(exposure, BAD_PLANES).level == pytest.approx(expected, rel=1e-6)
    variance[:50, 100:] = np.nan
    variance[50:60, 100:] = 0
    variance[60:70, 100:] = -3
    variance[70:80, 100:] = np.inf
    assert plane_level(exposure, BAD_PLANES).level == pytest.approx(5, abs=3 * 0.05 / np.sqrt(120 * 110))
    assert plane_level(exposure, ()).level > 5.3


@pytest.mark.parametrize(("value", "masked", "cause"), [(0.0, False, "no pixel"), (1.0, True, "masked")])
def test_variance_planes_without_a_usable_pixel_are_refused(value: float, masked: bool, cause: str) -> None:
    shape = (60, 60)
    mask = np.full(shape, (1 << PLANES["BAD"]) if masked else 0, "i4")
    exposure = Exposure(np.zeros(shape), np.full(shape, value), mask, mask_planes=PLANES, name="sky.fits")
    with pytest.raises(InputError, match=rf"sky\.fits.*{cause}"):
        plane_level(exposure, BAD_PLANES)


def test_the_mean_over_a_large_plane_is_good_although_it_is_sampled() -> None:
    """Rows are sampled; a scatter of 10 % and a gradient along y leave the mean within 1e-3."""
    rng = np.random.default_rng(2)
    shape = (3000, 1000)
    variance = (1 + 0.1 * rng.normal(size=shape) + np.linspace(-0.1, 0.1, 3000)[:, None]).astype("f4")
    exposure = Exposure(np.zeros((3000, 1000), "f4"), variance)
    assert plane_level(exposure, ()).level == pytest.approx(simple_clipped_mean(variance[::7, ::7]), rel=1e-3)


# Without variance planes


def star_field(seed: int, shape: tuple[int, int], sigma: float, stars: int, level: float = 0.0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    image = rng.normal(level, sigma, shape)
    for x, y, flux in zip(
        rng.integers(25, shape[1] - 25, stars),
        rng.integers(25, shape[0] - 25, stars),
        sigma * 10 ** rng.uniform(1.5, 4.5, stars),
        strict=True,
    ):
        image[y - 20 : y + 21, x - 20 : x + 21] += flux * STAR
    return image


@pytest.mark.parametrize("stars", [0, 100, 400])
@pytest.mark.parametrize("level", [0.0, 1000.0])
def test_variance_measured_on_star_fields(stars: int, level: float) -> None:
    image = star_field(3, (700, 700), 2.5, stars, level)
    assert measured_variance(Exposure(image), ()) == pytest.approx(2.5**2, rel=0.02)


def test_variance_measured_despite_gradients_masks_and_missing_pixels() -> None:
    image = star_field(4, (640, 640), 1.5, 100) + 0.004 * np.arange(640)
    mask = np.zeros(image.shape, "i4")
    image[:200, :200] += 30 * np.random.default_rng(5).normal(size=(200, 200))
    mask[:200, :200] = 1 << PLANES["BAD"]
    image[300:360] = np.nan
    image[500:560] = 1e-30
    exposure = Exposure(image.astype("f4"), None, mask, mask_planes=PLANES, missing_value=1e-30)
    assert measured_variance(exposure, BAD_PLANES) == pytest.approx(1.5**2, rel=0.02)


def test_variance_of_correlated_noise_is_that_of_its_pixels() -> None:
    noise = convolved(np.random.default_rng(6).normal(size=(640, 640)), gaussian(9, 1.0))[10:-10, 10:-10]
    assert measured_variance(Exposure(noise), ()) == pytest.approx(noise.var(), rel=0.02)


@pytest.mark.parametrize("image", [np.zeros((80, 80)), np.full((80, 80), np.nan)], ids=["flat", "empty"])
def test_images_without_noise_are_refused(image: np.ndarray) -> None:
    with pytest.raises(InputError, match=r"sky\.fits"):
        measured_variance(Exposure(image, name="sky.fits"), ())


def test_a_run_without_variance_planes_says_what_it_measured() -> None:
    science, template = noise_pair(7, (400, 400), 2.0, 3.0)
    difference = science - convolved(template, KERNEL)
    result = decorrelate(*[Exposure(i) for i in (science, template, difference)], KERNEL)
    said = [text for text in result.warnings if "variance" in text]
    assert len(said) == 2
    inside = slice(40, -40), slice(40, -40)
    snr = result.exposure.image[inside] / np.sqrt(result.exposure.variance[inside])
    # Two variances, each good to 2 %.
    assert snr.std() == pytest.approx(1, abs=0.015)
