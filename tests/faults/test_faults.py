"""Whatever call of the system fails while an output is written, or is interrupted: the old output or the new one."""

from __future__ import annotations

import os
import random
import shutil
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from astropy.io import fits

from diffim_decorr.io.unfinished import reclaim
from support.command import succeed
from support.faults import COUNTED, FAULTS
from support.files import INPUTS, image_hdu, make_inputs, write_hdus
from support.forks import Forks
from support.nights import content

pytestmark = pytest.mark.slow

#: How many faults there are; `make faults N=` tries more.
CASES = int(os.environ.get("DECORR_FAULTS", "40"))
_SEED = int(os.environ.get("DECORR_FAULTS_SEED", "1"))
_STEP = 20  # cases of one test

_RUN = ("run", *INPUTS, "-q", "-o", "out.fits")
_FLAT = ("out.fits", "out_mask.fits", "out_psi.fits", "out_variance.fits")


@dataclass(frozen=True)
class _Command:
    """A command, and the files that it writes."""

    args: tuple[str, ...]
    files: tuple[str, ...] = ("out.fits",)
    is_new: bool = False


COMMANDS = [
    _Command(_RUN, is_new=True),
    _Command((*_RUN, "--overwrite")),
    _Command((*_RUN, "--layout", "flat"), _FLAT, is_new=True),
    _Command((*_RUN, "--layout", "flat", "--overwrite"), _FLAT),
    _Command((*_RUN[:-1], "out.fits.gz", "--overwrite"), ("out.fits.gz",)),
    _Command((*_RUN[:-1], "out.fits.fz"), ("out.fits.fz",), is_new=True),
    _Command(("run", "sci2.fits", "tmpl2.fits", "diff2.fits", *INPUTS[3:], "--all-ext", "--svar", "4", "--tvar", "2.25",
              "-q", "--overwrite", "-o", "out.fits")),
    _Command(("apply", "sci.fits", "--psi", "made.fits", "-q", "--overwrite", "-o", "out.fits")),
    _Command(("psf", "psf.fits", "3", "4", "--overwrite", "-o", "out.fits")),
    _Command(("report", "made.fits", "-q", "--overwrite", "-o", "out.html"), ("out.html",)),
]  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("faults")
    make_inputs(folder)
    for name in ("sci", "tmpl", "diff"):
        with fits.open(folder / f"{name}.fits") as hdus:
            pixels = next(hdu.data for hdu in hdus if hdu.data is not None)
            write_hdus(folder / f"{name}2.fits", image_hdu(pixels[:60], "A"), image_hdu(pixels[20:], "B"))
    succeed(folder, *_RUN[:-1], "made.fits", "--psf", "psf.fits")
    return folder


@pytest.fixture(scope="module")
def forks(folder: Path) -> Any:
    running = Forks(folder)
    yield running
    running.stop()


def _begin(folder: Path, command: _Command) -> dict[str, bytes]:
    """What was there before."""
    for name in command.files:
        (folder / name).unlink(missing_ok=True)
        if not command.is_new:
            (folder / name).write_text(f"old {name}")
    return _files(folder, command)


def _files(folder: Path, command: _Command) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in command.files if (folder / name).exists()}


def _is_whole(
    folder: Path, command: _Command, expected: Path, before: dict[str, bytes], may_be_old: tuple[str, ...]
) -> bool:
    """Whether all files are there as they come out where nothing goes wrong."""
    there = _files(folder, command)
    for name in command.files:
        found = there.get(name)
        if name in may_be_old and found == before.get(name):
            continue
        if found is None or found.startswith(b"old"):
            return False
        if name.endswith(".html"):
            if not found.rstrip().endswith(b"</html>"):
                return False
        elif content(folder / name) != content(expected / name):
            return False
    return True


@pytest.fixture(scope="module")
def good(folder: Path, forks: Forks) -> dict[_Command, tuple[int, Path]]:
    """Of each command how many calls it makes, and where what comes out is."""
    found = {}
    for number, command in enumerate(COMMANDS):
        _begin(folder, command)
        status, _, err = forks.run(*command.args, fault=(0, ""))
        assert status == 0, err
        kept = folder / f"good{number}"
        kept.mkdir()
        for name in command.files:
            shutil.move(folder / name, kept / name)
        found[command] = int((folder / COUNTED).read_text()), kept
    return found


@pytest.mark.parametrize("first", range(0, CASES, _STEP))
def test_whatever_fails(folder: Path, forks: Forks, good: dict[_Command, tuple[int, Path]], first: int) -> None:
    wrong = []
    for case in range(first, min(first + _STEP, CASES)):
        rng = random.Random(1_000_003 * _SEED + case)
        command = COMMANDS[case % len(COMMANDS)]
        count, expected = good[command]
        fault = rng.randint(1, count), rng.choice(FAULTS)
        before = _begin(folder, command)
        done = forks.run(*command.args, fault=fault)
        said = _judged(done, fault[1], folder, command, before, expected)
        if said:
            wrong.append(f"{case}: {' '.join(command.args)}, {fault[1]} at call {fault[0]} of {count}: {said}")
    if wrong:
        pytest.fail("\n".join(wrong))


def _judged(
    done: tuple[int, str, str], fault: str, folder: Path, command: _Command, before: dict[str, bytes], expected: Path
) -> str:
    """What is wrong with how a command ended; empty if nothing is."""
    status, _, err = done
    left = [path.name for path in folder.glob(".decorr-*")]
    removed = [os.path.basename(path) for name in command.files for path in reclaim(str(folder / name))]
    what = fault.partition(" ")[0]
    ends = {"SIGTERM": 143, "SIGINT": 130, "SIGKILL": -signal.SIGKILL}
    if status != 0 and status not in ((ends[what],) if what in ends else (1, 2)):
        return f"status {status}: {err[-300:]}"
    is_old = _files(folder, command) == before
    # Between the moves of several files nothing can be done about a kill; each of them is as it was or new.
    each = command.files if what == "SIGKILL" else ()
    if not is_old and not _is_whole(folder, command, expected, before, each):
        return f"status {status}, and the output is neither old nor new: {err[-300:]}"
    if status == 0 and is_old:
        return "status 0, and no output"
    if "Traceback" in err or err.strip().count("\n"):
        return f"says {err[-300:]!r}"
    if status in (1, 2) and not any(name in err for name in command.files):
        return f"names no output: {err!r}"
    if sorted(left) != sorted(removed):
        return f"leaves {left}, of which {removed} are removed the next time"
    if left and what not in ("SIGKILL",) and "removed" not in err:
        return f"leaves {left}: {err[-300:]}"
    return ""
