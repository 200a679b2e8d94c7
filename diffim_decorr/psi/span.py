"""A few places whose ψ, added up, are ψ anywhere, and how much of each that takes.

How much it takes is found without ψ being computed there: ψ̂ at a few thousand frequencies is enough to find a few
dozen amounts by least squares, and what it leaves at these frequencies tells how good they are. So ψ can be had at
thousands of places for what a few dozen cost, and images of it are needed at the few places only: the method of the
reduced basis, with empirical quadrature (Quarteroni, Manzoni & Negri 2016, Reduced Basis Methods for PDEs).

The same amounts hold for the kernels ``ψ ⊗ κ_i`` by which the noise of each input gets into the result, which have to
be added up as well: all of them are looked at together.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from diffim_decorr.kernels.compress import SUM_WEIGHT
from diffim_decorr.psi.nodes import Places, batches
from diffim_decorr.psi.sampler import Sampler
from diffim_decorr.psi.support import VARIANCE_TOLERANCE, Support

__all__ = ("Amounts", "Quadrature", "Span", "quadrature_of")

Array = NDArray[Any]
_Result = TypeVar("_Result")

# Frequencies of all ψ ⊗ κ_i together that are looked at, at most, and of each, at least.
_CHAINS, _FEWEST_CHAINS = 768, 96
_AT_ONCE = 1 << 17  # values
# By how much variance kernels need not be as good where a resampling has to be undone in the planes, which is not
# better than to some per cent.
_UNDONE = 30.0
# How many places are looked at for more to be added at a time.
_CANDIDATES = 400


@dataclass(frozen=True, eq=False)
class Quadrature:
    """A few frequencies that stand for all.

    Parameters
    ----------
    sampler
        Computes spectra at these frequencies, of which the first is zero.
    roots
        With which ψ̂ is multiplied (m), so that sums of squares are those over all pixels.
    chains
        Numbers of the frequencies that are enough for ψ ⊗ κ_i.
    chain_roots
        The same for these (inputs, frequencies), and for how much errors in them matter beside those of ψ.
    """

    sampler: Sampler
    roots: Array
    chains: Array
    chain_roots: Array

    def rows(self, places: Places) -> Array:
        """What ψ is known by (k, rows): ψ̂ at the frequencies, the first m of them, and ψ ⊗ κ_i at fewer."""
        spectra = self.sampler.spectra(places)
        parts = [spectra.psi * self.roots]
        for chain, roots in zip(spectra.chains, self.chain_roots, strict=True):
            if chain is not None:
                parts += [part[:, self.chains] * roots for part in chain if part is not None]
        return np.hstack(parts)

    def over(self, places: Places, work: Callable[[Array], _Result], threads: int) -> Iterator[_Result]:
        """What is found from the rows of some places at a time, in their order."""
        size = max(1, _AT_ONCE // len(self.roots))
        with ThreadPoolExecutor(threads) as pool:
            yield from pool.map(lambda some: work(self.rows(some)), batches(places, size))


def quadrature_of(support: Support, places: Places, count: int, levels: Array, tolerance: float) -> Quadrature:
    """So many frequencies, more of them where ψ̂ differs between some places.

    Parameters
    ----------
    support
        The grid of all frequencies.
    places
        At which ψ̂ is looked at.
    count
        How many frequencies to choose.
    levels
        Noise variance of each input.
    tolerance
        Bound of the rms error of ψ.
    """
    sampler, weights = support.sampler, support.sampler.weights
    found, sizes = [], np.zeros(len(sampler.inputs))
    for some in batches(places, sampler.batch):
        spectra = sampler.spectra(some)
        found.append(spectra.psi)
        touched = np.array([chain is not None for chain in spectra.chains])
        sizes = np.maximum(sizes, np.where(touched, sampler.gains(spectra, weights).max(axis=1), 0))
    psi = np.concatenate(found)
    chosen, times = np.arange(len(weights)), np.ones(len(weights))
    if count < len(weights):
        varying = weights * psi.var(axis=0)
        uniform = weights / weights.sum()
        share = uniform if not varying.any() else (uniform + varying / varying.sum()) / 2
        # One from each of as many stretches of frequencies as are wanted, all with the same share.
        drawn = (np.arange(count) + np.random.default_rng(0).random(count)) / count
        picked = np.minimum(np.searchsorted(share.cumsum(), drawn), len(weights) - 1)
        chosen, numbers = np.unique(np.append(picked, 0), return_counts=True)
        numbers[0] -= 1
        times = numbers / (count * share[chosen])
    roots = np.sqrt(weights[chosen] * times)
    few = np.arange(len(chosen))
    wanted = max(_FEWEST_CHAINS, _CHAINS // max(1, int(np.count_nonzero(sizes))))
    if wanted < len(few):
        few = np.linspace(0, len(few) - 1, wanted).round().astype(int)
    # An error δ of ψ ⊗ κ_i changes the variance kernel by twice its product with it, about 2 |δ| / |ψ ⊗ κ_i| of it.
    amplitudes = np.sqrt(sizes)
    shares = levels * sizes / max(float(levels @ sizes), 1e-300)
    wanted_of_all = VARIANCE_TOLERANCE * (_UNDONE if sampler.moves else 1)
    factors = tolerance * support.norm / wanted_of_all * shares / np.where(sizes > 0, amplitudes, 1)
    chain_roots = factors[:, None] * roots[few] * np.sqrt(len(chosen) / len(few))
    roots[0] = SUM_WEIGHT
    return Quadrature(sampler.at_frequencies(chosen), roots, few, chain_roots)


@dataclass(frozen=True, eq=False)
class Amounts:
    """How much of each mode there is at places.

    Parameters
    ----------
    values
        The amounts (k, n).
    left
        Norm (k) of what they leave of ψ.
    left_of_all
        The same of ψ and of all ψ ⊗ κ_i together.
    """

    values: Array
    left: Array
    left_of_all: Array


@dataclass(frozen=True, eq=False)
class Span:
    """Places whose ψ span that of all others.

    Parameters
    ----------
    quadrature
        The frequencies from which amounts are found.
    places
        The n places.
    modes
        What ψ is known by there, made orthonormal (n, rows).
    triangle
        The matrix (n, n) whose transpose makes the former of the latter.
    """

    quadrature: Quadrature
    places: Places
    modes: Array
    triangle: Array

    @classmethod
    def empty(cls, quadrature: Quadrature) -> Span:
        nothing = np.empty(0)
        return cls(quadrature, (nothing, nothing, nothing), np.empty((0, 0)), np.empty((0, 0)))

    @property
    def count(self) -> int:
        return len(self.modes)

    def amounts(self, places: Places, threads: int) -> Amounts:
        """How much of each orthonormal mode there is at places."""
        own = self.own

        def work(rows: Array) -> tuple[Array, Array, Array]:
            amounts = rows @ self.modes.T
            left = rows - amounts @ self.modes
            left *= left
            return amounts, left[:, : own.shape[1]].sum(axis=1), left.sum(axis=1)

        found = list(self.quadrature.over(places, work, threads))
        amounts, left, left_of_all = (np.concatenate(parts) for parts in zip(*found, strict=True))
        # With as many amounts as these were fitted, what is left looks smaller than it is.
        freedom = max(own.shape[1] - self.count, 1) / own.shape[1]
        return Amounts(amounts, np.sqrt(left / freedom), np.sqrt(left_of_all / freedom))

    @property
    def own(self) -> Array:
        """What ψ itself is known by, of each mode (n, m): norms in it are those of images, and of their sums."""
        return self.modes[:, : len(self.quadrature.roots)]

    def shares(self, amounts: Array) -> Array:
        """How much of ψ at each of the places (k, n) makes amounts (k, n) of the modes, to a sum of 1."""
        shares = np.linalg.solve(self.triangle, amounts.T).T
        normalised: Array = shares / shares.sum(axis=1, keepdims=True)
        return normalised

    def extended(self, places: Places, left: Array, limit: float, most: int, threads: int) -> Span:
        """With as many of some places as it takes to leave less than a limit at all of them.

        Parameters
        ----------
        places
            Those that may be taken.
        left
            Norm (k) of what is left there so far; those with most of it are looked at.
        limit
            That of what may be left.
        most
            Number of places that there may be in all.
        """
        worst = np.sort(np.argsort(-left, kind="stable")[:_CANDIDATES])
        x, y, log_ratio = (values[worst] for values in places)
        rows = np.concatenate(list(self.quadrature.over((x, y, log_ratio), np.asarray, threads)))
        old = self.modes.reshape(self.count, rows.shape[1])
        known = rows @ old.T
        rows -= known @ old
        taken = _pivots(rows @ rows.T, limit, most - self.count)
        again = rows[taken] @ old.T  # what rounding errors left
        modes, triangle = np.linalg.qr((rows[taken] - again @ old).T)
        zeros = np.zeros((len(taken), self.count))
        return Span(
            self.quadrature,
            (
                np.append(self.places[0], x[taken]),
                np.append(self.places[1], y[taken]),
                np.append(self.places[2], log_ratio[taken]),
            ),
            np.concatenate([old, modes.T]),
            np.block([[self.triangle, (known[taken] + again).T], [zeros, triangle]]),
        )


def _pivots(products: Array, limit: float, most: int) -> Array:
    """The fewest of several vectors that the others are made of: Cholesky decomposition with pivots.

    Parameters
    ----------
    products
        Scalar products (k, k) of the vectors.
    limit
        Norm of what may be left of any vector.
    most
        How many there may be.
    """
    taken: list[int] = []
    left, columns = np.diag(products).copy(), np.empty((len(products), len(products)))
    while len(taken) < min(most, len(products)) and left.max() > limit**2:
        best, count = int(np.argmax(left)), len(taken)
        column = products[best] - columns[best, :count] @ columns[:, :count].T
        column /= np.sqrt(left[best])
        columns[:, count] = column
        left = np.maximum(left - column**2, 0)
        left[best] = 0
        taken.append(best)
    return np.array(taken, dtype=int)
