"""The covariance of resampled noise, against the sums of weights that it is."""

from __future__ import annotations

import numpy as np
import pytest

from diffim_decorr.geometry import Box
from diffim_decorr.images.warps import Warp
from diffim_decorr.noise.phase import PhaseVariance, correlation_of
from support.warped import Resampled

SHAPE = 200, 240


def covariances(image: Resampled, x: np.ndarray, y: np.ndarray, dx: int, dy: int) -> np.ndarray:
    """Of pixels and those that lie a lag further on, by the weights of both."""
    interpolation = image.warp.interpolation
    result = np.ones(len(x))
    for axis in (0, 1):
        one, other = image.places(x, y)[axis], image.places(x + dx, y + dy)[axis]
        pixels = np.floor(one)[:, None] + np.arange(-12, 13)
        result *= (interpolation.weights(one[:, None] - pixels) * interpolation.weights(other[:, None] - pixels)).sum(1)
    return result


@pytest.mark.parametrize(("kind", "degrees"), [("bilinear", 0.3), ("lanczos3", 0.3), ("bilinear", 90.2)])
@pytest.mark.parametrize("lag", [(0, 0), (1, 0), (0, 2), (2, 2), (-1, 2), (2, -1)])
def test_pairs_of_pixels(kind: str, degrees: float, lag: tuple[int, int]) -> None:
    """Beats of 190 pixels are followed; harmonics from the sixth on of a bilinear one are left out."""
    image = Resampled(kind, degrees, SHAPE)
    correlation = correlation_of((image.warp,))
    beat = 1 / (2 * np.sin(np.radians(0.15)))
    assert 28 < correlation.period < 1.1 * beat
    dx, dy = lag
    y, x = (axis.ravel() for axis in np.mgrid[20:180:7, 20:220:7])
    amounts = correlation.kernel.coefficients.at(x + dx / 2, y + dy / 2)
    middle = len(correlation.usual) // 2
    found = correlation.kernel.basis[:, middle + dy, middle + dx] @ amounts
    exact = covariances(image, x, y, dx, dy) / image.warp.interpolation.variances().mean() ** 2
    assert np.abs(found - exact).max() < 0.17
    assert np.sqrt(np.mean((found - exact) ** 2)) < 0.025
    assert np.array_equal(correlation.kernel.basis, correlation.kernel.basis[:, ::-1, ::-1])


def test_beats_that_are_too_short_are_left_out() -> None:
    """At 10 degrees the phase comes round within 6 pixels: what is left is the mean."""
    correlation = correlation_of((Resampled("bilinear", 10.0, SHAPE).warp,))
    assert np.isinf(correlation.period)
    assert len(correlation.kernel.basis) == 1
    assert np.array_equal(correlation.kernel.basis[0], correlation.usual)
    assert correlation.usual[len(correlation.usual) // 2, len(correlation.usual) // 2] == 1


def test_nothing_but_a_shift_is_the_same_everywhere() -> None:
    image = Resampled("bilinear", 0.0, SHAPE, shift=(0.5, 0.0))
    x, y = np.array([10.0, 50.3]), np.array([20.0, 99.0])
    kernel = correlation_of((image.warp,)).kernel
    values = np.tensordot(kernel.coefficients.at(x, y), kernel.basis, axes=(0, 0))
    assert np.allclose(values[0], values[1])
    # Half a pixel off along x: half of the variance is left, and as much covariance with either neighbour.
    middle = len(values[0]) // 2
    assert values[0, middle, middle + 1] / values[0, middle, middle] == pytest.approx(0.5, abs=0.05)
    assert values[0, middle + 1, middle] / values[0, middle, middle] == pytest.approx(0.0, abs=0.05)


def test_coefficients_on_a_grid_and_moved() -> None:
    warps = Resampled("bilinear", 0.5, SHAPE).warp, Resampled("bilinear", -0.4, SHAPE, shift=(0.8, 0.2)).warp
    coefficients = correlation_of(warps).kernel.coefficients
    x, y = np.arange(5.0, 15.0), np.arange(30.0, 36.0)
    xx, yy = (axis.ravel() for axis in np.meshgrid(x, y))
    assert np.allclose(coefficients.grid(x, y).reshape(-1, xx.size), coefficients.at(xx, yy), atol=1e-9)
    moved = coefficients.shifted(7, -3)
    assert np.allclose(moved.at(xx + 7, yy - 3), coefficients.at(xx, yy), atol=1e-9)
    assert "sub-pixel" in coefficients.described


def test_variance_of_each_pixel() -> None:
    image = Resampled("bilinear", 0.7, SHAPE)
    plane = PhaseVariance((image.warp,), SHAPE)
    mean = (2 / 3) ** 2  # of ((1 - t)² + t²) over all phases t, squared for two axes
    box = Box(11, 23, 60, 80)
    assert np.allclose(plane.read(box), image.variance[box.slices] / mean, atol=0.01)
    assert np.array_equal(plane.read_every(box, (3, 2)), plane.read(box)[::3, ::2])
    assert plane.shape == SHAPE


def test_where_one_of_two_images_ends_the_other_stands_alone() -> None:
    """The second has pixels on the right only."""
    one = Resampled("bilinear", 0.7, SHAPE)
    other = Warp.of("bilinear", lambda x, y: (x - 120, y + 0.5), SHAPE, SHAPE)
    both, alone = (PhaseVariance(warps, SHAPE).read(Box(0, 0, 60, 200)) for warps in ((one.warp, other), (one.warp,)))
    assert np.allclose(both, alone, rtol=1e-3)
    half = Box(170, 40, 240, 160)
    right = PhaseVariance((one.warp, other), SHAPE).read(half)
    shifted = 0.5 / (2 / 3) ** 2  # half a pixel off along one axis
    assert np.allclose(right, (PhaseVariance((one.warp,), SHAPE).read(half) + shifted) / 2, atol=0.01)


def test_mean_over_a_part_of_the_field() -> None:
    correlation = correlation_of((Resampled("bilinear", 0.3, SHAPE).warp,))
    box = Box(0, 0, 30, 40)
    x, y = (axis.ravel() for axis in np.meshgrid(np.arange(30.0), np.arange(40.0)))
    exact = np.tensordot(correlation.kernel.coefficients.at(x, y).mean(axis=1), correlation.kernel.basis, axes=1)
    assert np.allclose(correlation.mean_over(box), exact, atol=0.01)
