"""Exposures of arrays."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from diffim_decorr import Exposure, InputError
from diffim_decorr.images.planes import ConstantPlane
from support.pixels import IMAGE, MASK, VARIANCE, check


def test_exposure_of_arrays() -> None:
    exposure = Exposure(IMAGE, 2.0, MASK, mask_planes={"SAT": 1}, name="night 3")
    assert exposure.image is IMAGE
    assert (exposure.variance == 2).all()
    assert exposure.mask is MASK
    assert repr(exposure) == "<Exposure night 3: 31 x 23 pixels, mask planes ['SAT']>"
    swapped = Exposure(IMAGE.astype(IMAGE.dtype.newbyteorder()))
    check(swapped.image_plane, IMAGE)
    assert swapped.mask is None
    assert swapped.variance is None


def test_exposure_with_a_mask_without_names() -> None:
    for mask in (MASK, MASK != 0, MASK.astype("u1")):
        exposure = Exposure(IMAGE, mask=mask)
        assert exposure.mask_planes == {"BAD": 0}
        check(exposure.mask_plane, (MASK != 0).astype("i4"))


def test_masked_arrays_have_no_data_where_they_are_masked() -> None:
    exposure = Exposure(np.ma.masked_where(MASK > 30, IMAGE))
    np.testing.assert_array_equal(exposure.image, np.where(MASK > 30, np.nan, IMAGE))


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: Exposure(np.ones(4)), "the image must be a 2-D array"),
        (lambda: Exposure(3.0), "the image must be a 2-D array"),
        (lambda: Exposure(np.ones((0, 4))), "the image must be a 2-D array"),
        (lambda: Exposure(IMAGE.astype(complex)), "not real numbers"),
        (lambda: Exposure(IMAGE, VARIANCE[:-1]), "the variance plane has 31 x 22 pixels, the image 31 x 23"),
        (lambda: Exposure(IMAGE, mask=MASK[:, 1:]), "the mask plane has 30 x 23 pixels, the image 31 x 23"),
        (lambda: Exposure(IMAGE, mask=MASK.astype(float)), "the mask plane has pixels of type float64, not whole"),
        (lambda: Exposure(IMAGE, ConstantPlane(1.0, (3, 4))), "the variance plane has 4 x 3 pixels"),
        (lambda: Exposure(IMAGE, mask=MASK, mask_planes={"SAT": 32}), "mask plane SAT is said to be bit 32"),
        (lambda: Exposure(IMAGE, mask=MASK, mask_planes={"S\x1bT": 1}), r"'S\\x1bT' is no name of a mask plane"),
        (lambda: Exposure(IMAGE, mask=MASK, mask_planes={"A=B": 1}), "'A=B' is no name of a mask plane"),
    ],
)
def test_exposure_of_wrong_arrays(make: Callable[[], Exposure], says: str) -> None:
    with pytest.raises(InputError, match=says):
        make()


def test_exposures_say_what_they_are() -> None:
    exposure = Exposure(np.zeros((3, 4)), 2.0, mask_planes={"SAT": 1}, name="sky")
    assert repr(exposure) == "<Exposure sky: 4 x 3 pixels, mask planes ['SAT']>"
    assert exposure.shape == (3, 4)
    assert exposure.mask is None
    np.testing.assert_array_equal(exposure.variance, np.full((3, 4), 2.0))


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"image": np.zeros(5)}, "image must be a 2-D array"),
        ({"image": np.zeros((0, 5))}, "image must be a 2-D array"),
        ({"image": np.array([["a"]])}, "not real numbers"),
        ({"image": np.zeros((3, 4), complex)}, "not real numbers"),
        ({"image": np.zeros((3, 4)), "variance": np.ones((4, 3))}, "3 x 4"),
        ({"image": np.zeros((3, 4)), "mask": np.zeros((3, 5), int)}, "mask plane has 5 x 3"),
        ({"image": np.zeros((3, 4)), "mask": np.zeros((3, 4))}, "mask"),
        ({"image": np.zeros((3, 4)), "mask_planes": {"SAT": 32}}, "SAT"),
    ],
)
def test_exposures_that_do_not_fit_together_are_refused(arguments: dict[str, Any], text: str) -> None:
    with pytest.raises(InputError, match=text) as error:
        Exposure(name="sky", **arguments)
    assert str(error.value).startswith("sky:")
