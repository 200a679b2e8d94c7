"""Rows spread over an image, which tell what kind of pixels it has."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from diffim_decorr.geometry import Box
from diffim_decorr.images.planes import Plane

__all__ = ("negative_share", "same_pixels", "sample_rows")

Array = NDArray[Any]

_ROWS = 33
_NEAR_ZERO = 0.01  # of the usual size of a value: what a lossy compression makes of 0
_MOST_CODES = 4  # so few values are marks of something and no scatter


def sample_rows(plane: Plane) -> Array:
    """Pixels (k, nx) of some rows, the first and the last among them."""
    ny, nx = plane.shape
    places = np.unique(np.linspace(0, ny - 1, _ROWS).astype(int))
    return np.concatenate([plane.read(Box(0, y, nx, y + 1)) for y in places])


def same_pixels(one: Plane, other: Plane) -> bool:
    """Whether two images are one and the same, as far as both have data that are not 0."""
    if one.shape != other.shape:
        return False
    mine, its = (sample_rows(plane).astype(np.float32) for plane in (one, other))
    usable = np.isfinite(mine) & np.isfinite(its) & ((mine != 0) | (its != 0))
    return bool(usable.any()) and np.array_equal(mine[usable], its[usable])


def negative_share(plane: Plane) -> float:
    """Share of the pixels of a plane of noise that are negative; values that stand for missing data do not count."""
    values = sample_rows(plane).astype(np.float64).ravel()
    values = values[np.isfinite(values)]
    if not (values < 0).any():
        return 0.0
    usual = float(np.percentile(np.abs(values), 90))  # most may stand for no data
    negative = values[values < -_NEAR_ZERO * usual]
    return 0.0 if len(np.unique(negative)) <= _MOST_CODES else len(negative) / len(values)
