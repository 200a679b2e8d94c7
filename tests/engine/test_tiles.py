"""Results do not depend on how the image is cut into tiles, nor on threads."""

from __future__ import annotations

import numpy as np
import pytest

from diffim_decorr import Exposure, decorrelate
from support.field import SHAPE, Field


def test_results_do_not_depend_on_threads(field: Field) -> None:
    one = field.decorrelated(threads=1)
    for threads in (2, 3):
        other = field.decorrelated(threads=threads)
        for plane in ("image", "variance", "mask"):
            np.testing.assert_array_equal(getattr(other.exposure, plane), getattr(one.exposure, plane))
        np.testing.assert_array_equal(other.psi.at(5, 7), one.psi.at(5, 7))


@pytest.mark.parametrize("largest", [97, 256])
def test_results_do_not_depend_on_tiles(field: Field, largest: int, monkeypatch: pytest.MonkeyPatch) -> None:
    one = field.kept()
    monkeypatch.setattr("diffim_decorr.convolution._LARGEST_TILE", largest)
    other = field.decorrelated()
    assert np.abs(other.exposure.image.astype(float) - one.exposure.image).max() <= 1e-5 * field.sigma
    np.testing.assert_allclose(other.exposure.variance, one.exposure.variance, rtol=1e-5)
    np.testing.assert_array_equal(other.exposure.mask, one.exposure.mask)


def test_results_do_not_depend_on_tiles_with_a_bright_star(field: Field, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tiles near the star are transformed in another precision, which must not show."""
    science, template, difference = field.images
    image = difference.image.copy()
    image[150, 300] += 1e6 * field.sigma
    images = science, template, Exposure(image)
    options = {"spatial": True, "svar": field.svar, "tvar": field.tvar}
    one = decorrelate(*images, field.kernel, **options)
    monkeypatch.setattr("diffim_decorr.convolution._LARGEST_TILE", 100)
    other = decorrelate(*images, field.kernel, **options)
    far = np.ones(SHAPE, bool)
    half = one.psi.shape[0] // 2
    far[150 - half : 151 + half, 300 - half : 301 + half] = False
    difference_of = np.abs(other.exposure.image.astype(float) - one.exposure.image)
    assert difference_of[far].max() <= 1e-5 * field.sigma
    # Near the star, the rounding of its own single precision pixels is all there is.
    assert (difference_of[~far] / (field.sigma + np.abs(one.exposure.image[~far]))).max() <= 1e-5
