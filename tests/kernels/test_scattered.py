"""Kernels at scattered positions bend as a thin plate."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from diffim_decorr import read_kernel, write_grid_kernel
from support.command import succeed
from support.files import INPUTS
from support.kernels import gaussian


def scattered(seed: int, count: int = 12) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.normal(size=(count, 3, 5)), rng.uniform(0, 2000, count), rng.uniform(0, 4000, count)


def test_scattered_kernels_are_met_and_planes_are_exact(tmp_path: Path) -> None:
    cube, x, y = scattered(1)
    write_grid_kernel(tmp_path / "k.fits", cube, x, y)
    matching = read_kernel(tmp_path / "k.fits")
    assert (matching.format, matching.parent_frame) == ("grid", True)
    for k in (0, 5, 11):
        np.testing.assert_allclose(matching.kernel.at(x[k], y[k]), cube[k], rtol=0, atol=1e-9)
    # A thin plate that may be flat is flat, inside and out.
    planes = cube[0] + cube[1] * x[:, None, None] / 2000 - cube[2] * y[:, None, None] / 4000
    write_grid_kernel(tmp_path / "p.fits", planes, x, y)
    kernel = read_kernel(tmp_path / "p.fits").kernel
    for at in [(700.0, 1500.0), (-100.0, 4500.0)]:
        expected = cube[0] + cube[1] * at[0] / 2000 - cube[2] * at[1] / 4000
        np.testing.assert_allclose(kernel.at(*at), expected, rtol=0, atol=1e-9)
    moved = kernel.shifted(-64, 100)
    np.testing.assert_allclose(moved.at(36, 1600), kernel.at(100, 1500), rtol=0, atol=1e-9)


def test_scattered_kernels_bend_as_a_thin_plate(tmp_path: Path) -> None:
    """Between four corners and a centre: r² ln r and a plane, solved by hand."""
    x, y = np.array([0.0, 100.0, 0.0, 100.0, 50.0]), np.array([0.0, 0.0, 100.0, 100.0, 50.0])
    write_grid_kernel(tmp_path / "k.fits", np.array([1.0, 1, 1, 1, 3])[:, None, None], x, y)

    # Symmetry: weight w at the corners, -4 w in the centre, and a constant c.
    def phi(r: float) -> float:
        return r**2 * np.log(r) if r else 0.0

    half, side, diagonal = np.sqrt(5000.0), 100.0, np.sqrt(20000.0)
    corner = 2 * phi(side) + phi(diagonal) - 4 * phi(half)
    centre = 4 * phi(half)
    w = (3 - 1) / (centre - corner)
    c = 1 - w * corner
    r = [np.hypot(80.0 - a, 30.0 - b) for a, b in zip(x, y, strict=True)]
    expected = w * (sum(map(phi, r[:4])) - 4 * phi(r[4])) + c
    assert read_kernel(tmp_path / "k.fits").kernel.sum_at(80, 30) == pytest.approx(expected, rel=1e-9)


def test_the_command_takes_scattered_kernels(folder: Path) -> None:
    positions = np.array([(10, 12), (80, 9), (50, 71), (90, 60), (20, 66)])
    write_grid_kernel(folder / "k.fits", [gaussian(9, 1.2 + 0.005 * x) for x, _ in positions], *positions.T)
    succeed(folder, "run", *INPUTS[:3], "-k", "k.fits", "--spatial")
