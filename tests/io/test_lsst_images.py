"""Exposures in the files of LSST's package of 2026."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits

from diffim_decorr import DecorrWarning, InputError, decorrelate, read_exposure
from support.data import LSST_IMAGES, needs_lsst_images
from support.files import has_plane, image_hdu
from support.kernels import gaussian
from support.lsst_images import GAUSSIAN, SCHEMAS, write_file
from support.pixels import IMAGE, MASK, VARIANCE, check

NAMES = ("science", "template", "difference")


def test_planes_psf_and_header(path: Path) -> None:
    """Of any schema 1.x, whatever else is in the tree or in the file; addresses in the file are not passed on."""
    tree = {"schema_version": "1.9.0", "min_read_version": 1, "psf": GAUSSIAN, "new": {"nan": float("nan")}}
    exposure = read_exposure(write_file(path, tree, image_hdu(IMAGE, "NOISE_REALIZATIONS/1")))
    check(exposure.image_plane, IMAGE)
    check(exposure.variance_plane, VARIANCE)
    check(exposure.mask_plane, MASK)
    assert exposure.mask_planes == {"SAT": 0, "DETECTED": 3}
    np.testing.assert_allclose(exposure.psf, gaussian(21, 1.7), atol=1e-15)
    assert not {"FMTVER", "JSONADDR", "INDXADDR", "DATAMODL"} & set(exposure.header)


@pytest.mark.parametrize(
    ("tree", "says"),
    [
        ({"psf": {**GAUSSIAN, "schema_url": f"{SCHEMAS}/piff_psf-1.0.0"}}, "a piff_psf, of which only gaussian_psf is"),
        ({"psf": {**GAUSSIAN, "sigma": -1.0}}, "a Gaussian of sigma -1.0"),
        ({"psf": {**GAUSSIAN, "sigma": None}}, "a Gaussian of sigma None"),
        ({"psf": {**GAUSSIAN, "stamp_size": 20}}, "20 x 20 pixels"),
        ({"psf": {**GAUSSIAN, "min_read_version": 2}}, "the PSF is of schema gaussian_psf 1.0.0; only versions 1.x"),
        ([], "its JSON is no tree"),
        (b"{", "damaged FITS file"),
    ],
)
def test_psf_that_cannot_be_read_is_no_reason_to_refuse(path: Path, tree: Any, says: str) -> None:
    exposure = read_exposure(write_file(path, tree))
    check(exposure.image_plane, IMAGE)
    assert exposure.psf is None
    assert says in str(exposure.psf_fault)
    unit = np.ones((1, 1))
    with pytest.warns(DecorrWarning, match="the result has no PSF"):
        decorrelate(exposure, exposure, exposure, unit)


@pytest.mark.parametrize(
    ("tree", "model", "says"),
    [
        ({}, "visit_image-2.0.0", r"image\.fits: is of schema visit_image-2\.0\.0; only versions 1\.x are"),
        ({"schema_version": "2.1.0"}, "visit_image-1.4.0", r"\[JSON\]: the tree is of schema version 2\.1\.0;"),
        (
            {"schema_url": f"{SCHEMAS}/visit_image-1.7.0", "schema_version": "1.7.0", "min_read_version": 2},
            "visit_image-1.7.0",
            r"image\.fits\[JSON\]: the tree is of schema visit_image 1\.7\.0; only versions 1\.x are understood",
        ),
        (b"{", "visit_image-3.0.0", r"is of schema visit_image-3\.0\.0"),
    ],
)
def test_newer_schemas_are_refused(path: Path, tree: Any, model: str, says: str) -> None:
    """Nobody knows what their planes will mean, and it is the tree that says who may read it."""
    with pytest.raises(InputError, match=says):
        read_exposure(write_file(path, tree, model=model))


def test_exposure_without_a_psf(path: Path) -> None:
    exposure = read_exposure(write_file(path, {"psf": None}))
    assert exposure.psf is None
    assert exposure.psf_fault is None


def test_masks_of_more_than_31_planes_are_not_lost_silently(path: Path) -> None:
    """The package writes the planes beyond the first 31 to another HDU."""
    with pytest.warns(DecorrWarning, match=r"\[MASK,2\] in the same file are left out"):
        exposure = read_exposure(write_file(path, {}, image_hdu(MASK, "MASK", 2, MSKN0031="BAD", MSKM0031=1)))
    assert exposure.mask_planes == {"SAT": 0, "DETECTED": 3}


@needs_lsst_images
def test_files_that_the_package_wrote() -> None:
    """Planes as they were simulated: noise, a transient under DETECTED, missing pixels."""
    science, template, difference = (
        read_exposure(LSST_IMAGES / f"{n}.fits") for n in ("science", "template", "difference")
    )
    for exposure, variance in ((science, 100), (template, 400)):
        assert exposure.xy0 == (2000, 1000)
        assert np.nanmedian(exposure.variance) == pytest.approx(variance, rel=1e-3)
        assert exposure.psf.shape == (33, 33)
        x = np.arange(33) - 16
        assert np.sqrt((exposure.psf.sum(axis=0) * x**2).sum()) == pytest.approx(1.8, rel=1e-3)
    assert has_plane(difference, "NO_DATA").sum() == 120
    assert np.isnan(difference.image[has_plane(difference, "NO_DATA")]).all()
    assert has_plane(difference, "DETECTED")[140, 150]
    assert {"SAT", "INTRP", "CR", "EDGE", "SUSPECT", "UNMASKED_NAN", "HIGH_VARIANCE"} <= set(difference.mask_planes)


@needs_lsst_images
def test_released_difference_is_noticed() -> None:
    """It is decorrelated already; the one that is not goes without a warning, and its transient keeps its flux."""
    # The package's own kernel in the middle, for correlation.
    kernel = fits.getdata(LSST_IMAGES / "kernel_truth.fits", 2)[::-1, ::-1]
    files = [str(LSST_IMAGES / f"{name}.fits") for name in ("science", "template")]
    raw = decorrelate(*files, str(LSST_IMAGES / "difference.fits"), kernel)
    assert not raw.warnings
    at = np.s_[130:151, 140:161]
    before = read_exposure(LSST_IMAGES / "difference.fits").image[at].sum()
    # The noise of a sum over 21 x 21 pixels; its variances are known.
    sigma = np.sqrt((100 + 400 * kernel.sum() ** 2) * 21**2)
    assert raw.exposure.image[at].sum() == pytest.approx(before, abs=3 * sigma)
    assert not (has_plane(raw.exposure, "DECORR_BAD") & has_plane(raw.exposure, "DETECTED")).any()
    with pytest.warns(DecorrWarning):
        released = decorrelate(*files, str(LSST_IMAGES / "difference_decorrelated.fits"), kernel)
    assert any("correlat" in str(text) for text in released.warnings)
