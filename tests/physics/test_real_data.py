"""Real mosaics come out white."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.io import fits
from scipy.ndimage import gaussian_filter
from scipy.signal import fftconvolve

from diffim_decorr import Exposure, SpatialKernel, decorrelate, read_exposure, read_kernel
from support.data import HOTPANTS, JWST, needs_hotpants, needs_jwst
from support.reference import max_abs_rho


@needs_jwst
def test_jwst_mosaics_come_out_white() -> None:
    """DESIGN §5: 0.36 with the white formula, at most 0.02 with measured noise."""
    difference = read_exposure(JWST / "hotpants_diff.fits")
    result = decorrelate(
        read_exposure(JWST / "sci.fits", noise=JWST / "sci_noise.fits"),
        read_exposure(JWST / "tmpl.fits", noise=JWST / "tmpl_noise.fits"),
        difference,
        read_kernel(JWST / "hotpants_diff.fits", difference.shape),
        noise="measured",
    )
    assert result.qa.max_abs_rho_before > 0.45
    assert result.qa.max_abs_rho_after <= 0.02
    assert result.qa.snr_std == pytest.approx(1, abs=0.02)


@needs_jwst
def test_jwst_cross_convolution() -> None:
    """Both images convolved with the other's PSF, SFFT's recipe; the PSFs end inside the Nyquist frequency."""
    exposures = [read_exposure(JWST / f"{n}.fits", noise=JWST / f"{n}_noise.fits") for n in ("sci", "tmpl")]
    psfs = [fits.getdata(JWST / f"{n}_psf.fits").astype(float) for n in ("sci", "tmpl")]
    science, template = (np.nan_to_num(exposure.image.astype(float)) for exposure in exposures)
    difference = fftconvolve(science, psfs[1], "same") - fftconvolve(template, psfs[0], "same")
    result = decorrelate(
        *exposures, Exposure(difference.astype("f4")), psfs[0], science_kernel=psfs[1], noise="measured"
    )
    assert result.qa.max_abs_rho_before > 0.75
    assert result.qa.max_abs_rho_after <= 0.02
    assert result.qa.snr_std == pytest.approx(1, abs=0.03)
    # What is left of the noise is so weak that the difference itself tells it best; there is nothing in it but what the
    # kernels make of the images.
    assert result.record.noise.source == "difference"
    assert result.record.noise.unexplained < 1e-3


def _without_background(snr: np.ndarray, use: np.ndarray, kernel: SpatialKernel) -> np.ndarray:
    """What stands out of local means of each region, in which HOTPANTS fits a background of its own."""
    flat = snr.copy()
    for own in [box.slices for box in kernel.boxes] or [np.s_[:, :]]:
        level = gaussian_filter(np.where(use, snr, 0.0)[own], 32) / gaussian_filter(use[own].astype(float), 32)
        flat[own] = snr[own] - level
    return flat


@needs_hotpants
@pytest.mark.parametrize(
    "name", ["ko2", "ko3", "regions_2x2", "regions_3x2", "science_convolved", pytest.param("short", id="16-bit")]
)
@pytest.mark.filterwarnings("ignore::diffim_decorr.DecorrWarning")
def test_hotpants_differences_come_out_white(name: str) -> None:
    """Of orders 2 and 3, in regions, one of them with a wild kernel: white away from stars, up to the borders."""
    difference = read_exposure(HOTPANTS / f"diff_{name}.fits")
    science, template = (
        read_exposure(HOTPANTS / f"{n}.fits", noise=HOTPANTS / f"{n}_noise.fits", mask=HOTPANTS / f"{n}_mask.fits")
        for n in ("sci", "tmpl")
    )
    kernel = read_kernel(HOTPANTS / f"diff_{name}.fits", difference.shape)
    result = decorrelate(science, template, difference, kernel, spatial=True)
    image, variance = (plane.astype(float) for plane in (result.exposure.image, result.exposure.variance))
    use = (result.exposure.mask == 0) & np.isfinite(image) & (fits.getdata(HOTPANTS / "stars.fits.gz") == 0)
    snr = _without_background(np.where(use, image / np.sqrt(variance), 0.0), use, kernel.kernel)
    assert max_abs_rho(snr, use) <= 4.5 / np.sqrt(np.count_nonzero(use))
    # The scatter of so many medians is 1.17 / sqrt(450000).
    assert 1.4826 * np.median(np.abs(snr[use])) == pytest.approx(1, abs=0.005 if name != "short" else 0.03)
    borders = np.ones(use.shape, bool)
    for box in kernel.kernel.boxes:
        borders[box.grown(-15).slices] = False
    if kernel.kernel.boxes:
        assert max_abs_rho(snr, use & borders) <= 4.5 / np.sqrt(np.count_nonzero(use & borders))
