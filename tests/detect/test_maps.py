"""Maps of flux, error and S/N against their definition, and against truth."""

from __future__ import annotations

import numpy as np
import pytest

from diffim_decorr import Box, Exposure, InputError, SpatialKernel, UsageError, decorrelate, snr_maps
from diffim_decorr.detect.point_source import PointSource
from diffim_decorr.kernels.coefficients import PolynomialCoefficients
from diffim_decorr.kernels.grid import GridCoefficients
from diffim_decorr.kernels.piecewise import joined
from support.kernels import IDENTITY, gaussian
from support.noise import PLANES, exposures, noise_pair
from support.reference import convolved
from support.sources import fluxes, grid_psf, response, stepped_psi

#: Two tiles side by side, which meet at column 450.
SHAPE = (120, 900)
STEP = 300


def _image(seed: int, shape: tuple[int, int] = SHAPE) -> tuple[np.ndarray, np.ndarray]:
    """Noise whose variance has steps, a gap, and bright pixels."""
    rng = np.random.default_rng(seed)
    variance = np.ones(shape)
    variance[:, STEP + 20 :] = 3.0
    variance[: shape[0] // 2] *= 1.5
    image = rng.normal(size=shape) * np.sqrt(variance)
    image[30, 200], variance[30, 200] = 2000.0, 50.0
    variance[40:60, 440:445] = np.inf
    image[80, 100:110] = np.nan
    return image.astype("f4"), variance.astype("f4")


def _places(shape: tuple[int, int] = SHAPE) -> list[tuple[int, int]]:
    """Anywhere, at steps, seams, gaps and edges."""
    rng = np.random.default_rng(5)
    ny, nx = shape
    places = list(zip(rng.integers(0, nx, 60).tolist(), rng.integers(0, ny, 60).tolist(), strict=True))
    return [
        *places,
        (0, 0),
        (nx - 1, ny - 1),
        (STEP - 1, 60),
        (STEP, 61),
        (449, 20),
        (450, 20),
        (447, 50),
        (103, 82),
        (200, 31),
    ]


CONSTANT = SpatialKernel.constant(gaussian(15, 1.6))
SOURCES = {
    "neither varies": (CONSTANT, SpatialKernel.identity()),
    "PSF varies": (grid_psf(SHAPE), SpatialKernel.identity()),
    "psi varies": (CONSTANT, stepped_psi(SHAPE, STEP)),
    "both vary": (grid_psf(SHAPE), stepped_psi(SHAPE, STEP)),
}


@pytest.mark.parametrize("which", SOURCES)
def test_they_are_what_the_equations_say(which: str) -> None:
    """At steps of depth, PSF and ψ, at gaps, edges and seams of tiles."""
    psf, psi = SOURCES[which]
    image, variance = _image(1)
    maps = snr_maps(Exposure(image, variance), psf=psf, psi=None if psi.is_constant else psi)
    places = _places()
    x, y = np.array(places).T
    flux, error = fluxes(image.astype(float), variance.astype(float), psf, psi, places)
    assert np.abs((maps.flux[y, x] - flux) / error).max() < 1e-4 * max(1, np.abs(flux / error).max() / 10)
    np.testing.assert_allclose(maps.flux_err[y, x], error, rtol=1e-4)
    np.testing.assert_allclose(maps.snr[y, x], maps.flux[y, x] / maps.flux_err[y, x], rtol=1e-6)


def test_kernels_of_regions() -> None:
    """Where regions meet each pixel has the filter of its own."""
    left, right = Box(0, 0, 417, SHAPE[0]), Box(417, 0, SHAPE[1], SHAPE[0])
    kernels = [gaussian(9, 0.6), 1.4 * IDENTITY]
    parts = [
        (box, SpatialKernel(kernel[None], GridCoefficients(np.ones((1, 1, 1)), np.zeros(1), np.zeros(1))))
        for box, kernel in zip((left, right), kernels, strict=True)
    ]
    psi = joined(parts, Box(0, 0, SHAPE[1], SHAPE[0]))
    image, variance = _image(2)
    maps = snr_maps(Exposure(image, variance), psf=CONSTANT, psi=psi)
    places = [*_places(), (416, 30), (417, 30), (412, 90), (420, 90)]
    x, y = np.array(places).T
    flux, error = fluxes(image.astype(float), variance.astype(float), CONSTANT, psi, places)
    assert np.abs((maps.flux[y, x] - flux) / error).max() < 1e-4 * max(1, np.abs(flux / error).max() / 10)
    np.testing.assert_allclose(maps.flux_err[y, x], error, rtol=1e-4)


@pytest.mark.parametrize("shape", [(14, 16), (15, 16), (1, 1)])
def test_psfs_of_even_and_least_sizes(shape: tuple[int, int]) -> None:
    """Their centres are at (h // 2, w // 2)."""
    psf = gaussian(shape, 1.4) if max(shape) > 1 else IDENTITY
    image = np.zeros((60, 70), "f4")
    height, width = psf.shape
    image[30 - height // 2 :, 40 - width // 2 :][:height, :width] = 7 * psf
    maps = snr_maps(Exposure(image, 1.0), psf=psf)
    assert maps.flux[30, 40] == pytest.approx(7, rel=1e-5)
    assert np.unravel_index(np.argmax(maps.snr), maps.snr.shape) == (30, 40)


def test_noise_has_the_scatter_that_they_say() -> None:
    """And peaks of it are as many as white noise has; 1.2 million pixels, of which 1 in 20 is independent."""
    rng = np.random.default_rng(3)
    variance = np.ones((1100, 1100), "f4")
    variance[:, 600:] = 4
    psf = gaussian(15, 1.3)
    maps = snr_maps(Exposure(rng.normal(size=variance.shape) * variance**0.5, variance), psf=psf)
    assert maps.snr.std() == pytest.approx(1, abs=4 / np.sqrt(2 * maps.snr.size / 21))
    assert maps.snr.mean() == pytest.approx(0, abs=4 * np.sqrt(21 / maps.snr.size) * 1.5)
    assert maps.warnings == ["array: was not written by decorr run; its noise is taken for white, which that of a "
        "difference image is not before it is decorrelated (decorr qa tells)"]  # fmt: skip
    figures = maps.record.quality
    assert figures.snr_std.value == pytest.approx(1, abs=4 * figures.snr_std.error)
    assert figures.snr_median.value == pytest.approx(0, abs=4 * figures.snr_median.error)


@pytest.mark.parametrize("variance", ["same", "step"])
def test_fluxes_of_sources_are_true(variance: str) -> None:
    """Sources of 0 to 1000 σ in the science image of a difference whose depth has a step, with ψ that varies."""
    shape, psf, kernel = (400, 400), gaussian(25, 1.5), gaussian(17, 1.6)
    tvar = np.full(shape, 2.0)
    if variance == "step":
        tvar[:, 200:] = 0.4
    science, template = noise_pair(21, shape, 1.0, tvar)
    rng = np.random.default_rng(22)
    x, y = (a.ravel() for a in np.meshgrid(np.arange(20, 390, 24), np.arange(20, 390, 24)))
    true = np.where(rng.random(len(x)) < 0.5, 0, 10 ** rng.uniform(0, 3, len(x))) * 7.0
    for a, b, flux in zip(x, y, true, strict=True):
        science[b - 12 : b + 13, a - 12 : a + 13] += flux * psf
    difference = science - convolved(template, kernel)
    images = exposures(science, template, difference, 1.0, tvar)
    result = decorrelate(*images, kernel, psf=psf, spatial=True, tolerance=1e-4)
    maps = result.snr()
    pull = (maps.flux[y, x] - true) / maps.flux_err[y, x]
    assert np.abs(pull.mean()) < 4 / np.sqrt(len(pull))
    assert pull.std() == pytest.approx(1, abs=4 / np.sqrt(2 * len(pull)))
    assert np.abs(pull[true > 1000]).max() < 4.5


def test_missing_pixels_have_no_weight() -> None:
    """The error grows as they are missing, the flux is still right, and little of the PSF is flagged."""
    psf = gaussian(11, 1.5)
    image, variance = np.zeros((80, 90)), np.ones((80, 90))
    image[35:46, 40:51] += 100 * psf
    gap = np.zeros(image.shape, "i4")
    gap[:, 46:49] = 1 << PLANES["SAT"]
    gap[30, :20] = 1 << PLANES["DETECTED"]
    image[gap > 0] = 1e4
    maps = snr_maps(Exposure(image, variance, gap, mask_planes=PLANES), psf=psf)
    assert maps.flux[40, 45] == pytest.approx(100, rel=1e-5)
    lost = (psf[:, 6:9] ** 2).sum() / (psf**2).sum()
    assert (maps.flux_err[40, 45] / maps.flux_err[40, 20]) ** 2 == pytest.approx(1 / (1 - lost), rel=1e-4)
    low = (maps.mask >> maps.mask_planes["LOW_WEIGHT"]) & 1
    assert low[40, 45] == (lost > 0.5)
    assert low[40, 47] == 1
    assert not low[5:25, 10:30].any()
    # At a corner a quarter of the weight is left, and a bit of the row and the column in the middle.
    assert low[0, 0] == 1
    # What says that there is something is no reason to leave it out.
    assert maps.snr[30, 10] > 1000
    # The bits of the image are still there.
    assert (maps.mask[40, 47] >> maps.mask_planes["SAT"]) & 1
    everything = snr_maps(Exposure(image, variance, gap, mask_planes=PLANES), psf=psf, unusable_planes="none")
    assert everything.snr[40, 47] > 1000


def test_where_nothing_is_known() -> None:
    image = np.full((60, 60), np.nan)
    image[:, :30] = np.random.default_rng(1).normal(size=(60, 30))
    maps = snr_maps(Exposure(image, 1.0), psf=gaussian(9, 1.2))
    assert np.isnan(maps.flux[:, 40:]).all()
    assert np.isinf(maps.flux_err[:, 40:]).all()
    assert np.isnan(maps.snr[:, 40:]).all()
    assert ((maps.mask[:, 40:] >> maps.mask_planes["LOW_WEIGHT"]) & 1).all()
    assert np.isfinite(maps.snr[:, :30]).all()


def test_units_do_not_matter() -> None:
    image, variance = _image(7, (90, 100 + STEP))
    plain = snr_maps(Exposure(image, variance), fwhm=3.0)
    tiny = snr_maps(Exposure(image * 1e-28, variance.astype("f8") * 1e-56), fwhm=3.0)
    np.testing.assert_allclose(tiny.snr, plain.snr, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(tiny.flux, plain.flux * 1e-28, rtol=1e-3, atol=1e-32)


@pytest.mark.parametrize("threads", [2, 3])
def test_threads_do_not_matter(threads: int) -> None:
    psf, psi = SOURCES["both vary"]
    image, variance = _image(1)
    one, other = (snr_maps(Exposure(image, variance), psf=psf, psi=psi, threads=n) for n in (1, threads))
    for name in ("flux", "flux_err", "snr", "mask"):
        assert np.array_equal(getattr(one, name), getattr(other, name), equal_nan=True)
    assert one.record.quality == other.record.quality


# What its user should know


def _said(**known: object) -> str:
    image = known.pop("image", np.random.default_rng(2).normal(size=(200, 220)))
    return "\n".join(snr_maps(Exposure(image, known.pop("variance", 1.0)), **known).warnings)


def test_doubts() -> None:
    noise = np.random.default_rng(2).normal(size=(200, 220))
    assert "has a background" in _said(image=noise + 0.2, fwhm=3.0)
    assert "the scatter of the S/N is 1.4" in _said(variance=0.5, fwhm=3.0)
    assert "off the middle" in _said(psf=gaussian(21, 1.5, shift=(0.6, 0.0)))
    assert "cut off where it still has" in _said(psf=gaussian(7, 2.5))
    linear = PolynomialCoefficients(np.ones((1, 1)), np.zeros((1, 2), int))
    partly = SpatialKernel(gaussian(15, 1.5)[None], linear, Box(0, 0, 100, 100))
    assert "is known for x from 0 to 99" in _said(psf=partly)
    assert "has no mask plane SATURATED" in _said(psf=gaussian(15, 1.5), unusable_planes="SATURATED")
    assert _said(psf=gaussian(15, 1.5)).count("\n") == 0


def test_refusals() -> None:
    image = Exposure(np.ones((30, 30)))
    with pytest.raises(InputError, match="has no variance plane"):
        snr_maps(image, fwhm=3.0)
    image = Exposure(np.random.default_rng(1).normal(size=(30, 30)), 1.0)
    with pytest.raises(InputError, match="has no PSF: give one"):
        snr_maps(image)
    with pytest.raises(UsageError, match=r"fwhm must be a number from 0\.5"):
        snr_maps(image, fwhm=0.1)
    with pytest.raises(UsageError, match="psf and fwhm exclude each other"):
        snr_maps(image, fwhm=3.0, psf="psf.fits")
    with pytest.raises(UsageError, match="an Exposure has its own"):
        snr_maps(image, fwhm=3.0, mask="mask.fits")


def test_a_score_image_is_refused() -> None:
    science, template = noise_pair(4, (90, 100), 1.0, 1.0)
    kernel, psf = gaussian(9, 1.2), gaussian(9, 1.3)
    difference = convolved(science, psf[::-1, ::-1]) - convolved(template, kernel)
    images = exposures(science, template, difference, 1.0, 1.0)
    result = decorrelate(*images, kernel, science_kernel=psf, score=True)
    with pytest.raises(InputError, match="is a score image"):
        result.snr()


def test_response_of_the_tests() -> None:
    """What the reference takes for a source is what a convolution with ψ makes of it."""
    psf, psi = SOURCES["both vary"]
    r = response(psf, psi, STEP - 2, 60)
    phi = psf.at(STEP - 2, 60)
    pixel = sum(
        psi.at(STEP + 1, 61)[5 - b, 5 - a] * phi[7 + 1 + b, 7 + 3 + a]
        for a in range(-5, 5 + 1)
        for b in range(-5, 5 + 1)
        if 0 <= 10 + a < 15 and 0 <= 8 + b < 15
    )
    half = len(r) // 2
    assert r[half + 1, half + 3] == pytest.approx(pixel, rel=1e-12)
    source = PointSource.of(SHAPE, psf, psi, "")
    image, x, y = source.at(STEP - 2, 60)
    assert (x, y) == (STEP - 2, 60)
    inner = slice(half - source.reach, half + source.reach + 1)
    np.testing.assert_allclose(image, r[inner, inner], atol=1e-12)
    assert (r**2).sum() - (image**2).sum() < 2e-9 * (r**2).sum()
