"""Several runs on images of two tiles, for tests of the ψ that is stored in an output."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from astropy.io import fits

from diffim_decorr import write_grid_kernel
from support.command import succeed
from support.files import make_inputs
from support.kernels import gaussian
from support.tiles import column_seams

__all__ = ("CONFIGURATIONS", "NX", "NY", "SHAPE", "make_psi_runs")

SHAPE = (90, 900)
NY, NX = SHAPE
CONFIGURATIONS = {
    "constant": ("--kernel", "kernel.fits"),
    "spatial": ("--kernel", "varying.fits", "--spatial"),
    # The kernels of variance reach farther than ψ, which must not matter to the image.
    "narrow": ("--kernel", "kernel.fits", "--half-width", "2", "--bad-fraction", "0.03", "--replace-planes", "SAT"),
    "step": ("--kernel", "varying.fits", "--spatial", "--tmpl-variance", "deeper.fits"),
}


def make_psi_runs(folder: Path) -> None:
    """Inputs and what several runs make of them."""
    assert column_seams(SHAPE) == [NX // 2]
    make_inputs(folder, SHAPE)
    x, y = (axis.ravel() for axis in np.meshgrid([0, NX - 1], [0, NY - 1]))
    kernels = [gaussian(11, (sigma, 1.2), 30) for sigma in (1.0, 1.5, 1.2, 1.9)]
    write_grid_kernel(folder / "varying.fits", kernels, x, y)
    step = np.full(SHAPE, 2.25, "f4")
    step[:, NX // 2 :] *= 2
    fits.writeto(folder / "deeper.fits", step)
    # A star brighter than what is convolved in single precision.
    with fits.open(folder / "diff.fits", mode="update") as hdus:
        hdus[0].data[40:43, 500:503] += 5000
    for name, options in CONFIGURATIONS.items():
        inputs = ("sci.fits", "tmpl.fits", "diff.fits", "--psf", "psf.fits")
        succeed(folder, "run", *inputs, *options, "-o", f"{name}.fits", "-q")
