"""The corrected PSF φ ⊗ ψ: at one position, where both vary, and on a grid."""

from __future__ import annotations

import numpy as np
import pytest

from diffim_decorr import MatchingKernel, SpatialKernel, decorrelate
from support.kernels import IDENTITY, gaussian
from support.noise import exposures, noise_images
from support.psfs import cutout, with_psf
from support.reference import convolved, psi_of, widened


def test_corrected_psf_is_the_psf_convolved_with_psi() -> None:
    """φ' = φ ⊗ ψ (DMTN-021), with the sum of φ, whatever that is."""
    kernel = gaussian(17, 1.5)
    psf = 7.0 * gaussian((19, 23), (1.4, 2.0), angle=10)
    result = decorrelate(*noise_images(13, (160, 160), kernel, 1.0, 3.0), kernel, psf=psf)
    corrected = result.exposure.psf
    psi = psi_of([IDENTITY, kernel], [1.0, 3.0], 128)
    np.testing.assert_allclose(corrected, convolved(widened(psf, corrected.shape), psi), atol=1e-4 * corrected.max())
    assert corrected.sum() == pytest.approx(7.0, rel=1e-6)
    assert np.unravel_index(corrected.argmax(), corrected.shape) == (corrected.shape[0] // 2, corrected.shape[1] // 2)


def test_corrected_psf_of_an_image_of_even_size() -> None:
    kernel = gaussian(17, 1.5)
    zero = np.zeros((200, 200))
    psf = gaussian((24, 24), 1.4)
    image = zero.copy()
    image[100 - 12 : 100 + 12, 100 - 12 : 100 + 12] = 1e4 * psf
    result = decorrelate(*exposures(zero, zero, image, 1.0, 3.0), kernel, psf=psf)
    corrected = result.exposure.psf
    stamp = cutout(result.exposure.image, 100, 100, corrected.shape)
    np.testing.assert_allclose(stamp, 1e4 * corrected, atol=1e-4 * stamp.max())


@pytest.mark.filterwarnings("ignore::diffim_decorr.DecorrWarning")  # of the other image said to be convolved
def test_which_psf_is_taken() -> None:
    """That of the image that was not convolved; the one that is given comes first; without any there is none."""
    kernel = gaussian(17, 1.5)
    images = noise_images(14, (120, 120), kernel, 1.0, 1.0)
    wide, narrow = gaussian(25, 3.0), gaussian(25, 1.0)
    science, template = with_psf(images[0], wide), with_psf(images[1], narrow)

    def size(**options: object) -> float:
        psf = decorrelate(science, template, images[2], kernel, **options).exposure.psf
        return float(psf.max())

    by_template, by_science = size(), size(convolved="science")
    assert by_template < by_science / 2
    assert size(psf=narrow) == pytest.approx(by_science)
    said = MatchingKernel(SpatialKernel.constant(kernel), convolved=("science",))
    assert decorrelate(science, template, images[2], said).exposure.psf.max() == pytest.approx(by_science)
    assert decorrelate(*images, kernel).exposure.psf is None
