"""Peaks of the S/N map: where they are, how many noise has, and what is said of them."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.io import fits

from diffim_decorr import Exposure, InputError, SpatialKernel, snr_maps
from diffim_decorr.detect.peaks import find_peaks, position_errors
from diffim_decorr.detect.point_source import PointSource
from diffim_decorr.geometry import Box
from diffim_decorr.qa.peaks import expected_peaks
from support.kernels import gaussian
from support.noise import PLANES

SIGMA = 1.6
PSF = gaussian(25, SIGMA)


def _source(x: float, y: float, flux: float, shape: tuple[int, int]) -> np.ndarray:
    """A Gaussian sampled at the pixels, its centre anywhere."""
    v, u = np.mgrid[: shape[0], : shape[1]]
    return flux * np.exp(-0.5 * ((u - x) ** 2 + (v - y) ** 2) / SIGMA**2) / (2 * np.pi * SIGMA**2)


def _planes(snr: np.ndarray):
    """S/N as flux, mask and variance, to be read."""
    mask = np.zeros(snr.shape, "i4")
    return lambda box: (snr[box.slices], mask[box.slices], np.ones(box.shape))


def test_peaks_are_larger_than_all_around() -> None:
    """Against the definition, in bands, at edges, of either sign, among ties and missing values."""
    rng = np.random.default_rng(1)
    snr = rng.normal(size=(1100, 90)).round(1)
    snr[rng.random(snr.shape) < 0.05] = np.nan
    snr[511:513, 40:42] = 5.0
    peaks = find_peaks(_planes(snr), snr.shape, 1.5)
    padded = np.pad(np.nan_to_num(snr, nan=0.0), 1)
    expected = set()
    for y, x in zip(*np.nonzero(np.abs(np.nan_to_num(snr)) > 1.5), strict=True):
        own = np.sign(snr[y, x]) * padded[y : y + 3, x : x + 3]
        earlier = own.ravel()[:4]
        if own.max() == own[1, 1] and not (earlier == own[1, 1]).any():
            expected.add((x, y))
    found = list(zip(np.round(peaks.x).astype(int), np.round(peaks.y).astype(int), strict=True))
    assert len(found) == len(expected)
    near = sum(any((x + i, y + j) in expected for i in (-1, 0, 1) for j in (-1, 0, 1)) for x, y in found)
    assert near == len(found)


def test_positions_in_parts_of_pixels() -> None:
    """Of a bright source they are right to 0.01 pixels, and so are fluxes to 1e-3."""
    rng = np.random.default_rng(4)
    shape, true = (200, 220), []
    image = np.zeros(shape)
    for x in range(20, 210, 30):
        for y in range(20, 190, 30):
            true.append((x + rng.uniform(-0.5, 0.5), y + rng.uniform(-0.5, 0.5)))
            image += _source(*true[-1], 1e4, shape)
    table = snr_maps(Exposure(image, 1.0), psf=PSF).peaks(50.0)
    assert len(table) == len(true)
    order = [int(np.argmin(np.hypot(table["x"] - x, table["y"] - y))) for x, y in true]
    x, y = np.array(true).T
    assert np.abs(table["x"][order] - x).max() < 0.01
    assert np.abs(table["y"][order] - y).max() < 0.01
    np.testing.assert_allclose(table["flux"], 1e4, rtol=1e-3)
    assert (table["chi2"] < 1).all()


def test_errors_of_positions_and_fluxes_are_true() -> None:
    """300 sources of 20 σ; the pull has a scatter of 1, and χ² is what it should be."""
    rng = np.random.default_rng(5)
    side = 20 * 30
    image = rng.normal(size=(side, side))
    true = []
    for x in range(15, side, 30):
        for y in range(15, side, 30):
            true.append((x + rng.uniform(-0.5, 0.5), y + rng.uniform(-0.5, 0.5)))
            box = Box(x - 12, y - 12, x + 13, y + 13)
            image[box.slices] += _source(true[-1][0] - box.x0, true[-1][1] - box.y0, 113.4, box.shape)
    table = snr_maps(Exposure(image, 1.0), psf=PSF).peaks(10.0)
    assert len(table) == len(true) == 400
    order = [int(np.argmin(np.hypot(table["x"] - x, table["y"] - y))) for x, y in true]
    table = table[order]
    x, y = np.array(true).T
    for pull in ((table["x"] - x) / table["x_err"], (table["y"] - y) / table["y_err"]):
        assert np.mean(pull) == pytest.approx(0, abs=4 / 20)
        assert np.std(pull) == pytest.approx(1, abs=4 / np.sqrt(800) + 0.05)
    # At the best position the flux is larger than at the true one, by one σ² of each coordinate over two.
    flux = (table["flux"] - 113.4) / table["flux_err"]
    assert np.mean(flux) == pytest.approx(1 / 20, abs=4 / 20)
    assert np.std(flux) == pytest.approx(1, abs=4 / np.sqrt(800))
    dof = table["dof"].sum()
    assert table["chi2"].sum() == pytest.approx(dof, abs=4 * np.sqrt(2 * dof))


def test_noise_has_as_many_as_it_should() -> None:
    """Of either sign, 4 million pixels."""
    rng = np.random.default_rng(6)
    shape = (2000, 2000)
    maps = snr_maps(Exposure(rng.normal(size=shape).astype("f4"), 1.0), psf=PSF)
    peaks = find_peaks(
        lambda box: (maps.flux[box.slices], maps.mask[box.slices], maps.flux_err[box.slices] ** 2), shape, 3.5
    )
    for sign in (1, -1):
        for threshold in (3.5, 4.0):
            expected = expected_peaks(PSF, threshold) * 4e6
            count = np.count_nonzero(sign * peaks.snr > threshold)
            assert count == pytest.approx(expected, abs=4 * expected**0.5), threshold


def test_what_is_said_of_them() -> None:
    """Sign, mask planes, places on the sky, the nearest source of the science image, and shapes that are none."""
    header = fits.Header()
    header.update(CTYPE1="RA---TAN", CTYPE2="DEC--TAN", CRPIX1=60.5, CRPIX2=50.5, CRVAL1=150.0, CRVAL2=2.0,
        CD1_1=-1e-4, CD1_2=0.0, CD2_1=0.0, CD2_2=1e-4, RADESYS="ICRS")  # fmt: skip
    shape = (100, 120)
    rng = np.random.default_rng(7)
    image = rng.normal(size=shape)
    image += _source(30.3, 40, 500, shape) - _source(80, 60, 300, shape)
    image[20, 90] += 40  # as of a cosmic ray
    mask = np.zeros(shape, "i4")
    mask[41, 30] = 1 << PLANES["SAT"]
    mask[60, 80] = 1 << PLANES["DETECTED"]
    science = 7.0 + rng.normal(size=shape) + _source(33.3, 44, 3000, shape)
    exposure = Exposure(image, 1.0, mask, mask_planes=PLANES, header=header)
    table = snr_maps(exposure, psf=PSF).peaks(6.0, science=science)
    assert len(table) == 3
    assert list(np.abs(table["snr"])) == sorted(np.abs(table["snr"]), reverse=True)
    first, second, third = table
    assert (first["sign"], second["sign"], third["sign"]) == (1, -1, 1)
    assert first["flags"] == "SAT"
    assert first["weight"] < 1 == second["weight"]
    assert second["flags"] == "DETECTED"
    assert first["nearest"] == pytest.approx(5, abs=0.2)
    assert second["nearest"] > 40
    assert second["ra"] == pytest.approx(150 - (80 - 59.5) * 1e-4 / np.cos(np.radians(2)), abs=2e-5)
    assert second["dec"] == pytest.approx(2 + (60 - 49.5) * 1e-4, abs=2e-5)
    assert third["chi2"] > 5 * third["dof"] > 4 * second["chi2"] / 2
    assert table.meta["threshold"] == 6.0
    without = snr_maps(Exposure(image, 1.0), psf=PSF).peaks(6.0)
    assert "ra" not in without.colnames
    assert "nearest" not in without.colnames
    assert len(snr_maps(Exposure(image, 1.0), psf=PSF).peaks(500.0)) == 0
    with pytest.raises(InputError, match="has 50 x 50 pixels"):
        snr_maps(exposure, psf=PSF).peaks(6.0, science=np.ones((50, 50)))


def test_errors_of_a_gaussian() -> None:
    """σ of the position is σ of the PSF times √2 over the S/N (King 1983)."""
    source = PointSource((99, 99), SpatialKernel.constant(PSF), SpatialKernel.identity(), "")
    assert position_errors(source, 49, 49) == pytest.approx([SIGMA * 2**0.5] * 2, rel=0.2)
