"""Units of pixels, as headers have them (BUNIT)."""

from __future__ import annotations

import warnings

import numpy as np
from astropy.units import CompositeUnit, Unit, UnitBase, UnitConversionError, UnitsWarning, adu

__all__ = ("ratio_of", "squared_unit", "unit_of")

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


def ratio_of(one: str, other: str) -> float | None:
    """How many of another unit one is: 0 if they measure different things, None if one of them is not known."""
    units = [unit_of(text) for text in (one, other)]
    if units[0] is None or units[1] is None:
        return None
    mine, its = (_with_counts_alike(unit) for unit in units if unit is not None)
    try:
        return float(mine.to(its))
    except UnitConversionError:
        return 0.0


def _with_counts_alike(unit: UnitBase) -> UnitBase:
    """Counts of a converter have three names."""
    bases = [adu if base in (Unit("DN"), Unit("ct")) else base for base in unit.bases]
    return CompositeUnit(unit.scale, bases, unit.powers)


def _parsed(text: str) -> UnitBase | None:
    if not text:
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UnitsWarning)
        try:
            unit = Unit(text)
            if not isinstance(unit, UnitBase) or not np.isfinite((unit**2).decompose().scale):
                return None
        except (ValueError, OverflowError):  # also of what has no square among numbers
            return None
    return unit
