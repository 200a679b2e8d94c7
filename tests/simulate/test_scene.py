"""The simulation is what it says: noise, subtraction, fluxes, kernel."""

from __future__ import annotations

import dataclasses
from math import inf

import numpy as np
import pytest
from scipy.signal import convolve

from diffim_decorr.simulate.options import SimulationOptions
from diffim_decorr.simulate.scene import MASK_PLANES, render, simulate
from support.simulation import SMALL

DEFECTS = sum(1 << MASK_PLANES[name] for name in ("BAD", "SAT", "CR", "NO_DATA"))


def variance_tolerance(variance, pixels, rho_squared=1.0):
    """Five times the standard error of a sample variance, rho_squared being the sum of the squared correlations."""
    return 5 * variance * np.sqrt(2 * rho_squared / pixels)


def difference_noise(simulation):
    """Background variance of the difference before whitening, and its sum of squared correlations."""
    o = simulation.options
    ny, nx = o.shape
    kernel = simulation.kernel.at((nx - 1) / 2, (ny - 1) / 2)
    delta = np.zeros_like(kernel)
    delta[kernel.shape[0] // 2, kernel.shape[1] // 2] = 1
    of_science, of_template = (delta, kernel) if o.convolved == "template" else (kernel / o.kernel_sum, delta)
    if o.convolved == "science":
        of_template = of_template / o.kernel_sum
    correlation = sum(
        variance * convolve(k, k[::-1, ::-1], method="direct")
        for variance, k in ((o.svar, of_science), (o.tvar, of_template))
    )
    return correlation.max(), np.sum((correlation / correlation.max()) ** 2)


def test_background_variance_and_depth_step():
    s = simulate(SimulationOptions(size=(300, 400), seed=2, svar=9.0, tvar=4.0, depth_step=2.5, stars=0, masks=False))
    pixels = 300 * 200
    assert len(s.truth.x) == 0
    for image, plane, left, right in (
        (s.science, s.science_variance, 9.0, 9.0),
        (s.template, s.template_variance, 4.0, 10.0),
    ):
        for half, expected in ((np.s_[:, :200], left), (np.s_[:, 200:], right)):
            assert image[half].var() == pytest.approx(expected, abs=variance_tolerance(expected, pixels))
            assert image[half].mean() == pytest.approx(0, abs=5 * np.sqrt(expected / pixels))
            assert np.all(plane[half] == np.float32(expected))
    assert not np.any(s.science_mask | s.template_mask)
    assert s.white_variance == (13.0, 19.0)


@pytest.mark.parametrize("psf", ["gaussian", "moffat"])
@pytest.mark.parametrize("convolved", ["template", "science"])
def test_stars_subtract_to_noise(convolved, psf):
    s = simulate(
        SimulationOptions(
            size=320, seed=5, svar=1.0, tvar=1.0, gain=inf, stars=150, flux_range=(1e4, 1e6), transients=0, variables=0,
            convolved=convolved, psf=psf, kernel_sum=1.4, kernel_variation=0.3, masks=False,
        )
    )  # fmt: skip
    inside = np.zeros(s.science.shape, dtype=bool)
    inside[np.rint(s.truth.y).astype(int), np.rint(s.truth.x).astype(int)] = True
    inside = (convolve(inside, np.ones((7, 7)), mode="same", method="direct") > 0.5) & np.isfinite(s.difference)
    variance, rho_squared = difference_noise(s)
    # The kernel's width varies by 30 %, but the noise of the convolved image is a small part of the whole.
    systematic = 0.04 * variance
    assert s.science[inside].max() > 1e4
    tolerance = variance_tolerance(variance, inside.sum(), rho_squared) + systematic
    assert np.mean(s.difference[inside].astype(float) ** 2) == pytest.approx(variance, abs=tolerance)


def test_source_noise_is_in_the_variance_planes():
    s = simulate(
        SimulationOptions(
            size=320, seed=6, gain=2.0, stars=150, flux_range=(1e4, 1e6), transients=0, variables=0,
            kernel_variation=0.0, masks=False,
        )
    )  # fmt: skip
    square = s.kernel.at(0, 0) ** 2
    expected = s.science_variance + convolve(s.template_variance.astype(float), square, mode="same", method="direct")
    bright = (s.science_mask > 0) & np.isfinite(s.difference)
    ratio = s.difference[bright] ** 2 / expected[bright]
    # Where the template dominates, noise is correlated over at most this many pixels.
    kernel = s.kernel.at(0, 0)
    correlation = convolve(kernel, kernel[::-1, ::-1], method="direct")
    tolerance = variance_tolerance(1.0, bright.sum(), np.sum((correlation / correlation.max()) ** 2))
    assert expected[bright].max() > 10 * s.options.svar
    assert ratio.mean() == pytest.approx(1, abs=tolerance)


def test_only_flagged_pixels_are_spoiled():
    """Whatever is neither missing from the difference nor a flagged defect of the unconvolved image is noise."""
    for convolved in ("template", "science"):
        s = simulate(
            SimulationOptions(
                size=512, seed=7, svar=4.0, tvar=4.0, gain=inf, stars=200, transients=0, variables=0,
                kernel_variation=0.0, convolved=convolved, saturation=3000.0,
            )
        )  # fmt: skip
        for name in ("BAD", "SAT", "CR", "NO_DATA"):
            assert np.any(s.science_mask & 1 << MASK_PLANES[name])
        assert np.any(s.template_mask & 1 << MASK_PLANES["SAT"])
        lost = (s.science_mask & 1 << MASK_PLANES["NO_DATA"]) > 0
        assert np.array_equal(lost, np.isnan(s.science))
        assert np.array_equal(lost, np.isnan(s.science_variance))
        assert np.all(np.isnan(s.difference[lost]))
        mask = s.science_mask if convolved == "template" else s.template_mask
        good = ((mask & DEFECTS) == 0) & np.isfinite(s.difference)
        assert good.mean() > 0.5
        variance, rho_squared = difference_noise(s)
        tolerance = variance_tolerance(variance, good.sum(), rho_squared)
        assert s.difference[good].astype(float).var() == pytest.approx(variance, abs=tolerance)
        assert np.abs(s.difference[good]).max() < 6.5 * np.sqrt(variance)


@pytest.mark.parametrize("convolved", ["template", "science"])
def test_difference_is_the_brute_force_one(convolved):
    s = simulate(
        dataclasses.replace(SMALL, convolved=convolved, kernel_sum=1.3, kernel_variation=0.4, kernel_sigma=1.2)
    )
    half = s.kernel.shape[0] // 2
    known = np.argwhere(np.isfinite(s.difference))
    assert known.min() >= half
    image, other = (s.template, s.science) if convolved == "template" else (s.science, s.template)
    for y, x in known[np.random.default_rng(0).integers(0, len(known), 60)]:
        patch = image[y - half : y + half + 1, x - half : x + half + 1].astype(float)
        matched = np.sum(s.kernel.at(x, y)[::-1, ::-1] * patch)
        expected = other[y, x] - matched if convolved == "template" else (matched - other[y, x]) / 1.3
        # One rounding of the result to single precision, and the roundings of a Fourier transform in double precision.
        assert s.difference[y, x] == pytest.approx(expected, rel=2**-23, abs=1e-12 * float(np.nanmax(np.abs(image))))


@pytest.mark.parametrize("convolved", ["template", "science"])
def test_fluxes_of_transients(convolved):
    # With next to no noise in the convolved image the noise of the difference is white.
    quiet, loud = 1e-6, 25.0
    s = simulate(
        SimulationOptions(
            size=700, seed=8, gain=inf, stars=0, transients=40, kernel_variation=0.0, kernel_sum=1.3, masks=False,
            convolved=convolved,
            svar=loud if convolved == "template" else quiet, tvar=quiet if convolved == "template" else loud,
        )
    )  # fmt: skip
    t = s.truth
    assert np.all(t.transient)
    assert not np.any(t.variable)
    assert not np.any(t.flux_template)
    assert np.array_equal(t.flux_science, t.flux_difference)
    sigma = np.sqrt(loud) / (1.0 if convolved == "template" else 1.3)
    half, kernel, deviations = 20, s.kernel.at(0, 0), []
    for k in range(len(t.x)):
        x, y = round(t.x[k]), round(t.y[k])
        distance = np.hypot(t.x - t.x[k], t.y - t.y[k])
        if not (30 < x < 670 and 30 < y < 670) or np.sum(distance < 2 * half + 10) > 1:
            continue
        shape = (2 * half + 1, 2 * half + 1)
        centre = np.array([t.x[k] - x + half]), np.array([t.y[k] - y + half])
        profile = convolve(render(shape, *centre, np.ones(1), 3.0), kernel / 1.3, mode="same", method="direct")
        stamp = s.difference[y - half : y + half + 1, x - half : x + half + 1]
        weight = np.sum(profile**2)
        deviations.append((np.sum(profile * stamp) / weight - t.flux_difference[k]) / (sigma / np.sqrt(weight)))
    assert len(deviations) > 10
    assert np.max(np.abs(deviations)) < 4.5
    assert np.mean(deviations) == pytest.approx(0, abs=5 / np.sqrt(len(deviations)))


def test_truth_of_stars_and_variables(small):
    t = small.truth
    stars, variables, transients = SMALL.counts
    assert (len(t.x), t.variable.sum(), t.transient.sum()) == (stars + transients, variables, transients)
    constant = ~t.variable & ~t.transient
    assert np.all(t.flux_difference[constant] == 0)
    assert np.all(t.flux_difference[~constant] != 0)
    assert t.flux_difference == pytest.approx(t.flux_science - t.flux_template, abs=1e-6)
    assert np.all((t.x >= 0) & (t.x <= 159) & (t.y >= 0) & (t.y <= 143))


def test_render_conserves_flux_and_position():
    x, y, flux = np.array([40.3, 90.75]), np.array([50.8, 60.1]), np.array([100.0, 300.0])
    for psf in ("gaussian", "moffat"):
        for k in range(2):
            image = render((120, 140), x[k : k + 1], y[k : k + 1], flux[k : k + 1], 4.0, psf)
            rows, columns = np.indices(image.shape)
            assert image.sum() == pytest.approx(flux[k], rel=1e-12)
            # The stamp is centred on a pixel, so its wings are cut off unevenly: at 2.5 and 6 FWHM.
            assert (image * columns).sum() / flux[k] == pytest.approx(x[k], abs=2e-3)
            assert (image * rows).sum() / flux[k] == pytest.approx(y[k], abs=2e-3)
        together = render((120, 140), x, y, flux, 4.0, psf)
        assert together.sum() == pytest.approx(400, rel=1e-12)


def test_kernel_varies_as_asked():
    def width(kernel, x, y):
        image = kernel.at(x, y)
        u = np.arange(image.shape[0]) - image.shape[0] // 2
        return np.sqrt((image.sum(axis=0) @ u**2) / image.sum())

    constant = simulate(dataclasses.replace(SMALL, kernel_variation=0.0)).kernel
    assert constant.is_constant
    assert width(constant, 10, 10) == pytest.approx(1.5, rel=1e-3)
    varying = simulate(dataclasses.replace(SMALL, kernel_sum=0.8)).kernel
    assert not varying.is_constant
    corners = [(x, y) for x in (0, 80, 159) for y in (0, 72, 143)]
    widths = [width(varying, *corner) for corner in corners]
    # The narrow and the wide Gaussian, and an eighth of the variation in ellipticity.
    assert 1.5 * 0.75 < min(widths) < 0.97 * max(widths) < 0.97 * 1.5 * 1.25
    assert [varying.sum_at(*corner) for corner in corners] == pytest.approx([0.8] * 9, rel=1e-12)
    assert simulate(dataclasses.replace(SMALL, kernel_order=0)).kernel.is_constant


def test_psfs(small):
    for psf, fwhm in ((small.template_psf, 3.0), (small.science_psf, np.hypot(3.0, 2.3548 * 1.5))):
        assert psf.shape[0] % 2 == psf.shape[1] % 2 == 1
        assert psf.sum() == pytest.approx(1, abs=1e-12)
        # 1 / sum(psf²) is 4 pi sigma² for a Gaussian; the kernel's width varies by 20 %.
        assert 1 / np.sqrt(np.sum(psf**2) * 4 * np.pi) == pytest.approx(fwhm / 2.3548, rel=0.2)
    assert np.unravel_index(small.template_psf.argmax(), small.template_psf.shape) == (8, 8)


def test_same_seed_same_bits(small):
    again = simulate(SMALL)
    for name in ("science", "template", "difference", "science_variance", "science_mask", "template_mask"):
        assert getattr(small, name).tobytes() == getattr(again, name).tobytes()
    other = simulate(dataclasses.replace(SMALL, seed=4))
    assert not np.array_equal(small.truth.x, other.truth.x)
    deeper = simulate(dataclasses.replace(SMALL, svar=1.0))
    assert np.array_equal(small.truth.x, deeper.truth.x)
