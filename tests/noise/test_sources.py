"""Smoothed images, and what is left out around sources."""

from __future__ import annotations

import numpy as np
import pytest

from diffim_decorr.noise.sources import mask_sources, smoothed


@pytest.mark.parametrize("sigma", [1.0, 1.5, 4.0])
@pytest.mark.parametrize("shape", [(40, 61), (64, 64), (5, 3)])
def test_smoothed_is_a_convolution_with_the_edges_held(shape: tuple[int, int], sigma: float) -> None:
    image = np.random.default_rng(2).normal(size=shape)
    radius = int(3 * sigma) + 1
    line = np.exp(-0.5 * (np.arange(-radius, radius + 1) / sigma) ** 2)
    line /= line.sum()
    padded = np.pad(image, radius, mode="edge")
    windows = np.lib.stride_tricks.sliding_window_view(padded, (2 * radius + 1, 2 * radius + 1))
    expected = np.einsum("yxij,i,j->yx", windows, line, line)
    assert np.abs(smoothed(image.astype(np.float32), sigma) - expected).max() < 1e-6


@pytest.mark.parametrize(("brightness", "radius"), [(5.0, 5), (-5.0, 5), (20.0, 9), (200.0, 18)])
def test_wider_around_brighter_sources(brightness: float, radius: int) -> None:
    """A square around each, also where it reaches over the border; nothing else."""
    smooth = np.zeros((50, 70))
    smooth[3, 40] = brightness
    use = np.ones(smooth.shape, dtype=bool)
    mask_sources(use, smooth, 1.0)
    expected = np.ones(smooth.shape, dtype=bool)
    expected[: 3 + radius + 1, 40 - radius : 40 + radius + 1] = False
    assert np.array_equal(use, expected)
