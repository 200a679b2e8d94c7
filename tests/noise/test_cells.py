"""The noise of an image in cells of the field."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from diffim_decorr import Exposure
from diffim_decorr.noise.cells import Squares, correlation_in_cells, finer, squares_of, variation_of
from diffim_decorr.noise.halves import Halves
from diffim_decorr.noise.local_correlation import LocalCorrelation, LocalVariance
from diffim_decorr.noise.windows import SourceFreeWindows

SIDE = 512
SIGMA = 0.7


def shares(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Of the smooth noise in the variance."""
    return 0.5 + 0.5 * np.sin(2 * np.pi * x / SIDE) * np.cos(np.pi * y / SIDE)


def blended(rng: np.random.Generator) -> np.ndarray:
    """White noise here, smooth noise there."""
    y, x = np.mgrid[:SIDE, :SIDE]
    smooth = gaussian_filter(rng.standard_normal((SIDE, SIDE)), SIGMA, mode="wrap")
    share = shares(x, y)
    return np.sqrt(1 - share) * rng.standard_normal((SIDE, SIDE)) + np.sqrt(share) * smooth / smooth.std()


def measured(image: np.ndarray) -> tuple[Squares, LocalCorrelation | None]:
    exposure = Exposure(image)
    windows = SourceFreeWindows([exposure, Exposure(np.random.default_rng(0).standard_normal(image.shape))], (), 1)
    usual = windows.measure(exposure).correlation
    sizes = finer(Halves.of(image.shape).size, usual)
    several = [squares_of(windows.scaled(exposure), size, 1) for size in sizes]
    return several[0], correlation_in_cells(several, usual, image.shape)


@pytest.mark.parametrize("sigma", [0.0, 1.0, 2.0])
def test_what_is_the_same_everywhere_does_not_vary(sigma: float) -> None:
    """Of fields of noise, white or not, none seems to vary."""
    for seed in range(6):
        noise = np.random.default_rng(seed).standard_normal((400, 450))
        squares, local = measured(gaussian_filter(noise, sigma, mode="wrap") if sigma else noise)
        variation = variation_of(squares)
        assert variation is not None
        assert not variation.notable
        assert local is None


def test_what_varies_is_followed() -> None:
    squares, local = measured(blended(np.random.default_rng(1)))
    variation = variation_of(squares)
    assert variation is not None
    # The share has a standard deviation of 1/4 over the field, of which cells of a quarter of its period see 0.8 or so.
    smooth = gaussian_filter(np.random.default_rng(0).standard_normal((2000, 2000)), SIGMA, mode="wrap")
    near = float((smooth * np.roll(smooth, 1, axis=1)).mean() / smooth.var())
    assert variation.notable
    assert variation.lag in ((0, 1), (1, 0))
    assert 0.6 < variation.rms / (near / 4) < 1
    assert "correlation of its noise varies" in str(variation)
    assert local is not None
    middle = len(local.usual) // 2
    places = np.array([(x, y) for x in (64, 192, 320, 448) for y in (64, 192, 320, 448)], dtype=float).T
    found = local.kernel.sample(*places)[:, middle, middle + 1]
    # Statistical errors of one cell are 0.01; the rest is what a cell does not see.
    assert np.abs(found - near * shares(*places)).max() < 0.12
    assert np.corrcoef(found, shares(*places))[0, 1] > 0.98
    # What was followed does not vary any more.
    left = variation_of(squares.without(local))
    assert left is not None
    assert left.rms < variation.rms / 2


def test_variance_that_varies() -> None:
    x = np.arange(SIDE)
    noise = np.random.default_rng(2).standard_normal((SIDE, SIDE)) * np.sqrt(1 + x / SIDE)
    squares, local = measured(noise)
    variation = variation_of(squares)
    assert variation is not None
    assert variation.lag == (0, 0)
    assert "besides what its variance plane tells" in str(variation)
    # Of 1 … 2 over its mean, the standard deviation; cells see all of it but 1/16.
    assert variation.rms == pytest.approx(1 / np.sqrt(12) / 1.5 * np.sqrt(15 / 16), rel=0.1)
    assert local is not None
    plane = LocalVariance(local, noise.shape)
    assert plane.shape == noise.shape
    row = plane.read_all()[256]
    assert row[448] / row[64] == pytest.approx((1 + 448 / SIDE) / (1 + 64 / SIDE), rel=0.08)


def test_too_few_squares_tell_nothing() -> None:
    squares, local = measured(np.random.default_rng(3).standard_normal((64, 64)))
    assert variation_of(squares) is None
    assert local is None


@pytest.mark.parametrize(("sigma", "sizes"), [(0.1, [64, 32, 16]), (1.0, [64, 32, 16]), (2.0, [64, 32]), (4.0, [64])])
def test_squares_are_larger_than_noise_reaches(sigma: float, sizes: list[int]) -> None:
    """Of noise smoothed with σ the root of Σρ² is 2.5 σ; four times that is the least."""
    y, x = np.mgrid[-40:41, -40:41]
    assert finer(64, np.exp(-(x**2 + y**2) / (4 * sigma**2))) == sizes
    assert finer(20, np.ones((1, 1))) == [20]
