"""Variance from gain and read noise."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from diffim_decorr import Exposure, Result, UsageError, decorrelate
from diffim_decorr.geometry import Box
from diffim_decorr.noise.photons import PhotonVariance
from diffim_decorr.options import Options
from support.command import OUT, refused, told
from support.files import INPUTS, make_inputs
from support.kernels import IDENTITY, gaussian
from support.reference import convolved

SHAPE = (576, 576)
KERNEL = gaussian(11, 1.3)
STAR = gaussian(31, 1.8)
# Sky and stars in electrons, gain in electrons per count, read noise in electrons.
GAIN, READ_NOISE = 1.7, 6.0
PLACES = [(x, y) for y in range(48, 552, 48) for x in range(48, 552, 48)]  # 121 stars of one brightness
FLUX = 20_000.0
OTHER = 30.0  # variance of the other image, counts squared


def light() -> np.ndarray:
    """Electrons from stars."""
    scene = np.zeros(SHAPE)
    for x, y in PLACES:
        scene[y - 15 : y + 16, x - 15 : x + 16] += FLUX * STAR
    return scene


def exposed(seed: int, sky: float, read_noise: float) -> tuple[np.ndarray, np.ndarray]:
    """An image with its sky, counts, and its true variance."""
    rng = np.random.default_rng(seed)
    mean = light() + sky
    image = (rng.poisson(mean) + read_noise * rng.normal(size=SHAPE)) / GAIN
    return image, (mean + read_noise**2) / GAIN**2


def run(image: np.ndarray, whose: str = "sci", **options: object) -> Result:
    """A run in which the other image has a variance that is known."""
    other = np.random.default_rng(99).normal(0, OTHER**0.5, SHAPE) + convolved(light(), KERNEL) / GAIN
    pair = [Exposure(image.astype("f4")), Exposure(other.astype("f4"), OTHER)]
    if whose == "tmpl":
        pair.reverse()
    difference = pair[0].image - convolved(pair[1].image, KERNEL)
    named = {f"{whose}_{name}": value for name, value in options.items() if name in ("gain", "read_noise")}
    rest = {name: value for name, value in options.items() if name not in ("gain", "read_noise")}
    return decorrelate(*pair, Exposure(difference.astype("f4")), KERNEL, **named, **rest)


def truth(result: Result, variance: np.ndarray, whose: str) -> np.ndarray:
    """``ψ² ⊗ V_s + (ψ ⊗ κ)² ⊗ V_t`` of the true variances."""
    psi = result.psi.at(0, 0)
    own, other = (IDENTITY, KERNEL) if whose == "sci" else (KERNEL, IDENTITY)
    square = lambda kernel: convolved(np.pad(psi, 8), kernel) ** 2  # noqa: E731
    return convolved(variance, square(own)) + OTHER * square(other).sum()


@pytest.mark.parametrize("whose", ["sci", "tmpl"])
@pytest.mark.parametrize(
    ("sky", "subtracted", "known"),
    [(50, False, True), (50, False, False), (50, True, False), (600, False, True), (600, True, False)],
)
def test_the_propagated_variance_is_that_of_the_photons(sky: float, subtracted: bool, known: bool, whose: str) -> None:
    """To 1 %, between the stars and in them, with the sky and without it, with the read noise and without it."""
    read_noise = READ_NOISE if known else 0.0
    image, variance = exposed(3, sky, read_noise)
    options = {"gain": GAIN, "read_noise": READ_NOISE} if known else {"gain": GAIN}
    result = run(image - sky / GAIN if subtracted else image, whose, **options)
    assert [w for w in result.warnings if "gain" in w or "variance" in w] == []
    ratio = result.exposure.variance / truth(result, variance, whose)
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    distance = np.hypot((x + 24) % 48 - 24, (y + 24) % 48 - 24)
    inside = (np.minimum(x, SHAPE[1] - 1 - x) > 24) & (np.minimum(y, SHAPE[0] - 1 - y) > 24)
    assert ratio[inside & (distance > 10)].mean() == pytest.approx(1, abs=0.01)
    for outer, inner in ((1.5, 0.0), (4.0, 1.5), (8.0, 4.0)):
        ring = inside & (distance >= inner) & (distance < outer)
        assert ratio[ring].mean() == pytest.approx(1, abs=0.01), (outer, inner)


def test_the_variance_of_the_background_does_not_follow_its_noise() -> None:
    """With the variance of each pixel from its own count, S/N would be skewed: they would be correlated by 0.9."""
    image, _ = exposed(4, 50.0, 0.0)
    plane = run(image, gain=GAIN, read_noise=0.0)
    far = plane.exposure.variance[:, 12:20]
    noise = plane.exposure.image[:, 12:20]
    assert abs(np.corrcoef(far[30:-30].ravel(), noise[30:-30].ravel())[0, 1]) < 0.4
    assert far[30:-30].std() / far[30:-30].mean() < 0.03


@pytest.mark.parametrize(
    ("sky", "options", "says"),
    [
        (0.0, {"gain": GAIN, "read_noise": READ_NOISE}, "sky has been subtracted"),
        (200.0, {"gain": GAIN / 2, "read_noise": READ_NOISE}, "electrons per unit"),
        (200.0, {"gain": GAIN * 2, "read_noise": READ_NOISE}, "gain or read noise are not"),
        (200.0, {"gain": GAIN / 2}, "electrons per unit"),
        (2000.0, {"gain": GAIN}, "constant was added"),
    ],
)
def test_a_model_that_the_pixels_contradict_is_said(sky: float, options: dict[str, float], says: str) -> None:
    image, _ = exposed(5, 200.0, READ_NOISE)
    result = run(image + (sky - 200.0) / GAIN, **options)
    assert any("--sci-gain" in w and says in w for w in result.warnings), result.warnings


def test_a_background_variance_that_is_given_counts() -> None:
    """`--svar` says what ψ is made for, and is what photons are added to."""
    image, _ = exposed(6, 200.0, 0.0)
    result = run(image - 200.0 / GAIN, gain=GAIN, svar=100.0)
    usual = run(image - 200.0 / GAIN, gain=GAIN)
    assert result.record.noise.svar == 100.0
    assert result.record.noise.science_given
    gain = truth(result, np.full(SHAPE, 100.0), "sci")[16, 16]
    assert np.median(result.exposure.variance[30:-30, 30:-30]) == pytest.approx(gain, rel=0.03)
    assert usual.record.noise.svar == pytest.approx(200 / GAIN**2, rel=0.02)


def test_the_model_takes_the_place_of_a_plane_and_is_scaled_to_measured_noise() -> None:
    image, _ = exposed(7, 100.0, 0.0)
    pair = [Exposure(image.astype("f4"), 1e6), Exposure(np.random.default_rng(1).normal(0, 5, SHAPE), 25.0)]
    difference = Exposure((pair[0].image - convolved(pair[1].image, KERNEL)).astype("f4"))
    for noise in ("white", "measured"):
        result = decorrelate(*pair, difference, KERNEL, sci_gain=GAIN, noise=noise)
        assert result.record.noise.svar == pytest.approx(100 / GAIN**2, rel=0.05)
    assert pair[0].variance[0, 0] == 1e6


def test_the_images_of_a_stack_have_figures_of_their_own() -> None:
    from diffim_decorr import Contribution

    image, _ = exposed(8, 100.0, 0.0)
    parts = [Contribution("science", noise=7.0), Contribution("template", noise=5.0)]
    result = run(image, gain=GAIN, contributions=parts)
    assert any(w.startswith("--sci-gain is not used") for w in result.warnings)


@pytest.mark.parametrize("unit", [2.0**-80, 2.0**80])
def test_gains_of_any_unit(unit: float) -> None:
    image, _ = exposed(9, 100.0, READ_NOISE)
    usual = run(image, gain=GAIN, read_noise=READ_NOISE)
    other = np.random.default_rng(99).normal(0, OTHER**0.5, SHAPE) + convolved(light(), KERNEL) / GAIN
    science, template = (i.astype("f4") * np.float32(unit) for i in (image, other))
    difference = (image.astype("f4") - convolved(other.astype("f4"), KERNEL)).astype("f4") * np.float32(unit)
    result = decorrelate(
        Exposure(science), Exposure(template, OTHER * unit**2), Exposure(difference), KERNEL,
        sci_gain=GAIN / unit, sci_read_noise=READ_NOISE,
    )  # fmt: skip
    np.testing.assert_allclose(result.exposure.variance / unit**2, usual.exposure.variance, rtol=1e-5)


def test_a_plane_reads_the_same_in_pieces() -> None:
    """Windows see the neighbours that they need; what holds no data spoils none of them."""
    image, _ = exposed(10, 100.0, 0.0)
    image = image.astype("f4")
    image[70:80, 60:70] = np.nan
    plane = PhotonVariance(Exposure(image), GAIN, 0.0, 0.0, 100 / GAIN, 10 / GAIN, 0.0)
    whole = plane.read_all()
    assert np.isfinite(whole).all()
    box = Box(40, 55, 70, 76)
    np.testing.assert_allclose(plane.read(box), whole[box.slices], rtol=1e-6)
    assert np.median(whole[68:70, 60:70]) == pytest.approx(100 / GAIN**2, rel=0.1)


# As options


def test_gain_and_read_noise_on_the_command_line(tmp_path: Path) -> None:
    make_inputs(tmp_path)
    science, template = (np.random.default_rng(seed).poisson(400.0, (80, 96)).astype("f4") / 2 for seed in (1, 2))
    for name, image in (("sci", science), ("tmpl", template)):
        fits.writeto(tmp_path / f"{name}.fits", image, overwrite=True)
    difference = science - convolved(template, fits.getdata(tmp_path / "kernel.fits"))
    fits.writeto(tmp_path / "diff.fits", difference.astype("f4"), overwrite=True)
    gains = "--sci-gain", 2, "--sci-read-noise", 0, "--tmpl-gain", 2, "--tmpl-read-noise", 0
    said = told(tmp_path, "run", *INPUTS, *gains, *OUT)
    assert said["noise"]["svar"] == pytest.approx(100, rel=0.03)
    assert said["options"]["sci_gain"] == 2
    header = fits.getheader(tmp_path / "out.fits")
    assert [header[card] for card in ("DCOSGAIN", "DCOSRDN", "DCOTGAIN", "DCOTRDN")] == [2, 0, 2, 0]
    (tmp_path / "c.toml").write_text("sci-gain = 2\ntmpl-gain = 2.0\n")
    assert told(tmp_path, "run", *INPUTS, "--config", "c.toml", "-o", "b.fits")["options"]["tmpl_gain"] == 2


@pytest.mark.parametrize("kind", ["variance", "noise", "weight"])
@pytest.mark.parametrize("side", ["sci", "tmpl"])
def test_a_gain_and_a_plane_of_noise_exclude_each_other(tmp_path: Path, side: str, kind: str) -> None:
    make_inputs(tmp_path)
    given = f"--{side}-gain", 2, f"--{side}-{kind}", "sci.fits"
    refused(tmp_path, (f"--{side}-gain", f"--{side}-{kind}"), "run", *INPUTS, *given, *OUT, status=2)


def test_wrong_gains(tmp_path: Path) -> None:
    make_inputs(tmp_path)
    refused(tmp_path, "sci_read_noise needs sci_gain", "run", *INPUTS, "--sci-read-noise", 5, *OUT, status=2)
    refused(tmp_path, "greater than 0", "run", *INPUTS, "--tmpl-gain", 0, *OUT, status=2)
    with pytest.raises(UsageError, match="tmpl_read_noise needs"):
        Options(tmpl_read_noise=3.0)
