"""Mask bits: three inputs with numberings of their own make one."""

from __future__ import annotations

import numpy as np
import pytest

from diffim_decorr import Exposure, InputError, decorrelate
from support.hole import HOLE, KERNEL, SHAPE, bit, images, run


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
