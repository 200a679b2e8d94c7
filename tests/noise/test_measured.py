"""Measured noise says where it can and where it cannot be measured, and white noise where it had better be."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from scipy.ndimage import gaussian_filter
from scipy.signal import fftconvolve

from diffim_decorr import Exposure, InputError, decorrelate
from diffim_decorr.noise.windows import SourceFreeWindows
from support.command import quickly
from support.files import write_exposure
from support.kernels import gaussian
from support.reference import convolved
from support.resampling import PAIRS, box


@pytest.mark.parametrize("spatial", [False, True])
@pytest.mark.parametrize("pair", [*PAIRS, "sharpened and white"])
def test_white_mode_says_when_the_correlation_of_inputs_matters(pair: str, spatial: bool) -> None:
    """It names the remedy, in both modes, whatever the sign of the correlation."""
    rng = np.random.default_rng(13)
    kernel = gaussian(15, 1.4)
    kernels = PAIRS.get(pair, (box(-0.3), np.ones((1, 1))))
    images = [fftconvolve(rng.normal(size=(500, 500)), by, "same") for by in kernels]
    inputs = [Exposure(image, 1.0, name=name) for image, name in zip(images, ("science", "template"), strict=True)]
    result = decorrelate(
        *inputs, Exposure(images[0] - fftconvolve(images[1], kernel, "same")), kernel, spatial=spatial, threads=1
    )
    assert result.qa.max_abs_rho_after > 0.05
    assert any("--noise measured" in warning for warning in result.warnings)


def plain(rng: np.random.Generator, structure: np.ndarray) -> tuple[Exposure, Exposure, Exposure, np.ndarray]:
    """White inputs with the same structure in both, which is not in their difference."""
    kernel = gaussian(11, 1.2)
    science, template = rng.normal(size=(2, *structure.shape))
    return (
        Exposure(science + fftconvolve(structure, kernel, "same"), 1.0, name="science"),
        Exposure(template + structure, 1.0, name="template"),
        Exposure(science - fftconvolve(template, kernel, "same"), name="difference"),
        kernel,
    )


def field(rng: np.random.Generator, scale: float, sigma: float) -> np.ndarray:
    values = gaussian_filter(rng.normal(size=(500, 500)), scale, mode="wrap")
    return values * sigma / values.std()


def test_a_correlation_of_structure_is_told() -> None:
    """Structure on scales of 20 pixels makes a plateau; on scales of 5 the result has less noise than the inputs."""
    rng = np.random.default_rng(8)
    wide = decorrelate(*plain(rng, field(rng, 20.0, 1.0)), noise="measured", half_width=15, threads=1)
    assert sum("cannot well be told from structure" in warning for warning in wide.warnings) == 2
    narrow = decorrelate(*plain(rng, field(rng, 5.0, 1.0)), noise="measured", half_width=15, threads=1)
    assert any("times what the noise measured on the inputs explains, to which" in w for w in narrow.warnings)
    assert narrow.qa.snr_std == pytest.approx(1, abs=0.02)
    nothing = decorrelate(*plain(rng, np.zeros((500, 500))), noise="measured", threads=1)
    assert nothing.warnings == []


def test_variances_that_nothing_explains_are_left() -> None:
    """The difference has four times the noise of its inputs."""
    rng = np.random.default_rng(9)
    science, template, difference, kernel = plain(rng, np.zeros((500, 500)))
    louder = Exposure(2 * difference.image, name="difference")
    result = decorrelate(science, template, louder, kernel, noise="measured", threads=1)
    assert any("the variance plane is left at the latter" in warning for warning in result.warnings)
    assert result.qa.snr_std == pytest.approx(2, abs=0.04)


def test_inputs_without_noise_to_measure() -> None:
    rng = np.random.default_rng(10)
    _, template, difference, kernel = plain(rng, np.zeros((500, 500)))
    with pytest.raises(InputError, match=r"^science: its background has no noise.*--noise white$"):
        decorrelate(Exposure(np.ones((500, 500)), 1.0, name="science"), template, difference, kernel, noise="measured")
    crowded = np.zeros((500, 500))
    crowded[tuple(rng.integers(0, 500, (2, 12000)))] = 10 ** rng.uniform(1.5, 4, 12000)
    scene = plain(rng, gaussian_filter(crowded, 1.3))
    with pytest.raises(InputError, match=r"(told from structure|source-free pixels).*--noise white$"):
        decorrelate(*scene, noise="measured")


@pytest.mark.parametrize(
    ("size", "structure", "status", "says"),
    [(48, 0.0, 3, "too few to measure the noise correlation from; use --noise white"), (400, 1.0, 0, "from structure")],
)
def test_the_command_says_what_to_do(tmp_path: Path, size: int, structure: float, status: int, says: str) -> None:
    rng = np.random.default_rng(14)
    science, template, difference, kernel = plain(rng, field(rng, 20.0, 1.0)[:size, :size] * structure)
    for name, exposure in (("sci", science), ("tmpl", template)):
        write_exposure(tmp_path / f"{name}.fits", exposure.image, np.ones(exposure.shape))
    fits.writeto(tmp_path / "diff.fits", difference.image.astype("f4"))
    fits.writeto(tmp_path / "kernel.fits", kernel)
    line = ("run", "sci.fits", "tmpl.fits", "diff.fits", "--kernel", "kernel.fits", "--noise", "measured")
    done = quickly(tmp_path, *line, "--half-width", "15", "-o", "out.fits")
    assert done.returncode == status, done.stderr
    assert says in " ".join(done.stderr.split())
    assert (tmp_path / "out.fits").exists() == (status == 0)
    if status:
        assert "sci.fits" in done.stderr
        assert len(done.stderr.strip().splitlines()) == 1


@pytest.mark.parametrize("electrons", [20, 60, 150, 400])
@pytest.mark.parametrize("gain", [1.0, 1.7])
def test_the_variance_of_counts_is_measured_right(electrons: int, gain: float) -> None:
    """The median deviation of integers is an integer: by itself it would be up to 8 % wrong in the variance."""
    image = (np.random.default_rng(electrons).poisson(electrons, (512, 512)) / gain).astype("f4")
    exposure = Exposure(image)
    measured = SourceFreeWindows([exposure], (), 2).measure(exposure)
    # The error of a variance from the median deviation of so many Gaussian numbers is 2 · 1.17 / √(2 N).
    assert measured.variance == pytest.approx(
        electrons / gain**2, rel=max(0.01, 4 * 2 * 1.17 / (2 * image.size) ** 0.5)
    )


def test_a_pedestal_does_not_mix_with_a_variance_that_varies() -> None:
    """The noise is in units of the root of the plane; a pedestal of 100 σ divided by that would be structure."""
    rng = np.random.default_rng(4)
    shape = (320, 320)
    variance = (4 * (1 + 0.3 * np.sin(np.arange(320) / 7))) * np.ones(shape)
    kernel = gaussian(9, 1.2)
    science, template = (rng.normal(size=shape) * np.sqrt(v) for v in (variance, 4.0))
    difference = science - convolved(template, kernel)
    runs = [
        decorrelate(
            Exposure(science + p, variance), Exposure(template, 4.0), Exposure(difference + p), kernel, noise="measured"
        )
        for p in (0.0, 200.0)
    ]
    plain, raised = (run.record.noise for run in runs)
    assert raised.svar == pytest.approx(plain.svar, rel=1e-3)
    assert raised.calibration == pytest.approx(plain.calibration, rel=2e-3)
    assert runs[1].qa.snr_std == pytest.approx(1, abs=0.01)


@pytest.mark.parametrize("seed", range(4))
def test_chance_on_half_of_a_small_image_is_not_whitened(seed: int) -> None:
    """A checkerboard has half as many pairs of pixels at some lags as it has pixels: what they have in common by chance
    is more, and a filter made of it would reach over all of the image."""
    rng = np.random.default_rng(seed)
    kernels = gaussian(9, 0.65), box(0.3)
    grown = 300
    images = [fftconvolve(rng.normal(size=(grown, grown)), by, "same")[22:-22, 22:-22] for by in kernels]
    kernel = gaussian(13, 1.4)
    inputs = [Exposure(image, 1.0, name=name) for image, name in zip(images, ("science", "template"), strict=True)]
    difference = Exposure(images[0] - convolved(images[1], kernel), name="difference")
    result = decorrelate(*inputs, difference, kernel, noise="measured", threads=1)
    assert result.record.noise.residual_max_abs_rho is None
    assert result.record.psi.half_width < 60
