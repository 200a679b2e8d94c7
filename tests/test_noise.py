"""Background noise: clipped means, noise measured from images, and ψ following the local noise ratio."""

from __future__ import annotations

import numpy as np
import pytest
from diffim_decorr.masks import BAD_PLANES
from reference import IDENTITY, PLANES, convolved, exposures, gaussian, noise_pair, psi_of

from diffim_decorr import Exposure, InputError, Result, decorrelate
from diffim_decorr.noise import background_variance, clipped_mean, measured_variance

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
    assert background_variance(exposure, BAD_PLANES) == pytest.approx(expected, rel=1e-6)
    variance[:50, 100:] = np.nan
    variance[50:60, 100:] = 0
    variance[60:70, 100:] = -3
    variance[70:80, 100:] = np.inf
    assert background_variance(exposure, BAD_PLANES) == pytest.approx(5, abs=3 * 0.05 / np.sqrt(120 * 110))
    assert background_variance(exposure, ()) > 5.3


@pytest.mark.parametrize(("value", "masked", "cause"), [(0.0, False, "no pixel"), (1.0, True, "masked")])
def test_variance_planes_without_a_usable_pixel_are_refused(value: float, masked: bool, cause: str) -> None:
    shape = (60, 60)
    mask = np.full(shape, (1 << PLANES["BAD"]) if masked else 0, "i4")
    exposure = Exposure(np.zeros(shape), np.full(shape, value), mask, mask_planes=PLANES, name="sky.fits")
    with pytest.raises(InputError, match=rf"sky\.fits.*{cause}"):
        background_variance(exposure, BAD_PLANES)


def test_the_mean_over_a_large_plane_is_good_although_it_is_sampled() -> None:
    """Rows are sampled; a scatter of 10 % and a gradient along y leave the mean within 1e-3."""
    rng = np.random.default_rng(2)
    shape = (3000, 1000)
    variance = (1 + 0.1 * rng.normal(size=shape) + np.linspace(-0.1, 0.1, 3000)[:, None]).astype("f4")
    exposure = Exposure(np.zeros((3000, 1000), "f4"), variance)
    assert background_variance(exposure, ()) == pytest.approx(simple_clipped_mean(variance[::7, ::7]), rel=1e-3)


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


# The local ratio


def psi_with(ratio: float) -> np.ndarray:
    return psi_of([IDENTITY, KERNEL], [1.0, ratio], 128)


def norm_of_error(result: Result, x: float, y: float, ratio: float) -> float:
    """Of ψ at a position, against ψ for a noise ratio."""
    psi = result.psi.at(x, y)
    half = psi.shape[0] // 2
    return float(np.sqrt(((psi - psi_with(ratio)[63 - half : 64 + half, 63 - half : 64 + half]) ** 2).sum()))


def ratio_at(result: Result, x: float, y: float) -> float:
    """The ratio whose ψ is nearest, from the central value, which grows with it."""
    ratios = np.geomspace(0.2, 40, 41)
    peaks = [psi_with(r)[63, 63] for r in ratios]
    return float(np.exp(np.interp(result.psi.at(x, y).max(), peaks, np.log(ratios))))


def spatial(
    svar: np.ndarray, tvar: np.ndarray, masks: tuple[np.ndarray | None, np.ndarray | None] = (None, None)
) -> Result:
    science, template = noise_pair(8, svar.shape, 1.0, 1.0)
    made = [
        Exposure(image, variance.astype("f4"), mask, mask_planes=None if mask is None else PLANES)
        for image, variance, mask in zip((science, template), (svar, tvar), masks, strict=True)
    ]
    return decorrelate(*made, Exposure(science - convolved(template, KERNEL)), KERNEL, spatial=True)


SHAPE = (330, 460)


def test_psi_follows_a_gradient_of_the_noise() -> None:
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    tvar = 1 + 3 * x / 460 + y / 330
    result = spatial(np.ones(SHAPE), tvar)
    for px, py in [(40, 40), (230, 165), (420, 290), (100, 250), (333, 77)]:
        # The mean over cells of 64 pixels of something linear is its value at their centres.
        assert norm_of_error(result, px, py, tvar[py, px]) < 5e-3
        assert ratio_at(result, px, py) == pytest.approx(tvar[py, px], rel=0.02)


def test_psi_follows_the_gradient_of_either_image() -> None:
    x = np.broadcast_to(np.arange(460), SHAPE)
    result = spatial(1 / (1 + 3 * x / 460), np.ones(SHAPE))
    for px in (60, 230, 400):
        assert ratio_at(result, px, 160) == pytest.approx(1 + 3 * px / 460, rel=0.02)


@pytest.mark.parametrize("column", [200, 203, 228, 256])
@pytest.mark.parametrize("factor", [4.0, 0.5])
def test_a_step_is_found_where_it_is(column: int, factor: float) -> None:
    # It is known to a cell of 8 pixels; halfway between both sides it is less than 8 from where it is.
    tvar = np.ones(SHAPE)
    tvar[:, column:] = factor
    result = spatial(np.ones(SHAPE), tvar)
    for y in (5, 165, 325):
        middle = np.sqrt(factor)
        assert (ratio_at(result, column - 8, y) - middle) * (ratio_at(result, column + 7, y) - middle) < 0
        for x in (column - 150, column - 10):
            assert ratio_at(result, x, y) == pytest.approx(1, rel=0.01)
        for x in (column + 9, column + 150):
            assert ratio_at(result, x, y) == pytest.approx(factor, rel=0.01)


@pytest.mark.parametrize("row", [100, 131])
def test_a_step_along_the_other_axis(row: int) -> None:
    tvar = np.ones(SHAPE)
    tvar[row:] = 3.0
    result = spatial(np.ones(SHAPE), tvar)
    for x in (5, 230, 455):
        assert ratio_at(result, x, row - 10) == pytest.approx(1, rel=0.01)
        assert ratio_at(result, x, row + 9) == pytest.approx(3, rel=0.01)


def test_a_step_in_noisy_variance_planes() -> None:
    """Variance planes that carry noise of their own, as those of counts do."""
    rng = np.random.default_rng(9)
    tvar = np.where(np.arange(460) < 203, 1.0, 4.0) * rng.normal(1, 0.1, SHAPE)
    result = spatial(rng.normal(1, 0.1, SHAPE), tvar)
    for y in (60, 165, 270):
        # The median over cells is of those of its own side only, next to the step of the upper or lower ones of them.
        assert ratio_at(result, 203 - 10, y) == pytest.approx(1, rel=0.1)
        assert ratio_at(result, 203 + 9, y) == pytest.approx(4, rel=0.1)
        assert ratio_at(result, 203 - 50, y) == pytest.approx(1, rel=0.02)
        assert ratio_at(result, 203 + 50, y) == pytest.approx(4, rel=0.02)


def test_sources_do_not_change_psi() -> None:
    """A bright source's Poisson noise raises the variance plane; the background's noise is as before."""
    svar, tvar = np.ones(SHAPE), np.full(SHAPE, 2.0)
    places = [(80, 90), (230, 160), (300, 250), (391, 97)]
    for (x, y), flux in zip(places, (300.0, 3e3, 3e4, 3e5), strict=True):
        svar[y - 20 : y + 21, x - 20 : x + 21] += flux * STAR
        tvar[y - 20 : y + 21, x - 20 : x + 21] += 0.2 * flux * STAR
    result = spatial(svar, tvar)
    for x, y in places:
        assert norm_of_error(result, x, y, 2.0) < 5e-3
    for x in range(20, 440, 24):
        assert norm_of_error(result, x, 160, 2.0) < 5e-3


def test_sources_do_not_change_psi_next_to_a_step() -> None:
    svar, tvar = np.ones(SHAPE), np.where(np.arange(460) < 203, 1.0, 4.0) * np.ones(SHAPE)
    places = [(150, 90), (180, 200), (230, 160), (391, 97)]
    for (x, y), flux in zip(places, (300.0, 3e3, 1e4, 3e4), strict=True):
        svar[y - 20 : y + 21, x - 20 : x + 21] += flux * STAR
        tvar[y - 20 : y + 21, x - 20 : x + 21] += 0.2 * flux * STAR
    result = spatial(svar, tvar)
    for x, y in places:
        assert ratio_at(result, x, y) == pytest.approx(1.0 if x < 203 else 4.0, rel=0.03)


def test_masked_blocks_take_the_noise_of_their_surroundings() -> None:
    svar, tvar = np.ones(SHAPE), np.full(SHAPE, 2.0)
    mask = np.zeros(SHAPE, "i4")
    area = slice(60, 260), slice(150, 350)
    svar[area], mask[area] = 50.0, 1 << PLANES["DETECTED"]
    result = spatial(svar, tvar, (mask, None))
    for x, y in [(250, 160), (155, 65), (345, 255), (60, 60), (400, 300)]:
        assert norm_of_error(result, x, y, 2.0) < 5e-3


@pytest.mark.parametrize("value", [np.nan, np.inf, 0.0])
def test_blocks_without_variance_take_that_of_their_surroundings(value: float) -> None:
    svar, tvar = np.ones(SHAPE), np.full(SHAPE, 2.0)
    tvar[100:300, 120:420] = value
    result = spatial(svar, tvar)
    for x, y in [(270, 200), (125, 105), (415, 295), (60, 60)]:
        assert norm_of_error(result, x, y, 2.0) < 5e-3


def test_without_a_variation_of_the_noise_psi_is_one_kernel() -> None:
    science, template = noise_pair(10, SHAPE, 1.0, 2.0)
    images = exposures(science, template, science - convolved(template, KERNEL), 1.0, 2.0)
    varying, constant = (decorrelate(*images, KERNEL, spatial=s) for s in (True, False))
    np.testing.assert_array_equal(varying.exposure.image, constant.exposure.image)
