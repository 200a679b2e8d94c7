"""Variances of pixels as they were before what correlated their noise, from those of the pixels there are.

Noise with the correlation function ρ is white noise after a filter h with |ĥ|² = ρ̂, and its variance is that of the
white noise, smoothed with h². To propagate it the variance before is wanted. A plane says V = h² ⊗ V₀, and one step of
undoing that, 2 V - h² ⊗ V, leaves a second difference of a second difference.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from diffim_decorr.fft import inverse, kernel_transform
from diffim_decorr.geometry import Box
from diffim_decorr.images.planes import ConstantPlane, Plane

__all__ = ("UnsmoothedVariance", "unsmoothed")

Array = NDArray[Any]

_REACH, _WITHIN = 5, 0.995  # pixels of h² at most, and how much of it
_WHITE = 0.98  # of h² in its middle is as good as all
# From which difference of neighbours on a plane varies, relative to the usual value, and in units of its own noise,
# which nothing has smoothed; and the largest factor that is believed.
_VARIES, _STANDS_OUT, _LARGEST = 0.02, 6.0, 2.0
_ROWS = 64  # of which the usual is taken


def unsmoothed(plane: Plane, correlation: Array) -> Plane:
    """The variance before what gave the noise of an image its correlation.

    Parameters
    ----------
    plane
        Variances of the image.
    correlation
        Correlation function of its noise (2 l + 1, 2 l + 1).
    """
    weights = _smoothing(correlation)
    if isinstance(plane, ConstantPlane) or len(weights) == 1:
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
