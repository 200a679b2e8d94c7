"""Variances of a template that were multiplied to make up for its resampling."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from diffim_decorr import Contribution, Exposure, Result, decorrelate
from support.command import refused, told
from support.files import INPUTS, make_inputs
from support.kernels import gaussian
from support.noise import noise_pair
from support.reference import convolved

KERNEL = gaussian(11, 1.2)
SCIENCE, TEMPLATE = noise_pair(3, (220, 240), 1.0, 1.0)


def run(variance: float | None, **options: object) -> Result:
    template = Exposure(
        TEMPLATE, None if variance is None else np.full(TEMPLATE.shape, variance, "f4"), name="template"
    )
    difference = Exposure(SCIENCE - convolved(TEMPLATE, KERNEL), name="difference")
    return decorrelate(Exposure(SCIENCE, 1.0, name="science"), template, difference, KERNEL, threads=1, **options)


def test_it_is_taken_out_of_the_variances() -> None:
    truth, scaled = run(1.0), run(1.25, template_warp_factor=1.25)
    np.testing.assert_allclose(scaled.exposure.image, truth.exposure.image, rtol=0, atol=1e-5)
    np.testing.assert_allclose(scaled.exposure.variance, truth.exposure.variance, rtol=1e-5)
    assert scaled.warnings == []


def test_measured_noise_finds_it_by_itself() -> None:
    results = [run(1.25, template_warp_factor=factor, noise="measured") for factor in (1.0, 1.25)]
    np.testing.assert_allclose(*(result.exposure.variance for result in results), rtol=1e-5)
    factors = [result.record.noise.images[1].variance_factor for result in results]
    assert factors[1] / factors[0] == pytest.approx(1.25, rel=1e-4)


@pytest.mark.parametrize(
    ("variance", "options", "says"),
    [
        (None, {}, "template has no variance plane"),
        (1.0, {"tmpl_gain": 2.0}, "that of its photons"),
        (1.0, {"contributions": [Contribution(side, noise=1.0) for side in ("science", "template")]}, "of a stack"),
    ],
)
def test_without_effect_it_says_so(variance: float | None, options: dict[str, object], says: str) -> None:
    said = run(variance, template_warp_factor=1.25, **options).warnings
    assert any(text.startswith("--template-warp-factor has no effect: ") and says in text for text in said)


def test_the_command_records_it(tmp_path: Path) -> None:
    make_inputs(tmp_path)
    said = told(tmp_path, "run", *INPUTS, "--template-warp-factor", 1.25, "-o", "out.fits")
    assert said["noise"]["tvar"] == pytest.approx(1.5**2 / 1.25, rel=1e-5)
    assert fits.getheader(tmp_path / "out.fits")["DCTWARPF"] == 1.25
    # Σw² instead of 1/Σw².
    refused(
        tmp_path, "must be a number from 1 to 100, not 0.8", "run", *INPUTS, "--template-warp-factor", 0.8, status=2
    )
