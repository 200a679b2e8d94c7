"""``decorr psf``: the PSF of an output at a position."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from support.command import quickly, refused, succeed
from support.files import INPUTS, make_inputs
from support.kernels import gaussian


@pytest.mark.parametrize(
    ("args", "status", "says"),
    [
        (("psf.fits", "1", "2", "-o", "psf.fits"), 2, "the output is the same file as the input"),
        (("psf.fits", "1", "2", "-o", "there.fits"), 2, "there.fits: the output exists already"),
        (("none.fits", "1", "2", "-o", "at.fits"), 3, "none.fits: no such file"),
        (("psf.fits", "nan", "2", "-o", "at.fits"), 2, "nan 2 is no position"),
        (("psf.fits", "1", "2"), 2, "--output"),
        (("psf.fits", "east", "2", "-o", "at.fits"), 2, "east"),
    ],
)
def test_psf_command_refuses(tmp_path: Path, args: tuple[str, ...], status: int, says: str) -> None:
    fits.writeto(tmp_path / "psf.fits", gaussian(9, 1.0))
    fits.writeto(tmp_path / "there.fits", gaussian(9, 1.0))
    done = quickly(tmp_path, "psf", *args)
    assert done.returncode == status
    assert says in done.stderr
    assert not (tmp_path / "at.fits").exists()


def test_psf_command_on_an_image(tmp_path: Path) -> None:
    make_inputs(tmp_path)
    succeed(tmp_path, "run", *INPUTS, "--psf", "psf.fits", "-q", "-o", "out.fits")
    succeed(tmp_path, "psf", "out.fits", "-3", "2.5", "-o", "at.fits")
    psf = fits.getdata(tmp_path / "out.fits", "PSF")
    np.testing.assert_allclose(fits.getdata(tmp_path / "at.fits"), psf / psf.sum(), rtol=1e-6)


def test_psf_command_tells_what_has_none(folder: Path) -> None:
    succeed(folder, "run", *INPUTS, "-q", "-o", "out.fits")
    refused(folder, "has no PSF, for the run was given none", "psf", "out.fits", "10", "20", "-o", "no.fits")
    refused(
        folder, "holds no PSF, but an image of the sky of 96 x 80 pixels", "psf", "diff.fits", "1", "2", "-o", "no.fits"
    )
