"""A run on arrays: inputs of any type are taken, and none is changed."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.io.fits import Header

from diffim_decorr import Exposure, decorrelate
from support.hole import HOLE, KERNEL, SHAPE, SVAR, TVAR, images, plane, run
from support.kernels import gaussian
from support.noise import PLANES, exposures


@pytest.mark.parametrize("spatial", [False, True])
def test_inputs_are_never_modified(spatial: bool) -> None:
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
