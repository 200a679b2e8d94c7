"""PSFs that cannot be used end in one clear line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from support.command import OUT, refused, succeed
from support.files import INPUTS
from support.spoil import pixels, table

PSFS = {
    "a table": (table, "no HDU holds a PSF"),
    "missing": (Path.unlink, "no such file"),
    "NaN": (pixels(np.full((5, 5), np.nan)), "not finite"),
    "zero": (pixels(np.zeros((5, 5))), "sum of 0"),
    "negative": (pixels(-np.ones((5, 5))), "sum of -25"),
    "one axis": (pixels(np.ones(9)), "must be a 2-D image"),
    "a cube": (pixels(np.ones((3, 5, 5))), "a table with their positions"),
    "an image": (pixels(np.ones((1200, 1200), "f4")), "look like an image"),
}


@pytest.mark.parametrize("defect", PSFS)
def test_psf(folder: Path, defect: str) -> None:
    spoil, says = PSFS[defect]
    spoil(folder / "psf.fits")
    refused(folder, ("psf.fits", says), "run", *INPUTS, "--psf", "psf.fits")


def test_psf_in_an_hdu_without_image(folder: Path) -> None:
    table(folder / "psf.fits")
    refused(folder, "psf.fits[1]: holds no image", "run", *INPUTS, "--psf", "psf.fits[1]")


def test_psf_of_an_input(folder: Path) -> None:
    fits.append(folder / "sci.fits", np.zeros((5, 5)), fits.Header([("EXTNAME", "PSF")]))
    refused(folder, ("sci.fits", "sum of 0"), "run", *INPUTS, "--psf", "sci.fits")
    assert "sci.fits[PSF]: the PSF has a sum of 0, " in succeed(folder, "run", *INPUTS, *OUT).stderr
    with fits.open(folder / "out.fits") as hdus:
        assert "PSF" not in hdus
    # That of the template does not matter, nor what is not used.
    assert succeed(folder, "run", *INPUTS, "--psf", "psf.fits", "-o", "other.fits").stderr == ""
    with fits.open(folder / "other.fits") as hdus:
        assert "PSF" in hdus
