"""Bad pixels of a variance plane."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from diffim_decorr import Exposure, decorrelate, read_exposure
from support.hole import KERNEL, SHAPE, SVAR, TVAR, images


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 0.0, -1.0, 1e30, 1e37, 1e-45, 1e-30, -1e-30])
@pytest.mark.parametrize("variance", ["full", "estimate"])
@pytest.mark.parametrize("whose", [0, 1])
def test_bad_pixels_of_a_variance_plane_stay_their_own_problem(value: float, variance: str, whose: int) -> None:
    """One bad variance must not spoil those of pixels that do not depend on it, nor the image."""
    science, template, difference = images()
    planes = [np.full(SHAPE, v, "f4") for v in (SVAR, TVAR)]
    good = decorrelate(
        Exposure(science, planes[0]), Exposure(template, planes[1]), Exposure(difference), KERNEL, variance=variance
    )
    planes[whose][75, 80] = value
    inputs = Exposure(science, planes[0]), Exposure(template, planes[1]), Exposure(difference)
    with np.errstate(over="ignore"):
        result = decorrelate(*inputs, KERNEL, variance=variance)
    np.testing.assert_allclose(result.exposure.image, good.exposure.image, atol=1e-4)
    half = max(result.psi.shape) // 2 + 8
    far = np.ones(SHAPE, bool)
    far[75 - half : 76 + half, 80 - half : 81 + half] = False
    np.testing.assert_allclose(result.exposure.variance[far], good.exposure.variance[far], rtol=1e-3)
    # An unknown variance is unknown afterwards, and nothing that was known is a worse one than nothing.
    own = result.exposure.variance[75, 80]
    assert not np.isfinite(own) or own > 0.5 * good.exposure.variance[75, 80]
    assert not (result.exposure.variance < 0).any()


def zeros_of_a_compression(rng: np.random.Generator, count: int) -> np.ndarray:
    """What a compression with losses makes of zeros: numbers within half a step of either sign."""
    return rng.uniform(-0.004, 0.004, count)


#: What stands in pixels without data, and whether the background's variance is taken for it; else there is none.
STAND_INS = {
    "0": (0.0, True),
    "negative": (-999.0, True),
    "minus infinity": (-np.inf, True),
    "smallest": (1e-45, True),
    "tiny": (1e-30, True),
    "negative tiny": (-1e-30, True),
    "compressed zeros": (zeros_of_a_compression, True),
    "a weight of 1e12": (1e-12, True),
    "infinity": (np.inf, False),
    "NaN": (np.nan, False),
    "1e30": (1e30, False),
    "1e9": (1e9, False),
}


@pytest.mark.parametrize(
    ("share", "options"),
    [(0.6, {}), (0.6, {"spatial": True}), (0.2, {"noise": "measured"}), (0.2, {"variance": "estimate"})],
)
@pytest.mark.parametrize("what", STAND_INS)
def test_areas_without_a_variance_spoil_nothing(what: str, options: dict[str, object], share: float) -> None:
    """Most of a plane may be without; the rest is as if all of it were good, and the run says what it does."""
    value, is_background = STAND_INS[what]
    science, template, difference = images()
    rng = np.random.default_rng(1)
    plane = rng.normal(SVAR, 0.02 * SVAR, SHAPE).astype("f4")
    good = decorrelate(Exposure(science, plane.copy()), Exposure(template, TVAR), Exposure(difference), KERNEL)
    area = np.zeros(SHAPE, bool)
    area[:, : int(share * SHAPE[1])] = True
    plane[area] = value(rng, int(area.sum())) if callable(value) else value
    inputs = Exposure(science, plane, name="sci.fits"), Exposure(template, TVAR), Exposure(difference)
    if options.get("noise") == "measured":
        # Measured on 25 000 pixels: 0.9 % for each of the variances.
        good = decorrelate(Exposure(science, SVAR), *inputs[1:], KERNEL, noise="measured")
        result = decorrelate(*inputs, KERNEL, noise="measured")
        assert result.record.noise.svar == pytest.approx(good.record.noise.svar, rel=0.01)
        assert result.record.noise.calibration == pytest.approx(good.record.noise.calibration, rel=0.02)
    else:
        result = decorrelate(*inputs, KERNEL, **options)
        # The mean over a part of the pixels.
        assert result.record.noise.svar == pytest.approx(SVAR, rel=4 * 0.02 / (0.3 * plane.size) ** 0.5)
    reach = max(result.psi.shape) // 2 + 8
    far = slice(None), slice(int(share * SHAPE[1]) + reach, None)
    after = result.exposure.variance
    if options != {"noise": "measured"}:
        assert np.median(after[far] / good.exposure.variance[far]) == pytest.approx(1, abs=0.003)
    own = after[:, : int(share * SHAPE[1])]
    if is_background:
        assert np.median(own) == pytest.approx(np.median(after[far]), rel=0.03)
    elif not np.isnan(value):
        assert np.isinf(own).all()
    else:
        assert np.isnan(own).all()
    assert any(w.startswith(f"sci.fits: {share:.1%} of the pixels") for w in result.warnings)


def test_a_plane_that_was_compressed_with_losses(tmp_path: Path) -> None:
    """The zeros of a real file: they come back as small numbers of both signs."""
    science, template, difference = images()
    plane = np.random.default_rng(2).normal(SVAR, 0.05 * SVAR, SHAPE).astype("f4")
    plane[:90] = 0
    plane[75:90, ::2] = 1e-3  # so that the step of no tile is undefined
    packed = fits.CompImageHDU(
        plane, compression_type="RICE_1", quantize_level=-0.02, quantize_method=1, dither_seed=3, tile_shape=(32, 170)
    )
    fits.HDUList([fits.PrimaryHDU(), packed]).writeto(tmp_path / "var.fits")
    fits.writeto(tmp_path / "sci.fits", science)
    stored = fits.getdata(tmp_path / "var.fits", 1)
    assert (stored[75:90] < 0).any()
    inputs = read_exposure(tmp_path / "sci.fits", variance=tmp_path / "var.fits"), Exposure(template, TVAR)
    result = decorrelate(*inputs, Exposure(difference), KERNEL)
    assert result.record.noise.svar == pytest.approx(SVAR, rel=0.005)
    assert np.median(result.exposure.variance[:60]) == pytest.approx(
        np.median(result.exposure.variance[-30:]), rel=0.01
    )


def test_planes_of_two_depths_are_believed() -> None:
    """A part of a mosaic that is a hundred times as deep, and bright stars, are no pixels without data."""
    science, template, difference = images()
    plane = np.full(SHAPE, SVAR, "f4")
    plane[:, 60:] *= 0.01
    plane[20:24, 20:24] = 1e5 * SVAR
    result = decorrelate(Exposure(science, plane), Exposure(template, TVAR), Exposure(difference), KERNEL)
    assert not any("have no variance" in w for w in result.warnings)
    assert np.isfinite(result.exposure.variance).all()
    assert result.exposure.variance[22, 22] > 1e4 * SVAR
