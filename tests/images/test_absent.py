"""Which pixels hold no data."""

from __future__ import annotations

import numpy as np
import pytest

from diffim_decorr import Exposure
from diffim_decorr.images.absent import Fill, absent, area_fill
from diffim_decorr.images.planes import ArrayPlane

SHAPE = (600, 700)
EMPTY = slice(100, 180), slice(300, 420)


def sky(kind: str) -> np.ndarray:
    """Pixels of which some, or most, are 0 by chance."""
    rng = np.random.default_rng(8)
    noise = rng.normal(size=SHAPE)
    return {
        "floats": lambda: noise,
        "integers": lambda: np.rint(3 * noise),
        "few integers": lambda: np.rint(0.5 * noise),
        "clipped": lambda: np.maximum(noise, 0),
        "photons": lambda: rng.poisson(0.3, SHAPE).astype(float),
    }[kind]().astype("f4")


@pytest.mark.parametrize("kind", ["floats", "integers", "few integers", "clipped", "photons"])
def test_zeros_of_an_area_are_missing_and_those_of_chance_are_not(kind: str) -> None:
    image = sky(kind)
    assert Exposure(image).absent(image) is None
    image[EMPTY] = 0
    found = Exposure(image).absent(image)
    assert found is not None
    assert found[EMPTY].all()
    # Zeros of chance that touch the area go with it: a few rows around it, and nowhere farther than a square is wide.
    assert found.sum() <= (80 + 2 * 4) * (120 + 2 * 4)
    far = 4 + Exposure(image).fills[0].area
    found[EMPTY[0].start - far : EMPTY[0].stop + far, EMPTY[1].start - far : EMPTY[1].stop + far] = False
    assert not found.any()


def test_single_zeros_and_lines_of_two_are_data() -> None:
    image = sky("floats")
    image[50, 60] = 0
    image[80:82, :200] = 0
    assert Exposure(image).absent(image) is None


def test_where_zeros_are_the_rule_they_are_data() -> None:
    """Events of a photon counter, or a simulated source without noise."""
    image = np.zeros(SHAPE, "f4")
    image[300:310, 200:210] = 5
    assert Exposure(image).fills == ()
    assert Exposure(np.zeros(SHAPE, "f4")).fills == ()


def test_a_value_that_data_never_have_is_missing_wherever_it_is() -> None:
    image = sky("floats")
    image[10, 20], image[30, 40], image[50, 60] = 1e-30, -1e-30, 0
    found = Exposure(image, missing_value=1e-30).absent(image)
    assert found is not None
    assert sorted(zip(*np.nonzero(found), strict=True)) == [(10, 20), (30, 40)]


def test_one_that_was_moved_by_a_compression_is_near() -> None:
    image = sky("floats")
    image[EMPTY] = np.random.default_rng(2).uniform(-0.02, 0.02, image[EMPTY].shape)
    fill = area_fill(ArrayPlane(image), 0.0, 0.02)
    assert fill is not None
    assert fill.area > 1
    found = fill.found(image)
    assert found is not None
    assert found[EMPTY].all()
    assert found.sum() < 1.02 * found[EMPTY].size


def test_ragged_borders_of_an_area_belong_to_it() -> None:
    """A masked disc whose rim is one pixel wide in places."""
    image = np.rint(3 * np.random.default_rng(4).normal(size=SHAPE)).astype("f4")
    y, x = np.indices(SHAPE)
    disc = np.hypot(x - 350, y - 300) < 12.3
    disc[300, 363:366] = True
    image[image == 0] = 1
    image[disc] = 0
    found = Exposure(image).absent(image)
    np.testing.assert_array_equal(found, disc)


def test_what_is_not_finite() -> None:
    pixels = np.array([[1.0, np.nan, np.inf, -np.inf, 0.0]], "f4")
    found = absent(pixels, [Fill(7.0)])
    assert found is not None
    assert found.tolist() == [[False, True, True, True, False]]
    assert absent(pixels[:, :1], [Fill(7.0)]) is None
