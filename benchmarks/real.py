"""Whole runs where they are slow: real images, kernels by region, and a wide kernel."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from shutil import rmtree

from data import Kernel, write_fits
from measure import Sample, Spread, interleaved, spread
from plan import Bar, Measured, Plan, Table, decorr_run, peak

__all__ = ("LIMIT", "Case", "cases", "lower_limit", "real")

#: Seconds after which a run is ended. Those that take longer have missed their bar by far.
LIMIT = 60.0
_MEGABYTES = 1.048576  # in a MiB
_MEMORY = 800.0


@dataclass(frozen=True)
class Case:
    """A run.

    Parameters
    ----------
    name
        What it is of.
    images
        Science image, template and difference.
    options
        Words of the command line.
    seconds
        The bar.
    """

    name: str
    images: tuple[Path, Path, Path]
    options: tuple[object, ...]
    seconds: float = 5.0


def cases(plan: Plan, folder: Path) -> tuple[list[Case], list[str]]:
    """The runs, those of images that are absent left out; and what is left out.

    Parameters
    ----------
    plan
        What to measure. If it is to be quick, the images of one run are real.
    folder
        For files that are written.
    """
    found, absent = [], []
    for case in list(_on_files(plan.data))[: 1 if plan.quick else None]:
        if all(path.exists() for path in (*case.images, *(o for o in case.options if isinstance(o, Path)))):
            found.append(case)
        else:
            absent.append(f"{case.name} (no {case.images[2].relative_to(plan.data)})")
    size = plan.scaling
    images = write_fits(folder, Kernel.random((size, size), plan.wide))
    options = ("--kernel", images[2], "--spatial")
    return [*found, Case(f"white noise, {size}², kernel of {plan.wide}², order 2", images, options)], absent


def real(plan: Plan) -> Measured:
    """Whole runs on real images."""
    folder = plan.work / "real"
    runs, absent = cases(plan, folder)
    output = folder / "out.fits"
    commands = {c.name: decorr_run(output, *c.images, *c.options, command=[plan.decorr]) for c in runs}
    once = plan.quick
    samples = interleaved(commands, plan.rounds, warm_up=not once, settle=not once, limit=LIMIT)
    rmtree(folder)
    for name in absent:
        print(f"real: left out: {name}", file=sys.stderr)
    table = Table(
        "",
        (
            "input",
            "seconds",
            "CPU [s]",
            "peak memory [MB]",
            "of it no files [MB]",
            "half width",
            "modes",
            "error stated [σ]",
            "warnings",
        ),
    )
    figures: dict[str, dict[str, float]] = {}
    bars: list[Bar] = []
    for case in runs:
        mine = samples[case.name]
        seconds, memory = spread([s.wall for s in mine]), peak(mine) * _MEGABYTES
        own = max(s.own for s in mine) * _MEGABYTES
        processors = spread([s.cpu for s in mine])
        figures[case.name] = {"seconds": seconds.median, "cpu": processors.median, "peak": memory, "own": own}
        row = [lower_limit(mine, seconds, ".2f"), lower_limit(mine, processors, ".2f"), f"{memory:.0f}", f"{own:.0f}"]
        if mine[-1].stopped:
            table.rows.append((case.name, *row, "–", "–", "–", "ended"))
        else:
            psi, warned = mine[-1].said["psi"], mine[-1].said["warnings"]
            said = "; ".join(Path(str(text).partition(":")[0]).name for text in warned) or "none"
            table.rows.append((case.name, *row, str(psi["half_width"]), str(psi["modes"]), f"{psi['error']:.1e}", said))
            figures[case.name]["error"] = psi["error"]
        if not plan.quick:
            bars.extend(_bars(case, mine, seconds, own))
    text = (
        "`decorr run --spatial` with full variance on subtractions that HOTPANTS and SFFT made of real images and of a "
        "simulated pair, whose kernels vary much or from region to region, and with a kernel twice as wide as that of "
        "the other tables. CPU time is that of all threads. Peak memory is all that was resident, libraries included; "
        "the bar is for the same without them, as seen every 10 ms. Errors are those "
        f"that the runs state, in units of the noise. A run that takes more than {LIMIT:.0f} s is ended. The "
        "difference of the last row is white noise, which is not what its kernel would make of the inputs: the same "
        "work, with warnings that are in order."
    )
    if absent:
        text += f" Not measured, as there are no such files: {', '.join(absent)}."
    return Measured("Real images and wide kernels", text, [table], bars, figures)


def lower_limit(samples: list[Sample], figure: Spread | None, form: str) -> str:
    """A figure of runs; of one that was ended, what it is more than."""
    if figure is None:
        return "–"
    return f"> {figure.median:{form}}" if any(s.stopped for s in samples) else f"{figure:{form}}"


def _on_files(data: Path) -> Iterator[Case]:
    jwst, hotpants = data / "jwst_a2744", data / "hotpants"

    def case(name: str, folder: Path, difference: str, *options: object, seconds: float = 5.0) -> Case:
        noise = ("--sci-noise", folder / "sci_noise.fits", "--tmpl-noise", folder / "tmpl_noise.fits")
        images = (folder / "sci.fits", folder / "tmpl.fits", folder / difference)
        return Case(name, images, (*noise, "--spatial", *options), seconds)

    yield case("JWST, 900², HOTPANTS, order 2, measured noise", jwst, "hotpants_diff.fits", "--noise", "measured")
    solution = ("--kernel", jwst / "sfft_solution.fits")
    yield case("JWST, 900², SFFT, order 2", jwst, "sfft_diff.fits", *solution)
    yield case("1000 × 700, HOTPANTS, 2 × 2 regions", hotpants, "diff_regions_2x2.fits")
    yield case("1000 × 700, HOTPANTS, 3 × 2 regions", hotpants, "diff_regions_3x2.fits", seconds=10.0)


def _bars(case: Case, samples: list[Sample], seconds: Spread, memory: float) -> Iterator[Bar]:
    yield Bar(f"{case.name}: whole run", seconds.median, case.seconds, unit=" s")
    yield Bar(f"{case.name}: peak memory beside libraries", memory, _MEMORY, unit=" MB")
    if not samples[-1].stopped:
        said = samples[-1].said
        yield Bar(f"{case.name}: error stated [σ]", said["psi"]["error"], said["options"]["tolerance"])
