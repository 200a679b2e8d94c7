"""Regions know nothing of each other: one whose kernel is wild neither widens nor spoils the others."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from diffim_decorr import Box, DecorrelationKernel, MatchingKernel, SpatialKernel, apply_psi, decorrelate, read_psi
from diffim_decorr.kernels.coefficients import PolynomialCoefficients
from diffim_decorr.kernels.piecewise import PiecewiseCoefficients, parts_of
from support.kernels import gaussian
from support.noise import exposures, noise_images, noise_pair
from support.reference import central, convolved, psi_of
from support.results import assert_white

SHAPE = NY, NX = 240, 360
SVAR, TVAR = 1.0, 2.0
TAME, WILD = Box(0, 0, 200, NY), Box(199, 0, NX, NY)  # they share a column, as HOTPANTS' do
NARROW, WIDE = gaussian(21, 1.0), gaussian(21, 2.2)


def _kernel(wildness: float) -> MatchingKernel:
    """One region with a slight slope, and one whose kernel changes a lot and becomes negative in its wings."""
    powers = np.array([(0, 0), (1, 0), (0, 1)])
    pieces = []
    for box, slope in ((TAME, 0.05), (WILD, wildness)):
        values = np.array([[1.0, 0.0, 0.0], [0.0, slope, slope]])
        origin = float(box.x0 + box.x1) / 2, NY / 2
        pieces.append((box, PolynomialCoefficients(values, powers, origin, (box.shape[1] / 2, NY / 2))))
    basis = np.array([NARROW, WIDE - NARROW])
    return MatchingKernel(SpatialKernel(basis, PiecewiseCoefficients(tuple(pieces))), parent_frame=False)


def _difference(science: np.ndarray, template: np.ndarray, kernel: SpatialKernel) -> np.ndarray:
    parts = [convolved(template, image) for image in kernel.basis]
    amounts = kernel.coefficients.grid(np.arange(NX), np.arange(NY))
    return science - sum(amount * part for amount, part in zip(amounts, parts, strict=True))


@pytest.fixture(scope="module")
def noise() -> tuple[np.ndarray, np.ndarray]:
    return noise_pair(31, SHAPE, SVAR, TVAR)


def test_a_wild_region_does_not_change_another(noise: tuple[np.ndarray, np.ndarray]) -> None:
    """The support of each is its own, and the pixels of one are the same whatever is in the other."""
    results = []
    for wildness in (0.05, 1.5):
        kernel = _kernel(wildness)
        images = exposures(*noise, _difference(*noise, kernel.kernel), SVAR, TVAR)
        results.append(decorrelate(*images, kernel, svar=SVAR, tvar=TVAR, spatial=True))
    tame, wild = ([part for _, part in parts_of(r.psi, Box(0, 0, NX, NY))] for r in results)
    assert wild[1].shape[0] > 1.5 * tame[1].shape[0]
    assert len(wild[1].basis) > len(tame[1].basis)
    assert wild[0].shape == tame[0].shape
    np.testing.assert_array_equal(wild[0].basis, tame[0].basis)
    # Up to where ψ of the one region looks into the other, whose difference is another one.
    own = np.s_[:, : TAME.x1 - 1 - tame[0].shape[1] // 2 - 21]
    one, other = (result.exposure for result in results)
    np.testing.assert_array_equal(one.mask[own], other.mask[own])
    # The pixels beyond are in the same transforms, in single precision.
    np.testing.assert_allclose(one.image[own], other.image[own], atol=1e-5)
    np.testing.assert_allclose(one.variance[own], other.variance[own], rtol=1e-5)


def test_every_region_is_white_and_right(noise: tuple[np.ndarray, np.ndarray]) -> None:
    """ψ is that of a brute-force computation at every pixel, next to the border between the regions as well."""
    kernel = _kernel(1.5)
    difference = _difference(*noise, kernel.kernel)
    images = exposures(*noise, difference, SVAR, TVAR)
    result = decorrelate(*images, kernel, svar=SVAR, tvar=TVAR, spatial=True)
    assert result.record.psi.error <= 1e-3
    rng = np.random.default_rng(5)
    errors = {0: [], 1: []}
    half = 70
    padded = np.pad(difference, half)
    for k, (first, end) in enumerate(((0, 199), (199, NX))):
        places = [(int(x), int(y)) for x, y in zip(rng.integers(first, end, 60), rng.integers(0, NY, 60), strict=True)]
        for x, y in [*places, (198, 20), (198, 220)] if k == 0 else [*places, (199, 20), (199, 220)]:
            exact = central(psi_of([np.ones((1, 1)), kernel.kernel.at(x, y)], [SVAR, TVAR]), half)
            window = padded[y : y + 2 * half + 1, x : x + 2 * half + 1][::-1, ::-1]
            errors[k].append(float(result.exposure.image[y, x] - (exact * window).sum()))
    for own in errors.values():
        assert np.sqrt(np.mean(np.square(own))) <= 1e-3 * (SVAR + TVAR) ** 0.5
    for inner in (np.s_[40:-40, 40:160], np.s_[40:-40, 240:-40]):
        assert_white(result.exposure.image[inner], result.exposure.variance[inner])


@pytest.mark.parametrize("threads", [1, 3])
def test_stored_psi_of_regions_makes_the_same_pixels(
    noise: tuple[np.ndarray, np.ndarray], tmp_path: Path, threads: int
) -> None:
    """Bit for bit, in tiles as wide as each region needs them, at any number of threads."""
    kernel = _kernel(1.5)
    images = exposures(*noise, _difference(*noise, kernel.kernel), SVAR, TVAR)
    result = decorrelate(*images, kernel, svar=SVAR, tvar=TVAR, spatial=True, threads=2)
    result.write(tmp_path / "out.fits")
    stored = read_psi(tmp_path / "out.fits")
    assert len(set(stored.margins)) == 2
    assert max(stored.margins) >= stored.half_width
    with fits.open(tmp_path / "out.fits") as hdus:
        assert set(hdus["PSI_COEFFS"].data["MARGIN"]) == set(stored.margins)
    for psi in (stored, result.decorrelation_kernel):
        again = apply_psi(images[2], psi, threads=threads)
        np.testing.assert_array_equal(again.image, result.exposure.image)


def test_a_margin_in_a_card() -> None:
    """Outputs of earlier versions have one margin for all; without any the tiles are as wide as ψ is."""
    psi = SpatialKernel.constant(gaussian(7, 1.0))
    image = noise_images(3, (50, 50), gaussian(7, 1.0), 1.0, 1.0)[2]
    narrow, wide = (apply_psi(image, DecorrelationKernel(psi, (50, 50), margins=own)).image for own in ((), (20,)))
    np.testing.assert_allclose(narrow, wide, atol=1e-5)


def test_measured_noise_in_windows_across_regions(noise: tuple[np.ndarray, np.ndarray]) -> None:
    """What ψ leaves is measured on windows that lie in several regions: as white as where there are none."""
    kernel = _kernel(0.3)
    images = exposures(*noise, _difference(*noise, kernel.kernel), SVAR, TVAR)
    result = decorrelate(*images, kernel, spatial=True, noise="measured")
    for inner in (np.s_[40:-40, 40:160], np.s_[40:-40, 240:-40]):
        assert_white(result.exposure.image[inner], result.exposure.variance[inner])
