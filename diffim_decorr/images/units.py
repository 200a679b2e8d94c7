"""Units of pixels, as headers have them (BUNIT)."""

from __future__ import annotations

import warnings

from astropy.units import Unit, UnitBase
from astropy.units.errors import UnitsWarning

__all__ = ("squared_unit", "unit_of")

# What files call these, which is neither in the FITS standard nor known to astropy.
_OTHER_NAMES = {"electrons": "electron", "e-": "electron", "e": "electron", "counts": "ct", "cts": "ct", "dn": "DN"}


def unit_of(text: str) -> UnitBase | None:
    """The unit that a text stands for, or None if it is not known; numbers have none."""
    text = text.strip()
    for name in (text, text.lower(), _OTHER_NAMES.get(text.lower(), "")):
        unit = _parsed(name)
        if unit is not None:
            return unit
    return None


def squared_unit(text: str) -> str:
    """The square of a unit in the form of the FITS standard (4.3), where the unit is known: ``adu2``, ``MJy2 sr-2``."""
    unit = unit_of(text)
    if unit is None:
        return f"({text.strip()})**2"
    squared = unit**2
    try:
        return str(squared.to_string("fits"))
    except ValueError:  # electrons and others, which the standard has no name for
        return str(squared.to_string("generic", fraction=False))


def _parsed(text: str) -> UnitBase | None:
    if not text:
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UnitsWarning)
        try:
            unit = Unit(text)
        except ValueError:
            return None
    return unit if isinstance(unit, UnitBase) else None
