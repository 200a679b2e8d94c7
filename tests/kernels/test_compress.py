"""Many images of few independent ones are few again."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from diffim_decorr import read_kernel, write_grid_kernel


def test_many_images_are_compacted_without_loss(tmp_path: Path) -> None:
    """A kernel of three basis images at 64 positions has three again, and is the same to rounding."""
    rng = np.random.default_rng(8)
    cube = np.tensordot(rng.normal(size=(64, 3)) * [1, 0.1, 1e-3], rng.normal(size=(3, 7, 9)), axes=1)
    x, y = (axis.ravel() for axis in np.meshgrid(np.linspace(0, 99, 8), np.linspace(0, 49, 8)))
    write_grid_kernel(tmp_path / "g.fits", cube, x, y)
    grid = read_kernel(tmp_path / "g.fits").kernel
    assert len(grid.basis) == 3
    np.testing.assert_allclose(grid.sample(x, y), cube, rtol=0, atol=1e-12 * np.abs(cube).max())
