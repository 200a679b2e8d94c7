"""Option files that cannot be used."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from support.command import refused
from support.files import INPUTS

CONFIGS = {
    "not TOML": ("tolerance 1e-3", "options.toml: not a TOML file"),
    "not text": (b"\xff\xfe\x00", "options.toml: not a TOML file"),
    "unknown option": ("tolerence = 1e-3", "options.toml: there is no option 'tolerence'"),
    "itself": ("config = 'a.toml'", "options.toml: there is no option 'config'"),
    "string for number": ("tolerance = 'small'", "options.toml: tolerance = 'small' is not a number"),
    "true for number": ("tolerance = true", "options.toml: tolerance = True is not a number"),
    "fraction for whole number": ("threads = 1.5", "options.toml: threads = 1.5 is not a whole number"),
    "number for flag": ("spatial = 1", "options.toml: spatial = 1 is not true or false"),
    "one of two numbers": ("kernel-at = [3]", "options.toml: kernel-at = [3] is not a list of 2 numbers"),
    "number for string": ("bad-planes = 3", "options.toml: bad-planes = 3 is not a string or a list of strings"),
    "list for string": ("psf = ['a', 'b']", "options.toml: psf = ['a', 'b'] is not a string"),
    "numbers in a list": ("bad-planes = [3]", "options.toml: bad-planes = [3] is not a string or a list of strings"),
    "no choice": ("variance = 'none'", "options.toml: variance: 'none' is not one of"),
    "unknown table": ("[rum]\ntolerance = 1e-3", "options.toml: there is no table 'rum'; did you mean 'run'?"),
    "unknown option of a table": (
        "[run]\ntolerence = 1e-3",
        "options.toml: [run] there is no option 'tolerence'; did you mean 'tolerance'?",
    ),
    "string for number in a table": ("[run]\ntolerance = 'x'", "options.toml: [run] tolerance = 'x' is not a number"),
    "value out of range in a table": ("[run]\nthreads = 0", "options.toml: [run] threads: must be a whole number from"),
    "table for a value": ("[tolerance]\na = 1", "options.toml: tolerance = a table is not a number"),
    "no bits": (
        "dq-bad = 'five'",
        "options.toml: dq-bad: must be a selection of bits such as 1,4,16 or ~2, not 'five'",
    ),
    "text for a whole number": ("threads = 'x'", "options.toml: threads = 'x' is not a whole number"),
    "whole number out of range": ("threads = 0", "options.toml: threads: must be a whole number from 1 to 4096, not 0"),
    "excluding each other": ("svar = 0\ntvar = 0", "options.toml: --svar and --tvar cannot both be 0"),
    "directory of the output": ("output = 'none/out.fits'", "none/out.fits: there is no directory"),
    "value out of range": ("tolerance = 0", "options.toml: tolerance: must be a number from 1e-07 to 0.1"),
}


@pytest.mark.parametrize("defect", CONFIGS)
def test_option_file(folder: Path, defect: str) -> None:
    content, says = CONFIGS[defect]
    (folder / "options.toml").write_bytes(content if isinstance(content, bytes) else content.encode())
    refused(folder, says, "run", *INPUTS, "--config", "options.toml", status=2)


def test_one_of_two_options_is_in_the_file(folder: Path) -> None:
    (folder / "options.toml").write_text("spatial = true")
    says = "options.toml: --kernel-at is for a constant decorrelation kernel; it has no meaning with --spatial"
    refused(folder, says, "run", *INPUTS, "--config", "options.toml", "--kernel-at", "5", "5", status=2)


def test_option_file_that_is_not_there(folder: Path) -> None:
    refused(folder, "options.toml: cannot be read: No such file", "run", *INPUTS, "--config", "options.toml", status=2)
    refused(folder, ".: cannot be read: Is a directory", "run", *INPUTS, "--config", ".", status=2)


def test_files_without_end(folder: Path) -> None:
    """Devices and pipes are refused before they are read."""
    os.mkfifo(folder / "pipe.toml")
    for name in ("/dev/zero", "pipe.toml"):
        refused(folder, f"{name}: is not a regular file", "run", *INPUTS, "--config", name, status=2)
