"""The score of any difference image: every figure against what it has to be."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from scipy.ndimage import gaussian_filter

from diffim_decorr import Exposure, assess
from diffim_decorr.qa.peaks import count_peaks, expected_peaks, matched_filter
from diffim_decorr.qa.power import spectrum_of
from support.kernels import gaussian
from support.noise import PLANES, exposures, noise_pair, white
from support.reference import convolved

SHAPE = (520, 610)


def noise(seed: int, shape: tuple[int, int] = SHAPE) -> np.ndarray:
    return white(np.random.default_rng(seed), shape)


def test_perfect_noise_is_ok_and_every_figure_is_as_expected() -> None:
    found = assess(Exposure(noise(1), np.ones(SHAPE)))
    assert found.verdict.status == "ok"
    assert not found.warnings
    for name, figure in found.figures.items():
        if np.isfinite(figure.error) and figure.error > 0 and not name.endswith("_5"):
            # 30 figures: 4.5 σ of a Gaussian, with room for the skewed ones.
            assert abs(figure.value - figure.expected) < 5 * figure.error, name


def test_correlation_function_is_that_of_the_noise() -> None:
    """Of noise filtered with a kernel it is the kernel's autocorrelation, at every lag to 20."""
    kernel = gaussian(9, 1.0)
    image = convolved(noise(2), kernel)
    found = assess(Exposure(image, np.full(SHAPE, (kernel**2).sum())))
    padded = np.pad(kernel, 16)
    auto = convolved(np.pad(padded, 20), padded[::-1, ::-1])
    middle = auto.shape[0] // 2
    truth = auto[middle - 20 : middle + 21, middle - 20 : middle + 21]
    truth = truth / truth[20, 20]
    # The error of a correlation is √(Σ ρ²) / √N at most (Bartlett 1946).
    error = np.sqrt((truth**2).sum() / found.score.pairs.min())
    np.testing.assert_allclose(found.score.rho, truth, atol=5 * error)
    assert found.figures["rho_1.x"].value == pytest.approx(truth[20, 21], abs=5 * error)
    assert found.figures["rho_1.diagonal"].value == pytest.approx(truth[21, 21], abs=5 * error)
    assert found.verdict.status == "fail"
    assert "decorr run" in str(found.verdict)


def test_directions_are_told_apart() -> None:
    image = noise(3)
    image[:, 1:] += image[:, :-1].copy()
    found = assess(Exposure(image, np.full(SHAPE, 2.0))).figures
    assert found["rho_1.x"].value == pytest.approx(0.5, abs=0.02)
    assert found["rho_1.y"].value == pytest.approx(0, abs=0.02)


def test_variances_that_are_wrong_show_in_the_scatter() -> None:
    found = assess(Exposure(noise(4), np.full(SHAPE, 1.44)))
    assert found.figures["snr_std"].value == pytest.approx(1 / 1.2, rel=5 * 1.1664 / np.sqrt(520 * 610))
    assert any(reason.figure == "snr_std" for reason in found.verdict.reasons)


def test_noise_that_varies_shows_in_cells_and_their_spread() -> None:
    image = noise(5)
    image[:, 305:] *= 1.3
    found = assess(Exposure(image, np.ones(SHAPE)))
    cells = found.score.cells
    assert cells.snr_std.shape == cells.rho_1.shape == cells.level.shape == (9, 10)
    # 4096 pixels a cell.
    assert cells.snr_std[1, 1] == pytest.approx(1.0, abs=5 * 1.1664 / 64)
    assert cells.snr_std[1, -2] == pytest.approx(1.3, abs=5 * 1.3 * 1.1664 / 64)
    assert found.figures["cell_spread"].value == pytest.approx(0.3 / 2.3, rel=0.2)


def test_a_background_is_measured_and_told() -> None:
    """Level and differences between opposite borders, in units of the noise of a pixel."""
    y, x = np.indices(SHAPE)
    image = noise(6) + 0.4 + 0.8 * (x / SHAPE[1] - 0.5) - 0.5 * (y / SHAPE[0] - 0.5)
    found = assess(Exposure(image, np.ones(SHAPE)))
    for name, truth in (("level", 0.4), ("gradient_x", 0.8), ("gradient_y", -0.5)):
        figure = found.figures[f"background.{name}"]
        # Cells at the borders are cut: their middles are not where a grid has them.
        assert figure.value == pytest.approx(truth, abs=5 * figure.error + 0.03), name
        assert any(reason.figure == f"background.{name}" for reason in found.verdict.reasons)


def test_peaks_are_those_of_noise_and_sources_are_found_on_top() -> None:
    psf = gaussian(13, 1.6)
    image = noise(7)
    places = [(40 + 60 * (k // 8), 50 + 70 * (k % 8)) for k in range(64)]
    for py, px in places:
        # 5.5 times the error of the flux, each.
        image[py - 6 : py + 7, px - 6 : px + 7] += 5.5 / np.sqrt((psf**2).sum()) * psf
    found = assess(Exposure(image, np.ones(SHAPE)), psf=psf)
    above, below = found.figures["peaks.above_4"], found.figures["peaks.below_4"]
    assert below.value == pytest.approx(below.expected, abs=5 * below.error)
    # Φ(5.5 - 4) of them lie above 4 σ at their own pixel, and a few more at one beside it.
    assert above.value - above.expected == pytest.approx(61, abs=5 * np.hypot(above.error, 2.0))
    assert any(reason.figure == "peaks.above_4" for reason in found.verdict.reasons)


def test_expected_peaks_are_what_noise_has() -> None:
    """4 million pixels of white noise, filtered with the PSF."""
    psf = gaussian(13, 1.5)
    image = noise(8, (2000, 2000)).astype("f4")
    use = np.ones(image.shape, bool)
    snr, known = matched_filter(image, np.ones_like(image), use, psf)
    assert snr[known].std() == pytest.approx(1, abs=0.005)
    for threshold in (3.0, 4.0):
        expected = known.sum() * expected_peaks(psf, threshold)
        assert count_peaks(snr, known, threshold) == pytest.approx(expected, abs=4 * expected**0.5)


def test_matched_filter_by_hand() -> None:
    """Σ φ D/V / sqrt(Σ φ²/V), with a PSF that is not symmetric, and pixels that are left out."""
    rng = np.random.default_rng(9)
    image, variance = noise(9, (40, 50)), rng.uniform(1, 2, (40, 50))
    psf = gaussian(7, (1.5, 1.0), 30)
    psf[0, 6] += 0.05
    use = rng.uniform(size=image.shape) > 0.02
    snr, known = matched_filter(image, variance, use, psf)
    for y, x in [(10, 12), (20, 30), (30, 44)]:
        stamp = np.s_[y - 3 : y + 4, x - 3 : x + 4]
        weight = use[stamp] / variance[stamp]
        expected = (psf * image[stamp] * weight).sum() / np.sqrt((psf**2 * weight).sum())
        if known[y, x]:
            assert snr[y, x] == pytest.approx(expected, rel=1e-9)
    assert known[10:30, 10:40].any()
    assert not known[~use].any()
    # Next to the border less than nine tenths of the PSF lie in the image.
    assert not known[:, 0].any()


def test_spectrum_of_a_correlation_function() -> None:
    """Of the exact autocorrelation of a narrow kernel it is |κ(k)|² under the lag window."""
    kernel = np.outer([0.25, 0.5, 0.25], [0.25, 0.5, 0.25])
    auto = np.outer(*[np.convolve([0.25, 0.5, 0.25], [0.25, 0.5, 0.25])] * 2)
    rho = np.zeros((41, 41))
    rho[18:23, 18:23] = auto / auto[2, 2]
    spectrum = spectrum_of(rho, np.full(rho.shape, 1e6), rho)
    np.testing.assert_allclose(spectrum.power, spectrum.model)
    k = np.fft.fftfreq(256)
    power = np.abs(np.fft.fft2(kernel, (256, 256))) ** 2
    radius = np.hypot(*np.meshgrid(k, k))
    ring = (radius > 0.15) & (radius < 0.17)
    at = np.interp(radius[ring].mean(), spectrum.frequency, spectrum.power)
    # The lag window smooths over 0.05 cycles per pixel; the spectrum is steep.
    assert at == pytest.approx(power[ring].mean() / (kernel**2).sum(), rel=0.15)
    assert (spectrum.error > 0).all()


def test_errors_of_the_spectrum_are_those_of_noise() -> None:
    """Over many images the squared deviations from white, in units of the error, are 1 on average."""
    found = [
        assess(Exposure(noise(100 + k, (200, 220)), np.ones((200, 220)))).figures["spectrum_chi2"] for k in range(40)
    ]
    error = np.mean([figure.error for figure in found]) / np.sqrt(len(found))
    assert np.mean([figure.value for figure in found]) == pytest.approx(1, abs=4 * error)


def test_residuals_of_sources() -> None:
    """A tenth of the flux of all stars is left in the difference."""
    rng = np.random.default_rng(10)
    stars = np.zeros(SHAPE)
    stars[rng.integers(20, 500, 60), rng.integers(20, 590, 60)] = 3000
    stars = gaussian_filter(stars, 1.5)
    science = Exposure(noise(11) + stars, np.ones(SHAPE))
    found = assess(Exposure(noise(12) + 0.1 * stars, np.ones(SHAPE)), science=science)
    residual = found.figures["residual"]
    # What is below the threshold of the source mask is not counted.
    assert residual.value == pytest.approx(0.1, abs=5 * residual.error + 1e-3)
    assert any(reason.figure == "residual" for reason in found.verdict.reasons)
    clean = assess(Exposure(noise(12), np.ones(SHAPE)), science=science)
    assert clean.figures["residual"].value == pytest.approx(0, abs=5 * residual.error)
    assert clean.verdict.status == "ok"


def test_the_model_of_a_raw_difference() -> None:
    """With kernel and variances the spectrum has to be the model's; with another kernel it is not."""
    kernel = gaussian(15, 1.4)
    science, template = noise_pair(13, SHAPE, 1.0, 2.0)
    images = exposures(science, template, science - convolved(template, kernel), 1.0, 2.0)
    raw = Exposure(images[2].image, np.full(SHAPE, 1 + 2 * (kernel**2).sum()))
    given = {"science": images[0], "template": images[1]}
    right = assess(raw, kernel=_kernel(kernel), **given)
    assert right.figures["spectrum_chi2"].value < 1 + 5 * right.figures["spectrum_chi2"].error
    wrong = assess(raw, kernel=_kernel(gaussian(15, 2.2)), **given)
    assert wrong.figures["spectrum_chi2"].value > 20
    np.testing.assert_array_equal(right.score.rho, wrong.score.rho)


def _kernel(image: np.ndarray):
    from diffim_decorr import SpatialKernel

    return SpatialKernel.constant(image)


def test_masked_pixels_are_counted_by_plane_and_left_out() -> None:
    image, mask = noise(14), np.zeros(SHAPE, "i4")
    mask[100:140, 200:300] = 1 << PLANES["SAT"]
    image[100:140, 200:300] = 1e5
    mask[300, :] |= 1 << PLANES["CR"]
    image[5, 7] = np.nan
    found = assess(Exposure(image, np.ones(SHAPE), mask, mask_planes=PLANES))
    pixels = found.score.pixels
    assert pixels["planes"] == {**dict.fromkeys(PLANES, 0), "SAT": 4000, "CR": 610}
    assert pixels["without_data"] == 1
    assert pixels["all"] == 520 * 610
    assert pixels["flagged"] == pytest.approx((4000 + 610 + 1) / (520 * 610), abs=1e-9)
    assert found.verdict.status == "ok"


def test_before_and_after() -> None:
    kernel = gaussian(15, 1.4)
    before = convolved(noise(15), kernel)
    found = assess(Exposure(noise(16), np.ones(SHAPE)), before=Exposure(before))
    assert found.figures["max_abs_rho_before"].value == pytest.approx(np.exp(-1 / (4 * 1.4**2)), abs=0.02)
    assert found.figures["max_abs_rho"].value < 0.01


def test_the_fill_of_the_difference_before_is_no_noise() -> None:
    before = convolved(noise(15), gaussian(15, 1.4)) + 50
    before[:200] = 1e-30
    found = assess(Exposure(noise(16), np.ones(SHAPE)), before=Exposure(before, missing_value=1e-30))
    assert found.figures["max_abs_rho_before"].value == pytest.approx(np.exp(-1 / (4 * 1.4**2)), abs=0.03)


def test_kernels_and_psfs_by_the_names_of_their_files(tmp_path: Path) -> None:
    fits.writeto(tmp_path / "psf.fits", gaussian(13, 2.5))
    image = Exposure(noise(21), np.ones(SHAPE))
    by_name, by_array = (assess(image, psf=psf) for psf in (tmp_path / "psf.fits", gaussian(13, 2.5)))
    assert by_name.tree() == by_array.tree()
    assert by_name.figures["peaks.above_4"].expected != assess(image).figures["peaks.above_4"].expected


def test_too_few_pixels() -> None:
    found = assess(Exposure(noise(17, (25, 30)), np.ones((25, 30))))
    assert found.verdict.status == "check"
    assert np.isnan(found.figures["snr_std"].value)
    assert found.tree()["figures"]["max_abs_rho"]["value"] is None


def test_units_do_not_matter() -> None:
    """Images in erg/s/cm2/Hz, whose variances single precision does not hold."""
    image, unit = noise(19), 2.0**-82
    usual = assess(Exposure(image.astype("f4"), np.ones(SHAPE))).figures
    small = assess(Exposure((image * unit).astype("f4"), np.full(SHAPE, unit**2))).figures
    # Without a variance plane, the background's is measured in that unit, too.
    bare = assess(Exposure((image * unit).astype("f4"))).figures
    assert bare["max_abs_rho"].value == pytest.approx(usual["max_abs_rho"].value, rel=1e-3)
    for name, figure in usual.items():
        assert small[name].value == pytest.approx(figure.value, rel=1e-6, abs=1e-9), name


def test_threads_do_not_matter() -> None:
    image = Exposure(noise(18), np.ones(SHAPE))
    one, two = (assess(image, threads=n).tree() for n in (1, 3))
    assert one == two
