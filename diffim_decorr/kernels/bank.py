"""Several kernels that share their coefficient functions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diffim_decorr.kernels.coefficients import Coefficients, PolynomialCoefficients
from diffim_decorr.kernels.spatial import SpatialKernel

__all__ = ("KernelBank",)

Array = NDArray[Any]


@dataclass(frozen=True, eq=False, repr=False)
class KernelBank:
    """Several kernels with the same coefficient functions, each for an image of its own; the results are summed.

    Parameters
    ----------
    bases
        Basis images (images, n, h, w).
    coefficients
        The n coefficient functions.
    """

    bases: Array
    coefficients: Coefficients

    @classmethod
    def of(cls, kernel: SpatialKernel) -> KernelBank:
        return cls(kernel.basis[None], kernel.coefficients)

    def simplified(self) -> KernelBank:
        """The same kernels with one basis image each, if they are the same everywhere."""
        if not self.coefficients.is_constant:
            return self
        values = self.coefficients.at(np.zeros(1), np.zeros(1))[:, 0]
        bases = np.tensordot(values, self.bases, axes=(0, 1))[:, None]
        return KernelBank(bases, PolynomialCoefficients.constant([1.0]))

    def scaled(self, factors: Array | float) -> KernelBank:
        """The kernels of all images times a number, or of each times its own (images)."""
        factors = np.broadcast_to(factors, len(self.bases))
        return KernelBank(self.bases * factors[:, None, None, None], self.coefficients)

    @property
    def reach(self) -> int:
        """How far from a pixel the kernels reach."""
        return int(max(self.bases.shape[-2:])) // 2
