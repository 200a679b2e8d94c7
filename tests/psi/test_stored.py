"""The ψ that is stored in an output is that of the run."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from diffim_decorr import (
    DecorrelationKernel,
    InputError,
    SpatialKernel,
    decorrelate,
    read_exposure,
    read_kernel,
    read_psi,
)
from diffim_decorr.geometry import Box
from diffim_decorr.kernels.coefficients import PolynomialCoefficients
from diffim_decorr.kernels.piecewise import PiecewiseCoefficients
from support.psi_runs import CONFIGURATIONS, NX, NY, SHAPE


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_stored_psi_is_that_of_the_run(psi_runs: Path, name: str) -> None:
    options = {
        "constant": {},
        "spatial": {"spatial": True},
        "narrow": {"half_width": 2, "bad_fraction": 0.03, "replace_planes": ("SAT",)},
        "step": {"spatial": True},
    }[name]
    science, difference = (read_exposure(psi_runs / f"{side}.fits") for side in ("sci", "diff"))
    template = read_exposure(psi_runs / "tmpl.fits", variance=psi_runs / "deeper.fits" if name == "step" else None)
    kernel = read_kernel(psi_runs / CONFIGURATIONS[name][1], SHAPE)
    ours = decorrelate(science, template, difference, kernel, **options)  # type: ignore[arg-type]
    stored = read_psi(psi_runs / f"{name}.fits")
    assert stored.shape == SHAPE
    assert stored.is_constant == ours.psi.is_constant == (name in ("constant", "narrow"))
    assert stored.variance == pytest.approx(ours.record.noise.svar + ours.record.noise.tvar, rel=1e-12)
    assert stored.replace_planes == ours.record.options[0].replace_planes
    assert stored.bad_fraction == ours.record.options[0].bad_fraction
    assert (stored.margins[0] > stored.half_width) == (name == "narrow")
    rng = np.random.default_rng(3)
    for x, y in zip(rng.uniform(-0.5, NX - 0.5, 40), rng.uniform(-0.5, NY - 0.5, 40), strict=True):
        expected = ours.psi.at(x, y)
        assert np.abs(stored.at(x, y) - expected).max() <= 1e-7 * expected.max()


def test_where_there_was_no_kernel() -> None:
    half = PiecewiseCoefficients(((Box(0, 0, 20, 40), PolynomialCoefficients.constant([1.0])),))
    psi = DecorrelationKernel(SpatialKernel(np.ones((1, 3, 3)), half), (40, 40))
    with pytest.raises(InputError, match="no matching kernel at position 30 5"):
        psi.at(30, 5)
