"""The scatter of noise whose pixels may be alike, skewed, or stand for no data.

Quantiles of integers are integers, and half of the pixels of a quiet detector have one value; photon noise is skewed,
so that the half below the level scatters less than the whole; and what has no data is filled with one number.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from diffim_decorr.images.absent import MOST_TIES, tie_step

__all__ = (
    "Scatter",
    "fill_value",
    "is_coarse",
    "level_of",
    "mean_level",
    "median",
    "scatter_of",
    "spread_ties",
    "standard_deviation",
)

Array = NDArray[Any]

_CLIP = 4.0
_TENTHS = 2.563  # between the first and the last tenth of a Gaussian, in σ
_WITHIN = 0.998932  # of a Gaussian's variance, within that
_PASSES = 6
_SAMPLE = 16_384
# Of photon noise with 50 electrons the lower half scatters less than the whole by 4 %. What is more than that is faint
# sources, which only the upper half has.
_MOST_SKEWED = 1.04
_FILLED = 0.01  # one value in so many pixels stands for no data ...
_NEIGHBOUR = 0.02  # ... unless the next one has this share of it


def median(values: Array) -> float:
    """The median of some values (k,), at least one and none of them NaN: that of numpy, but ten times as fast.

    Its own partitions at two places and looks for NaN besides, for which there are no vector instructions.
    """
    half = len(values) // 2
    parted = np.partition(values, half)
    if len(values) % 2:
        return float(parted[half])
    return float((parted[:half].max() + parted[half]) / 2)


def is_coarse(values: Array) -> bool:
    """Whether the step between the values (k,) that pixels can have matters for quantiles."""
    step = tie_step(values)
    return step > 0 and bool(standard_deviation(values) < 4 * step)


def level_of(values: Array) -> float:
    """The level of noise (k,): the median of every so many, or where half of the pixels may have one value, the mean.

    NaN of none. Of Gaussian noise it is right to about 1 % of its scatter.
    """
    some = values[:: 1 + len(values) // _SAMPLE].astype(np.float64)
    if not len(some):
        return float("nan")
    return mean_level(some) if is_coarse(some) else median(some)


def mean_level(values: Array) -> float:
    """The mean of noise (k,) within 4 σ: the level to 1/√k of the scatter."""
    some = values[:: 1 + len(values) // _SAMPLE]
    centre, sigma = median(some), max(standard_deviation(some, whole=True), tie_step(some))
    return float(np.mean(values[np.abs(values - centre) <= _CLIP * sigma], dtype=np.float64))


def fill_value(values: Array) -> float | None:
    """The one value that too many of some pixels (k,) have for noise; None if there is none."""
    levels, counts = np.unique(values, return_counts=True)
    if not len(levels):
        return None
    mode = int(np.argmax(counts))
    if counts[mode] < max(_FILLED * len(values), 3):
        return None
    if len(levels) == 1:
        return float(levels[0])
    others = len(values) - counts[mode]
    if len(levels) - 1 > MOST_TIES * others:  # the others are all different
        return float(levels[mode])
    step = np.median(np.diff(levels))
    near = np.abs(np.abs(levels - levels[mode]) - step) < 0.5 * step
    alike = counts[near].max(initial=0) < _NEIGHBOUR * counts[mode]
    return float(levels[mode]) if alike else None


def spread_ties(values: Array, step: float) -> Array:
    """Values (k,) spread evenly over the step that they were rounded to, which adds step² / 12 to their variance.

    Widrow & Kollár 2008, Quantization Noise: rounding, seen as the addition of uniform noise.
    """
    if not step:
        return values
    # Evenly, and the same at every call.
    even = (np.arange(len(values)) * 0.6180339887498949) % 1.0
    spread: Array = values + step * (even - 0.5)
    return spread


def standard_deviation(values: Array, whole: bool = False) -> float:
    """Robust standard deviation of noise (k,), 0 if it has none.

    That within 4 σ on both sides of the level, but of no more than what the half below it, where there are no sources,
    can belong to; with `whole` without this limit, for values without sources in whose distribution there are lumps.
    """
    scatter = scatter_of(values)
    return scatter.whole if whole else scatter.limited


class Scatter(NamedTuple):
    """Robust standard deviations of noise: of the whole, and what the half below its level is of; infinite if that is
    no half."""

    whole: float = 0.0
    below: float = np.inf

    @property
    def limited(self) -> float:
        """That of the whole, but no more than what can belong to the half below."""
        return min(self.whole, _MOST_SKEWED * self.below)


def scatter_of(values: Array) -> Scatter:
    """Both of the robust standard deviations of noise (k,); 0 if it has none."""
    step = tie_step(values)
    spread = spread_ties(values, step)
    if not len(spread):
        return Scatter()
    tenth, centre, last = np.percentile(spread, (10, 50, 90))
    residuals = spread - centre
    # More than half of the pixels may have one value, each window its own.
    sigma = lower = max(1.4826 * median(np.abs(residuals)), float(last - tenth) / _TENTHS)
    level = 0.0
    for _ in range(_PASSES):
        kept = residuals[np.abs(residuals - level) <= _CLIP * sigma]
        below = residuals[(residuals <= 0) & (residuals > -_CLIP * lower)]
        if not (len(kept) and len(below)):
            return Scatter()
        level, sigma = float(kept.mean()), float(kept.std() / _WITHIN**0.5)
        # A Gaussian's lower half has the whole's rms.
        lower = float(np.sqrt(np.mean(below**2)) / _WITHIN**0.5)
    # Else the level lies anywhere between two values, and the halves are no halves.
    halved = step < sigma / 2
    return Scatter(_unrounded(sigma, step), _unrounded(lower, step) if halved else np.inf)


def _unrounded(sigma: float, step: float) -> float:
    """The scatter before ties were spread."""
    return float(max(sigma**2 - step**2 / 12, 0.0) ** 0.5)
