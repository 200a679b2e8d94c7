"""An exposure is worked on again unless its output is what would come out."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits

from diffim_decorr.batch.resume import why_again
from diffim_decorr.batch.tasks import Task
from diffim_decorr.batch.work import work
from diffim_decorr.options import InputOptions, Options, OutputOptions
from support.files import LAYOUTS, make_inputs


def _task(**options: Any) -> Task:
    inputs = InputOptions(kernel="kernel.fits", psf="psf.fits")
    return Task(1, "sci.fits", "tmpl.fits", "diff.fits", inputs, Options(**options), OutputOptions(output="out.fits"))


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    make_inputs(tmp_path)
    assert work(_task().tree())["status"] == "done"
    assert why_again(_task()) == ""
    return tmp_path


def _touch(name: str) -> None:
    info = os.stat(name)
    os.utime(name, ns=(info.st_atime_ns, info.st_mtime_ns + 1_000_000_000))


def _one_pixel(name: str) -> None:
    """At the same time: the content tells."""
    info = os.stat(name)
    content = bytearray(Path(name).read_bytes())
    content[-3000] ^= 1
    Path(name).write_bytes(content)
    os.utime(name, ns=(info.st_atime_ns, info.st_mtime_ns))


def _card(keyword: str, value: Any) -> Callable[[], None]:
    return lambda: fits.setval("out.fits", keyword, value=value)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda: os.unlink("out.fits"), "there is no output"),
        (lambda: os.truncate("out.fits", 30_000), "the output is damaged"),
        (lambda: os.truncate("out.fits", 0), "the output is damaged"),
        (lambda: fits.writeto("out.fits", np.zeros((3, 3)), overwrite=True), "no output"),
        (lambda: _touch("sci.fits"), "sci.fits has changed"),
        (lambda: _one_pixel("diff.fits"), "diff.fits has changed"),
        (lambda: _touch("psf.fits"), "psf.fits has changed"),
        (lambda: _one_pixel("kernel.fits"), "kernel.fits has changed"),
        (_card("DCVERS", "0.0.1"), "it was made by version 0.0.1"),
    ],
)
def test_what_is_done_again(made: Path, change: Callable[[], None], says: str) -> None:
    change()
    assert says in why_again(_task())


@pytest.mark.parametrize(
    "options",
    [
        {"spatial": True}, {"tolerance": 1e-4}, {"svar": 4.0}, {"bad_planes": "SAT"}, {"replace_planes": "none"},
        {"kernel_at": (3, 4)}, {"convolved": "template"}, {"half_width": 9}, {"variance": "estimate"},
    ],
)  # fmt: skip
def test_other_options_are_another_output(made: Path, options: dict[str, Any]) -> None:
    assert "options were others" in why_again(_task(**options))
    # And are known again.
    task = _task(**options)
    task = replace(task, output=OutputOptions(output="other.fits"))
    assert work(task.tree())["status"] == "done"
    assert why_again(task) == ""


def test_numbers_that_a_card_cannot_hold(made: Path) -> None:
    task = _task(svar=0.1 + 0.2, tolerance=1.2345678901234567e-5)
    assert why_again(task) != ""
    assert work(task.tree())["status"] == "done"
    assert why_again(task) == ""


def test_the_number_of_threads_is_no_such_option(made: Path) -> None:
    assert why_again(_task(threads=3)) == ""


def test_files_that_were_moved_are_the_same(made: Path) -> None:
    os.mkdir("away")
    for name in ("sci.fits", "tmpl.fits", "kernel.fits", "psf.fits"):
        os.rename(name, f"away/{name}")
    task = replace(_task(), science="away/sci.fits", template=f"{made}/away/tmpl.fits",
                   inputs=InputOptions(kernel="away/kernel.fits", psf="away/psf.fits"))  # fmt: skip
    assert why_again(task) == ""
    # Another HDU of the same file is not the same, nor is one image in the place of the other.
    assert "tmpl.fits" in why_again(replace(task, template="away/tmpl.fits[IMAGE]"))
    assert why_again(replace(task, science=task.template, template=task.science)) != ""
    assert why_again(replace(task, inputs=InputOptions(kernel="away/kernel.fits"))) != ""


@pytest.mark.parametrize("output", ["out.fits.fz", "out.fits.gz"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_kind_of_output(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, layout: Any, output: str) -> None:
    monkeypatch.chdir(tmp_path)
    make_inputs(tmp_path)
    task = replace(_task(), output=OutputOptions(output=output, layout=layout))
    done = work(task.tree())
    assert done["status"] == "done", done
    assert why_again(task) == ""
    skipped = work(task.tree())
    assert skipped["status"] == "skipped"
    for key in ("verdict", "reasons", "figures", "made", "when", "warnings"):
        assert skipped[key] == done[key], key
    os.unlink(task.paths[-1])
    assert "there is no" in why_again(task)
    assert work(task.tree())["status"] == "done"
    assert why_again(task) == ""


def test_stacks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The images that were stacked are inputs, too."""
    monkeypatch.chdir(tmp_path)
    make_inputs(tmp_path)
    Path("stack.toml").write_text("""
[[science]]
file = "sci.fits"
[[template]]
file = "tmpl2.fits"
kernel = "kernel.fits"
""")
    Path("tmpl2.fits").write_bytes(Path("tmpl.fits").read_bytes())
    task = replace(_task(), inputs=InputOptions(kernel="kernel.fits", inputs="stack.toml"))
    done = work(task.tree())
    assert done["status"] == "done", done
    assert why_again(task) == ""
    _touch("tmpl2.fits")
    assert "tmpl2.fits has changed" in why_again(task)


def test_mosaics(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    make_inputs(tmp_path)
    for name in ("sci", "tmpl", "diff"):
        with fits.open(f"{name}.fits") as hdus:
            image = next(hdu for hdu in hdus if hdu.data is not None)
            parts = [fits.ImageHDU(image.data, name=f"CCD{k}") for k in (1, 2)]
            fits.HDUList([fits.PrimaryHDU(), *parts]).writeto(f"m_{name}.fits")
    inputs = InputOptions(kernel="kernel.fits", all_ext=True)
    task = Task(1, "m_sci.fits", "m_tmpl.fits", "m_diff.fits", inputs, Options(), OutputOptions())
    done = work(task.tree())
    assert done["status"] == "done", done
    assert done["verdict"] in ("ok", "check")
    assert why_again(task) == ""
    assert "options" in why_again(replace(task, options=Options(spatial=True)))
    _touch("m_tmpl.fits")
    assert "has changed" in why_again(task)


# Work


def test_what_is_not_ours_is_not_replaced(made: Path) -> None:
    Path("out.fits").write_text("precious")
    told = work(_task().tree())
    assert (told["status"], told["error"]["code"]) == ("failed", "usage")
    assert "is no output of decorr" in told["error"]["message"]
    assert Path("out.fits").read_text() == "precious"
    kept = replace(_task(), output=OutputOptions(output="out.fits", skip_existing=True))
    told = work(kept.tree())
    assert told["status"] == "skipped"
    assert "no output of decorr" in told["warnings"][0]
    forced = replace(_task(), output=OutputOptions(output="out.fits", overwrite=True))
    assert work(forced.tree())["status"] == "done"


@pytest.mark.parametrize("size", [0, 30_000])
def test_what_is_left_of_an_output_is_replaced(made: Path, size: int) -> None:
    os.truncate("out.fits", size)
    assert work(_task().tree())["status"] == "done"


@pytest.mark.parametrize(
    ("spoil", "code", "says"),
    [
        (lambda: os.unlink("sci.fits"), "input", "sci.fits: no such file"),
        (lambda: os.truncate("tmpl.fits", 10_000), "input", "tmpl.fits"),
        (lambda: os.mkdir("out.fits"), "usage", "is a directory"),
    ],
)
def test_failures_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spoil: Any, code: str, says: str) -> None:
    monkeypatch.chdir(tmp_path)
    make_inputs(tmp_path)
    spoil()
    told = work(_task().tree())
    assert told["status"] == "failed"
    assert told["error"]["code"] == code
    assert says in told["error"]["message"]
    assert not told["error"]["passing"]
