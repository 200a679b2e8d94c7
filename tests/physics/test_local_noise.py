"""Noise that varies over the field because images were turned, judged on other noise than it was measured on."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
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


def test_without_a_warp() -> None:
    images = [Exposure(image, 1.0) for image in np.random.default_rng(7).standard_normal((3, 100, 100))]
    with pytest.raises(UsageError, match="local noise needs to know how an image was resampled"):
        decorrelate(*images, KERNEL, spatial=True, noise="local")
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
