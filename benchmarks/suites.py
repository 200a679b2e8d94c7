"""What is measured: whole runs, the engine against what people use today, and where the time goes."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from shutil import rmtree

import numpy as np
from data import Kernel, truth, write_arrays, write_fits, write_kernel
from measure import HERE, Sample, Spread, interleaved, ratio, spread, timed

__all__ = ("SUITES", "Bar", "Measured", "Plan", "Table", "engine", "large_rounds", "stages", "startup", "whole")


@dataclass(frozen=True)
class Plan:
    """What to measure and how often.

    Parameters
    ----------
    decorr
        The command.
    work
        A folder for the files.
    sizes
        Image sides of whole runs.
    scene
        Image side of the simulated field.
    engine
        Image side for the engine and its competitors.
    cutout
        Image side on which direct convolution is timed.
    scaling
        Image side for the scaling with kernels and threads.
    widths, orders, threads
        Of the kernels, and numbers of threads.
    points
        How many pixels are computed by brute force.
    rounds
        How often everything is measured.
    quick
        Whether to see that everything works is all that is wanted.
    """

    decorr: Path
    work: Path
    sizes: tuple[int, ...] = (1024, 2048, 4096)
    scene: int = 4096
    engine: int = 4096
    cutout: int = 512
    scaling: int = 4096
    widths: tuple[int, ...] = (11, 21, 41)
    orders: tuple[int, ...] = (0, 1, 2, 3)
    threads: tuple[int, ...] = (1, 2)
    points: int = 50
    rounds: int = 5
    quick: bool = False


@dataclass(frozen=True)
class Table:
    """Rows of cells below a row of headings."""

    title: str
    headings: tuple[str, ...]
    rows: list[tuple[str, ...]] = field(default_factory=list)


@dataclass(frozen=True)
class Bar:
    """A figure and the limit it has to keep."""

    name: str
    figure: float
    limit: float
    at_least: bool = False
    unit: str = ""

    @property
    def met(self) -> bool:
        return self.figure >= self.limit if self.at_least else self.figure <= self.limit


@dataclass(frozen=True)
class Measured:
    """What a suite found."""

    title: str
    text: str
    tables: list[Table]
    bars: list[Bar] = field(default_factory=list)
    figures: dict[str, dict[str, float]] = field(default_factory=dict)


def large_rounds(rounds: int) -> int:
    """How often images beyond 4096² are measured, which take their time."""
    return max(3, rounds // 2)


def startup(plan: Plan) -> Measured:
    """``decorr --version`` and ``--help`` against the import of click."""
    commands: dict[str, list[object]] = {
        "python -c 'import click'": [sys.executable, "-c", "import click"],
        "decorr --version": [plan.decorr, "--version"],
        "decorr --help": [plan.decorr, "--help"],
    }
    samples = _interleaved(plan, commands, 2 * plan.rounds + 1)
    base = samples["python -c 'import click'"]
    table = Table("", ("command", "seconds", "ratio"))
    bars = []
    for name, mine in samples.items():
        over = ratio(mine, base, _wall)
        table.rows.append((name, f"{spread([s.wall for s in mine]):.3f}", f"{over:.2f}"))
        if name.startswith("decorr"):
            bars.append(Bar(f"{name} / import of click", over.median, 2.0))
    return Measured("Start-up", "", [table], bars)


def whole(plan: Plan) -> Measured:
    """Whole runs against a process that only reads and writes."""
    headings = (
        "pixels",
        "reading and writing alone [s]",
        "decorr [s]",
        "ratio",
        "ratio of CPU time",
        "peak memory [MiB]",
    )
    tables = {mode: Table(f"{mode.capitalize()} ψ", headings) for mode in _MODES}
    bars, figures = [], {}
    for size in plan.sizes:
        files = write_fits(plan.work / "white", Kernel.random((size, size)))
        samples = _against_floor(plan, files, files[2], plan.rounds if size <= 4096 else large_rounds(plan.rounds))
        for mode in _MODES:
            row, over, peak = _row(samples, mode)
            tables[mode].rows.append((f"{size}²", *row))
            figures[f"{size} {mode}"] = {"ratio": over.median, "peak": peak, "floor_peak": _peak(samples["floor"])}
            if size == 4096:
                bars.append(Bar(f"whole run, {mode}, 4096²: / floor", over.median, _SPEED[mode]))
            if size in _MEMORY:
                bars.append(Bar(f"whole run, {mode}, {size}²: peak memory", peak, _MEMORY[size], unit=" MiB"))
        rmtree(plan.work / "white")
    scene = Table(f"A field of stars with masks, {plan.scene}²", ("ψ", *headings[1:]))
    samples = _against_floor(plan, *_scene(plan), plan.rounds)
    for mode in _MODES:
        row, over, peak = _row(samples, mode)
        scene.rows.append((mode, *row))
        figures[f"scene {mode}"] = {"ratio": over.median, "peak": peak}
        if plan.scene == 4096:
            bars.append(Bar(f"whole run, {mode}, field of stars, 4096²: / floor", over.median, _SPEED[mode]))
    rmtree(plan.work / "scene")
    text = (
        "`decorr run` with full variance propagation and a HOTPANTS kernel of order 2 and 21² pixels, against a Python "
        "process that only reads the five planes it needs (mask and variance of the science and of the template image, "
        "the difference) and writes the three of the output with astropy. decorr also syncs its output to the disk, "
        "computes its checksums and measures the noise that is left; the other does not. CPU time is that of all "
        "threads. The images are white noise and their variances vary over the field; a simulated field of stars with "
        "saturated ones, cosmic rays and missing corners follows, with a kernel that varies less, as most do."
    )
    return Measured("Whole runs", text, [*tables.values(), scene], bars, figures)


def engine(plan: Plan) -> Measured:
    """The engine against its competitors on the same pixels."""
    size = plan.engine
    folder = plan.work / "engine"
    folder.mkdir(parents=True)
    kernel = Kernel.random((size, size))
    difference = write_arrays(folder, kernel)
    margin = min(70, size // 4)
    points = np.random.default_rng(3).integers(margin, size - margin, (plan.points, 2))
    np.save(folder / "points.npy", points)
    names = [m for m in _METHODS if m != "sfft-package" or find_spec("sfft") is not None]
    # decorr sets this for itself when it is run as a command; the other methods use no linear algebra.
    command = ["env", "OPENBLAS_NUM_THREADS=1", sys.executable, HERE / "method.py"]
    samples = interleaved(
        {m: [*command, m, folder, *(["--cutout", plan.cutout] if m == "sfft-direct" else [])] for m in names},
        plan.rounds,
        warm_up=False,
        settle=not plan.quick,
    )
    expected = {spatial: truth(difference, kernel, points, spatial=spatial) for spatial in (False, True)}
    headings = (
        "method", "seconds", "decorr is faster by", "on one core by", "image: rms error [σ]", "largest [σ]",
        "variance: rms error", "peak memory [MiB]",
    )  # fmt: skip
    table, figures, bars = Table("", headings), {}, []
    for name in names:
        label, counterpart = _METHODS[name]
        mine = samples[name]
        true = expected["spatial" in name or "cells" in name]
        error = (np.array(mine[-1].said["image"]) - true.image) / true.sigma
        rms, largest = float(np.sqrt((error**2).mean())), float(np.abs(error).max())
        figures[name] = {"seconds": spread([s.seconds for s in mine]).median, "rms": rms, "max": largest}
        variance = "–"
        if "variance" in mine[-1].said:
            relative = np.array(mine[-1].said["variance"]) / true.variance - 1
            figures[name]["variance_rms"] = float(np.sqrt((relative**2).mean()))
            variance = f"{figures[name]['variance_rms']:.1e}"
        faster = ["–", "–"]
        if counterpart:
            gains = [ratio(mine, samples[f"{counterpart}-{n}"], _seconds) for n in (0, 1)]
            faster = [f"{gain:.1f}" for gain in gains]
            figures[name]["faster"] = gains[0].median
            if name in _GAINS and size >= 2048:
                bars.append(Bar(f"engine, {size}²: faster than {label}", gains[0].median, _GAINS[name], True))
        seconds = f"{spread([s.seconds for s in mine]):.2f}"
        errors = f"{rms:.1e}", f"{largest:.1e}", variance
        table.rows.append((label, seconds, *faster, *errors, f"{_peak(mine):.0f}"))
    rmtree(folder)
    ours, cells = (figures[name]["rms"] for name in ("decorr-spatial-full-0", "lsst-cells"))
    bars.append(Bar("engine, constant: rms error [σ]", figures["decorr-constant-full-0"]["rms"], 1e-3))
    bars.append(Bar("engine, spatial: rms error [σ]", ours, 1e-3))
    bars.append(Bar("engine, spatial: rms error / that of LSST's cells", ours / cells, 1.0))
    skipped = "" if "sfft-package" in names else " The `sfft` package is not installed and was not measured."
    text = (
        f"{size}² pixels in memory, a kernel of order 2 and 21² pixels, variances that vary over the field; imports "
        "and a first small run are not in the time. decorr measures the background variances in its time, checks and "
        "flags missing pixels and propagates the variance; the others are given the background variances, and SFFT's "
        "way has no variance plane. The LSST algorithm and SFFT's kernel are plain numpy, written from the formulae "
        "(DMTN-021, DMTN-179, arXiv:2309.09143): full-frame complex transforms of the zero-padded image in double "
        "precision; cells of 212 pixels with borders of 41 pixels; a kernel of 51² pixels. Direct convolution was "
        "timed on "
        f"{plan.cutout}² pixels and scaled to all of them. Errors are against a brute-force ψ at {plan.points} pixels, "
        "for each pixel its own where the mode is spatial and that of the field centre otherwise, in units of the "
        "noise; those of the variance are relative." + skipped
    )
    return Measured("The engine, and what people use today", text, [table], bars, figures)


def stages(plan: Plan) -> Measured:
    """Where the time of a run goes, and how it scales with kernel and threads."""
    size = plan.scaling
    tables, figures = [], {}
    variants: dict[str, tuple[int, int, tuple[object, ...]]] = {"kernel of 21², order 2": (21, 2, ())}
    for width in plan.widths:
        variants.setdefault(f"kernel of {width}², order 2", (width, 2, ()))
    for order in plan.orders:
        variants.setdefault(f"kernel of 21², order {order}", (21, order, ()))
    for threads in plan.threads:
        variants[f"{threads} thread" + "s" * (threads > 1)] = (21, 2, ("--threads", threads))
    folder = plan.work / "stages"
    images = write_fits(folder, Kernel.random((size, size)))
    kernels = {(width, order): folder / f"{width}-{order}.fits" for width, order, _ in variants.values()}
    for (width, order), path in kernels.items():
        write_kernel(path, Kernel.random((size, size), width, order))
    for mode in _MODES:
        commands = {
            name: [*_run(plan, images, kernels[width, order], folder / "out.fits", mode), *options]
            for name, (width, order, options) in variants.items()
            if mode == "spatial" or order == 2
        }
        samples = _interleaved(plan, commands, plan.rounds)
        first = next(iter(variants))
        tables.append(_stage_table(mode, size, samples[first]))
        figures[mode] = _stages_of(samples[first])
        table = Table(
            f"{mode.capitalize()} ψ, {size}²: scaling",
            ("run", "seconds", "/ first row", "ψ [s]", "filter [s]", "half width", "modes"),
        )
        for name, mine in samples.items():
            shown = (f"{spread([s.wall for s in mine]):.2f}", f"{ratio(mine, samples[first], _wall):.2f}")
            parts = _stages_of(mine)
            psi = mine[-1].said["psi"]
            row = (f"{parts['psi']:.3f}", f"{parts['filter']:.3f}", str(psi["half_width"]), str(psi["modes"]))
            table.rows.append((name, *shown, *row))
        tables.append(table)
    rmtree(folder)
    text = (
        "Medians of the seconds that `decorr run --json` tells for each stage. *process* is what passes before and "
        "after the command's own clock runs: the interpreter, the options, freeing memory. *start* is imports, and "
        "*finish* the header, the checksums and waiting for the disk."
    )
    return Measured("Where the time goes", text, tables, figures=figures)


SUITES = {"startup": startup, "whole": whole, "engine": engine, "stages": stages}

_MODES = ("constant", "spatial")
_SPEED = {"constant": 2.0, "spatial": 3.5}
_MEMORY = {4096: 800.0, 16384: 1500.0}
_GAINS = {"lsst-full": 30.0, "lsst-cells": 10.0, "sfft-direct": 60.0}
# For each method what it is called and what of decorr's it is compared to.
_METHODS = {
    "decorr-constant-full-0": ("**decorr**, constant ψ, full variance", ""),
    "decorr-constant-full-1": ("the same, one thread", ""),
    "lsst-full": ("LSST algorithm, full variance", "decorr-constant-full"),
    "sfft-direct": ("SFFT's kernel, `astropy.convolution.convolve`", "decorr-constant-full"),
    "sfft-transforms": ("SFFT's kernel, `astropy.convolution.convolve_fft`", "decorr-constant-full"),
    "sfft-package": ("kernel of the `sfft` package, `convolve_fft`", "decorr-constant-full"),
    "decorr-constant-estimate-0": ("**decorr**, constant ψ, estimated variance", ""),
    "decorr-constant-estimate-1": ("the same, one thread", ""),
    "lsst-estimate": ("LSST algorithm, estimated variance", "decorr-constant-estimate"),
    "decorr-spatial-full-0": ("**decorr**, spatial ψ, full variance", ""),
    "decorr-spatial-full-1": ("the same, one thread", ""),
    "lsst-cells": ("LSST's cells, averaged, full variance", "decorr-spatial-full"),
    "lsst-cells-cropped": ("LSST's cells, borders thrown away, full variance", "decorr-spatial-full"),
}


def _interleaved(plan: Plan, commands: Mapping[str, Sequence[object]], rounds: int) -> dict[str, list[Sample]]:
    return interleaved(commands, rounds, warm_up=not plan.quick, settle=not plan.quick)


def _wall(sample: Sample) -> float:
    return sample.wall


def _cpu(sample: Sample) -> float:
    return sample.cpu


def _seconds(sample: Sample) -> float:
    return sample.seconds


def _peak(samples: Iterable[Sample]) -> float:
    return max(sample.peak for sample in samples)


def _run(plan: Plan, files: Sequence[Path], kernel: Path, output: Path, mode: str) -> list[object]:
    common = ["--kernel", kernel, "-o", output, "--overwrite", "--json", "-q"]
    return [plan.decorr, "run", *files, *common, f"--{mode}"]


def _against_floor(plan: Plan, files: Sequence[Path], kernel: Path, rounds: int) -> dict[str, list[Sample]]:
    output = files[0].parent / "out.fits"
    commands: dict[str, list[object]] = {"floor": [sys.executable, HERE / "floor.py", *files, output]}
    commands |= {mode: _run(plan, files, kernel, output, mode) for mode in _MODES}
    return _interleaved(plan, commands, rounds)


def _row(samples: dict[str, list[Sample]], mode: str) -> tuple[tuple[str, ...], Spread, float]:
    mine, floor = samples[mode], samples["floor"]
    over, peak = ratio(mine, floor, _wall), _peak(mine)
    seconds = [f"{spread([s.wall for s in part]):.2f}" for part in (floor, mine)]
    processors = f"{ratio(mine, floor, _cpu):.2f}"
    return (*seconds, f"{over:.2f}", processors, f"{peak:.0f}"), over, peak


def _scene(plan: Plan) -> tuple[list[Path], Path]:
    folder = plan.work / "scene"
    timed([plan.decorr, "simulate", folder, "--size", plan.scene, "-q"], settle=False)
    return [folder / name for name in ("sci.fits", "tmpl.fits", "diff.fits")], folder / "kernel.fits"


def _stages_of(samples: Sequence[Sample]) -> dict[str, float]:
    """Median seconds of each stage, and of what is not told."""
    said = []
    for sample in samples:
        told = dict(sample.said["timings"])
        total = told.pop("total")
        said.append({"process": sample.wall - total, **told, "finish": total - sum(told.values())})
    return {name: spread([stage[name] for stage in said]).median for name in said[0]}


def _stage_table(mode: str, size: int, samples: Sequence[Sample]) -> Table:
    parts = _stages_of(samples)
    total = spread([s.wall for s in samples]).median
    table = Table(f"{mode.capitalize()} ψ, {size}²: stage by stage", ("stage", "seconds", "share"))
    table.rows.extend((name, f"{seconds:.3f}", f"{seconds / total:.0%}") for name, seconds in parts.items())
    table.rows.append(("whole process", f"{total:.3f}", ""))
    return table
