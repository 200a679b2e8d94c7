"""The present tree against an earlier commit: the same work, turn and turn about in one run, and the same pixels?"""

from __future__ import annotations

import io
import subprocess
import sys
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from shutil import rmtree
from typing import Any

import numpy as np
from data import Kernel, write_arrays, write_fits
from measure import HERE, Sample, interleaved, ratio, spread, timed
from numpy.typing import NDArray
from plan import Bar, Measured, Plan, Table, decorr_run, peak, per_pixel
from real import LIMIT, cases, lower_limit

__all__ = ("Agreement", "against", "agreement", "checked_out", "commit_of")

Array = NDArray[Any]

_ROOT = HERE.parent
_PARTS = ("diffim_decorr", "benchmarks")
# The commit from which on the engine was to get twice as fast, and what of it.
_START, _TWICE = "13a09ea", "decorr-spatial-full-0"
_HEADINGS = (
    "run", "earlier [s]", "now [s]", "faster by", "CPU time less by", "now: ns a pixel", "CPU: ns a pixel",
    "peak memory earlier, now [MiB]", "image differs by up to [σ]", "variance by", "pixels flagged in one only",
)  # fmt: skip
_ENGINES = {
    "decorr-constant-full-0": "engine, constant ψ",
    "decorr-constant-full-1": "engine, constant ψ, one thread",
    "decorr-spatial-full-0": "engine, spatial ψ",
    "decorr-spatial-full-1": "engine, spatial ψ, one thread",
}


class EarlierError(Exception):
    """The earlier commit cannot do what it is asked for."""


@dataclass(frozen=True)
class Agreement:
    """How much two results differ.

    Parameters
    ----------
    image
        Largest difference, in units of the noise, among pixels that both have.
    variance
        Largest difference of variances, relative.
    pixels
        How many pixels have a value, or a mask, in one of them that they do not have in the other.
    """

    image: float
    variance: float
    pixels: int


@dataclass(frozen=True)
class _Pair:
    """Runs of the ``earlier`` commit and of ``now``, on how many pixels, and how results agree where both have one."""

    samples: Mapping[str, list[Sample]]
    pixels: int
    agree: Agreement | None


def commit_of(revision: str) -> str:
    """The commit that a revision names.

    Raises
    ------
    ValueError
        If there is none, or no repository.
    """
    found = _git("rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}")
    return found.decode().strip()


def checked_out(commit: str, folder: Path) -> Path:
    """A folder with the package and the benchmarks of a commit."""
    present = _git("ls-tree", "--name-only", commit, *_PARTS).decode().split()
    archive = _git("archive", "--format=zip", commit, "--", *present)
    with zipfile.ZipFile(io.BytesIO(archive)) as files:
        files.extractall(folder)
    return folder


def agreement(earlier: Mapping[str, Array], now: Mapping[str, Array]) -> Agreement:
    """Compare two results: ``image``, ``variance`` and, if they have it, ``mask``."""
    one, other = (np.asarray(result["image"], dtype=float) for result in (earlier, now))
    before, after = (np.asarray(result["variance"], dtype=float) for result in (earlier, now))
    both = np.isfinite(one) & np.isfinite(other)
    differs = np.isfinite(one) != np.isfinite(other)
    if "mask" in earlier:
        differs |= np.asarray(earlier["mask"]) != np.asarray(now["mask"])
    known = both & (before > 0) & np.isfinite(before) & np.isfinite(after)
    image = np.abs(one - other)[known] / np.sqrt(before[known])
    variance = np.abs(after[known] / before[known] - 1)
    return Agreement(float(image.max(initial=0)), float(variance.max(initial=0)), int(differs.sum()))


def against(plan: Plan) -> Measured:
    """The engine, whole runs and real images, by this tree and by an earlier commit."""
    assert plan.against is not None
    commit = commit_of(plan.against)
    trees = {"earlier": checked_out(commit, plan.work / "earlier"), "now": _ROOT}
    folder = plan.work / "against"
    runs, left_out = cases(plan, folder / "wide")
    size = plan.scaling
    images = write_fits(folder / "white", Kernel.random((size, size)))
    words: dict[str, tuple[object, ...]] = {
        f"whole run, {size}², {mode} ψ": (*images, "--kernel", images[2], f"--{mode}")
        for mode in ("constant", "spatial")
    }
    words |= {case.name: (*case.images, *case.options) for case in runs}
    pairs: dict[str, Callable[[], _Pair]] = {
        name: partial(_engine_pair, plan, trees, folder / "arrays", key)
        for key, name in _ENGINES.items()
        if not plan.quick or key.endswith("-0")
    }
    pairs |= {name: partial(_run_pair, plan, trees, folder, run) for name, run in words.items()}
    table = Table("", _HEADINGS)
    figures, bars = {}, []
    for name, measured in pairs.items():
        try:
            pair = measured()
        except EarlierError as error:
            left_out.append(f"{name} ({error})")
            continue
        table.rows.append((name, *_row(pair)))
        figures[name] = _figures(pair)
        if name == _ENGINES[_TWICE] and commit.startswith(_START) and plan.engine >= 4096:
            gain = figures[name]["faster"]
            bars.append(Bar(f"{name}, {plan.engine}²: faster than {_START} by", gain, 2.0, True))
    rmtree(folder)
    rmtree(trees["earlier"])
    for name in left_out:
        print(f"against: left out: {name}", file=sys.stderr)
    subject = _git("log", "-1", "--format=%cs, %s", commit).decode().strip()
    text = (
        f"The present tree against the commit {commit[:7]} ({subject}), both with the same Python and packages, turn "
        "and turn about. Ratios are the earlier seconds over those of now, round by round. All pixels of the results "
        "are compared, in units of the noise; variances relative to the earlier ones. A run that takes more than "
        f"{LIMIT:.0f} s is ended."
    )
    if left_out:
        text += f" Left out: {'; '.join(left_out)}."
    return Measured(f"Against {plan.against}", text, [table], bars, figures)


def _engine_pair(plan: Plan, trees: Mapping[str, Path], folder: Path, name: str) -> _Pair:
    """The engine of both on the same arrays."""
    folder.mkdir()
    write_arrays(folder, Kernel.random((plan.engine, plan.engine)))
    script: list[object] = ["env", "OPENBLAS_NUM_THREADS=1", sys.executable, HERE / "pair.py"]
    commands = {which: [*script, tree, name, folder] for which, tree in trees.items()}
    saved = {which: folder / f"{which}.npz" for which in trees}
    try:
        # Those of which the pixels are kept come first, and are not counted.
        _turn_about({w: [*c, "--save", saved[w]] for w, c in commands.items()}, 1, warm_up=False, settle=False)
        samples = _turn_about(commands, plan.rounds, warm_up=False, settle=not plan.quick)
        with np.load(saved["earlier"]) as earlier, np.load(saved["now"]) as now:
            return _Pair(samples, plan.engine**2, agreement(earlier, now))
    finally:
        rmtree(folder)


def _run_pair(plan: Plan, trees: Mapping[str, Path], folder: Path, words: Sequence[object]) -> _Pair:
    """The command of both on the same files."""
    from astropy.io import fits

    outputs = {which: folder / f"{which}.fits" for which in trees}
    commands = {}
    for which, tree in trees.items():
        # -P: nothing from the folder that this was started in.
        command = ["env", f"PYTHONPATH={tree}", sys.executable, "-P", "-m", "diffim_decorr"]
        commands[which] = decorr_run(outputs[which], *words, command=command)
    samples = _turn_about(commands, plan.rounds, warm_up=not plan.quick, settle=not plan.quick)
    written = [path for which, path in outputs.items() if not samples[which][-1].stopped]
    planes = [{name: fits.getdata(path, name.upper()) for name in ("image", "variance", "mask")} for path in written]
    for path in written:
        path.unlink()
    pixels = planes[0]["image"].size if planes else 0
    return _Pair(samples, pixels, agreement(*planes) if len(planes) == len(trees) else None)


def _turn_about(
    commands: Mapping[str, Sequence[object]], rounds: int, *, warm_up: bool, settle: bool
) -> dict[str, list[Sample]]:
    """See `interleaved`; what the earlier commit cannot do is told from what this tree cannot."""
    try:
        return interleaved(commands, rounds, warm_up=warm_up, settle=settle, limit=LIMIT)
    except RuntimeError:
        try:
            timed(commands["earlier"], settle=False, limit=LIMIT)
        except RuntimeError as error:
            raise EarlierError(f"the earlier commit: {str(error).splitlines()[-1]}") from error
        raise


def _figures(pair: _Pair) -> dict[str, float]:
    theirs, mine = pair.samples["earlier"], pair.samples["now"]
    found = {"faster": ratio(theirs, mine, _seconds).median, "less_cpu": ratio(theirs, mine, _processors).median}
    return found | (asdict(pair.agree) if pair.agree else {})


def _row(pair: _Pair) -> tuple[str, ...]:
    theirs, mine = pair.samples["earlier"], pair.samples["now"]
    ended = mine[-1].stopped
    differences = ("–", "–", "–")
    if pair.agree:
        differences = (f"{pair.agree.image:.1e}", f"{pair.agree.variance:.1e}", f"{pair.agree.pixels}")
    return (
        *(lower_limit(part, spread([_seconds(s) for s in part]), ".2f") for part in (theirs, mine)),
        *("–" if ended else lower_limit(theirs, ratio(theirs, mine, f), ".2f") for f in (_seconds, _processors)),
        *("–" if ended else f"{_nanoseconds(pair, f):.0f}" for f in (_seconds, _processors)),
        f"{peak(theirs):.0f}, {peak(mine):.0f}",
        *differences,
    )


def _nanoseconds(pair: _Pair, figure: Callable[[Sample], float]) -> float:
    return spread([per_pixel(figure(s), pair.pixels) for s in pair.samples["now"]]).median


def _seconds(sample: Sample) -> float:
    return sample.seconds


def _processors(sample: Sample) -> float:
    return sample.processors


def _git(*words: str) -> bytes:
    try:
        done = subprocess.run(["git", "-C", str(_ROOT), *words], capture_output=True)
    except FileNotFoundError as error:
        raise ValueError("there is no git") from error
    if done.returncode:
        raise ValueError(done.stderr.decode().strip() or "unknown to git")
    return done.stdout
