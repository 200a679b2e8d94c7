"""Options of the simulation that cannot be."""

from __future__ import annotations

import dataclasses

import pytest

from diffim_decorr import InputError
from support.simulation import SMALL


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"size": 8}, "size must be .* from 16 to 32768"),
        ({"size": (100, 40000)}, "size must be"),
        ({"kernel_width": 20}, "not odd"),
        ({"kernel_width": 1}, "kernel_width must be .* at least 3"),
        ({"kernel_width": 99}, "more than half of the image"),
        ({"kernel_width": 5}, "too small for a Gaussian"),
        ({"kernel_order": -1}, "kernel_order must be"),
        ({"kernel_variation": 1.0}, "kernel_variation must be"),
        ({"svar": 0.0}, "svar"),
        ({"tvar": float("nan")}, "tvar"),
        ({"gain": 0.0}, "gain"),
        ({"fwhm": 0.1}, "fwhm must be"),
        ({"flux_range": (5.0, 1.0)}, "flux range"),
        ({"stars": -1}, "stars"),
        ({"stars": 3, "variables": 4}, "cannot be variable"),
        ({"seed": -1}, "seed"),
    ],
)
def test_bad_options(change, message):
    with pytest.raises(InputError, match=message):
        dataclasses.replace(SMALL, **change)
