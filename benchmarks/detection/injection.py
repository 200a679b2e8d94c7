"""Point sources injected into real differences: how many are found by their S/N maps, and at what price."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits
from counts import CORE, STRENGTHS, Tally
from fields import Field, places
from filters import matched_filter
from markup import table
from numpy.typing import NDArray
from pairs import HOTPANTS, JWST, hotpants, jwst
from scipy.ndimage import maximum_filter

from diffim_decorr import Exposure, apply_psi, read_exposure, read_kernel

__all__ = ("injected", "survey_of_maps")

Array = NDArray[Any]
#: Flux and its error at each pixel, of the field with something added to it.
Maps = Callable[[Field], tuple[Array, Array]]

RAW, PUBLISHED = "matched filter on the raw difference", "matched filter on SFFT's published S/N"
WHITE, MEASURED = "`decorr snr`", "`decorr snr`, `--noise measured`"


def by_maps(**options: Any) -> Maps:
    """What `decorr snr` makes of the result."""

    def maps(field: Field) -> tuple[Array, Array]:
        found = field.whitened(**options).snr()
        low = (found.mask & (1 << found.mask_planes["LOW_WEIGHT"])) != 0
        return np.where(low, np.nan, found.flux), found.flux_err.astype(float)

    return maps


def of_raw(field: Field) -> tuple[Array, Array]:
    """A matched filter on the difference as it is, with its naive variances."""
    return matched_filter(field.difference, field.naive, ~field.mask & np.isfinite(field.difference), field.psf)


def of_published(folder: Path, clean: Field) -> Maps:
    """The same on the S/N of pixels that SFFT has published, with sources as ψ for white noise makes them.

    That ψ is made from the solution of the difference, for the kernel that SFFT has used is not published.
    """
    image = read_exposure(folder / "sfft_diff.fits").image.astype(float)
    kernel = read_kernel(folder / "sfft_solution.fits", image.shape)
    made = replace(clean, difference=image, kernel=kernel).whitened()
    published = fits.getdata(folder / "sfft_published_snr.fits").astype(float)
    usable = np.isfinite(published) & (published != 0) & ~clean.mask
    sigma = np.sqrt(made.exposure.variance)
    middle = [size / 2 for size in image.shape[::-1]]
    psf = made.exposure.psf if isinstance(made.exposure.psf, np.ndarray) else made.exposure.psf.at(*middle)

    def maps(field: Field) -> tuple[Array, Array]:
        added = field.difference - clean.difference
        seen = apply_psi(Exposure(np.nan_to_num(added).astype("f4")), made.decorrelation_kernel).image
        # Its level is off by as much as that of the other difference.
        snr = published - np.median(published[usable & clean.free]) + np.nan_to_num(seen / sigma)
        flux, error = matched_filter(snr * sigma, sigma**2, usable & np.isfinite(sigma), psf)
        return flux, error

    return maps


def survey_of_maps(field: Field, methods: dict[str, Maps], reference: str, seed: int) -> dict[str, Tally]:
    """False peaks in a field, and what is found of sources in it, which are as strong as a reference says."""
    rng = np.random.default_rng(seed)
    clean = {name: maps(field) for name, maps in methods.items()}
    known = np.logical_and.reduce([np.isfinite(flux / error) for flux, error in clean.values()])
    free = field.free & ~maximum_filter(~known, 2 * CORE + 1)
    at = places(free, rng)
    strengths = rng.permutation(np.resize(STRENGTHS, len(at[0])))
    fluxes = strengths * clean[reference][1][at]
    injected = field.with_sources(at, fluxes)
    tallies = {}
    for name, maps in methods.items():
        tally = tallies[name] = Tally()
        tally.count_noise(np.nan_to_num(clean[name][0] / clean[name][1]), free, field.psf)
        flux, error = maps(injected)
        tally.count_sources(np.nan_to_num(flux / error), at, strengths)
        # What was there already is taken off: errors are judged elsewhere.
        tally.ratios += ((flux - clean[name][0])[at] / fluxes).tolist()
    return tallies


def injected(data: Path, seed: int = 3) -> str:
    """The tables of both real pairs."""
    real = jwst(data / "jwst_a2744")
    published = of_published(data / "jwst_a2744", real)
    surveys = (
        (JWST, real, {RAW: of_raw, PUBLISHED: published, WHITE: by_maps(), MEASURED: by_maps(noise="measured")}),
        (HOTPANTS, hotpants(data / "hotpants"), {RAW: of_raw, WHITE: by_maps()}),
    )
    text = ""
    for title, field, methods in surveys:
        reference = list(methods)[-1]
        tallies = survey_of_maps(field, methods, reference, seed)
        tally = tallies[reference]
        about = f"{tally.pixels / 1e6:.2f} million pixels without sources, {len(tally.ratios)} sources injected."
        text += f"### {title[0].upper()}{title[1:]}: S/N maps\n\n{about}\n\n{_table(tallies)}\n"
    return text


_HEADINGS = (
    "method",
    "peaks beyond 4 σ",
    "expected",
    "scatter of S/N",
    "flux",
    "threshold for equal false alarms",
    "found at it: 5 σ sources",
    "6 σ sources",
    "8 σ sources",
)


def _table(tallies: dict[str, Tally]) -> str:
    rows = []
    for name, tally in tallies.items():
        threshold = tally.honest_threshold()
        rows.append(
            (
                name,
                str(tally.found[:, 0].sum()),
                f"{2 * tally.expected[0]:.0f}",
                f"{tally.matched[0]:.2f}",
                f"{np.median(tally.ratios):.3f}",
                f"{threshold:.2f}",
                *(f"{tally.completeness(strength, threshold):.0%}" for strength in STRENGTHS[1:]),
            )
        )
    return table(_HEADINGS, rows)
