"""Values of options that cannot be, and wrong usage."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.command import quickly, refused
from support.files import INPUTS, SHAPE, listing
from support.spoil import Args

NY, NX = SHAPE
OPTIONS: dict[Args, str] = {
    ("--svar", "-1"): "'--svar': must be",
    ("--tvar", "nan"): "'--tvar': must be",
    ("--svar", "inf"): "'--svar': must be",
    ("--svar", "0", "--tvar", "0"): "error: --svar and --tvar cannot both be 0",
    ("--tolerance", "0"): "'--tolerance': must be",
    ("--tolerance", "1"): "'--tolerance': must be",
    ("--max-gain", "0.5"): "'--max-gain': must be",
    ("--bad-fraction", "2"): "'--bad-fraction': must be",
    ("--node-spacing", "0"): "'--node-spacing': must be",
    ("--threads", "0"): "'--threads': must be a whole number from 1 to 4096, not 0 (without it: all cores).",
    ("-o", "-"): "-: outputs are files that appear whole, not standard output",
    ("--kernel-at", "-1", "5"): "error: --kernel-at -1 5 lies outside the image",
    ("--kernel-at", "5", str(NY)): "lies outside the image",
    ("--kernel-at", "nan", "5"): "must be two numbers",
    (
        "--kernel-at",
        "5",
        "5",
        "--spatial",
    ): "error: --kernel-at is for a constant decorrelation kernel; it has no meaning with --spatial",
    ("--overwrite", "--skip-existing"): "error: --overwrite and --skip-existing exclude each other",
    ("--dq-bad", "-3"): "'--dq-bad': must be a selection of bits such as 1,4,16 or ~2, not '-3'",
}


@pytest.mark.parametrize("options", OPTIONS, ids=" ".join)
def test_value_of_an_option(folder: Path, options: Args) -> None:
    refused(folder, OPTIONS[options], "run", *INPUTS, *options, status=2)


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (INPUTS[:3], "--kernel"),
        (INPUTS[:2], "DIFF"),
        ((*INPUTS, "surplus.fits"), "surplus.fits"),
        ((*INPUTS, "--no-such-option"), "--no-such-option"),
        ((*INPUTS, "--sci-nois", "x"), "--sci-nois"),
        ((*INPUTS, "--tolerance", "small"), "--tolerance"),
        ((*INPUTS, "--threads", "1.5"), "--threads"),
        ((*INPUTS, "--kernel-at", "5"), "--kernel-at"),
        ((*INPUTS, "--convolved", "both"), "--convolved"),
        ((*INPUTS, "--variance", "none"), "--variance"),
        ((*INPUTS, "--noise", "pink"), "--noise"),
    ],
)
def test_usage(folder: Path, args: Args, says: str) -> None:
    before = listing(folder)
    done = quickly(folder, "run", *args)
    assert done.returncode == 2
    assert done.stdout == ""
    assert says in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr
    assert listing(folder) == before


@pytest.mark.parametrize("option", ["--bad-planes", "--replace-planes"])
def test_plane_that_no_mask_has_is_worth_a_warning(folder: Path, option: str) -> None:
    done = quickly(folder, "run", *INPUTS, option, "SAT,STREAK", "-o", "out.fits")
    assert done.returncode == 0
    warning = [line for line in done.stderr.splitlines() if option in line]
    assert len(warning) == 1
    assert warning[0].startswith(f"decorr: warning: {option}: no mask has a plane STREAK; there are BAD, CR")
