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
from diffim_decorr.kernels.compress import compressed
from diffim_decorr.kernels.spatial import SpatialKernel
from diffim_decorr.psi.interpolate import Interpolation
from diffim_decorr.psi.nodes import Places, batches
from diffim_decorr.psi.sampler import mirrored
from diffim_decorr.psi.span import Span
from diffim_decorr.psi.support import VARIANCE_TOLERANCE, Support, even_sums
from diffim_decorr.psi.trial import MODES, Trial

__all__ = ("Images", "companions_of", "images_of", "measured_error", "most_places", "psi_of")

Array = NDArray[Any]

# Weight of the kernels' sums in finding modes.
_SUM_WEIGHT = 20.0
_FOOTPRINT_TOLERANCE = 1e-3
# How many samples are kept, however large they are.
_FEWEST_KEPT = 24
# Values that are worked on at once, of images and in sums of them.
_AT_ONCE, _PIXELS = 1 << 20, 1 << 13
# What is rounding error in the products of images, relative to the largest.
_ROUNDING = 1e-13


@dataclass(frozen=True, eq=False)
class Images:
    """Images of the modes of a span.

    Parameters
    ----------
    psi
        Of ψ the rows from the middle on (n, h + 1, s).
    chains
        Of each input ``ψ ⊗ κ_i`` (inputs, n, r, r).
    kept
        What is within these of the sum of the squares (inputs).
    limited
        The largest fraction of frequencies at which the gain was limited.
    """

    psi: Array
    chains: Array
    kept: Array
    limited: float


def most_places(support: Support, memory: int) -> int:
    """Of how many places images fit into so many bytes."""
    inputs, size = len(support.sampler.inputs), 2 * support.half_width + 1
    return max(1, memory // (8 * ((support.half_width + 1) * size + inputs * (2 * support.reach + 1) ** 2)))


def images_of(support: Support, span: Span, threads: int, step: Callable[[int], None]) -> Images:
    """Images of the modes of a span; `step` is told of how many places there are images."""
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
            psi[here], chains[:, here], totals[:, here] = some, some_chains, gains
            limited = max(limited, part)
            step(done)
    within = np.einsum("inyx,inyx->in", chains, chains)
    kept = (within / np.where(totals > 0, totals, 1)).mean(axis=1)
    for images in (psi, *chains):
        _combine(span.triangle, images.reshape(count, -1))
    return Images(support.made_up(psi, span.sums), chains, np.where(kept > 0, kept, 1), limited)


def _combine(triangle: Array, images: Array) -> None:
    """Make images (n, p) at places those of the modes of their span, in place."""
    for start in range(0, images.shape[1], _PIXELS):
        here = slice(start, start + _PIXELS)
        images[:, here] = np.linalg.solve(triangle.T, images[:, here])


def psi_of(
    support: Support, trial: Trial, images: Images, interpolation: Interpolation, tolerance: float
) -> tuple[SpatialKernel, Array, Array]:
    """ψ of the fewest modes for a given rms error.

    Returns
    -------
    psi, rows, weights
        ψ itself, the rows (n, h + 1, s) of its modes from the middle on, and their weights (k, n) at nodes.
    """
    sums = even_sums(images.psi)
    amounts = trial.amounts / (trial.amounts @ sums)[:, None]
    flat = images.psi.reshape(len(sums), -1)
    # All but the first row are there twice. The sum takes part, so that the modes hold it nearly and little has to be
    # done for it to hold exactly, at nodes and in between.
    first = flat[:, : images.psi.shape[2]]
    products = 2 * (flat @ flat.T) - first @ first.T + _SUM_WEIGHT**2 * np.outer(sums, sums)
    powers, vectors = np.linalg.eigh(products)
    used = powers > _ROUNDING * powers[-1]
    roots, vectors = np.sqrt(powers[used]), vectors[:, used]
    modes, weights, _ = compressed(amounts @ (vectors * roots), trial.nodes.areas, MODES * tolerance * support.norm)
    combined = (modes / roots) @ vectors.T
    rows = np.empty((len(modes), *images.psi.shape[1:]))
    np.matmul(combined, flat, out=rows.reshape(len(modes), -1))
    # With these, Σψ = 1.
    weights /= (weights @ even_sums(rows))[:, None]
    return SpatialKernel(mirrored(rows), interpolation.coefficients(weights)), rows, weights


def companions_of(
    support: Support,
    trial: Trial,
    images: Images,
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
    support, trial, images, interpolation
        What ψ was made from.
    rows, weights
        Its modes and their weights at nodes, see `psi_of`.
    levels
        Of the variance planes.
    memory
        Bytes for samples.
    threads
        Number of threads.
    """
    inputs, _, height, width = images.chains.shape
    flat = images.chains.reshape(inputs, -1, height * width)
    amounts = trial.amounts / (trial.amounts @ trial.span.sums)[:, None]
    levels = (levels / levels.sum()).clip(1e-9)
    some = amounts[_spread(len(amounts), 32)]
    gains = [np.mean(((some @ chain) ** 2).sum(axis=1)) / kept for chain, kept in zip(flat, images.kept, strict=True)]
    scales = levels / (levels @ gains)
    factors = np.sqrt(scales / images.kept)

    def squares(here: Array) -> Array:
        # Variance planes are smooth in most places: there only the kernels' sums matter, and they matter more.
        parts = [((amounts[here] @ chain) * factor) ** 2 for chain, factor in zip(flat, factors, strict=True)]
        return np.hstack([*parts, *(_SUM_WEIGHT * part.sum(axis=1, keepdims=True) for part in parts)])

    areas, pixels = trial.nodes.areas, height * width
    modes, shares = _fewest(squares, inputs * (pixels + 1), areas, VARIANCE_TOLERANCE, memory, threads)
    bases = modes[:, : inputs * pixels].reshape(-1, inputs, height, width) / scales[:, None, None]
    bank = KernelBank(np.ascontiguousarray(bases.swapaxes(0, 1)), interpolation.coefficients(shares))
    return bank, _footprint(rows, weights, areas, interpolation, memory, threads)


def _footprint(
    rows: Array, weights: Array, areas: Array, interpolation: Interpolation, memory: int, threads: int
) -> SpatialKernel:
    """|ψ|, normalised to a sum of 1, from the modes of ψ and their weights at nodes, see `psi_of`."""
    flat = rows.reshape(len(rows), -1)
    twice = np.full(rows.shape[1:], 2.0)  # all rows but the first are there twice
    twice[0] = 1

    def absolute(here: Array) -> Array:
        values = np.abs(weights[here] @ flat)
        values *= np.sqrt(twice).ravel() / (values @ twice.ravel())[:, None]
        return values

    modes, amounts = _fewest(absolute, flat.shape[1], areas, _FOOTPRINT_TOLERANCE, memory, threads)
    basis = mirrored(modes.reshape(-1, *twice.shape) / np.sqrt(twice))
    amounts = amounts / (amounts @ basis.sum(axis=(1, 2)))[:, None]
    return SpatialKernel(basis, interpolation.coefficients(amounts))


def _fewest(
    values: Callable[[Array], Array], width: int, areas: Array, tolerance: float, memory: int, threads: int
) -> tuple[Array, Array]:
    """The fewest modes (n, width) of what is found at nodes, and their amounts (k, n) there.

    As many samples are kept as fit into memory, evenly spread over the nodes; the modes are found in these, and the
    amounts of all, a few at a time.

    Parameters
    ----------
    values
        What is found (m, width), from the numbers (m) of nodes.
    areas
        How much each of the nodes counts (k).
    """
    count = len(areas)
    kept = _spread(count, max(_FEWEST_KEPT, memory // (8 * width)))
    batch = max(1, _AT_ONCE // width)

    def parts(chosen: Array) -> list[Array]:
        return [chosen[k : k + batch] for k in range(0, len(chosen), batch)]

    samples = np.empty((len(kept), width))
    with ThreadPoolExecutor(threads) as pool:
        for start, some in zip(range(0, len(kept), batch), pool.map(values, parts(kept)), strict=True):
            samples[start : start + batch] = some
        modes, amounts, _ = compressed(samples, areas[kept] / areas[kept].mean(), tolerance)
        if len(kept) < count:
            del samples
            found = pool.map(lambda here: values(here) @ modes.T, parts(np.arange(count)))
            amounts = np.concatenate(list(found))
    return modes, amounts


def _spread(count: int, most: int) -> Array:
    """At most so many of `count` numbers, evenly spread."""
    return np.linspace(0, count - 1, min(count, most)).round().astype(int)


def measured_error(support: Support, psi: SpatialKernel, places: Places, threads: int) -> float:
    """Rms error of ψ at places, against ψ computed there."""
    sampler = support.sampler
    x, y, _ = places

    def work(number: int) -> float:
        here = slice(number, number + 1)
        spectrum = sampler.spectra((x[here], y[here], places[2][here]), chains=False)
        exact = support.cut(sampler.images(spectrum, support.half_width, 0)[0])
        rows = psi.sample(x[here], y[here])[:, support.half_width :]
        off = (rows - exact) ** 2
        return float(even_sums(off)[0])

    with ThreadPoolExecutor(sampler.workers(threads)) as pool:
        return math.sqrt(float(np.mean(list(pool.map(work, range(len(x))))))) / support.norm
