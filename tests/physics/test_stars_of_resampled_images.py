"""The variance in stars of resampled images, against the sum over the pixels that there were before."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter
from scipy.signal import fftconvolve

from diffim_decorr import Exposure, Result, decorrelate
from support.warped import Resampled

SIDE, EDGE = 260, 30
SHIFTED = tuple((np.arange(-6, 7) - by) ** 2 for by in (0.6, -0.4))
KERNEL = np.exp(-(SHIFTED[0][:, None] + SHIFTED[1]) / (2 * 1.3**2))
KERNEL /= KERNEL.sum()
OTHER = 0.3  # variance of the image that was not resampled
FWHM = 3.0


def run(image: Resampled, noise: str, interpolated: bool, template: bool) -> tuple[Result, np.ndarray]:
    """A run on noise as it is with stars on the sky; and the variances before of the image that was resampled."""
    rng = np.random.default_rng(3)
    stars = np.zeros(image.before)
    stars[tuple(rng.integers(60, SIDE, (2, 50)))] = 4000.0 * rng.random(50)
    before = 1 + gaussian_filter(stars, FWHM / 2.3548)
    one, other = image.of(rng.standard_normal(image.before) * np.sqrt(before)), rng.standard_normal((SIDE, SIDE))
    other *= OTHER**0.5
    resampled = Exposure(one, image.of(before) if interpolated else propagated(image, before), warps=[image.warp])
    inputs = (Exposure(other, OTHER), resampled) if template else (resampled, Exposure(other, OTHER))
    difference = Exposure(inputs[0].image - fftconvolve(inputs[1].image, KERNEL, "same"))
    return decorrelate(*inputs, difference, KERNEL, spatial=True, noise=noise, threads=1), before


def propagated(image: Resampled, before: np.ndarray) -> np.ndarray:
    """Variance of each pixel of the image, Σ w² V."""
    squared = Resampled(image.kind, image.degrees, image.shape, image.shift)
    squared.along_x, squared.along_y = image.along_x**2, image.along_y**2
    return squared.of(before)


def exact(image: Resampled, result: Result, before: np.ndarray, x: int, y: int, template: bool) -> float:
    """Σ_q (Σ_p κ'(x - p) w(p, q))² V(q), κ' = ψ or, of a template, ψ ⊗ κ; and what the other image adds."""
    psi = result.decorrelation_kernel.at(x, y)
    matched = fftconvolve(np.pad(psi, len(KERNEL)), KERNEL, "same")
    chain, rest = (matched, psi) if template else (psi, matched)
    middle, half = len(chain) // 2, min(len(chain) // 2, 25)
    chain = chain[middle - half : middle + half + 1, middle - half : middle + half + 1]
    weights, low, many = np.zeros(image.before), image.steps[0], len(image.steps)
    for dy in range(-half, half + 1):
        for dx in range(-half, half + 1):
            here = y - dy, x - dx
            v, u = divmod(int(image.first[here]), image.before[1])
            own = np.outer(image.along_y[:, here[0], here[1]], image.along_x[:, here[0], here[1]])
            weights[v + low : v + low + many, u + low : u + low + many] += chain[half + dy, half + dx] * own
    return float((weights**2 * before).sum() + OTHER * (rest**2).sum())


def errors(image: Resampled, noise: str, interpolated: bool = False, template: bool = False) -> np.ndarray:
    """Relative errors of the variance in and around stars.

    The level was measured, with an error that all pixels share, on the sky as well, and which does not matter here.
    """
    result, before = run(image, noise, interpolated, template)
    expected = image.of(before)[EDGE:-EDGE, EDGE:-EDGE]
    ratios = []
    for chosen, count in ((expected > 3, 60), (expected < 1.01, 25)):
        there = np.argwhere(chosen) + EDGE
        some = there[np.random.default_rng(4).permutation(len(there))[:count]]
        truth = np.array([exact(image, result, before, int(x), int(y), template) for y, x in some])
        ratios.append(result.exposure.variance[some[:, 0], some[:, 1]] / truth)
    assert np.median(ratios[1]) == pytest.approx(1, abs=0.03)
    found: np.ndarray = ratios[0] / np.median(ratios[1]) - 1
    return found


@pytest.mark.parametrize(
    ("kind", "shift", "interpolated"),
    [("bilinear", (0.25, 0.4), False), ("lanczos3", (0.3, 0.2), False), ("bilinear", (0.25, 0.4), True)],
)
@pytest.mark.parametrize("template", [False, True])
def test_a_shift(kind: str, shift: tuple[float, float], interpolated: bool, template: bool) -> None:
    """Of the image that is convolved, too, with a kernel that is not symmetric."""
    found = errors(Resampled(kind, 0.0, (SIDE, SIDE), shift=shift), "local", interpolated, template)
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
