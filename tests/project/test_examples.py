"""All of the examples run and do what they say."""

from __future__ import annotations

import json
import re
import shutil
import sys

import numpy as np
import pytest
from astropy.io import fits

from support.project import ROOT, code_blocks, output_of, run_script

EXAMPLES = ROOT / "examples"


@pytest.fixture(scope="module")
def exposure(tmp_path_factory):
    """The files of a small simulated exposure."""
    folder = tmp_path_factory.mktemp("exposure")
    options = ("--size", 192, "--tvar", 400, "--kernel-sigma", 1, "--kernel-width", 11)
    output_of("decorr", "simulate", folder, *options)
    return folder


def test_demo(tmp_path):
    done = run_script(sys.executable, EXAMPLES / "demo.py", tmp_path / "demo", "--size", 256)
    assert done.returncode == 0, done.stderr
    assert "largest correlation" in done.stdout
    assert (tmp_path / "demo" / "demo.png").read_bytes().startswith(b"\x89PNG")
    header = fits.getheader(tmp_path / "demo" / "diff_decorr.fits")
    assert header["DCRHO1"] < 0.03 < 0.1 < header["DCRHO0"]


def test_api(exposure, tmp_path):
    files = [exposure / f"{name}.fits" for name in ("sci", "tmpl", "diff", "kernel")]
    figure = tmp_path / "psi.png"
    done = run_script(
        sys.executable, EXAMPLES / "api.py", *files, "--psf", exposure / "sci_psf.fits", "--figure", figure
    )
    assert done.returncode == 0, done.stderr
    assert figure.read_bytes().startswith(b"\x89PNG")
    assert len(re.findall(r"^psi at .*: sum 1\.0000", done.stdout, flags=re.MULTILINE)) == 2


def test_api_reports_bad_input(exposure):
    files = [exposure / f"{name}.fits" for name in ("sci", "tmpl", "diff")]
    done = run_script(sys.executable, EXAMPLES / "api.py", *files, "nothing.fits")
    assert done.returncode == 3
    assert done.stderr.startswith("api.py: nothing.fits: ")


@pytest.fixture
def night(exposure, tmp_path):
    """Three exposures; the kernel of the second is in its difference, the name of the third has a space."""
    folder = tmp_path / "night"
    for name in ("a", "b", "c 1"):
        (folder / name).mkdir(parents=True)
        for file in ("sci", "tmpl", "diff", "kernel"):
            shutil.copy(exposure / f"{file}.fits", folder / name)
    (folder / "b" / "kernel.fits").unlink()
    return folder


def batch(*arguments, **environment):
    return run_script(EXAMPLES / "batch.sh", *arguments, **environment)


def summary(done):
    return done.stdout.strip().splitlines()[-1]


def test_batch_and_resuming(night):
    (night / "a" / "tmpl.fits").rename(night / "a" / "kept.fits")
    (night / "a" / "tmpl.fits").write_text("junk")
    done = batch("-j", 2, night)
    assert done.returncode == 3, done.stderr
    assert summary(done) == "3 exposures: 2 done, 0 done before, 1 bad, 0 failed"
    assert "tmpl.fits: " in (night / "a" / "decorr.bad").read_text()
    assert f"bad: {night}/a: decorr: error: tmpl.fits: " in done.stdout
    for name in ("b", "c 1"):
        figures = json.loads((night / name / "decorr.json").read_text())
        assert figures["output"] == "diff_decorr.fits"
        assert fits.getval(night / name / "diff_decorr.fits", "DCMODE") == "constant"

    done = batch(night)
    assert done.returncode == 3
    assert summary(done) == "3 exposures: 0 done, 2 done before, 1 bad, 0 failed"

    # What is repaired, or was changed since, is done again; options go to every run_script.
    (night / "a" / "tmpl.fits").unlink()
    (night / "a" / "kept.fits").rename(night / "a" / "tmpl.fits")
    for name in ("a", "b"):
        (night / name / "tmpl.fits").touch()
    done = batch(night, "--spatial")
    assert done.returncode == 0, done.stdout
    assert summary(done) == "3 exposures: 2 done, 1 done before, 0 bad, 0 failed"
    assert not (night / "a" / "decorr.bad").exists()
    assert fits.getval(night / "b" / "diff_decorr.fits", "DCMODE") == "spatial"


def fake(path, script):
    """A command that stands in for decorr and counts its calls."""
    path.write_text(f"#!/bin/sh\necho >>{path}.calls\n{script}\n")
    path.chmod(0o755)
    return str(path)


def test_batch_retries_what_failed(night, tmp_path):
    command = tmp_path / "flaky"
    done = batch("-j", 1, night, DECORR=fake(command, "echo out of memory >&2; exit 1"))
    assert done.returncode == 1
    assert summary(done) == "3 exposures: 0 done, 0 done before, 0 bad, 3 failed"
    assert f"failed: {night}/b: out of memory" in done.stdout
    assert len((tmp_path / "flaky.calls").read_text().splitlines()) == 6
    assert not list(night.glob("*/decorr.json*"))

    done = batch("-r", 0, night, DECORR=fake(command, "exit 1"))
    assert len((tmp_path / "flaky.calls").read_text().splitlines()) == 9


def test_batch_stops_at_wrong_usage(night):
    done = batch("-j", 1, night, "--no-such-option")
    assert done.returncode == 2
    assert "No such option" in done.stderr
    assert not list(night.glob("*/diff_decorr.fits"))
    for arguments in ([], ["-j", "many", night], [night / "nowhere"]):
        assert batch(*arguments).returncode == 2


def test_hotpants_walk_through(tmp_path):
    blocks = code_blocks(EXAMPLES / "hotpants.md", "sh")
    assert len(blocks) == 5
    done = run_script("bash", "-euo", "pipefail", "-c", "".join(blocks), cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "correlation of the noise: 0." in done.stdout

    images = {}
    for name in ("diff_decorr", "from_oki", "from_plain"):
        with fits.open(tmp_path / "night" / f"{name}.fits") as hdus:
            images[name] = hdus["IMAGE"].data.copy()
            assert hdus[0].header["DCRHO1"] < 0.02 < 0.1 < hdus[0].header["DCRHO0"]
    assert np.array_equal(images["diff_decorr"], images["from_oki"], equal_nan=True)
    # Variances that went through a square root differ in their last digit.
    assert np.nanmax(np.abs(images["diff_decorr"] - images["from_plain"])) < 0.02
    assert np.array_equal(np.isnan(images["diff_decorr"]), np.isnan(images["from_plain"]))
