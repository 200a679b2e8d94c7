"""Variance planes: propagated in full or estimated."""

from __future__ import annotations

import numpy as np
import pytest

from diffim_decorr import Exposure, decorrelate
from support.field import SEAM, SHAPE, Field
from support.kernels import IDENTITY, gaussian
from support.noise import noise_images
from support.reference import convolved, psi_of
from support.results import inner
from support.tiles import column_seams


@pytest.mark.parametrize("spatial", [False, True])
def test_the_same_variance_all_over_and_nearly_the_same(field: Field, spatial: bool) -> None:
    """Planes without structure take another way, which may show nowhere, edges included."""
    science, template, difference = field.images
    plain = field.kept(spatial=spatial)
    variance = np.full(SHAPE, field.svar, np.float32)
    # Pixels in each tile that differ by 1e-3.
    assert column_seams(SHAPE) == [SEAM]
    variance[150, 100::250] *= 1.001
    other = decorrelate(
        Exposure(science.image, variance, science.mask, mask_planes=science.mask_planes),
        template,
        difference,
        field.kernel,
        spatial=spatial,
        svar=field.svar,
        tvar=field.tvar,
    )
    np.testing.assert_allclose(other.exposure.variance[:120], plain.exposure.variance[:120], rtol=1e-5)
    np.testing.assert_allclose(other.exposure.variance, plain.exposure.variance, rtol=1e-3)
    assert (other.exposure.variance[150, 100::250] > plain.exposure.variance[150, 100::250] * 1.0001).all()


def test_estimated_variance_is_the_full_one_where_variances_are_flat() -> None:
    kernel = gaussian(21, 1.5, shift=(2.3, -1.7))
    images = noise_images(5, (300, 300), kernel, 1.3, 0.7)
    full, estimate = (decorrelate(*images, kernel, variance=v) for v in ("full", "estimate"))
    np.testing.assert_array_equal(full.exposure.image, estimate.exposure.image)
    _, one = inner(full, kernel)
    _, other = inner(estimate, kernel)
    np.testing.assert_allclose(one, other, rtol=2e-4)
    # The estimate knows no edges: each pixel's own variances are weighted.
    assert np.ptp(estimate.exposure.variance) < 1e-5 * estimate.exposure.variance.mean()


def test_estimated_and_full_variance_of_a_varying_plane() -> None:
    """Full: each squared kernel convolved with its plane. Estimate: its sum times the plane."""
    kernel = gaussian(13, 1.6)
    rng = np.random.default_rng(6)
    svar, tvar = (v * np.exp(0.3 * rng.normal(size=(160, 170))) for v in (1.0, 2.0))
    images = noise_images(6, (160, 170), kernel, svar, tvar)
    psi = psi_of([IDENTITY, kernel], [1.0, 2.0], size=128)
    squares = psi**2, convolved(psi, kernel) ** 2
    for mode in ("full", "estimate"):
        result = decorrelate(*images, kernel, svar=1.0, tvar=2.0, variance=mode)
        planes = (svar.astype("f4").astype(float), tvar.astype("f4").astype(float))
        if mode == "full":
            expected = sum(convolved(plane, square) for plane, square in zip(planes, squares, strict=True))
        else:
            expected = sum(plane * square.sum() for plane, square in zip(planes, squares, strict=True))
        np.testing.assert_allclose(result.exposure.variance, expected, rtol=1e-3)
