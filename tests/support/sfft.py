"""Solutions of SFFT."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits

__all__ = ("write_solution",)


def write_solution(path: Path, vector: np.ndarray | None = None, **cards: Any) -> Path:
    """A solution of degree 1 with a kernel of 3 x 5 pixels, for images of 60 x 40."""
    count = 3 * 3 * 5 + 1
    hdu = fits.PrimaryHDU((np.random.default_rng(2).normal(size=count) if vector is None else vector)[None])
    hdu.header.update({"N0": 60, "N1": 40, "L0": 3, "L1": 5, "DK": 1, "FPQ": 1})
    for key, value in cards.items():
        if value is None:
            del hdu.header[key]
        else:
            hdu.header[key] = value
    hdu.writeto(path)
    return path
