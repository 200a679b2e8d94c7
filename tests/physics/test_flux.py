"""What a point source looks like in the decorrelated image, and how to measure its flux."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from diffim_decorr import Result, SpatialKernel, decorrelate, read_kernel
from diffim_decorr.kernels.coefficients import PolynomialCoefficients
from support.hotpants import hotpants_kernel
from support.kernels import gaussian
from support.noise import exposures, noise_pair
from support.psfs import cutout, with_psf
from support.reference import convolved

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
    # Across a source ψ varies, and the PSF of the result is what comes of that.
    assert_fluxes(result, scale, left=3e-4)


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


def test_a_psf_that_varies() -> None:
    """Basis images times coefficients, as PSFEx and LSST have it, through a constant ψ."""
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
