"""What goes wrong while an output is written is told with its name, and leaves nothing behind."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from diffim_decorr import run
from diffim_decorr.io import atomic
from diffim_decorr.options import InputOptions, Options, OutputOptions
from diffim_decorr.run import decorrelate_files
from support.files import listing, make_inputs

_FLAT = ("out.fits", "out_mask.fits", "out_psi.fits", "out_variance.fits")


def _run(folder: Path, **output: Any) -> None:
    names = [str(folder / f"{name}.fits") for name in ("sci", "tmpl", "diff")]
    inputs = InputOptions(kernel=str(folder / "kernel.fits"))
    decorrelate_files(*names, inputs, Options(), OutputOptions(output=str(folder / "out.fits"), **output))


@pytest.fixture
def inputs(tmp_path: Path) -> Path:
    make_inputs(tmp_path)
    return tmp_path


def _failing(number: int, when: Callable[..., bool]) -> Callable[..., None]:
    def fail(*args: Any, **keywords: Any) -> None:
        if when(*args):
            raise OSError(number, os.strerror(number))

    return fail


def _refused(folder: Path, number: int) -> None:
    before = listing(folder)
    with pytest.raises(OSError, match=os.strerror(number)) as caught:
        _run(folder)
    assert caught.value.errno == number
    assert caught.value.filename == str(folder / "out.fits")
    assert listing(folder) == before


@pytest.mark.parametrize("number", [errno.EIO, errno.ENOSPC])
def test_pixels_that_do_not_reach_the_disk(inputs: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """The system says it once, and to the thread that syncs while figures are measured: later it seems to succeed."""
    main = threading.main_thread()
    monkeypatch.setattr(os, "fsync", _failing(number, lambda _: threading.current_thread() is not main))
    _refused(inputs, number)


def test_pixels_go_to_the_disk_while_others_are_worked_on(inputs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing but the sync itself ends the filter here: without one before all pixels have come it would not end."""
    whole, synced = os.fsync, threading.Event()
    convolve = run.convolve_image

    def fsync(descriptor: int) -> None:
        whole(descriptor)
        synced.set()

    def waiting(*args: Any) -> None:
        convolve(*args)
        assert synced.wait(60)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(run, "convolve_image", waiting)
    _run(inputs)


@pytest.mark.parametrize("number", [errno.EIO, errno.ENOSPC])
def test_headers_and_names_that_do_not_reach_the_disk(
    inputs: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    main = threading.main_thread()
    monkeypatch.setattr(os, "fsync", _failing(number, lambda _: threading.current_thread() is main))
    _refused(inputs, number)


def test_folders_that_cannot_be_synced_are_no_failure(inputs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = os.fsync

    def fsync(descriptor: int) -> None:
        if os.path.isdir(f"/proc/self/fd/{descriptor}"):
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        whole(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    _run(inputs)
    assert (inputs / "out.fits").exists()


def test_a_place_that_cannot_be_taken(inputs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By a link, or where the file system has none by renaming."""
    monkeypatch.setattr(os, "link", _failing(errno.EPERM, lambda *_: True))
    monkeypatch.setattr(os, "rename", _failing(errno.EIO, lambda *_: True))
    _refused(inputs, errno.EIO)


def test_drafts_that_cannot_be_removed(inputs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The output is named, and after another error that error comes first."""
    monkeypatch.setattr(os, "unlink", _failing(errno.EACCES, lambda *_: True))
    with pytest.raises(OSError, match="Permission denied") as caught:
        _run(inputs)
    assert caught.value.filename == str(inputs / "out.fits")
    with pytest.raises(RuntimeError, match="first") as other, atomic.drafts([str(inputs / "b.fits")], overwrite=False):
        raise RuntimeError("first")
    assert other.value.__notes__ == [f"{inputs / 'b.fits'}: what was begun could not be removed: Permission denied"]


def test_small_files_are_whole_or_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = str(tmp_path / "small.txt")
    monkeypatch.setattr(os, "fsync", _failing(errno.ENOSPC, lambda _: True))
    with pytest.raises(OSError, match="No space left") as caught, atomic.whole_file(path, False) as temporary:
        Path(temporary).write_text("text")
    assert caught.value.filename == path
    assert listing(tmp_path) == {}


@pytest.mark.parametrize("there", [True, False])
def test_of_several_files_all_are_replaced_or_none(inputs: Path, monkeypatch: pytest.MonkeyPatch, there: bool) -> None:
    """What one of them has replaced already comes back."""
    if there:
        for name in _FLAT:
            (inputs / name).write_text(f"old {name}")
    whole, moved = os.replace, []

    def replace(source: str, target: str) -> None:
        if target.endswith("out.fits"):  # the last of four
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        moved.append(target)
        whole(source, target)

    before = listing(inputs)
    monkeypatch.setattr(os, "replace", replace)
    with pytest.raises(OSError, match=os.strerror(errno.EIO)):
        _run(inputs, layout="flat", overwrite=True)
    monkeypatch.undo()
    assert len(moved) == (6 if there else 3)  # there and back
    assert listing(inputs) == before
    _run(inputs, layout="flat", overwrite=True)
    assert set(listing(inputs)) == {*before, *_FLAT}
    assert all((inputs / name).read_bytes().startswith(b"SIMPLE") for name in _FLAT)


def test_threads_that_cannot_be_started_are_no_failure(inputs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """For want of memory: what they would have done is done at the end."""
    whole = threading.Thread.start

    def start(thread: threading.Thread) -> None:
        if "_sync" in thread.name:
            raise RuntimeError("can't start new thread")
        whole(thread)

    monkeypatch.setattr(threading.Thread, "start", start)
    _run(inputs)
    assert (inputs / "out.fits").exists()
