"""What whitening is for: thresholds that mean what they say, and fluxes with true errors, after a matched filter."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy.signal import fftconvolve

from diffim_decorr.qa.peaks import expected_peaks
from support.data import JWST, needs_jwst
from support.kernels import gaussian
from support.project import ROOT, load_script

# Tolerances are this many standard errors.
SIGMAS = 4.5
counts, fields, filters, pairs = (
    load_script(ROOT / "benchmarks" / "detection" / f"{name}.py") for name in ("counts", "fields", "filters", "pairs")
)


@pytest.fixture(scope="module")
def white() -> dict[str, Any]:
    """White inputs, the template as deep as the science image."""
    return counts.survey([fields.simulated(11, 800, 1.0)])


@pytest.fixture(scope="module")
def correlated() -> dict[str, Any]:
    """The science image smoothed a little, the template drizzled."""
    kernels = gaussian(9, 0.6), np.outer([0.3, 1, 0.3], [0.3, 1, 0.3])
    return counts.survey([fields.simulated(12, 800, 1.0, kernels)])


@pytest.mark.parametrize("sigma", [0.9, 1.6])
def test_expected_peaks_are_those_of_white_noise(sigma: float) -> None:
    """Counted in noise that is filtered as a whole; 3 σ, so that there are many. Neighbouring peaks exclude each other,
    so that their number scatters by less than a Poisson number."""
    psf, rng = gaussian(15, sigma), np.random.default_rng(4)
    noise = fftconvolve(rng.normal(size=(1200, 1200)), psf, "same") / np.sqrt((psf**2).sum())
    inner = np.zeros(noise.shape, bool)
    inner[10:-10, 10:-10] = True
    found = sum(filters.peaks(sign * noise, inner, 3.0) for sign in (1, -1))
    expected = 2 * inner.sum() * expected_peaks(psf, 3.0)
    assert expected > 300
    assert abs(found - expected) < SIGMAS * np.sqrt(expected)


def assert_as_gaussian(tally: Any) -> None:
    """False peaks, flux, its error and completeness are as in white Gaussian noise."""
    for found, expected in zip(tally.found.sum(axis=0), 2 * tally.expected, strict=True):
        assert abs(found - expected) < SIGMAS * max(np.sqrt(expected), 1)
    # Blocks of 64 pixels count as one; a matched filter with this PSF has some 45 pixels for one.
    assert abs(tally.blocks[0] - 1) < SIGMAS * 1.17 / np.sqrt(tally.pixels / 64)
    assert abs(tally.matched[0] - 1) < SIGMAS * 1.17 / np.sqrt(tally.pixels / 45)
    assert tally.cells[0] < 0.02
    ratios, pulls = np.array(tally.ratios), np.array(tally.pulls)
    assert abs(ratios.mean() - 1) < SIGMAS * ratios.std() / np.sqrt(len(ratios))
    assert abs(pulls.std() - 1) < SIGMAS / np.sqrt(2 * len(pulls))
    # At the source's own pixel the fraction above 5 is that of a Gaussian; the best of the pixels near is above it.
    for strength, ideal in ((5.0, 0.5), (6.0, 0.841), (8.0, 0.99865)):
        error = np.sqrt(ideal * (1 - ideal) / len(tally.significances[strength]))
        assert tally.completeness(strength) > ideal - SIGMAS * error


def excess(tally: Any) -> float:
    """False peaks above 4 σ, beyond the expected number in units of its Poisson error."""
    return float((tally.found[:, 0].sum() - 2 * tally.expected[0]) / np.sqrt(2 * tally.expected[0]))


def test_white_inputs(white: dict[str, Any]) -> None:
    assert 2 * white["white"].expected[0] > 10
    assert_as_gaussian(white["white"])
    assert_as_gaussian(white["measured"])
    # The variance of pixels alone makes errors too small, and peaks too many: nearly 100 instead of 10.
    assert excess(white["raw"]) > 2 * SIGMAS
    pulls = np.array(white["raw"].pulls)
    assert pulls.std() > 1 + SIGMAS / np.sqrt(2 * len(pulls))


def test_correlated_inputs(correlated: dict[str, Any]) -> None:
    assert 2 * correlated["measured"].expected[0] > 10
    assert_as_gaussian(correlated["measured"])
    assert excess(correlated["white"]) > 2 * SIGMAS
    assert excess(correlated["raw"]) > excess(correlated["white"])


def test_whitening_loses_no_sources(white: dict[str, Any]) -> None:
    """With as many false peaks it finds no fewer sources."""
    for strength in (6.0, 8.0):
        fractions = {m: t.completeness(strength, t.honest_threshold()) for m, t in white.items()}
        count = len(white["raw"].significances[strength])
        error = np.sqrt(max(fractions["raw"] * (1 - fractions["raw"]), 1 / count) / count)
        assert fractions["white"] > fractions["raw"] - SIGMAS * error


@needs_jwst
def test_real_images_have_fewer_false_peaks() -> None:
    """JWST mosaics, one ψ for the whole field: the errors of the raw difference are wrong by a factor of two."""
    given = replace(pairs.jwst(JWST), spatial=False)
    found, expected = {}, {}
    for method in ("raw", "measured"):
        image, variance, use, psf = counts.images(given, method)
        flux, error = filters.matched_filter(image, variance, use, psf)
        free = given.free & use
        free[:40] = free[-40:] = free[:, :40] = free[:, -40:] = False
        found[method] = sum(filters.peaks(sign * flux / error, free, 4.0) for sign in (1, -1))
        expected[method] = 2 * free.sum() * expected_peaks(psf, 4.0)
    assert found["raw"] > 100 * expected["raw"]
    # What is left is real: faint sources and errors of the subtraction.
    assert found["measured"] < 10 * expected["measured"]
