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

pytestmark = pytest.mark.slow

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


def test_batch_and_resuming(night):
    (night / "a" / "tmpl.fits").rename(night / "a" / "kept.fits")
    (night / "a" / "tmpl.fits").write_text("junk")
    done = run_script(EXAMPLES / "batch.sh", night, "--json")
    assert done.returncode == 5, done.stderr
    told = json.loads(done.stdout)
    assert (told["done"], told["skipped"], told["failed"]) == (2, 0, 1)
    assert f"{night}/a/diff_decorr.fits: {night}/a/tmpl.fits: " in done.stderr
    for name in ("b", "c 1"):
        assert fits.getval(night / name / "diff_decorr.fits", "DCMODE") == "constant"

    # What is repaired is done, and what options are about again.
    (night / "a" / "tmpl.fits").unlink()
    (night / "a" / "kept.fits").rename(night / "a" / "tmpl.fits")
    told = json.loads(run_script(EXAMPLES / "batch.sh", night, "--json").stdout)
    assert (told["done"], told["skipped"], told["failed"]) == (1, 2, 0)
    told = json.loads(run_script(EXAMPLES / "batch.sh", night, "--json", "--spatial").stdout)
    assert told["done"] == 3
    assert fits.getval(night / "b" / "diff_decorr.fits", "DCMODE") == "spatial"
    assert (night / "decorr.summary.ecsv").exists()


def test_batch_needs_a_directory(night):
    for arguments in ([], [night / "nowhere"]):
        done = run_script(EXAMPLES / "batch.sh", *arguments)
        assert done.returncode == 2
        assert "usage: batch.sh DIR" in done.stderr


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
