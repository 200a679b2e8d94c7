"""Interpolations, and what they make of white noise."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.interpolate import make_interp_spline

from diffim_decorr.images.warps import Interpolation, Warp
from support.warped import Resampled

EVERY = [Interpolation(kind) for kind in ("bilinear", "lanczos3", "lanczos4", "cubic")]
EVERY += [Interpolation("drizzle", 0.6, 0.8), Interpolation("drizzle", 1.0, 1.0)]
PHASES = np.random.default_rng(1).random(50)
PIXELS = np.arange(-12, 13)


@pytest.mark.parametrize("interpolation", EVERY, ids=str)
def test_weights_add_up_to_one(interpolation: Interpolation) -> None:
    weights = interpolation.weights(PHASES[:, None] - PIXELS)
    assert np.allclose(weights.sum(axis=1), 1, atol=1e-12)
    assert np.all(interpolation.weights(np.array([-interpolation.reach, interpolation.reach]) * 1.0001) == 0)


@pytest.mark.parametrize("interpolation", EVERY[:4], ids=str)
def test_at_a_pixel_an_interpolation_is_that_pixel(interpolation: Interpolation) -> None:
    assert np.allclose(interpolation.weights(PIXELS.astype(float)), PIXELS == 0, atol=2e-3)


def test_cubic_is_the_spline_through_the_pixels() -> None:
    noise = np.random.default_rng(2).normal(size=60)
    spline = make_interp_spline(np.arange(60), noise, k=3)
    places = 30 + PHASES
    weights = Interpolation("cubic").weights(places[:, None] - np.arange(60))
    # What the filter of the spline has beyond 6 pixels.
    assert np.allclose(weights @ noise, spline(places), atol=3e-3)


@pytest.mark.parametrize("interpolation", EVERY, ids=str)
@pytest.mark.parametrize("distance", [0.0, 0.37, 1.0, 1.6])
def test_amplitudes_are_those_of_the_covariance(interpolation: Interpolation, distance: float) -> None:
    """Of the phases, which they are the Fourier series of; of a drizzle, whose edges are sharp, it converges slowly."""
    one, other = (interpolation.weights(PHASES[:, None] + sign * distance / 2 - PIXELS) for sign in (-1, 1))
    amplitudes = interpolation.amplitudes(60, np.array([distance]))[:, 0]
    waves = np.cos(2 * np.pi * np.arange(60) * PHASES[:, None])
    series = 2 * waves @ amplitudes - amplitudes[0]
    assert np.allclose(series, (one * other).sum(axis=1), atol=5e-3)


@pytest.mark.parametrize("kind", ["bilinear", "lanczos3"])
def test_variances(kind: str) -> None:
    image = Resampled(kind, 1.0, (60, 80))
    table = image.warp.interpolation.variances()
    assert np.allclose(table, np.interp(np.arange(1024) / 1024, np.linspace(0, 1, 1025), [*table, table[0]]))
    u, v = (np.rint(place * 1024).astype(int) % 1024 for place in (image.u, image.v))
    assert np.allclose(table[u] * table[v], image.variance, atol=2e-3)


def test_places() -> None:
    image = Resampled("bilinear", 3.0, (90, 120), scale=1.1)
    y, x = np.mgrid[:90, :120]
    warp = image.warp
    assert np.allclose(warp.places.at(x.ravel(), y.ravel()), [image.u.ravel(), image.v.ravel()], atol=1e-9)
    assert warp.scale == pytest.approx(1.1)
    turned = 1.1 * np.array([[np.cos(0.05236), -np.sin(0.05236)], [np.sin(0.05236), np.cos(0.05236)]])
    assert np.allclose(warp.middle, turned, atol=1e-5)
    assert np.allclose(warp.jacobian_on(np.arange(3.0), np.arange(2.0)), turned[..., None, None], atol=1e-5)
    moved = warp.shifted(10, 5)
    assert np.allclose(moved.places.at(30.0, 25.0), warp.places.at(20.0, 20.0))
    assert "bilinear" in repr(warp)


def test_inside() -> None:
    warp = Warp.of("bilinear", lambda x, y: (x - 20, y + 0.5), (60, 60), (40, 50))
    x, y = np.array([19.0, 20.0, 20.0, 58.0]), np.array([5.0, 5.0, 39.0, 5.0])
    assert list(warp.inside(x, y)) == [False, True, False, True]
    assert not warp.inside(x, y, margin=30).any()
