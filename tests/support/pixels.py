"""Small planes of pixels, and whether they are read as they were written."""

from __future__ import annotations

import numpy as np

from diffim_decorr.geometry import Box
from diffim_decorr.images.planes import Plane

__all__ = ("IMAGE", "MASK", "RNG", "SHAPE", "VARIANCE", "WINDOWS", "check")

SHAPE = (23, 31)
WINDOWS = [Box(0, 0, 31, 23), Box(0, 0, 1, 1), Box(30, 22, 31, 23), Box(4, 7, 19, 8), Box(0, 5, 31, 17)]
RNG = np.random.default_rng(11)
IMAGE = RNG.normal(3, 5, SHAPE).astype("f4")
VARIANCE = RNG.uniform(1, 2, SHAPE).astype("f4")
MASK = RNG.integers(0, 64, SHAPE).astype("i4")


def check(plane: Plane | None, expected: np.ndarray) -> None:
    """A plane has these pixels, in any window of it."""
    assert plane is not None
    assert plane.shape == expected.shape
    np.testing.assert_array_equal(plane.read_all(), expected)
    for box in WINDOWS:
        window = plane.read(box)
        assert window.dtype.isnative
        np.testing.assert_array_equal(window, expected[box.slices])
        out = np.empty(box.shape)
        plane.read_into(box, out)
        np.testing.assert_array_equal(out, expected[box.slices].astype(float))
