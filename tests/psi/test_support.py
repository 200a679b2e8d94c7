"""The support of ψ is as large as the tolerance asks for, and what is cut off is said."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from diffim_decorr import decorrelate
from support.command import told
from support.files import write_exposure
from support.kernels import IDENTITY, gaussian
from support.noise import exposures, noise_pair
from support.reference import central, convolved, psi_of, widened


@pytest.mark.parametrize("tolerance", [1e-2, 1e-3, 1e-5])
@pytest.mark.parametrize(("sigma", "tvar"), [(0.8, 1.0), (2.5, 20.0)])
def test_support_and_energy_lost_are_what_is_said(tmp_path: Path, sigma: float, tvar: float, tolerance: float) -> None:
    kernel = gaussian(25, sigma)
    science, template = noise_pair(43, (200, 220), 1.0, tvar)
    paths = [tmp_path / name for name in ("sci.fits", "tmpl.fits", "diff.fits", "kernel.fits")]
    write_exposure(paths[0], science, np.full(science.shape, 1.0))
    write_exposure(paths[1], template, np.full(science.shape, tvar))
    write_exposure(paths[2], science - convolved(template, kernel), None)
    fits.writeto(paths[3], kernel)
    output = tmp_path / "out.fits"
    options = ("--svar", 1.0, "--tvar", tvar, "--tolerance", tolerance)
    said = told(tmp_path, "run", *paths[:3], "--kernel", paths[3], "-o", output, *options)["psi"]
    exact = psi_of([IDENTITY, kernel], [1.0, tvar], size=512)
    half = said["half_width"]
    outside = exact - widened(central(exact, half), exact.shape)
    assert said["energy_lost"] == pytest.approx((outside**2).sum() / (exact**2).sum(), rel=0.05, abs=1e-16)
    assert np.sqrt(said["energy_lost"]) <= tolerance
    assert said["frequencies_limited"] == 0
    assert said["modes"] == 1
    with fits.open(output) as hdus:
        basis = hdus["PSI_BASIS"].data
    assert basis.shape[-2:] == (2 * half + 1, 2 * half + 1)


def test_psi_may_be_narrower_than_the_kernel() -> None:
    """A kernel of 25 pixels that is close to one pixel needs a ψ of a few pixels only."""
    science, template = noise_pair(seed=5, shape=(200, 200), svar=1.0, tvar=1e-3)
    kernel = gaussian(25, 0.5, total=0.03)
    difference = science - convolved(template, kernel)
    result = decorrelate(*exposures(science, template, difference, 1.0, 1e-3), kernel)
    assert result.psi.shape[0] < 25
    assert result.warnings == []
