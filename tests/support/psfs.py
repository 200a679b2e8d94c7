"""PSFs of the tests: of exposures, and in files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits

from diffim_decorr import Exposure
from support.files import cube_hdus, write_hdus
from support.kernels import gaussian

__all__ = ("FIELD", "cutout", "gaussian_grid", "grid_file", "moments", "psfex_file", "widths", "with_psf")

#: (ny, nx) of the images that the PSFs in files are of.
FIELD = (240, 300)


def cutout(image: np.ndarray, x: int, y: int, shape: tuple[int, int]) -> np.ndarray:
    hy, hx = shape[0] // 2, shape[1] // 2
    return image[y - hy : y - hy + shape[0], x - hx : x - hx + shape[1]].astype(float)


def with_psf(exposure: Exposure, psf: np.ndarray) -> Exposure:
    return Exposure(exposure.image, exposure.variance, exposure.mask, mask_planes=exposure.mask_planes, psf=psf)


def grid_file(path: Path, images: np.ndarray, x: np.ndarray, y: np.ndarray) -> Path:
    return write_hdus(path, *cube_hdus(images, x, y, "PSF"))


def widths(x: Any, y: Any) -> Any:
    return 1.3 + 0.4 * x / FIELD[1] + 0.3 * y / FIELD[0]


def gaussian_grid(path: Path, x0: float = 0.0, y0: float = 0.0) -> Path:
    """A full grid in no order, of PSFs that get wider to the upper right."""
    x, y = (p.ravel() for p in np.meshgrid([0.0, 150, 299], [0.0, 239]))
    order = np.random.default_rng(3).permutation(len(x))
    images = np.array([3.0 * gaussian(21, widths(a, b)) for a, b in zip(x, y, strict=True)])
    return grid_file(path, images[order], x[order] + x0, y[order] + y0)


def psfex_file(path: Path, images: np.ndarray, step: float, **cards: Any) -> Path:
    """A model as PSFEx writes it (its manual, and files that it has written)."""
    n, h, w = images.shape
    degree = {1: 0, 3: 1, 6: 2}[n]
    column = fits.Column("PSF_MASK", f"{images.size}E", dim=f"({w}, {h}, {n})", array=images[None].astype("f4"))
    table = fits.BinTableHDU.from_columns([column], name="PSF_DATA")
    table.header.update(
        {
            "LOADED": 100, "ACCEPTED": 90, "CHI2": 1.1, "POLNAXIS": 2, "POLGRP1": 1, "POLNAME1": "X_IMAGE",
            "POLZERO1": 151.0, "POLSCAL1": 300.0, "POLGRP2": 1, "POLNAME2": "Y_IMAGE", "POLZERO2": 121.0,
            "POLSCAL2": 240.0, "POLNGRP": 1, "POLDEG1": degree, "PSF_FWHM": 3.5, "PSF_SAMP": step, "PSFNAXIS": 3,
            "PSFAXIS1": w, "PSFAXIS2": h, "PSFAXIS3": n,
        } | cards
    )  # fmt: skip
    fits.HDUList([fits.PrimaryHDU(), table]).writeto(path, overwrite=True)
    return path


def moments(width: int, sigma: float, step: float) -> np.ndarray:
    """A Gaussian sampled at steps of so many pixels, and what makes it longer along x, and along y."""
    y, x = (np.mgrid[:width, :width] - width // 2) * step
    profile = np.exp(-0.5 * (x**2 + y**2) / sigma**2) / (2 * np.pi * sigma**2)
    zero, u, v = profile, profile * (x**2 / sigma**2 - 1), profile * (y**2 / sigma**2 - 1)
    # The terms of degree 2 in their order: 1, u, u², v, uv, v².
    return np.array([zero, 0.2 * u, 0 * u, 0.1 * v, 0.3 * u * y / 2, 0 * u])
