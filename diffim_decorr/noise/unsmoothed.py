"""Variances of pixels as they were before what correlated their noise, from those of the pixels there are.

Noise with the correlation function ρ is white noise after a filter h with |ĥ|² = ρ̂, and its variance is that of the
white noise, smoothed with h². To propagate it the variance before is wanted. A plane says V = h² ⊗ V₀, and one step of
undoing that, 2 V - h² ⊗ V, leaves a second difference of a second difference. Where the resampling is known the
smoothing is as well, with its sub-pixel phase, and a few such steps can be made (van Cittert 1931, Z. Phys. 69, 298).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
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


@final
@dataclass(frozen=True, eq=False)
class UnsmoothedVariance(Plane):
    """A variance plane V as it was before it was smoothed: 2 V - h² ⊗ V, between half and twice of V.

    Values that are not above 0 and finite stay, and take no part.

    Parameters
    ----------
    plane
        V.
    weights
        h² (2 m + 1, 2 m + 1), with a sum of 1.
    """

    plane: Plane
    weights: Array

    @property
    def shape(self) -> tuple[int, int]:
        return self.plane.shape

    def read(self, box: Box) -> Array:
        reach = len(self.weights) // 2
        ny, nx = self.shape
        wider = Box(
            max(box.x0 - reach, 0), max(box.y0 - reach, 0), min(box.x1 + reach, nx), min(box.y1 + reach, ny)
        )  # fmt: skip
        pixels = self.plane.read(wider)
        known = np.isfinite(pixels) & (pixels > 0)
        own = np.s_[box.y0 - wider.y0 : box.y1 - wider.y0, box.x0 - wider.x0 : box.x1 - wider.x0]
        result: Array = pixels[own].astype(np.float64 if pixels.dtype.kind != "f" else pixels.dtype)
        steep = _steep(pixels, known)
        if not steep.any():
            return result
        from scipy.ndimage import maximum_filter  # which takes long to import, and most runs do without

        rows, columns = np.nonzero((maximum_filter(steep, 2 * reach + 1) & known)[own])
        values = pixels.astype(np.float64)
        values = np.pad(np.where(known, values, 0), reach)
        known = np.pad(known, reach)
        width = values.shape[1]
        first = (rows + own[0].start) * width + columns + own[1].start
        smooth, total = np.zeros(len(rows)), np.zeros(len(rows))
        flat, present = values.ravel(), known.ravel()
        for (j, i), weight in np.ndenumerate(self.weights):
            there = first + (j * width + i)
            smooth += weight * flat[there]
            total += weight * present[there]
        before = flat[first + reach * (width + 1)]
        result[rows, columns] = np.clip(2 * before - smooth / total, before / _LARGEST, before * _LARGEST)
        return result

    def read_every(self, box: Box, steps: tuple[int, int]) -> Array:
        # Samples tell the level, which smoothing leaves as it is.
        return self.plane.read_every(box, steps)

    def held(self, y0: int, y1: int) -> Any:
        reach = len(self.weights) // 2
        return self.plane.held(max(y0 - reach, 0), min(y1 + reach, self.shape[0]))


@final
@dataclass(frozen=True, eq=False)
class UnsmoothedByPhase(Plane):
    """A variance plane as it was before a known resampling smoothed it, between a quarter and four times of what it is.

    Values that are not above 0 and finite stay, and take no part.

    Parameters
    ----------
    plane
        The variances, with the level that they had before.
    response
        By what the image was resampled.
    """

    plane: Plane
    response: Response

    @property
    def shape(self) -> tuple[int, int]:
        return self.plane.shape

    @cached_property
    def _reach(self) -> int:
        return int(self.response.smoothing.shape[1]) // 2

    def read(self, box: Box) -> Array:
        wider = box.grown(_KNOWN_STEPS * self._reach).clipped(self.shape)
        pixels = self.plane.read(wider)
        own = np.s_[box.y0 - wider.y0 : box.y1 - wider.y0, box.x0 - wider.x0 : box.x1 - wider.x0]
        result: Array = pixels[own].astype(np.float64 if pixels.dtype.kind != "f" else pixels.dtype)
        known = np.isfinite(pixels) & (pixels > 0)
        steep = _steep(pixels, known)
        if not steep.any():
            return result
        from scipy.ndimage import maximum_filter

        changed = (maximum_filter(steep, 2 * self._reach + 3) & known)[own]
        if not changed.any():
            return result
        before = self._before(np.where(known, pixels, 0).astype(np.float64), known, wider)[own]
        np.copyto(result, before, where=changed)
        return result

    def _before(self, values: Array, known: Array, box: Box) -> Array:
        """What it takes for the smoothing to make values of it."""
        x, y = np.arange(box.x0, box.x1, dtype=float), np.arange(box.y0, box.y1, dtype=float)
        across, down = (self.response.smoothing_at(phase) for phase in self.response.phases_on(x, y))
        total = 1.0 if known.all() else np.maximum(_smoothed(known.astype(float), across, down), _FAINTEST)
        before = values
        for _ in range(_KNOWN_STEPS):
            before = before + values - _smoothed(before, across, down) / total
            before *= known
        return np.clip(before, values / _KNOWN_LARGEST, values * _KNOWN_LARGEST)

    def read_every(self, box: Box, steps: tuple[int, int]) -> Array:
        return self.plane.read_every(box, steps)

    def held(self, y0: int, y1: int) -> Any:
        reach = _KNOWN_STEPS * self._reach
        return self.plane.held(max(y0 - reach, 0), min(y1 + reach, self.shape[0]))


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
