"""Files as LSST's package of 2026 writes them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits

from support.files import image_hdu
from support.pixels import IMAGE, MASK, VARIANCE

__all__ = ("GAUSSIAN", "SCHEMAS", "write_file")

SCHEMAS = "https://images.lsst.io/schemas"
GAUSSIAN = {"schema_url": f"{SCHEMAS}/gaussian_psf-1.0.0", "sigma": 1.7, "stamp_size": 21}


def write_file(path: Path, tree: dict[str, Any] | bytes, *more: Any, model: str = "visit_image-1.4.0") -> Path:
    """Image, mask and variance, a tree of JSON, and the cards of its place in the file."""
    first = fits.PrimaryHDU()
    first.header.update({"FMTVER": 1, "JSONADDR": 7, "INDXADDR": 9, "DATAMODL": f"{SCHEMAS}/{model}"})
    mask = image_hdu(MASK, "MASK", MSKN0000="SATURATED", MSKM0000=1, MSKN0003="DETECTED", MSKM0003=8)
    content = tree if isinstance(tree, bytes) else json.dumps(tree).encode()
    cell = np.empty(1, dtype=object)
    cell[0] = np.frombuffer(content, "u1")
    table = fits.BinTableHDU.from_columns([fits.Column("JSON", "PB()", array=cell)], name="JSON")
    hdus = [first, image_hdu(IMAGE, "IMAGE"), mask, image_hdu(VARIANCE, "VARIANCE"), *more, table]
    fits.HDUList(hdus).writeto(path, overwrite=True)
    return path
