"""An output appears whole or not at all, whatever happens."""

from __future__ import annotations

import os
import resource
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from support.command import ENVIRONMENT, OUT, decorr, succeed
from support.files import INPUTS, listing, make_inputs, sound
from support.tiles import row_seams

SHAPE = (900, 96)
SUPPORT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def tall(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Inputs whose output is written in two rows of tiles, so that there is a middle of it."""
    assert len(row_seams(SHAPE)) == 1
    folder = tmp_path_factory.mktemp("tall")
    make_inputs(folder, SHAPE)
    return folder


@pytest.fixture
def folder(tall: Path, tmp_path: Path) -> Path:
    shutil.copytree(tall, tmp_path, dirs_exist_ok=True)
    return tmp_path


def interrupted(folder: Path, step: str, what: str, *args: str, **keywords: Any) -> subprocess.CompletedProcess[str]:
    """Run the command with something going wrong after a step of the output file."""
    line = [sys.executable, "-m", "support.interrupt", step, what, "run", *INPUTS, *args]
    keywords = {"env": ENVIRONMENT, "timeout": 60, **keywords}
    keywords["env"] = {**keywords["env"], "PYTHONPATH": str(SUPPORT)}
    return subprocess.run(line, cwd=folder, capture_output=True, text=True, check=False, **keywords)


@pytest.mark.parametrize("step", ["created", "pixels", "finished", "packed", "zipped"])
@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP", "SIGINT"])
def test_ended_in_the_middle(folder: Path, name: str, step: str) -> None:
    out = "out.fits.gz" if step == "zipped" else "out.fits.fz"
    (folder / out).write_text("precious")
    before = listing(folder)
    done = interrupted(folder, step, name, "-o", out, "--overwrite")
    assert done.returncode == 128 + getattr(signal, name)
    assert done.stdout == ""
    assert done.stderr.strip() == ("decorr: interrupted" if name == "SIGINT" else "")
    assert listing(folder) == before


def test_hangup_that_is_ignored(folder: Path) -> None:
    """As under nohup."""
    done = interrupted(
        folder, "pixels", "SIGHUP", *OUT, preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN)
    )
    assert (done.returncode, done.stderr) == (0, "")
    sound(folder / "out.fits")


def test_killed_in_the_middle(folder: Path) -> None:
    before = listing(folder)
    done = interrupted(folder, "finished", "SIGKILL", *OUT)
    assert done.returncode == -signal.SIGKILL
    after = listing(folder)
    assert "out.fits" not in after
    left = [name for name in after if name not in before]
    assert [name for name in left if not name.startswith(".decorr-")] == []
    assert {name: after[name] for name in before} == before
    succeed(folder, "run", *INPUTS, *OUT)


def test_a_second_signal_does_not_stop_the_cleaning(folder: Path) -> None:
    before = listing(folder)
    done = interrupted(folder, "pixels", "again and again", *OUT)
    assert done.returncode == 128 + signal.SIGTERM
    assert listing(folder) == before


@pytest.mark.parametrize("out", ["out.fits", "out.fits.fz", "out.fits.gz"])
@pytest.mark.parametrize("step", ["created", "finished"])
def test_full_disk(folder: Path, step: str, out: str) -> None:
    before = listing(folder)
    done = interrupted(folder, step, "ENOSPC", "-o", out)
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert "No space left on device" in done.stderr
    assert listing(folder) == before


@pytest.mark.parametrize("out", ["out.fits", "out.fits.gz"])
def test_file_that_may_not_grow(folder: Path, out: str) -> None:
    (folder / out).write_text("precious")
    before = listing(folder)
    limit = (50_000, 50_000)
    # What measures the coverage would write files, too.
    environment = {key: value for key, value in ENVIRONMENT.items() if not key.startswith("COV")}
    done = decorr(
        folder, "run", *INPUTS, "-o", out, "--overwrite", env=environment,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, limit),
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr == f"decorr: failed: OSError: {out}: File too large (DECORR_TRACEBACK=1 shows where)\n"
    assert listing(folder) == before


def test_traceback_for_those_who_want_it(folder: Path) -> None:
    done = interrupted(folder, "pixels", "EIO", *OUT, env={**ENVIRONMENT, "DECORR_TRACEBACK": "1"})
    assert done.returncode == 1
    assert "Traceback" in done.stderr
    assert not (folder / "out.fits").exists()


def test_output_that_appears_in_the_meantime(folder: Path) -> None:
    done = interrupted(folder, "finished", "appear", *OUT)
    assert done.returncode == 2
    assert done.stderr == "decorr: error: out.fits: the output exists already; --overwrite replaces it\n"
    assert (folder / "out.fits").read_text() == "precious"
    assert not [name for name in listing(folder) if name.startswith(".")]


@pytest.mark.skipif(not hasattr(os, "posix_fallocate"), reason="there is no posix_fallocate")
@pytest.mark.parametrize("error", ["EOPNOTSUPP", "ENOSPC"])
def test_file_system_that_does_not_reserve(folder: Path, error: str) -> None:
    done = interrupted(folder, "reserved", error, *OUT)
    if error == "ENOSPC":
        said = "decorr: failed: OSError: out.fits: No space left on device"
        assert (done.returncode, done.stderr.split(" (")[0]) == (1, said)
        assert not [name for name in listing(folder) if "out" in name or name.startswith(".")]
    else:
        assert (done.returncode, done.stderr) == (0, "")
        sound(folder / "out.fits")
