"""Cards of FITS headers."""

from __future__ import annotations

import re
import warnings
from collections.abc import Sequence
from typing import Any

from astropy.io import fits
from astropy.io.fits.verify import VerifyError
from astropy.utils.exceptions import AstropyWarning

from diffim_decorr.errors import InputError

__all__ = ("first_card", "integer_card", "last_card", "parent_origin", "readable_cards")

_CARD = re.compile(r"[A-Z0-9_-]{1,8} *(?<=^.{8})= |HIERARCH ")
_PARENT_CARDS = (("CRVAL1A", 0), ("CRPIX1A", 1), ("CRVAL2A", 0), ("CRPIX2A", 1))


def first_card(headers: Sequence[fits.Header], key: str, default: Any = None) -> Any:
    """The value in the first of several headers that has a card."""
    return next((header[key] for header in headers if key in header), default)


def parent_origin(headers: Sequence[fits.Header], name: str) -> tuple[int, int]:
    """Position of the first pixel in the parent frame of an LSST exposure, (0, 0) where there is none."""
    # The alternative WCS "A" of afw: the parent position of the first pixel (0-based).
    if str(first_card(headers, "CTYPE1A", "")).strip() != "LINEAR":
        return 0, 0
    cards = {key: first_card(headers, key, default) for key, default in _PARENT_CARDS}
    for key, value in cards.items():
        if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < 2**31:
            raise InputError(f"{name}: card {key} = {value!r} is no position in a parent frame")
    x0, y0 = (round(cards[f"CRVAL{k}A"] - (cards[f"CRPIX{k}A"] - 1)) for k in (1, 2))
    return x0, y0


def last_card(header: fits.Header, key: str) -> Any:
    """The last card of that name: programs that copy a header append their own cards to it."""
    return header[key, header.count(key) - 1]


def integer_card(header: fits.Header, key: str, low: int, high: int, where: str) -> int:
    """The whole number in a card.

    Raises
    ------
    InputError
        If the card is missing, or is no whole number from ``low`` to ``high``.
    """
    if key not in header:
        raise InputError(f"{where}: the card {key} is missing")
    value = last_card(header, key)
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise InputError(f"{where}: {key} is {value!r}, not a whole number from {low} to {high}")
    return value


def readable_cards(header: fits.Header) -> list[fits.Card]:
    """The cards that keep to the standard or can be made to, and of repeated keywords the first."""
    cards, seen = [], set()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", AstropyWarning)
        for card in header.cards:
            try:
                # To ask for the text is what makes astropy mend a card.
                keyword, text, _ = card.keyword, str(card), card.value
            except (VerifyError, ValueError):
                continue
            commentary = keyword in ("COMMENT", "HISTORY", "")
            if commentary or (keyword not in seen and _CARD.match(text)):
                seen.add(keyword)
                cards.append(card)
    return cards
