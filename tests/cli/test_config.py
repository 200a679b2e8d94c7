"""Options from a file."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from astropy.io import fits

from support.command import OUT, quickly, succeed
from support.files import INPUTS


def test_option_file(folder: Path) -> None:
    (folder / "options.toml").write_text(
        """
kernel = "kernel.fits"
output = "made.fits"
spatial = false
tolerance = 1e-4
svar = 5
"kernel-at" = [10, 20.5]
bad_planes = ["SAT", "CR"]
replace-planes = "none"
variance = "estimate"
quiet = true
psf = "psf.fits"
"""
    )
    done = quickly(folder, "run", *INPUTS[:3], "--config", "options.toml", "--svar", "6", "--bad-planes", "SAT")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    header = fits.getheader(folder / "made.fits")
    assert header["DCTOLER"] == 1e-4
    assert header["DCSVAR"] == pytest.approx(6)
    assert header["DCBADPL"] == "SAT"
    assert header["DCREPPL"] == "none"
    assert header["DCVPROP"] == "estimate"
    assert (header["DCKATX"], header["DCKATY"]) == (10, 20.5)
    assert header["DCPSF"] == "psf.fits"


@pytest.mark.parametrize(
    ("content", "args", "mode"),
    [
        ("spatial = true", (), "spatial"),
        ("constant = false", (), "spatial"),
        ("constant = true", (), "constant"),
        ("spatial = true", ("--constant",), "constant"),
        ("spatial = false", ("--spatial",), "spatial"),
    ],
)
def test_command_line_wins(folder: Path, content: str, args: tuple[str, ...], mode: str) -> None:
    (folder / "options.toml").write_text(content)
    done = succeed(folder, "run", *INPUTS, "--config", "options.toml", *args, "--json", *OUT)
    assert json.loads(done.stdout)["mode"] == mode


def test_several_planes_of_an_option_file(folder: Path) -> None:
    (folder / "options.toml").write_text('replace_planes = ["SAT", "CR"]\nbad-planes = []')
    succeed(folder, "run", *INPUTS, "--config", "options.toml", *OUT)
    header = fits.getheader(folder / "out.fits")
    assert header["DCREPPL"] == "SAT,CR"
    assert header["DCBADPL"] == "none"
