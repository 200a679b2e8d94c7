"""``decorr run``: what is printed, and where."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path

import pytest
from astropy.io import fits

from support.command import COMMAND, ENVIRONMENT, OUT, decorr, on_terminal, quickly, succeed
from support.files import INPUTS, sound
from support.noise import PLANES


def test_json(outputs: Path) -> None:
    for mode in ("constant", "spatial"):
        said = json.loads((outputs / f"{mode}.json").read_text())
        assert {"output", "mode", "noise", "psi", "qa", "timings", "warnings"} <= set(said)
        assert said["output"] == f"made/{mode}.fits"
        assert said["mode"] == mode
        assert {"svar", "tvar", "model"} <= set(said["noise"])
        assert said["noise"]["model"] == "white"
        assert {"half_width", "modes", "energy_lost", "frequencies_limited"} <= set(said["psi"])
        assert isinstance(said["psi"]["half_width"], int)
        assert isinstance(said["psi"]["modes"], int)
        assert {"max_abs_rho_before", "max_abs_rho_after", "snr_std", "pixels_used"} <= set(said["qa"])
        assert isinstance(said["qa"]["pixels_used"], int)
        assert said["warnings"] == []
        stages = {stage: seconds for stage, seconds in said["timings"].items() if stage != "total"}
        assert {"read", "noise", "psi", "filter", "qa"} <= set(stages)
        assert all(isinstance(seconds, float) and seconds >= 0 for seconds in stages.values())
        assert sum(stages.values()) <= said["timings"]["total"] + 0.01


def crowd(folder: Path) -> None:
    """Leave no source-free pixels."""
    with fits.open(folder / "sci.fits", mode="update") as hdus:
        hdus["MASK"].data[:78] |= 1 << PLANES["DETECTED"]


def test_json_of_what_could_not_be_measured(folder: Path) -> None:
    crowd(folder)
    done = succeed(folder, "run", *INPUTS, "--json", *OUT)
    said = json.loads(done.stdout)
    assert said["qa"]["max_abs_rho_after"] is None
    assert said["qa"]["snr_std"] is None
    assert len(said["warnings"]) == 1
    assert "source-free pixels" in said["warnings"][0]
    assert done.stderr == f"decorr: warning: {said['warnings'][0]}\n"
    header = fits.getheader(folder / "out.fits")
    assert "DCRHO1" not in header
    assert header["DCNPIX"] < 1000
    assert header["DCWARN1"] == said["warnings"][0]
    sound(folder / "out.fits")


def test_table_is_on_standard_output_and_warnings_are_not(folder: Path) -> None:
    crowd(folder)
    done = decorr(folder, "run", *INPUTS, *OUT)
    assert done.returncode == 0
    lines = done.stdout.splitlines()
    assert [re.split(r"\s{2,}", line)[0] for line in lines] == [
        "verdict", "output", "decorrelation kernel", "background variance", "max_abs_rho", "snr_std", "seconds",
    ]  # fmt: skip
    assert "not measured" in done.stdout
    assert "\x1b" not in done.stdout + done.stderr
    assert done.stderr.startswith("decorr: warning: only ")
    assert done.stderr.count("\n") == 1


def test_quiet(folder: Path) -> None:
    crowd(folder)
    done = succeed(folder, "run", *INPUTS, "-q", *OUT)
    assert (done.stdout, done.stderr) == ("", "")
    done = succeed(folder, "run", *INPUTS, "-q", "--json", *OUT, "--overwrite")
    assert json.loads(done.stdout)["warnings"]
    assert done.stderr == ""
    done = quickly(folder, "run", *INPUTS, "-q", *OUT)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1


def test_verbose(folder: Path) -> None:
    brief, verbose = (
        succeed(folder, "run", *INPUTS, *options, *OUT, "--overwrite").stdout for options in ((), ("-v",))
    )
    assert verbose.count("\n") > brief.count("\n")
    for stage in ("read", "noise", "psi", "filter", "qa"):
        assert re.search(rf"{stage} \d+\.\d\d", verbose)
    assert "energy lost" in verbose
    assert "source-free pixels" in verbose


# What takes long to import, and a run of most people has no use for.
UNUSED = (
    "scipy", "rich", "tomllib", "matplotlib", "jinja2", "h5py", "astropy.wcs", "astropy.table", "astropy.nddata",
    "astropy.time", "astropy.coordinates", "astropy.modeling", "astropy.stats", "astropy.convolution",
    "diffim_decorr.apply", "diffim_decorr.assessment", "diffim_decorr.plots", "diffim_decorr.recipe",
    "diffim_decorr.report", "diffim_decorr.simulate",
)  # fmt: skip


@pytest.mark.parametrize("options", [(), ("--spatial", "--json"), ("--noise", "measured")])
def test_nothing_is_imported_that_is_not_used(folder: Path, options: tuple[str, ...]) -> None:
    def imports(*args: str) -> set[str]:
        line = [COMMAND[0], "-X", "importtime", *args]
        done = subprocess.run(line, cwd=folder, env=ENVIRONMENT, capture_output=True, text=True, check=True)
        return {line.rpartition("|")[2].strip() for line in done.stderr.splitlines() if line.startswith("import time:")}

    imported = imports(*COMMAND[1:], "run", *INPUTS, *OUT, *options)
    assert "diffim_decorr.run" in imported
    # The interpreter's own start may import more: measuring coverage, it reads a TOML file.
    assert sorted(name for name in imported - imports("-c", "") if name.startswith(UNUSED)) == []


def test_progress_on_a_terminal(folder: Path) -> None:
    shown, status = on_terminal(folder, "run", *INPUTS, "-o", "out[red].fits")
    assert status == 0
    assert "filtering" in shown
    assert "\x1b[" in shown
    assert "out[red].fits" in shown
    assert "max_abs_rho" in shown


def test_no_progress_when_quiet(folder: Path) -> None:
    assert on_terminal(folder, "run", *INPUTS, "-q", *OUT) == ("", 0)


@pytest.mark.parametrize("options", [(), ("--json",)])
def test_reader_that_went_away(folder: Path, options: tuple[str, ...]) -> None:
    read, write = os.pipe()
    os.close(read)
    line = [*COMMAND, "run", *INPUTS, *OUT, *options]
    done = subprocess.run(
        line, cwd=folder, env=ENVIRONMENT, stdout=write, stderr=subprocess.PIPE, text=True, check=False
    )
    os.close(write)
    assert done.returncode == 0
    assert done.stderr == ""
    sound(folder / "out.fits")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no /dev/full")
@pytest.mark.parametrize("options", [(), ("--json",)])
def test_standard_output_that_is_full(folder: Path, options: tuple[str, ...]) -> None:
    with open("/dev/full", "w") as full:
        line = [*COMMAND, "run", *INPUTS, *OUT, *options]
        done = subprocess.run(
            line, cwd=folder, env=ENVIRONMENT, stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert done.returncode == 0
    assert done.stderr == "decorr: warning: standard output: No space left on device; out.fits is written\n"
    sound(folder / "out.fits")


@pytest.mark.parametrize("options", [(), ("--json",), ("-q",)])
def test_standard_output_that_is_closed(folder: Path, options: tuple[str, ...]) -> None:
    """What was written whole is status 0, whether or not anybody can be told."""
    words = " ".join([*COMMAND, "run", *INPUTS, *OUT, *options])
    done = subprocess.run(["sh", "-c", f"{words} >&-"], cwd=folder, env=ENVIRONMENT, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    sound(folder / "out.fits")
