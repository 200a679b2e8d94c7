"""Files as a survey has them, large enough for two tiles."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from astropy.io import fits

from support.files import write_exposure
from support.hotpants import hotpants_kernel
from support.kernels import gaussian
from support.noise import PLANES, noise_pair
from support.tiles import column_seams

__all__ = ("SHAPE", "write_survey")

SHAPE = (130, 900)


def write_survey(folder: Path) -> dict[str, Path]:
    """Noise, a masked saturated star, missing pixels, a kernel that varies and one that does not."""
    assert column_seams(SHAPE) == [450]
    science, template = noise_pair(71, SHAPE, 1.0, 2.0)
    hotpants = hotpants_kernel(SHAPE, seed=71)
    difference = hotpants.difference(science, template)
    mask = np.zeros(SHAPE, "i4")
    mask[100:104, 448:452] = 1 << PLANES["SAT"]
    difference[100:104, 448:452] += 1e5
    difference[:, :9] = np.nan
    hotpants.write(folder / "diff.fits", difference)
    kernel, psf = folder / "kernel.fits", folder / "psf.fits"
    fits.writeto(kernel, gaussian(15, 1.5, total=1.2))
    fits.writeto(psf, gaussian(15, 1.3))
    return {
        "science": write_exposure(folder / "sci.fits", science, np.full(SHAPE, 1.0), mask),
        "template": write_exposure(folder / "tmpl.fits", template, np.full(SHAPE, 2.0)),
        "difference": folder / "diff.fits",
        "kernel": kernel,
        "psf": psf,
    }
