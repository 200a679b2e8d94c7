"""The command makes the same pixels as the Python API, and says the same of bad input."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits

from diffim_decorr import decorrelate, read_exposure, read_kernel
from support.command import decorr, refused

# Options of the command line and of `decorrelate`.
SAME: dict[str, tuple[list[Any], dict[str, Any]]] = {
    "defaults": ([], {}),
    "spatial": (["--spatial"], {"spatial": True}),
    "constant": (["--constant", "--kernel-at", 30, 40.5], {"spatial": False, "kernel_at": (30, 40.5)}),
    "variances": (["--svar", 1.1, "--tvar", 1.9], {"svar": 1.1, "tvar": 1.9}),
    "estimate": (["--variance", "estimate", "--spatial"], {"variance": "estimate", "spatial": True}),
    "science": (["--convolved", "science"], {"convolved": "science"}),
    "planes": (
        ["--bad-planes", "SAT,BAD", "--replace-planes", "none"],
        {"bad_planes": ("SAT", "BAD"), "replace_planes": ()},
    ),
    "knobs": (
        ["--spatial", "--tolerance", 1e-2, "--node-spacing", 64, "--max-gain", 50, "--bad-fraction", 0.1],
        {"spatial": True, "tolerance": 1e-2, "node_spacing": 64, "max_gain": 50, "bad_fraction": 0.1},
    ),
    "threads": (["--threads", 1], {"threads": 3}),
}


@pytest.mark.parametrize("name", SAME)
def test_the_command_line_makes_the_same_pixels(survey: dict[str, Path], tmp_path: Path, name: str) -> None:
    words, options = SAME[name]
    inputs = [survey[key] for key in ("science", "template", "difference")]
    output = tmp_path / "out.fits"
    line = ("run", *inputs, "-k", inputs[2], "--psf", survey["psf"], *words, "-o", output, "--json")
    done = decorr(tmp_path, *line, env=None)
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    made = [read_exposure(path) for path in inputs]
    result = decorrelate(*made, read_kernel(inputs[2]), psf=fits.getdata(survey["psf"]), **options)
    with fits.open(output) as hdus:
        for plane in ("image", "mask", "variance"):
            np.testing.assert_array_equal(hdus[plane.upper()].data, getattr(result.exposure, plane))
        for plane, bit in result.exposure.mask_planes.items():
            assert hdus["MASK"].header[f"MP_{plane}"] == bit
        basis = hdus["PSI_BASIS"].data
    assert basis.shape[-2:] == result.psi.shape
    assert said["warnings"] == result.warnings
    assert said["qa"]["pixels_used"] == result.qa.pixels_used
    assert said["qa"]["max_abs_rho_after"] == pytest.approx(result.qa.max_abs_rho_after, rel=1e-12)
    assert said["qa"]["snr_std"] == pytest.approx(result.qa.snr_std, rel=1e-12)


def test_the_command_line_says_the_same_in_one_line(survey: dict[str, Path], tmp_path: Path) -> None:
    inputs = [survey[key] for key in ("science", "template", "difference")]
    line = ("run", *inputs, "-k", survey["kernel"], "--tolerance", 0, "-o", tmp_path / "out.fits")
    refused(tmp_path, "'--tolerance': must be", *line, status=2)
    assert not (tmp_path / "out.fits").exists()
