"""The image in which to look for sources where the noise of the difference is measured.

A mask that leaves out peaks of an image's noise makes what is left quieter than it is. What is left of the difference
stays as it is if sources are looked for in an image whose noise has nothing to do with the difference's: of
``D = S - T``, with noise of power Q_S and Q_T in S and T, that is ``C = Q_T S + Q_S T``, whose covariance with D is
``Q_T Q_S - Q_S Q_T = 0`` at each frequency. At the same time no other sum of both shows sources better, for its weights
are those of the likelihood (Zackay & Ofek 2017, ApJ 836, 187), but for a factor at each frequency.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diffim_decorr.fft import forward, good_size, inverse, kernel_transform
from diffim_decorr.geometry import Box
from diffim_decorr.kernels.spatial import SpatialKernel
from diffim_decorr.noise.correlation import positive
from diffim_decorr.noise.field import NoiseField
from diffim_decorr.options import SIDES

__all__ = ("Likelihood",)

Array = NDArray[Any]


@dataclass(frozen=True, eq=False)
class Likelihood:
    """Makes such an image of any part of the field.

    Parameters
    ----------
    sides
        What science image and template were convolved with for the difference.
    kernels
        Kernel of each image that the noise is of, as a whole.
    noise
        Noise of each of these images.
    """

    sides: tuple[SpatialKernel, SpatialKernel]
    kernels: Sequence[SpatialKernel]
    noise: NoiseField

    def image(self, box: Box, science: Array, template: Array) -> Array | None:
        """The image (h, w) within a box, in no unit.

        Parameters
        ----------
        box
            Where it is; kernels and noise are those of its middle.
        science, template
            Their pixels (h, w) there, 0 where there are none.

        Returns
        -------
        image
            None where there is no kernel, or one of the two has no noise.
        """
        x, y = (box.x0 + box.x1 - 1) / 2, (box.y0 + box.y1 - 1) / 2
        if any(kernel.boxes and not any(b.contains(x, y) for b in kernel.boxes) for kernel in self.kernels):
            return None
        # Of a kernel, of the autocorrelation of another, and of that of the noise.
        correlations = [rho.shape[0] // 2 for rho in self.noise.usual if rho is not None]
        reach = 2 * max(max(kernel.shape) for kernel in (*self.sides, *self.kernels)) + max(correlations, default=0)
        grid = good_size(box.shape[0] + reach), good_size(box.shape[1] + reach)
        powers = self._powers(x, y, grid)
        if not all(power[0, 0] > 0 for power in powers):
            return None
        padded = np.zeros((2, *grid), dtype=np.float32)
        padded[:, : box.shape[0], : box.shape[1]] = science, template
        spectra = forward(padded) * np.array([kernel_transform(k.at(x, y), grid) for k in self.sides])
        both = powers[1] * spectra[0] + powers[0] * spectra[1]
        return inverse(both, grid[1])[: box.shape[0], : box.shape[1]]

    def _powers(self, x: float, y: float, grid: tuple[int, int]) -> list[Array]:
        """Power of the noise of science image and template in the difference at a place, relative to that of all."""
        field = self.noise
        ratio = (
            field.mean_log_ratio
            if field.log_ratio is None
            else float(field.log_ratio.at(np.array([x]), np.array([y]))[0, 0])
        )
        shares = field.relative(np.array([ratio]))[:, 0]
        powers = {side: np.zeros((grid[0], grid[1] // 2 + 1)) for side in SIDES}
        for kernel, side, share, rho in zip(self.kernels, field.sides, shares, field.usual, strict=True):
            power = share * np.abs(kernel_transform(kernel.at(x, y), grid)) ** 2
            powers[side] += power if rho is None else power * positive(kernel_transform(rho, grid).real)
        return [powers[side] for side in SIDES]
