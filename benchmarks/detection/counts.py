"""False and true detections in images as they are, whitened, and with measured noise."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from fields import Field, Places, places
from filters import block_scatter, cell_spread, matched_filter, peaks, robust
from numpy.typing import NDArray
from scipy.ndimage import maximum_filter, median_filter

from diffim_decorr.kernels.spatial import SpatialKernel
from diffim_decorr.qa.peaks import expected_peaks

__all__ = ("CORE", "METHODS", "NEAR", "REAL_METHODS", "STRENGTHS", "Tally", "images", "negative_peaks", "survey")

Array = NDArray[Any]

#: Options of `decorrelate` by what a method is called; None is the difference as it is.
METHODS: dict[str, dict[str, Any] | None] = {
    "raw": None,
    "white": {"noise": "white"},
    "measured": {"noise": "measured"},
}
#: Those of real images besides: a background is taken off in cells of so many pixels.
REAL_METHODS = METHODS | {
    f"measured, background {size}": {"noise": "measured", "background": size} for size in (64, 16)
}
THRESHOLDS = (4.0, 5.0)
#: Fluxes of injected sources, in units of the error of an ideal measurement.
STRENGTHS = (4.0, 5.0, 6.0, 8.0)
#: How far from the core of the PSF there may be nothing but noise.
CORE = 8
NEAR = 2  # pixels between a source and the peak that is its detection


@dataclass
class Tally:
    """What one method found, summed over fields.

    Parameters
    ----------
    pixels
        Source-free ones.
    found, expected
        Peaks in noise, above and below 0, for each threshold, (2, thresholds); and how many of each sign
        there should be.
    matched, blocks, cells
        Of each field: scatter after the matched filter, and of means over blocks, over what the variance plane says;
        and the spread of the scatter over cells, beyond chance.
    ratios, pulls
        Measured over injected flux, and the difference over its error, of each injected source.
    significances
        Of the peak at each injected source, for each strength.
    heights
        Of all peaks above 3 in noise, of either sign.
    """

    pixels: int = 0
    found: Array = field(default_factory=lambda: np.zeros((2, len(THRESHOLDS)), int))
    expected: Array = field(default_factory=lambda: np.zeros(len(THRESHOLDS)))
    matched: list[float] = field(default_factory=list)
    blocks: list[float] = field(default_factory=list)
    cells: list[float] = field(default_factory=list)
    ratios: list[float] = field(default_factory=list)
    pulls: list[float] = field(default_factory=list)
    significances: dict[float, list[float]] = field(default_factory=lambda: {s: [] for s in STRENGTHS})
    heights: list[float] = field(default_factory=list)

    def count_noise(self, significance: Array, free: Array, psf: Array) -> None:
        """Add the peaks in the S/N of free pixels, and its scatter."""
        area = int(free.sum())
        self.pixels += area
        for k, threshold in enumerate(THRESHOLDS):
            self.found[:, k] += [peaks(sign * significance, free, threshold) for sign in (1, -1)]
            self.expected[k] += area * expected_peaks(psf, threshold)
        self.matched.append(robust(significance[free]))
        for signed in (significance, -significance):
            self.heights += signed[(signed == maximum_filter(signed, 3)) & free & (signed > 3)].tolist()

    def count_sources(self, significance: Array, at: Places, strengths: Array) -> None:
        """Add the S/N of the peaks at sources of these strengths."""
        for strength, value in zip(strengths, maximum_filter(significance, 2 * NEAR + 1)[at], strict=True):
            self.significances[float(strength)].append(float(value))

    def completeness(self, strength: float, threshold: float = 5.0) -> float:
        return float(np.mean(np.array(self.significances[strength]) > threshold))

    def honest_threshold(self) -> float:
        """Where 5 sigma should be: 5/4 of the threshold with as many false peaks as Gaussian noise has above 4."""
        heights = np.sort(self.heights)[::-1]
        wanted = min(round(2 * self.expected[0]), len(heights)) - 1
        return float(1.25 * heights[max(wanted, 0)])


def images(given: Field, method: str) -> tuple[Array, Array, Array, Array | SpatialKernel]:
    """Image, variance, usable pixels and PSF of a method."""
    options = REAL_METHODS[method]
    if options is None:
        return given.difference, given.naive, ~given.mask & np.isfinite(given.difference), given.psf
    made = given.whitened(**options).exposure
    flagged = made.mask & sum(1 << made.mask_planes[name] for name in ("NO_DATA", "EDGE", "DECORR_BAD"))
    return made.image, made.variance, (flagged == 0) & ~given.mask & (made.variance > 0), made.psf


def survey(fields: Sequence[Field], seed: int = 0, methods: Iterable[str] = METHODS) -> dict[str, Tally]:
    """Count false peaks in fields as they are, and sources found in the same fields with sources injected."""
    rng = np.random.default_rng(seed)
    tallies = {method: Tally() for method in methods}
    for given in fields:
        clean = {method: images(given, method) for method in tallies}
        maps = {method: matched_filter(*result) for method, result in clean.items()}
        good = np.logical_and.reduce([result[2] for result in clean.values()])
        free = given.free & ~maximum_filter(~good, 2 * CORE + 1)
        for method, tally in tallies.items():
            image, variance, _, psf = clean[method]
            one = psf.at(*(size / 2 for size in free.shape[::-1])) if isinstance(psf, SpatialKernel) else psf
            tally.count_noise(maps[method][0] / maps[method][1], free, one)
            tally.blocks.append(block_scatter(image, variance, free))
            tally.cells.append(cell_spread(image, variance, free))
        at = places(free, rng)
        strengths = rng.permutation(np.resize(STRENGTHS, len(at[0])))
        # The error of an ideal measurement is that in white noise, which measured noise comes closest to.
        fluxes = strengths * maps["measured"][1][at]
        injected = given.with_sources(at, fluxes)
        for method, tally in tallies.items():
            flux, error = matched_filter(*images(injected, method))
            tally.ratios += (flux[at] / fluxes).tolist()
            tally.pulls += ((flux[at] - fluxes) / error[at]).tolist()
            tally.count_sources(flux / error, at, strengths)
    return tallies


def negative_peaks(given: Field, method: str) -> list[tuple[str, ...]]:
    """The peaks below -4 σ of a method, with what the template and the science image have there (rows of a table)."""
    image, variance, use, psf = images(given, method)
    flux, error = matched_filter(image, variance, use, psf)
    significance = flux / error
    free = given.free & ~maximum_filter(~use, 2 * CORE + 1)
    top = (-significance == maximum_filter(-significance, 3)) & free & (significance < -THRESHOLDS[0])
    others = []
    for pixels, plane in zip((given.template, given.science), given.variances, strict=True):
        level = np.median(pixels[free])
        flux, error = matched_filter(pixels - level, np.where(plane > 0, plane, 1), ~given.mask, given.psf)
        # The planes say nothing of how the noise is correlated.
        others.append(flux / error / robust((flux / error)[free]))
    flat = given.template - np.median(given.template[free])
    ring = np.ones((3, 3), bool)
    ring[1, 1] = False
    alone = (flat - median_filter(flat, footprint=ring)) / robust((flat - median_filter(flat, footprint=ring))[free])
    alone = maximum_filter(np.abs(alone), 2 * NEAR + 1)
    rows = []
    for y, x in sorted(np.argwhere(top).tolist(), key=lambda place: significance[tuple(place)]):
        own = [f"{other[y, x]:+.1f}" for other in others]
        rows.append((str(x), str(y), f"{significance[y, x]:.1f}", *own, f"{alone[y, x]:.1f}"))
    return rows
