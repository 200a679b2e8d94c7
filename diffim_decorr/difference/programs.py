"""Which program made a difference, by the cards that it left, and what that tells of the difference and its kernel."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ("falls_off_like_a_psf", "program_of", "remedy_for_psf", "whitened_by")

Array = NDArray[Any]

# Cards of differences that were asked to be decorrelated by the program that made them.
_WHITENED = {"DLTDECOR": "delta"}
_REMEDIES = {
    "HOTPANTS": "--kernel DIFF takes the kernel inside the difference (-hki), --kernel FILE that which -oki wrote",
    "SFFT": "--kernel FILE takes the solution that SFFT wrote (FITS_Solution)",
}
# In the kernels of HOTPANTS and SFFT the deepest pixel is at -2 % of the peak or deeper.
_DEEPEST = -0.001
_EDGE = 0.1
_CORE = 0.05
_SMALLEST_CORE = 5  # pixels; less is a delta function, not a PSF


def program_of(header: Mapping[str, Any] | None) -> str | None:
    """HOTPANTS or SFFT, if one of them made the difference of this header."""
    if header is None:
        return None
    if str(header.get("SOFTNAME", "")).strip().upper() == "HOTPANTS" or {"REGION00", "CONVOL00"} <= {*header}:
        return "HOTPANTS"
    if str(header.get("CONVD", "")).strip() in ("REF", "SCI") or {"NAME_REF", "NAME_SCI"} <= {*header}:
        return "SFFT"
    return None


def whitened_by(header: Mapping[str, Any] | None) -> tuple[str, str] | None:
    """The program that was asked to decorrelate the difference, and the card that says so."""
    said = [(program, card) for card, program in _WHITENED.items() if (header or {}).get(card) is True]
    return said[0] if said else None


def falls_off_like_a_psf(image: Array) -> bool:
    """Whether an image (h, w) is nowhere negative and falls off from a core of several pixels, as PSFs do."""
    peak = image.max()
    if not (peak > 0 and image.min() >= _DEEPEST * peak):
        return False
    edge = max(image[0].max(), image[-1].max(), image[:, 0].max(), image[:, -1].max())
    return bool(edge < _EDGE * peak and np.count_nonzero(image > _CORE * peak) >= _SMALLEST_CORE)


def remedy_for_psf(program: str) -> str:
    """What to give instead of a PSF as the kernel of a program's difference."""
    return f"{_REMEDIES[program]}; a PSF is for --psf"
