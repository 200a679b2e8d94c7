"""The variance is calibrated on half of the pixels, and judged on the other."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from diffim_decorr import Exposure, Result, decorrelate
from diffim_decorr.calibrate import shrunk
from support.command import refused, told
from support.files import INPUTS, make_inputs, sound
from support.kernels import gaussian
from support.reference import convolved

SHAPE = (768, 896)
KERNEL = gaussian(11, 1.2)
#: What the variance planes do not say: more noise to the right, and a bump.
Y, X = np.indices(SHAPE)
TRUTH = 1 + 0.5 * X / SHAPE[1] + 0.3 * np.exp(-0.5 * ((X - 300) ** 2 + (Y - 400) ** 2) / 150.0**2)


def made(truth: np.ndarray | float, seed: int = 3, shape: tuple[int, int] = SHAPE, **options: object) -> Result:
    """A difference whose noise has a variance of truth times that of the planes."""
    rng = np.random.default_rng(seed)
    science, template = (rng.normal(size=shape) * np.sqrt(truth) for _ in range(2))
    difference = science - convolved(template, KERNEL)
    inputs = [Exposure(image, 1.0, name=name) for image, name in ((science, "science"), (template, "template"))]
    options = {"threads": 1, **options}
    return decorrelate(*inputs, Exposure(difference, name="difference"), KERNEL, **options)


def test_auto_calibrates_where_noise_is_measured() -> None:
    shape = (300, 320)
    assert made(1.0, shape=shape).record.noise.calibration is None
    assert not made(1.0, shape=shape).qa.held_back
    measured = made(1.0, shape=shape, noise="measured")
    assert measured.record.noise.calibration == pytest.approx(1, abs=0.05)
    assert measured.qa.held_back
    as_it_is = made(1.0, shape=shape, noise="measured", calibrate="none")
    assert as_it_is.record.noise.calibration is None
    # The filter was made on half of the pixels all the same.
    assert as_it_is.qa.held_back
    np.testing.assert_allclose(
        measured.exposure.variance, as_it_is.exposure.variance * measured.record.noise.calibration, rtol=1e-5
    )


def test_variances_that_are_wrong_everywhere() -> None:
    result = made(1.3, calibrate="global")
    # 1.17 · 2/√N of half of the pixels.
    assert result.record.noise.calibration == pytest.approx(1.3, abs=1.3 * 4 * 2.34 / np.sqrt(X.size / 2))
    assert result.qa.snr_std == pytest.approx(1, abs=4 * 1.17 * np.sqrt(2) / np.sqrt(X.size / 2))
    assert any("1.30 times what the variances of the inputs explain, to which" in text for text in result.warnings)
    assert result.qa.pixels_used == pytest.approx(X.size / 2, rel=0.1)


def test_variances_beyond_belief_are_left() -> None:
    result = made(5.0, calibrate="global")
    assert result.record.noise.calibration == 1
    assert any("the variance plane is left at the latter" in text for text in result.warnings)
    assert result.verdict.status == "fail"


def test_half_of_the_pixels_are_held_back() -> None:
    """A figure that is 1 where it was made so, and not where it was not."""
    shape = (256, 256)
    halves = np.add.outer(np.arange(256) // 64, np.arange(256) // 64) % 2
    result = made(np.where(halves == 0, 1.2, 1.0), shape=shape, calibrate="global")
    assert result.record.noise.calibration == pytest.approx(1.2, abs=0.06)
    assert result.qa.snr_std == pytest.approx(1.2**-0.5, abs=0.03)


def test_variances_that_vary() -> None:
    result = made(TRUTH, calibrate="local")
    product = result.product.calibration
    assert product is not None
    found = product.at(np.arange(SHAPE[0]), np.arange(SHAPE[1]))
    # The error of a cell of 128 pixels, of which half count, is 2.6 %, and 1 % of a sum over 3 x 3, which smears a bump
    # of 150 pixels by a fourth, 0.07 at its middle, and has the slope to one side only at the borders.
    assert np.std(found / TRUTH) < 0.04
    assert np.abs(found / TRUTH - 1).max() < 0.12
    everywhere = made(TRUTH, calibrate="global")
    # Half of the spread of the variance.
    assert everywhere.qa.cell_spread.value > 0.04
    assert result.qa.cell_spread.value < 0.02
    assert result.qa.snr_std == pytest.approx(1, abs=0.01)
    # Of what was smoothed, and shrunk.
    spread = np.std(TRUTH / TRUTH.mean())
    assert 0.7 * spread < result.record.noise.calibration_spread < 1.1 * spread


@pytest.mark.parametrize("seed", range(3))
def test_chance_is_not_followed(seed: int) -> None:
    """Where the variances are right a map would only make them wrong."""
    result = made(1.0, seed=30 + seed, calibrate="local")
    assert result.product.calibration is None
    assert result.record.noise.calibration_spread is None
    assert result.warnings == []


def test_on_a_small_image_it_says_that_there_are_too_few_cells() -> None:
    result = made(1.0, shape=(200, 220), calibrate="local")
    assert any("--calibrate local: the image has room for 4 cells of 128 pixels only" in w for w in result.warnings)
    assert result.record.noise.calibration == pytest.approx(1, abs=0.1)


def test_with_too_few_pixels_it_is_left_as_it_is() -> None:
    result = made(1.0, shape=(30, 40), calibrate="global")
    assert result.record.noise.calibration is None
    assert any("too few source-free pixels to calibrate" in text for text in result.warnings)


def test_the_same_with_any_number_of_threads() -> None:
    one, other = (made(TRUTH[:400, :400], shape=(400, 400), calibrate="local", threads=n) for n in (1, 3))
    np.testing.assert_array_equal(one.exposure.variance, other.exposure.variance)


def test_cells_are_shrunk_by_their_errors() -> None:
    rng = np.random.default_rng(7)
    counts = np.full((20, 20), 4000.0)
    error = 2.33 / np.sqrt(counts)
    assert shrunk(1 + error * rng.normal(size=counts.shape), counts) is None
    truth = 1 + 0.2 * np.sin(np.arange(20) / 3)
    found = shrunk(truth * (1 + error * rng.normal(size=counts.shape)), counts)
    assert found is not None
    assert np.std(found - truth / truth.mean()) < 0.5 * error[0, 0]
    # A few cells that nothing is known of are as those around.
    holes = truth * (1 + error * rng.normal(size=counts.shape))
    holes[5:7, 5:7] = np.nan
    filled = shrunk(holes, np.where(np.isfinite(holes), counts, 0))
    assert filled is not None
    assert np.isfinite(filled).all()
    np.testing.assert_allclose(filled[5:7, 5:7], np.broadcast_to(truth[5:7], (2, 2)), atol=0.1)


def test_it_is_stored(tmp_path: Path) -> None:
    rng = np.random.default_rng(4)
    make_inputs(tmp_path, (400, 500))
    with fits.open(tmp_path / "diff.fits", mode="update") as hdus:
        hdus[0].data[:, 250:] += (2 * rng.normal(size=(400, 250))).astype("f4")
    said = told(tmp_path, "run", *INPUTS, "--calibrate", "local", "-o", "out.fits")
    assert said["qa"]["held_back"] is True
    assert said["noise"]["calibration_spread"] > 0.1
    sound(tmp_path / "out.fits")
    with fits.open(tmp_path / "out.fits") as hdus:
        found = hdus["CALIBRATION"]
        assert "BUNIT" not in found.header
        assert found.header["CTYPE1"] == "RA---TAN"
        assert np.median(found.data[:, 350:]) > 1.3 * np.median(found.data[:, :150])
        assert hdus[0].header["DCOVCAL"] == "local"
        assert hdus[0].header["DCHELD"] is True
        assert hdus[0].header["DCVCSPR"] == pytest.approx(said["noise"]["calibration_spread"], rel=1e-5)


def test_likelihood_images_are_not_calibrated(tmp_path: Path) -> None:
    make_inputs(tmp_path)
    line = ("run", *INPUTS, "--pre-conv-kernel", "psf.fits", "--score", "--calibrate", "global", "-o", "out.fits")
    refused(tmp_path, "--calibrate has no meaning with --score", *line, status=2)
