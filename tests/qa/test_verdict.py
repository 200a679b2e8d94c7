"""The verdict: what it says of good runs and of the likeliest mistakes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits

from diffim_decorr import Result, decorrelate
from diffim_decorr.kernels.coefficients import PolynomialCoefficients
from diffim_decorr.kernels.spatial import SpatialKernel
from support.command import OUT, decorr, succeed
from support.files import INPUTS
from support.kernels import gaussian
from support.noise import exposures, noise_pair
from support.reference import convolved

SHAPE = (400, 420)
KERNEL = gaussian(15, 1.5)
SVAR, TVAR = 60.0, 240.0


def images(seed: int = 1, kernel: np.ndarray = KERNEL) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    science, template = noise_pair(seed, SHAPE, SVAR, TVAR)
    return science, template, science - convolved(template, kernel)


def run(
    pixels: tuple[np.ndarray, ...], kernel: np.ndarray = KERNEL, variances: Any = (SVAR, TVAR), **options: Any
) -> Result:
    return decorrelate(*exposures(*pixels, *variances), kernel, **options)


def figures(result: Result) -> set[str]:
    return {reason.figure for reason in result.verdict.reasons}


# Good runs


@pytest.mark.parametrize("ratio", [0.1, 1.0, 10.0])
@pytest.mark.parametrize("width", [0.8, 1.5])
def test_good_runs_are_good(width: float, ratio: float) -> None:
    kernel = gaussian(15, width)
    science, template = noise_pair(round(10 * ratio + width), SHAPE, 1.0, ratio)
    result = run((science, template, science - convolved(template, kernel)), kernel, (1.0, ratio))
    assert result.verdict.status == "ok", str(result.verdict)
    assert result.verdict.reasons == ()
    assert result.warnings == []
    assert str(result.verdict) == "ok"


def test_figures_are_what_perfect_noise_gives() -> None:
    """Each within 4.5 of its stated errors."""
    qa = run(images()).qa
    measured = [*qa.block_std.values(), qa.psf_scatter, qa.rho_chi2, qa.spectrum_chi2]
    for value, expected, error in measured:
        assert abs(value - expected) < 4.5 * error
        assert 0 < error < 0.5 * expected
    assert list(qa.block_std) == ["2", "4", "8", "16", "32"]
    assert qa.cell_spread.value < 3 * qa.cell_spread.error
    for side in ("above", "below"):
        assert abs(qa.tails[f"{side}_3"].value - 1) < 4.5 * qa.tails[f"{side}_3"].error
    assert qa.flagged < 0.15


# What is wrong, and what explains it


def test_swapped_images() -> None:
    science, template, difference = images()
    result = run((template, science, difference), variances=(TVAR, SVAR))
    assert result.verdict.status == "fail"
    assert "swapped" in result.verdict.explanation
    assert any("swapped" in text for text in result.warnings)


def test_the_other_image_convolved() -> None:
    result = run(images(), convolved="science")
    assert result.verdict.status == "fail"
    assert "--convolved template" in result.verdict.explanation


def test_a_difference_that_was_never_convolved() -> None:
    science, template, _ = images()
    result = run((science, template, science - template))
    assert {"max_abs_rho_after"} <= figures(result)
    assert "white already" in result.verdict.explanation
    assert any("rose" in reason.text for reason in result.verdict.reasons)


@pytest.mark.parametrize(("power", "named"), [(0.5, "--sci-noise"), (2.0, "--sci-variance")])
def test_variances_that_are_none(power: float, named: str) -> None:
    result = run(images(), variances=(SVAR**power, TVAR**power))
    assert result.verdict.status == "fail"
    assert named in result.verdict.explanation


def test_one_variance_far_too_small() -> None:
    result = run(images(), variances=(SVAR, TVAR / 10))
    assert "--tvar 2" in result.verdict.explanation
    (found,) = (word for word in result.verdict.explanation.split("--tvar ")[1:])
    assert float(found) == pytest.approx(TVAR, rel=0.1)


def test_another_unit() -> None:
    science, template, difference = images()
    result = run((science, template, 4 * difference))
    assert "snr_std" in figures(result)
    assert "16 times" in result.verdict.explanation.replace("15.9", "16").replace("16.1", "16")


def test_a_kernel_transposed_or_mirrored() -> None:
    y, x = np.mgrid[-7:8, -7:8]
    skew = np.exp(-0.5 * ((x + 0.6 * y) ** 2 / 0.6 + y**2 / 9.0))
    skew /= skew.sum()
    assert "transposed" in run(images(kernel=skew), skew.T).verdict.explanation
    assert "mirrored" in run(images(kernel=skew), skew[:, ::-1]).verdict.explanation


def test_a_kernel_that_varies_names_spatial() -> None:
    """Wide on the left, narrow on the right: ψ of the left border is wrong everywhere else."""
    shape = (512, 1024)
    science, template = noise_pair(5, shape, SVAR, TVAR)
    wide, narrow = gaussian(15, 2.2), gaussian(15, 0.7)
    ramp = np.linspace(-1, 1, shape[1])[None, :]
    ends = convolved(template, wide), convolved(template, narrow)
    difference = science - (1 - ramp) / 2 * ends[0] - (1 + ramp) / 2 * ends[1]
    coefficients = PolynomialCoefficients(
        np.array([[0.5, -0.5], [0.5, 0.5]]),
        np.array([[0, 0], [1, 0]]),
        ((shape[1] - 1) / 2, 0.0),
        ((shape[1] - 1) / 2, 1.0),
    )
    kernel = SpatialKernel(np.stack([wide, narrow]), coefficients)
    result = decorrelate(*exposures(science, template, difference, SVAR, TVAR), kernel, kernel_at=(0.0, 0.0))
    assert "--spatial" in result.verdict.explanation
    right = decorrelate(*exposures(science, template, difference, SVAR, TVAR), kernel, spatial=True)
    assert right.verdict.status == "ok", str(right.verdict)


def test_correlated_inputs_name_noise_measured() -> None:
    rng = np.random.default_rng(6)
    smooth = gaussian(5, 0.7)
    science, template = (convolved(rng.normal(size=SHAPE), smooth) for _ in range(2))
    science, template = science / science.std() * SVAR**0.5, template / template.std() * TVAR**0.5
    result = run((science, template, science - convolved(template, KERNEL)))
    assert "--noise measured" in result.verdict.explanation


def test_a_difference_of_other_images() -> None:
    """Its noise is the same in all figures, but has nothing to do with that of the inputs."""
    result = run((*images(1)[:2], images(2)[2]))
    assert result.verdict.status == "check"
    assert figures(result) == {"shares"}
    assert "SCI and TMPL" in result.verdict.reasons[0].text


def test_a_difference_with_the_other_sign() -> None:
    science, template, difference = images()
    result = run((science, template, -difference))
    assert figures(result) == {"shares"}
    assert "TMPL - SCI" in result.verdict.reasons[0].text


def test_structure_at_long_range() -> None:
    """A background of 0.3 σ at 20 pixels hardly shows in max_abs_rho, and doubles the scatter of faint sources."""
    science, template, difference = images()
    rough = np.random.default_rng(8).normal(size=SHAPE)
    spectrum = np.fft.rfft2(rough)
    k = np.hypot(np.fft.fftfreq(SHAPE[0])[:, None], np.fft.rfftfreq(SHAPE[1])[None, :])
    wave = np.fft.irfft2(spectrum * np.exp(-0.5 * (k * 2 * np.pi * 10) ** 2), SHAPE)
    result = run((science, template, difference + 0.3 * difference.std() * wave / wave.std()))
    assert any(figure.startswith("block_std") or figure == "psf_scatter" for figure in figures(result))
    assert "max_abs_rho_after" not in {r.figure for r in result.verdict.reasons if r.status == "fail"}


def test_noise_that_is_not_where_the_variance_says() -> None:
    science, template, difference = images()
    step = np.where(np.arange(SHAPE[1]) < SHAPE[1] // 2, 0.8, 1.2)
    result = run((science, template, difference * step))
    assert "cell_spread" in figures(result)


@pytest.mark.parametrize(("sign", "named"), [(1, "above"), (-1, "below")])
def test_tails(sign: int, named: str) -> None:
    """Defects of the difference that no mask shows, by their sign."""
    science, template, difference = images()
    rng = np.random.default_rng(9)
    places = rng.integers(0, SHAPE[0], 120), rng.integers(0, SHAPE[1], 120)
    difference[places] += sign * 12 * difference.std()
    found = figures(run((science, template, difference)))
    assert {f"tails.{named}_5"} <= found
    assert not any(figure.startswith("tails") and named not in figure for figure in found)


# What it looks like


def test_it_is_in_header_json_and_table(folder: Path) -> None:
    done = succeed(folder, "run", *INPUTS, *OUT, "--convolved", "science", "--json")
    said = json.loads(done.stdout)["verdict"]
    header = fits.getheader(folder / "out.fits")
    assert said["status"] == header["DCVERDCT"] != "ok"
    assert set(said["reasons"][0]) == {"status", "figure", "value", "expected", "limit", "text", "remedy"}
    assert said["reasons"][0]["text"] in header["DCWHY1"]
    assert said["reasons"][0]["remedy"] in header["DCWHY1"]
    table = decorr(folder, "run", *INPUTS, *OUT, "--convolved", "science", "--overwrite").stdout
    assert table.splitlines()[0].split(maxsplit=1)[1].startswith(said["status"])


def test_strict(folder: Path) -> None:
    """The output is there, and the status says what it is worth."""
    done = decorr(folder, "run", *INPUTS, *OUT, "--convolved", "science", "--strict")
    assert done.returncode == 4
    assert "judged bad: fail" in done.stderr.splitlines()[-1]
    assert fits.getheader(folder / "out.fits")["DCVERDCT"] == "fail"
    succeed(folder, "run", *INPUTS, *OUT, "--strict", "--overwrite")
