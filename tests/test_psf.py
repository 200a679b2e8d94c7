"""The corrected PSF: what a point source looks like in the decorrelated image, and how to measure its flux."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from reference import (
    IDENTITY,
    convolved,
    exposures,
    gaussian,
    hotpants_kernel,
    noise_pair,
    psi_of,
)

from diffim_decorr import Exposure, MatchingKernel, Result, SpatialKernel, decorrelate, read_kernel

SHAPE = (260, 300)
# Far enough from each other and from the edges for any ψ used here.
PLACES = [(75, 70), (225, 70), (75, 190), (225, 190)]
FLUXES = [50.0, 1e3, 2e4, 3e5]
SCIENCE_PSF = gaussian(25, (1.3, 1.1), angle=40)


def sources(psf: np.ndarray) -> np.ndarray:
    image = np.zeros(SHAPE)
    half = psf.shape[0] // 2
    for (x, y), flux in zip(PLACES, FLUXES, strict=True):
        image[y - half : y + half + 1, x - half : x + half + 1] += flux * psf
    return image


def at(psf: np.ndarray | SpatialKernel, x: float, y: float) -> np.ndarray:
    return psf.at(x, y) if isinstance(psf, SpatialKernel) else psf


def cutout(image: np.ndarray, x: int, y: int, shape: tuple[int, int]) -> np.ndarray:
    hy, hx = shape[0] // 2, shape[1] // 2
    return image[y - hy : y - hy + shape[0], x - hx : x - hx + shape[1]].astype(float)


def assert_fluxes(result: Result, scale: float = 1.0, left: float = 1e-3) -> None:
    """Fluxes of the PSF fitted to the decorrelated image, and what may be left of the sources after that."""
    psf = result.exposure.psf
    for (x, y), flux in zip(PLACES, FLUXES, strict=True):
        model = at(psf, x, y)
        half = min(model.shape[0] // 2, 65)
        model = cutout(model, model.shape[1] // 2, model.shape[0] // 2, (2 * half + 1, 2 * half + 1))
        stamp = cutout(result.exposure.image, x, y, model.shape)
        measured = (stamp * model).sum() / (model**2).sum()
        assert measured == pytest.approx(scale * flux, rel=1e-3)
        assert np.abs(stamp - measured * model).max() <= left * np.abs(stamp).max()


def with_psf(exposure: Exposure, psf: np.ndarray) -> Exposure:
    return Exposure(exposure.image, exposure.variance, exposure.mask, mask_planes=exposure.mask_planes, psf=psf)


@pytest.mark.parametrize("spatial", [False, True])
@pytest.mark.parametrize("total", [1.0, 2.5, 0.4])
def test_flux_with_the_template_convolved(total: float, spatial: bool) -> None:
    kernel = gaussian(21, 1.7, total=total)
    science, template = (0 * image for image in noise_pair(1, SHAPE, 1.0, 1.0))
    images = exposures(science, template, sources(SCIENCE_PSF), 1.0, 2.0)
    result = decorrelate(with_psf(images[0], SCIENCE_PSF), *images[1:], kernel, spatial=spatial)
    assert_fluxes(result)
    assert result.exposure.psf.sum() == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("total", [1.0, 2.5, 0.4])
def test_flux_with_the_science_image_convolved(total: float) -> None:
    """A transient of the science image, in a difference that is on the science image's scale again."""
    kernel = gaussian(21, 1.7, total=total)
    template_psf = convolved(np.pad(SCIENCE_PSF, 12), kernel) / total
    science = sources(SCIENCE_PSF)
    template = np.zeros(SHAPE)
    images = exposures(science, template, convolved(science, kernel) / total, 1.0, 2.0)
    result = decorrelate(images[0], with_psf(images[1], template_psf), images[2], kernel, convolved="science")
    assert_fluxes(result)
    assert result.exposure.psf.sum() == pytest.approx(template_psf.sum(), abs=1e-6)


@pytest.mark.parametrize(("side", "photnorm"), [("template", "i"), ("science", "t"), ("science", "i")])
def test_flux_with_a_kernel_that_varies(tmp_path: Path, side: str, photnorm: str) -> None:
    """The flux in the science image; with PHOTNORM t and the science image convolved, that times the kernel sum."""
    hotpants = hotpants_kernel(SHAPE, seed=9, total=1.6)
    hotpants.photnorm, hotpants.regions[0].side = photnorm, side
    psf, scale = (SCIENCE_PSF, 1.0) if side == "template" else (gaussian(25, 2.0), 1.6 if photnorm == "t" else 1.0)
    zero, difference = np.zeros(SHAPE), scale * sources(psf)
    kernel = read_kernel(hotpants.write(tmp_path / "diff.fits", difference))
    result = decorrelate(*exposures(zero, zero, difference, 1.0, 2.0), kernel, psf=psf, spatial=True)
    # Across a source ψ varies, by the difference of its values a few pixels apart, in a field as small as this.
    assert_fluxes(result, scale, left=3e-3)
    for x, y in PLACES:
        assert at(result.exposure.psf, x, y).sum() == pytest.approx(1, abs=1e-5)


def test_fluxes_in_noise_are_unbiased() -> None:
    """Noise added, the mean of many fluxes is right, and their scatter is what the white noise makes it."""
    kernel = gaussian(21, 1.7, total=1.3)
    shape = (760, 760)
    science, template = noise_pair(2, shape, 1.0, 2.0)
    places = [(x, y) for x in range(60, 720, 32) for y in range(60, 720, 32)]
    for x, y in places:
        science[y - 12 : y + 13, x - 12 : x + 13] += 100.0 * SCIENCE_PSF
    images = exposures(science, template, science - convolved(template, kernel), 1.0, 2.0)
    result = decorrelate(*images, kernel, psf=SCIENCE_PSF)
    psf = result.exposure.psf
    middle = psf.shape[0] // 2
    # Neighbours are beyond this.
    model = cutout(psf, middle, middle, (31, 31))
    fluxes = [(cutout(result.exposure.image, x, y, (31, 31)) * model).sum() / (model**2).sum() for x, y in places]
    variance = float(np.median(result.exposure.variance))
    error = np.sqrt(variance / (model**2).sum())
    assert np.mean(fluxes) == pytest.approx(100.0, abs=4 * error / np.sqrt(len(places)))
    assert np.std(fluxes) == pytest.approx(error, rel=4 / np.sqrt(2 * len(places)))


def test_corrected_psf_is_the_psf_convolved_with_psi() -> None:
    """φ' = φ ⊗ ψ (DMTN-021), with the sum of φ, whatever that is."""
    kernel = gaussian(17, 1.5)
    zero = np.zeros((160, 160))
    psf = 7.0 * gaussian((19, 23), (1.4, 2.0), angle=10)
    result = decorrelate(*exposures(zero, zero, zero, 1.0, 3.0), kernel, psf=psf)
    corrected = result.exposure.psf
    psi = psi_of([IDENTITY, kernel], [1.0, 3.0], 128)
    margin = [(n - m) // 2 for n, m in zip(corrected.shape, psf.shape, strict=True)]
    padded = np.pad(psf, [(m, m) for m in margin])
    np.testing.assert_allclose(corrected, convolved(padded, psi), atol=1e-4 * corrected.max())
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


def test_a_psf_that_varies() -> None:
    """Basis images times coefficients, as PSFEx and LSST have it, through a constant ψ."""
    from diffim_decorr.spatial import PolynomialCoefficients

    kernel = gaussian(17, 1.5)
    basis = np.array([gaussian(25, 1.4), gaussian(25, 2.2)])
    powers = np.array([[0, 0], [1, 0]])
    coefficients = PolynomialCoefficients(np.array([[1.0, -1.0], [0.0, 1.0]]), powers, (0.0, 0.0), (300.0, 260.0))
    psf = SpatialKernel(basis, coefficients)
    image = np.zeros(SHAPE)
    for (x, y), flux in zip(PLACES, FLUXES, strict=True):
        image[y - 12 : y + 13, x - 12 : x + 13] += flux * ((1 - x / 300) * basis[0] + x / 300 * basis[1])
    zero = np.zeros(SHAPE)
    result = decorrelate(*exposures(zero, zero, image, 1.0, 3.0), kernel, psf=psf)
    assert isinstance(result.exposure.psf, SpatialKernel)
    assert_fluxes(result)


def test_which_psf_is_taken() -> None:
    """That of the image that was not convolved; the one that is given comes first; without any there is none."""
    kernel = gaussian(17, 1.5)
    zero = np.zeros((120, 120))
    images = exposures(zero, zero, zero, 1.0, 1.0)
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
