"""How good any difference image is: what `figures` has and more, from nothing but the image and its variance.

What else is known makes it better: science image and template show where sources are, a PSF what a detection sees, and
a model of the noise (kernel and variances) what the power spectrum has to be.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from diffim_decorr.geometry import Box
from diffim_decorr.images.exposure import Exposure
from diffim_decorr.kernels.spatial import SpatialKernel
from diffim_decorr.noise.correlation import normalised
from diffim_decorr.noise.robust import mean_level, median
from diffim_decorr.noise.windows import ENOUGH, MOST_WINDOWS, WINDOWS_AT_ONCE, sample_boxes
from diffim_decorr.qa.diagnosis import Evidence, Model, WindowEvidence, evidence_in, gathered
from diffim_decorr.qa.figures import LARGEST_OF_LAGS, QualityFigures
from diffim_decorr.qa.maps import CELL, Cells, Strip, joined, strip_of
from diffim_decorr.qa.peaks import count_peaks, expected_peaks, matched_filter
from diffim_decorr.qa.power import Spectrum, flatness, spectrum_of
from diffim_decorr.qa.products import products_in
from diffim_decorr.qa.reader import Pixels
from diffim_decorr.qa.sample import Window
from diffim_decorr.qa.scatter import ROBUST_ERROR, WindowScatter, block_std, cell_spread, psf_scatter, scatter_in, tails
from diffim_decorr.record import Measured

__all__ = ("EDGES", "FIGURES", "LAG", "Score", "score_of")

Array = NDArray[Any]
Found = Measured | Mapping[str, Measured]

LAG = 20
_NEAR = 5  # lags of max_abs_rho
_PEAKS = (4.0, 5.0)
_FEWEST = 1000
# Sources that stand so many σ out of the smoothed science image stand 40 out of its pixels: the science image's own
# noise, which the difference has as well, then looks like no more than 1/40² of a residual.
_BRIGHT = 200.0
_MOST = 8.0
#: Bins of the histogram (65,); what is beyond is in the first and the last.
EDGES = np.linspace(-_MOST, _MOST, 65)
_PSF = np.exp(-0.5 * np.add.outer(np.arange(-6, 7) ** 2, np.arange(-6, 7) ** 2) / 1.5**2)
_PSF /= _PSF.sum()


class _About(NamedTuple):
    """What a figure is called in tables and pictures, and what it says."""

    label: str
    meaning: str


#: Every figure by its name. Tables, reports and the documentation follow from this.
FIGURES = {
    "max_abs_rho": _About("largest correlation", "largest absolute correlation of pixels up to 5 pixels apart"),
    "max_abs_rho_before": _About("largest correlation before", "the same of the difference before"),
    "rho_1": _About("correlation of neighbours", "of pixels next to each other, by direction"),
    "rho_chi2": _About("χ² of correlations", "sum of their squares up to 5 pixels apart, in units of their errors"),
    "rho_chi2_far": _About("χ² of far correlations", "the same for 6 to 20 pixels"),
    "snr_std": _About("scatter / variance plane", "robust standard deviation over the root of the variance"),
    "cell_spread": _About("spread over the field", "of that scatter over cells of 64 pixels, beyond its own error"),
    "block_std": _About("scatter of block means", "over blocks of so many pixels squared, over what the variance says"),
    "psf_scatter": _About("scatter after smoothing", "with a Gaussian of 1.5 pixels, over what the variance says"),
    "spectrum_chi2": _About("χ² of the spectrum", "power by frequency against what it is supposed to be"),
    "tails": _About("pixels in the tails", "beyond so many σ by sign, over those of a Gaussian"),
    "peaks": _About("peaks of a matched filter", "beyond so many σ by sign"),
    "residual": _About("sources left", "share of the science image's sources that is in this image"),
    "background": _About("background", "level and differences between opposite borders, in units of the noise"),
    "flagged": _About("share flagged", "of pixels with a mask plane that matters, or without data"),
}


@dataclass(frozen=True, eq=False)
class Score:
    """What was found of an image.

    Parameters
    ----------
    figures
        By name, or by name and scale.
    rho, pairs
        Correlation function to lag 20 (41, 41), zero lag in the middle, and pairs of pixels at each lag.
    spectrum, cells
        Power by frequency, and maps.
    pixels
        Numbers of pixels: all, those without data, those used, and by mask plane.
    histogram
        Source-free pixels by their value in units of the noise, in bins between `EDGES`.
    rho_before
        As `rho`, of the difference before; None if that was not given.
    evidence
        What the noise says of the model of it; None if there is none.
    """

    figures: Mapping[str, Found]
    rho: Array
    pairs: Array
    spectrum: Spectrum
    cells: Cells
    pixels: Mapping[str, Any]
    histogram: Array
    rho_before: Array | None = None
    evidence: Evidence | None = None

    def flat(self) -> Iterator[tuple[str, Measured]]:
        """Every figure by its whole name."""
        for name, found in self.figures.items():
            if isinstance(found, Measured):
                yield name, found
            else:
                yield from ((f"{name}.{scale}", value) for scale, value in found.items())

    @property
    def quality(self) -> QualityFigures:
        """What a run has of these figures."""
        near = slice(LAG - _NEAR, LAG + _NEAR + 1)
        nothing = np.full((2 * _NEAR + 1, 2 * _NEAR + 1), np.nan)
        found: Any = self.figures
        before = self.figures.get("max_abs_rho_before", Measured())
        assert isinstance(before, Measured)
        return QualityFigures(
            nothing if self.rho_before is None else self.rho_before[near, near],
            self.rho[near, near],
            nothing,
            nothing,
            float(np.delete(self.pairs[near, near], nothing.size // 2).mean()),
            before.value,
            found["max_abs_rho"].value,
            found["snr_std"].value,
            self.pixels["used"],
            found["rho_chi2"],
            found["block_std"],
            found["psf_scatter"],
            found["cell_spread"],
            found["tails"],
            found["spectrum_chi2"],
            found["flagged"].value,
        )


@dataclass
class _Part:
    """What one window adds."""

    products: Array
    pairs: Array
    products_before: Array | None
    scatter: WindowScatter
    evidence: WindowEvidence | None
    peaks: dict[str, int] = field(default_factory=dict)
    searched: int = 0
    residual: tuple[float, float] = (0.0, 0.0)


def score_of(
    exposure: Exposure,
    bad_planes: Sequence[str],
    *,
    before: Exposure | None = None,
    inputs: Sequence[Exposure] = (),
    psf: SpatialKernel | Array | None = None,
    model: Model | None = None,
    white: bool = True,
    threads: int = 1,
) -> Score:
    """Measure the figures of an image.

    Parameters
    ----------
    exposure
        The image, with a variance plane.
    bad_planes
        Mask planes that are left out.
    before
        The difference before it was decorrelated.
    inputs
        Science image and template, or the former; they show where sources are.
    psf
        For the matched filter; a Gaussian of 1.5 pixels if there is none.
    model
        What the noise of `before`, or else of the image, is supposed to be; needs both inputs.
    white
        Whether the noise of the image is supposed to be white.
    threads
        Number of threads.
    """
    pixels = Pixels(exposure, bad_planes, before, inputs)
    height, width = exposure.shape
    with ThreadPoolExecutor(threads) as pool:
        boxes = [Box(0, y, width, min(y + CELL, height)) for y in range(0, height, CELL)]
        strips = list(pool.map(lambda box: strip_of(pixels, box), boxes))
        windows: list[Window] = []
        boxes = sample_boxes(exposure.shape)[:MOST_WINDOWS]
        for start in range(0, len(boxes), WINDOWS_AT_ONCE):
            windows += pool.map(pixels.window, boxes[start : start + WINDOWS_AT_ONCE])
            pixels.mask_sources(windows)
            if sum(int(window.use.sum()) for window in windows) >= ENOUGH:
                break
        levels = tuple(_level([getattr(w, name)[w.use] for w in windows]) for name in ("after", "before"))
        measure = _Measure(pixels, levels, _PSF if psf is None else psf, model)
        parts = list(pool.map(measure, windows))
    numbers = _numbers(exposure, strips, sum(int(window.use.sum()) for window in windows))
    enough = numbers["used"] >= _FEWEST
    pairs = np.sum([part.pairs for part in parts], axis=0)
    nothing = np.full(pairs.shape, np.nan)
    rho = normalised(np.sum([part.products for part in parts], axis=0), pairs) if enough else nothing
    rho_before = None
    if before is not None:
        products = np.sum([part.products_before for part in parts if part.products_before is not None], axis=0)
        rho_before = normalised(products, pairs) if enough else nothing
    evidence = None if model is None or not enough else gathered([part.evidence for part in parts], model)
    supposed = _supposed(evidence) if not white else np.where(np.arange(rho.size) == rho.size // 2, 1.0, 0.0)
    spectrum = spectrum_of(rho, pairs, None if supposed is None else supposed.reshape(rho.shape))
    cells = joined(strips)
    figures: dict[str, Found] = {
        **_correlations(rho, pairs, rho_before),
        **_scatters([part.scatter for part in parts], numbers["used"], enough),
        "spectrum_chi2": flatness(spectrum) if enough else Measured(),
        **({"peaks": _peaks(parts, measure.psf_at(width / 2, height / 2))} if enough else {}),
        **({"residual": _residual(parts)} if inputs else {}),
        **_background(cells, exposure.shape),
        "flagged": Measured(numbers["flagged"]),
    }
    order = {name: figures[name] for name in FIGURES if name in figures}
    histogram = np.sum([np.histogram(np.clip(part.scatter.snr, -_MOST, _MOST), EDGES)[0] for part in parts], axis=0)
    return Score(order, rho, pairs, spectrum, cells, numbers, histogram, rho_before, evidence)


def _level(parts: list[Array]) -> float:
    values = np.concatenate(parts)
    return mean_level(values) if values.size else 0.0


def _supposed(evidence: Evidence | None) -> Array | None:
    """The correlation function that the model has, if there is one."""
    if evidence is None:
        return None
    return normalised(np.sum(evidence.spectra.expected["model"], axis=0), evidence.spectra.pairs)


def _numbers(exposure: Exposure, strips: Sequence[Strip], used: int) -> dict[str, Any]:
    """How many pixels there are of each kind."""
    planes = dict.fromkeys(exposure.mask_planes, 0)
    for strip in strips:
        for name, count in strip.planes.items():
            planes[name] += count
    ny, nx = exposure.shape
    weights = [min(CELL, nx - x) for x in range(0, nx, CELL)]
    heights = [min(CELL, ny - y) for y in range(0, ny, CELL)]
    flagged = np.average([np.average(strip.figures[3], weights=weights) for strip in strips], weights=heights)
    return {
        "all": ny * nx,
        "without_data": sum(strip.missing for strip in strips),
        "used": used,
        "flagged": float(flagged),
        "planes": planes,
    }


@dataclass(frozen=True)
class _Measure:
    """What is measured in each window."""

    pixels: Pixels
    levels: tuple[float, ...]
    psf: SpatialKernel | Array
    model: Model | None

    def psf_at(self, x: float, y: float) -> Array:
        return self.psf.at(x, y) if isinstance(self.psf, SpatialKernel) else self.psf

    def __call__(self, window: Window) -> _Part:
        level, level_before = self.levels
        products = products_in(window, level_before, level)
        part = _Part(
            products.after,
            products.pairs,
            None if self.pixels.before is None else products.before,
            scatter_in(window, level),
            None if self.model is None else evidence_in(window, products, self.model),
        )
        box = window.box
        psf = self.psf_at((box.x0 + box.x1 - 1) / 2, (box.y0 + box.y1 - 1) / 2)
        searched = self.pixels.searched(window)
        residual = np.where(searched, window.after - np.float32(level), np.float32(0))
        snr, known = matched_filter(residual, window.variance, searched, psf)
        part.searched = int(np.count_nonzero(known))
        for threshold in _PEAKS:
            for side, sign in (("above", 1), ("below", -1)):
                part.peaks[f"{side}_{threshold:g}"] = count_peaks(sign * snr, known, threshold)
        if self.pixels.inputs:
            part.residual = _residual_in(window, level)
        return part


def _residual_in(window: Window, level: float) -> tuple[float, float]:
    """Σ D S/V and Σ S²/V over the sources of the science image: what is left of them in the difference."""
    good = np.isfinite(window.after) & np.isfinite(window.variance) & (window.variance > 0)
    source = good & (window.smooth[0] > _BRIGHT * window.scatter[0])
    flux = window.inputs[0][source].astype(float)
    weight = 1 / window.variance[source].astype(float)
    return float(np.sum((window.after[source] - level) * flux * weight)), float(np.sum(flux**2 * weight))


def _correlations(rho: Array, pairs: Array, before: Array | None) -> dict[str, Found]:
    near = slice(LAG - _NEAR, LAG + _NEAR + 1)
    found: dict[str, Found] = {}
    if before is not None:
        found["max_abs_rho_before"] = Measured(_largest(before[near, near]))
    inner, counts = rho[near, near], pairs[near, near]
    one = float(np.delete(counts, counts.size // 2).mean()) ** -0.5 if counts.min() > 0 else np.nan
    found["max_abs_rho"] = Measured(_largest(inner), *(share * one for share in LARGEST_OF_LAGS))
    found["rho_chi2"] = _chi2(inner, counts)
    found["rho_chi2_far"] = _chi2(rho, pairs, without=_NEAR)
    steps = {"x": (0, 1), "y": (1, 0), "diagonal": (1, 1), "antidiagonal": (1, -1)}
    found["rho_1"] = {
        name: Measured(float(rho[LAG + dy, LAG + dx]), 0.0, float(max(pairs[LAG + dy, LAG + dx], 1.0) ** -0.5))
        for name, (dy, dx) in steps.items()
    }
    return found


def _largest(rho: Array) -> float:
    return float(np.abs(np.delete(rho, rho.size // 2)).max())


def _chi2(rho: Array, pairs: Array, without: int = 0) -> Measured:
    """Sum of squared correlations in units of their errors, opposite lags being one, beyond lags that are left out."""
    middle = rho.shape[0] // 2
    lags = np.abs(np.arange(-middle, middle + 1))
    use = np.maximum.outer(lags, lags) > without
    number = np.count_nonzero(use) / 2
    return Measured(float(np.sum(pairs[use] * rho[use] ** 2)) / 2, number, float(np.sqrt(2 * number)))


def _scatters(parts: list[WindowScatter], used: int, enough: bool) -> dict[str, Found]:
    error = ROBUST_ERROR / max(used, 1) ** 0.5
    if not enough:
        single = ("snr_std", "psf_scatter", "cell_spread")
        return {**dict.fromkeys(single, Measured()), "block_std": {}, "tails": {}}
    snr = np.concatenate([part.snr for part in parts])
    return {
        "snr_std": Measured(1.4826 * median(np.abs(snr)), 1.0, error),
        "block_std": block_std(parts),
        "psf_scatter": psf_scatter(parts),
        "cell_spread": cell_spread(parts),
        "tails": tails(snr),
    }


def _peaks(parts: list[_Part], psf: Array) -> dict[str, Measured]:
    searched = sum(part.searched for part in parts)
    found = {}
    for threshold in _PEAKS:
        expected = searched * expected_peaks(psf, threshold)
        for side in ("above", "below"):
            name = f"{side}_{threshold:g}"
            found[name] = Measured(sum(part.peaks[name] for part in parts), expected, expected**0.5)
    return found


def _residual(parts: list[_Part]) -> Measured:
    """Share of the science image's sources that is left in the difference."""
    product, square = (sum(part.residual[k] for part in parts) for k in (0, 1))
    return Measured(product / square, 0.0, square**-0.5) if square > 0 else Measured()


def _background(cells: Cells, shape: tuple[int, int]) -> dict[str, Found]:
    """Level and gradients across the field, in units of the noise, from the medians of cells."""
    known = np.isfinite(cells.level)
    if np.count_nonzero(known) < 4:
        return {}
    y, x = np.nonzero(known)
    rows, columns = cells.level.shape
    # Positions from -1/2 to 1/2: the slopes are differences between opposite borders.
    edges = [np.minimum(np.arange(count + 1) * CELL, n) for n, count in zip(shape, (rows, columns), strict=True)]
    along_y, along_x = ((edge[1:] + edge[:-1]) / 2 / n - 0.5 for edge, n in zip(edges, shape, strict=True))
    terms = np.column_stack([np.ones(len(x)), along_x[x], along_y[y]])
    values = cells.level[known]
    clipped = np.clip(values, *np.percentile(values, [2, 98]))
    # The medians of cells are as good as they have pixels.
    weights = np.sqrt(np.outer(*map(np.diff, edges))[known] * (1 - cells.flagged[known]))
    solution, *_ = np.linalg.lstsq(terms * weights[:, None], clipped * weights, rcond=None)
    residuals = (values - terms @ solution) * weights
    freedom = max(len(x) - 3, 1)
    covariance = np.linalg.pinv((terms * weights[:, None]).T @ (terms * weights[:, None]))
    errors = np.sqrt(np.diag(covariance) * max(float(residuals @ residuals) / freedom, 1e-30))
    found = [Measured(float(value), 0.0, float(error)) for value, error in zip(solution, errors, strict=True)]
    return {"background": dict(zip(("level", "gradient_x", "gradient_y"), found, strict=True))}
