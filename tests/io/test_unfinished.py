"""Unfinished files are removed when nobody works on them any more, and only then."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from diffim_decorr.io import unfinished
from diffim_decorr.io.atomic import drafts
from diffim_decorr.io.unfinished import begin, lock, reclaim

_OTHER = """
import os, sys
from diffim_decorr.io.unfinished import begin
print(begin(sys.argv[1], ".part")[1], flush=True)
sys.stdin.read()
os.kill(os.getpid(), 9)
"""


def test_they_are_named_after_their_output(tmp_path: Path) -> None:
    descriptor, name = begin(str(tmp_path / "out.fits"), ".part")
    assert os.path.basename(name).startswith(".decorr-out.fits-")
    assert name.endswith(".part")
    os.close(descriptor)
    long = "é" * 120 + ".fits"  # 245 bytes
    descriptor, name = begin(str(tmp_path / long), ".part")
    os.close(descriptor)
    assert reclaim(str(tmp_path / long)) == [name]


def test_what_a_killed_process_left_is_removed(tmp_path: Path) -> None:
    path = str(tmp_path / "out.fits")
    with subprocess.Popen(
        [sys.executable, "-c", _OTHER, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        name = other.stdout.readline().strip()
        assert reclaim(path) == []  # it is still at it
        descriptor, mine = begin(path, ".part")
        assert os.path.exists(name)
        other.communicate("")
    assert os.path.exists(name)
    assert reclaim(path) == [name]
    assert os.path.exists(mine)
    os.close(descriptor)


def test_nothing_else_is_touched(tmp_path: Path) -> None:
    path = str(tmp_path / "out.fits")
    kept = [
        ".decorr-out.fits",
        ".decorr-out.fits-short.part",
        ".decorr-xout.fits-abcdefgh.part",
        "out.fits-abcdefgh.part",
    ]
    for name in kept:
        (tmp_path / name).touch()
    (tmp_path / "victim").write_text("precious")
    os.symlink("victim", tmp_path / ".decorr-out.fits-abcdefgh.part")
    os.mkdir(tmp_path / ".decorr-out.fits-abcdefgi.part")
    os.mkfifo(tmp_path / ".decorr-out.fits-abcdefgj.part")
    reclaim(path)
    assert (tmp_path / "victim").read_text() == "precious"
    assert set(kept) <= {entry.name for entry in tmp_path.iterdir()}
    assert os.path.islink(tmp_path / ".decorr-out.fits-abcdefgh.part")


def test_one_that_was_taken_is_begun_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By somebody who came between creating and locking it."""
    whole = unfinished.lock
    taken: list[bool] = []

    def first_taken(descriptor: int, shared: bool = False) -> bool | None:
        if not taken:
            taken.append(True)
            for entry in tmp_path.iterdir():
                entry.unlink()
        return whole(descriptor, shared)

    monkeypatch.setattr(unfinished, "lock", first_taken)
    descriptor, name = begin(str(tmp_path / "out.fits"), ".part")
    assert os.path.exists(name)
    os.close(descriptor)


def test_file_systems_without_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Outputs are written there as elsewhere; what is left behind stays."""
    left = tmp_path / ".decorr-out.fits-abcdefgh.part"
    left.touch()

    def refuse(*_: object) -> None:
        raise OSError(37, "No locks available")

    monkeypatch.setattr(unfinished.fcntl, "flock", refuse)
    with drafts([str(tmp_path / "out.fits")], overwrite=False) as begun:
        (draft,) = begun.values()
        draft.append(b"x" * 2880)
    assert (tmp_path / "out.fits").exists()
    assert left.exists()
    monkeypatch.setattr(unfinished, "fcntl", None)
    assert reclaim(str(tmp_path / "out.fits")) == []


def test_locks(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.touch()
    with open(path, "rb") as one, open(path, "rb") as other, open(path, "rb") as third:
        assert lock(one.fileno(), shared=True)
        assert lock(other.fileno(), shared=True)
        assert lock(third.fileno()) is False
