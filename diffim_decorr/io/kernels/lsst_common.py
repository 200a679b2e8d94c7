"""What the kernels in the files of LSST, old and new, have in common: correlation, and Chebyshev polynomials."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diffim_decorr.kernels.coefficients import PolynomialCoefficients, substitution

__all__ = ("Frame", "as_one_family", "chebyshev_powers", "for_convolution")

Array = NDArray[Any]

#: Origin and scale of a function's two coordinates: x0, y0, scale of x, scale of y.
Frame = tuple[float, float, float, float]


def chebyshev_powers(degree: int) -> Array:
    """The matrix (power, order) of the coefficients of Chebyshev's polynomials of the first kind."""
    matrix = np.zeros((degree + 1, degree + 1))
    for order in range(degree + 1):
        matrix[: order + 1, order] = np.polynomial.chebyshev.cheb2poly(np.eye(degree + 1)[order][: order + 1])
    return matrix


def as_one_family(tensors: Sequence[Array], frames: Sequence[Frame]) -> PolynomialCoefficients:
    """Functions, each with coefficients (powers of x, powers of y) and a frame of its own, as powers about one centre.

    Those of the first one's frame are exact.
    """
    degree = max(max(tensor.shape) for tensor in tensors) - 1
    origin, scale = frames[0][:2], frames[0][2:]
    total = np.zeros((len(tensors), degree + 1, degree + 1))
    for own, tensor, frame in zip(total, tensors, frames, strict=True):
        # t = (x - x0) / s of this function, in terms of that of the first.
        along = [
            substitution(size - 1, scale[k] / frame[2 + k], (origin[k] - frame[k]) / frame[2 + k])
            for k, size in enumerate(tensor.shape)
        ]
        own[: tensor.shape[0], : tensor.shape[1]] = along[0] @ tensor @ along[1].T
    used = np.atleast_2d(np.any(total, axis=0))
    used[0, 0] = True
    powers = np.argwhere(used)
    return PolynomialCoefficients(total[:, powers[:, 0], powers[:, 1]], powers, origin, scale)


def for_convolution(image: Array, centre: tuple[int, ...]) -> Array:
    """The image for convolution of one (h, w) for correlation about a centre (x, y), the centre at (h // 2, w // 2)."""
    pads = []
    for length, after in zip(image.shape, centre[::-1], strict=True):
        before = length - 1 - after
        # An even size has its centre right of the middle; any other place is made the middle.
        half = max(before, after)
        pads.append((0, 0) if before == length // 2 else (half - before, half - after))
    return np.pad(image[::-1, ::-1], pads)
