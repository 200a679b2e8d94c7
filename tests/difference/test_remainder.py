"""What is left of a difference without the images that it was made of: nothing but what else was done to it."""

from __future__ import annotations

import numpy as np
import pytest

from diffim_decorr import Exposure, SpatialKernel
from diffim_decorr.difference.remainder import Remainder
from diffim_decorr.difference.subtraction import subtraction_of
from diffim_decorr.geometry import Box
from diffim_decorr.kernels.coefficients import PolynomialCoefficients
from diffim_decorr.options import Options
from support.kernels import gaussian
from support.reference import convolved

SHAPE = 90, 120
INNER = Box(20, 15, 100, 75)
COEFFICIENTS = PolynomialCoefficients(np.array([[0.5, -0.4], [0.5, 0.4]]), np.array([[0, 0], [1, 0]]), *2 * [(60, 60)])
KERNELS = {
    "constant": SpatialKernel.constant(gaussian(11, 1.4, shift=(0.4, -0.2))),
    "varying": SpatialKernel(np.array([gaussian(11, 1.0), gaussian(11, 1.6, shift=(0.3, 0))]), COEFFICIENTS),
    "of one pixel": SpatialKernel.constant([[1.3]]),
}


def matched(image: np.ndarray, kernel: SpatialKernel) -> np.ndarray:
    weights = kernel.coefficients.grid(np.arange(SHAPE[1]), np.arange(SHAPE[0]))
    return sum(w * convolved(image, b) for w, b in zip(weights, kernel.basis, strict=True))


def remainder(
    science: np.ndarray, template: np.ndarray, difference: np.ndarray, kernel: SpatialKernel, **options: object
):
    images = [Exposure(i, 1.0) for i in (science, template, difference)]
    return Remainder(subtraction_of(*images, kernel, Options(**options)))


@pytest.mark.parametrize("side", ["science", "template"])
@pytest.mark.parametrize("name", KERNELS)
def test_it_is_what_was_added(name: str, side: str) -> None:
    """To the precision of the difference, next to stars of 1e4 σ too; the window is any part of the field."""
    rng = np.random.default_rng(1)
    kernel = KERNELS[name]
    science, template = rng.normal(size=(2, *SHAPE)) + 100
    science[40, 50], template[40, 50] = 1e4, 1e4
    added = np.linspace(-3, 5, SHAPE[1]) * np.ones(SHAPE)
    if side == "template":
        difference = science - matched(template, kernel) + added
    else:
        # Then it is in the units of the template, unless it is divided by the kernel's sum.
        difference = (matched(science, kernel) - template) / kernel.sum_at(0, 0) + added
    found = remainder(science, template, difference, kernel, convolved=side)
    assert found.shape == SHAPE
    assert found.read(INNER) == pytest.approx(added[INNER.slices], abs=1e-3)


def test_what_holds_no_data_leaves_no_trace_beyond_the_kernel() -> None:
    rng = np.random.default_rng(2)
    science, template = rng.normal(size=(2, *SHAPE)) + 1000
    kernel = KERNELS["constant"]
    difference = science - matched(template, kernel)
    template[30, 40], difference[50, 60] = np.nan, np.nan
    found = remainder(science, template, difference, kernel).read(INNER)
    assert np.isnan(found[50 - INNER.y0, 60 - INNER.x0])
    spoilt = np.zeros(SHAPE, dtype=bool)
    spoilt[25:36, 35:46] = spoilt[50, 60] = True
    # 1 of the noise is what is put for the pixel, times the largest of the kernel's.
    assert np.abs(found[~spoilt[INNER.slices]]).max() < 1e-3
    assert np.nanmax(np.abs(found)) < 1
