"""What the kernels of a tile are made of: as few as it takes, and as good as is asked for."""

from __future__ import annotations

import numpy as np
import pytest

from diffim_decorr.engine.convolve import TileConvolver
from diffim_decorr.engine.local import Localizer, LocalKernels
from diffim_decorr.engine.tiles import Tiling
from diffim_decorr.geometry import Box
from diffim_decorr.kernels.bank import KernelBank
from diffim_decorr.kernels.coefficients import Coefficients
from diffim_decorr.kernels.grid import GridCoefficients
from support.kernels import gaussian

TILE = Box(37, 110, 337, 350)
ERRORS = (1e-2, 1e-3, 1e-5)


def _bank(smooth: bool, images: int = 1) -> KernelBank:
    """Kernels of eight basis images: coefficients that go smoothly over 1000 pixels, or with kinks every 32."""
    rng = np.random.default_rng(5)
    bases = np.array([[gaussian(15, (w, 3 - w), 30 * w + k) for w in np.linspace(0.8, 2.2, 8)] for k in range(images)])
    knots = np.linspace(0, 999, 9 if smooth else 32)
    x, y = knots[None, :] / 500 - 1, knots[:, None] / 500 - 1
    values = sum(
        a[:, None, None] * term for a, term in zip(rng.normal(size=(6, 8)), (1, x, y, x * x, x * y, y * y), strict=True)
    )
    values = np.array(0.1 * values)
    if not smooth:
        # All follow the same two irregular functions.
        values += np.tensordot(rng.normal(size=(8, 2)), rng.normal(scale=0.02, size=(2, 32, 32)), axes=1)
    return KernelBank(bases, GridCoefficients(values, knots, knots, order=7 if smooth else 1))


def _kernels(bank: KernelBank, local: LocalKernels) -> np.ndarray:
    """The kernels (images, ny, nx, h, w) that a tile is convolved with."""
    sums = bank.bases if local.matrix is None else np.einsum("rn,inyx->iryx", local.matrix, bank.bases)
    along_y = local.along_y(float)
    kernels = np.zeros((len(sums), *TILE.shape, *sums.shape[2:]))
    for group, weights in zip(local.groups, local.along_x(float), strict=True):
        for number, degree in group:
            weight = (1.0 if weights is None else weights) * along_y[degree] * np.ones(TILE.shape)
            images = local.images(number, list(range(len(sums))))
            kernels[images] += np.einsum("yx,ihw->iyxhw", weight, sums[images, number])
    return kernels


def _exact(bank: KernelBank) -> np.ndarray:
    weights = bank.coefficients.grid(np.arange(TILE.x0, TILE.x1), np.arange(TILE.y0, TILE.y1))
    return np.einsum("nyx,inhw->iyxhw", weights, bank.bases)


@pytest.mark.parametrize("error", ERRORS)
@pytest.mark.parametrize("smooth", [True, False], ids=["smooth", "with kinks"])
def test_the_error_is_kept_at_every_pixel(smooth: bool, error: float) -> None:
    """Of the kernels, and twenty times better of their sums."""
    bank = _bank(smooth)
    local = Localizer(bank)(TILE, error)
    assert local.matrix is not None
    left = _kernels(bank, local) - _exact(bank)
    assert np.sqrt((left**2).sum(axis=(3, 4))).max() <= 1.02 * error  # it is looked at in some places only
    assert np.abs(left.sum(axis=(3, 4))).max() <= 1.02 * error / 20


def test_smooth_kernels_share_polynomials_and_others_have_functions() -> None:
    smooth, kinks = (Localizer(_bank(own))(TILE, 1e-5) for own in (True, False))
    assert not isinstance(smooth.weights, Coefficients)
    assert len(smooth.groups) < sum(map(len, smooth.groups)) < 8
    assert isinstance(kinks.weights, Coefficients)
    assert len(kinks.groups) < 8


def test_fewer_kernels_for_a_larger_error_and_all_of_them_for_none() -> None:
    localizer = Localizer(_bank(True))
    counts = [sum(map(len, localizer(TILE, error).groups)) for error in ERRORS]
    assert counts == sorted(counts)
    assert counts[0] < counts[-1]
    exact = localizer(TILE, 0.0)
    assert exact.matrix is None
    assert len(exact.groups) == 8


@pytest.mark.parametrize("level", [1.0, 1e-2, 1e-3, 1e-4, 1e-6])
def test_the_error_is_that_of_all_images_together(level: float) -> None:
    """Each counts by its level, and what is left out of one of them for good is a tenth of it."""
    bank, levels = _bank(True, images=2), np.array([1.0, level])
    left = (_kernels(bank, Localizer(bank, levels)(TILE, 1e-3)) - _exact(bank)) * levels[:, None, None, None, None]
    assert np.sqrt((left**2).sum(axis=(0, 3, 4))).max() <= 1.12e-3


def test_an_image_that_counts_for_nothing_is_not_convolved_for_each_kernel() -> None:
    bank, levels = _bank(True, images=2), np.array([1.0, 1e-6])
    local = Localizer(bank, levels)(TILE, 1e-3)
    used = [local.images(number, [0, 1]) for group in local.groups for number, _ in group]
    assert used.count([0, 1]) < len(used)
    assert all(0 in images for images in used)
    assert local.images(0, [1]) == [1]  # of a single image nothing is left out


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("images", [1, 2])
@pytest.mark.parametrize("smooth", [True, False], ids=["smooth", "with kinks"])
def test_convolution_with_them(smooth: bool, images: int, dtype: type) -> None:
    """It is off by as much as they are: what white noise makes of the error."""
    bank, error = _bank(smooth, images), 1e-3
    tiling = Tiling(TILE.shape, 20)
    rng = np.random.default_rng(8)
    noise = [rng.normal(size=tiling.fft_shape).astype(dtype) for _ in range(images)]
    convolver = TileConvolver(bank, tiling)
    exact = convolver(convolver.local(TILE), noise).copy()
    left = convolver(convolver.local(TILE, error), noise) - exact
    assert 0 < np.sqrt(np.mean(left**2)) <= error
    np.testing.assert_allclose(
        convolver(convolver.local(TILE, 1e-12), noise), exact, atol=2e-5 if dtype == np.float32 else 1e-10
    )
