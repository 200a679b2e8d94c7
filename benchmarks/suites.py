"""What is measured: start-up, whole runs, the engine against what people use today, and where the time goes.

Real images and an earlier commit are in files of their own.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from shutil import rmtree
from typing import Any

import numpy as np
from against import against
from data import Kernel, Truth, places_of_sources, truth, write_arrays, write_fits, write_kernel
from measure import HERE, Sample, Spread, interleaved, ratio, spread, timed
from plan import Bar, Measured, Plan, Table, decorr_run, large_rounds, peak, per_pixel, wall
from real import real

__all__ = ("SUITES", "engine", "stages", "startup", "whole")


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
        over = ratio(mine, base, wall)
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
            row, over, memory = _row(samples, mode)
            tables[mode].rows.append((f"{size}²", *row))
            figures[f"{size} {mode}"] = {"ratio": over.median, "peak": memory, "floor_peak": peak(samples["floor"])}
            if size == 4096:
                bars.append(Bar(f"whole run, {mode}, 4096²: / floor", over.median, _SPEED[mode]))
            if size in _MEMORY:
                bars.append(Bar(f"whole run, {mode}, {size}²: peak memory", memory, _MEMORY[size], unit=" MiB"))
        rmtree(plan.work / "white")
    scene = Table(f"A field of stars with masks, {plan.scene}²", ("ψ", *headings[1:]))
    samples = _against_floor(plan, *_scene(plan), plan.rounds)
    for mode in _MODES:
        row, over, memory = _row(samples, mode)
        scene.rows.append((mode, *row))
        figures[f"scene {mode}"] = {"ratio": over.median, "peak": memory}
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
    np.save(folder / "places.npy", places_of_sources((size, size), plan.points))
    names = [m for m in _METHODS if m != "sfft-package" or find_spec("sfft") is not None]
    # decorr sets this for itself when it is run as a command; the other methods' threads are their own, too.
    method = ["env", "OPENBLAS_NUM_THREADS=1", sys.executable, HERE / "method.py"]
    commands = {m: [*method, m, folder, *(["--cutout", plan.cutout] if m == "sfft-direct" else [])] for m in names}
    judged = {name: timed([*command, "--judge"], settle=False).said for name, command in commands.items()}
    samples = interleaved(commands, plan.rounds, warm_up=False, settle=not plan.quick)
    expected = {spatial: truth(difference, kernel, points, spatial=spatial) for spatial in (False, True)}
    rmtree(folder)
    speed = Table("Speed", ("method", "seconds", "ns a pixel", "CPU: ns a pixel", *_GAIN_HEADINGS, "peak memory [MiB]"))
    accuracy = Table("Accuracy", ("method", *_ERROR_HEADINGS))
    figures, bars = {}, []
    for name in names:
        label, counterpart = _METHODS[name]
        mine = samples[name]
        elapsed = spread([per_pixel(s.seconds, size**2) for s in mine])
        processors = spread([per_pixel(s.processors, size**2) for s in mine])
        own = {"seconds": spread([s.seconds for s in mine]).median, "wall_ns": elapsed.median}
        own["cpu_ns"] = processors.median
        faster = ["–", "–"]
        if counterpart:
            # Our one thread is compared to one thread of theirs, where they have more.
            theirs = [samples[name], samples[name.removesuffix("-0") + "-1" if name.endswith("-0") else name]]
            gains = [ratio(theirs[n], samples[f"{counterpart}-{n}"], _seconds) for n in (0, 1)]
            faster = [f"{gain:{'.1f' if gain.median >= 1 else '.2f'}}" for gain in gains]
            own["faster"] = gains[0].median
            if name in _GAINS and size >= 2048:
                bars.append(Bar(f"engine, {size}²: faster than {label}", gains[0].median, _GAINS[name], True))
        seconds = f"{spread([s.seconds for s in mine]):.2f}"
        speed.rows.append((label, seconds, f"{elapsed:.0f}", f"{processors:.0f}", *faster, f"{peak(mine):.0f}"))
        own |= _errors(judged[name], expected["spatial" in name or "cells" in name], scaled="delta" in name)
        figures[name] = own
        if not name.endswith("-1"):
            accuracy.rows.append((label, *_shown_errors(own)))
    ours, cells = (figures[name]["rms"] for name in ("decorr-spatial-full-0", "lsst-cells"))
    if size >= 4096:
        nanoseconds = figures["decorr-spatial-full-0"]["wall_ns"]
        bars.append(Bar(f"engine, {size}²: spatial ψ, full variance", nanoseconds, _NANOSECONDS, unit=" ns a pixel"))
    bars.append(Bar("engine, constant: rms error [σ]", figures["decorr-constant-full-0"]["rms"], 1e-3))
    bars.append(Bar("engine, spatial: rms error [σ]", ours, 1e-3))
    bars.append(Bar("engine, spatial: rms error / that of LSST's cells", ours / cells, 1.0))
    text = _ENGINE_TEXT.format(size=size, cutout=plan.cutout, points=plan.points, rho=2.5 / size)
    if "sfft-package" not in names:
        text += " The `sfft` package is not installed and was not measured."
    return Measured("The engine, and what people use today", text, [speed, accuracy], bars, figures)


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
            shown = (f"{spread([s.wall for s in mine]):.2f}", f"{ratio(mine, samples[first], wall):.2f}")
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


SUITES = {
    "startup": startup,
    "whole": whole,
    "real": real,
    "engine": engine,
    "stages": stages,
    "against": against,
}

_MODES = ("constant", "spatial")
_SPEED = {"constant": 1.3, "spatial": 2.0}
_MEMORY = {4096: 800.0, 16384: 1500.0}
_GAINS = {"lsst-full": 30.0, "lsst-cells": 25.0, "sfft-direct": 60.0}
_NANOSECONDS = 60.0
_GAIN_HEADINGS = ("decorr is faster by", "on one core by")
_ERROR_HEADINGS = ("image: rms error [σ]", "largest [σ]", "variance: rms error", "flux", "max_abs_rho")
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
    "decorr-spatial-estimate-0": ("**decorr**, spatial ψ, estimated variance", ""),
    "decorr-spatial-estimate-1": ("the same, one thread", ""),
    "delta-spatial-0": ("delta's blocks, no variance", "decorr-spatial-estimate"),
    "delta-spatial-1": ("the same, one thread", ""),
}

_ENGINE_TEXT = """\
{size}² pixels in memory, a kernel of order 2 and 21² pixels, variances that vary over the field; imports and a first
small run are not in the time. CPU time is that of all threads. decorr measures the background variances in its time,
checks and flags missing pixels and propagates the variance; the others are given the background variances, and neither
SFFT's way nor delta's has a variance plane. The LSST algorithm and SFFT's kernel are plain numpy, written from the
formulae (DMTN-021, DMTN-179, arXiv:2309.09143): full-frame complex transforms of the zero-padded image in double
precision; cells of 212 pixels with borders of 41 pixels; a kernel of 51² pixels. Direct convolution was timed on
{cutout}² pixels and scaled to all of them. delta's way is a program of our own with numpy and ducc0 in single
precision, about as fast as its original in C++: blocks of 256² pixels, half a block apart, each with the filter of its
centre, blended with a Hann window. It has as many threads as decorr, the others have one.

Errors are against a brute-force ψ at {points} pixels, for each pixel its own where the mode is spatial and that of the
field centre otherwise, in units of the noise; those of the variance are relative. Flux is that of sources fitted with
the PSF that they should have, over the true one: mean, smallest and largest of sources all over the field.
`max_abs_rho` is the largest correlation of pixels up to 5 × 5 apart in the whole image, of which white noise has
{rho:.1e}; the kernel varies, so that one ψ for all leaves some. delta's filter keeps the noise of pixels instead of
fluxes, by a factor that varies over the field: its image is compared to the brute-force ψ times that factor, and its
fluxes are as they are.
"""


def _interleaved(plan: Plan, commands: Mapping[str, Sequence[object]], rounds: int) -> dict[str, list[Sample]]:
    return interleaved(commands, rounds, warm_up=not plan.quick, settle=not plan.quick)


def _cpu(sample: Sample) -> float:
    return sample.cpu


def _seconds(sample: Sample) -> float:
    return sample.seconds


def _errors(said: dict[str, Any], true: Truth, *, scaled: bool) -> dict[str, float]:
    """What became of a method's pixels; `scaled` where it leaves pixels the noise they had."""
    gain = true.gain if scaled else 1.0
    error = (np.array(said["image"]) - true.image * gain) / (true.sigma * gain)
    found = {"rms": float(np.sqrt((error**2).mean())), "max": float(np.abs(error).max())}
    if "variance" in said:
        found["variance_rms"] = float(np.sqrt(((np.array(said["variance"]) / true.variance - 1) ** 2).mean()))
    if "flux" in said:
        flux = np.array(said["flux"])
        found |= {"flux": float(flux.mean()), "flux_low": float(flux.min()), "flux_high": float(flux.max())}
        found["max_abs_rho"] = said["max_abs_rho"]
    return found


def _shown_errors(found: dict[str, float]) -> Iterator[str]:
    """Cells of the table of accuracy."""
    yield from (f"{found[name]:.1e}" if name in found else "–" for name in ("rms", "max", "variance_rms"))
    yield "{flux:.4f} ({flux_low:.4f}–{flux_high:.4f})".format(**found) if "flux" in found else "–"
    yield f"{found['max_abs_rho']:.1e}" if "max_abs_rho" in found else "–"


def _run(plan: Plan, files: Sequence[Path], kernel: Path, output: Path, mode: str) -> list[object]:
    return decorr_run(output, *files, "--kernel", kernel, f"--{mode}", command=[plan.decorr])


def _against_floor(plan: Plan, files: Sequence[Path], kernel: Path, rounds: int) -> dict[str, list[Sample]]:
    output = files[0].parent / "out.fits"
    commands: dict[str, list[object]] = {"floor": [sys.executable, HERE / "floor.py", *files, output]}
    commands |= {mode: _run(plan, files, kernel, output, mode) for mode in _MODES}
    return _interleaved(plan, commands, rounds)


def _row(samples: dict[str, list[Sample]], mode: str) -> tuple[tuple[str, ...], Spread, float]:
    mine, floor = samples[mode], samples["floor"]
    over, memory = ratio(mine, floor, wall), peak(mine)
    seconds = [f"{spread([s.wall for s in part]):.2f}" for part in (floor, mine)]
    processors = f"{ratio(mine, floor, _cpu):.2f}"
    return (*seconds, f"{over:.2f}", processors, f"{memory:.0f}"), over, memory


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
