"""Cards of an output: which of the difference's are kept, and those of primary headers without pixels."""

from __future__ import annotations

import re
from collections.abc import Container, Iterator
from typing import Any

from astropy.io import fits

from diffim_decorr._version import __version__
from diffim_decorr.images.bunit import squared_unit
from diffim_decorr.images.wcs import AXIS_CARD, WCS_CARD
from diffim_decorr.io.checksum import set_checksum
from diffim_decorr.io.headers import readable_cards

__all__ = (
    "LONG_STRINGS",
    "VERSION_CARD",
    "card_of",
    "empty_primary",
    "kept_cards",
    "unit_cards",
    "wcs_cards",
    "without_pixels",
)

_NO_PIXELS = (
    ("SIMPLE", True, "conforms to FITS standard"),
    ("BITPIX", 8, "array data type"),
    ("NAXIS", 0, "number of array dimensions"),
    ("EXTEND", True, ""),
)
VERSION_CARD = ("DCVERS", __version__, "version of decorr")
LONG_STRINGS = ("LONGSTRN", "OGIP 1.0", "long string values are continued")
_LONGEST_UNIT = 60
# Cards of the difference that would be wrong or misleading about the result, or refer to HDUs that it has not. HOTPANTS
# says of each region how the noise of its pixels, of all good ones and of those in its stamps, compares with what it
# expected; how it made the difference (REGIONnn, CONVOLnn, KSUMnn, ...) is as true of the result.
_DROPPED_CARD = re.compile(
    r"SIMPLE|XTENSION|BITPIX|NAXIS\d*|EXTEND|PCOUNT|GCOUNT|GROUPS|BSCALE|BZERO|BLANK|DATASUM|CHECKSUM|EXTNAME|EXTVER"
    r"|EXTLEVEL|EXTTYPE|INHERIT|MP_.*|MASKVAL|KERINFO|DATAMIN|DATAMAX|T(TYPE|FORM)\d+|TFIELDS|Z(IMAGE|CMPTYPE|BITPIX)"
    r"|(N?X2NRM|DMEANO?|DSIGE?O?|SSSIG|SSSCAT|FSIG|FSCAT)\d\d"
    r"|DC(RHO0|RHO1|RHOX2|SNRSTD|NPIX|BLK\d+|PSFSC|CELL|ABOVE\d|BELOW\d|SPECX2|FLAG|HELD|VERDCT|WHY\d+|EXPLAN|WARN\d+)"
    r"|UTYPE|AR_HDU|WCS_ID|PSF_ID|(CPDIS|CPERR|CQDIS|CQERR|DP|DQ|D2IMDIS|D2IMERR|D2IM)\d.*|D2IMEXT|LONGSTRN"
)


def kept_cards(header: fits.Header | None) -> Iterator[fits.Card]:
    """The difference's cards that are true of the result as well."""
    return (card for card in _inherited(header) if not _DROPPED_CARD.fullmatch(card.keyword))


def wcs_cards(header: fits.Header | None) -> list[fits.Card]:
    """The difference's cards that place the image on the sky."""
    return [card for card in _inherited(header) if WCS_CARD.fullmatch(card.keyword)]


def unit_cards(header: fits.Header | None, squared: bool = False) -> list[fits.Card]:
    """BUNIT of pixels in the difference's unit, or in that squared; nothing if it has none."""
    unit = str((header or {}).get("BUNIT", "")).strip()
    if not unit or len(unit) >= _LONGEST_UNIT:
        return []
    return [fits.Card("BUNIT", squared_unit(unit) if squared else unit)]


def _inherited(header: fits.Header | None) -> Iterator[fits.Card]:
    """The difference's cards, but for axes that the output has not."""
    for card in [] if header is None else _axes_first(list(readable_cards(header))):
        axes = AXIS_CARD.fullmatch(card.keyword)
        if card.keyword.startswith("WCSAXES"):
            yield fits.Card(card.keyword, 2, card.comment)
        elif card.keyword in ("COMMENT", "HISTORY"):
            # Not all that writes these keeps to the standard (4.2.1.1), and terminals obey what it does not allow.
            yield fits.Card(card.keyword, "".join(c if " " <= c <= "~" else "?" for c in str(card.value)))
        elif card.keyword and (axes is None or set(axes.groups()) <= {"1", "2", None}):
            yield card


def _axes_first(cards: list[fits.Card]) -> list[fits.Card]:
    """Cards with WCSAXES before all others of the WCS, as the standard (8.2) has it; it may come from another HDU."""
    axes = [card for card in cards if card.keyword.startswith("WCSAXES")]
    others = [card for card in cards if not card.keyword.startswith("WCSAXES")]
    first = next((k for k, card in enumerate(others) if WCS_CARD.fullmatch(card.keyword)), len(others))
    return others[:first] + axes + others[first:]


def card_of(keyword: str, value: Any, comment: str) -> fits.Card:
    """A card, whose comment is left out where there is no room for it."""
    if isinstance(value, str):
        # What the standard (4.2.1.1) does not allow in a string, such as letters outside ASCII in names of files.
        value = "".join(c if " " <= c <= "~" else c.encode("unicode_escape").decode() for c in value)
    # Keyword, "= ", and at least 20 columns for the value; strings have quotes, and 8 columns between them.
    width = 2 + max(8, len(value.replace("'", "''"))) if isinstance(value, str) else 0
    return fits.Card(keyword, value, comment if 10 + max(20, width) + 3 + len(comment) <= 80 else None)


def without_pixels(inherited: fits.Header | None, own: Container[str] = ()) -> fits.Header:
    """A primary header without pixels, with the difference's cards but for those that will be its own."""
    header = fits.Header([fits.Card(*card) for card in _NO_PIXELS])
    for item in kept_cards(inherited):
        if item.keyword not in own:
            header.append(item, end=True)
    axes = {int(k[5]) for k in header if re.fullmatch(r"CTYPE\d", k)}
    if axes and "WCSAXES" not in header:
        # Without pixels of its own this HDU has to say how many axes its WCS has.
        first = next(k for k in header if WCS_CARD.fullmatch(k))
        header.insert(first, ("WCSAXES", max(axes), "number of WCS axes"))
    return header


def empty_primary() -> bytes:
    """A primary HDU with nothing in it but who wrote it."""
    header = fits.Header([fits.Card(*card) for card in (*_NO_PIXELS, VERSION_CARD)])
    return set_checksum(header, 0)
