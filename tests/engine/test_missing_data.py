"""Missing data: what is replaced, what stays missing, and what must not be touched."""

from __future__ import annotations

import numpy as np
import pytest

from diffim_decorr import Exposure, decorrelate
from support.hole import HOLE, KERNEL, PSI, REACH, SHAPE, SQUARES, SVAR, TVAR, bit, images, plane, run
from support.noise import noise_pair
from support.reference import convolved, filtered_at
from support.tiles import column_seams

# Non-finite pixels


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_pixels_that_are_not_finite_stay_so(value: float) -> None:
    difference = images()[2]
    difference[HOLE] = value
    result = run(difference)
    hole = np.zeros(SHAPE, bool)
    hole[HOLE] = True
    np.testing.assert_array_equal(result.exposure.image[HOLE], np.float32(value))
    assert np.isfinite(result.exposure.image[~hole]).all()
    assert np.isfinite(result.exposure.variance[~hole]).all()
    assert bit(result, "NO_DATA")[HOLE].all()
    assert not bit(result, "NO_DATA")[~hole].any()


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_pixels_that_are_not_finite_count_as_background(value: float) -> None:
    difference = images()[2]
    zeroed = difference.copy()
    zeroed[HOLE] = 0
    difference[HOLE] = value
    image = run(difference).exposure.image
    for x, y in [(79, 70), (87, 78), (83, 79), (60, 60), (83, 69), (90, 75)]:
        assert image[y, x] == pytest.approx(filtered_at(zeroed.astype(float), x, y, PSI), abs=1e-3)


def test_variance_near_a_hole_is_that_of_the_pixels_that_are_left() -> None:
    """V' = Σ_i (ψ ⊗ κ_i)² ⊗ V_i, with the V_i zero where pixels were replaced."""
    difference = images()[2]
    difference[HOLE] = np.nan
    variance = run(difference).exposure.variance
    left = np.ones(SHAPE)
    left[HOLE] = 0
    for x, y in [(79, 70), (87, 78), (83, 79), (60, 60), (83, 69), (0, 0), (169, 75), (90, 75)]:
        expected = sum(v * filtered_at(left, x, y, s) for v, s in zip((SVAR, TVAR), SQUARES, strict=True))
        assert variance[y, x] == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize("spatial", [False, True])
def test_nothing_but_missing_pixels_left_and_right(spatial: bool) -> None:
    """A whole tile of NaN, as beyond the edge of a warped image, and a part of the next one."""
    shape = (110, 1100)
    (seam,) = column_seams(shape)
    science, template = noise_pair(53, shape, SVAR, TVAR)
    difference = science - convolved(template, KERNEL)
    left = seam + 10
    difference[:, :left] = np.nan
    difference[:20] = np.nan
    result = decorrelate(
        Exposure(science, SVAR), Exposure(template, TVAR), Exposure(difference), KERNEL, spatial=spatial
    )
    assert np.isnan(result.exposure.image[:, :left]).all()
    assert np.isfinite(result.exposure.image[20:, left:]).all()
    assert bit(result, "DECORR_BAD")[25:, left].all()
    assert not bit(result, "DECORR_BAD")[20 + REACH : 110 - REACH, left + REACH : 1100 - REACH].any()


# Replaced mask planes


@pytest.mark.parametrize("name", ["SAT", "CR", "BAD", "NO_DATA"])
@pytest.mark.parametrize("whose", [0, 1, 2])
def test_a_masked_star_does_not_ring(name: str, whose: int) -> None:
    """Whichever input's mask says that it is saturated, pixels around it are as if there had been no star."""
    difference = images()[2]
    mask = plane(name, HOLE)
    masks = tuple(mask if k == whose else None for k in range(3))
    without = run(difference, masks)
    difference = difference.copy()
    difference[HOLE] += 1e5
    result = run(difference, masks)
    np.testing.assert_array_equal(result.exposure.image, without.exposure.image)
    np.testing.assert_array_equal(result.exposure.variance, without.exposure.variance)
    zeroed = difference.astype(float)
    zeroed[HOLE] = 0
    if whose == 1:  # it was convolved
        shares = convolved((mask != 0).astype(float), KERNEL / KERNEL.sum())
        zeroed[shares > 0.01] = 0
    for x, y in [(79, 70), (87, 78), (83, 69), (93, 79)]:
        assert result.exposure.image[y, x] == pytest.approx(filtered_at(zeroed, x, y, PSI), abs=1e-3)
    assert np.isfinite(result.exposure.image).all()
    assert bit(result, name)[HOLE].all()
    assert bit(result, name).sum() == 63


@pytest.mark.parametrize("name", ["INTRP", "DETECTED", "EDGE"])
def test_other_planes_are_not_replaced(name: str) -> None:
    difference = images()[2]
    result = run(difference, (plane(name, HOLE), None, None))
    np.testing.assert_array_equal(result.exposure.image, run(difference).exposure.image)
    assert not bit(result, "DECORR_BAD").any()


@pytest.mark.parametrize(("planes", "rings"), [((), True), (("CR",), True), (("INTRP", "SAT"), False)])
def test_which_planes_are_replaced_is_the_users_choice(planes: tuple[str, ...], rings: bool) -> None:
    difference = images()[2]
    masks = (plane("SAT", HOLE), None, None)
    difference[HOLE] += 1e5
    result = run(difference, masks, replace_planes=planes)
    zeroed = difference.astype(float)
    if not rings:
        zeroed[HOLE] = 0
    x, y = 89, 74
    assert result.exposure.image[y, x] == pytest.approx(filtered_at(zeroed, x, y, PSI), rel=1e-4, abs=1e-3)
    assert (abs(result.exposure.image[y, x]) > 100) == rings
    assert bit(result, "SAT")[HOLE].all()
    assert bit(result, "DECORR_BAD").any() != rings


def test_pixels_that_are_not_finite_are_replaced_whatever_the_planes() -> None:
    difference = images()[2]
    difference[HOLE] = np.nan
    result = run(difference, replace_planes=())
    assert np.count_nonzero(~np.isfinite(result.exposure.image)) == 63


def test_pixels_of_the_missing_value_are_missing() -> None:
    """HOTPANTS' MASKVAL, 1e-30: a number that is finite, kept as it is."""
    difference = images()[2]
    zeroed = difference.astype(float)
    zeroed[HOLE] = 0
    difference[HOLE] = 1e-30
    science, template, _ = images()
    result = decorrelate(
        Exposure(science, SVAR), Exposure(template, TVAR), Exposure(difference, missing_value=1e-30), KERNEL
    )
    assert bit(result, "NO_DATA")[HOLE].all()
    assert bit(result, "NO_DATA").sum() == 63
    assert bit(result, "DECORR_BAD")[HOLE].all()
    # They hold no data, and must not look like a difference of zero.
    assert not np.isfinite(result.exposure.image[HOLE]).any()
    x, y = 88, 74
    assert result.exposure.image[y, x] == pytest.approx(filtered_at(zeroed, x, y, PSI), abs=1e-3)
