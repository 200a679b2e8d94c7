"""Is a verdict to be trusted? Quality figures and verdicts of runs on perfect noise.

python benchmarks/calibration.py          writes docs/calibration.md
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from scipy.signal import fftconvolve

from diffim_decorr import DecorrWarning, Exposure, SpatialKernel, decorrelate
from diffim_decorr.kernels.coefficients import PolynomialCoefficients

__all__ = ("Figure", "Run", "measured", "page", "pair", "runs_of")

Array = NDArray[Any]

HERE = Path(__file__).resolve().parent
_PLANES = {"BAD": 0, "SAT": 1}
#: Pulls of a figure have a mean of 0 and a width of 1, within these.
MEAN, WIDTH = 0.2, 0.15


@dataclass(frozen=True)
class Run:
    """What is drawn for one run: its seed, and of it the kernel's σ, the ratio of variances, and so on."""

    seed: int
    size: tuple[int, int]
    sigma: float
    ratio: float
    spatial: bool
    convolved: str
    stars: bool


class Figure(NamedTuple):
    """What came of a run: its verdict with the figures that gave it, and pulls by name of figure; the same of qa."""

    status: str
    reasons: tuple[str, ...]
    pulls: dict[str, float]
    qa_status: str
    qa_reasons: tuple[str, ...]
    qa_pulls: dict[str, float]


def runs_of(count: int, seed: int = 2026) -> list[Run]:
    """Runs drawn at random: kernels from narrow to wide, templates from much deeper to much shallower."""
    rng = np.random.default_rng(seed)
    runs = []
    for _ in range(count):
        height, width = rng.integers(300, 900, 2)
        runs.append(
            Run(
                seed=int(rng.integers(1 << 31)),
                size=(int(height), int(width)),
                sigma=float(rng.uniform(0.5, 2.5)),
                ratio=float(np.exp(rng.uniform(np.log(0.05), np.log(20)))),
                spatial=bool(rng.integers(2)),
                convolved=str(rng.choice(["template", "science"])),
                stars=bool(rng.integers(2)),
            )
        )
    return runs


def gaussian(width: int, sigma: float) -> Array:
    x = np.arange(width) - width // 2
    g = np.exp(-0.5 * (x / sigma) ** 2)
    return np.outer(g, g) / g.sum() ** 2


def pair(run: Run) -> tuple[tuple[Exposure, Exposure, Exposure], SpatialKernel]:
    """Science image, template and difference of perfect noise, and the kernel, which varies if ψ is to."""
    rng = np.random.default_rng(run.seed)
    ny, nx = run.size
    width = 2 * int(np.ceil(4 * run.sigma)) + 1
    basis = np.array([gaussian(width, run.sigma), gaussian(width, 1.25 * run.sigma)])
    slope = 1.0 if run.spatial else 0.0
    # From the first basis image at the left border to the second one at the right.
    coefficients = PolynomialCoefficients(
        np.array([[1.0, -slope], [0.0, slope]]), np.array([[0, 0], [1, 0]]), (0.0, 0.0), (float(nx), float(ny))
    )
    kernel = SpatialKernel(basis, coefficients)
    stars = np.zeros(run.size)
    if run.stars:
        count = ny * nx // 6000
        stars[rng.integers(0, ny, count), rng.integers(0, nx, count)] = 10 ** rng.uniform(2, 4, count)
        stars = gaussian_filter(stars, 1.5)
    levels = (1.0, run.ratio) if run.convolved == "template" else (run.ratio, 1.0)
    noise = [rng.normal(0, level**0.5, run.size) for level in levels]
    share = np.arange(nx) / nx * slope
    to_convolve = noise[1] if run.convolved == "template" else noise[0]
    matched = (1 - share) * fftconvolve(to_convolve, basis[0], "same")
    matched += share * fftconvolve(to_convolve, basis[1], "same")
    difference = noise[0] - matched if run.convolved == "template" else matched - noise[1]
    mask = (rng.uniform(size=run.size) < 2e-4).astype("i4") * (1 << _PLANES["BAD"])
    exposures = [
        Exposure((image + stars).astype("f4"), np.full(run.size, level, "f4"), mask, mask_planes=_PLANES, name=name)
        for image, level, name in zip(noise, levels, ("science", "template"), strict=True)
    ]
    return (exposures[0], exposures[1], Exposure(difference.astype("f4"), name="difference")), kernel


def measured(run: Run) -> Figure:
    """Decorrelate what a run draws, and take its figures."""
    images, kernel = pair(run)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DecorrWarning)
        result = decorrelate(
            *images, kernel, spatial=run.spatial, convolved=run.convolved, psf=gaussian(21, 1.5), threads=1
        )
    judged = result.assess(before=images[2], science=images[0], template=images[1], threads=1)
    return Figure(
        result.verdict.status,
        tuple(reason.figure for reason in result.verdict.reasons),
        dict(_pulls(result.qa.tree())),
        judged.verdict.status,
        tuple(reason.figure for reason in judged.verdict.reasons),
        dict(_pulls(judged.tree()["figures"])),
    )


def _pulls(tree: dict[str, Any], name: str = "") -> Iterator[tuple[str, float]]:
    """(value − expected) / error of every figure of a JSON tree that has an error, and expects more than a pixel."""
    for key, value in tree.items():
        if isinstance(value, dict):
            yield from _pulls(value, f"{name}.{key}".strip("."))
        elif f"{key}_error" in tree:
            yield key, (value - tree[f"{key}_expected"]) / tree[f"{key}_error"]
    if tree.get("error") and name != "cell_spread" and not name.endswith("_5"):
        yield name, (tree["value"] - tree["expected"]) / tree["error"]


def page(runs: Sequence[Run], figures: Sequence[Figure], minutes: float, date: str) -> str:
    """The page with the figures."""
    run, qa = (Counter(statuses) for statuses in zip(*((f.status, f.qa_status) for f in figures), strict=True))
    verdicts = [
        f"| `{command}` | {found['ok']} | {found['check']} | {found['fail']} | {_listed(reasons)} |"
        for command, found, reasons in (
            ("decorr run", run, [f.reasons for f in figures]),
            ("decorr qa", qa, [f.qa_reasons for f in figures]),
        )
    ]
    return _PAGE.format(
        count=len(runs),
        minutes=minutes,
        date=date,
        verdicts="\n".join(verdicts),
        rows="\n".join(_rows([f.pulls for f in figures])),
        qa_rows="\n".join(_rows([f.qa_pulls for f in figures])),
        mean=MEAN,
        width=WIDTH,
    )


def _listed(reasons: Sequence[Sequence[str]]) -> str:
    """Figures that were given as reasons, and in how many runs."""
    counts = Counter(name for own in reasons for name in set(own))
    return ", ".join(f"`{name}` in {count}" for name, count in sorted(counts.items())) or "none"


def _rows(runs: Sequence[dict[str, float]]) -> Iterator[str]:
    """A row for each figure."""
    for name in sorted({name for own in runs for name in own}):
        pulls = np.array([own[name] for own in runs if np.isfinite(own.get(name, np.nan))])
        yield (
            f"| `{name}` | {len(pulls)} | {pulls.mean():+.2f} ± {pulls.std() / len(pulls) ** 0.5:.2f} | "
            f"{pulls.std():.2f} | {np.abs(pulls).max():.1f} |"
        )


_PAGE = """\
# Is a verdict to be trusted?

Written by `make calibration` (`python benchmarks/calibration.py`, which took {minutes:.0f} min), {date}.

Whoever reads `check` or `fail` has to know how often perfect images are called that. {count} pairs of images are
drawn: 300 to 900 pixels a side, white noise, Gaussian matching kernels of σ 0.5 to 2.5 pixels, noise ratios of 0.05 to
20, either image convolved, stars in both images of half of the pairs, two masked pixels in 10 000. In half of them the
kernel varies over the field, getting wider by a quarter from one side to the other, and ψ follows it (`--spatial`).
Each is decorrelated with its true kernel and variances, so that all that a figure shows is chance, or a fault of the
figure.

## Verdicts

| command | ok | check | fail | reasons |
| --- | --- | --- | --- | --- |
{verdicts}

`decorr qa` had the difference before, science image and template, too.

## Figures

A figure's *pull* is its difference from the expectation, in units of its error as the output has it. If expectation and
error are right, pulls have a mean of 0 and a standard deviation of 1; aimed at are a mean within {mean} and a width
within {width} of these.

| figure | runs | mean of pulls | width | largest |
| --- | --- | --- | --- | --- |
{rows}

Of `decorr qa`:

| figure | runs | mean of pulls | width | largest |
| --- | --- | --- | --- | --- |
{qa_rows}

`cell_spread`, which is 0 where no spread stands out, has no such pulls, and of the pixels beyond 5 σ less than one is
expected.
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=300)
    parser.add_argument("--output", type=Path, default=HERE.parent / "docs" / "calibration.md")
    given = parser.parse_args()
    start = time.time()
    runs = runs_of(given.runs)
    with ProcessPoolExecutor(2) as pool:
        figures = list(pool.map(measured, runs))
    for run, figure in zip(runs, figures, strict=True):
        if figure.status != "ok":
            print(figure.status, figure.reasons, run)
    given.output.parent.mkdir(parents=True, exist_ok=True)
    text = page(runs, figures, (time.time() - start) / 60, time.strftime("%Y-%m-%d"))
    given.output.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
