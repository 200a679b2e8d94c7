"""Pictures, pages and maps of each result of a batch."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from diffim_decorr import UsageError
from diffim_decorr.batch.manifest import Row
from diffim_decorr.batch.tasks import Task, tasks_of
from diffim_decorr.batch.work import work
from diffim_decorr.detect.maps import snr_file
from diffim_decorr.options import SnrOptions
from support.command import refused, succeed
from support.files import INPUTS, make_inputs
from support.nights import content

ROW = {"science": "sci.fits", "template": "tmpl.fits", "difference": "diff.fits", "kernel": "kernel.fits"}
MADE = ("out.fits", "diff.html", "diff.png", "maps.fits")


def _task(common: dict[str, Any] | None = None, **cells: Any) -> Task:
    (task,) = tasks_of([Row("row 1", {**ROW, **cells})], common or {})
    return task


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    make_inputs(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_they_are_made_with_the_result_and_when_they_are_missing(folder: Path) -> None:
    task = _task({"report": "{stem}.html", "plot": "{stem}.png"}, psf="psf.fits", output="out.fits", snr="maps.fits")
    assert task.written == ["out.fits", "diff.png", "diff.html", "maps.fits"]
    assert Task.of(task.tree()) == task
    outcome = work(task.tree())
    assert outcome["status"] == "done", outcome
    snr_file("out.fits", SnrOptions(), output="again.fits")
    assert content(folder / "maps.fits")[1:] == content(folder / "again.fits")[1:]
    times = {name: os.stat(name).st_mtime_ns for name in MADE}
    assert work(task.tree())["status"] == "skipped"
    os.unlink("diff.html")
    outcome = work(task.tree())
    assert (outcome["status"], outcome["why"]) == ("done", "there is no diff.html")
    assert {name for name in MADE if os.stat(name).st_mtime_ns != times[name]} == {"diff.html"}
    # With a new result they are made anew.
    os.utime("sci.fits")
    assert work(task.tree())["status"] == "done"
    assert all(os.stat(name).st_mtime_ns > times[name] for name in MADE)


def test_what_is_no_companion_of_the_result_stays(folder: Path) -> None:
    (folder / "diff.png").write_text("precious")
    error = work(_task(output="out.fits", plot="diff.png").tree())["error"]
    assert (error["code"], (folder / "diff.png").read_text()) == ("usage", "precious")
    assert not (folder / "out.fits").exists()


@pytest.mark.parametrize(
    ("cells", "says"),
    [
        ({"plot": "diff.txt"}, "must end in .png, .pdf, .svg"),
        ({"report": "diff.fits"}, "must end in .html"),
        ({"snr": "diff_decorr.fits"}, "would be written twice"),
        ({"snr": "sci.fits"}, "would be the output of row 1, but row 1 reads it"),
        ({"all_ext": "true", "plot": "a.png"}, "are of one exposure"),
        ({"score": "true", "pre_conv_kernel": "k.fits", "snr": "a.fits"}, "has no meaning with score"),
    ],
)
def test_what_cannot_be(cells: dict[str, str], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        _task(**cells)


def test_maps_need_a_psf(folder: Path) -> None:
    """Which is seen before anything is done."""
    outcome = work(_task(output="out.fits", snr="maps.fits").tree())
    assert "the PSF of the result is not known" in outcome["error"]["message"]
    assert not (folder / "out.fits").exists()


def test_a_run_that_is_skipped_has_its_picture(folder: Path) -> None:
    args = ("run", *INPUTS, "-q", "-o", "out.fits", "--plot", "out.png")
    succeed(folder, *args)
    succeed(folder, *args, "--skip-existing")
    refused(folder, "out.png: the output exists already", *args, status=2)
