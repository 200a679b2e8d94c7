"""With what weights resampled noise was made, and how variances go through them."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from diffim_decorr.geometry import Box
from diffim_decorr.images.planes import ArrayPlane, ConstantPlane
from diffim_decorr.noise.response import Response, moved
from diffim_decorr.noise.unsmoothed import UnsmoothedByPhase, unsmoothed
from support.warped import Resampled

SHAPE = 120, 150


def response_of(image: Resampled, interpolated: bool = False) -> Response:
    response = Response.of(image.warp, interpolated)
    assert response is not None
    return response


def smoothed(image: Resampled) -> np.ndarray:
    """Variances of stars, in units of what resampling leaves of those of white noise."""
    stars = np.zeros(image.before)
    stars[tuple(np.random.default_rng(1).integers(50, 130, (2, 25)))] = 500.0
    before = 1 + gaussian_filter(stars, 1.3)
    squared = Resampled(image.kind, image.degrees, image.shape, image.shift)
    squared.along_x, squared.along_y = image.along_x**2, image.along_y**2
    variances: np.ndarray = squared.of(before) / image.variance
    return variances


@pytest.mark.parametrize(("kind", "degrees"), [("bilinear", 0.4), ("lanczos3", 0.0)])
def test_weights_are_those_of_the_pixels_before(kind: str, degrees: float) -> None:
    image = Resampled(kind, degrees, SHAPE, shift=(0.35, -0.2))
    response = response_of(image)
    y, x = 20, 33
    phase = response.phases(np.array([float(x)]), np.array([float(y)]))
    u = image.places(np.array(x), np.array(y))[0]
    assert phase[0, 0] == pytest.approx(float(u - np.rint(u)), abs=1e-3)
    # Of a convolution: the weight at m is that of the pixel m before the nearest.
    found = response.along(phase[0])[0, ::-1] * image.warp.interpolation.variances().mean() ** 0.5
    nearest = int(np.rint(u)) - int(np.floor(u))
    expected = dict(zip([step - nearest for step in image.steps], image.along_x[:, y, x], strict=True))
    steps = range(-response.reach, response.reach + 1)
    assert found == pytest.approx([expected.get(step, 0.0) for step in steps], abs=2e-3)
    on_grid = response.phases_on(np.arange(5.0), np.arange(7.0))
    assert on_grid[:, 6, 4] == pytest.approx(response.phases(np.array([4.0]), np.array([6.0]))[:, 0], abs=1e-6)


def test_pixels_that_have_no_phase_in_common() -> None:
    assert Response.of(Resampled("bilinear", 3.0, SHAPE).warp, False) is None
    assert Response.of(Resampled("bilinear", 90.0, SHAPE).warp, False) is None
    assert Response.of(Resampled("bilinear", 0.0, SHAPE, scale=1.1).warp, False) is None


def test_moved_between_pixels() -> None:
    image = np.zeros((2, 5, 7))
    image[:, 2, 3] = 1
    found = moved(image, np.array([[0.25, -0.5], [0.0, 0.4]]))
    assert found.sum(axis=(1, 2)) == pytest.approx(1)
    assert found[0, 2, 3:5] == pytest.approx([0.75, 0.25])
    assert found[1, 2:4, 2:4] == pytest.approx(np.outer([0.6, 0.4], [0.5, 0.5]))


@pytest.mark.parametrize(
    ("kind", "degrees", "shift"),
    [("bilinear", 0.0, (0.3, 0.45)), ("bilinear", 0.5, (0.3, 0.1)), ("lanczos3", 0.5, (0.3, 0.1))],
)
def test_what_was_smoothed_is_found_again(kind: str, degrees: float, shift: tuple[float, float]) -> None:
    """Smoothed once more by what smoothed it, it is the plane that there is."""
    image = Resampled(kind, degrees, SHAPE, shift=shift)
    after = smoothed(image)
    response = response_of(image)
    plane = unsmoothed(ArrayPlane(after), np.ones((1, 1)), response)
    assert isinstance(plane, UnsmoothedByPhase)
    found = plane.read_all()
    y, x = (np.arange(n, dtype=float) for n in SHAPE)
    across, down = (response.smoothing_at(phase) for phase in response.phases_on(x, y))
    reach = len(across) // 2
    again = np.zeros(SHAPE)
    for j in range(-reach, reach + 1):
        for i in range(-reach, reach + 1):
            again += down[j + reach] * across[i + reach] * np.roll(found, (-j, -i), axis=(0, 1))
    inside = np.s_[10:-10, 10:-10]
    bright = after[inside] > 3
    assert bright.sum() > 300
    before = np.abs(found / after - 1)[inside][bright]
    left = np.abs(again / after - 1)[inside][bright]
    assert before.max() > 0.3  # there was something to be undone
    assert left.max() < 0.06
    assert left.mean() < 0.01


def test_windows_are_parts_of_the_whole_and_unknown_values_stay() -> None:
    image = Resampled("bilinear", 0.5, SHAPE)
    after = smoothed(image)
    after[60, 70], after[61, 90], after[40, 40] = np.nan, 0.0, np.inf
    plane = unsmoothed(ArrayPlane(after.astype(np.float32)), np.ones((1, 1)), response_of(image))
    whole = plane.read_all()
    assert whole.dtype == np.float32
    assert np.isnan(whole[60, 70])
    assert whole[61, 90] == 0
    assert np.isinf(whole[40, 40])
    rest = np.isfinite(whole) & (whole > 0)
    assert rest.sum() == rest.size - 3
    for box in (Box(0, 0, 90, 70), Box(40, 30, 150, 120), Box(60, 0, 75, 120)):
        np.testing.assert_allclose(plane.read(box), whole[box.y0 : box.y1, box.x0 : box.x1], rtol=0.02)
    np.testing.assert_allclose(plane.read_every(Box(0, 0, 150, 120), (4, 5)), after[::4, ::5], rtol=1e-6)
    flat = ArrayPlane(np.full(SHAPE, 2.0))
    assert np.array_equal(unsmoothed(flat, np.ones((1, 1)), response_of(image)).read_all(), flat.read_all())
    constant = ConstantPlane(2.0, SHAPE)
    assert unsmoothed(constant, np.ones((1, 1)), response_of(image)) is constant
