"""Whether an image agrees with what is expected of its noise."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from diffim_decorr import Exposure
from diffim_decorr.geometry import Box
from diffim_decorr.noise.local import Agreement, agreement_with, local_noise_of
from diffim_decorr.noise.plane_level import plane_level
from diffim_decorr.noise.windows import SourceFreeWindows
from support.warped import Resampled

SHAPE = 320, 300
IMAGE = Resampled("bilinear", 0.5, SHAPE)


def exposure_of(pixels: np.ndarray, variance: np.ndarray | None, image: Resampled = IMAGE) -> Exposure:
    return Exposure(pixels, variance, warps=[image.warp])


def agreement_of(exposure: Exposure) -> Agreement:
    local = local_noise_of(exposure)
    windows = SourceFreeWindows([exposure], (), 1)
    level = None if exposure.variance is None else plane_level(local.exposure, ())
    measured = windows.measure(local.exposure, level, local.structure)
    return agreement_with(local, measured, windows, level)


@pytest.mark.parametrize("plane", ["propagated", "smooth", "none"])
def test_noise_that_is_as_it_should_be(plane: str) -> None:
    noise = IMAGE.noise(np.random.default_rng(1))
    variance = {"propagated": IMAGE.variance, "smooth": np.full(SHAPE, 0.44), "none": None}[plane]
    found = agreement_of(exposure_of(noise, variance))
    assert found.remark is None
    assert abs(found.share - 1) < 4 * found.share_error < 0.2
    assert found.difference < 0.02


def test_shares_scatter_as_they_say() -> None:
    found = [agreement_of(exposure_of(IMAGE.noise(np.random.default_rng(s)), IMAGE.variance)) for s in range(20, 32)]
    pulls = np.array([(agreement.share - 1) / agreement.share_error for agreement in found])
    assert 0.4 < pulls.std() < 1.8
    assert abs(pulls.mean()) < 1.2


def test_another_wcs_than_that_of_the_resampling() -> None:
    """Turned the other way round."""
    noise = Resampled("bilinear", -0.5, SHAPE).noise(np.random.default_rng(2))
    remark = agreement_of(exposure_of(noise, None)).remark
    assert remark is not None
    assert "the WCS is not the one" in remark


@pytest.mark.parametrize("was", ["another kernel", "correlated before", "not resampled"])
def test_noise_of_another_correlation(was: str) -> None:
    rng = np.random.default_rng(3)
    if was == "another kernel":
        noise = Resampled("lanczos3", 0.5, SHAPE).noise(rng)
    elif was == "correlated before":
        noise = IMAGE.of(gaussian_filter(rng.standard_normal(IMAGE.before), 0.7))
    else:
        noise = rng.standard_normal(SHAPE)
    remark = agreement_of(exposure_of(noise, None)).remark
    assert remark is not None
    assert "interpolated otherwise" in remark


def test_the_structure_is_taken_out_of_a_plane_that_has_it() -> None:
    """A step of the depth stays, and so does what stars add."""
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    before = np.where(x < 150, 1.0, 2.5) + 300 * np.exp(-((x - 80) ** 2 + (y - 100) ** 2) / 18)
    image = np.zeros(SHAPE)
    whole = Box(0, 0, SHAPE[1], SHAPE[0])
    propagated, smooth = (
        local_noise_of(exposure_of(image, plane)).exposure.variance_plane for plane in (before * IMAGE.variance, before)
    )
    assert propagated is not None
    assert smooth is not None
    assert np.array_equal(smooth.read_all(), before)
    assert np.allclose(propagated.read_all(), before * (2 / 3) ** 2, rtol=0.02)
    assert np.array_equal(propagated.read_every(whole, (4, 3)), propagated.read_all()[::4, ::3])
    assert propagated.shape == SHAPE
    assert propagated.held(0, 5) is None


def test_nothing_but_a_shift() -> None:
    """The phase is the same everywhere, and the correlation not that of all phases."""
    image = Resampled("bilinear", 0.0, SHAPE, shift=(0.4, 0.2))
    found = agreement_of(exposure_of(image.noise(np.random.default_rng(4)), None, image))
    assert abs(found.share - 1) < 0.1
    assert found.remark is None


@pytest.mark.parametrize(("degrees", "scale"), [(20.0, 1.0), (0.0, 1.2)])
def test_beats_that_are_too_short(degrees: float, scale: float) -> None:
    image = Resampled("bilinear", degrees, SHAPE, scale=scale)
    remark = agreement_of(exposure_of(image.noise(np.random.default_rng(4)), None, image)).remark
    assert remark is not None
    assert "comes round within" in remark


def test_a_plane_without_variances_has_no_structure() -> None:
    local = local_noise_of(exposure_of(np.zeros(SHAPE), np.full(SHAPE, np.nan)))
    assert local.exposure.variance_plane is not None
    assert np.isnan(local.exposure.variance_plane.read_all()).all()
