"""The correlation function of noise as a function of position."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from diffim_decorr.geometry import Box
from diffim_decorr.images.planes import Plane
from diffim_decorr.kernels.spatial import SpatialKernel

__all__ = ("UNSURE", "LocalCorrelation", "LocalVariance")

Array = NDArray[Any]

#: The beat of one that was fitted to pixels, whose spectrum may be off by as much as where a beat is that short.
UNSURE = 60.0
_PLACES = 24  # along an axis, of which a mean is made
_LEAST_VARIANCE = 0.05


@dataclass(frozen=True, eq=False)
class LocalCorrelation:
    """The correlation function of an image's noise over the field.

    Parameters
    ----------
    kernel
        Covariance at lags (n, 2 l + 1, 2 l + 1), in units of the mean variance.
    usual
        Its mean over the field, 1 in the middle.
    period
        The shortest in pixels with which it varies; infinite if it is the same everywhere.
    beat
        The shortest in pixels after which a sub-pixel phase is the same again.
    """

    kernel: SpatialKernel
    usual: Array
    period: float
    beat: float

    def mean_over(self, box: Box) -> Array:
        """Its mean (2 l + 1, 2 l + 1) over a part of the field."""
        x, y = (np.linspace(first, end - 1, _PLACES) for first, end in ((box.x0, box.x1), (box.y0, box.y1)))
        amounts = self.kernel.coefficients.grid(x, y).mean(axis=(1, 2))
        return np.tensordot(amounts, self.kernel.basis, axes=1)


@final
@dataclass(frozen=True, eq=False)
class LocalVariance(Plane):
    """The variance of noise whose correlation varies, in units of its mean.

    Parameters
    ----------
    correlation
        Of the noise.
    extent
        (ny, nx)
    """

    correlation: LocalCorrelation
    extent: tuple[int, int]

    @property
    def shape(self) -> tuple[int, int]:
        return self.extent

    def read(self, box: Box) -> Array:
        return self.read_every(box, (1, 1))

    def read_every(self, box: Box, steps: tuple[int, int]) -> Array:
        kernel = self.correlation.kernel
        middle = kernel.shape[0] // 2
        y, x = (np.arange(first, end, step, dtype=float) for first, end, step in (
            (box.y0, box.y1, steps[0]), (box.x0, box.x1, steps[1])
        ))  # fmt: skip
        values: Array = np.tensordot(kernel.basis[:, middle, middle], kernel.coefficients.grid(x, y), axes=1)
        return np.maximum(values, _LEAST_VARIANCE)
