"""Does it serve detection? False and true detections in differences as they are, whitened, and with measured noise.

python benchmarks/detection.py          writes docs/detection.md
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, maximum_filter, median_filter
from scipy.signal import fftconvolve

from diffim_decorr import Exposure, decorrelate, read_exposure, read_kernel
from diffim_decorr.kernels.spatial import SpatialKernel
from diffim_decorr.noise.sources import mask_sources, smoothed
from diffim_decorr.qa.peaks import expected_peaks

__all__ = ("METHODS", "REAL_METHODS", "Field", "Tally", "matched_filter", "peaks", "simulated", "survey")

Array = NDArray[Any]

HERE = Path(__file__).resolve().parent
DATA = HERE.parent.parent / "shared" / "data"
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
_BLOCK, _CELL = 8, 64
THRESHOLDS = (4.0, 5.0)
#: Fluxes of injected sources, in units of the error of an ideal measurement.
STRENGTHS = (4.0, 5.0, 6.0, 8.0)
_SPACING = 36
_TILE = 128
_NEAR = 2  # pixels between a source and the peak that is its detection


# What is counted


def matched_filter(image: Array, variance: Array, use: Array, psf: Array | SpatialKernel) -> tuple[Array, Array]:
    """Flux of a point source at each pixel and its error, as if the noise were white.

    Parameters
    ----------
    image, variance
        Pixels (ny, nx).
    use
        Pixels that have weight.
    psf
        Of sum 1. One that varies is taken at the middle of tiles of 128 pixels.

    Returns
    -------
    flux, error
        ``Σφ D/V / Σφ²/V`` and ``1 / sqrt(Σφ²/V)``.
    """
    weight = np.where(use, 1 / np.where(use, variance, 1), 0)
    weighted = weight * np.where(use, image, 0)
    if not isinstance(psf, SpatialKernel):
        return _filtered(weighted, weight, psf)
    flux, error = np.empty(image.shape), np.empty(image.shape)
    margin = max(psf.shape) // 2 + 1
    padded = [np.pad(plane, margin) for plane in (weighted, weight)]
    for y in range(0, image.shape[0], _TILE):
        for x in range(0, image.shape[1], _TILE):
            window = np.s_[y : y + _TILE + 2 * margin, x : x + _TILE + 2 * margin]
            inner = np.s_[margin:-margin, margin:-margin]
            own = np.s_[y : y + _TILE, x : x + _TILE]
            parts = _filtered(*(plane[window] for plane in padded), psf.at(x + _TILE / 2, y + _TILE / 2))
            flux[own], error[own] = (part[inner] for part in parts)
    return flux, error


def _filtered(weighted: Array, weight: Array, psf: Array) -> tuple[Array, Array]:
    psf = _odd(psf)[::-1, ::-1]
    top, bottom = fftconvolve(weighted, psf, "same"), fftconvolve(weight, psf**2, "same")
    bottom = np.maximum(bottom, 1e-12 * bottom.max())
    return top / bottom, 1 / np.sqrt(bottom)


def _odd(psf: Array) -> Array:
    """The same PSF, its centre in the middle."""
    return np.pad(psf, [(0, 1 - size % 2) for size in psf.shape])


def peaks(significance: Array, use: Array, threshold: float) -> int:
    """Number of pixels above a threshold that are larger than their eight neighbours."""
    return int(np.count_nonzero((significance > threshold) & (significance == maximum_filter(significance, 3)) & use))


# What it is counted in


@dataclass
class Field:
    """A pair of exposures and what is needed to inject sources and to know where there are none.

    Parameters
    ----------
    science, template, difference
        Pixels (ny, nx).
    variances
        Variance planes of science and template.
    naive
        Of the difference: the variance of its pixels, without covariances.
    mask
        Pixels that are bad.
    free
        Pixels near which there is no source.
    kernel
        The matching kernel, of the template.
    psf
        Of the science image and of the difference, of sum 1.
    spatial
        Whether ψ is to vary.
    """

    science: Array
    template: Array
    difference: Array
    variances: tuple[Array, Array]
    naive: Array
    mask: Array
    free: Array
    kernel: Any
    psf: Array
    spatial: bool = False

    def with_sources(self, places: Array, fluxes: Array) -> Field:
        """The same field with point sources at places (n, 2) of y, x."""
        points = np.zeros(self.science.shape)
        points[tuple(places.T)] = fluxes
        added = fftconvolve(points, _odd(self.psf), "same")
        changed = {**vars(self), "science": self.science + added, "difference": self.difference + added}
        return Field(**changed)

    def result(self, method: str) -> tuple[Array, Array, Array, Array | SpatialKernel]:
        """Image, variance, usable pixels and PSF."""
        options = REAL_METHODS[method]
        if options is None:
            return self.difference, self.naive, ~self.mask & np.isfinite(self.difference), self.psf
        science, template = (
            Exposure(image.astype("f4"), variance.astype("f4"), self.mask.astype("i4"), psf=psf, name=name)
            for image, variance, psf, name in (
                (self.science, self.variances[0], self.psf, "science"),
                (self.template, self.variances[1], None, "template"),
            )
        )
        difference = Exposure(self.difference.astype("f4"), name="difference")
        made = decorrelate(
            science, template, difference, self.kernel, **options, spatial=self.spatial, convolved="template"
        )
        planes = made.exposure.mask_planes
        flagged = made.exposure.mask & sum(1 << planes[name] for name in ("NO_DATA", "EDGE", "DECORR_BAD"))
        use = (flagged == 0) & ~self.mask & (made.exposure.variance > 0)
        return made.exposure.image, made.exposure.variance, use, made.exposure.psf


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

    def completeness(self, strength: float, threshold: float = 5.0) -> float:
        return float(np.mean(np.array(self.significances[strength]) > threshold))

    def honest_threshold(self) -> float:
        """Where 5 sigma should be: 5/4 of the threshold with as many false peaks as Gaussian noise has above 4."""
        heights = np.sort(self.heights)[::-1]
        wanted = min(round(2 * self.expected[0]), len(heights)) - 1
        return float(1.25 * heights[max(wanted, 0)])


def survey(fields: Sequence[Field], seed: int = 0, methods: Iterable[str] = METHODS) -> dict[str, Tally]:
    """Count false peaks in fields as they are, and sources found in the same fields with sources injected."""
    rng = np.random.default_rng(seed)
    tallies = {method: Tally() for method in methods}
    for given in fields:
        clean = {method: given.result(method) for method in tallies}
        maps = {}
        for method, result in clean.items():
            flux, error = matched_filter(*result)
            maps[method] = flux / error, error
        good = np.logical_and.reduce([result[2] for result in clean.values()])
        # Nothing but noise within the core of the PSF.
        free = given.free & ~maximum_filter(~good, 2 * 8 + 1)
        for method, tally in tallies.items():
            significance = maps[method][0]
            psf = clean[method][3]
            one = psf.at(*(size / 2 for size in free.shape[::-1])) if isinstance(psf, SpatialKernel) else psf
            area = int(free.sum())
            tally.pixels += area
            for k, threshold in enumerate(THRESHOLDS):
                tally.found[:, k] += [peaks(sign * significance, free, threshold) for sign in (1, -1)]
                tally.expected[k] += area * expected_peaks(one, threshold)
            image, variance = clean[method][:2]
            tally.matched.append(robust(significance[free]))
            tally.blocks.append(block_scatter(image, variance, free))
            tally.cells.append(cell_spread(image, variance, free))
            for signed in (significance, -significance):
                top = (signed == maximum_filter(signed, 3)) & free & (signed > 3)
                tally.heights += signed[top].tolist()
        places = _places(free, rng)
        strengths = rng.permutation(np.resize(STRENGTHS, len(places)))
        # The error of an ideal measurement is that in white noise, which measured noise comes closest to.
        fluxes = strengths * maps["measured"][1][tuple(places.T)]
        injected = given.with_sources(places, fluxes)
        for method, tally in tallies.items():
            flux, error = matched_filter(*injected.result(method))
            highest = maximum_filter(flux / error, 2 * _NEAR + 1)
            at = tuple(places.T)
            tally.ratios += (flux[at] / fluxes).tolist()
            tally.pulls += ((flux[at] - fluxes) / error[at]).tolist()
            for strength, value in zip(strengths, highest[at], strict=True):
                tally.significances[float(strength)].append(float(value))
    return tallies


def robust(values: Array) -> float:
    """Standard deviation of Gaussian noise, from the median deviation."""
    return float(1.4826 * np.median(np.abs(values - np.median(values)))) if values.size else float("nan")


def _in_squares(image: Array, size: int) -> Array:
    """Pixels (squares, size²) of whole squares."""
    rows, columns = (length // size for length in image.shape)
    cut = image[: rows * size, : columns * size].reshape(rows, size, columns, size)
    return cut.swapaxes(1, 2).reshape(rows * columns, size * size)


def block_scatter(image: Array, variance: Array, free: Array) -> float:
    """Scatter of means over blocks of 8 x 8 source-free pixels, over that of as many independent ones."""
    whole = _in_squares(free, _BLOCK).all(axis=1)
    total, noise = (_in_squares(plane, _BLOCK)[whole].astype(float).sum(axis=1) for plane in (image, variance))
    return robust(total / np.sqrt(noise))


def cell_spread(image: Array, variance: Array, free: Array) -> float:
    """Relative spread of the scatter in cells of 64 pixels, beyond that of its error."""
    snr = np.where(free, image, np.nan) / np.sqrt(np.where(free, variance, 1))
    found = [(robust(own), len(own)) for cell in _in_squares(snr, _CELL) if len(own := cell[np.isfinite(cell)]) > 800]
    if len(found) < 4:
        return float("nan")
    scatters, counts = np.array(found).T
    relative = scatters / np.average(scatters, weights=counts)
    return float(np.sqrt(max(np.mean((relative - 1) ** 2) - np.mean(1.1664**2 / counts), 0.0)))


def negative_peaks(given: Field, method: str) -> str:
    """The peaks below -4 σ of a method, with what the template and the science image have there, as Markdown."""
    image, variance, use, psf = given.result(method)
    flux, error = matched_filter(image, variance, use, psf)
    significance = flux / error
    free = given.free & ~maximum_filter(~use, 2 * 8 + 1)
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
    alone = maximum_filter(np.abs(alone), 2 * _NEAR + 1)
    lines = [_row(("x", "y", "S/N", "template", "science image", "single pixel of the template"))]
    lines.append(_row(["---"] * 6))
    for y, x in sorted(np.argwhere(top).tolist(), key=lambda place: significance[tuple(place)]):
        own = [f"{other[y, x]:+.1f}" for other in others]
        lines.append(_row((str(x), str(y), f"{significance[y, x]:.1f}", *own, f"{alone[y, x]:.1f}")))
    return "\n".join(lines) + "\n"


def _places(free: Array, rng: np.random.Generator) -> Array:
    """Places (n, 2) among free pixels, at least half a spacing from each other."""
    places = []
    for y in range(_SPACING, free.shape[0] - _SPACING, _SPACING):
        for x in range(_SPACING, free.shape[1] - _SPACING, _SPACING):
            place = np.array([y, x]) + rng.integers(-_SPACING // 4, _SPACING // 4 + 1, 2)
            if free[tuple(place)]:
                places.append(place)
    return np.array(places)


# Fields


def gaussian(width: int, sigma: float) -> Array:
    x = np.arange(width) - width // 2
    g = np.exp(-0.5 * (x / sigma) ** 2)
    return np.outer(g, g) / g.sum() ** 2


def _bilinear(dx: float, dy: float) -> Array:
    return np.outer([0, 1 - dy, dy], [0, 1 - dx, dx])


def _lanczos(dx: float, dy: float) -> Array:
    x = np.arange(-3, 4)
    along = [np.sinc(x - d) * np.sinc((x - d) / 3) * (np.abs(x - d) < 3) for d in (dy, dx)]
    return np.outer(*along)


_ONE = np.ones((1, 1))


def simulated(
    seed: int,
    size: int,
    tvar: float,
    resampling: tuple[Array, Array] = (_ONE, _ONE),
) -> Field:
    """Two exposures with stars and defects, the template sharper than the science image.

    Parameters
    ----------
    seed
        Of everything that is random.
    size
        Of the images in pixels.
    tvar
        Variance of the template's background; the science image's is 1.
    resampling
        Kernels that correlate the noise of science and template, which keeps its variance.
    """
    rng = np.random.default_rng(seed)
    stars = np.zeros((size, size))
    count = size * size // 8000
    stars[tuple(rng.integers(0, size, (2, count)))] = 10 ** rng.uniform(2, 4.5, count)
    kernel = gaussian(17, 1.4)
    sharp = gaussian_filter(stars, 1.3)
    noise = []
    for variance, by in zip((1.0, tvar), resampling, strict=True):
        by = by * np.sqrt(variance / (by**2).sum())
        noise.append(fftconvolve(rng.normal(size=(size, size)), by, "same"))
    convolved = fftconvolve(noise[1], kernel, "same")
    mask = rng.uniform(size=(size, size)) < 1e-4
    mask[:, size // 3] = True
    naive = 1.0 + tvar * (kernel**2).sum()
    return Field(
        noise[0] + fftconvolve(sharp, kernel, "same"),
        noise[1] + sharp,
        noise[0] - convolved,
        (np.ones((size, size)), np.full((size, size), tvar)),
        np.full((size, size), naive),
        mask,
        ~maximum_filter(stars > 0, 2 * 14 + 1),
        kernel,
        _odd(fftconvolve(gaussian(31, 1.3), kernel, "same")),
    )


def jwst(folder: Path) -> Field:
    """The NIRCam pair of Abell 2744, subtracted by HOTPANTS, with the noise that HOTPANTS gives."""
    from astropy.io import fits

    difference = read_exposure(folder / "hotpants_diff.fits")
    science, template = (read_exposure(folder / f"{n}.fits", noise=folder / f"{n}_noise.fits") for n in ("sci", "tmpl"))
    naive = fits.getdata(folder / "hotpants_diff.fits", 2).astype(float) ** 2
    bad = ~np.isfinite(difference.image) | (difference.image == np.float32(difference.missing_value or np.nan))
    images = []
    for exposure in (science, template):
        image, variance = exposure.image.astype(float), exposure.variance
        bad |= ~np.isfinite(image) | ~(variance > 0)
        images.append(np.where(np.isfinite(image), image, 0))
    free = ~bad
    for image in images:
        flat = np.where(bad, 0, image - np.median(image[~bad])).astype(np.float32)
        for scale in (1.5, 4.0):
            smooth = smoothed(flat, scale)
            mask_sources(free, smooth, float(1.4826 * np.median(np.abs(smooth[~bad]))))
    psf = fits.getdata(folder / "sci_psf.fits").astype(float)
    return Field(
        *images,
        # As any detection does: the level of the background is off by a tenth of the noise of a pixel.
        np.where(bad, np.nan, difference.image - np.median(difference.image[free])),
        (science.variance, template.variance),
        np.where(naive > 0, naive, 1),
        bad,
        free,
        read_kernel(folder / "hotpants_diff.fits", difference.shape),
        psf / psf.sum(),
        spatial=True,
    )


SCENES: dict[str, Callable[[int, int], Field]] = {
    "white noise, template as deep as the science image": lambda seed, size: simulated(seed, size, 1.0),
    "white noise, template ten times deeper": lambda seed, size: simulated(seed, size, 0.1),
    "correlated noise: Lanczos and bilinear resampling": lambda seed, size: simulated(
        seed, size, 1.0, (_lanczos(0.4, 0.3), _bilinear(0.35, 0.4))
    ),
    "correlated noise: Gaussian and drizzled": lambda seed, size: simulated(
        seed, size, 0.5, (gaussian(9, 0.65), np.outer([0.3, 1, 0.3], [0.3, 1, 0.3]))
    ),
}
JWST = "JWST NIRCam, Abell 2744, subtracted by HOTPANTS"


# The page

_PAGE = """\
# Does it serve detection?

Written by `make detection` (`python benchmarks/detection.py`, which took {minutes:.0f} min), {date}.

Whitening a difference does not add information. What it should do: an ordinary detection code, which takes the noise
for white and the variance plane for true, then finds as many false sources as its threshold promises, measures fluxes
with true errors, and misses none that it could have found.

## How it was measured

- **Images.** {count} simulated pairs of {size}² pixels for each kind of noise, with stars in both images and masked
  pixels; the matching kernel is a Gaussian of σ = 1.4 pixels, the PSF of the difference one of 1.9 pixels. And the real
  pair of NIRCam images of Abell 2744, where it is at hand, the median of its difference taken off.
- **Methods.** *raw*: the difference as it is, with the naive variance plane, which has the variance of each pixel and
  nothing of their covariances (for HOTPANTS' difference its own noise image). *white*: `decorr run`. *measured*:
  `decorr run --noise measured`. Each with its PSF; with `decorr` that is the `PSF` of the output.
- **Detection.** A matched filter, S/N = Σ φ D/V / sqrt(Σ φ²/V), φ the PSF and V the variance plane. Where φ varies it
  is taken at the middle of tiles of 128 pixels. A peak is a pixel that is larger than its eight neighbours.
- **False peaks.** Peaks beyond 4 and 5 σ on either side, away from the sources of both images and from masked and
  flagged pixels. *Expected* is the number, of each sign, in white Gaussian noise that was filtered with the same PSF:
  P(z > t) times the probability that z is then larger than its neighbours, whose joint distribution follows from the
  PSF's autocorrelation.
- **Scatter** on the same pixels, from median deviations, 1 if the variance plane is right: *matched scatter* of the S/N
  after the matched filter; *blocks*, of means over 8 × 8 pixels, over what independent pixels have; *cells*, relative
  spread of the scatter of pixels over cells of {cell} pixels, beyond its statistical error, 0 if it is right
  everywhere.
- **True sources.** Point sources on a jittered grid of {spacing} pixels were injected into the science image and the
  difference, and everything was run again. Their fluxes are 4, 5, 6 and 8 times the error that a matched filter has in
  the *measured* result, the same fluxes for all methods. *Flux* is the mean of measured over injected flux, at the
  known position, and its standard error; *scatter* the standard deviation of (measured − injected) / error, which
  should be 1. *Found* is the fraction with an S/N above the threshold within {near} pixels, for sources of 5 and of
  6 σ. An ideal measurement at the source's own pixel finds 50 % and 84 %; the largest of the pixels near finds a few
  per cent more.
- **Equal false alarms.** Who finds more false sources also finds more true ones. So the threshold is also set to where
  the false peaks are as many as they should be: it is 5/4 of the S/N above which there are as many false peaks as
  expected above 4 σ. Completeness at that threshold compares what the images hold.

## Figures

{tables}## What this says

- **The threshold means what it says**, where the model of the noise is right: with white inputs for the plain command,
  with correlated ones for `--noise measured`, whose estimate of the noise has an error of its own: 2 % of σ change the
  number of peaks above 4 σ by a third. The raw difference has far too many false peaks, and with correlated
  inputs so has the formula for white noise. In the real image positive peaks come down to what noise has as its
  background is taken off in smaller cells. Negative ones stay: the template has an excess at most of their places, and
  the science image next to none. What has faded is not told apart from artefacts of the template here.
- **Errors of fluxes are true** where the scatter is 1. Fluxes themselves do not depend on the method, for every filter
  here keeps them.
- **Little is gained where little was lost.** With a template that is much deeper than the science image the convolved
  noise hardly counts: the raw difference is nearly white, and everything about it nearly right.
- **Sensitivity is gained where the noise has much structure.** At equal false alarms a matched filter on the raw
  difference finds nearly as many sources as one on the whitened difference in these simulations: over the
  frequencies that the PSF passes, smooth kernels leave the noise nearly flat. There decorrelation spares one the
  calibration of the threshold, by field and by place in the field, and no more. In the real pair it is more than that.
- Completeness at 5 σ of a method with too many false peaks is high for the same reason as its false peaks are many.
"""

_NEGATIVE = """\
Negative peaks beyond 4 σ with a background of 64 pixels taken off, and what is at their places: S/N of a point source
in the template and in the science image, in units of its scatter there, and by how many σ a single pixel of the
template nearby stands out of its eight neighbours. Where the template has a source and the science image has
none, something has faded or the template has an artefact; a single pixel is a defect or a cosmic ray.

{listed}
"""

_HEADINGS = (
    "method",
    "peaks > 4 σ",
    "< -4 σ",
    "expected",
    "> 5 σ",
    "< -5 σ",
    "expected",
    "matched scatter",
    "blocks",
    "cells",
    "flux",
    "scatter",
    "found at 5 σ: 5 σ sources",
    "6 σ sources",
    "threshold for equal false alarms",
    "found at it: 5 σ sources",
    "6 σ sources",
)


def table(tallies: dict[str, Tally]) -> str:
    """What was found, as Markdown."""
    lines = [_row(_HEADINGS), _row(["---"] * len(_HEADINGS))]
    for method, tally in tallies.items():
        ratios, honest = np.array(tally.ratios), tally.honest_threshold()
        cells = [method]
        for found, expected in zip(tally.found.T, tally.expected, strict=True):
            cells += [*map(str, found), f"{expected:.1f}"]
        cells += [f"{np.mean(tally.matched):.3f}", f"{np.mean(tally.blocks):.3f}", f"{np.mean(tally.cells):.1%}"]
        cells.append(f"{ratios.mean():.3f} ± {ratios.std() / np.sqrt(len(ratios)):.3f}")
        cells.append(f"{np.std(tally.pulls):.3f}")
        for threshold in (5.0, honest):
            cells += [f"{honest:.2f}"] * (threshold == honest)
            cells += [f"{tally.completeness(strength, threshold):.0%}" for strength in (5.0, 6.0)]
        lines.append(_row(cells))
    return "\n".join(lines) + "\n"


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="one small image of each kind, to see that it works")
    parser.add_argument("--output", type=Path, default=HERE.parent / "docs" / "detection.md", help="the page")
    parser.add_argument("--data", type=Path, default=DATA, help="where the real images are")
    given = parser.parse_args()
    count, size = (1, 400) if given.quick else (5, 1000)
    start, sections, listed = time.perf_counter(), [], ""
    for name, make in SCENES.items():
        sections.append((name, survey([make(seed, size) for seed in range(1, count + 1)])))
        print(f"{name}: {time.perf_counter() - start:.0f} s", file=sys.stderr)
    folder = given.data / "jwst_a2744"
    if not given.quick and folder.is_dir():
        real = jwst(folder)
        sections.append((JWST, survey([real], methods=REAL_METHODS)))
        listed = negative_peaks(real, list(REAL_METHODS)[-2])
    tables = ""
    for name, tallies in sections:
        tally = tallies["raw"]
        about = f"{tally.pixels / 1e6:.2f} million pixels without sources, {len(tally.ratios)} sources injected."
        tables += f"### {name[0].upper()}{name[1:]}\n\n{about}\n\n{table(tallies)}\n"
    tables += _NEGATIVE.format(listed=listed) if listed else "The real images are not at hand.\n\n"
    text = _PAGE.format(
        minutes=max(1, (time.perf_counter() - start) / 60),
        date=time.strftime("%Y-%m-%d"),
        count=count,
        size=size,
        spacing=_SPACING,
        near=_NEAR,
        cell=_CELL,
        tables=tables,
    )
    given.output.parent.mkdir(parents=True, exist_ok=True)
    given.output.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
