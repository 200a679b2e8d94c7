"""Quality figures: is the noise white, and does the variance plane tell its size?

All figures are of source-free pixels: where neither input shows a source nearby and no mask plane is set. On large
images they are measured on a sample of windows, spread evenly over the field, with a million such pixels.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diffim_decorr.geometry import Box
from diffim_decorr.images.planes import Plane
from diffim_decorr.noise.correlation import MAX_LAG, max_abs_rho, normalised
from diffim_decorr.noise.halves import Halves
from diffim_decorr.noise.robust import median, standard_deviation
from diffim_decorr.qa.diagnosis import Evidence, Model, evidence_in, gathered
from diffim_decorr.qa.products import Products, products_in
from diffim_decorr.qa.sample import Sample, sample_of
from diffim_decorr.qa.scatter import (
    ROBUST_ERROR,
    WindowScatter,
    block_std,
    cell_spread,
    psf_scatter,
    scatter_in,
    tails,
)
from diffim_decorr.qa.spectrum import LAG
from diffim_decorr.record import Figures, Measured, figure

__all__ = ("LARGEST_OF_LAGS", "QualityFigures", "measure_quality")

Array = NDArray[Any]

_FEWEST = 1000
#: Mean and standard deviation of the largest of 60 Gaussian numbers' absolute values.
LARGEST_OF_LAGS = 2.573, 0.421


@dataclass(frozen=True, eq=False, repr=False)
class QualityFigures(Figures):
    """How white the noise is, and whether the variance plane is right.

    Parameters
    ----------
    rho_before, rho_after, rho_science, rho_template
        Correlation functions (11, 11), with their centre at [5, 5]; those of the inputs tell whether the assumption of
        white noise holds.
    pairs_used
        Pairs of source-free pixels in them, on average over the lags.
    max_abs_rho_before, max_abs_rho_after
        Largest absolute correlation of pixels up to 5 pixels apart along each axis, in the difference and in the
        decorrelated difference. NaN if there were too few source-free pixels.
    snr_std
        Robust standard deviation of the decorrelated difference in units of the square root of its variance plane.
    pixels_used
        Number of source-free pixels.
    rho_chi2
        Sum of squares of the correlations after, each in units of its statistical error: broad weak correlation.
    block_std
        Scatter of means over blocks of so many pixels squared, over what the variance plane says of them.
    psf_scatter
        The same after a matched filter (a Gaussian of 1.5 pixels): what a detection sees.
    cell_spread
        Relative spread of the noise over cells of 64 pixels, in units of the variance plane.
    tails
        Pixels above and below so many σ, over those of a Gaussian.
    spectrum_chi2
        How the power of the difference's noise fits what the inputs and the kernel say.
    flagged
        Share of pixels with a mask plane that matters, or without data.
    held_back
        Whether the pixels measured are those that the variance was not calibrated on, nor anything else measured.
    """

    rho_before: Array
    rho_after: Array
    rho_science: Array
    rho_template: Array
    pairs_used: float
    max_abs_rho_before: float = figure("DCRHO0", "largest noise correlation, difference")
    max_abs_rho_after: float = figure("DCRHO1", "largest noise correlation, this image")
    snr_std: float = figure("DCSNRSTD", "robust std of image / sqrt(variance)")
    pixels_used: int = figure("DCNPIX", "source-free pixels measured")
    rho_chi2: Measured = figure("DCRHOX2", "chi2 of the noise correlation", default=Measured())
    block_std: Mapping[str, Measured] = figure(
        "DCBLK", "std of means over {0} x {0} pixels / expected", default_factory=dict
    )
    psf_scatter: Measured = figure("DCPSFSC", "scatter after a matched filter / expected", default=Measured())
    cell_spread: Measured = figure("DCCELL", "spread of the noise over 64 pixel cells", default=Measured())
    tails: Mapping[str, Measured] = figure("DC", "pixels {} sigma / expected", default_factory=dict)
    spectrum_chi2: Measured = figure("DCSPECX2", "chi2 of the spectrum of the difference", default=Measured())
    flagged: float = figure("DCFLAG", "share of pixels flagged or without data", default=0.0)
    held_back: bool = figure("DCHELD", "measured on pixels that nothing was fitted to", default=False)

    @property
    def snr_error(self) -> float:
        """Statistical error of snr_std."""
        return float(ROBUST_ERROR / np.sqrt(max(self.pixels_used, 1)))

    @property
    def rho_of_noise(self) -> tuple[float, float]:
        """What max_abs_rho is of white noise, and its error."""
        one = max(self.pairs_used, 1) ** -0.5
        return LARGEST_OF_LAGS[0] * one, LARGEST_OF_LAGS[1] * one

    def tree(self) -> dict[str, Any]:
        bounds = {"max_abs_rho_after": self.rho_of_noise, "snr_std": (1.0, self.snr_error)}
        found = {
            f"{name}_{kind}": value
            for name, pair in bounds.items()
            for kind, value in zip(("expected", "error"), pair, strict=True)
        }
        return super().tree() | found

    def __repr__(self) -> str:
        return (
            f"<QualityFigures: max_abs_rho {self.max_abs_rho_before:.4f} before, {self.max_abs_rho_after:.4f} after, "
            f"snr_std {self.snr_std:.4f}, {self.pixels_used} pixels>"
        )


def measure_quality(
    shape: tuple[int, int],
    science: Plane,
    template: Plane,
    before: Plane,
    after: Callable[[Box], tuple[Array, Array, Array]],
    bad_bits: np.int32,
    threads: int = 1,
    model: Model | None = None,
    held_back: Halves | None = None,
) -> tuple[QualityFigures, Evidence | None]:
    """Measure the figures on a sample of windows.

    Parameters
    ----------
    shape
        Of the images, (ny, nx).
    science, template
        The inputs, which show where sources are.
    before
        The difference.
    after
        Reads image, mask and variance of the decorrelated difference within a box.
    bad_bits
        Mask bits of pixels that are not used.
    threads
        Number of threads.
    model
        What the noise of the difference was supposed to be.
    held_back
        Halves of the pixels of which one only may be looked at, the other having been calibrated on.

    Returns
    -------
    figures, evidence
        The figures, and what the difference says of the model, if one was given.
    """
    with ThreadPoolExecutor(threads) as pool:
        sample = sample_of(shape, (science, template), before, after, bad_bits, pool, held_back)
        if sample.pixels < _FEWEST:
            nothing = np.full((2 * MAX_LAG + 1, 2 * MAX_LAG + 1), np.nan)
            figures = QualityFigures(nothing, nothing, nothing, nothing, 0.0, np.nan, np.nan, np.nan, sample.pixels)
            return figures, None
        levels = sample.level_before, sample.level_after
        products = list(pool.map(lambda window: products_in(window, *levels), sample.windows))
        scatters = list(pool.map(lambda window: scatter_in(window, sample.level_after), sample.windows))
        evidence = None
        if model is not None:
            told = pool.map(lambda window, own: evidence_in(window, own, model), sample.windows, products)
            evidence = gathered(list(told), model)
    figures = _figures(sample, products, scatters, evidence)
    return replace(figures, held_back=held_back is not None), evidence


def _figures(
    sample: Sample, products: list[Products], scatters: list[WindowScatter], evidence: Evidence | None
) -> QualityFigures:
    """The figures from what windows add to them."""
    near = slice(LAG - MAX_LAG, LAG + MAX_LAG + 1)
    parts = [(part.pairs, part.before, part.after, *part.inputs) for part in products]
    counts, *sums = (np.sum(planes, axis=0)[near, near] for planes in zip(*parts, strict=True))
    rho_before, rho_after, rho_science, rho_template = (normalised(total, counts) for total in sums)
    snr = np.concatenate([part.snr for part in scatters])
    return QualityFigures(
        rho_before,
        rho_after,
        rho_science,
        rho_template,
        float(np.delete(counts, counts.size // 2).mean()),
        max_abs_rho(rho_before),
        max_abs_rho(rho_after),
        standard_deviation(snr, whole=True) if sample.coarse else 1.4826 * median(np.abs(snr)),
        sample.pixels,
        _rho_chi2(rho_after, counts),
        block_std(scatters),
        psf_scatter(scatters),
        cell_spread(scatters),
        tails(snr),
        Measured() if evidence is None else evidence.chi2,
        float(np.mean([window.flagged for window in sample.windows])),
    )


def _rho_chi2(rho: Array, counts: Array) -> Measured:
    """Sum of squared correlations in units of their errors; opposite lags are one (Box & Pierce 1970)."""
    terms = counts * rho**2
    lags = (rho.size - 1) // 2
    return Measured(float(terms.sum() - terms[MAX_LAG, MAX_LAG]) / 2, float(lags), float(np.sqrt(2 * lags)))
