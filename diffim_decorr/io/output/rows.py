"""Images of an output that are made and written a few rows at a time, so that memory does not grow with them."""

from __future__ import annotations

from typing import Any

import numpy as np
from astropy.io import fits

from diffim_decorr.geometry import Box
from diffim_decorr.images.mesh import Mesh
from diffim_decorr.io.atomic import Draft
from diffim_decorr.io.checksum import add_words, fold, set_checksum
from diffim_decorr.io.output.cards import unit_cards, wcs_cards

__all__ = ("write_image",)

_ROWS = 256


def write_image(
    draft: Draft,
    name: str,
    mesh: Mesh,
    inherited: fits.Header | None,
    version: int | None = None,
    *,
    unit: bool = True,
) -> None:
    """Write an image extension (float32) of a function of the field, with the WCS of a header.

    Parameters
    ----------
    draft
        The file, to whose end it goes.
    name, version
        EXTNAME, and EXTVER if there are several.
    mesh
        The function.
    inherited
        Header of the difference.
    unit
        Whether the pixels have its unit; else they have none.
    """
    ny, nx = mesh.shape
    cards: list[tuple[str, Any, str]] = [
        ("XTENSION", "IMAGE", "Image extension"),
        ("BITPIX", -32, "array data type"),
        ("NAXIS", 2, "number of array dimensions"),
        ("NAXIS1", nx, ""),
        ("NAXIS2", ny, ""),
        ("PCOUNT", 0, "number of parameters"),
        ("GCOUNT", 1, "number of groups"),
        ("EXTNAME", name, "extension name"),
        *([] if version is None else [("EXTVER", version, "extension version")]),
    ]
    header = fits.Header([*(fits.Card(*card) for card in cards), *wcs_cards(inherited)])
    if unit:
        header.extend(unit_cards(inherited))
    head = draft.claim(len(set_checksum(header, 0)))
    data, total = draft.claim(4 * ny * nx), 0
    for y0 in range(0, ny, _ROWS):
        rows = mesh.within(Box(0, y0, nx, min(y0 + _ROWS, ny))).astype(np.float32)
        total += add_words(rows)
        draft.put(data + 4 * y0 * nx, rows.byteswap(inplace=True).data.cast("B"))
    draft.reserve()
    draft.put(head, set_checksum(header, fold(total)))
