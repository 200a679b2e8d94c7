"""What figures that are off mean, in plain words."""

from __future__ import annotations

import math
from collections.abc import Iterator

from diffim_decorr.assessment import Assessment
from diffim_decorr.record import Measured

__all__ = ("notes_on",)

_FAR = 5.0
_NOTABLE = 0.1


def notes_on(assessment: Assessment) -> Iterator[str]:
    """Sentences on what stands out, whether or not it matters to the verdict."""
    figures = assessment.figures
    white = not _off(figures.get("max_abs_rho", Measured()), 0.02)
    wide = figures.get("block_std.32", Measured())
    if white and _off(wide, _NOTABLE):
        yield (
            f"Neighbouring pixels are not correlated, but means over 32 x 32 pixels scatter {wide.value:.2f} times as "
            "much as the variance plane says: there is power at large scales, of a background that is left in, of "
            "faint extended sources, or of the detector. Whitening keeps it, for it is in the inputs as it is in the "
            "difference; a background that is subtracted takes it off."
        )
    above, below = (figures.get(f"peaks.{side}_4", Measured()) for side in ("above", "below"))
    if math.isfinite(above.expected) and above.expected + below.expected > 0:
        difference = below.value - above.value
        error = max(below.value + above.value, 1.0) ** 0.5
        if abs(difference) > 4 * error:
            more, less = ("negative", "positive") if difference > 0 else ("positive", "negative")
            side = "template" if difference > 0 else "science image"
            yield (
                f"There are more {more} peaks than {less} ones ({max(below.value, above.value):.0f} and "
                f"{min(below.value, above.value):.0f} beyond 4 sigma): noise knows no sign, so these are defects of "
                f"the {side}, or what was there and is not in the other image."
            )
    for sigma in (5, 4):
        high, low = (figures.get(f"tails.{side}_{sigma}", Measured()) for side in ("above", "below"))
        if _off(high, 1.0) or _off(low, 1.0):
            yield (
                f"Pixels beyond {sigma} sigma are {high.value:.3g} (positive) and {low.value:.3g} (negative) times as "
                "many as in Gaussian noise: residuals of the subtraction, cosmic rays and defects that no mask has."
            )
            break
    spread = figures.get("cell_spread", Measured())
    if _off(spread, 0.02):
        yield (
            f"The scatter differs by {spread.value:.1%} from cell to cell of 64 pixels: the variance plane does not "
            "follow the noise over the field; the map shows where."
        )


def _off(figure: Measured, by: float) -> bool:
    """Whether a figure is off by more than what matters and by more than its error."""
    return abs(figure.value - figure.expected) > by + _FAR * figure.error
