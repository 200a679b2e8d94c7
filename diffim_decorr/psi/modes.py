"""Images of ψ and of the kernels that propagate variance and missing pixels through it, as few as the tolerance allows.

All are computed from images at the few places that span the rest.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diffim_decorr.kernels.bank import KernelBank
from diffim_decorr.kernels.compress import SUM_WEIGHT, compressed
from diffim_decorr.kernels.spatial import SpatialKernel
from diffim_decorr.psi.interpolate import Interpolation
from diffim_decorr.psi.nodes import Places, batches
from diffim_decorr.psi.sampler import Sampler, mirrored
from diffim_decorr.psi.span import Span
from diffim_decorr.psi.support import VARIANCE_TOLERANCE, Support, even_sums
from diffim_decorr.psi.trial import MODES, Trial

__all__ = ("Chains", "companions_of", "images_of", "measured_error", "most_places", "psi_of")

Array = NDArray[Any]

_FOOTPRINT_TOLERANCE = 1e-3
# How many samples are kept however large they are, and however small.
_FEWEST_KEPT, _MOST_KEPT = 24, 300
# Values that are worked on at once.
_AT_ONCE = 1 << 20
# What is rounding error in the products of images, relative to the largest.
_ROUNDING = 1e-13


@dataclass(frozen=True, eq=False)
class Chains:
    """``ψ ⊗ κ_i``, by which the noise of the inputs gets into the result, at the places of a span.

    Parameters
    ----------
    images
        Of each input (inputs, n, r, r).
    kept
        What is within these of the sum of the squares (inputs).
    """

    images: Array
    kept: Array


def most_places(support: Support, memory: int) -> int:
    """Of how many places images fit into so many bytes, at least one."""
    inputs, size = len(support.sampler.inputs), 2 * support.half_width + 1
    return max(1, memory // (8 * ((support.half_width + 1) * size + inputs * (2 * support.reach + 1) ** 2)))


def images_of(support: Support, span: Span, threads: int, step: Callable[[int], None]) -> tuple[Array, Chains, float]:
    """Images at the places of a span; `step` is told of how many there are.

    Returns
    -------
    psi, chains, limited
        Of ψ the rows from the middle on (n, h + 1, s), with a sum of about 1; ``ψ ⊗ κ_i``; and the largest fraction of
        frequencies at which the gain was limited.
    """
    sampler, count = support.sampler, span.count
    inputs, half, reach = len(sampler.inputs), support.half_width, support.reach
    psi = np.empty((count, half + 1, 2 * half + 1))
    chains = np.empty((inputs, count, 2 * reach + 1, 2 * reach + 1))
    totals = np.empty((inputs, count))
    weights = sampler.weights
    limited, done = 0.0, 0

    def work(places: Places) -> tuple[Array, Array, Array, float]:
        spectra = sampler.spectra(places)
        return *sampler.images(spectra, half, reach), sampler.gains(spectra, weights), spectra.limited

    with ThreadPoolExecutor(sampler.workers(threads)) as pool:
        for some, some_chains, gains, part in pool.map(work, batches(span.places, sampler.batch)):
            here = slice(done, done := done + len(some))
            psi[here], chains[:, here], totals[:, here] = support.made_up(some, 1.0), some_chains, gains
            limited = max(limited, part)
            step(done)
    within = np.einsum("inyx,inyx->in", chains, chains)
    kept = (within / np.where(totals > 0, totals, 1)).mean(axis=1)
    return psi, Chains(chains, np.where(kept > 0, kept, 1)), limited


def psi_of(
    support: Support, trial: Trial, images: Array, interpolation: Interpolation, tolerance: float, memory: int
) -> tuple[SpatialKernel, Array, Array, float]:
    """ψ of the fewest modes for a given rms error.

    Parameters
    ----------
    support, trial, interpolation
        What is known of it.
    images
        Of ψ at the places of the span the rows from the middle on (n, h + 1, s).
    tolerance
        Bound of the error.
    memory
        Bytes for the images of modes.

    Returns
    -------
    psi, rows, weights, error
        ψ itself, the rows (n, h + 1, s) of its modes from the middle on, their weights (k, n) at nodes, and the error
        from the modes that were left out.
    """
    sums = even_sums(images)
    flat = images.reshape(len(sums), -1)
    # All but the first row are there twice. The sum takes part, so that the modes hold it nearly and little has to be
    # done for it to hold exactly, at nodes and in between.
    first = flat[:, : images.shape[2]]
    products = 2 * (flat @ flat.T) - first @ first.T + SUM_WEIGHT**2 * np.outer(sums, sums)
    # Of the modes of the span, which are about as large as each other: rounding errors are small beside them.
    inverse = np.linalg.inv(trial.span.triangle)
    powers, vectors = np.linalg.eigh(inverse.T @ products @ inverse)
    used = powers > _ROUNDING * powers[-1]
    roots, vectors = np.sqrt(powers[used]), vectors[:, used]
    amounts = trial.amounts / (trial.amounts @ inverse.T @ sums)[:, None]
    limit = MODES * tolerance * support.norm
    most = _room(memory, (2 * support.half_width + 1) ** 2)
    modes, weights, left = compressed(amounts @ (vectors * roots), trial.nodes.areas, limit, most)
    combined = (modes / roots) @ vectors.T @ inverse.T
    rows = np.empty((len(modes), *images.shape[1:]))
    np.matmul(combined, flat, out=rows.reshape(len(modes), -1))
    # With these, Σψ = 1.
    weights /= (weights @ even_sums(rows))[:, None]
    psi = SpatialKernel(mirrored(rows), interpolation.coefficients(weights))
    return psi, rows, weights, left / support.norm


def _room(memory: int, pixels: int) -> int:
    """How many images of so many pixels fit into so many bytes, at least one."""
    return max(1, memory // (8 * pixels))


def companions_of(
    sampler: Sampler,
    trial: Trial,
    chains: Chains,
    interpolation: Interpolation,
    rows: Array,
    weights: Array,
    levels: Array,
    memory: int,
    threads: int,
) -> tuple[KernelBank, SpatialKernel]:
    """The variance kernels, and the footprint: |ψ|, normalised to a sum of 1.

    Of the variance kernels, all of which share the coefficient functions, the error of the sum over inputs counts, so
    that each weighs as much as the level of its variance plane.

    Parameters
    ----------
    sampler, trial, chains, interpolation
        What is known of ψ.
    rows, weights
        Its modes and their weights at nodes, see `psi_of`.
    levels
        Of the variance planes.
    memory
        Bytes for samples, and twice for the images of modes.
    threads
        Number of threads.
    """
    inputs, _, height, width = chains.images.shape
    flat = chains.images.reshape(inputs, -1, height * width)
    amounts = trial.span.shares(trial.amounts)
    levels = (levels / levels.sum()).clip(1e-9)
    some = amounts[_spread(len(amounts), 32)]
    gains = [np.mean(((some @ chain) ** 2).sum(axis=1)) / kept for chain, kept in zip(flat, chains.kept, strict=True)]
    scales = levels / (levels @ gains)
    factors = np.sqrt(scales / chains.kept)

    def squares(here: Array) -> Array:
        # Variance planes are smooth in most places: there only the kernels' sums matter, and they matter more.
        parts = [((amounts[here] @ chain) * factor) ** 2 for chain, factor in zip(flat, factors, strict=True)]
        if sampler.moves:
            there = x[here], y[here]
            images = [part.reshape(-1, height, width) for part in parts]
            parts = [sampler.moved(own, number, there).reshape(len(own), -1) for number, own in enumerate(images)]
        return np.hstack([*parts, *(SUM_WEIGHT * part.sum(axis=1, keepdims=True) for part in parts)])

    areas, pixels = trial.nodes.areas, height * width
    x, y, _ = trial.nodes.positions
    most = _room(2 * memory, inputs * pixels)
    modes, shares = _fewest(
        squares, inputs * (pixels + 1), np.float64, areas, VARIANCE_TOLERANCE, most, memory, threads
    )
    bases = modes[:, : inputs * pixels].reshape(-1, inputs, height, width) / scales[:, None, None]
    bank = KernelBank(np.ascontiguousarray(bases.swapaxes(0, 1)), interpolation.coefficients(shares))
    return bank, _footprint(rows, weights, areas, interpolation, memory, threads)


def _footprint(
    rows: Array, weights: Array, areas: Array, interpolation: Interpolation, memory: int, threads: int
) -> SpatialKernel:
    """|ψ|, normalised to a sum of 1, from the modes of ψ and their weights at nodes, see `psi_of`."""
    # Single precision is enough for what decides on flags only.
    flat, weights = rows.reshape(len(rows), -1).astype(np.float32), weights.astype(np.float32)
    twice = np.full(rows.shape[1:], 2, dtype=np.float32)  # all rows but the first are there twice
    twice[0] = 1

    def absolute(here: Array) -> Array:
        values = np.abs(weights[here] @ flat)
        values *= np.sqrt(twice).ravel() / (values @ twice.ravel())[:, None]
        return values

    most = _room(2 * memory, rows.shape[-1] ** 2)
    modes, amounts = _fewest(absolute, flat.shape[1], np.float32, areas, _FOOTPRINT_TOLERANCE, most, memory, threads)
    basis = mirrored((modes.reshape(-1, *twice.shape) / np.sqrt(twice)).astype(float))
    amounts = amounts / (amounts @ basis.sum(axis=(1, 2)))[:, None]
    return SpatialKernel(basis, interpolation.coefficients(amounts))


def _fewest(
    values: Callable[[Array], Array],
    width: int,
    dtype: Any,
    areas: Array,
    tolerance: float,
    most: int,
    memory: int,
    threads: int,
) -> tuple[Array, Array]:
    """The fewest modes (n, width) of what is found at nodes, and their amounts (k, n) there.

    As many samples are kept as fit into memory, evenly spread over the nodes; the modes are found in these, and the
    amounts of all, a few at a time.

    Parameters
    ----------
    values
        What is found (m, width), from the numbers (m) of nodes.
    width, dtype
        Of what is found.
    areas
        How much each of the nodes counts (k).
    tolerance, most
        What modes may leave out, and how many there may be whatever they do.
    memory
        Bytes for samples.
    threads
        Number of threads.
    """
    count = len(areas)
    kept = _spread(count, min(max(_FEWEST_KEPT, memory // (np.dtype(dtype).itemsize * width)), _MOST_KEPT))
    batch = max(1, _AT_ONCE // width)

    def parts(chosen: Array) -> list[Array]:
        return [chosen[k : k + batch] for k in range(0, len(chosen), batch)]

    samples = np.empty((len(kept), width), dtype=dtype)
    with ThreadPoolExecutor(threads) as pool:
        for start, some in zip(range(0, len(kept), batch), pool.map(values, parts(kept)), strict=True):
            samples[start : start + batch] = some
        modes, amounts, _ = compressed(samples, areas[kept] / areas[kept].mean(), tolerance, most)
        if len(kept) < count:
            del samples
            found = pool.map(lambda here: values(here) @ modes.T, parts(np.arange(count)))
            amounts = np.concatenate(list(found))
    return modes, amounts


def _spread(count: int, most: int) -> Array:
    """At most so many of `count` numbers, evenly spread."""
    return np.linspace(0, count - 1, min(count, most)).round().astype(int)


def measured_error(support: Support, psi: SpatialKernel, rows: Array, places: Places, threads: int) -> float:
    """Rms error at places of ψ, the rows of whose modes from the middle on are given, against ψ computed there."""
    sampler = support.sampler

    def work(some: Places) -> Array:
        spectra = sampler.spectra(some, chains=False)
        exact = support.cut(sampler.images(spectra, support.half_width, 0)[0])
        off = np.tensordot(psi.coefficients.at(some[0], some[1]), rows, axes=(0, 0)) - exact
        off *= off
        return even_sums(off)

    with ThreadPoolExecutor(sampler.workers(threads)) as pool:
        errors = np.concatenate(list(pool.map(work, batches(places, sampler.batch))))
    return math.sqrt(float(errors.mean())) / support.norm
