"""Positions on the command line are in the parent frame of LSST's exposures, where there is one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from diffim_decorr import write_grid_kernel
from support.command import refused, succeed
from support.kernels import gaussian
from support.noise import noise_pair
from support.reference import convolved

N, X0 = 120, 4000


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on images that begin at (4000, 0), whose kernel and PSF vary along x."""
    folder = tmp_path_factory.mktemp("parent")
    science, template = noise_pair(15, (N, N), 1.0, 1.0)
    left, right = gaussian(15, 1.0), gaussian(15, 1.8)
    write_grid_kernel(folder / "kernel.fits", [left, right, left, right], [X0, X0 + N - 1] * 2, [0, 0, N - 1, N - 1])
    ramp = np.linspace(0, 1, N)
    difference = science - (1 - ramp) * convolved(template, left) - ramp * convolved(template, right)
    parent = {"CTYPE1A": "LINEAR", "CTYPE2A": "LINEAR", "CRPIX1A": 1, "CRPIX2A": 1, "CRVAL1A": X0, "CRVAL2A": 0}
    for name, image in (("sci", science), ("tmpl", template), ("diff", difference)):
        planes = [
            fits.ImageHDU(image.astype("f4"), name="IMAGE"),
            fits.ImageHDU(np.ones((N, N), "f4"), name="VARIANCE"),
        ]
        for plane in planes:
            plane.header.update({**parent, "EXTTYPE": plane.name})
        fits.HDUList([fits.PrimaryHDU(), *planes]).writeto(folder / f"{name}.fits")
    fits.writeto(folder / "psf.fits", gaussian(15, 1.3))
    inputs = ("sci.fits", "tmpl.fits", "diff.fits", "--kernel", "kernel.fits", "--psf", "psf.fits")
    succeed(folder, "run", *inputs, "--spatial", "-q", "-o", "out.fits")
    return folder


@pytest.mark.parametrize(
    "command", [("psf", "out.fits"), ("kernel", "at", "out.fits"), ("kernel", "at", "kernel.fits")]
)
def test_one_frame_for_all_commands(folder: Path, tmp_path: Path, command: tuple[str, ...]) -> None:
    """Outside the field nothing is taken for what is asked for."""
    images = []
    for x in (10, 110):
        succeed(folder, *command, X0 + x, 60, "-o", tmp_path / f"at{x}.fits")
        images.append(fits.getdata(tmp_path / f"at{x}.fits"))
    assert np.abs(images[0] - images[1]).max() > 1e-3
    for x in (10, X0 - 2, X0 + N + 1):
        refused(folder, "outside the field", *command, x, 60, "-o", tmp_path / "outside.fits")


def test_companions_in_the_same_frame(folder: Path, tmp_path: Path) -> None:
    """A PSF convolved at a position has the ψ that `decorr kernel at` writes for it."""
    one = np.zeros((3, 3))
    one[1, 1] = 1.0
    fits.writeto(folder / "one.fits", one, overwrite=True)
    apply = ("apply", "one.fits", "--psi", "out.fits", "-o", tmp_path / "applied.fits", "--at")
    succeed(folder, *apply, X0 + 10, 60)
    succeed(folder, "kernel", "at", "out.fits", X0 + 10, 60, "-o", tmp_path / "psi.fits")
    np.testing.assert_allclose(
        fits.getdata(tmp_path / "applied.fits")[1:-1, 1:-1], fits.getdata(tmp_path / "psi.fits"), atol=1e-12
    )
    (tmp_path / "applied.fits").unlink()
    refused(folder, ("position 10 60", "begins at (4000, 0)"), *apply, 10, 60)
