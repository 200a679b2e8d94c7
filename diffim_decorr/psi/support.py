"""How far ψ reaches: where it may be cut off, and on which grid it does not wrap."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diffim_decorr.fft import even_window, good_size
from diffim_decorr.kernels.spatial import SpatialKernel
from diffim_decorr.noise.field import NoiseField
from diffim_decorr.psi.nodes import Nodes, Places, batches
from diffim_decorr.psi.sampler import Recipe, Sampler

__all__ = ("VARIANCE_TOLERANCE", "Support", "even_sums", "support_of")

Array = NDArray[Any]

#: Of the variance kernels, relative to their norm.
VARIANCE_TOLERANCE = 1e-3
# The grid that is tried last, and by what factor it grows at a time.
_LARGEST_GRID, _GROWTH = 512, 1.5
# Shares of the tolerance. What is cut off ψ is the same everywhere and shows next to bright pixels: its sum gets
# little, and any single pixel so little that stars of a million σ leave no trace.
_TAIL, _TAIL_PEAK = 0.01, 1e-5
# For a ψ that amplifies strongly (Σ|ψ| above _SHARP), or for noise that is known from measurement only, what counts is
# the energy that is cut off.
_SHARP_TAIL, _SHARP = 0.3, 10.0
_SQUARES_TAIL = 0.1


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

    def made_up(self, rows: Array, totals: Array | float) -> Array:
        """Rows (k, h + 1, s) of images that were cut, with the sums (k) of the whole ones where ψ sharpens.

        Usually what is missing is made up for by a factor, once the images are added up. Where ψ sharpens, its sum is
        small beside it, and a factor would change all of it: there it is spread over the support.
        """
        if not self.sharpening:
            return rows
        missing = (totals - even_sums(rows)) / (2 * self.half_width + 1) ** 2
        spread: Array = rows + missing[:, None, None]
        return spread

    def cut(self, rows: Array) -> Array:
        """Rows (k, h + 1, s) of ψ that was cut, with Σψ = 1."""
        whole = self.made_up(rows, 1.0)
        normalised: Array = whole / even_sums(whole)[:, None, None]
        return normalised


def even_sums(rows: Array) -> Array:
    """Sums (…) of even images of which the rows from the middle on are known (…, h + 1, s)."""
    sums: Array = 2 * rows.sum(axis=(-2, -1)) - rows[..., 0, :].sum(axis=-1)
    return sums


@dataclass(frozen=True, eq=False)
class _Tails:
    """What lies outside each half-width h = 0 to N // 2 - 1, at the place where that is most.

    Parameters
    ----------
    absolute, peak, energy
        Of ψ: the sum of its absolute value, the largest one, and the sum of squares relative to that of all.
    squares
        Of the variance kernels, the sum relative to that of all.
    norm
        The largest root of Σψ².
    """

    absolute: Array
    peak: Array
    energy: Array
    squares: Array
    norm: float

    def or_larger(self, other: _Tails) -> _Tails:
        """The larger of these and others."""
        return _Tails(
            np.maximum(self.absolute, other.absolute),
            np.maximum(self.peak, other.peak),
            np.maximum(self.energy, other.energy),
            np.maximum(self.squares, other.squares),
            max(self.norm, other.norm),
        )


def support_of(
    inputs: Sequence[SpatialKernel],
    noise: NoiseField,
    recipe: Recipe,
    probes: Nodes,
    tolerance: float,
    threads: int,
    widest: int | None = None,
) -> Support:
    """A grid on which ψ does not wrap, and the half-widths of ψ and of the variance kernels.

    Where the noise was measured, ψ has no more than the widest of half-widths: it is not known better, and what reaches
    across the image leaves no pixel that owes nothing to its edge.
    """
    kernels = max(max(kernel.shape) for kernel in inputs)
    size = good_size(max(64, 2 * kernels, 4 * (recipe.half_width or 0)))
    largest = max(size, good_size(max(_LARGEST_GRID, 3 * kernels)))
    measured = recipe.residual is not None or any(rho is not None for rho in noise.correlations)
    while True:
        sampler = Sampler(inputs, noise, recipe, size)
        nothing = np.zeros(size // 2)
        tails = _Tails(nothing, nothing, nothing, nothing, 0.0)
        for found in _over_probes(sampler, probes, threads):
            tails = tails.or_larger(found)
            # A bound relative to Σψ = 1 would ask too much of a ψ that amplifies much more than it keeps.
            sharpening = measured or bool(tails.absolute[0] > _SHARP)
            half_width = recipe.half_width or _half_width(tails, sharpening, tolerance)
            if measured and widest is not None and recipe.half_width is None:
                half_width = min(half_width, max(widest, kernels // 2))
            reach = _first_below(tails.squares, _SQUARES_TAIL * min(tolerance, VARIANCE_TOLERANCE))
            # Beyond three eighths of the grid the tails of neighbouring periods would add up: they fall exponentially,
            # so that there, where what is left is negligible already, the next period adds next to nothing.
            if 8 * max(half_width, reach) > 3 * size and size < largest:
                break
        else:
            # Where ψ amplifies there is little noise: errors count relative to ψ.
            norm = tails.norm if sharpening else 1.0
            reach += sampler.moves
            return Support(sampler, half_width, reach, float(tails.energy[half_width]), sharpening, norm)
        size = min(good_size(int(_GROWTH * size)), largest)


def _half_width(tails: _Tails, sharpening: bool, tolerance: float) -> int:
    """The smallest half-width at which what is cut off ψ is negligible."""
    if sharpening:
        return _first_below(tails.energy, (_SHARP_TAIL * tolerance) ** 2)
    # Renormalised to Σψ = 1, what is left is wrong by the sum of what was cut off.
    return _first_below(np.maximum(tails.absolute / _TAIL, tails.peak / _TAIL_PEAK), tolerance)


def _first_below(values: Array, limit: float) -> int:
    """The first half-width, at least 1, at which values that fall with it are not above a limit; the last if none."""
    below = np.flatnonzero(values[1:] <= limit)
    return int(below[0]) + 1 if len(below) else len(values) - 1


def _over_probes(sampler: Sampler, probes: Nodes, threads: int) -> Iterator[_Tails]:
    """The tails at a few places at a time."""
    size = sampler.size
    from_first = np.minimum(np.arange(size), size - np.arange(size))
    # Of ψ, which is even, half of the rows are enough; those between the first and the last count twice.
    rows = np.arange(size // 2 + 1)
    half, whole = _Rings(rows, np.abs(np.arange(size // 2 - 1, -size // 2 - 1, -1))), _Rings(from_first, from_first)
    times = np.where((rows == 0) | (rows == size // 2), 1.0, 2.0)[:, None]

    def work(places: Places) -> _Tails:
        spectra = sampler.spectra(places)
        psi = np.abs(even_window(spectra.psi.reshape(-1, size, size // 2 + 1), size, size // 2)[..., 1:])
        peak = half.outside(psi, np.maximum).max(axis=0)
        absolute = half.outside(psi * times).max(axis=0)
        psi *= psi
        psi *= times
        energies = psi.sum(axis=(1, 2))
        energy = (half.outside(psi) / energies[:, None]).max(axis=0)
        squares = energy.copy() if any(sampler.untouched) else np.zeros(size // 2)
        for square in sampler.squares(spectra):
            totals = square.sum(axis=(1, 2))
            # A kernel that vanishes somewhere has nothing to lose there.
            relative = whole.outside(square) / np.where(totals > 0, totals, 1)[:, None]
            np.maximum(squares, relative.max(axis=0), out=squares)
        return _Tails(absolute, peak, energy, squares, float(np.sqrt(energies.max())))

    with ThreadPoolExecutor(sampler.workers(threads)) as pool:
        # One by one: the first may be enough to see that the grid is too small.
        yield from pool.map(work, batches(probes.positions, 1))


class _Rings:
    """The pixels of images by their distance from the origin along the axis where that is larger.

    Parameters
    ----------
    rows, columns
        Distance of each row and column.
    """

    def __init__(self, rows: Array, columns: Array) -> None:
        ring = np.maximum(rows[:, None], columns[None, :]).ravel()
        self._order = np.argsort(ring, kind="stable")
        self._begins = np.searchsorted(ring[self._order], np.arange(ring.max() + 1))

    def outside(self, images: Array, joined: np.ufunc = np.add) -> Array:
        """What lies outside each half-width (k, N // 2), for images (k, …): the sum, or the largest."""
        rings = joined.reduceat(images.reshape(len(images), -1)[:, self._order], self._begins, axis=1)
        # From outside, so that a small tail is not the difference of large numbers.
        beyond: Array = joined.accumulate(rings[:, ::-1], axis=1)[:, ::-1]
        return beyond[:, 1:]
