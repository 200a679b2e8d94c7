"""Planes of pixels are read whole and through windows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from diffim_decorr.geometry import Box
from diffim_decorr.images.planes import ArrayPlane, ConstantPlane, FilePlane
from support.pixels import IMAGE, check


def test_planes(path: Path) -> None:
    check(ArrayPlane(IMAGE), IMAGE)
    check(ArrayPlane(np.asfortranarray(IMAGE)), IMAGE)
    check(ConstantPlane(2.5, IMAGE.shape), np.full(IMAGE.shape, 2.5))
    path.write_bytes(b"offset" + IMAGE.astype(">f4").tobytes())
    check(FilePlane(str(path), 6, IMAGE.shape, np.dtype(">f4")), IMAGE)


def test_single_rows_need_no_map(path: Path) -> None:
    """One row alone, and every so many, at the ends of the image too; of scaled integers as well."""
    path.write_bytes(b"offset" + np.arange(63, dtype=">i2").tobytes())
    plane = FilePlane(str(path), 6, (9, 7), np.dtype(">i2"), scale=0.5, zero=1.0)
    whole = np.arange(63).reshape(9, 7) * 0.5 + 1
    assert np.array_equal(plane.read(Box(2, 8, 7, 9)), whole[8:, 2:])
    assert np.array_equal(plane.read_every(Box(1, 0, 6, 9), (4, 2)), whole[::4, 1:6:2])


def test_a_file_that_has_become_shorter(path: Path) -> None:
    path.write_bytes(IMAGE.astype(">f4").tobytes()[:-1])
    plane = FilePlane(str(path), 0, IMAGE.shape, np.dtype(">f4"))
    height, width = IMAGE.shape
    with pytest.raises(OSError, match="shorter"):
        plane.read(Box(0, height - 1, width, height))
