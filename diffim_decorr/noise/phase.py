"""The covariance of resampled noise as a function of position: a sum of harmonics of the sub-pixel phase.

A pixel that was interpolated at the place u among pixels before, ``Σ_i w(u - i) n_i``, has more noise the nearer it is
to one of these, and is the more correlated with its neighbours the farther it is. With white n_i the covariance of two
pixels a lag l apart around x is exactly

    C(x, l) = Σ_ab A_a(d_u) A_b(d_v) cos(2π (a u(x) + b v(x))),   d = J l

with the amplitudes of `Interpolation.amplitudes` and the derivatives J of u and v. From pixel to pixel the phase
2π (a u + b v) advances by almost whole turns, which do not matter: what varies over the field is what is left of it, a
beat whose period may be hundreds of pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from diffim_decorr.geometry import Box
from diffim_decorr.images.planes import Plane
from diffim_decorr.images.warps import Warp
from diffim_decorr.kernels.coefficients import Coefficients
from diffim_decorr.kernels.spatial import SpatialKernel
from diffim_decorr.noise.local_correlation import LocalCorrelation

__all__ = ("SHORTEST", "PhaseCoefficients", "PhaseVariance", "correlation_of")

Array = NDArray[Any]

_ORDERS = 6  # of harmonics along an axis, the constant included
_MOST_LAGS = 8
#: Period in pixels: shorter beats are nothing that a kernel can follow.
SHORTEST = 14.0
_FOLLOWED = 28.0  # is that from which on it follows them in full
_NOT_AT_ALL = 1e-6  # is a frequency of less
_FAINT = 1e-3  # is what may be left out, of the variance
_RAMP = 32.0  # pixels, within which images that were combined come in


@final
@dataclass(frozen=True, eq=False, repr=False)
class PhaseCoefficients(Coefficients):
    """Cosines of the beats of a few harmonics of the sub-pixel phases of one or several warps.

    Parameters
    ----------
    warps
        Of the images that were combined.
    harmonics
        Of each warp the (a, b) and the whole turns per pixel along x and y that do not matter (n, 4).
    """

    warps: tuple[Warp, ...]
    harmonics: tuple[Array, ...]

    @property
    def count(self) -> int:
        return sum(map(len, self.harmonics))

    @property
    def described(self) -> str:
        return "harmonics of the sub-pixel phase"

    @property
    def period(self) -> float:
        """The shortest in pixels; infinite where nothing varies."""
        frequencies = [
            np.hypot(*(harmonics[:, :2] @ warp.middle - harmonics[:, 2:]).T)
            for warp, harmonics in zip(self.warps, self.harmonics, strict=True)
        ]
        fastest = float(np.concatenate(frequencies).max())
        return max(1 / fastest, SHORTEST) if fastest > _NOT_AT_ALL else np.inf

    def chosen(self, which: Array) -> PhaseCoefficients:
        """Some (count) of them."""
        ends = np.cumsum([len(own) for own in self.harmonics])[:-1]
        parts = zip(self.harmonics, np.split(which, ends), strict=True)
        return PhaseCoefficients(self.warps, tuple(own[part] for own, part in parts))

    def at(self, x: Array, y: Array) -> Array:
        x, y = (np.atleast_1d(np.asarray(axis, dtype=float)) for axis in (x, y))
        shares = shares_at(self.warps, x, y)
        found = [
            share * _beats(harmonics[:, :, None], x, y, warp.places.at(x, y), warp.jacobian(x, y))
            for warp, harmonics, share in zip(self.warps, self.harmonics, shares, strict=True)
        ]
        return np.concatenate(found)

    def grid(self, x: Array, y: Array) -> Array:
        xx, yy = np.meshgrid(np.asarray(x, dtype=float), np.asarray(y, dtype=float))
        shares = shares_at(self.warps, xx.ravel(), yy.ravel()).reshape(-1, *xx.shape)
        found = []
        for warp, harmonics, share in zip(self.warps, self.harmonics, shares, strict=True):
            places, jacobian = warp.places.grid(xx[0], yy[:, 0]), warp.jacobian_on(xx[0], yy[:, 0])
            found.append(share * _beats(harmonics[:, :, None, None], xx, yy, places, jacobian))
        return np.concatenate(found)

    def shifted(self, dx: int, dy: int) -> PhaseCoefficients:
        return PhaseCoefficients(tuple(warp.shifted(dx, dy) for warp in self.warps), self.harmonics)


def _beats(harmonics: Array, x: Array, y: Array, places: Array, jacobian: Array) -> Array:
    """The cosines (n, …) of beats at places (…), smaller where a beat is too short to be followed."""
    a, b, turns_x, turns_y = harmonics.swapaxes(0, 1)
    (u, v), ((du_dx, du_dy), (dv_dx, dv_dy)) = places, jacobian
    frequency = np.hypot(a * du_dx + b * dv_dx - turns_x, a * du_dy + b * dv_dy - turns_y)
    beats: Array = np.cos(2 * np.pi * (a * u + b * v - turns_x * x - turns_y * y)) * _followed(frequency)
    return beats


def _followed(frequency: Array) -> Array:
    """How much of a beat of a frequency, in 1 / pixel, is followed."""
    low, high = 1 / _FOLLOWED, 1 / SHORTEST
    share: Array = 0.5 + 0.5 * np.cos(np.pi * np.clip((frequency - low) / (high - low), 0, 1))
    return share


def shares_at(warps: Sequence[Warp], x: Array, y: Array) -> Array:
    """Share (warps, k) that each of the images that were combined has in the variance at places; 1 in all."""
    if len(warps) == 1:
        return np.ones((1, len(x)))
    depth = []
    for warp in warps:
        u, v = warp.places.at(x, y)
        ny, nx = warp.size
        inside = np.minimum(np.minimum(u + 0.5, nx - 0.5 - u), np.minimum(v + 0.5, ny - 0.5 - v))
        depth.append(np.clip(inside / _RAMP + 0.5, 1e-6, 1) ** 2)
    shares: Array = np.array(depth) / np.sum(depth, axis=0)
    return shares


def correlation_of(warps: Sequence[Warp]) -> LocalCorrelation:
    """The correlation function of white noise after one or several warps, whose results were averaged."""
    lag = min(_MOST_LAGS, max(int(np.ceil(2 * w.interpolation.reach / w.scale - 0.01)) for w in warps))
    y, x = (axis.ravel() for axis in np.mgrid[-lag : lag + 1, -lag : lag + 1])
    images, harmonics, beat = [], [], np.inf
    for warp in warps:
        jacobian, interpolation = warp.middle, warp.interpolation
        fastest = float(np.hypot(*(jacobian - np.round(jacobian)).T).max())
        beat = min(beat, 1 / fastest) if fastest > _NOT_AT_ALL else beat
        along = [interpolation.amplitudes(_ORDERS, jacobian[k, 0] * x + jacobian[k, 1] * y) for k in (0, 1)]
        own, kept = [], []
        for a in range(_ORDERS):
            for b in range(-_ORDERS + 1, _ORDERS):
                if a == 0 and b < 0:
                    continue
                whole = np.array([a, b]) @ jacobian
                turns = np.round(whole)
                # The other half of the harmonics are the same numbers. The middle of two pixels may be half a pixel
                # off one, and so half a turn.
                factor = (1 if a == b == 0 else 2) * (-1.0) ** (turns[0] * x + turns[1] * y)
                image = factor * along[0][a] * along[1][abs(b)]
                share = float(_followed(np.hypot(*(whole - turns))))
                if (a or b) and np.abs(image).max() * share < _FAINT:
                    continue
                own.append(image)
                kept.append([a, b, *turns])
        images.append(np.array(own))
        harmonics.append(np.array(kept, dtype=float))
    usual = np.mean([own[0] for own in images], axis=0)
    variance = usual[len(usual) // 2]
    side = 2 * lag + 1
    basis = np.concatenate(images).reshape(-1, side, side) / variance
    coefficients = PhaseCoefficients(tuple(warps), tuple(harmonics))
    usual = (usual / variance).reshape(side, side)
    return LocalCorrelation(SpatialKernel(basis, coefficients), usual, coefficients.period, beat)


@final
@dataclass(frozen=True, eq=False)
class PhaseVariance(Plane):
    """Variance that resampling gives white noise at each pixel, in units of its mean.

    Parameters
    ----------
    warps
        Of the images that were combined.
    extent
        (ny, nx)
    """

    warps: tuple[Warp, ...]
    extent: tuple[int, int]

    @property
    def shape(self) -> tuple[int, int]:
        return self.extent

    @cached_property
    def _tables(self) -> list[Array]:
        tables = [warp.interpolation.variances() for warp in self.warps]
        mean = np.mean([table.mean() ** 2 for table in tables])
        return [table / mean**0.5 for table in tables]

    def read(self, box: Box) -> Array:
        return self.read_every(box, (1, 1))

    def read_every(self, box: Box, steps: tuple[int, int]) -> Array:
        x, y = np.arange(box.x0, box.x1, steps[1]), np.arange(box.y0, box.y1, steps[0])
        found = []
        for warp, table in zip(self.warps, self._tables, strict=True):
            u, v = warp.places.grid(x.astype(float), y.astype(float))
            found.append(_looked_up(table, u) * _looked_up(table, v))
        if len(found) == 1:
            only: Array = found[0].astype(np.float32)
            return only
        xx, yy = (axis.ravel().astype(float) for axis in np.meshgrid(x, y))
        shares = shares_at(self.warps, xx, yy).reshape(-1, len(y), len(x))
        total: Array = np.sum(shares * np.array(found), axis=0).astype(np.float32)
        return total


def _looked_up(table: Array, place: Array) -> Array:
    values: Array = table[np.rint(place * len(table)).astype(np.int64) % len(table)]
    return values
