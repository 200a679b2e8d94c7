"""Which kernel and which noise ratio ψ is built for."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from diffim_decorr import decorrelate, read_kernel
from support.hotpants import hotpants_kernel
from support.kernels import IDENTITY, gaussian
from support.noise import exposures, noise_images, noise_pair
from support.reference import central, psi_of


def test_constant_mode_warns_of_a_kernel_that_varies(tmp_path: Path) -> None:
    shape = (300, 320)
    hotpants = hotpants_kernel(shape, seed=8)
    science, template = noise_pair(34, shape, 1.0, 2.0)
    difference = hotpants.difference(science, template)
    kernel = read_kernel(hotpants.write(tmp_path / "diff.fits", difference))
    images = exposures(science, template, difference, 1.0, 2.0)
    warnings = decorrelate(*images, kernel).warnings
    assert any("--spatial" in warning and "%" in warning for warning in warnings)
    assert not any("--spatial" in warning for warning in decorrelate(*images, kernel, spatial=True).warnings)


@pytest.mark.parametrize("at", [None, (20.0, 250.0)])
def test_constant_mode_takes_the_kernel_where_it_is_told(tmp_path: Path, at: tuple[float, float] | None) -> None:
    shape = (300, 320)
    hotpants = hotpants_kernel(shape, seed=8)
    science, template = noise_pair(35, shape, 1.0, 2.0)
    difference = hotpants.difference(science, template)
    kernel = read_kernel(hotpants.write(tmp_path / "diff.fits", difference))
    images = exposures(science, template, difference, 1.0, 2.0)
    psi = decorrelate(*images, kernel, kernel_at=at).psi.at(0, 0)
    x, y = at or (159.5, 149.5)
    expected = psi_of([IDENTITY, hotpants.at(x, y)], [1.0, 2.0])
    assert np.sqrt(((psi - central(expected, psi.shape[0] // 2)) ** 2).sum()) < 1e-3


def test_given_variances_stand_for_the_whole_field() -> None:
    """With both background variances given, the planes do not change ψ, not even in spatial mode."""
    shape = (300, 400)
    tvar = np.ones(shape)
    tvar[:, 200:] = 5.0
    kernel = gaussian(13, 1.4)
    images = noise_images(36, shape, kernel, 1.0, tvar)
    result = decorrelate(*images, kernel, spatial=True, svar=1.0, tvar=2.0)
    assert np.array_equal(result.psi.at(10, 10), result.psi.at(390, 290))
    expected = psi_of([IDENTITY, kernel], [1.0, 2.0], 128)
    np.testing.assert_allclose(result.psi.at(10, 10), central(expected, result.psi.shape[0] // 2), atol=1e-5)
