"""Kernel files that are damaged where nothing but their use shows it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from diffim_decorr import MatchingKernel, write_kernel_table
from diffim_decorr.kernels.coefficients import PolynomialCoefficients
from diffim_decorr.kernels.spatial import SpatialKernel
from support.command import OUT, decorr, refused
from support.files import INPUTS, make_inputs
from support.kernels import gaussian


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    make_inputs(tmp_path)
    return tmp_path


@pytest.mark.parametrize("options", [(), ("--spatial",)])
def test_coefficients_beyond_all_bounds(folder: Path, options: tuple[str, ...]) -> None:
    """Finite in the file, and nothing is once they are squared."""
    basis = gaussian(11, 1.5)[None]
    for degree, large in ((0, 1e200), (1, 1e306)):
        values = np.zeros((1, (degree + 1) * (degree + 2) // 2))
        values[0, 0], values[0, -1] = 1.0, large
        powers = np.array([(a, b) for a in range(degree + 1) for b in range(degree + 1 - a)])
        coefficients = PolynomialCoefficients(values, powers, (48.0, 40.0), (48.0, 40.0))
        kernel = MatchingKernel(SpatialKernel(basis, coefficients), format="table", convolved=("template",))
        write_kernel_table(folder / "huge.fits", kernel, overwrite=True)
        refused(folder, "huge.fits[KERNEL]: has pixels of", "run", *INPUTS[:3], "-k", "huge.fits", *options, *OUT)


def test_hdu_of_which_astropy_makes_nothing(folder: Path) -> None:
    """Its first card says neither what it is nor SIMPLE: no format is recognised, and the file is named."""
    fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(gaussian(11, 1.5))]).writeto(folder / "odd.fits")
    content = (folder / "odd.fits").read_bytes()
    head = content.index(b"XTENSION")
    cards = [content[head + n * 80 : head + (n + 1) * 80] for n in range(36)]
    cards[0], cards[1] = cards[1], cards[0]
    (folder / "odd.fits").write_bytes(content[:head] + b"".join(cards) + content[head + 2880 :])
    done = decorr(folder, "run", *INPUTS[:3], "-k", "odd.fits", *OUT)
    assert done.returncode == 3, done.stderr
    assert "odd.fits" in done.stderr
