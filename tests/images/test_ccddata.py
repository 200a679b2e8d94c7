"""Exposures as astropy's CCDData, and back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy import units
from astropy.io import fits
from astropy.nddata import CCDData, InverseVariance, StdDevUncertainty, UnknownUncertainty, VarianceUncertainty
from astropy.wcs import WCS

from diffim_decorr import Exposure, InputError, decorrelate, read_exposure, read_kernel
from support.files import make_inputs

SHAPE = (6, 8)
IMAGE = np.arange(48.0).reshape(SHAPE)
VARIANCE = 1.0 + IMAGE % 7
CARDS = {
    "CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRPIX1": 4.5, "CRPIX2": 3.5, "CRVAL1": 150.1, "CRVAL2": 2.2,
    "CD1_1": -5.5e-5, "CD1_2": 1e-6, "CD2_1": 1e-6, "CD2_2": 5.5e-5, "CUNIT1": "deg", "CUNIT2": "deg",
}  # fmt: skip


@pytest.mark.parametrize(
    "uncertainty",
    [
        VarianceUncertainty(VARIANCE),
        StdDevUncertainty(np.sqrt(VARIANCE)),
        InverseVariance(1 / VARIANCE),
        StdDevUncertainty(1e-3 * np.sqrt(VARIANCE), unit="kadu"),
    ],
)
def test_uncertainties(uncertainty: Any) -> None:
    exposure = Exposure.from_ccddata(CCDData(IMAGE, unit="adu", uncertainty=uncertainty))
    np.testing.assert_allclose(exposure.variance, VARIANCE, rtol=1e-12)
    np.testing.assert_array_equal(exposure.image, IMAGE)
    assert exposure.mask is None
    assert exposure.header["BUNIT"] == "adu"


def test_no_weight_is_an_unknown_variance() -> None:
    weights = np.ones(SHAPE)
    weights[2, 3] = 0
    exposure = Exposure.from_ccddata(CCDData(IMAGE, unit="adu", uncertainty=InverseVariance(weights)))
    assert np.argwhere(np.isnan(exposure.variance)).tolist() == [[2, 3]]


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (CCDData(IMAGE, unit="adu", uncertainty=UnknownUncertainty(VARIANCE)), "UnknownUncertainty"),
        (CCDData(np.ones(5), unit="adu"), "must hold a 2-D image"),
        (CCDData(IMAGE, unit="adu", flags=IMAGE, meta={"MP_SAT": 1}), "flags are of type float64"),
    ],
)
def test_what_is_no_exposure(data: CCDData, says: str) -> None:
    with pytest.raises(InputError, match=f"mine: .*{says}"):
        Exposure.from_ccddata(data, "mine")


def test_masks() -> None:
    marked = np.zeros(SHAPE, bool)
    marked[1, 2] = True
    exposure = Exposure.from_ccddata(CCDData(IMAGE, unit="adu", mask=marked))
    assert exposure.mask_planes == {"BAD": 0}
    np.testing.assert_array_equal(exposure.mask, marked)
    flags = np.zeros(SHAPE, "i2")
    flags[3, 3] = 1 << 4
    exposure = Exposure.from_ccddata(
        CCDData(IMAGE, unit="adu", mask=marked, flags=flags, meta={"MP_SAT": 4, "MP_DETECTED": 5})
    )
    assert exposure.mask_planes == {"SAT": 4, "DETECTED": 5}
    np.testing.assert_array_equal(exposure.mask, flags)


def test_wcs_of_the_object_counts() -> None:
    """CCDData.read takes the WCS out of the header, and slicing changes it."""
    wcs = WCS(fits.Header(CARDS))
    whole = Exposure.from_ccddata(CCDData(IMAGE, unit="adu", wcs=wcs))
    part = Exposure.from_ccddata(CCDData(IMAGE, unit="adu", wcs=wcs, meta=fits.Header(CARDS))[2:, 3:])
    for exposure, x0, y0 in ((whole, 0, 0), (part, 3, 2)):
        sky = WCS(exposure.header).all_pix2world(1.0, 2.0, 0)
        np.testing.assert_allclose(sky, wcs.all_pix2world(1.0 + x0, 2.0 + y0, 0), rtol=1e-13)


def test_round_trip_of_a_result(tmp_path: Path) -> None:
    make_inputs(tmp_path)
    names = [str(tmp_path / f"{name}.fits") for name in ("sci", "tmpl", "diff")]
    psf = fits.getdata(tmp_path / "psf.fits").astype(float)
    result = decorrelate(*map(read_exposure, names), read_kernel(tmp_path / "kernel.fits"), psf=psf).exposure
    data = result.to_ccddata()
    assert data.unit == units.adu
    np.testing.assert_array_equal(data.uncertainty.array, result.variance)
    np.testing.assert_array_equal(data.data, result.image)
    np.testing.assert_array_equal(data.psf, result.psf)
    unusable = sum(1 << result.mask_planes[p] for p in ("NO_DATA", "SAT", "CR", "BAD", "EDGE", "DECORR_BAD"))
    np.testing.assert_array_equal(data.mask, (result.mask & unusable) != 0)
    assert data.mask[10, 12]
    assert data.mask[20, 30:34].all()
    assert not data.mask.all()
    before = WCS(fits.getheader(names[2]))
    np.testing.assert_array_equal(data.wcs.all_pix2world(7, 30, 0), before.all_pix2world(7, 30, 0))
    back = Exposure.from_ccddata(data)
    for plane in ("image", "variance", "mask", "psf"):
        np.testing.assert_array_equal(getattr(back, plane), getattr(result, plane))
    assert back.mask_planes == result.mask_planes
    wanted = {str(card) for card in result.header.cards}
    assert wanted <= {str(card) for card in back.header.cards}
    # It is a copy.
    data.data[:] = 0
    data.uncertainty.array[:] = 0
    assert result.image.any()
    assert np.nanmin(result.variance) > 0
    # What the pixels are masked for is the user's choice, and astropy can write the file.
    assert result.to_ccddata(masked=["SAT"]).mask.sum() == 4 + 1  # and the missing pixel
    assert result.to_ccddata(unit="electron").unit == units.electron
    data.write(tmp_path / "ccd.fits", as_image_hdu=False)
    assert CCDData.read(tmp_path / "ccd.fits").shape == result.shape


def test_bare_arrays() -> None:
    data = Exposure(IMAGE, header=fits.Header({"BUNIT": "furlong"})).to_ccddata()
    assert data.unit == units.dimensionless_unscaled
    assert data.uncertainty is data.wcs is data.flags is None
    assert not data.mask.any()


@pytest.mark.parametrize("card", [{"MASKVAL": 1e-30}, {}])
def test_pixels_without_data_stay_so(card: dict[str, Any], path: Path) -> None:
    """Those that HOTPANTS filled, and areas of zeros: masked there, and no data here whatever becomes of the card."""
    image = np.random.default_rng(5).normal(0, 2, (60, 80)).astype("f4")
    image[40:, 60:] = card.get("MASKVAL", 0.0)
    fits.writeto(path, image, fits.Header({**card, "BUNIT": "adu"}))
    exposure = read_exposure(path)
    data = exposure.to_ccddata()
    assert np.array_equal(data.mask, image == image[50, 70])
    for back in (Exposure.from_ccddata(data), Exposure.from_ccddata(CCDData(data.data, unit="adu", mask=data.mask))):
        np.testing.assert_array_equal(back.usable(), exposure.usable())
