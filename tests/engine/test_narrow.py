"""Where there are no bright pixels ψ reaches less far, which must not show."""

from __future__ import annotations

import numpy as np
import pytest

from diffim_decorr import Exposure, decorrelate
from diffim_decorr.engine.narrow import half_width_within, narrowed
from diffim_decorr.geometry import Box
from diffim_decorr.kernels.bank import KernelBank
from diffim_decorr.kernels.grid import GridCoefficients
from diffim_decorr.kernels.spatial import SpatialKernel
from support.field import Field
from support.kernels import gaussian

BOX = Box(0, 0, 100, 80)


def _kernel() -> SpatialKernel:
    """Narrow at one side of the field and wide at the other."""
    values = np.array([[[1.0, 0.0]], [[0.0, 1.0]]])
    basis = np.array([gaussian(61, 1.0), gaussian(61, 5.0)])
    return SpatialKernel(basis, GridCoefficients(values, np.array([0.0, 99.0]), np.array([0.0]), order=1))


@pytest.mark.parametrize(("norm", "peak"), [(1e-2, 1.0), (1e-3, 1.0), (1.0, 1e-4), (1e-5, 1e-6)])
def test_half_width(norm: float, peak: float) -> None:
    """One less would leave out too much somewhere in the field."""
    kernel = _kernel()
    half_width = half_width_within(kernel, BOX, norm, peak)
    images = kernel.sample(np.linspace(0, 99, 12), np.zeros(12))
    rings = np.maximum(*np.abs(np.mgrid[-30:31, -30:31]))

    def fits(half: int) -> bool:
        outside = images * (rings > half)
        return bool(np.sqrt((outside**2).sum(axis=(1, 2))).max() <= norm and np.abs(outside).max() <= peak)

    assert fits(half_width)
    assert not fits(half_width - 1)


def test_nothing_fits() -> None:
    assert half_width_within(_kernel(), BOX, 0.0, 0.0) == 30


def test_narrowed_kernels_have_the_sums_that_they_had() -> None:
    bank = KernelBank.of(_kernel())
    narrow = narrowed(bank, 9)
    assert narrow.bases.shape == (1, 2, 19, 19)
    np.testing.assert_allclose(narrow.bases.sum(axis=(2, 3)), bank.bases.sum(axis=(2, 3)), rtol=1e-12)
    np.testing.assert_allclose(narrow.bases[0, 0], bank.bases[0, 0, 21:40, 21:40], atol=1e-15)


@pytest.mark.parametrize("peak", [20.0, 49.0, 51.0, 4000.0, 6000.0])
def test_a_star_of_any_brightness(field: Field, peak: float) -> None:
    """Leaves the same image whichever filter it is made with: ψ's, to a thousandth of the noise where it is faint."""
    plain = field.kept()
    x, y = 300, 150
    half = plain.psi.shape[0] // 2
    offset = np.arange(2 * half + 1)
    # A pixel is what the kernel of its own place makes of the star.
    weights = plain.psi.coefficients.grid(x - half + offset, y - half + offset)
    psi = np.einsum("nyx,nyx->yx", weights, plain.psi.basis)
    science, template, difference = field.images
    image = difference.image.copy()
    image[y, x] += peak * field.sigma
    changed = Exposure(image, None, difference.mask, mask_planes=difference.mask_planes)
    star = decorrelate(science, template, changed, field.kernel, spatial=True, svar=field.svar, tvar=field.tvar)
    made = star.exposure.image.astype(float) - plain.exposure.image
    window = np.s_[y - half : y + half + 1, x - half : x + half + 1]
    expected = peak * field.sigma * psi
    # Either filter leaves out a fifth of a thousandth of noise that is up to five times its scatter, and of the star.
    assert np.abs(made[window] - expected).max() <= 1e-3 * field.sigma
    made[window] = 0
    assert np.abs(made).max() <= 2e-3 * field.sigma
