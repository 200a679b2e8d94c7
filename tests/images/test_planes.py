"""Planes of pixels are read whole and through windows."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from diffim_decorr.images.planes import ArrayPlane, ConstantPlane, FilePlane
from support.pixels import IMAGE, check


def test_planes(path: Path) -> None:
    check(ArrayPlane(IMAGE), IMAGE)
    check(ArrayPlane(np.asfortranarray(IMAGE)), IMAGE)
    check(ConstantPlane(2.5, IMAGE.shape), np.full(IMAGE.shape, 2.5))
    path.write_bytes(b"offset" + IMAGE.astype(">f4").tobytes())
    check(FilePlane(str(path), 6, IMAGE.shape, np.dtype(">f4")), IMAGE)
