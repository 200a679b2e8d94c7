"""Variances of pixels before their noise was correlated."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import convolve, gaussian_filter, maximum_filter
from scipy.signal import fftconvolve

from diffim_decorr.geometry import Box
from diffim_decorr.images.planes import ArrayPlane, ConstantPlane
from diffim_decorr.noise.unsmoothed import UnsmoothedVariance, unsmoothed
from support.kernels import gaussian

SHAPE = 120, 130
KERNEL = gaussian(9, 0.7)
MIDDLE = 20


def correlation(kernel: np.ndarray) -> np.ndarray:
    rho = np.zeros((2 * MIDDLE + 1,) * 2)
    rho[MIDDLE, MIDDLE] = 1
    rho = fftconvolve(fftconvolve(rho, kernel, "same"), kernel[::-1, ::-1], "same")
    return rho / rho[MIDDLE, MIDDLE]


def planes(step: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """Variances before and after smoothing, of stars with a FWHM of 3 pixels on sky, which may have a step."""
    rng = np.random.default_rng(1)
    stars = np.zeros(SHAPE)
    stars[tuple(rng.integers(10, 110, (2, 25)))] = 300.0
    before = np.where(np.arange(SHAPE[1]) < 60, 1.0, step) + gaussian_filter(stars, 1.3)
    square = KERNEL**2 / (KERNEL**2).sum()
    return before, convolve(before, square, mode="nearest")


def test_stars_are_as_they_were() -> None:
    """What is left is a second difference of a second difference: the square of what smoothing does to them."""
    before, after = planes()
    found = unsmoothed(ArrayPlane(after), correlation(KERNEL)).read_all()
    bright = before > 3
    smoothed = np.abs(after / before - 1)[bright]
    assert smoothed.max() > 0.15
    assert np.abs(found / before - 1)[bright].max() < 0.3 * smoothed.max()
    assert np.median(np.abs(found / before - 1)[bright]) < 0.35 * np.median(smoothed)


def test_windows_are_parts_of_the_whole() -> None:
    plane = unsmoothed(ArrayPlane(planes(step=2.0)[1].astype(np.float32)), correlation(KERNEL))
    assert isinstance(plane, UnsmoothedVariance)
    whole = plane.read_all()
    assert whole.dtype == np.float32
    # What stands out of the plane is judged window by window, and makes no difference beyond what counts as such.
    for box in (Box(0, 0, 70, 50), Box(40, 30, 130, 120), Box(55, 0, 65, 120)):
        np.testing.assert_allclose(plane.read(box), whole[box.y0 : box.y1, box.x0 : box.x1], rtol=0.02)
    every = plane.read_every(Box(0, 0, 130, 120), (4, 5))
    np.testing.assert_allclose(every, whole[::4, ::5], rtol=0.5)


def test_values_that_are_none_take_no_part() -> None:
    """Neither they nor what is beside them become less than nothing, and a hot pixel does not take its surroundings."""
    variance = np.full(SHAPE, 2.0)
    variance[30, 30], variance[50, 50], variance[70, 70], variance[90, 90] = np.nan, np.inf, 0.0, 1e6
    found = unsmoothed(ArrayPlane(variance), correlation(KERNEL)).read_all()
    assert np.array_equal(found[~(variance == 2.0)][:2], [np.nan, np.inf], equal_nan=True)
    assert found[70, 70] == 0
    assert 1e6 < found[90, 90] <= 2e6
    rest = found[variance == 2.0]
    assert rest.min() >= 1.0
    assert rest.max() <= 4.0
    assert np.mean(rest == 2.0) > 0.95


def test_noise_of_the_plane_is_left_alone() -> None:
    """Nothing has smoothed it, and undoing that would make it more: but stars are undone all the same."""
    scatter = 0.1 * np.random.default_rng(4).standard_normal(SHAPE)
    before, after = planes()
    found = unsmoothed(ArrayPlane(after + scatter), correlation(KERNEL)).read_all()
    quiet = maximum_filter(before > 1.2, 9) == 0
    assert np.mean(found[quiet] != (after + scatter)[quiet]) < 0.01
    bright = before > 10
    assert np.abs(found / before - 1)[bright].mean() < 0.5 * np.abs((after + scatter) / before - 1)[bright].mean()


def test_nothing_to_undo() -> None:
    plane = ArrayPlane(planes()[1])
    assert unsmoothed(plane, correlation(np.ones((1, 1)))) is plane
    constant = ConstantPlane(2.0, SHAPE)
    assert unsmoothed(constant, correlation(KERNEL)) is constant
    assert np.isnan(unsmoothed(ArrayPlane(np.full(SHAPE, np.nan)), correlation(KERNEL)).read_all()).all()
