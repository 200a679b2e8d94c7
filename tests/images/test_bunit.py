"""Units of pixels."""

from __future__ import annotations

import pytest
from astropy.units import Unit

from diffim_decorr.images.bunit import squared_unit, unit_of


@pytest.mark.parametrize(
    ("text", "squared"),
    [
        ("adu", "adu2"),
        ("ADU", "adu2"),
        ("electron", "electron2"),
        ("electrons", "electron2"),
        ("counts", "count2"),
        ("DN/s", "DN2 s-2"),
        ("MJy/sr", "MJy2 sr-2"),
        ("nJy", "nJy2"),
        ("10**-29 erg/s/cm2/Hz", "10**-58 erg2 Hz-2 s-2 cm-4"),
        ("furlong", "(furlong)**2"),
    ],
)
def test_the_square_of_a_unit(text: str, squared: str) -> None:
    """In the standard's form, which astropy reads back."""
    assert squared_unit(text) == squared
    unit = unit_of(text)
    assert (unit is None) == (text == "furlong")
    if unit is not None:
        assert Unit(squared) == unit**2


@pytest.mark.parametrize("text", ["", "  ", "furlong", "unknown", "7 apples", "1E-300", "1E300", "1E400"])
def test_what_is_no_unit(text: str) -> None:
    assert unit_of(text) is None
