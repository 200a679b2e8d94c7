"""How an image was resampled: by which interpolation, and where its pixels lay among those that there were before."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diffim_decorr.kernels.grid import GridCoefficients

__all__ = ("KINDS", "Interpolation", "Warp")

Array = NDArray[Any]

KINDS = ("bilinear", "lanczos3", "lanczos4", "cubic", "drizzle")
_POLE = 3**0.5 - 2  # of the filter that makes a cubic spline go through its pixels
_SPLINE = 6  # pixels, beyond which that filter is below 1e-3
_STEPS = 1024  # of the sub-pixel phase


@dataclass(frozen=True)
class Interpolation:
    """The weights with which pixels were added up to a new one, along one axis.

    Parameters
    ----------
    kind
        ``bilinear``, ``lanczos3``, ``lanczos4``, ``cubic`` (the cubic spline through the pixels) or ``drizzle``.
    scale
        Length of a new pixel in old ones, which matters for ``drizzle``.
    pixfrac
        Length of the drops in old pixels, for ``drizzle``.

    References
    ----------
    Fruchter & Hook 2002, PASP 114, 144 (drizzle); Unser 1999, IEEE Signal Processing Magazine 16, 22 (splines).
    """

    kind: str
    scale: float = 1.0
    pixfrac: float = 1.0

    @property
    def reach(self) -> float:
        """How far pixels are that have a weight."""
        if self.kind == "drizzle":
            return (self.scale + self.pixfrac) / 2
        return {"bilinear": 1.0, "cubic": _SPLINE + 2.0}.get(self.kind) or float(self.kind[-1])

    def weights(self, distance: Array) -> Array:
        """Weights of pixels at distances, such that those of all pixels add up to 1 at each sub-pixel phase."""
        steps = np.arange(-np.ceil(self.reach) - 1, np.ceil(self.reach) + 2)
        total = sum(self._plain(distance % 1 + step) for step in steps)
        weights: Array = self._plain(distance) / np.maximum(total, 1e-9)
        return weights

    def _plain(self, t: Array) -> Array:
        result: Array
        if self.kind == "drizzle":
            drop, pixel = self.pixfrac / 2, self.scale / 2
            result = np.maximum(np.minimum(t + pixel, drop) - np.maximum(t - pixel, -drop), 0)
        elif self.kind == "bilinear":
            result = np.maximum(1 - np.abs(t), 0)
        elif self.kind == "cubic":
            filtered = [3**0.5 * _POLE ** abs(k) * _spline(t - k) for k in range(-_SPLINE, _SPLINE + 1)]
            result = np.sum(filtered, axis=0)
        else:
            result = np.where(np.abs(t) < self.reach, np.sinc(t) * np.sinc(t / self.reach), 0)
        return result

    def variances(self) -> Array:
        """Variance that white noise of variance 1 is left with, at sub-pixel phases from 0 on in equal steps to 1."""
        phase = np.arange(_STEPS) / _STEPS
        steps = np.arange(-np.ceil(self.reach) - 1, np.ceil(self.reach) + 2)
        squares: Array = np.sum([self.weights(phase + step) ** 2 for step in steps], axis=0)
        return squares

    def amplitudes(self, orders: int, distances: Array) -> Array:
        """How the covariance of two new pixels varies with their sub-pixel phase, for white noise of variance 1.

        Two new pixels whose places lie d apart around s have the covariance ``Σ_i w(s - d/2 - i) w(s + d/2 - i)``,
        which is periodic in s and even: a sum of ``A_a(d) cos(2π a s)`` over all integers a, with

            A_a(d) = ∫ w(s - d/2) w(s + d/2) cos(2π a s) ds

        Parameters
        ----------
        orders
            Number of a from 0 on.
        distances
            The d (k).

        Returns
        -------
        amplitudes
            The A_a(d) (orders, k).
        """
        step = 1 / 128
        s = np.arange(-self.reach - 2, self.reach + 2 + step, step)
        waves = np.cos(2 * np.pi * np.arange(orders)[:, None] * s) * step
        result = np.empty((orders, len(distances)))
        for k, d in enumerate(distances):
            result[:, k] = waves @ (self.weights(s - d / 2) * self.weights(s + d / 2))
        return result


def _spline(t: Array) -> Array:
    """The cubic B-spline."""
    r = np.abs(t)
    spline: Array = (np.maximum(2 - r, 0) ** 3 - 4 * np.maximum(1 - r, 0) ** 3) / 6
    return spline


@dataclass(frozen=True, eq=False)
class Warp:
    """How an image, or one of those that it was combined from, was resampled.

    Parameters
    ----------
    kind
        Of interpolation, see `KINDS`.
    places
        Where pixels of the image lie among those before: two functions of (x, y), which are 0-based pixels there.
    size
        Number of pixels before, (ny, nx).
    pixfrac
        Length of the drops in old pixels, for ``drizzle``.
    name
        For messages.
    """

    kind: str
    places: GridCoefficients
    size: tuple[int, int]
    pixfrac: float = 1.0
    name: str = "warp"

    def __repr__(self) -> str:
        return f"<Warp {self.name}: {self.kind}>"

    @classmethod
    def of(
        cls,
        kind: str,
        mapping: Callable[[Array, Array], tuple[Array, Array]],
        shape: tuple[int, int],
        size: tuple[int, int],
        *,
        pixfrac: float = 1.0,
        name: str = "warp",
        knots: int = 17,
    ) -> Warp:
        """That of an image (ny, nx) whose pixels (x, y) lie where a smooth function has them, looked at on a grid."""
        x, y = (np.linspace(-0.5, n - 0.5, knots) for n in shape[::-1])
        xx, yy = np.meshgrid(x, y)
        values = np.array(mapping(xx.ravel(), yy.ravel())).reshape(2, knots, knots)
        return cls(kind, GridCoefficients(values, x, y, order=7), size, pixfrac, name)

    def jacobian(self, x: Array, y: Array) -> Array:
        """Derivatives (2, 2, k) of the place before by x and by y."""
        return self._slopes.at(x, y).reshape(2, 2, -1)

    def jacobian_on(self, x: Array, y: Array) -> Array:
        """The same (2, 2, len(y), len(x)) on the grid that positions span."""
        return self._slopes.grid(x, y).reshape(2, 2, len(y), len(x))

    @cached_property
    def _slopes(self) -> GridCoefficients:
        """The derivatives, which need not be as accurate as the places."""
        x, y, half = self.places.x, self.places.y, 0.5
        along_x = self.places.grid(x + half, y) - self.places.grid(x - half, y)
        along_y = self.places.grid(x, y + half) - self.places.grid(x, y - half)
        return GridCoefficients(np.stack([along_x, along_y], axis=1).reshape(4, len(y), len(x)), x, y, order=3)

    def shifted(self, dx: int, dy: int) -> Warp:
        """The same for an image whose origin is moved by (dx, dy) pixels."""
        return replace(self, places=self.places.shifted(dx, dy))

    @property
    def middle(self) -> Array:
        """Derivatives (2, 2) in the middle of the field."""
        x, y = (np.array([(knots[0] + knots[-1]) / 2]) for knots in (self.places.x, self.places.y))
        return self.jacobian(x, y)[..., 0]

    @property
    def scale(self) -> float:
        """Length of a pixel in pixels before, in the middle of the field."""
        return float(abs(np.linalg.det(self.middle)) ** 0.5)

    @property
    def interpolation(self) -> Interpolation:
        return Interpolation(self.kind, self.scale, self.pixfrac)

    def inside(self, x: Array, y: Array, margin: float = 0.0) -> Array:
        """Whether pixels (k) lie where there were pixels before, so far from the border of these."""
        u, v = self.places.at(x, y)
        ny, nx = self.size
        within: Array = (u > margin - 0.5) & (u < nx - 0.5 - margin) & (v > margin - 0.5) & (v < ny - 0.5 - margin)
        return within
