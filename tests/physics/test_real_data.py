"""Real mosaics come out white."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.io import fits
from scipy.signal import fftconvolve

from diffim_decorr import Exposure, decorrelate, read_exposure, read_kernel
from support.data import JWST, needs_jwst


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
    assert result.qa.max_abs_rho_after <= 0.10
    assert result.qa.snr_std == pytest.approx(1, abs=0.03)
    assert result.record.psi.frequencies_limited == pytest.approx(0.164, abs=0.01)
