"""Transforms of kernels, a block of columns at a time: the same as those of all at once."""

from __future__ import annotations

import numpy as np
import pytest

from diffim_decorr.engine.kernel_spectra import KernelSpectra, is_symmetric
from diffim_decorr.engine.workspace import Workspace
from diffim_decorr.fft import kernel_transform
from support.kernels import gaussian


@pytest.mark.parametrize("shape", [(40, 54), (64, 40)])
@pytest.mark.parametrize("size", [(1, 1), (9, 9), (5, 13), (39, 39)])
@pytest.mark.parametrize("symmetric", [True, False])
def test_blocks_of_columns(shape: tuple[int, int], size: tuple[int, int], symmetric: bool) -> None:
    images = np.random.default_rng(1).normal(size=(3, *size))
    if symmetric:
        images += images[:, ::-1, ::-1]
    expected = kernel_transform(images, shape)
    spectra = KernelSpectra(images, shape, np.dtype(float), symmetric, Workspace(), "kernel")
    for number in (2, 0, 1):
        for columns in (slice(0, 11), slice(11, shape[1] // 2 + 1)):
            block = spectra.block(number, columns)
            assert np.iscomplexobj(block) != symmetric
            np.testing.assert_allclose(block, expected[number][:, columns], atol=1e-12)


def test_symmetry() -> None:
    round_ones = np.array([gaussian(11, (1.5, 2.5), 20), gaussian(11, 3.0)])
    assert is_symmetric(round_ones)
    skew = round_ones.copy()
    skew[1, 0, 0] += 1e-9
    assert not is_symmetric(skew)
