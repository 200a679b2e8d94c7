"""Images on the scale of asinh magnitudes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from diffim_decorr import DecorrWarning, InputError, decorrelate, read_exposure
from support.command import OUT, quickly
from support.files import INPUTS, image_hdu, write_hdus
from support.noise import noise_pair

CARDS = {"BOFFSET": 0.3, "BSOFTEN": 60.0}
LINEAR = noise_pair(5, (60, 70), 20.0**2, 1.0)[0] + 1e5 * (np.arange(70) == 33)


def scaled(pixels: np.ndarray) -> np.ndarray:
    """As Pan-STARRS documents it: in magnitudes, 2.5 log10(e) each."""
    x = (pixels - CARDS["BOFFSET"]) / (2 * CARDS["BSOFTEN"])
    return (2.5 * np.log10(np.e) * np.log(x + np.sqrt(x**2 + 1))).astype("f4")


@pytest.mark.parametrize("compressed", [False, True])
def test_pixels_are_made_linear(path: Path, compressed: bool) -> None:
    kind = fits.CompImageHDU if compressed else fits.ImageHDU
    lossless = {"compression_type": "GZIP_2", "quantize_level": 0} if compressed else {}
    hdu = kind(scaled(LINEAR), **lossless)
    hdu.header.update(CARDS)
    fits.HDUList([fits.PrimaryHDU(), hdu]).writeto(path)
    with pytest.warns(DecorrWarning, match="BSOFTEN and BOFFSET, and are made linear"):
        exposure = read_exposure(path)
    # A float32 has 24 bits, of a number of up to 8 magnitudes.
    np.testing.assert_allclose(exposure.image, LINEAR, rtol=8 * 2.0**-22, atol=120 * 2.0**-23)


def test_companions_by_their_own_cards(path: Path) -> None:
    variance = np.full(LINEAR.shape, 400.0)
    write_hdus(path, image_hdu(LINEAR, "SCI"), image_hdu(scaled(variance), "VAR", **CARDS))
    with pytest.warns(DecorrWarning, match=r"\[VAR\]: its pixels are scaled with asinh"):
        exposure = read_exposure(path)
    np.testing.assert_array_equal(exposure.image, LINEAR)
    np.testing.assert_allclose(exposure.variance, variance, rtol=1e-5)


def test_linear_pixels_with_cards_that_were_left(path: Path) -> None:
    fits.writeto(path, LINEAR, fits.Header(CARDS))
    with pytest.warns(DecorrWarning, match=r"BSOFTEN .* 1\.00\de\+05, which is none: it is taken for linear"):
        np.testing.assert_array_equal(read_exposure(path).image, LINEAR)


@pytest.mark.parametrize("cards", [{"BSOFTEN": 60.0}, {"BOFFSET": 0.0}, {**CARDS, "BSOFTEN": "x"}])
def test_cards_that_are_not_complete(path: Path, cards: dict[str, object]) -> None:
    fits.writeto(path, scaled(LINEAR), fits.Header(cards))
    with pytest.raises(InputError, match=r"image\.fits: BSOFTEN and BOFFSET .* linear scale"):
        read_exposure(path)


def test_difference_that_has_inherited_the_cards(folder: Path) -> None:
    """A difference is never scaled so, whatever its header has from the template."""
    with fits.open(folder / "diff.fits", mode="update") as hdus:
        hdus[0].header.update(CARDS)
    assert quickly(folder, "run", *INPUTS, *OUT).stderr == ""
    plain = decorrelate(*(str(folder / name) for name in ("sci.fits", "tmpl.fits", "diff.fits", "kernel.fits")))
    assert not plain.warnings
    np.testing.assert_array_equal(plain.exposure.image, fits.getdata(folder / "out.fits", "IMAGE"))
