"""Point sources injected into real differences: how many are found by their S/N maps, and at what price.

python benchmarks/injection.py          prints the table of docs/snr.md
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits
from detection import DATA, JWST, STRENGTHS, Field, Tally, _places, jwst, matched_filter, peaks, robust
from numpy.typing import NDArray
from scipy.ndimage import maximum_filter

from diffim_decorr import Exposure, Result, decorrelate, read_exposure, read_kernel
from diffim_decorr.noise.sources import mask_sources, smoothed
from diffim_decorr.qa.peaks import expected_peaks

Array = NDArray[Any]
#: Flux and its error at each pixel, of the field with something added to it.
Maps = Callable[[Field], tuple[Array, Array]]

_THRESHOLD, _NEAR, _HALF = 4.0, 2, 8
HOTPANTS = "simulated stars, subtracted by HOTPANTS, kernel of order 2"


def run(field: Field, **options: Any) -> Result:
    """`decorr run` of a field."""
    planes = {"BAD": 0}
    mask = field.mask.astype("i4")
    science, template = (
        Exposure(image.astype("f4"), variance.astype("f4"), mask, mask_planes=planes, psf=psf)
        for image, variance, psf in zip(
            (field.science, field.template), field.variances, (field.psf, None), strict=True
        )
    )
    difference = Exposure(field.difference.astype("f4"))
    return decorrelate(science, template, difference, field.kernel, spatial=True, convolved="template", **options)


def by_maps(**options: Any) -> Maps:
    """What `decorr snr` makes of the result."""

    def maps(field: Field) -> tuple[Array, Array]:
        found = run(field, **options).snr()
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
    made = run(replace(clean, difference=image, kernel=kernel))
    published = fits.getdata(folder / "sfft_published_snr.fits").astype(float)
    usable = np.isfinite(published) & (published != 0) & ~clean.mask
    sigma = np.sqrt(made.exposure.variance)
    middle = [size / 2 for size in image.shape[::-1]]
    psf = made.exposure.psf if isinstance(made.exposure.psf, np.ndarray) else made.exposure.psf.at(*middle)

    def maps(field: Field) -> tuple[Array, Array]:
        from diffim_decorr import apply_psi

        added = field.difference - clean.difference
        seen = apply_psi(Exposure(np.nan_to_num(added).astype("f4")), made.decorrelation_kernel).image
        # Its level is off by as much as that of the other difference.
        snr = published - np.median(published[usable & clean.free]) + np.nan_to_num(seen / sigma)
        flux, error = matched_filter(snr * sigma, sigma**2, usable & np.isfinite(sigma), psf)
        return flux, error

    return maps


def survey(field: Field, methods: dict[str, Maps], reference: str, seed: int) -> dict[str, Tally]:
    """False peaks in a field, and what is found of sources in it; see `detection.survey`."""
    rng = np.random.default_rng(seed)
    clean = {name: maps(field) for name, maps in methods.items()}
    known = np.logical_and.reduce([np.isfinite(flux / error) for flux, error in clean.values()])
    free = field.free & ~maximum_filter(~known, 2 * _HALF + 1)
    places = _places(free, rng)
    strengths = rng.permutation(np.resize(STRENGTHS, len(places)))
    at = tuple(places.T)
    fluxes = strengths * clean[reference][1][at]
    injected = field.with_sources(places, fluxes)
    tallies = {}
    for name, maps in methods.items():
        tally = tallies[name] = Tally(pixels=int(free.sum()))
        significance = np.nan_to_num(clean[name][0] / clean[name][1])
        expected = tally.pixels * expected_peaks(field.psf, _THRESHOLD)
        tally.expected[0] = expected
        tally.found[:, 0] = [peaks(sign * significance, free, _THRESHOLD) for sign in (1, -1)]
        tally.matched.append(robust(significance[free]))
        for signed in (significance, -significance):
            tally.heights += signed[(signed == maximum_filter(signed, 3)) & free & (signed > 3)].tolist()
        flux, error = maps(injected)
        highest = maximum_filter(np.nan_to_num(flux / error), 2 * _NEAR + 1)
        # What was there already is taken off: errors are judged elsewhere.
        tally.ratios += ((flux - clean[name][0])[at] / fluxes).tolist()
        for strength, value in zip(strengths, highest[at], strict=True):
            tally.significances[float(strength)].append(float(value))
    return tallies


def hotpants(folder: Path) -> Field:
    """The simulated pair that HOTPANTS has subtracted, with its true noise."""
    images, variances = [], []
    bad = np.zeros(fits.getdata(folder / "sci.fits").shape, bool)
    for name in ("sci", "tmpl"):
        images.append(fits.getdata(folder / f"{name}.fits").astype(float))
        variances.append(fits.getdata(folder / f"{name}_noise.fits").astype(float) ** 2)
        mask = maximum_filter(fits.getdata(folder / f"{name}_mask.fits") != 0, 21)
        bad |= mask | ~np.isfinite(images[-1]) | ~(variances[-1] > 0)
    difference = read_exposure(folder / "diff_ko2.fits")
    bad |= ~np.isfinite(difference.image) | (difference.image == np.float32(difference.missing_value or np.nan))
    kernel = read_kernel(folder / "diff_ko2.fits", difference.shape)
    middle = kernel.kernel.at(difference.shape[1] / 2, difference.shape[0] / 2)
    free = ~bad
    for image in images:
        flat = np.where(bad, 0, image - np.median(image[~bad])).astype(np.float32)
        for scale in (1.5, 4.0):
            smooth = smoothed(flat, scale)
            mask_sources(free, smooth, float(1.4826 * np.median(np.abs(smooth[~bad]))))
    psf = fits.getdata(folder / "sci_psf.fits").astype(float)
    fine = [np.where(bad, 0, image) for image in images]
    return Field(
        *fine,
        np.where(bad, np.nan, difference.image - np.median(difference.image[free])),
        tuple(np.where(bad, np.median(v[~bad]), v) for v in variances),  # type: ignore[arg-type]
        np.where(bad, 1, variances[0] + variances[1] * (middle**2).sum()),
        bad,
        free,
        kernel,
        psf / psf.sum(),
        spatial=True,
    )


def table(tallies: dict[str, Tally]) -> str:
    """A table of what was found."""
    lines = [
        "| method | peaks > 4 σ | expected | scatter of S/N | flux | threshold for equal false alarms | found at it: "
        "5 σ sources | 6 σ sources | 8 σ sources |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for name, tally in tallies.items():
        threshold = tally.honest_threshold()
        found = " | ".join(f"{tally.completeness(s, threshold):.0%}" for s in STRENGTHS[1:])
        lines.append(
            f"| {name} | {tally.found[:, 0].sum()} | {2 * tally.expected[0]:.0f} | {tally.matched[0]:.2f} | "
            f"{np.median(tally.ratios):.3f} | {threshold:.2f} | {found} |"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--seed", type=int, default=3)
    given = parser.parse_args()
    real = jwst(given.data / "jwst_a2744")
    real = replace(real, naive=np.where(np.isfinite(real.naive), real.naive, 1))
    raw, white, measured = "matched filter on the raw difference", "decorr snr", "decorr snr, `--noise measured`"
    for title, field, methods, reference in (
        (
            JWST,
            real,
            {
                raw: of_raw,
                "matched filter on SFFT's published S/N": of_published(given.data / "jwst_a2744", real),
                white: by_maps(),
                measured: by_maps(noise="measured"),
            },
            measured,
        ),
        (HOTPANTS, hotpants(given.data / "hotpants"), {raw: of_raw, white: by_maps()}, white),
    ):
        tallies = survey(field, methods, reference, given.seed)
        count = len(next(iter(tallies.values())).ratios)
        print(f"{title}: {tallies[reference].pixels / 1e6:.2f} million pixels without sources, {count} injected.\n")
        print(table(tallies), flush=True)
        print()


if __name__ == "__main__":
    main()
