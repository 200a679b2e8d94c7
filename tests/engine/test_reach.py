"""Defects of the image that was convolved, and backgrounds that are not 0."""

from __future__ import annotations

import numpy as np
import pytest

from diffim_decorr import Exposure, decorrelate
from support.hole import HOLE, KERNEL, SHAPE, SVAR, TVAR, bit, images, plane, run
from support.noise import PLANES
from support.reference import convolved

SHARES = KERNEL / KERNEL.sum()


def area(*slices: tuple[slice, slice]) -> np.ndarray:
    mask = np.zeros(SHAPE, bool)
    for where in slices:
        mask[where] = True
    return mask


RAY = (slice(40, 41), slice(60, 61))


@pytest.mark.parametrize("name", ["CR", "SAT"])
def test_a_cosmic_ray_of_the_template_is_replaced_as_wide_as_the_kernel(name: str) -> None:
    science, template, _ = images()
    template[RAY] += 1e5
    difference = (science - convolved(template, KERNEL)).astype("f4")
    result = run(difference, (None, plane(name, RAY), None))
    shares = convolved(area(RAY).astype(float), SHARES)
    clear = np.abs(shares - 0.01) > 1e-4
    np.testing.assert_array_equal(bit(result, "DECORR_FILLED")[clear], (shares > 0.01)[clear])
    assert bit(result, "DECORR_BAD")[shares > 0.01].all()
    assert bit(result, name).sum() == 1


def test_what_was_not_convolved_reaches_nowhere() -> None:
    result = run(images()[2], (plane("CR", RAY), None, None))
    np.testing.assert_array_equal(bit(result, "DECORR_FILLED"), area(RAY))


def test_it_is_the_science_image_that_was_convolved() -> None:
    result = run(images()[2], (plane("CR", RAY), None, None), convolved="science")
    shares = convolved(area(RAY).astype(float), SHARES)
    clear = np.abs(shares - 0.01) > 1e-4
    np.testing.assert_array_equal(bit(result, "DECORR_FILLED")[clear], (shares > 0.01)[clear])


def test_planes_that_are_not_replaced_reach_nowhere() -> None:
    result = run(images()[2], (None, plane("DETECTED", RAY), None))
    assert not bit(result, "DECORR_FILLED").any()


@pytest.mark.parametrize("value", [np.nan, 0.0, 1e-30])
@pytest.mark.parametrize("whose", [0, 1])
def test_what_an_input_has_no_data_of_is_missing(value: float, whose: int) -> None:
    """Whatever was put into the difference in its place."""
    science, template, difference = images()
    difference[HOLE] = 0
    (science, template)[whose][HOLE] = value
    result = decorrelate(
        Exposure(science, SVAR, missing_value=1e-30),
        Exposure(template, TVAR, missing_value=1e-30),
        Exposure(difference),
        KERNEL,
    )
    assert bit(result, "NO_DATA")[HOLE].all()
    assert bit(result, "NO_DATA").sum() == 63
    assert np.isnan(result.exposure.image).sum() == 63
    reached = convolved(area(HOLE).astype(float), SHARES) > 0.01 if whose else area(HOLE)
    assert bit(result, "DECORR_FILLED").sum() == pytest.approx(reached.sum(), abs=3)


@pytest.mark.parametrize("level", [-300.0, 32000.0])
def test_a_pedestal_leaves_no_trace(level: float) -> None:
    """Beside a hole, a masked star, and the border of the image: all of it is linear but for the level itself."""
    difference = images()[2]
    difference[HOLE] = np.nan
    mask = plane("SAT", (slice(20, 24), slice(100, 110)))
    plain = run(difference, (None, None, mask)).exposure.image
    raised = run((difference.astype(float) + level).astype("f4"), (None, None, mask)).exposure.image
    away = raised[75:78, 30]  # of everything
    sums = np.median(away - plain[75:78, 30])
    known = np.isfinite(plain)
    np.testing.assert_array_equal(known, np.isfinite(raised))
    # ψ's sum is the flux scale, 1; the level is known to a tenth of the noise, single precision to 6e-8 of the level.
    assert sums == pytest.approx(level, abs=0.3)
    assert np.abs(raised - plain - sums)[known].max() < 0.1 * (SVAR + TVAR) ** 0.5


def test_masks_of_another_numbering() -> None:
    """The bits are those of the template's own mask, which the result need not have."""
    science, template, difference = images()
    mask = np.zeros(SHAPE, "u1")
    mask[RAY] = 1
    result = decorrelate(
        Exposure(science, SVAR, np.zeros(SHAPE, "i4"), mask_planes=PLANES),
        Exposure(template, TVAR, mask, mask_planes={"CR": 0}),
        Exposure(difference),
        KERNEL,
    )
    assert bit(result, "DECORR_FILLED").sum() > 20
