"""Reading how an image was resampled."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS

from diffim_decorr import Exposure, InputError, read_exposure, read_warp
from support.warped import Resampled, sky_headers

SHAPE = 100, 120
IMAGE = Resampled("bilinear", 1.0, SHAPE)


def files(folder: Path, image: Resampled = IMAGE, **cards: object) -> Exposure:
    """The image and, beside it, ``native.fits``; the cards are those of the latter."""
    now, before = sky_headers(image)
    before.update(cards)
    fits.writeto(folder / "image.fits", np.zeros(image.shape, "f4"), now)
    fits.writeto(folder / "native.fits", np.zeros(image.before, "f4"), before)
    return read_exposure(folder / "image.fits")


def test_places(tmp_path: Path) -> None:
    exposure = files(tmp_path)
    warp = read_warp(f"lanczos3:{tmp_path / 'native.fits'}", exposure)
    y, x = (axis.ravel() for axis in np.mgrid[:100:9, :120:11])
    assert np.allclose(warp.places.at(x, y), IMAGE.places(x, y), atol=2e-3)
    assert (warp.kind, warp.size) == ("lanczos3", IMAGE.before)
    assert np.array_equal(exposure.with_warps([warp]).warps, [warp])
    assert exposure.warps == ()


def test_drizzle(tmp_path: Path) -> None:
    exposure = files(tmp_path, Resampled("bilinear", 1.0, SHAPE, scale=0.35))
    warp = read_warp(f"drizzle,0.8:{tmp_path / 'native.fits'}[0]", exposure)
    assert warp.interpolation.pixfrac == 0.8
    assert warp.interpolation.scale == pytest.approx(0.35, rel=1e-4)


def test_distortions_take_part(tmp_path: Path) -> None:
    """Quadratic ones of the pixels before, which have no inverse in closed form."""
    exposure = files(tmp_path, CTYPE1="RA---TAN-SIP", CTYPE2="DEC--TAN-SIP", A_ORDER=2, A_2_0=2e-5, B_ORDER=2)
    warp = read_warp(f"bilinear:{tmp_path / 'native.fits'}", exposure)
    header = fits.getheader(tmp_path / "native.fits")
    x, y = np.array([3.0, 60, 110]), np.array([90.0, 50, 5])
    exact = WCS(header).all_world2pix(*WCS(exposure.header).all_pix2world(x, y, 0), 0)
    assert np.allclose(warp.places.at(x, y), exact, atol=0.005)
    assert np.abs(warp.places.at(x, y) - IMAGE.places(x, y)).max() > 0.01


@pytest.mark.parametrize("text", ["bilinaer:native.fits", "drizzle:native.fits", "drizzle,0:native.fits",
    "drizzle,x:native.fits", "bilinear,2:native.fits"])  # fmt: skip
def test_what_is_no_interpolation(tmp_path: Path, text: str) -> None:
    with pytest.raises(InputError, match="must be KIND:NATIVE with one of bilinear, lanczos3"):
        read_warp(text, files(tmp_path))


def refused(folder: Path, exposure: Exposure, kind: str = "bilinear") -> str:
    with pytest.raises(InputError) as error:
        read_warp(f"{kind}:{folder / 'native.fits'}", exposure)
    return str(error.value)


def test_without_wcs(tmp_path: Path) -> None:
    exposure = files(tmp_path)
    fits.writeto(tmp_path / "native.fits", np.zeros((90, 90), "f4"), overwrite=True)
    assert "its WCS does not tell where the pixels of" in refused(tmp_path, exposure)
    assert "its WCS does not tell" in refused(tmp_path, Exposure(np.zeros(SHAPE)))


def test_other_coordinates(tmp_path: Path) -> None:
    exposure = files(tmp_path, CTYPE1="GLON-TAN", CTYPE2="GLAT-TAN")
    assert "different systems of coordinates" in refused(tmp_path, exposure)


@pytest.mark.parametrize("declination", [10.1, -80.0])
def test_another_field(tmp_path: Path, declination: float) -> None:
    assert "it is of another field" in refused(tmp_path, files(tmp_path, CRVAL2=declination))


@pytest.mark.parametrize(("scale", "kind"), [(0.4, "bilinear"), (2.5, "lanczos3"), (0.2, "drizzle,1")])
def test_pixels_of_another_size(tmp_path: Path, scale: float, kind: str) -> None:
    said = refused(tmp_path, files(tmp_path, Resampled("bilinear", 1.0, SHAPE, scale=scale)), kind)
    assert f"pixels of {scale:.3g} times its" in said


@pytest.mark.parametrize("shift", [0.0, 3.0])
def test_the_image_itself(tmp_path: Path, shift: float) -> None:
    exposure = files(tmp_path, Resampled("bilinear", 0.0, SHAPE, shift=(0.0, 0.0)))
    with fits.open(tmp_path / "image.fits") as hdus:
        hdus[0].header["CRPIX1"] += shift
        hdus.writeto(tmp_path / "native.fits", overwrite=True)
    said = refused(tmp_path, exposure)
    assert "nothing was interpolated" in said
    assert ("moved by whole ones" in said) == (shift != 0)


def test_a_wcs_that_is_not_smooth(tmp_path: Path) -> None:
    exposure = files(tmp_path, CTYPE1="RA---TAN-SIP", CTYPE2="DEC--TAN-SIP",
        A_ORDER=9, A_9_0=1e-16, A_8_0=2e-14, B_ORDER=2)  # fmt: skip
    said = refused(tmp_path, exposure)
    assert "is not smooth" in said or "of another field" in said


def test_without_an_image(tmp_path: Path) -> None:
    exposure = files(tmp_path)
    table = fits.BinTableHDU.from_columns([fits.Column("A", "D", array=[1.0])])
    fits.HDUList([fits.PrimaryHDU(), table]).writeto(tmp_path / "native.fits", overwrite=True)
    assert "holds a 2-D image" in refused(tmp_path, exposure)
    with pytest.raises(InputError, match="holds no image"):
        read_warp(f"bilinear:{tmp_path / 'native.fits'}[0]", exposure)
