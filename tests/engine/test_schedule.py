"""Rows of tiles on their way to a file: each pixel once, in memory that is used again."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from diffim_decorr.engine.schedule import work_on_tiles
from diffim_decorr.engine.tiles import FieldTiling
from diffim_decorr.geometry import Box

_SHAPE = 4096, 1100


class _Numbered:
    """Gives each pixel its number."""

    bytes_each = bytes_kept = 0

    def __init__(self) -> None:
        self.tiling = FieldTiling(_SHAPE, [Box(0, 0, _SHAPE[1], _SHAPE[0])], [24])

    def held(self, row: list[tuple[Box, int | None]]) -> list[Any]:
        return []

    def __call__(self, tile: Box, part: int | None, image: Any, mask: Any, variance: Any) -> None:
        y, x = np.mgrid[tile.slices]
        mask[...] = y * _SHAPE[1] + x
        image[...], variance[...] = x, y


class _File:
    """Takes rows as they come, and keeps where in memory they were."""

    def __init__(self) -> None:
        self.mask = np.zeros(_SHAPE, np.int32)
        self.places: set[int] = set()
        self.heights: set[int] = set()

    def rows(self, y0: int, y1: int) -> None:
        return None

    def write(self, y0: int, image: Any, mask: Any, variance: Any) -> None:
        self.places.add(image.__array_interface__["data"][0])
        self.heights.add(len(image))
        for plane in (image, mask, variance):
            assert plane.flags.c_contiguous
        assert (variance == np.arange(y0, y0 + len(image))[:, None]).all()
        assert (image == np.arange(_SHAPE[1])).all()
        self.mask[y0 : y0 + len(mask)] = mask


@pytest.mark.parametrize("threads", [1, 2])
def test_rows_of_different_heights_share_memory(threads: int) -> None:
    """There is no more of it than there are threads."""
    file = _File()
    work_on_tiles(_Numbered(), file, threads, 10**9)
    np.testing.assert_array_equal(file.mask.ravel(), np.arange(file.mask.size))
    assert len(file.heights) > 1
    assert len(file.places) <= threads
