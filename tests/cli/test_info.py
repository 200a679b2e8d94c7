"""``decorr info``: what a file holds."""

from __future__ import annotations

import json
from pathlib import Path

from support.command import decorr, on_terminal, quickly, told


def test_through_the_shell(inputs: Path) -> None:
    done = decorr(inputs, "info", "sci.fits", "diff.fits", "kernel.fits", "-v")
    assert (done.returncode, done.stderr.count("warning")) == (0, 1)  # the kernel could be a PSF
    lines = dict(line.split("  ", 1) for line in done.stdout.split("\n\n")[0].splitlines() if line.strip()[:3] != "HDU")
    assert lines["what"].strip() == "an exposure"
    assert lines["noise"].strip() == "sci.fits[VARIANCE], as variance"
    assert "4 pixels, left out of statistics, replaced" in done.stdout
    assert "HDU 3 VARIANCE        image, 96 x 80" in done.stdout


def test_json(outputs: Path) -> None:
    found = told(outputs, "info", "sci.fits", "made/spatial.fits")
    assert (found["schema"], found["failed"]) == (1, [])
    assert [one["kind"] for one in found["files"]] == ["exposure", "result"]


def test_files_that_cannot_be_read_stop_no_others(inputs: Path) -> None:
    done = quickly(inputs, "info", "none.fits", "sci.fits", "--json")
    assert done.returncode == 3
    assert "none.fits: no such file" in done.stderr
    found = json.loads(done.stdout)
    assert (len(found["files"]), found["failed"]) == (1, ["none.fits: no such file"])
    assert quickly(inputs, "info", "none.fits").returncode == 3


def test_on_a_narrow_terminal_without_colours(inputs: Path) -> None:
    shown, status = on_terminal(inputs, "info", "sci.fits", COLUMNS="44", NO_COLOR="1")
    assert status == 0
    assert "\x1b[" not in shown
    assert max(map(len, shown.splitlines())) <= 44
    assert "sci.fits[VARIANCE]" in shown.replace("\r\n", "")
