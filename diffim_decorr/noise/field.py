"""The background noise of the images that a difference is made of, over the field."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diffim_decorr.kernels.grid import GridCoefficients
from diffim_decorr.noise.local_correlation import LocalCorrelation
from diffim_decorr.noise.response import Response
from diffim_decorr.options import Side

__all__ = ("NoiseField",)

Array = NDArray[Any]


@dataclass(frozen=True, eq=False)
class NoiseField:
    """Background noise of the images that a difference is made of, over the field.

    Parameters
    ----------
    variances
        Mean background variance of each image, in its unit squared.
    sides
        The side that each image is on.
    log_ratio
        Natural logarithm of the template side's over the science side's variance as a function of position, or None
        if it is the same everywhere.
    correlations
        Correlation function of each image's noise (2 l + 1, 2 l + 1), 1 in the middle, or that as a function of
        position; None for white noise.
    responses
        By what each image's noise was made of white noise, where more is known of it than the correlation function;
        nothing where that is so for none.
    """

    variances: tuple[float, ...]
    sides: tuple[Side, ...] = ("science", "template")
    log_ratio: GridCoefficients | None = None
    correlations: tuple[Array | LocalCorrelation | None, ...] = (None, None)
    responses: tuple[Response | None, ...] = ()

    @property
    def period(self) -> float:
        """The shortest in pixels with which a correlation function varies over the field; infinite if none does."""
        return min((rho.period for rho in self.correlations if isinstance(rho, LocalCorrelation)), default=math.inf)

    @property
    def uniform(self) -> NoiseField:
        """The same everywhere, as it is on average."""
        return replace(self, log_ratio=None, correlations=self.usual, responses=())

    @property
    def usual(self) -> tuple[Array | None, ...]:
        """Correlation function of each image's noise on average over the field, None for white noise."""
        return tuple(rho.usual if isinstance(rho, LocalCorrelation) else rho for rho in self.correlations)

    def total(self, wanted: Side) -> float:
        """Sum of the variances on one side."""
        return sum(v for v, side in zip(self.variances, self.sides, strict=True) if side == wanted)

    @property
    def mean_log_ratio(self) -> float:
        """Of the sides' variances; infinite where one of them is zero."""
        with np.errstate(divide="ignore"):
            return float(np.log(self.total("template")) - np.log(self.total("science")))

    def relative(self, log_ratio: Array) -> Array:
        """Each image's share (images, k) of the noise where the logarithm of the sides' ratio is as given (k)."""
        # This form has no overflow where one of the sides has no noise.
        sides: dict[Side, Array] = {"science": 1 / (1 + np.exp(log_ratio)), "template": 1 / (1 + np.exp(-log_ratio))}
        totals = {side: self.total(side) or 1.0 for side in sides}
        shares: Array = np.array([v / totals[s] * sides[s] for v, s in zip(self.variances, self.sides, strict=True)])
        return shares
