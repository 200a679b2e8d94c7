"""Products of kernels: the square of one that varies is one that varies, too.

``(Σ_n c_n B_n)² = Σ_{n≤m} w_nm (c_n c_m) (B_n B_m)`` pixel by pixel, w being 1 for n = m and 2 for the others.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from diffim_decorr.kernels.coefficients import Coefficients

__all__ = ("PairCoefficients", "pair_images")

Array = NDArray[Any]

_ROWS = 16


@final
@dataclass(frozen=True, eq=False, repr=False)
class PairCoefficients(Coefficients):
    """The products of each two of other functions, and their squares: c₀c₀, c₀c₁, …, c₁c₁, …, or sums of them.

    Parameters
    ----------
    inner
        The n functions.
    matrix
        The sums (m, n (n + 1) / 2).
    """

    inner: Coefficients
    matrix: Array

    @classmethod
    def of(cls, inner: Coefficients) -> PairCoefficients:
        """The products themselves."""
        return cls(inner, np.eye(inner.count * (inner.count + 1) // 2))

    @property
    def count(self) -> int:
        return len(self.matrix)

    @property
    def is_constant(self) -> bool:
        return self.inner.is_constant

    def places(self, first: int, end: int, count: int, axis: str) -> Array:
        # A product has twice the degree.
        return self.inner.places(first, end, 2 * count - 1, axis)

    def grid(self, x: Array, y: Array) -> Array:
        result = np.empty((self.count, len(y), len(x)))
        # Few rows at a time: there are many products.
        for first in range(0, len(y), _ROWS):
            rows = slice(first, first + _ROWS)
            values = self.inner.grid(x, y[rows])
            result[:, rows] = self._sums(values.reshape(len(values), -1)).reshape(self.count, -1, len(x))
        return result

    def at(self, x: Array, y: Array) -> Array:
        return self._sums(self.inner.at(x, y))

    def shifted(self, dx: int, dy: int) -> PairCoefficients:
        return PairCoefficients(self.inner.shifted(dx, dy), self.matrix)

    def combined(self, matrix: Array) -> PairCoefficients:
        return PairCoefficients(self.inner, matrix @ self.matrix)

    def _sums(self, values: Array) -> Array:
        one, other = np.triu_indices(self.inner.count)
        sums: Array = self.matrix @ (values[one] * values[other])
        return sums


def pair_images(images: Array) -> Array:
    """What goes with the products of coefficients, two kinds of them, in the square of a sum of images.

    Parameters
    ----------
    images
        Images (r, s, h, w) of ``R = Σ_rs c_r a_s E_rs``.

    Returns
    -------
    pairs
        Images (r (r + 1) / 2, s (s + 1) / 2, h, w) of ``R² = Σ (c_r c_q) (a_s a_t) F``, in the order of
        `PairCoefficients`.
    """
    r, s = images.shape[:2]
    (one, other), (first, second) = np.triu_indices(r), np.triu_indices(s)
    twice = np.where(one == other, 1, 2)[:, None] * np.where(first == second, 1, 2)
    along = images[one][:, first] * images[other][:, second]
    across = images[one][:, second] * images[other][:, first]
    pairs: Array = 0.5 * twice[..., None, None] * (along + across)
    return pairs
