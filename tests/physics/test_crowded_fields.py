"""Crowded fields: the noise is right where its inputs show none, and what only looks like that is told.

Stars of all brightnesses, down to those that nobody would tell from noise, over inputs that were resampled. Results are
judged by what their ψ and their variance make of fresh noise without stars, of the same kind.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter
from scipy.signal import fftconvolve

from diffim_decorr import Exposure, Result, decorrelate
from support.kernels import gaussian
from support.reference import autocorrelation
from support.resampling import bilinear, lanczos

pytestmark = pytest.mark.slow

SIZE = 800
KERNEL = gaussian(17, 1.4)
RESAMPLED = lanczos(0.4, 0.3), bilinear(0.35, 0.4)
GAIN = 5.0


@dataclass
class Pair:
    """Science image and template, their true variances, and the difference."""

    images: tuple[np.ndarray, np.ndarray]
    variances: tuple[np.ndarray, np.ndarray]
    difference: np.ndarray

    def run(self, kernel: np.ndarray = KERNEL, photons: float = 1.0, **options: object) -> Result:
        exposures = [
            Exposure(i.astype("f4"), (1 + photons * (v - 1)).astype("f4"), name=n)
            for i, v, n in zip(self.images, self.variances, ("science", "template"), strict=True)
        ]
        difference = Exposure(self.difference.astype("f4"), name="difference")
        return decorrelate(*exposures, difference, kernel, noise="measured", threads=1, **options)


def noise(rng: np.random.Generator, variances: tuple[np.ndarray, np.ndarray]) -> list[np.ndarray]:
    return [
        fftconvolve(rng.normal(size=v.shape) * np.sqrt(v), by, "same")
        for v, by in zip(variances, RESAMPLED, strict=True)
    ]


def crowded(density: float, seed: int, error: float = 0.0, level: float = 1.0) -> Pair:
    """So many stars in a million pixels; with errors of subtraction relative to their fluxes.

    The level is the template's background variance over that of the science image, 1.
    """
    rng = np.random.default_rng(seed)
    stars = np.zeros((SIZE, SIZE))
    count = round(density * SIZE**2 / 1e6)
    np.add.at(stars, tuple(rng.integers(0, SIZE, (2, count))), 10 ** rng.uniform(1.5, 4.5, count))
    sharp = gaussian_filter(stars, 1.3)
    seen = fftconvolve(sharp, KERNEL, "same"), sharp
    variances = tuple(v + np.maximum(image, 0) / GAIN for v, image in zip((1.0, level), seen, strict=True))
    science, template = noise(rng, variances)
    difference = science - fftconvolve(template, KERNEL, "same")
    if error:
        scale = gaussian_filter(rng.normal(size=stars.shape), 20)
        difference += error * (scale / scale.std() * seen[0] + np.roll(seen[0], 1, 1) - seen[0])
    return Pair((seen[0] + science, seen[1] + template), variances, difference)


def judged(result: Result) -> tuple[float, float, float]:
    """Correlation, scatter over the background's variance, and the same after a matched filter, of fresh noise."""
    rng = np.random.default_rng(1000)
    shape = np.ones((SIZE, SIZE)), np.ones((SIZE, SIZE))
    psi = result.psi.at(SIZE / 2, SIZE / 2)
    variance = np.percentile(result.exposure.variance, 2)
    psf = gaussian(15, 1.9)
    rhos, scatters, matched = [], [], []
    for _ in range(4):
        science, template = noise(rng, shape)
        image = fftconvolve(
            fftconvolve(science, np.pad([[1.0]], 8), "same") - fftconvolve(template, KERNEL, "same"), psi, "same"
        )
        image = image[40:-40, 40:-40] / np.sqrt(variance)
        rhos.append(autocorrelation(image))
        scatters.append(image.std())
        matched.append(fftconvolve(image, psf, "valid").std() / np.sqrt((psf**2).sum()))
    rho = np.mean(rhos, axis=0)
    rho[5, 5] = 0
    return float(np.abs(rho).max()), float(np.mean(scatters)), float(np.mean(matched))


@pytest.mark.parametrize(("density", "error", "bar"), [(5000, 0.0, 0.02), (10000, 0.0, 0.03), (20000, 0.0, 0.04)])
def test_the_noise_is_right_between_stars_without_number(density: float, error: float, bar: float) -> None:
    result = crowded(density, 8, error).run()
    rho, scatter, matched = judged(result)
    assert rho < bar
    assert scatter == pytest.approx(1, abs=0.03)
    assert matched == pytest.approx(1, abs=0.03)
    assert result.record.noise.source == "difference"
    assert any("noise" in warning and "difference" in warning for warning in result.warnings)


def test_few_stars_leave_the_noise_to_the_inputs() -> None:
    result = crowded(500, 9).run()
    rho, scatter, matched = judged(result)
    assert result.record.noise.source == "inputs"
    assert result.verdict.status == "ok"
    assert rho < 0.02
    assert (scatter, matched) == pytest.approx((1, 1), abs=0.03)


def test_chance_is_no_disagreement() -> None:
    """In the smallest images that noise is measured in, 10 % of the variance is no more than two errors of it."""
    for seed in range(6):
        science, template = np.random.default_rng(1000 + seed).normal(size=(2, 90, 90))
        kernel = gaussian(9, 1.2)
        difference = Exposure(science - fftconvolve(template, kernel, "same"))
        inputs = Exposure(science, 1.0), Exposure(template, 1.0)
        result = decorrelate(*inputs, difference, kernel, noise="measured", half_width=8, threads=1)
        assert result.record.noise.source == "inputs"


@pytest.mark.parametrize(
    ("wrong", "density", "level"),
    [("narrow", 0, 9.0), ("wide", 10000, 1.0), ("other side", 0, 9.0), ("other side", 10000, 1.0)],
)
def test_a_wrong_kernel_does_not_pass_for_a_crowded_field(wrong: str, density: float, level: float) -> None:
    """It is whitened like any other noise, so that of all figures none could show it."""
    pair = crowded(density, 10, level=level)
    kernel = {"narrow": gaussian(17, 1.1), "wide": gaussian(17, 1.75)}.get(wrong, KERNEL)
    result = pair.run(kernel, **({"convolved": "science"} if wrong == "other side" else {}))
    assert result.verdict.status != "ok"
    (reason,) = (reason for reason in result.verdict.reasons if reason.figure == "noise.unexplained")
    assert reason.value > 0.05
    assert "--convolved" in reason.remedy


def test_planes_without_photons_do_not_pass_for_a_crowded_field() -> None:
    """Then no plane tells which pixels are dark, and all of them together have more noise than the background."""
    result = crowded(10000, 11).run(photons=0.0)
    _, scatter, _ = judged(result)
    assert scatter < 0.95
    (reason,) = (reason for reason in result.verdict.reasons if reason.figure == "noise.trend")
    assert "--sci-gain" in reason.remedy


def test_planes_with_some_of_the_photons_tell_where_it_is_dark() -> None:
    result = crowded(10000, 11).run(photons=0.3)
    rho, scatter, _ = judged(result)
    assert rho < 0.03
    assert scatter == pytest.approx(1, abs=0.04)


def test_planes_that_have_the_noise_of_the_pixels() -> None:
    """As pipelines make them, from the pixels over the gain: where they are low the noise is, too."""
    pair = crowded(5000, 12)
    noisy = tuple(1 + np.maximum(image, 0) / GAIN for image in pair.images)
    rho, scatter, matched = judged(Pair(pair.images, noisy, pair.difference).run())
    assert rho < 0.02
    assert (scatter, matched) == pytest.approx((1, 1), abs=0.05)
