"""ψ follows the local noise ratio, of the background and not of sources."""

from __future__ import annotations

import numpy as np
import pytest

from diffim_decorr import Exposure, Result, decorrelate
from support.kernels import IDENTITY, gaussian
from support.noise import PLANES, noise_images, noise_pair
from support.reference import central, convolved, psi_of

KERNEL = gaussian(15, 1.5)
STAR = gaussian(41, 1.8)


def psi_with(ratio: float) -> np.ndarray:
    return psi_of([IDENTITY, KERNEL], [1.0, ratio], 128)


def norm_of_error(result: Result, x: float, y: float, ratio: float) -> float:
    """Of ψ at a position, against ψ for a noise ratio."""
    psi = result.psi.at(x, y)
    return float(np.sqrt(((psi - central(psi_with(ratio), psi.shape[0] // 2)) ** 2).sum()))


def ratio_at(result: Result, x: float, y: float) -> float:
    """The ratio whose ψ is nearest, from the central value, which grows with it."""
    ratios = np.geomspace(0.2, 40, 41)
    peaks = [psi_with(r)[63, 63] for r in ratios]
    return float(np.exp(np.interp(result.psi.at(x, y).max(), peaks, np.log(ratios))))


def spatial(
    svar: np.ndarray, tvar: np.ndarray, masks: tuple[np.ndarray | None, np.ndarray | None] = (None, None)
) -> Result:
    science, template = noise_pair(8, svar.shape, 1.0, 1.0)
    made = [
        Exposure(image, variance.astype("f4"), mask, mask_planes=None if mask is None else PLANES)
        for image, variance, mask in zip((science, template), (svar, tvar), masks, strict=True)
    ]
    return decorrelate(*made, Exposure(science - convolved(template, KERNEL)), KERNEL, spatial=True)


SHAPE = (330, 460)


def test_psi_follows_a_gradient_of_the_noise() -> None:
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    tvar = 1 + 3 * x / 460 + y / 330
    result = spatial(np.ones(SHAPE), tvar)
    for px, py in [(40, 40), (230, 165), (420, 290), (100, 250), (333, 77)]:
        # The mean over cells of 64 pixels of something linear is its value at their centres.
        assert norm_of_error(result, px, py, tvar[py, px]) < 5e-3
        assert ratio_at(result, px, py) == pytest.approx(tvar[py, px], rel=0.02)


def test_psi_follows_the_gradient_of_either_image() -> None:
    x = np.broadcast_to(np.arange(460), SHAPE)
    result = spatial(1 / (1 + 3 * x / 460), np.ones(SHAPE))
    for px in (60, 230, 400):
        assert ratio_at(result, px, 160) == pytest.approx(1 + 3 * px / 460, rel=0.02)


@pytest.mark.parametrize("column", [200, 203, 228, 256])
@pytest.mark.parametrize("factor", [4.0, 0.5])
def test_a_step_is_found_where_it_is(column: int, factor: float) -> None:
    # It is known to a cell of 8 pixels; halfway between both sides it is less than 8 from where it is.
    tvar = np.ones(SHAPE)
    tvar[:, column:] = factor
    result = spatial(np.ones(SHAPE), tvar)
    for y in (5, 165, 325):
        middle = np.sqrt(factor)
        assert (ratio_at(result, column - 8, y) - middle) * (ratio_at(result, column + 7, y) - middle) < 0
        for x in (column - 150, column - 10):
            assert ratio_at(result, x, y) == pytest.approx(1, rel=0.01)
        for x in (column + 9, column + 150):
            assert ratio_at(result, x, y) == pytest.approx(factor, rel=0.01)


@pytest.mark.parametrize("row", [100, 131])
def test_a_step_along_the_other_axis(row: int) -> None:
    tvar = np.ones(SHAPE)
    tvar[row:] = 3.0
    result = spatial(np.ones(SHAPE), tvar)
    for x in (5, 230, 455):
        assert ratio_at(result, x, row - 10) == pytest.approx(1, rel=0.01)
        assert ratio_at(result, x, row + 9) == pytest.approx(3, rel=0.01)


def test_a_step_in_noisy_variance_planes() -> None:
    """Variance planes that carry noise of their own, as those of counts do."""
    rng = np.random.default_rng(9)
    tvar = np.where(np.arange(460) < 203, 1.0, 4.0) * rng.normal(1, 0.1, SHAPE)
    result = spatial(rng.normal(1, 0.1, SHAPE), tvar)
    for y in (60, 165, 270):
        # The median over cells is of those of its own side only, next to the step of the upper or lower ones of them.
        assert ratio_at(result, 203 - 10, y) == pytest.approx(1, rel=0.1)
        assert ratio_at(result, 203 + 9, y) == pytest.approx(4, rel=0.1)
        assert ratio_at(result, 203 - 50, y) == pytest.approx(1, rel=0.02)
        assert ratio_at(result, 203 + 50, y) == pytest.approx(4, rel=0.02)


def test_sources_do_not_change_psi() -> None:
    """A bright source's Poisson noise raises the variance plane; the background's noise is as before."""
    svar, tvar = np.ones(SHAPE), np.full(SHAPE, 2.0)
    places = [(80, 90), (230, 160), (300, 250), (391, 97)]
    for (x, y), flux in zip(places, (300.0, 3e3, 3e4, 3e5), strict=True):
        svar[y - 20 : y + 21, x - 20 : x + 21] += flux * STAR
        tvar[y - 20 : y + 21, x - 20 : x + 21] += 0.2 * flux * STAR
    result = spatial(svar, tvar)
    for x, y in places:
        assert norm_of_error(result, x, y, 2.0) < 5e-3
    for x in range(20, 440, 24):
        assert norm_of_error(result, x, 160, 2.0) < 5e-3


def test_sources_do_not_change_psi_next_to_a_step() -> None:
    svar, tvar = np.ones(SHAPE), np.where(np.arange(460) < 203, 1.0, 4.0) * np.ones(SHAPE)
    places = [(150, 90), (180, 200), (230, 160), (391, 97)]
    for (x, y), flux in zip(places, (300.0, 3e3, 1e4, 3e4), strict=True):
        svar[y - 20 : y + 21, x - 20 : x + 21] += flux * STAR
        tvar[y - 20 : y + 21, x - 20 : x + 21] += 0.2 * flux * STAR
    result = spatial(svar, tvar)
    for x, y in places:
        assert ratio_at(result, x, y) == pytest.approx(1.0 if x < 203 else 4.0, rel=0.03)


def test_masked_blocks_take_the_noise_of_their_surroundings() -> None:
    svar, tvar = np.ones(SHAPE), np.full(SHAPE, 2.0)
    mask = np.zeros(SHAPE, "i4")
    area = slice(60, 260), slice(150, 350)
    svar[area], mask[area] = 50.0, 1 << PLANES["DETECTED"]
    result = spatial(svar, tvar, (mask, None))
    for x, y in [(250, 160), (155, 65), (345, 255), (60, 60), (400, 300)]:
        assert norm_of_error(result, x, y, 2.0) < 5e-3


@pytest.mark.parametrize("value", [np.nan, np.inf, 0.0])
def test_blocks_without_variance_take_that_of_their_surroundings(value: float) -> None:
    svar, tvar = np.ones(SHAPE), np.full(SHAPE, 2.0)
    tvar[100:300, 120:420] = value
    result = spatial(svar, tvar)
    for x, y in [(270, 200), (125, 105), (415, 295), (60, 60)]:
        assert norm_of_error(result, x, y, 2.0) < 5e-3


def test_without_a_variation_of_the_noise_psi_is_one_kernel() -> None:
    images = noise_images(10, SHAPE, KERNEL, 1.0, 2.0)
    varying, constant = (decorrelate(*images, KERNEL, spatial=s) for s in (True, False))
    np.testing.assert_array_equal(varying.exposure.image, constant.exposure.image)
