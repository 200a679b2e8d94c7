"""Kernels that cannot be used end in one clear line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits

from support.command import refused
from support.files import INPUTS, SHAPE
from support.spoil import pixels, table, write

NY, NX = SHAPE


def hotpants(**cards: Any) -> Callable[[Path], None]:
    def make(path: Path) -> None:
        column = fits.Column("Region0", "D", array=cards.pop("vector", [0.0, 1.0, 0.0]))
        hdu = fits.BinTableHDU.from_columns([column], name="Convolution Kernel Information")
        values = {"NGAUSS": 1, "DGAUSS1": 0, "SGAUSS1": 1.5, "FWKERN": 9, "CKORDER": 0, "BGORDER": 0, **cards}
        hdu.header.update({key: value for key, value in values.items() if value is not None})
        primary = fits.PrimaryHDU()
        region = {"NREGION": 1, "REGION00": f"[1:{NX},1:{NY}]", "CONVOL00": "TEMPLATE", "KSUM00": 1.0, "PHOTNORM": "i"}
        primary.header.update(region)
        fits.HDUList([primary, hdu]).writeto(path, overwrite=True)

    return make


KERNELS = {
    "missing": (Path.unlink, "no such file"),
    "text": (write(b"1 2 1\n"), "not a FITS file"),
    "NaN": (pixels(np.full((5, 5), np.nan)), "not finite"),
    "one NaN": (pixels([[0, 1, 0], [1, np.nan, 1], [0, 1, 0]]), "not finite"),
    "zero": (pixels(np.zeros((5, 5))), "nothing but zeros"),
    "one axis": (pixels(np.ones(9)), "must be a 2-D image"),
    "an image": (pixels(np.ones((1200, 1200), "f4")), "look like an image"),
    "larger than the images": (pixels(np.ones((NY + 1, 5))), "no matching kernel"),
    "as large as the images": (
        pixels(np.pad([[1.0]], [(NY // 2, NY - 1 - NY // 2), (NX // 2, NX - 1 - NX // 2)])),
        "no matching kernel",
    ),
    "of sum 0": (pixels([[0, 1, 0], [1, -4, 1], [0, 1, 0]]), "sum of the matching kernel is 0, not above 0"),
    "with its sign changed": (pixels([[0, -1, 0], [-1, -4, -1], [0, -1, 0]]), "is -8, not above 0"),
    "cube without positions": (pixels(np.ones((4, 5, 5))), "needs a table with their positions"),
    "a table": (table, "holds no kernel of a known format"),
    "HOTPANTS table of zeros": (hotpants(vector=[0.0, 0.0, 0.0]), "zero"),
    "HOTPANTS table without width": (hotpants(FWKERN=None), "FWKERN"),
    "HOTPANTS table that is short": (hotpants(CKORDER=3, DGAUSS1=4), "kernel.fits"),
    "HOTPANTS width of letters": (hotpants(FWKERN="wide"), "FWKERN"),
}


@pytest.mark.parametrize("defect", KERNELS)
def test_kernel(folder: Path, defect: str) -> None:
    spoil, says = KERNELS[defect]
    spoil(folder / "kernel.fits")
    refused(folder, ("kernel.fits", says), "run", *INPUTS)
