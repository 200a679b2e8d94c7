"""From which pixels before, and with what weights, resampled noise came to be: with its phase, unlike a correlation.

White noise n before is ``Σ_k w(k - f) n_k`` at a pixel that lies f off the nearest of the pixels before. Its
correlation function knows |ŵ| alone, which leaves open where within a pixel the variance of a star belongs. With w
itself the kernel of the variances before is exact, (ψ ⊗ κ ⊗ w)²; it is moved by f, so that it goes with a plane on the
pixels that there are. Moved linearly it stays positive, and what that smooths is undone in the plane (`unsmoothed`).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diffim_decorr.images.warps import Warp

__all__ = ("Response", "moved")

Array = NDArray[Any]

_ALIKE = 1 / 28  # pixel per pixel: more than that off, pixels near each other have no phase in common
_STEPS = 256  # of the sub-pixel phase
_FAINT = 0.005  # of the weights, are those that may be left out of a smoothing


@dataclass(frozen=True, eq=False)
class Response:
    """The weights with which the noise of an image was made of white noise.

    Parameters
    ----------
    warp
        By which it was resampled.
    interpolated
        Whether its variance plane was resampled as images are, with the weights and not their squares.
    """

    warp: Warp
    interpolated: bool = False

    @classmethod
    def of(cls, warp: Warp, interpolated: bool) -> Response | None:
        """None if pixels near each other have no phase in common."""
        knots = warp.places.x, warp.places.y
        x, y = (axis.ravel() for axis in np.meshgrid(*(axis[[0, len(axis) // 2, -1]] for axis in knots)))
        unlike = np.abs(warp.jacobian(x, y) - np.eye(2)[..., None]).max()
        return cls(warp, interpolated) if unlike < _ALIKE else None

    def phases(self, x: Array, y: Array) -> Array:
        """By how much (2, k) pixels at places lie off the nearest pixel before, along x and y."""
        return _fraction(self.warp.places.at(x, y) - np.array([x, y]))

    def phases_on(self, x: Array, y: Array) -> Array:
        """The same (2, len(y), len(x)) on the grid that positions span."""
        return _fraction(self.warp.places.grid(x, y) - np.array(np.meshgrid(x, y)))

    def along(self, phase: Array) -> Array:
        """Weights (k, 2 r + 1) along an axis, by which noise of variance 1 on average is convolved with white noise."""
        place = (phase + 0.5) * _STEPS
        step = np.clip(place.astype(np.int64), 0, _STEPS - 1)
        rest = (place - step)[:, None]
        weights: Array = (1 - rest) * self._along[step] + rest * self._along[step + 1]
        return weights

    @cached_property
    def _along(self) -> Array:
        """These at phases from -1/2 to 1/2 in equal steps."""
        interpolation, phase = self.warp.interpolation, np.arange(_STEPS + 1) / _STEPS - 0.5
        steps = np.arange(-self.reach, self.reach + 1)
        weights: Array = interpolation.weights(phase[:, None] + steps) / interpolation.variances().mean() ** 0.5
        return weights

    @cached_property
    def reach(self) -> int:
        """How many pixels before there are on either side of the nearest one, at most."""
        return int(np.ceil(self.warp.interpolation.reach))

    @cached_property
    def smoothing(self) -> Array:
        """What made a variance plane of the one that `moved` kernels go with, along an axis at all phases.

        Of each of the phases, from -1/2 on in equal steps, the weights (steps, 2 m + 1) of pixels from -m to m, with a
        sum of 1.
        """
        phase = (np.arange(_STEPS) + 0.5) / _STEPS - 0.5
        weights = self.along(phase)[:, ::-1]
        weights = weights if self.interpolated else weights**2
        wider = np.pad(weights, ((0, 0), (1, 1)))
        on, off = 1 - np.abs(phase[:, None]), np.abs(phase[:, None])
        beside = np.where(phase[:, None] > 0, np.roll(wider, -1, axis=1), np.roll(wider, 1, axis=1))
        wider = on * wider + off * beside
        wider /= wider.sum(axis=1, keepdims=True)
        matters = np.abs(wider).max(axis=0) > _FAINT
        half = int(np.abs(np.flatnonzero(matters) - (self.reach + 1)).max())
        cut = wider[:, self.reach + 1 - half : self.reach + 2 + half]
        result: Array = cut / cut.sum(axis=1, keepdims=True)
        return result

    def smoothing_at(self, phase: Array) -> Array:
        """That (2 m + 1, …) at phases (…)."""
        step = np.clip(((phase + 0.5) * _STEPS).astype(np.int64), 0, _STEPS - 1)
        weights: Array = self.smoothing.T[:, step]
        return weights


def moved(images: Array, phases: Array) -> Array:
    """Images (k, ny, nx) moved by phases (2, k) along x and y, between pixels linearly."""
    for axis, phase in ((2, phases[0]), (1, phases[1])):
        further, back = (np.maximum(sign * phase, 0)[:, None, None] for sign in (1, -1))
        result = (1 - further - back) * images
        first, last = ((slice(None),) * axis + (part,) for part in (slice(1, None), slice(None, -1)))
        result[first] += further * images[last]
        result[last] += back * images[first]
        images = result
    return images


def _fraction(places: Array) -> Array:
    fraction: Array = places - np.rint(places)
    return fraction
