"""Variances of pixels as they were before what correlated their noise, from those of the pixels there are.

Noise with the correlation function ρ is white noise after a filter h with |ĥ|² = ρ̂, and its variance is that of the
white noise, smoothed with h². To propagate it the variance before is wanted. A plane says V = h² ⊗ V₀, and one step of
undoing that, 2 V - h² ⊗ V, leaves a second difference of a second difference. Where the resampling is known the
smoothing is as well, with its sub-pixel phase, and a few such steps can be made (van Cittert 1931, Z. Phys. 69, 298).
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from diffim_decorr.fft import inverse, kernel_transform
from diffim_decorr.geometry import Box
from diffim_decorr.images.planes import ConstantPlane, Plane
from diffim_decorr.noise.response import Response

__all__ = ("UnsmoothedByPhase", "UnsmoothedVariance", "unsmoothed")

Array = NDArray[Any]

_REACH, _WITHIN = 5, 0.995  # pixels of h² at most, and how much of it
_WHITE = 0.98  # of h² in its middle is as good as all
# From which difference of neighbours on a plane varies, relative to the usual value, and in units of its own noise,
# which nothing has smoothed; and the largest factor that is believed.
_VARIES, _STANDS_OUT, _LARGEST = 0.02, 6.0, 2.0
_ROWS = 64  # of which the usual is taken
# Where the smoothing is known: how many steps of undoing it are made, and the largest factor.
_KNOWN_STEPS, _KNOWN_LARGEST = 4, 4.0
_FAINTEST = 0.05  # share of the weights of neighbours that have a value, of which these are to stand for all


def unsmoothed(plane: Plane, correlation: Array, response: Response | None = None) -> Plane:
    """The variance before what gave the noise of an image its correlation.

    Parameters
    ----------
    plane
        Variances of the image.
    correlation
        Correlation function of its noise (2 l + 1, 2 l + 1).
    response
        With what weights the noise was made, if that is known.
    """
    if isinstance(plane, ConstantPlane):
        return plane
    if response is not None:
        return UnsmoothedByPhase(plane, response)
    weights = _smoothing(correlation)
    if len(weights) == 1:
        return plane
    return UnsmoothedVariance(plane, weights)


def _smoothing(correlation: Array) -> Array:
    """h² (2 m + 1, 2 m + 1) with a sum of 1, as far as it matters."""
    size = 2 * len(correlation)
    spectrum = kernel_transform(correlation, (size, size)).real
    root = np.roll(inverse(np.sqrt(np.maximum(spectrum, 0)) + 0j, size), (size // 2, size // 2), axis=(0, 1))
    square: Array = root**2 / (root**2).sum()
    middle = size // 2
    if square[middle, middle] > _WHITE:
        return np.ones((1, 1))
    for reach in range(1, _REACH + 1):
        near = square[middle - reach : middle + reach + 1, middle - reach : middle + reach + 1]
        if near.sum() > _WITHIN:
            break
    cut: Array = near / near.sum()
    return cut


@dataclass(frozen=True, eq=False)
class _Unsmoothed(Plane):
    """A variance plane as it was before it was smoothed, where it is steep.

    Values that are not above 0 and finite stay, and take no part.

    Parameters
    ----------
    plane
        The variances, with the level that they had before.
    """

    plane: Plane

    @property
    def shape(self) -> tuple[int, int]:
        return self.plane.shape

    @property
    @abstractmethod
    def _reach(self) -> int:
        """How far a pixel was smoothed."""

    @property
    @abstractmethod
    def _margin(self) -> int:
        """How far away pixels are that matter for what one was before."""

    @abstractmethod
    def _before(self, values: Array, known: Array, where: Array, box: Box) -> Array:
        """What some of the pixels of a box were before, from values that are 0 where none is known."""

    def read(self, box: Box) -> Array:
        wider = box.grown(self._margin).clipped(self.shape)
        pixels = self.plane.read(wider)
        own = box.shifted(-wider.x0, -wider.y0).slices
        result: Array = pixels[own].astype(np.float64 if pixels.dtype.kind != "f" else pixels.dtype)
        known = np.isfinite(pixels) & (pixels > 0)
        steep = _steep(pixels, known)
        if not steep.any():
            return result
        from scipy.ndimage import maximum_filter  # which takes long to import, and most runs do without

        where = np.zeros(known.shape, dtype=bool)
        where[own] = (maximum_filter(steep, 2 * self._reach + 1) & known)[own]
        if where.any():
            values = np.where(known, pixels, 0).astype(np.float64)
            result[where[own]] = self._before(values, known, where, wider)
        return result

    def read_every(self, box: Box, steps: tuple[int, int]) -> Array:
        # Samples tell the level, which smoothing leaves as it is.
        return self.plane.read_every(box, steps)

    def held(self, y0: int, y1: int) -> Any:
        return self.plane.held(max(y0 - self._margin, 0), min(y1 + self._margin, self.shape[0]))


@final
@dataclass(frozen=True, eq=False)
class UnsmoothedVariance(_Unsmoothed):
    """A variance plane V as it was before it was smoothed: 2 V - h² ⊗ V, between half and twice of V.

    Parameters
    ----------
    weights
        h² (2 m + 1, 2 m + 1), with a sum of 1.
    """

    weights: Array

    @property
    def _reach(self) -> int:
        return len(self.weights) // 2

    @property
    def _margin(self) -> int:
        return self._reach

    def _before(self, values: Array, known: Array, where: Array, box: Box) -> Array:
        reach = self._reach
        rows, columns = np.nonzero(where)
        flat, present = (np.pad(image, reach).ravel() for image in (values, known))
        width = values.shape[1] + 2 * reach
        first = rows * width + columns
        smooth, total = np.zeros(len(rows)), np.zeros(len(rows))
        for (j, i), weight in np.ndenumerate(self.weights):
            there = first + (j * width + i)
            smooth += weight * flat[there]
            total += weight * present[there]
        own = flat[first + reach * (width + 1)]
        before: Array = np.clip(2 * own - smooth / total, own / _LARGEST, own * _LARGEST)
        return before


@final
@dataclass(frozen=True, eq=False)
class UnsmoothedByPhase(_Unsmoothed):
    """A variance plane as it was before a known resampling smoothed it, between a quarter and four times of what it is.

    Parameters
    ----------
    response
        By what the image was resampled.
    """

    response: Response

    @property
    def _reach(self) -> int:
        return int(self.response.smoothing.shape[1]) // 2 + 1

    @property
    def _margin(self) -> int:
        return _KNOWN_STEPS * self._reach

    def _before(self, values: Array, known: Array, where: Array, box: Box) -> Array:
        x, y = np.arange(box.x0, box.x1, dtype=float), np.arange(box.y0, box.y1, dtype=float)
        across, down = (self.response.smoothing_at(phase) for phase in self.response.phases_on(x, y))
        total = 1.0 if known.all() else np.maximum(_smoothed(known.astype(float), across, down), _FAINTEST)
        before = values
        for _ in range(_KNOWN_STEPS):
            before = before + values - _smoothed(before, across, down) / total
            before *= known
        own = values[where]
        limited: Array = np.clip(before[where], own / _KNOWN_LARGEST, own * _KNOWN_LARGEST)
        return limited


def _smoothed(values: Array, across: Array, down: Array) -> Array:
    """Values with the weights (2 m + 1, ny, nx) of neighbours along x and y; the last ones stand for what follows."""
    for axis, weights in ((1, across), (0, down)):
        reach, size = len(weights) // 2, values.shape[axis]
        wider = np.pad(values, [(reach, reach) if k == axis else (0, 0) for k in (0, 1)], mode="edge")
        parts = (np.s_[:, k : k + size] if axis else np.s_[k : k + size] for k in range(len(weights)))
        values = sum(weight * wider[part] for weight, part in zip(weights, parts, strict=True))
    return values


def _steep(values: Array, known: Array) -> Array:
    """Where neighbours differ by more than a plane's own noise: in stars and at steps."""
    steep = np.zeros(values.shape, dtype=bool)
    some = np.s_[:: 1 + len(values) // _ROWS]
    sample, there = values[some].astype(np.float64), known[some]
    beside = there[:, 1:] & there[:, :-1]
    if not beside.any():
        return steep
    scatter = 1.4826 * float(np.median(np.abs(np.diff(np.where(there, sample, 0), axis=1))[beside]))
    limit = max(_VARIES * float(np.median(sample[there])), _STANDS_OUT * scatter)
    clean = np.where(known, values, 0)
    for one, other in ((np.s_[:, :-1], np.s_[:, 1:]), (np.s_[:-1], np.s_[1:])):
        over = (np.abs(clean[one] - clean[other]) > limit) & known[one] & known[other]
        steep[one] |= over
        steep[other] |= over
    return steep
