"""How far ψ reaches: where it may be cut off, and on which grid it does not wrap."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diffim_decorr.fft import good_size
from diffim_decorr.kernels.spatial import SpatialKernel
from diffim_decorr.noise.field import NoiseField
from diffim_decorr.psi.nodes import Nodes, batches
from diffim_decorr.psi.sampler import Recipe, Sampler

__all__ = ("VARIANCE_TOLERANCE", "Support", "centred_crop", "cut_psi", "cut_squares", "support_of", "tail", "tail_peak")

Array = NDArray[Any]

#: Of the variance kernels, relative to their norm.
VARIANCE_TOLERANCE = 1e-3
_LARGEST_GRID = 512
# Shares of the tolerance. What is cut off ψ is the same everywhere and shows next to bright pixels: its sum gets
# little, and any single pixel so little that stars of a million σ leave no trace.
_TAIL, _TAIL_PEAK = 0.01, 1e-5
# For a ψ that amplifies strongly (Σ|ψ| above _SHARP), or for noise that is known from measurement only, what counts is
# the energy that is cut off.
_SHARP_TAIL, _SHARP = 0.3, 10.0


def centred_crop(images: Array, half_width: int) -> Array:
    """The pixels within a half-width of the origin of periodic images (..., N, N), with the origin in the middle."""
    offsets = np.arange(-half_width, half_width + 1)
    return images[..., offsets[:, None], offsets[None, :]]


def tail(images: Array) -> Array:
    """What lies outside each half-width, for periodic images (nodes, N, N) with their centre at the origin.

    Returns
    -------
    tail
        Sums (nodes, N // 2) of the pixels with max(abs(dx), abs(dy)) > h, for h = 0 to N // 2 - 1.
    """
    size = images.shape[-1]
    ring = _rings(size).ravel()
    sums = np.array([np.bincount(ring, image.ravel(), size // 2 + 1) for image in images])
    # Summed from outside, so that a small tail is not the difference of large numbers.
    outside: Array = sums[:, ::-1].cumsum(axis=1)[:, ::-1]
    return outside[:, 1:]


def tail_peak(images: Array) -> Array:
    """The largest value (nodes, N // 2) outside each half-width, as for `tail`."""
    size = images.shape[-1]
    ring = _rings(size).ravel()
    order = np.argsort(ring, kind="stable")
    begins = np.searchsorted(ring[order], np.arange(size // 2 + 1))
    peaks = np.maximum.reduceat(images.reshape(len(images), -1)[:, order], begins, axis=1)
    outside: Array = np.maximum.accumulate(peaks[:, ::-1], axis=1)[:, ::-1]
    return outside[:, 1:]


def _rings(size: int) -> Array:
    """Distance of the pixels (N, N) from the origin of a periodic image, along the axis where it is larger."""
    distance = np.minimum(np.arange(size), size - np.arange(size))
    return np.maximum(distance[:, None], distance[None, :])


@dataclass(frozen=True, eq=False)
class Support:
    """The sampler, the half-widths of ψ and of the variance kernels, the energy lost, and whether ψ sharpens much.

    Errors of ψ are in units of `norm`.
    """

    sampler: Sampler
    half_width: int
    reach: int
    energy_lost: float
    sharpening: bool
    norm: float
    smallest_grid: int

    def fitted(self) -> Support:
        """The same on the smallest grid that is large enough, for many samples."""
        # Beyond three eighths of the grid the tails of neighbouring periods would add up: they fall exponentially, so
        # that there, where what is left is negligible already, the next period adds next to nothing.
        size = good_size(max(self.smallest_grid, -(-8 * max(self.half_width, self.reach) // 3)))
        return replace(self, sampler=self.sampler.on_grid(size)) if size < self.sampler.size else self


def support_of(
    inputs: Sequence[SpatialKernel], noise: NoiseField, recipe: Recipe, probes: Nodes, tolerance: float
) -> Support:
    """A grid on which ψ does not wrap, and the half-widths of ψ and of the variance kernels."""
    kernels = max(max(kernel.shape) for kernel in inputs)
    size = smallest = good_size(max(64, 2 * kernels, 4 * (recipe.half_width or 0)))
    while True:
        sampler = Sampler(inputs, noise, recipe, size)
        lost_energy, lost_psi, lost_peak, lost_squares = np.zeros((4, size // 2))
        for batch in batches(probes.positions, sampler.batch):
            psi, squares, _ = sampler.all(*batch)
            lost_energy = np.maximum(lost_energy, _relative_tail(psi**2))
            lost_psi = np.maximum(lost_psi, tail(np.abs(psi)).max(axis=0))
            lost_peak = np.maximum(lost_peak, tail_peak(np.abs(psi)).max(axis=0))
            for square in squares:
                lost_squares = np.maximum(lost_squares, _relative_tail(square))
        sharpening = _is_sharpening(noise, recipe, float(lost_psi[0]))
        if sharpening:
            lost, allowed = lost_energy, (_SHARP_TAIL * tolerance) ** 2
        else:
            # Renormalised to Σψ = 1, what is left is wrong by the sum of what was cut off.
            lost = np.maximum(lost_psi / _TAIL, lost_peak / _TAIL_PEAK)
            allowed = tolerance
        half_width = recipe.half_width or _first_below(lost, allowed)
        reach = _first_below(lost_squares, 0.1 * min(tolerance, VARIANCE_TOLERANCE))
        if 8 * max(half_width, reach) <= 3 * size or 2 * size > max(_LARGEST_GRID, 3 * kernels):
            # Where ψ amplifies there is little noise: errors count relative to ψ.
            norm = float(np.sqrt(np.max(np.sum(psi**2, axis=(1, 2))))) if sharpening else 1.0
            return Support(sampler, half_width, reach, float(lost_energy[half_width]), sharpening, norm, smallest)
        size *= 2


def _is_sharpening(noise: NoiseField, recipe: Recipe, total: float) -> bool:
    """Whether ψ amplifies much more than it keeps, so that a bound relative to Σψ = 1 would ask for too much of it."""
    measured = recipe.residual is not None or any(rho is not None for rho in noise.correlations)
    return measured or total > _SHARP


def _first_below(values: Array, limit: float) -> int:
    """The first half-width, at least 1, at which values that fall with it are not above a limit; the last if none."""
    below = np.flatnonzero(values[1:] <= limit)
    return int(below[0]) + 1 if len(below) else len(values) - 1


def _relative_tail(images: Array) -> Array:
    totals = images.sum(axis=(1, 2))[:, None]
    # A kernel that vanishes somewhere has nothing to lose there.
    relative: Array = (tail(images) / np.where(totals > 0, totals, 1)).max(axis=0)
    return relative


def cut_psi(psi: Array, half_width: int, sharpening: bool) -> Array:
    """ψ cut to its support, with Σψ = 1.

    What is missing is usually made up for by a factor. Where ψ sharpens, its sum is small beside it, and a factor would
    change all of it: there it is spread over the support.
    """
    cut = centred_crop(psi, half_width)
    total = cut.sum(axis=(-2, -1), keepdims=True)
    normalised: Array = cut + (1 - total) / (cut.shape[-2] * cut.shape[-1]) if sharpening else cut / total
    return normalised


def cut_squares(squares: Array, reach: int) -> Array:
    """Variance kernels cut to their support, with the sums that they had."""
    cut = centred_crop(squares, reach)
    totals, left = squares.sum(axis=(-2, -1), keepdims=True), cut.sum(axis=(-2, -1), keepdims=True)
    kept: Array = cut * (totals / np.where(left > 0, left, 1))
    return kept
