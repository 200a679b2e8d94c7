"""Errors as objects: with ``--json`` standard output holds one JSON object, whatever happens."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from diffim_decorr.cli.failures import failure_of
from support.command import decorr, quickly
from support.files import INPUTS, listing

FAILURES: dict[tuple[str, ...], tuple[int, dict[str, Any]]] = {
    ("run", "none.fits[1]", *INPUTS[1:]): (
        3,
        {"code": "input", "message": "none.fits: no such file", "file": "none.fits", "hdu": None, "remedy": None},
    ),
    ("run", *INPUTS, "-o", "sci.fits"): (2, {"code": "usage", "file": "sci.fits", "hdu": None}),
    ("run", *INPUTS, "-o", "psf.fits"): (
        2,
        {"code": "output-exists", "file": "psf.fits", "remedy": "--overwrite replaces it"},
    ),
    ("run", *INPUTS, "--svar", "0", "--tvar", "0"): (2, {"code": "usage", "file": None}),
    ("run", *INPUTS, "--threads", "0"): (2, {"code": "usage", "file": None}),
    ("run", *INPUTS, "--spatiall"): (2, {"code": "usage", "file": None, "remedy": "Did you mean '--spatial'?"}),
    ("rum",): (2, {"code": "usage", "file": None, "remedy": "Did you mean 'run'?"}),
    ("snr", "sci.fits"): (3, {"code": "input", "file": "sci.fits", "hdu": "IMAGE"}),
    ("kernel", "show", "none.fits"): (3, {"code": "input", "file": "none.fits"}),
}


@pytest.mark.parametrize("args", FAILURES, ids=" ".join)
def test_one_object_on_standard_output(folder: Path, args: tuple[str, ...]) -> None:
    status, expected = FAILURES[args]
    before = listing(folder)
    done = quickly(folder, *args, "--json")
    plain = quickly(folder, *args)
    assert done.returncode == plain.returncode == status
    told = json.loads(done.stdout)
    assert {key: told[key] for key in ("schema", "status")} == {"schema": 1, "status": status}
    assert set(told["error"]) == {"code", "message", "file", "hdu", "remedy"}
    assert expected.items() <= told["error"].items()
    # The line on standard error is as ever.
    assert told["error"]["message"] in done.stderr
    assert done.stderr == plain.stderr
    assert plain.stdout == ""
    assert listing(folder) == before


def test_nothing_is_left_empty(folder: Path) -> None:
    """Of what was asked to be written, standard output included: it tells what went wrong."""
    with (folder / "decorr.json").open("w") as file:
        done = decorr(folder, "run", *INPUTS[:4], "none.fits", "--json", capture_output=False, stdout=file)
    assert done.returncode == 3
    assert json.loads((folder / "decorr.json").read_text())["error"]["file"] == "none.fits"


def test_an_option_file_may_ask_for_it(folder: Path) -> None:
    (folder / "options.toml").write_text("[run]\njson = true")
    done = quickly(folder, "run", *INPUTS[:4], "none.fits", "--config", "options.toml")
    assert json.loads(done.stdout)["status"] == 3


def test_there_is_never_more_than_one_object(folder: Path) -> None:
    """What has been told already says what failed."""
    done = quickly(folder, "qa", "diff.fits", "--json", "--fail-if", "max_abs_rho>0.001")
    assert done.returncode == 4
    assert "max_abs_rho" in done.stderr
    assert "verdict" in json.loads(done.stdout)


def test_what_is_no_file_is_not_called_one() -> None:
    error = failure_of("input", "template: must be an array, not None", 3, ["run", "a.fits"])["error"]
    assert (error["file"], error["hdu"]) == (None, None)
    error = failure_of("input", "a.fits[SCI,2]: damaged FITS file (BITPIX = 3)", 3, ["a.fits"])["error"]
    # What stands in brackets is the cause here.
    assert (error["file"], error["hdu"], error["remedy"]) == ("a.fits", "SCI,2", None)
