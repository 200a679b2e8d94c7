"""Sources are looked for in an image whose noise has nothing to do with the difference's: no mask biases that."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter, maximum_filter
from scipy.signal import fftconvolve

from diffim_decorr import Exposure, SpatialKernel
from diffim_decorr.difference.subtraction import Subtraction, subtraction_of
from diffim_decorr.geometry import Box
from diffim_decorr.kernels.coefficients import PolynomialCoefficients
from diffim_decorr.noise.field import NoiseField
from diffim_decorr.noise.likelihood import Likelihood
from diffim_decorr.noise.models import MODELS
from diffim_decorr.options import Options
from diffim_decorr.record import Record
from support.kernels import gaussian
from support.resampling import box as drizzled
from support.resampling import smooth

KERNEL = gaussian(15, 1.4)
CORRELATED = smooth(0.7), drizzled(0.35)
WHITE = np.ones((1, 1)), np.ones((1, 1))


def correlation(by: np.ndarray) -> np.ndarray:
    """Of white noise convolved with a kernel of norm 1."""
    return fftconvolve(by, by[::-1, ::-1])


def crossed(one: np.ndarray, other: np.ndarray, lag: int) -> np.ndarray:
    """Means of products of two periodic images at each lag."""
    products = np.fft.irfft2(np.fft.rfft2(one) * np.conj(np.fft.rfft2(other)), s=one.shape) / one.size
    return np.roll(products, (lag, lag), (0, 1))[: 2 * lag + 1, : 2 * lag + 1]


def significance(image: np.ndarray, difference: np.ndarray) -> float:
    """The largest of the covariances of two images at lags of up to 8 pixels, over the standard error of one."""
    lag = 24
    error = np.sqrt((crossed(image, image, lag) * crossed(difference, difference, lag)).sum() / image.size)
    return float(np.abs(crossed(image, difference, 8)).max() / error)


@pytest.mark.parametrize(("kernels", "ratio"), [(WHITE, 1.0), (WHITE, 0.1), (CORRELATED, 1.0), (CORRELATED, 5.0)])
def test_its_noise_has_no_covariance_with_that_of_the_difference(
    kernels: tuple[np.ndarray, np.ndarray], ratio: float
) -> None:
    """Of 289 lags the largest is below 4.5 errors but once in 500 times. The matched sum of both is far from that."""
    rng = np.random.default_rng(12)
    size, edge = 700, 30
    science, template = (
        fftconvolve(rng.normal(size=(size, size)), by, "same") * sigma
        for by, sigma in zip(kernels, (1.0, ratio**0.5), strict=True)
    )
    matched = fftconvolve(template, KERNEL, "same")
    sides = SpatialKernel.identity(), SpatialKernel.constant(KERNEL)
    field = NoiseField((1.0, ratio), correlations=tuple(correlation(by) for by in kernels))
    found = Likelihood(sides, sides, field).image(Box(0, 0, size, size), science, template)
    assert found is not None
    inner = np.s_[edge:-edge, edge:-edge]
    assert significance(found[inner], (science - matched)[inner]) < 4.5
    assert significance((science + matched)[inner], (science - matched)[inner]) > 20


def test_it_follows_kernel_and_noise_over_the_field() -> None:
    """In each window it is what a constant kernel and ratio, those of its middle, make of it."""
    rng = np.random.default_rng(2)
    images = rng.normal(size=(2, 64, 80))
    coefficients = PolynomialCoefficients(
        np.array([[0.5, -0.4], [0.5, 0.4]]), np.array([[0, 0], [1, 0]]), *2 * [(99, 99)]
    )
    varying = SpatialKernel(np.array([gaussian(15, 1.0), gaussian(15, 1.8)]), coefficients)
    identity = SpatialKernel.identity()
    window = Box(100, 30, 180, 94)
    found, expected = (
        Likelihood((identity, kernel), (identity, kernel), NoiseField((1.0, 3.0))).image(window, *images)
        for kernel in (varying, SpatialKernel.constant(varying.at(139.5, 61.5)))
    )
    assert found is not None
    assert found == pytest.approx(expected, abs=1e-6 * np.abs(expected).max())


def test_no_image_where_there_is_no_noise_to_tell_apart() -> None:
    identity = SpatialKernel.identity()
    noiseless = Likelihood((identity, identity), (identity, identity), NoiseField((0.0, 1.0)))
    assert noiseless.image(Box(0, 0, 20, 20), np.ones((20, 20)), np.ones((20, 20))) is None


@dataclass
class Field:
    """A drizzled pair with stars, and the noise of its difference as the true ψ whitens it."""

    subtraction: Subtraction
    white: np.ndarray
    free: np.ndarray


def field_of(seed: int, size: int = 900) -> Field:
    rng = np.random.default_rng(seed)
    stars = np.zeros((size, size))
    stars[tuple(rng.integers(0, size, (2, 150)))] = 10 ** rng.uniform(2, 4, 150)
    sharp = gaussian_filter(stars, 1.3)
    noise = [fftconvolve(rng.normal(size=(size, size)), by, "same") for by in CORRELATED]
    difference = noise[0] - fftconvolve(noise[1], KERNEL, "same")
    power = [
        np.abs(np.fft.rfft2(by, s=(size, size))) ** 2 * np.abs(np.fft.rfft2(kernel, s=(size, size))) ** 2
        for by, kernel in zip(CORRELATED, (np.ones((1, 1)), KERNEL), strict=True)
    ]
    white = np.fft.irfft2(np.fft.rfft2(difference) / np.sqrt(power[0] + power[1]), s=(size, size))
    subtraction = subtraction_of(
        Exposure((fftconvolve(sharp, KERNEL, "same") + noise[0]).astype("f4"), 1.0, name="science"),
        Exposure((sharp + noise[1]).astype("f4"), 1.0, name="template"),
        Exposure(difference.astype("f4"), name="difference"),
        SpatialKernel.constant(KERNEL),
        Options(noise="measured"),
    )
    return Field(subtraction, white, ~maximum_filter(stars > 0, 41))


def test_the_mask_does_not_bias_the_noise_of_the_difference() -> None:
    """Noise on large scales, as the true ψ whitens it, is the same on the pixels that are used as away from all stars.

    Both have most of their pixels in common. Without the peaks of the smoothed inputs beyond 2.5 σ its scatter would be
    less by 3 %, which is what measured noise then had too much on those scales.
    """
    ratios = []
    for seed in (1, 2, 3):
        field = field_of(seed)
        windows = MODELS["measured"].of(field.subtraction, Options(noise="measured", threads=1), Record()).windows
        assert windows is not None
        smooth = gaussian_filter(field.white, 4.0, mode="wrap")
        smooth[:60] = smooth[-60:] = np.nan
        smooth[:, :60] = smooth[:, -60:] = np.nan
        used = np.zeros(smooth.shape, dtype=bool)
        for window, use in zip(windows.boxes, windows.use, strict=True):
            used[window.slices] |= use
        assert used.mean() > 0.5
        ratios.append(np.nanstd(smooth[used]) / np.nanstd(smooth[field.free]))
    assert np.mean(ratios) == pytest.approx(1, abs=0.01)
