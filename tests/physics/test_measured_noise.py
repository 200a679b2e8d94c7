"""Measured noise on inputs of known correlation: resampled, drizzled and smoothed ones, with sources and masks.

Pixels are white noise, of a level that changes over the field, convolved with a short kernel. So the true variance of
each pixel of the result is a finite sum over the white pixels that went into it, through resampling, matching and ψ.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter, maximum_filter
from scipy.signal import fftconvolve

from diffim_decorr import Exposure, Result, SpatialKernel, decorrelate
from diffim_decorr.kernels.coefficients import PolynomialCoefficients
from support.kernels import gaussian
from support.noise import PLANES
from support.reference import autocorrelation
from support.resampling import PAIRS

SIZE = 1000
STEP = 620
# The variance planes are wrong by these factors, which the measurement has to find.
WRONG = (1.3, 1 / 1.5)
# Pairs whose images were made by kernels that are the same the other way round, or have white noise.
SYMMETRIC = ("white and half a pixel bilinear", "Gaussian and half a pixel Lanczos")


@dataclass
class Scene:
    """What goes in, and what is known of it.

    Parameters
    ----------
    images, planes
        Science and template, and their true variance planes.
    white
        Variances of the white pixels before they were correlated.
    kernels
        That correlated them, of norm 1.
    matching
        The matching kernel; `weights` are its coefficients at each pixel.
    """

    images: list[np.ndarray]
    planes: list[np.ndarray]
    white: list[np.ndarray]
    kernels: tuple[np.ndarray, np.ndarray]
    matching: SpatialKernel
    weights: np.ndarray
    mask: np.ndarray
    stars: np.ndarray

    @property
    def difference(self) -> np.ndarray:
        return self.images[0] - self.match(self.images[1])

    def match(self, image: np.ndarray) -> np.ndarray:
        return match(image, self.matching, self.weights)

    def run(self, **options: object) -> Result:
        exposures = [
            Exposure(i.astype("f4"), (v * w).astype("f4"), self.mask, mask_planes=PLANES, name=n)
            for i, v, w, n in zip(self.images, self.planes, WRONG, ("science", "template"), strict=True)
        ]
        difference = Exposure(self.difference.astype("f4"), name="difference")
        return decorrelate(*exposures, difference, self.matching, threads=1, noise="measured", **options)

    def true_variance(self, result: Result, x: int, y: int) -> float:
        """Of one pixel of the result, which is a weighted sum of white pixels: Σ weight² variance."""
        psi = result.psi.at(x, y)
        reach = psi.shape[0] // 2 + 7 + 5
        window = np.s_[y : y + 2 * reach + 1, x : x + 2 * reach + 1]

        def padded(image: np.ndarray) -> np.ndarray:
            return np.pad(image, reach)[window]

        # Weights of the pixels of the difference, of which masked ones were replaced by 0, and of the template.
        own = np.pad(psi[::-1, ::-1], reach - psi.shape[0] // 2) * padded(self.mask == 0)
        matched = sum(
            fftconvolve(own * padded(w), b[::-1, ::-1], "same")
            for w, b in zip(self.weights, self.matching.basis, strict=True)
        )
        return sum(
            (fftconvolve(weights, kernel[::-1, ::-1], "same") ** 2 * padded(white)).sum()
            for weights, kernel, white in zip((own, matched), self.kernels, self.white, strict=True)
        )


def match(image: np.ndarray, kernel: SpatialKernel, weights: np.ndarray) -> np.ndarray:
    return sum(w * fftconvolve(image, b, "same") for w, b in zip(weights, kernel.basis, strict=True))


def scene(pair: str, varying: bool) -> Scene:
    """A pair with stars that have photon noise, faint galaxies, a bad column, a block, cosmic rays, saturated stars.

    Where it is varying, the noise of both images changes over the field, that of the template with a step, and so does
    the matching kernel.
    """
    rng = np.random.default_rng(3)
    y, x = np.mgrid[:SIZE, :SIZE] / (SIZE - 1)
    slope = 0.4 if varying else 0.0
    matching = SpatialKernel(
        np.array([gaussian(15, 1.0), gaussian(15, 1.5)]),
        PolynomialCoefficients(
            np.array([[0.5, -slope], [0.5, slope]]), np.array([[0, 0], [1, 0]]), *2 * [(SIZE / 2, SIZE / 2)]
        ),
    )
    weights = matching.coefficients.grid(np.arange(SIZE), np.arange(SIZE))
    stars = np.zeros((SIZE, SIZE))
    stars[tuple(rng.integers(20, SIZE - 20, (2, 150)))] = 10 ** rng.uniform(2, 4.5, 150)
    galaxies = np.zeros((SIZE, SIZE))
    galaxies[tuple(rng.integers(20, SIZE - 20, (2, 40)))] = rng.uniform(200, 2000, 40)
    sky = gaussian_filter(stars, 1.3) + gaussian_filter(galaxies, 6.0)
    skies = match(sky, matching, weights), sky
    levels = [2.0 * (1 + 0.5 * x * varying), 3.0 * (1 + 0.6 * y * varying)]
    if varying:
        levels[1] = levels[1] * np.where(np.arange(SIZE) < STEP, 1.0, 1.5)
    white = [level + np.maximum(s, 0) / 5 for level, s in zip(levels, skies, strict=True)]
    kernels = PAIRS[pair]
    images, planes = [], []
    for variance, kernel, s in zip(white, kernels, skies, strict=True):
        images.append(fftconvolve(rng.normal(size=(SIZE, SIZE)) * np.sqrt(variance), kernel, "same") + s)
        planes.append(fftconvolve(np.pad(variance, 9, mode="edge"), kernel**2, "same")[9:-9, 9:-9])
    mask = np.zeros((SIZE, SIZE), np.int32)
    mask[:, 333] = 1 << PLANES["BAD"]
    mask[700:712, 200:215] = 1 << PLANES["BAD"]
    for row, column in rng.integers(5, SIZE - 5, (200, 2)):
        mask[row, column : column + 2] = 1 << PLANES["CR"]
    mask[maximum_filter(stars > 1e4, 5)] |= 1 << PLANES["SAT"]
    return Scene(images, planes, white, kernels, matching, weights, mask, stars)


@pytest.mark.parametrize(("pair", "spatial"), [*((pair, True) for pair in PAIRS), ("bilinear and drizzled", False)])
def test_known_correlations_come_out_white(pair: str, spatial: bool) -> None:
    """The bars of measured noise; 0.01 is 8 standard errors of a correlation here, 0.02 24 of a standard deviation.

    On stars a plane tells the photon noise of the resampled pixels. That of the white ones before follows from it where
    the kernel is symmetric; a shift by a part of a pixel cannot be seen in the correlation.
    """
    given = scene(pair, varying=spatial)
    result = given.run(spatial=spatial)
    image, variance = result.exposure.image.astype(float), result.exposure.variance
    bad = sum(1 << result.exposure.mask_planes[name] for name in ("EDGE", "DECORR_BAD"))
    use = (given.mask == 0) & (result.exposure.mask & bad == 0) & ~maximum_filter(given.stars > 0, 31)

    rho = autocorrelation(image, use)
    rho[5, 5] = 0
    assert result.qa.max_abs_rho_before > 0.2
    assert np.abs(rho).max() <= 0.01
    assert (image[use] / np.sqrt(variance[use])).std() == pytest.approx(1, abs=0.02)
    assert result.qa.max_abs_rho_after <= 0.01
    assert result.qa.snr_std == pytest.approx(1, abs=0.02)
    factors = [image.variance_factor * wrong for image, wrong in zip(result.record.noise.images, WRONG, strict=True)]
    assert factors == pytest.approx([1, 1], abs=0.02)
    assert result.record.noise.calibration == pytest.approx(1, abs=0.02)

    masked = maximum_filter(given.mask != 0, 13)
    stepping = np.abs(np.arange(SIZE) - STEP) < 8
    rng = np.random.default_rng(1)
    places = [(use & ~masked & ~stepping, 25), (use & masked, 25), (use & ~masked & stepping, 15)]
    if pair in SYMMETRIC:
        good = (given.mask == 0) & (result.exposure.mask & bad == 0) & ~masked
        places.append((good & maximum_filter(given.stars > 1000, 5), 40))
    for where, count in places:
        pixels = np.argwhere(where)
        for row, column in pixels[rng.choice(len(pixels), count, replace=False)]:
            assert variance[row, column] == pytest.approx(given.true_variance(result, column, row), rel=0.02)


def test_noise_on_large_scales_is_measured_too() -> None:
    """White inputs: the result is that of white noise, also when smoothed, as it is in a matched filter.

    Without the peaks of the smoothed noise, its power would be too small by 1 − (1 − 2 t φ(t) / P(|z| < t)) = 9 % for
    t = 2.5, and the scatter of the result too large by 4 %. Lags of up to 4 pixels tell the power to some 0.5 % here.
    """
    rng = np.random.default_rng(6)
    kernel = gaussian(15, 1.4)
    science, template = rng.normal(size=(2, 900, 900))
    inputs = Exposure(science, 1.0), Exposure(template, 1.0), Exposure(science - fftconvolve(template, kernel, "same"))
    scatter = {}
    for noise in ("white", "measured"):
        exposure = decorrelate(*inputs, kernel, noise=noise, threads=1).exposure
        smoothed = gaussian_filter((exposure.image / np.sqrt(exposure.variance)).astype(float), 4.0)
        scatter[noise] = smoothed[50:-50, 50:-50].std()
    assert scatter["measured"] == pytest.approx(scatter["white"], rel=0.02)
