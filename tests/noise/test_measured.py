"""Measured noise says where it can and where it cannot be measured, and white noise where it had better be."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from scipy.ndimage import gaussian_filter
from scipy.signal import fftconvolve

from diffim_decorr import Exposure, InputError, decorrelate
from diffim_decorr.noise.measured import MeasuredNoise, plateau_warning
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


def test_a_plateau_is_told() -> None:
    """Where nothing else tells of it, as with likelihood images."""
    told = plateau_warning("science", MeasuredNoise(1.0, np.ones((1, 1)), 0.4, 10_000))
    assert told is not None
    assert "science: the correlation at large lags is 40% of the noise variance" in told
    assert plateau_warning("science", MeasuredNoise(1.0, np.ones((1, 1)), 0.2, 10_000)) is None


@pytest.mark.parametrize("scale", [5.0, 20.0])
def test_structure_of_the_inputs_is_no_noise(scale: float) -> None:
    """It makes a plateau of the correlation, or a part of it. The difference is without, tells it, and is taken."""
    rng = np.random.default_rng(8)
    result = decorrelate(*plain(rng, field(rng, scale, 1.0)), noise="measured", half_width=15, threads=1)
    assert any("the noise measured on the inputs is not that of the difference" in w for w in result.warnings)
    assert not any("cannot well be told" in w or "explains" in w for w in result.warnings)
    assert result.record.noise.source == "difference"
    assert result.qa.max_abs_rho_after < 0.02
    assert result.qa.snr_std == pytest.approx(1, abs=0.02)


def test_inputs_without_structure() -> None:
    rng = np.random.default_rng(8)
    nothing = decorrelate(*plain(rng, np.zeros((500, 500))), noise="measured", threads=1)
    assert nothing.warnings == []


def test_variances_that_nothing_explains_are_left() -> None:
    """The difference has four times the noise of its inputs."""
    rng = np.random.default_rng(9)
    science, template, difference, kernel = plain(rng, np.zeros((500, 500)))
    louder = Exposure(2 * difference.image, name="difference")
    result = decorrelate(science, template, louder, kernel, noise="measured", threads=1)
    assert any("the variance plane is left at the latter" in warning for warning in result.warnings)
    assert any("as the kernel has them they leave 50% of it" in warning for warning in result.warnings)
    assert result.record.noise.source == "inputs"
    assert result.qa.snr_std == pytest.approx(2, abs=0.04)


def test_inputs_without_noise_to_measure() -> None:
    rng = np.random.default_rng(10)
    _, template, difference, kernel = plain(rng, np.zeros((500, 500)))
    with pytest.raises(InputError, match=r"^science: its background has no noise.*--noise white$"):
        decorrelate(Exposure(np.ones((500, 500)), 1.0, name="science"), template, difference, kernel, noise="measured")


def full(rng: np.random.Generator) -> tuple[Exposure, Exposure, Exposure, np.ndarray]:
    """A pair without room between its stars."""
    stars = np.zeros((500, 500))
    stars[tuple(rng.integers(0, 500, (2, 12000)))] = 10 ** rng.uniform(1.5, 4, 12000)
    return plain(rng, gaussian_filter(stars, 1.3))


def test_inputs_full_of_sources(tmp_path: Path) -> None:
    """They tell nothing of their noise, but the difference does; that it was alone is said, and to be checked."""
    science, template, difference, kernel = full(np.random.default_rng(10))
    for name, exposure in (("sci", science), ("tmpl", template)):
        write_exposure(tmp_path / f"{name}.fits", exposure.image, np.ones(exposure.shape))
    fits.writeto(tmp_path / "diff.fits", difference.image.astype("f4"))
    fits.writeto(tmp_path / "kernel.fits", kernel)
    line = ("run", "sci.fits", "tmpl.fits", "diff.fits", "--kernel", "kernel.fits", "--noise", "measured", "--json")
    done = quickly(tmp_path, *line, "-o", "out.fits")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["noise"]["source"] == "difference"
    assert found["noise"]["unexplained"] < 1e-3
    assert found["noise"]["images"] == []
    assert found["verdict"]["status"] == "check"
    assert "noise.pixels" in [reason["figure"] for reason in found["verdict"]["reasons"]]
    assert "was taken from the difference, which alone tells it" in " ".join(done.stderr.split())
    header = fits.getheader(tmp_path / "out.fits")
    assert header["DCNOISRC"] == "difference"
    assert header["DCVERDCT"].startswith("check")


def test_nothing_is_measured_where_neither_tells() -> None:
    science, template, difference, _ = full(np.random.default_rng(10))
    with pytest.raises(InputError, match=r"(told from structure|source-free pixels).*--noise white$"):
        decorrelate(science, template, difference, gaussian(11, 2.4), noise="measured")


@pytest.mark.parametrize(
    ("size", "structure", "status", "says"),
    [
        (48, 0.0, 3, "too few to measure the noise correlation from; use --noise white"),
        (400, 1.0, 0, "that of the difference itself was taken"),
    ],
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


@pytest.mark.parametrize(("side", "cut"), [(80, True), (200, False)])
def test_psi_does_not_reach_across_a_small_image(side: int, cut: bool) -> None:
    """What its noise asks for is not known better: and a ψ as wide as the image flags all of it as edge."""
    kernel, rng = gaussian(11, 1.3), np.random.default_rng(1)
    science, template = (gaussian_filter(image, 0.8, mode="wrap") for image in rng.standard_normal((2, side, side)))
    inputs = Exposure(science, float(science.var())), Exposure(template, float(template.var()))
    result = decorrelate(*inputs, Exposure(science - convolved(template, kernel)), kernel, noise="measured", threads=1)
    assert result.record.psi.half_width <= side // 6
    assert any("too small to measure all of the decorrelation kernel" in text for text in result.warnings) == cut
    edge = result.exposure.mask_planes["EDGE"]
    assert np.mean(result.exposure.mask & (1 << edge) == 0) > 0.4


def test_images_of_one_side_do_not_choose_each_others_pixels() -> None:
    """What is part of a sum has the same peaks of noise: left out where the sum shows them, too little noise is left.

    Of the middle of a million Gaussian numbers, that of smooth noise a quarter as many, the variance is right to 0.5 %.
    """
    rng = np.random.default_rng(11)
    noise, other = (gaussian_filter(image, 0.8, mode="wrap") for image in rng.standard_normal((2, 1000, 1000)))
    noise /= noise.std()
    images = Exposure(noise), Exposure(other), Exposure(noise.copy())
    told = SourceFreeWindows(images, (), 1, ("science", "template", "science")).measure(images[2])
    assert told.variance == pytest.approx(1, abs=0.015)
    alone = SourceFreeWindows(images[:2], (), 1).measure(images[0])
    assert told.variance == alone.variance
    biased = SourceFreeWindows(images, (), 1).measure(images[2])
    assert biased.variance < told.variance - 0.01
