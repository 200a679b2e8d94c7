"""Is the noise right at every place? Noise models on resampled noise, judged on noise they have not seen.

python benchmarks/local_noise.py          writes docs/evidence/noise.md (`make noise`)
"""

from __future__ import annotations

import argparse
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy.ndimage import gaussian_filter
from scipy.signal import fftconvolve

from diffim_decorr import DecorrWarning, Exposure, apply_psi, decorrelate

_ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(_ROOT / "tests"))  # where resampling is written down without a line of the package

from support.kernels import gaussian  # noqa: E402
from support.warped import Resampled, cells  # noqa: E402

__all__ = ("CASES", "Case", "Judged", "judged", "written")

_PAGE = _ROOT / "docs" / "evidence" / "noise.md"
_KERNEL, _PSF = gaussian(13, 1.3), gaussian(15, 1.5)
_REALISATIONS, _EDGE = 8, 40
#: What is not the seed of any test, nor of anything that the models were made with.
SEEDS = 101, 102, 103

Array = np.ndarray
Images = tuple[Array, Array]


class Case(NamedTuple):
    """Noise of a pair of images.

    Parameters
    ----------
    draw
        Science image and template of a side and a generator.
    warps
        Of science image and template of a side; empty where none is told.
    models
        That are compared.
    """

    draw: Callable[[int, np.random.Generator], Images]
    warps: Callable[[int], tuple[list[Resampled], list[Resampled]]] = lambda side: ([], [])
    models: tuple[str, ...] = ("measured", "local")


class Judged(NamedTuple):
    """Largest correlation and scatter in each cell, scatter after a matched filter, and error of PSF fluxes."""

    rho: Array
    scatter: Array
    matched: float
    flux_error: float


def _resampled(kind: str, degrees: float, side: int) -> Resampled:
    return Resampled(kind, degrees, (side, side))


def _of(
    science: tuple[str, float] | None, template: tuple[str, float] | None, native: float = 0.0
) -> Callable[[int, np.random.Generator], Images]:
    """Noise that was resampled, of a template with 0.3 of the variance if it was not; smooth before if so told."""

    def one(how: tuple[str, float] | None, level: float, side: int, rng: np.random.Generator) -> Array:
        if how is None:
            return rng.standard_normal((side, side)) * level**0.5
        image = _resampled(*how, side)
        before = rng.standard_normal(image.before)
        if native:
            before = gaussian_filter(before, native, mode="wrap")
            before /= before.std()
        return image.of(before)

    return lambda side, rng: (one(science, 1.0, side, rng), one(template, 0.3 if science else 1.0, side, rng))


def _told(
    science: tuple[str, float] | None, template: tuple[str, float] | None
) -> Callable[[int], tuple[list[Resampled], list[Resampled]]]:
    def warps(side: int) -> tuple[list[Resampled], list[Resampled]]:
        one, other = ([] if how is None else [_resampled(*how, side)] for how in (science, template))
        return one, other

    return warps


def _blended(side: int, rng: np.random.Generator) -> Images:
    """White on the left, smooth on the right."""
    share = np.clip((np.arange(side) - side / 4) / (side / 2), 0, 1)
    smooth = gaussian_filter(rng.standard_normal((side, side)), 0.6, mode="wrap")
    white, template = rng.standard_normal((2, side, side))
    return np.sqrt(1 - share) * white + np.sqrt(share) * smooth / smooth.std(), template * 0.3**0.5


def _deeper(side: int, rng: np.random.Generator) -> Images:
    """Twice the variance on the right, of which no plane tells."""
    science, template = rng.standard_normal((2, side, side))
    return science * np.sqrt(np.linspace(0.7, 1.4, side)), template * 0.3**0.5


_LOW, _HIGH, _LANCZOS = ("bilinear", 0.2), ("bilinear", 1.0), ("lanczos3", 0.4)
CASES = {
    "white noise in both": Case(_of(None, None), models=("white", "measured", "local")),
    "science bilinear, turned by 0.2°, warp known": Case(_of(_LOW, None), _told(_LOW, None)),
    "the same, turned by 1°": Case(_of(_HIGH, None), _told(_HIGH, None)),
    "science lanczos3, 0.4°; template bilinear, 1°": Case(_of(_LANCZOS, _HIGH), _told(_LANCZOS, _HIGH)),
    "template bilinear, turned by 0.2°, warp known": Case(_of(None, _LOW), _told(None, _LOW)),
    "science bilinear, 0.2°, nothing told": Case(_of(_LOW, None)),
    "science bilinear, 1°, of smooth noise, warp known": Case(_of(_HIGH, None, 0.6), _told(_HIGH, None)),
    "science bilinear, 0.2°, of smooth noise, warp known": Case(_of(_LOW, None, 0.6), _told(_LOW, None)),
    "white noise that becomes smooth, nothing told": Case(_blended),
    "variance that doubles, no plane": Case(_deeper),
}


def judged(name: str, model: str, seed: int, side: int) -> Judged:
    """A run with a noise model, and what its ψ and its variance make of other noise."""
    case, rng = CASES[name], np.random.default_rng(seed)
    images, warps = case.draw(side, rng), case.warps(side)
    # Where a warp is known so are the variances that it leaves; else there are no planes.
    science, template = (
        Exposure(
            image,
            own[0].variance if own else float(np.var(image)),
            warps=[warp.warp for warp in own] if model == "local" else [],
        )
        for image, own in zip(images, warps, strict=True)
    )
    difference = Exposure(_difference(images))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DecorrWarning)
        result = decorrelate(science, template, difference, _KERNEL, spatial=True, noise=model, psf=_PSF, threads=1)
        # Of what has a constant kernel and errors of fluxes that can be compared.
        error = float(np.nanmedian(result.snr().flux_err)) if "white" in case.models else np.nan
    roots = np.sqrt(result.exposure.variance)
    fresh = [
        apply_psi(Exposure(_difference(case.draw(side, rng))), result.decorrelation_kernel, threads=1).image / roots
        for _ in range(_REALISATIONS)
    ]
    rho, scatter = cells(fresh)
    inside = np.s_[_EDGE:-_EDGE, _EDGE:-_EDGE]
    matched = np.std([fftconvolve(image[inside], _PSF, "valid") for image in fresh]) / np.sqrt((_PSF**2).sum())
    return Judged(rho, scatter, float(matched), error)


def _difference(images: Images) -> Array:
    return images[0] - fftconvolve(images[1], _KERNEL, "same")


def _rows(side: int, seeds: tuple[int, ...], processes: int) -> Iterator[tuple[str, ...]]:
    """A row for each case and model."""
    tasks = [(name, model, seed, side) for name, case in CASES.items() for model in case.models for seed in seeds]
    with ProcessPoolExecutor(processes) as pool:
        found = dict(zip(tasks, pool.map(partial(_unpacked), tasks), strict=True))
    for name, case in CASES.items():
        first = [found[name, case.models[0], seed, side].flux_error for seed in seeds]
        for model in case.models:
            own = [found[name, model, seed, side] for seed in seeds]
            rho, scatter = (np.concatenate([getattr(one, what) for one in own]) for what in ("rho", "scatter"))
            errors = np.mean([one.flux_error / other for one, other in zip(own, first, strict=True)])
            yield (
                name, model, f"{np.median(rho):.3f}", f"{rho.max():.3f}",
                f"{scatter.min():.3f}–{scatter.max():.3f}", f"{np.mean([one.matched for one in own]):.3f}",
                "–" if np.isnan(errors) else f"{errors:.3f}",
            )  # fmt: skip


def _unpacked(task: tuple[str, str, int, int]) -> Judged:
    return judged(*task)


_TEXT = """# Is the noise right at every place?

Written by `make noise` (`python benchmarks/local_noise.py`, which took {minutes:.0f} min), {date}.

Pairs of {side}² pixels of noise with a matching kernel of σ = 1.3 pixels, seeds {seeds}, which nothing was made or
tuned with. ψ and variance of a run are judged by what they make of {count} other realisations of the same noise, in
cells of 64 pixels: the largest correlation at lags up to 5 pixels (white noise: {floor:.3f} in the median, by chance),
and the scatter in units of the variance plane, which has an error of {error:.3f}. *Matched* is that of all of the field
after a matched filter with the PSF. *Flux error* is the error that `decorr snr` states, relative to that of `white`.
Where a warp is told, `measured` does without it.

| noise | model | max_abs_rho, median | worst cell | scatter | matched | flux error |
| --- | --- | --- | --- | --- | --- | --- |
{rows}
What is left: where nothing is told of a warp, its phase is followed as far as cells of 32 pixels tell it; of noise that
was smooth before it was resampled harmonics of the phase are fitted, as far as half of the pixels agrees with the
other.
"""


def written(side: int, seeds: tuple[int, ...], processes: int) -> str:
    """The page."""
    start = time.perf_counter()
    rows = "".join(f"| {' | '.join(row)} |\n" for row in _rows(side, seeds, processes))
    return _TEXT.format(
        rows=rows, side=side, seeds=", ".join(map(str, seeds)), count=_REALISATIONS, date=time.strftime("%Y-%m-%d"),
        floor=2.5 / np.sqrt(_REALISATIONS * 64**2), error=1 / np.sqrt(2 * _REALISATIONS * 64**2),
        minutes=max(1, (time.perf_counter() - start) / 60),
    )  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--side", type=int, default=768, help="of the images, in pixels")
    parser.add_argument("--seeds", type=int, nargs="+", default=SEEDS, help="of the noise")
    parser.add_argument("--processes", type=int, default=2, help="at a time")
    parser.add_argument("--only", default="", help="cases with this in their name")
    parser.add_argument("--output", type=Path, default=_PAGE, help="the page")
    given = parser.parse_args()
    given.output.parent.mkdir(parents=True, exist_ok=True)
    for name in [name for name in CASES if given.only not in name]:
        del CASES[name]
    given.output.write_text(written(given.side, tuple(given.seeds), given.processes), encoding="utf-8")


if __name__ == "__main__":
    main()
