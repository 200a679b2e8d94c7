"""Files of LSST's package ``lsst.images`` (2026), besides what any file with IMAGE, MASK and VARIANCE has.

The primary header names the schema of what is in the file (``DATAMODL``); all that is no pixels is a tree of JSON, in
the one cell of the table ``JSON``. Its nodes have a ``schema_version`` and a ``min_read_version``, the major version of
the oldest schema whose readers understand it. All of 1.x are read, whatever else is in them.
"""

from __future__ import annotations

import json
import re
from typing import Any

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

from diffim_decorr.errors import InputError
from diffim_decorr.io.hdus import damaged, hdu_label, pick

__all__ = (
    "CONTAINER_CARDS",
    "SchemaError",
    "check_schema",
    "is_lsst_images",
    "refuse_newer",
    "schema_of",
    "tree_of",
    "tree_psf",
)

Array = NDArray[Any]

#: Cards of the primary header that are about the file, and mean nothing in another.
CONTAINER_CARDS = frozenset({"DATAMODL", "FMTVER", "INDXADDR", "INDXSIZE", "JSONADDR", "JSONSIZE"})
_LARGEST_STAMP = 1001
_UNDERSTOOD = "only versions 1.x are understood"


class SchemaError(InputError):
    """A file, or a part of one, of a schema that is not understood."""


def is_lsst_images(hdus: fits.HDUList) -> bool:
    """Whether a file was written by ``lsst.images``."""
    return "DATAMODL" in hdus[0].header and pick(hdus, "EXTNAME", "JSON") is not None


def tree_of(path: str, hdus: fits.HDUList) -> dict[str, Any]:
    """The tree of a file for which `is_lsst_images` holds.

    Raises
    ------
    InputError
        If it is damaged, or no reader of schemas 1.x may read it.
    """
    table = pick(hdus, "EXTNAME", "JSON")
    name = hdu_label(path, hdus, table)
    with damaged(name):
        tree = json.loads(bytes(table.data[0][0]))
    if not isinstance(tree, dict):
        raise InputError(f"{name}: damaged FITS file (its JSON is no tree)")
    check_schema(tree, f"{name}: the tree")
    return tree


def refuse_newer(path: str, hdus: fits.HDUList) -> None:
    """Refuse a file whose planes may mean something else than they do in schemas 1.x.

    Raises
    ------
    SchemaError
        If no reader of schemas 1.x may read it. Of a damaged tree nothing is known.
    """
    model = str(hdus[0].header["DATAMODL"]).strip()
    if _major(model.rpartition("-")[2]) > 1:
        raise SchemaError(f"{path}: is of schema {model.rpartition('/')[2]}; {_UNDERSTOOD}")
    try:
        tree_of(path, hdus)
    except SchemaError:
        raise
    except InputError:
        return


def check_schema(node: dict[str, Any], what: str) -> None:
    """Refuse a node of a tree that readers of schemas 1.x cannot read.

    Raises
    ------
    SchemaError
        If its major version, or the oldest version whose readers understand it, is another.
    """
    oldest, version = node.get("min_read_version", 1), str(node.get("schema_version", "1.0.0"))
    if oldest != 1 or _major(version) != 1:
        raise SchemaError(f"{what} is of schema {schema_of(node) or 'version'} {version}; {_UNDERSTOOD}")


def _major(version: str) -> int:
    """The major version, 1 where none is said."""
    match = re.match(r"(\d+)(\.|$)", version)
    return int(match.group(1)) if match else 1


def schema_of(node: dict[str, Any]) -> str:
    """The name of a node's schema, without its version, as in ``gaussian_psf``."""
    return str(node.get("schema_url", "")).rpartition("/")[2].rpartition("-")[0]


def tree_psf(tree: dict[str, Any], name: str) -> Array | None:
    """The PSF in a tree, as an image with a sum of 1; None if there is none.

    Raises
    ------
    InputError
        If it is of a kind that is not understood.
    """
    node = tree.get("psf")
    if not isinstance(node, dict):
        return None
    check_schema(node, f"{name}: the PSF")
    if schema_of(node) != "gaussian_psf":
        raise InputError(f"{name}: its PSF is a {schema_of(node) or 'model'}, of which only gaussian_psf is understood")
    sigma, size = node.get("sigma"), node.get("stamp_size")
    if not (isinstance(sigma, int | float) and 0 < sigma < np.inf):
        raise InputError(f"{name}: its PSF is a Gaussian of sigma {sigma!r}")
    if not (isinstance(size, int) and 0 < size <= _LARGEST_STAMP and size % 2):
        raise InputError(f"{name}: its PSF is an image of {size!r} x {size!r} pixels")
    profile = np.exp(-0.5 * ((np.arange(size) - size // 2) / sigma) ** 2)
    image: Array = np.outer(profile, profile) / profile.sum() ** 2
    return image
