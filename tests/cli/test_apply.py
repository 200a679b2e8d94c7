"""``decorr apply``: what is printed, and what it refuses."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from diffim_decorr import read_psi
from support.command import decorr, refused, succeed, told
from support.psi_runs import NX, NY, SHAPE

# What is printed


def test_json(psi_runs: Path, tmp_path: Path) -> None:
    said = told(psi_runs, "apply", "sci.fits", "--psi", "step.fits", "-o", tmp_path / "o.fits")
    assert said["output"] == str(tmp_path / "o.fits")
    assert said["hdus"] == ["IMAGE", "MASK", "VARIANCE"]
    psi = read_psi(psi_runs / "step.fits")
    assert said["psi"] == {
        "file": "step.fits",
        "mode": "spatial",
        "half_width": psi.half_width,
        "modes": len(psi.kernel.basis),
    }
    assert said["warnings"] == []
    assert said["seconds"] > 0


def test_table_and_quiet(psi_runs: Path, tmp_path: Path) -> None:
    done = succeed(psi_runs, "apply", "psf.fits", "--psi", "step.fits", "--at", 3, 4, "-o", tmp_path / "o.fits")
    assert "decorrelation kernel" in done.stdout
    done = succeed(psi_runs, "apply", "psf.fits", "--psi", "step.fits", "--at", 3, 4, "-o", tmp_path / "o2.fits", "-q")
    assert done.stdout == done.stderr == ""


@pytest.fixture
def folder(psi_runs: Path, tmp_path: Path) -> Path:
    """A copy that may be changed."""
    shutil.copytree(psi_runs, tmp_path, dirs_exist_ok=True)
    return tmp_path


def test_options_from_a_file(folder: Path) -> None:
    (folder / "options.toml").write_text('psi = "spatial.fits"\nbad-fraction = 0.2\n')
    succeed(folder, "apply", "sci.fits", "--config", "options.toml", "-o", "o.fits")
    assert fits.getheader(folder / "o.fits")["DCBADFRC"] == 0.2


# What cannot be used

REFUSED = {
    "none.fits --psi spatial.fits": "no such file",
    "sci.fits --psi none.fits": "no such file",
    "sci.fits --psi tmpl.fits": "tmpl.fits: holds no decorrelation kernel",
    "sci.fits --psi spatial.fits[MASK]": "spatial.fits[MASK]: holds no decorrelation kernel",
    "small.fits --psi spatial.fits": "small.fits: has 30 x 20 pixels, but spatial.fits[PSI_BASIS] varies over a field "
    f"of {NX} x {NY}",
    "constant.fits --psi spatial.fits -o o.fits": "has been decorrelated already",
    f"psf.fits --psi spatial.fits --at {NX} 5 -o o.fits": f"outside the field of {NX} x {NY} pixels",
    "holes.fits --psi spatial.fits --at 7 5 -o o.fits": "holes.fits: has pixels that are not finite",
    "sci.fits --psi spatial.fits --variance zero.fits -o o.fits": "no pixel has a variance > 0",
    "sci.fits --psi spatial.fits --variance deeper.fits --noise deeper.fits -o o.fits": "give only one",
}


def test_refusals(folder: Path) -> None:
    fits.writeto(folder / "small.fits", np.ones((20, 30)))
    fits.writeto(folder / "holes.fits", np.where(np.eye(9) > 0, np.nan, 1))
    fits.writeto(folder / "zero.fits", np.zeros(SHAPE, "f4"))
    for line, says in REFUSED.items():
        refused(folder, says, "apply", *line.split())


def test_wrong_usage(folder: Path) -> None:
    mask = "psf.fits --psi spatial.fits --at 7 5 --mask sci.fits"
    refused(folder, "--mask has no meaning", "apply", *mask.split(), status=2)
    refused(folder, "--psi", "apply", "sci.fits", status=2)
    fraction = "sci.fits --psi spatial.fits --bad-fraction 2 -o o.fits"
    refused(folder, "'--bad-fraction': must be", "apply", *fraction.split(), status=2)


def test_nothing_is_overwritten(folder: Path) -> None:
    psi = ("--psi", "spatial.fits")
    (folder / "sci_decorr.fits").write_bytes(b"mine")
    refused(folder, "sci_decorr.fits: the output exists already", "apply", "sci.fits", *psi, status=2)
    succeed(folder, "apply", "sci.fits", *psi, "--overwrite")
    for output in ("sci.fits", "spatial.fits", "deeper.fits"):
        line = ("sci.fits", *psi, "--variance", "deeper.fits", "-o", output, "--overwrite")
        refused(folder, "the output is the same file as the input", "apply", *line, status=2)
    at = ("apply", "psf.fits", *psi, "--at", "4", "4")
    refused(folder, "the output is the same file", *at, "-o", "psf.fits", "--overwrite", status=2)
    refused(folder, "there is no directory", *at, "-o", "nowhere/o.fits", status=2)


def test_through_the_shell(psi_runs: Path, tmp_path: Path) -> None:
    """In a process of its own, with nothing loaded before."""
    done = decorr(psi_runs, "apply", "sci.fits", "--psi", "spatial.fits", "-o", tmp_path / "out.fits")
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert "IMAGE, MASK, VARIANCE" in done.stdout
