"""Kernels of several regions."""

from __future__ import annotations

import numpy as np

from diffim_decorr import Box, MatchingKernel, SpatialKernel
from diffim_decorr.kernels.coefficients import PolynomialCoefficients
from diffim_decorr.kernels.piecewise import PiecewiseCoefficients

__all__ = ("in_regions",)


def in_regions(*pieces: tuple[Box, np.ndarray]) -> MatchingKernel:
    """One image of a kernel in each of some regions; all images of one size."""
    one = np.eye(len(pieces))
    coefficients = tuple((box, PolynomialCoefficients.constant(one[k])) for k, (box, _) in enumerate(pieces))
    basis = np.array([image for _, image in pieces])
    return MatchingKernel(SpatialKernel(basis, PiecewiseCoefficients(coefficients)), parent_frame=False)
