"""Missing data: what is replaced, what is flagged, what stays missing, and what must not be touched."""

from __future__ import annotations

import numpy as np
import pytest
from reference import (
    IDENTITY,
    PLANES,
    convolved,
    exposures,
    filtered_at,
    gaussian,
    noise_pair,
    psi_of,
)

from diffim_decorr import Exposure, InputError, Result, decorrelate

SHAPE = (150, 170)
KERNEL = gaussian(15, (1.7, 1.3), angle=25)
SVAR, TVAR = 1.0, 2.0
PSI = psi_of([IDENTITY, KERNEL], [SVAR, TVAR], 128)
SQUARES = PSI**2, convolved(PSI, KERNEL) ** 2
# ψ is below 1e-5 of its sum farther out than this.
REACH = 30


def images(seed: int = 51) -> list[np.ndarray]:
    """Science, template and difference of nothing but noise, single precision."""
    science, template = noise_pair(seed, SHAPE, SVAR, TVAR)
    return [a.astype("f4") for a in (science, template, science - convolved(template, KERNEL))]


def run(difference: np.ndarray, masks: tuple[np.ndarray | None, ...] = (None, None, None), **options: object) -> Result:
    """Decorrelate a difference; masks are those of science, template and difference."""
    science, template, _ = images()
    made = [
        Exposure(image, variance, mask, mask_planes=None if mask is None else PLANES)
        for image, variance, mask in zip((science, template, difference), (SVAR, TVAR, None), masks, strict=True)
    ]
    return decorrelate(*made, KERNEL, **options)


def bit(result: Result, plane: str) -> np.ndarray:
    return (result.exposure.mask >> result.exposure.mask_planes[plane]) & 1 == 1


def plane(name: str, *slices: tuple[slice, slice]) -> np.ndarray:
    mask = np.zeros(SHAPE, "i4")
    for area in slices:
        mask[area] |= 1 << PLANES[name]
    return mask


HOLE = slice(70, 79), slice(80, 87)


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
    """Whole tiles of NaN, as beyond the edge of a warped image."""
    difference = images()[2]
    difference[:, :60] = np.nan
    difference[:20] = np.nan
    result = run(difference, spatial=spatial)
    assert np.isnan(result.exposure.image[:, :60]).all()
    assert np.isfinite(result.exposure.image[20:, 60:]).all()
    assert bit(result, "DECORR_BAD")[25:, 60].all()
    assert not bit(result, "DECORR_BAD")[60:120, 60 + REACH : 130].any()


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
    for x, y in [(79, 70), (87, 78), (83, 69)]:
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


# Mask bits


def test_every_input_bit_is_set_by_name() -> None:
    """The three inputs number their planes differently, up to the sign bit; the result has one numbering."""
    rng = np.random.default_rng(52)
    numberings = (
        {"SAT": 0, "CR": 1, "STREAK": 31, "DETECTED": 7},
        {"CR": 0, "SAT": 5, "CLIPPED": 30, "DETECTED": 31},
        {"BAD": 0, "SAT": 31, "EDGE": 2, "DECORR_BAD": 4, "NO_DATA": 1},
    )
    masks = []
    for numbers in numberings:
        mask = np.zeros(SHAPE, np.int64)
        for number in numbers.values():
            mask |= (rng.random(SHAPE) < 0.01).astype(np.int64) << number
        masks.append(mask.astype(np.uint32).view(np.int32))
    inputs = [
        Exposure(image, variance, mask, mask_planes=numbers)
        for image, variance, mask, numbers in zip(images(), (1.0, 2.0, None), masks, numberings, strict=True)
    ]
    result = decorrelate(*inputs, KERNEL)
    planes = result.exposure.mask_planes
    assert len(set(planes.values())) == len(planes)
    assert result.exposure.mask.dtype == np.int32
    own = {"EDGE", "DECORR_BAD"}
    for name in {name for numbers in numberings for name in numbers}:
        expected = np.zeros(SHAPE, bool)
        for mask, numbers in zip(masks, numberings, strict=True):
            if name in numbers:
                expected |= (mask.view(np.uint32) >> numbers[name]) & 1 == 1
        if name in own:
            assert bit(result, name)[expected].all()
        else:
            np.testing.assert_array_equal(bit(result, name), expected, err_msg=name)


@pytest.mark.parametrize("dtype", ["u1", "i2", ">i4", "u4", "i8", "?"])
def test_masks_of_any_integer_type(dtype: str) -> None:
    mask = np.zeros(SHAPE, dtype)
    mask[HOLE] = 1
    result = run(images()[2], (mask, None, None))
    assert bit(result, "BAD").sum() == 63
    assert bit(result, "DECORR_BAD")[HOLE].all()


def test_more_planes_than_bits_are_refused() -> None:
    science, template, difference = images()
    mask = np.zeros(SHAPE, "i4")
    one = Exposure(science, 1.0, mask, mask_planes={f"A{k}": k for k in range(20)})
    other = Exposure(template, 1.0, mask, mask_planes={f"B{k}": k for k in range(20)})
    with pytest.raises(InputError, match="32"):
        decorrelate(one, other, Exposure(difference), KERNEL)


# Flags


def lost_fractions(replaced: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Which fraction of Σ|ψ| fell on replaced pixels, and which outside the image."""
    weight = np.abs(PSI) / np.abs(PSI).sum()
    inside = convolved(np.ones(SHAPE), weight)
    return convolved(replaced.astype(float), weight), 1 - inside


@pytest.mark.parametrize("limit", [0.001, 0.01, 0.2])
@pytest.mark.parametrize("spatial", [False, True])
def test_flags_are_where_too_much_of_psi_was_missing(limit: float, spatial: bool) -> None:
    difference = images()[2]
    difference[HOLE] = np.nan
    mask = plane("CR", (slice(30, 31), slice(40, 41)), (slice(110, 111), slice(0, 40)))
    result = run(difference, (None, mask, None), bad_fraction=limit, spatial=spatial)
    replaced = ~np.isfinite(difference) | (mask != 0)
    bad, outside = lost_fractions(replaced)
    # ψ is accurate to 1e-3, and cut at 1e-5 of its sum.
    clear = np.minimum(np.abs(bad - limit), np.abs(outside - limit)) > 0.02 * limit + 2e-5
    clear &= np.abs(bad + outside - limit) > 0.02 * limit + 2e-5
    assert clear.mean() > 0.95
    np.testing.assert_array_equal(bit(result, "EDGE")[clear], (outside > limit)[clear])
    # What fell on replaced pixels and what fell outside add up.
    flagged = bit(result, "DECORR_BAD") | bit(result, "EDGE")
    np.testing.assert_array_equal(flagged[clear], (bad + outside > limit)[clear])
    assert bit(result, "DECORR_BAD")[clear & (bad > limit)].all()
    assert not bit(result, "DECORR_BAD")[clear & (bad == 0)].any()


def test_one_lost_pixel_flags_itself_and_few_others() -> None:
    difference = images()[2]
    difference[75, 80] = np.nan
    flagged = bit(run(difference), "DECORR_BAD")
    weight = np.abs(PSI) / np.abs(PSI).sum()
    assert flagged[75, 80]
    assert flagged.sum() == pytest.approx((weight > 0.01).sum(), abs=2)


# Missing values of HOTPANTS


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


# Variance planes


@pytest.mark.parametrize("value", [np.nan, np.inf, 0.0, -1.0, 1e30, 1e37])
@pytest.mark.parametrize("variance", ["full", "estimate"])
@pytest.mark.parametrize("whose", [0, 1])
def test_bad_pixels_of_a_variance_plane_stay_their_own_problem(value: float, variance: str, whose: int) -> None:
    """One bad variance must not spoil those of pixels that do not depend on it, nor the image."""
    science, template, difference = images()
    planes = [np.full(SHAPE, v, "f4") for v in (SVAR, TVAR)]
    good = decorrelate(
        Exposure(science, planes[0]), Exposure(template, planes[1]), Exposure(difference), KERNEL, variance=variance
    )
    planes[whose][75, 80] = value
    inputs = Exposure(science, planes[0]), Exposure(template, planes[1]), Exposure(difference)
    with np.errstate(over="ignore"):
        result = decorrelate(*inputs, KERNEL, variance=variance)
    np.testing.assert_allclose(result.exposure.image, good.exposure.image, atol=1e-4)
    half = max(result.psi.shape) // 2 + 8
    far = np.ones(SHAPE, bool)
    far[75 - half : 76 + half, 80 - half : 81 + half] = False
    np.testing.assert_allclose(result.exposure.variance[far], good.exposure.variance[far], rtol=1e-3)
    # An unknown variance is unknown afterwards, and nothing that was known is a worse one than nothing.
    own = result.exposure.variance[75, 80]
    assert not np.isfinite(own) or own > 0.5 * good.exposure.variance[75, 80]
    assert not (result.exposure.variance < 0).any()


def test_a_variance_plane_of_zeros_where_there_is_no_data() -> None:
    """As in many surveys' files: NO_DATA pixels have variance 0, which is not to be averaged in."""
    science, template, difference = images()
    mask = plane("NO_DATA", (slice(None), slice(0, 50)))
    svar = np.full(SHAPE, SVAR, "f4")
    svar[:, :50] = 0
    inputs = Exposure(science, svar, mask, mask_planes=PLANES), Exposure(template, TVAR), Exposure(difference)
    for spatial in (False, True):
        result = decorrelate(*inputs, KERNEL, spatial=spatial)
        half = result.psi.shape[0] // 2
        middle = PSI.shape[0] // 2
        cut = PSI[middle - half : middle + half + 1, middle - half : middle + half + 1]
        np.testing.assert_allclose(result.psi.at(100, 75), cut, atol=1e-4)
        assert result.exposure.variance[75, 120] == pytest.approx(run(difference).exposure.variance[75, 120], rel=1e-3)


# Inputs


@pytest.mark.parametrize("spatial", [False, True])
def test_inputs_are_never_modified(spatial: bool) -> None:
    from astropy.io.fits import Header

    science, template, difference = images()
    difference[HOLE] = np.nan
    planes = [np.full(SHAPE, v, "f4") for v in (SVAR, TVAR)]
    planes[0][3, 3] = np.nan
    masks = [plane("SAT", HOLE) for _ in range(3)]
    header = Header([("OBJECT", "field"), ("MASKVAL", 1e-30)])
    kernel, psf = KERNEL.copy(), gaussian(11, 1.0)
    arrays = [science, template, difference, *planes, *masks, kernel, psf]
    for array in arrays:
        array.flags.writeable = False
    copies = [array.copy() for array in arrays]
    numbers = dict(PLANES)
    inputs = [
        Exposure(image, variance, mask, mask_planes=numbers, header=header, psf=psf)
        for image, variance, mask in zip(arrays[:3], (*planes, None), masks, strict=True)
    ]
    card = str(header)
    result = decorrelate(*inputs, kernel, spatial=spatial)
    for array, copy in zip(arrays, copies, strict=True):
        np.testing.assert_array_equal(array, copy)
    assert str(header) == card
    assert numbers == PLANES
    assert result.exposure.header is not header
    for made in (result.exposure.image, result.exposure.variance, result.exposure.mask):
        assert not any(np.shares_memory(made, array) for array in arrays)


@pytest.mark.parametrize("dtype", ["f8", ">f4", ">f8"])
def test_pixels_of_any_floating_type(dtype: str) -> None:
    made = images()
    planes = [np.full(SHAPE, v, "f4") for v in (SVAR, TVAR)]
    expected = decorrelate(*[Exposure(i, v) for i, v in zip(made, (*planes, None), strict=True)], KERNEL)
    inputs = [
        Exposure(i.astype(dtype), None if v is None else v.astype(dtype))
        for i, v in zip(made, (*planes, None), strict=True)
    ]
    result = decorrelate(*inputs, KERNEL)
    assert result.exposure.image.dtype == np.float32
    assert result.exposure.image.dtype.isnative
    np.testing.assert_allclose(result.exposure.image, expected.exposure.image, atol=1e-6)
    np.testing.assert_allclose(result.exposure.variance, expected.exposure.variance, rtol=1e-6)


@pytest.mark.parametrize("dtype", ["i2", ">i4", "i8", "u2"])
def test_integer_pixels(dtype: str) -> None:
    made = [np.round(100 * image) + 1000 * (dtype == "u2") for image in images()]
    planes = [np.full(SHAPE, v * 1e4) for v in (SVAR, TVAR)]
    expected = decorrelate(*[Exposure(i, v) for i, v in zip(made, (*planes, None), strict=True)], KERNEL)
    inputs = [
        Exposure(i.astype(dtype), None if v is None else v.astype("i4"))
        for i, v in zip(made, (*planes, None), strict=True)
    ]
    result = decorrelate(*inputs, KERNEL)
    np.testing.assert_allclose(result.exposure.image, expected.exposure.image, atol=2e-3)
    np.testing.assert_allclose(result.exposure.variance, expected.exposure.variance, rtol=1e-6)


def test_exposures_are_as_good_as_survey_files() -> None:
    # That the shortcuts of these tests are none: variances as numbers or planes, masks or none.
    science, template, difference = images()
    one = run(difference)
    other = decorrelate(*exposures(science, template, difference, SVAR, TVAR), KERNEL)
    np.testing.assert_array_equal(one.exposure.image, other.exposure.image)
    np.testing.assert_array_equal(one.exposure.variance, other.exposure.variance)
