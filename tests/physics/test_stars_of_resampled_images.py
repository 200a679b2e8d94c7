"""The variance in stars of resampled images, against the sum over the pixels that there were before."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter
from scipy.signal import fftconvolve

from diffim_decorr import Exposure, Result, decorrelate
from support.kernels import gaussian
from support.warped import Resampled

SIDE, EDGE = 260, 30
KERNEL = gaussian(13, 1.3)
TEMPLATE = 0.3
FWHM = 3.0


def run(image: Resampled, noise: str, interpolated: bool) -> tuple[Result, np.ndarray]:
    """A run on noise as it is with stars on the sky; and its variances before it was resampled."""
    rng = np.random.default_rng(3)
    stars = np.zeros(image.before)
    stars[tuple(rng.integers(60, SIDE, (2, 50)))] = 4000.0 * rng.random(50)
    before = 1 + gaussian_filter(stars, FWHM / 2.3548)
    one, other = image.of(rng.standard_normal(image.before) * np.sqrt(before)), rng.standard_normal((SIDE, SIDE))
    other *= TEMPLATE**0.5
    science = Exposure(one, image.of(before) if interpolated else propagated(image, before), warps=[image.warp])
    difference = Exposure(one - fftconvolve(other, KERNEL, "same"))
    result = decorrelate(science, Exposure(other, TEMPLATE), difference, KERNEL, spatial=True, noise=noise, threads=1)
    return result, before


def propagated(image: Resampled, before: np.ndarray) -> np.ndarray:
    """Variance of each pixel of the image, Σ w² V."""
    squared = Resampled(image.kind, image.degrees, image.shape, image.shift)
    squared.along_x, squared.along_y = image.along_x**2, image.along_y**2
    return squared.of(before)


def exact(image: Resampled, result: Result, before: np.ndarray, x: int, y: int) -> float:
    """Σ_q (Σ_p ψ(x - p) w(p, q))² V(q), and what the template adds."""
    psi = result.decorrelation_kernel.at(x, y)
    middle, half = len(psi) // 2, min(len(psi) // 2, 25)
    psi = psi[middle - half : middle + half + 1, middle - half : middle + half + 1]
    weights, low, many = np.zeros(image.before), image.steps[0], len(image.steps)
    for dy in range(-half, half + 1):
        for dx in range(-half, half + 1):
            here = y - dy, x - dx
            v, u = divmod(int(image.first[here]), image.before[1])
            own = np.outer(image.along_y[:, here[0], here[1]], image.along_x[:, here[0], here[1]])
            weights[v + low : v + low + many, u + low : u + low + many] += psi[half + dy, half + dx] * own
    return float((weights**2 * before).sum() + TEMPLATE * (fftconvolve(psi, KERNEL) ** 2).sum())


def errors(image: Resampled, noise: str, interpolated: bool = False) -> np.ndarray:
    """Relative errors of the variance in and around stars.

    The level was measured, with an error that all pixels share, on the sky as well, and which does not matter here.
    """
    result, before = run(image, noise, interpolated)
    expected = image.of(before)[EDGE:-EDGE, EDGE:-EDGE]
    ratios = []
    for chosen, count in ((expected > 3, 60), (expected < 1.01, 25)):
        there = np.argwhere(chosen) + EDGE
        some = there[np.random.default_rng(4).permutation(len(there))[:count]]
        truth = np.array([exact(image, result, before, int(x), int(y)) for y, x in some])
        ratios.append(result.exposure.variance[some[:, 0], some[:, 1]] / truth)
    assert np.median(ratios[1]) == pytest.approx(1, abs=0.03)
    found: np.ndarray = ratios[0] / np.median(ratios[1]) - 1
    return found


@pytest.mark.parametrize(
    ("kind", "shift", "interpolated"),
    [("bilinear", (0.25, 0.4), False), ("lanczos3", (0.3, 0.2), False), ("bilinear", (0.25, 0.4), True)],
)
def test_a_shift(kind: str, shift: tuple[float, float], interpolated: bool) -> None:
    found = errors(Resampled(kind, 0.0, (SIDE, SIDE), shift=shift), "local", interpolated)
    assert found.std() < 0.02
    assert np.abs(found).max() < 0.08


def test_a_correlation_function_leaves_the_place_open() -> None:
    """Where within a pixel a variance belongs: single pixels are off by half for that."""
    found = errors(Resampled("bilinear", 0.0, (SIDE, SIDE), shift=(0.25, 0.4)), "measured")
    assert 0.1 < found.std() < 0.4


@pytest.mark.parametrize(("kind", "degrees"), [("bilinear", 1.0), ("lanczos3", 0.3)])
def test_a_turn(kind: str, degrees: float) -> None:
    found = errors(Resampled(kind, degrees, (SIDE, SIDE)), "local")
    assert found.std() < 0.03
    assert np.abs(found).max() < 0.1
