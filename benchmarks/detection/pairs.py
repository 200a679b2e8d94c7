"""The real pairs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits
from fields import Field
from numpy.typing import NDArray
from scipy.ndimage import maximum_filter

from diffim_decorr import MatchingKernel, read_exposure, read_kernel
from diffim_decorr.noise.sources import mask_sources, smoothed

__all__ = ("DATA", "HOTPANTS", "JWST", "hotpants", "jwst")

Array = NDArray[Any]
#: A variance, given the kernel.
Naive = Callable[[MatchingKernel], Array]

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
JWST = "JWST NIRCam, Abell 2744, subtracted by HOTPANTS"
HOTPANTS = "simulated stars, subtracted by HOTPANTS, kernel of order 2"


def jwst(folder: Path) -> Field:
    """The NIRCam pair of Abell 2744, subtracted by HOTPANTS, with the noise that HOTPANTS gives."""
    science, template = (read_exposure(folder / f"{n}.fits", noise=folder / f"{n}_noise.fits") for n in ("sci", "tmpl"))
    naive = fits.getdata(folder / "hotpants_diff.fits", 2).astype(float) ** 2
    bad = np.zeros(naive.shape, bool)
    for exposure in (science, template):
        bad |= ~np.isfinite(exposure.image) | ~(exposure.variance > 0)
    return _pair(
        folder / "hotpants_diff.fits",
        [exposure.image.astype(float) for exposure in (science, template)],
        (science.variance, template.variance),
        bad,
        lambda _: np.where(np.isfinite(naive) & (naive > 0), naive, 1),
    )


def hotpants(folder: Path) -> Field:
    """The simulated pair that HOTPANTS has subtracted, with its true noise."""
    images, variances = [], []
    bad = np.zeros(fits.getdata(folder / "sci.fits").shape, bool)
    for name in ("sci", "tmpl"):
        images.append(fits.getdata(folder / f"{name}.fits").astype(float))
        variances.append(fits.getdata(folder / f"{name}_noise.fits").astype(float) ** 2)
        mask = maximum_filter(fits.getdata(folder / f"{name}_mask.fits") != 0, 21)
        bad |= mask | ~np.isfinite(images[-1]) | ~(variances[-1] > 0)
    science, template = (np.where(bad, np.median(v[~bad]), v) for v in variances)

    def naive(kernel: MatchingKernel) -> Array:
        middle = kernel.kernel.at(bad.shape[1] / 2, bad.shape[0] / 2)
        return science + template * (middle**2).sum()

    return _pair(folder / "diff_ko2.fits", images, (science, template), bad, naive)


def _pair(
    path: Path,
    images: list[Array],
    variances: tuple[Array, Array],
    bad: Array,
    naive: Callable[[MatchingKernel], Array],
) -> Field:
    """A pair and its difference by HOTPANTS.

    Parameters
    ----------
    path
        Of the difference, which has the kernel; the PSF of the science image is beside it.
    images, variances
        Science and template.
    bad
        Pixels of theirs that cannot be used.
    naive
        The naive variance, given the kernel.
    """
    difference = read_exposure(path)
    bad = bad | ~np.isfinite(difference.image) | (difference.image == np.float32(difference.missing_value or np.nan))
    images = [np.where(bad, 0, image) for image in images]
    free = ~bad
    for image in images:
        flat = np.where(bad, 0, image - np.median(image[~bad])).astype(np.float32)
        for scale in (1.5, 4.0):
            smooth = smoothed(flat, scale)
            mask_sources(free, smooth, float(1.4826 * np.median(np.abs(smooth[~bad]))))
    psf = fits.getdata(path.parent / "sci_psf.fits").astype(float)
    kernel = read_kernel(path, difference.shape)
    return Field(
        *images,
        # As any detection does: the level of the background is off by a tenth of the noise of a pixel.
        np.where(bad, np.nan, difference.image - np.median(difference.image[free])),
        variances,
        naive(kernel),
        bad,
        free,
        kernel,
        psf / psf.sum(),
        spatial=True,
    )
