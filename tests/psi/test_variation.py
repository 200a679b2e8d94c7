"""How much ψ varies over the field."""

from __future__ import annotations

import pytest

from diffim_decorr import decorrelate
from support.kernels import gaussian
from support.noise import noise_images


@pytest.mark.parametrize("half_width", [2, 4, 15])
def test_what_is_cut_off_is_no_variation(half_width: int) -> None:
    """A constant kernel does not vary, however narrow ψ was asked for."""
    kernel = gaussian(15, 1.2)
    images = noise_images(9, (200, 200), kernel, 100.0, 400.0)
    result = decorrelate(*images, kernel, half_width=half_width)
    assert not any("varies" in warning for warning in result.warnings)
