"""Options from a file."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from diffim_decorr.cli.config import CONFIGURED
from diffim_decorr.declare import declared
from diffim_decorr.options import Options
from support.command import OUT, quickly, refused, succeed
from support.files import INPUTS, SHAPE


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


def test_tables_are_of_commands(folder: Path) -> None:
    """One file for several commands: each takes what is plain and what its own table has, which counts more."""
    (folder / "options.toml").write_text(
        """
threads = 1
quiet = true
output = "plain.fits"

[run]
tolerance = 1e-4
psf = "psf.fits"
output = "out.fits"

[apply]
psi = "out.fits"
output = "applied.fits"

[snr]
peaks = 6
output = "maps.fits"
"""
    )
    succeed(folder, "run", *INPUTS, "--config", "options.toml")
    succeed(folder, "apply", "sci.fits", "--config", "options.toml")
    succeed(folder, "snr", "out.fits", "--config", "options.toml")
    header = fits.getheader(folder / "out.fits")
    assert (header["DCTOLER"], header["DCTHREAD"], header["DCPSF"]) == (1e-4, 1, "psf.fits")
    assert (folder / "applied.fits").exists()
    assert (folder / "maps_peaks.ecsv").exists()
    assert not (folder / "plain.fits").exists()


def test_names_of_files_are_seen_from_the_folder_of_the_file(folder: Path) -> None:
    (folder / "night" / "made").mkdir(parents=True)
    (folder / "conf").mkdir()
    for name in ("kernel", "psf"):
        (folder / f"{name}.fits").rename(folder / "conf" / f"{name}.fits")
    for seed in (3, 4):
        fits.writeto(folder / "conf" / f"noise{seed}.fits", np.random.default_rng(seed).normal(0, 2, SHAPE))
    (folder / "conf" / "options.toml").write_text(
        f"""
kernel = "kernel.fits"
psf = "{folder}/conf/psf.fits"
noise = "measured"
sci-noise-image = ["noise3.fits", "noise4.fits[0]"]
output = "../night/made/out.fits"
"""
    )
    succeed(folder, "run", *INPUTS[:3], "--config", "conf/options.toml", "-q")
    header = fits.getheader(folder / "night" / "made" / "out.fits")
    assert header["DCKERNEL"] == "conf/kernel.fits"
    assert header["DCPSF"] == f"{folder}/conf/psf.fits"
    assert header["DCSCINIM"] == "conf/noise3.fits,conf/noise4.fits[0]"
    (folder / "night" / "made" / "out.fits").unlink()
    # Those that are typed are seen from here.
    refused(folder, "psf.fits: no such file", "run", *INPUTS[:3], "--config", "conf/options.toml", "--psf", "psf.fits")


def test_a_file_to_begin_with(folder: Path) -> None:
    """It has every option, and what is uncommented of it is the default."""
    text = succeed(folder, "config", "--init").stdout
    assert tomllib.loads(text) == {name: {} for name in CONFIGURED}
    succeed(folder, "config", "--init", "-o", "all.toml")
    assert (folder / "all.toml").read_text() == text
    refused(folder, "all.toml: the output exists already", "config", "--init", "-o", "all.toml", status=2)
    _, _, own = text.partition("[run]")
    lines = dict(re.findall(r"^# ([a-z-]+) = (.*)$", own.partition("\n[")[0], flags=re.MULTILINE))
    assert {name.replace("_", "-") for name in declared(Options)} <= set(lines)
    known = {name: option for name, option in declared(Options).items() if option.default is not None}
    chosen = "".join(f"{name} = {lines[name.replace('_', '-')]}\n" for name in known)
    (folder / "options.toml").write_text(f"[run]\n{chosen}quiet = true")
    succeed(folder, "run", *INPUTS, "--config", "options.toml", "-o", "chosen.fits")
    succeed(folder, "run", *INPUTS, "-q", "-o", "plain.fits")
    chosen_cards, plain_cards = (fits.getheader(folder / f"{name}.fits") for name in ("chosen", "plain"))
    for option in known.values():
        assert not option.card or chosen_cards.get(option.card) == plain_cards.get(option.card), option.name


def test_either_an_output_or_a_beginning(folder: Path) -> None:
    for args in ((), ("out.fits", "--init")):
        refused(folder, "either OUT or --init must be given", "config", *args, status=2)
