"""The header tells how the output was made."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

import diffim_decorr
from support.command import OUT, succeed
from support.files import INPUTS, SHAPE, sound


def test_provenance(outputs: Path, made: Path) -> None:
    said = json.loads((outputs / f"{made.name.split('.')[0]}.json").read_text())
    header = fits.getheader(made)
    expected = {
        "DCVERS": diffim_decorr.__version__,
        "DCSCI": "sci.fits",
        "DCTMPL": "tmpl.fits",
        "DCDIFF": "diff.fits",
        "DCKERNEL": "kernel.fits",
        "DCPSF": "psf.fits",
        "DCKFORM": "image",
        "DCCONV": "template",
        "DCMODE": said["mode"],
        "DCNOISE": "white",
        "DCVPROP": "full",
        "DCSVAR": said["noise"]["svar"],
        "DCTVAR": said["noise"]["tvar"],
        "DCSGIVEN": False,
        "DCTGIVEN": False,
        "DCNSPACE": 256.0,
        "DCTOLER": 1e-3,
        "DCMXGAIN": 1e4,
        "DCBADFRC": 0.01,
        "DCBADPL": "INTRP,EDGE,DETECTED,SAT,CR,BAD,NO_DATA,DETECTED_NEGATIVE",
        "DCREPPL": "NO_DATA,SAT,CR,BAD",
        "DCHWIDTH": said["psi"]["half_width"],
        "DCMODES": said["psi"]["modes"],
        "DCRHO0": said["qa"]["max_abs_rho_before"],
        "DCRHO1": said["qa"]["max_abs_rho_after"],
        "DCSNRSTD": said["qa"]["snr_std"],
        "DCNPIX": said["qa"]["pixels_used"],
    }
    for card, value in expected.items():
        assert header[card] == (pytest.approx(value, rel=1e-12) if isinstance(value, float) else value), card
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d", header["DCDATE"])
    assert header["DCSVAR"] == pytest.approx(4)
    assert header["DCTVAR"] == pytest.approx(2.25)


def test_kernel_of_the_science_image_in_the_header(folder: Path) -> None:
    succeed(folder, "run", *INPUTS, "--pre-conv-kernel", "psf.fits[0]", *OUT)
    assert fits.getheader(folder / "out.fits")["DCPRECON"] == "psf.fits[0]"
    sound(folder / "out.fits")


def test_options_in_the_header(folder: Path) -> None:
    fits.writeto(folder / "variance.fits", np.full(SHAPE, 2.25, "f4"))
    options = ("--svar", "4.5", "--convolved", "science", "--variance", "estimate", "--kernel-at", "3", "4.5")
    options += ("--replace-planes", "none", "--bad-planes", "SAT", "--tmpl-variance", "variance.fits[0]")
    succeed(folder, "run", *INPUTS, *options, *OUT)
    header = fits.getheader(folder / "out.fits")
    assert header["DCSVAR"] == pytest.approx(4.5)
    assert header["DCSGIVEN"] is True
    assert header["DCCONV"] == "science"
    assert header["DCVPROP"] == "estimate"
    assert (header["DCKATX"], header["DCKATY"]) == (3, 4.5)
    assert (header["DCREPPL"], header["DCBADPL"]) == ("none", "SAT")
    assert header["DCTMPVAR"] == "variance.fits[0]"


def test_header_of_a_companion(psi_runs: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.fits"
    succeed(psi_runs, "apply", "diff.fits", "--psi", "spatial.fits", "--mask", "spatial.fits[MASK]", "-o", out)
    with fits.open(out) as hdus:
        header = hdus[0].header
        said = {card: header[card] for card in ("DCIMAGE", "DCPSI", "DCIMGMSK")}
        assert said == {"DCIMAGE": "diff.fits", "DCPSI": "spatial.fits", "DCIMGMSK": "spatial.fits[MASK]"}
        assert (header["OBJECT"], header["DCMODE"]) == ("field 7", "spatial")
        assert hdus["IMAGE"].header["CRVAL1"] == 150.1
        assert hdus["IMAGE"].header["BUNIT"] == "adu"
    sound(out)
