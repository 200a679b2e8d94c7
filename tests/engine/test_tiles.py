"""How an image is cut into tiles, and that neither tiles nor threads show in the result."""

from __future__ import annotations

import sys
from collections.abc import Callable

import numpy as np
import pytest

from diffim_decorr import Exposure, SpatialKernel, decorrelate
from diffim_decorr.engine.convolve import convolve
from diffim_decorr.engine.tiles import Tiling
from diffim_decorr.kernels.grid import GridCoefficients
from support.field import SEAM, SHAPE, Field
from support.kernels import gaussian
from support.reference import convolved, rms
from support.tiles import column_seams, row_seams


@pytest.mark.parametrize("shape", [(1, 1), (300, 864), (865, 300), (60, 1100), (5000, 7), (1729, 2593)], ids=str)
@pytest.mark.parametrize("halo", [0, 17, 200])
def test_tiles_cover_the_image_once(shape: tuple[int, int], halo: int) -> None:
    """The last tile ends where the image ends, and none is larger than its transform can hold."""
    tiling = Tiling(shape, halo)
    covered = np.zeros(shape, np.uint8)
    for tile in tiling:
        covered[tile.slices] += 1
        assert all(n + 2 * halo <= side for n, side in zip(tile.shape, tiling.fft_shape, strict=True))
    assert (covered == 1).all()


@pytest.mark.parametrize("shape", [(60, 1100), (1100, 60)], ids=str)
@pytest.mark.parametrize("varying", [False, True])
def test_convolution_of_several_tiles(shape: tuple[int, int], varying: bool) -> None:
    """Everywhere what one convolution of the whole image is, at the seam and at the edges of the last tile too."""
    assert len(column_seams(shape)) + len(row_seams(shape)) == 1
    image = np.random.default_rng(2).normal(size=shape)
    kernels = np.array([gaussian(21, (2.0, 1.2), 30), gaussian(21, 1.1, total=1.3)])
    share = np.linspace(0, 1, shape[1]) * np.ones(shape) if varying else np.ones(shape)
    values = np.array([[[1.0, 0.0]], [[0.0, 1.0]]]) if varying else np.array([[[0.0, 0.0]], [[1.0, 1.0]]])
    ends = GridCoefficients(values, np.array([0.0, shape[1] - 1]), np.array([0.0]), order=1)
    expected = (1 - share) * convolved(image, kernels[0]) + share * convolved(image, kernels[1])
    np.testing.assert_allclose(convolve(image, SpatialKernel(kernels, ends)), expected, atol=1e-6)


def test_progress_is_told_tile_by_tile(field: Field) -> None:
    assert column_seams(SHAPE) == [SEAM]
    told: list[tuple[int, int]] = []
    field.decorrelated(progress=lambda stage, done, of: told.append((done, of)) if stage == "filter" else None)
    assert told == [(0, 0), (1, 2), (2, 2)]


def test_results_do_not_depend_on_threads(field: Field) -> None:
    assert column_seams(SHAPE) == [SEAM]
    one = field.decorrelated(threads=1)
    for threads in (2, 3):
        other = field.decorrelated(threads=threads)
        for plane in ("image", "variance", "mask"):
            np.testing.assert_array_equal(getattr(other.exposure, plane), getattr(one.exposure, plane))
        np.testing.assert_array_equal(other.psi.at(5, 7), one.psi.at(5, 7))


@pytest.fixture
def tiles_of_at_most(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Have images cut into tiles of at most so many pixels, which is no option."""
    home = sys.modules[Tiling.__module__]
    return lambda size: monkeypatch.setattr(home, "_LARGEST_TILE", size)


@pytest.mark.parametrize(("largest", "count"), [(97, 40), (256, 8)])
@pytest.mark.parametrize("tolerance", [1e-3, 1e-5])
def test_results_do_not_depend_on_tiles(
    field: Field, tolerance: float, largest: int, count: int, tiles_of_at_most: Callable[[int], None]
) -> None:
    """Beyond what of ψ may be left out within a tile, a fifth of the tolerance, times the brightest pixels."""
    one = field.kept(tolerance=tolerance)
    tiles_of_at_most(largest)
    assert len(list(Tiling(SHAPE, 40))) == count
    other = field.decorrelated(tolerance=tolerance)
    difference = (other.exposure.image - one.exposure.image.astype(float)) / field.sigma
    assert rms(difference) <= 0.3 * tolerance
    assert np.abs(difference).max() <= tolerance
    np.testing.assert_allclose(other.exposure.variance, one.exposure.variance, rtol=1e-3)
    np.testing.assert_array_equal(other.exposure.mask, one.exposure.mask)


def test_results_do_not_depend_on_tiles_with_a_bright_star(
    field: Field, tiles_of_at_most: Callable[[int], None]
) -> None:
    """Tiles near the star are transformed in another precision, which must not show."""
    science, template, difference = field.images
    image = difference.image.copy()
    image[150, 300] += 1e6 * field.sigma
    images = science, template, Exposure(image)
    options = {"spatial": True, "svar": field.svar, "tvar": field.tvar}
    one = decorrelate(*images, field.kernel, **options)
    tiles_of_at_most(100)
    assert len(list(Tiling(SHAPE, 40))) > 20
    other = decorrelate(*images, field.kernel, **options)
    far = np.ones(SHAPE, bool)
    half = one.psi.shape[0] // 2
    far[150 - half : 151 + half, 300 - half : 301 + half] = False
    difference_of = np.abs(other.exposure.image.astype(float) - one.exposure.image)
    assert difference_of[far].max() <= 1e-3 * field.sigma
    # Near the star, the rounding of its own single precision pixels is all there is.
    assert (difference_of[~far] / (field.sigma + np.abs(one.exposure.image[~far]))).max() <= 1e-5
