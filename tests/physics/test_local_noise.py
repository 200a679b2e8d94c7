"""Noise that varies over the field because images were turned, judged on other noise than it was measured on."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter
from scipy.signal import fftconvolve

from diffim_decorr import DecorrWarning, Exposure, Result, UsageError, apply_psi, decorrelate
from support.kernels import gaussian
from support.warped import Resampled, cells

SIDE = 420
KERNEL = gaussian(13, 1.3)
REALISATIONS = 6
# Of the largest of 60 correlations in a cell of 64² pixels of all realisations, the median; and the error of a scatter.
FLOOR = 2.5 / np.sqrt(REALISATIONS * 64**2)
SCATTER = 1 / np.sqrt(2 * REALISATIONS * 64**2)
# Of smooth noise, of two pixels next to each other: exp(-1 / 4 σ²) for σ = 0.6, but for the pixels' size.
NEXT = 0.5
Draw = Callable[[np.random.Generator], tuple[np.ndarray, np.ndarray, np.ndarray]]


def drawn(science: Resampled, template: Resampled | None) -> Draw:
    """Science image, template and difference, of noise alone."""

    def draw(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        one = science.noise(rng)
        other = rng.standard_normal((SIDE, SIDE)) * 0.3**0.5 if template is None else template.noise(rng)
        return one, other, one - fftconvolve(other, KERNEL, "same")

    return draw


def whitened(
    science: Resampled, template: Resampled | None, noise: str, seed: int = 5
) -> tuple[Result, list[np.ndarray]]:
    """A run, and other differences in units of the noise after its ψ."""
    rng, draw = np.random.default_rng(seed), drawn(science, template)
    one, other, difference = draw(rng)
    exposures = (
        Exposure(one, science.variance, warps=[science.warp]),
        Exposure(
            other, 0.3 if template is None else template.variance, warps=[] if template is None else [template.warp]
        ),
        Exposure(difference),
    )
    result = decorrelate(*exposures, KERNEL, spatial=True, noise=noise, threads=1)
    roots = np.sqrt(result.exposure.variance)
    others = [
        apply_psi(Exposure(draw(rng)[2]), result.decorrelation_kernel, threads=1).image / roots
        for _ in range(REALISATIONS)
    ]
    return result, others


@pytest.mark.parametrize("degrees", [0.3, 1.0])
def test_every_place_is_white(degrees: float) -> None:
    """Within 2 % more than chance; one correlation function leaves several times as much."""
    image = Resampled("bilinear", degrees, (SIDE, SIDE))
    result, others = whitened(image, None, "local")
    rho, scatter = cells(others)
    assert np.median(rho) < np.hypot(FLOOR, 0.02)
    assert rho.max() < 0.06
    assert np.abs(scatter - 1).max() < 0.03 + 3 * SCATTER
    assert result.record.noise is not None
    assert abs(result.record.noise.images[0].phase_share - 1) < 0.1
    assert result.record.noise.images[1].phase_share is None
    assert result.record.verdict.status == "ok"
    stationary, _ = cells(whitened(image, None, "measured")[1])
    assert np.median(stationary) > 2 * np.median(rho)


def test_both_images_were_resampled() -> None:
    science, template = Resampled("lanczos3", 0.4, (SIDE, SIDE)), Resampled("bilinear", 1.0, (SIDE, SIDE))
    rho, scatter = cells(whitened(science, template, "local")[1])
    assert np.median(rho) < np.hypot(FLOOR, 0.02)
    assert rho.max() < 0.05
    assert np.abs(scatter - 1).max() < 0.03 + 3 * SCATTER


def test_an_image_that_disagrees_has_measured_noise() -> None:
    """White pixels with a warp that they never went through: all is as if nothing had been said, and that is said."""
    rng = np.random.default_rng(6)
    one, other = rng.standard_normal((2, 300, 300))
    difference = Exposure(one - fftconvolve(other, KERNEL, "same"))
    warped = Exposure(one, 1.0, warps=[Resampled("bilinear", 1.0, (300, 300)).warp], name="science")
    with pytest.warns(DecorrWarning, match="science: its noise varies by .* stands for all"):
        local = decorrelate(warped, Exposure(other, 1.0), difference, KERNEL, spatial=True, noise="local")
    measured = decorrelate(Exposure(one, 1.0), Exposure(other, 1.0), difference, KERNEL, spatial=True, noise="measured")
    assert np.array_equal(local.exposure.image, measured.exposure.image, equal_nan=True)
    assert np.array_equal(local.exposure.variance, measured.exposure.variance, equal_nan=True)


def whitened_without_a_warp(
    noise: Callable[[np.random.Generator], np.ndarray], model: str, image: Resampled | None = None, side: int = SIDE
) -> tuple[Result, np.ndarray, np.ndarray]:
    """A run with a white template, and in cells of other differences their largest correlation and their scatter."""
    rng = np.random.default_rng(5)

    def draw() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        one, other = noise(rng), rng.standard_normal((side, side)) * 0.3**0.5
        return one, other, one - fftconvolve(other, KERNEL, "same")

    one, other, difference = draw()
    warps = [] if image is None else [image.warp]
    exposures = Exposure(one, float(one.var()), warps=warps), Exposure(other, 0.3), Exposure(difference)
    result = decorrelate(*exposures, KERNEL, spatial=True, noise=model, threads=1)
    roots = np.sqrt(result.exposure.variance)
    others = [
        apply_psi(Exposure(draw()[2]), result.decorrelation_kernel, threads=1).image / roots
        for _ in range(REALISATIONS)
    ]
    return result, *cells(others)


def blended(rng: np.random.Generator) -> np.ndarray:
    """White noise on the left, smooth noise on the right, and what is in between in the middle: 0.35 rms of it."""
    share = np.clip((np.arange(SIDE) - SIDE / 4) / (SIDE / 2), 0, 1)
    smooth = gaussian_filter(rng.standard_normal((SIDE, SIDE)), 0.6, mode="wrap")
    return np.sqrt(1 - share) * rng.standard_normal((SIDE, SIDE)) + np.sqrt(share) * smooth / smooth.std()


def test_what_varies_from_cell_to_cell() -> None:
    """Measured noise says that it varies; followed, two thirds of what was wrong are gone, in its scatter as well."""
    with pytest.warns(DecorrWarning, match="the correlation of its noise varies by 0.1"):
        measured, rho, scatter = whitened_without_a_warp(blended, "measured")
    assert measured.record.noise.images[0].varies == pytest.approx(NEXT * 0.35, abs=0.04)
    local, followed, followed_scatter = whitened_without_a_warp(blended, "local")
    assert local.record.psi.modes > 1
    assert np.median(rho) > 0.07
    assert np.median(followed) < np.median(rho) / 2
    assert np.ptp(followed_scatter) < np.ptp(scatter) / 2


def test_a_turn_that_nobody_tells() -> None:
    """Its beat of 190 pixels is followed from cell to cell: most of what was wrong is gone."""
    image = Resampled("bilinear", 0.3, (SIDE, SIDE))
    with pytest.warns(DecorrWarning, match="varies by"):
        _, rho, scatter = whitened_without_a_warp(image.noise, "measured")
    _, followed, followed_scatter = whitened_without_a_warp(image.noise, "local")
    assert np.median(rho) > 0.2
    assert np.median(followed) < np.median(rho) / 2
    assert np.ptp(followed_scatter) < np.ptp(scatter) / 2


def test_nothing_varies_from_cell_to_cell() -> None:
    """White noise loses nothing by being asked."""
    with pytest.warns(DecorrWarning, match="nothing varies over the field that can be followed"):
        result, rho, scatter = whitened_without_a_warp(lambda rng: rng.standard_normal((SIDE, SIDE)), "local")
    assert np.median(rho) < FLOOR + 0.005
    assert np.abs(scatter - 1).max() < 5 * SCATTER
    assert result.record.noise.images[0].varies < 0.02


def test_noise_that_was_correlated_before() -> None:
    """Turned by 0.25°, it varies with the phase, but not as white noise would: how is measured."""
    image = Resampled("bilinear", 0.25, (280, 280))

    def noise(rng: np.random.Generator) -> np.ndarray:
        return image.of(gaussian_filter(rng.standard_normal(image.before), 0.45))

    with pytest.warns(DecorrWarning, match="how it varies was measured"):
        _, rho, scatter = whitened_without_a_warp(noise, "local", image, 280)
    with pytest.warns(DecorrWarning):
        _, usual, usual_scatter = whitened_without_a_warp(noise, "measured", image, 280)
    assert np.median(rho) < np.median(usual) / 2
    assert np.ptp(scatter) < np.ptp(usual_scatter) / 2


def test_local_noise_needs_a_spatial_kernel() -> None:
    images = [Exposure(image, 1.0) for image in np.random.default_rng(7).standard_normal((3, 100, 100))]
    with pytest.raises(UsageError, match="noise local needs spatial"):
        decorrelate(*images, KERNEL, noise="local")


def test_the_number_of_threads_does_not_matter() -> None:
    image = Resampled("bilinear", 1.0, (300, 300))
    one, other, difference = drawn_small(image)
    results = [
        decorrelate(one, other, difference, KERNEL, spatial=True, noise="local", threads=threads) for threads in (1, 3)
    ]
    assert np.array_equal(*(result.exposure.image for result in results), equal_nan=True)
    assert np.array_equal(*(result.exposure.variance for result in results), equal_nan=True)


def drawn_small(image: Resampled) -> tuple[Exposure, Exposure, Exposure]:
    rng = np.random.default_rng(8)
    one, other = image.noise(rng), rng.standard_normal(image.shape)
    difference = one - fftconvolve(other, KERNEL, "same")
    return Exposure(one, image.variance, warps=[image.warp]), Exposure(other, 1.0), Exposure(difference)
