"""The noise of one image as it was measured."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

__all__ = ("MeasuredNoise", "plateau_warning")

Array = NDArray[Any]

# A plateau of the covariance at large lags comes from structure, not from noise; above this fraction of the variance
# it is doubtful what the rest comes from.
_HIGH_PLATEAU = 0.3


@dataclass(frozen=True, eq=False)
class MeasuredNoise:
    """Noise of one image.

    Parameters
    ----------
    variance
        Of the background noise, in the image's unit squared.
    correlation
        Correlation function (2 l + 1, 2 l + 1), 1 in the middle, which goes to 0 at the border.
    plateau
        What was taken off at large lags, relative to the variance.
    pixels
        Number of source-free pixels.
    source
        What it was measured on.
    """

    variance: float
    correlation: Array
    plateau: float
    pixels: int
    source: str = "its pixels"


def plateau_warning(name: str, noise: MeasuredNoise) -> str | None:
    """A sentence where structure cannot be told from noise."""
    if noise.plateau <= _HIGH_PLATEAU:
        return None
    return (
        f"{name}: the correlation at large lags is {noise.plateau:.0%} of the noise variance, so that noise cannot "
        "well be told from structure; mask extended sources, subtract the background, or use --noise white"
    )
