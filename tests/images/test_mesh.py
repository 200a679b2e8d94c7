"""A background that is known in cells, and an image without it."""

from __future__ import annotations

import numpy as np
import pytest

from diffim_decorr.geometry import Box
from diffim_decorr.images.absent import Fill
from diffim_decorr.images.mesh import Flattened, Mesh, edges
from diffim_decorr.images.planes import ArrayPlane


@pytest.mark.parametrize(
    ("length", "size", "count"), [(100, 25, 4), (100, 30, 3), (10, 64, 1), (65, 64, 1), (130, 64, 2)]
)
def test_cells_divide_a_length_evenly(length: int, size: int, count: int) -> None:
    found = edges(length, size)
    assert (found[0], found[-1], len(found)) == (0, length, count + 1)
    assert np.ptp(np.diff(found)) <= 1


def test_a_plane_is_itself_up_to_the_borders() -> None:
    """What is linear is met between the middles of cells, and on from there."""
    ny, nx = 60, 90
    truth = 3 + 0.5 * np.arange(ny)[:, None] - 0.25 * np.arange(nx)
    cells = truth.reshape(3, 20, 6, 15).mean(axis=(1, 3))
    mesh = Mesh(cells, (ny, nx))
    np.testing.assert_allclose(mesh.within(Box(0, 0, nx, ny)), truth, atol=1e-12)
    box = Box(17, 41, 30, 60)
    np.testing.assert_allclose(mesh.within(box), truth[box.slices], atol=1e-12)
    np.testing.assert_allclose(mesh.scaled(8).within(box), 8 * truth[box.slices], atol=1e-12)


def test_one_cell_is_a_level() -> None:
    assert np.all(Mesh(np.array([[7.0]]), (5, 6)).within(Box(0, 0, 6, 5)) == 7)


def test_fills_are_known_before_the_background_is_taken_off() -> None:
    image = np.full((20, 20), 5.0, np.float32)
    image[3, 4], image[6, 7], image[10:14, 10:14], image[17, 1] = 1e-30, np.inf, 0, 0
    fills = (Fill(1e-30), Fill(0.0, area=3))
    plane = Flattened(ArrayPlane(image), fills, Mesh(np.array([[2.0]]), image.shape))
    flat = plane.read_all()
    gone = np.zeros(image.shape, bool)
    gone[3, 4] = gone[10:14, 10:14] = True
    np.testing.assert_array_equal(np.isnan(flat), gone)
    assert flat[6, 7] == np.inf
    assert flat[17, 1] == -2  # a zero by itself is data
    assert np.all(flat[:3] == 3)
    np.testing.assert_array_equal(plane.read_every(Box(0, 0, 20, 20), (4, 5)), flat[::4, ::5])
