"""Forced photometry: fluxes, errors, limits and apertures against truth and definition."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table

from diffim_decorr import Exposure, InputError, SpatialKernel, UsageError, measure, snr_maps
from diffim_decorr.detect.apertures import circle
from diffim_decorr.detect.photometry import Photometer
from diffim_decorr.detect.point_source import PointSource
from diffim_decorr.noise.plane_level import plane_level
from support.files import cube_hdus, image_hdu, write_hdus
from support.kernels import gaussian
from support.noise import PLANES
from support.sources import fluxes, grid_psf, stepped_psi

SHAPE = (90, 120)
SIGMA = 1.6
PSF = gaussian(19, SIGMA)
WCS = {
    "CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRPIX1": 60.5, "CRPIX2": 45.5, "CRVAL1": 150.0, "CRVAL2": 2.0,
    "CD1_1": -1e-4, "CD1_2": 0.0, "CD2_1": 0.0, "CD2_2": 1e-4, "RADESYS": "ICRS",
}  # fmt: skip


def _stars(places: list[tuple[float, float]], flux: float) -> np.ndarray:
    v, u = np.mgrid[: SHAPE[0], : SHAPE[1]]
    profile = [np.exp(-0.5 * ((u - x) ** 2 + (v - y) ** 2) / SIGMA**2) for x, y in places]
    return flux * sum(profile) / (2 * np.pi * SIGMA**2)


def _file(path: Path, image: np.ndarray, variance: float = 1.0, mask: np.ndarray | None = None, **cards: object) -> str:
    """A difference as a run writes it."""
    mask = np.zeros(SHAPE, "i4") if mask is None else mask
    # Areas of nothing but zeros hold no data.
    image = image + 1e-4 * np.random.default_rng(0).normal(size=SHAPE)
    hdus = [
        image_hdu(image.astype("f4"), "IMAGE", **WCS),
        image_hdu(mask, "MASK", MP_SAT=PLANES["SAT"]),
        image_hdu(np.full(SHAPE, variance, "f4"), "VARIANCE"),
        image_hdu(PSF, "PSF"),
    ]
    write_hdus(path, *hdus, DCVERS="1", **cards)
    return str(path)


def test_each_position_is_as_the_equations_say() -> None:
    """At whole pixels, where PSF and ψ vary and the depth has steps and gaps: as the maps, and as their definition."""
    shape = (120, 400)
    psf, psi = grid_psf(shape), stepped_psi(shape, 200)
    rng = np.random.default_rng(1)
    variance = np.where(np.arange(400) < 210, 1.0, 2.5) * np.ones(shape)
    variance[60:64, 195:203] = np.inf
    image = rng.normal(size=shape) * np.where(np.isfinite(variance), variance, 1) ** 0.5
    places = [(20, 30), (199, 40), (200, 41), (202, 61), (209, 100), (390, 5), (0, 0)]
    exposure = Exposure(image.astype("f4"), variance.astype("f4"))
    photometer = Photometer(exposure, PointSource.of(shape, psf, psi, ""), plane_level(exposure, ()), ())
    flux, error = fluxes(exposure.image.astype(float), variance, psf, psi, places)
    maps = snr_maps(exposure, psf=psf, psi=psi)
    for (x, y), f, e in zip(places, flux, error, strict=True):
        found = photometer(x, y)
        assert found.flux == pytest.approx(f, abs=1e-4 * e)
        assert found.flux_err == pytest.approx(e, rel=1e-5)
        assert found.flux == pytest.approx(float(maps.flux[y, x]), abs=2e-4 * e)


def test_fluxes_between_pixels(tmp_path: Path) -> None:
    """On the sky and in pixels, of sources in parts of pixels, with flags, limits, times and names."""
    places = [(20.3, 30.6), (60.0, 44.5), (100.45, 70.2)]
    mask = np.zeros(SHAPE, "i4")
    mask[32, 20] = 1 << PLANES["SAT"]
    path = _file(tmp_path / "a.fits", _stars(places, 1000.0), mask=mask, **{"MJD-OBS": 60100.5})
    dec = 2 + (np.array([y for _, y in places]) - 44.5) * 1e-4
    ra = 150 - (np.array([x for x, _ in places]) - 59.5) * 1e-4 / np.cos(np.radians(2))
    sky = Table({"name": ["a", "b", "c", "far"], "RA": [*ra, 10.0], "Dec": [*dec, -30.0]})
    table = measure(path, sky)
    assert list(table["name"]) == ["a", "b", "c", "far"]
    assert list(table["row"]) == [0, 1, 2, 3]
    np.testing.assert_allclose(table["flux"][:3], 1000, rtol=1e-3)
    np.testing.assert_allclose(table["x"][:3], [x for x, _ in places], atol=2e-3)
    assert table["mjd"][0] == 60100.5
    assert list(table["flags"]) == ["SAT", "", "", "OUTSIDE"]
    assert np.isnan(table["flux"][3])
    assert np.isinf(table["flux_err"][3])
    assert table["weight"][0] < 1
    assert (table["chi2"][:3] < 0.1).all()
    assert np.isnan(table["upper_limit"]).all()
    x, y = np.array(places).T
    pixels = measure(path, Table({"x": x, "y": y}))
    np.testing.assert_allclose(pixels["flux"], 1000, rtol=1e-5)
    np.testing.assert_allclose(pixels["ra"], ra, atol=1e-6)
    sextractor = measure(path, Table({"X_IMAGE": x + 1, "Y_IMAGE": y + 1}))
    np.testing.assert_allclose(sextractor["flux"], pixels["flux"])
    radians = Table({"coord_ra": np.radians(ra), "coord_dec": np.radians(dec)}, units=["rad", "rad"])
    np.testing.assert_allclose(measure(path, radians)["x"], x, atol=2e-3)
    both = Table({"x": x + 5, "y": y, "ra": ra, "dec": dec})
    np.testing.assert_allclose(measure(path, both)["x"], x, atol=2e-3)
    np.testing.assert_allclose(measure(path, both, frame="pixel")["x"], x + 5)
    faint = measure(path, Table({"x": [40.0], "y": [20.0]}), limit=5.0)
    assert faint["upper_limit"][0] == pytest.approx(5 * faint["flux_err"][0])
    assert faint["flux_err"][0] == pytest.approx((PSF**2).sum() ** -0.5, rel=1e-4)


def test_many_images_in_one_table(tmp_path: Path) -> None:
    """A light curve: a row for each position in each image."""
    flux = [300.0, 700.0, 100.0]
    files = [
        _file(tmp_path / f"{k}.fits", _stars([(60.2, 44.1)], f), 1.0 + k, **{"DATE-OBS": f"2023-06-0{k + 1}T12:00:00"})
        for k, f in enumerate(flux)
    ]
    table = measure(files, Table({"id": [7, 8], "x": [60.2, 20.0], "y": [44.1, 20.0]}))
    curve = table[table["id"] == 7]
    np.testing.assert_allclose(curve["flux"], flux, rtol=1e-4)
    np.testing.assert_allclose(np.diff(curve["mjd"]), 1)
    np.testing.assert_allclose(curve["flux_err"] / curve["flux_err"][0], np.sqrt([1, 2, 3]), rtol=1e-4)
    assert list(curve["image"]) == files


def test_pulls_of_fluxes_and_apertures(tmp_path: Path) -> None:
    """In noise whose correlation is recorded: errors of apertures take it into account. 1500 places."""
    rng = np.random.default_rng(8)
    smooth = np.zeros((11, 11))
    smooth[5, 5], smooth[5, 6], smooth[5, 4] = 1, 0.2, 0.2
    x, y = (a.ravel().astype(float) for a in np.meshgrid(np.arange(12, 110, 11), np.arange(12, 80, 11)))
    pulls, shares = [], []
    for seed in range(24):
        noise = rng.normal(size=(SHAPE[0], SHAPE[1] + 1))
        a = 0.5 * (np.sqrt(1.4) + np.sqrt(0.6))  # a² + b² = 1, a b = 0.2
        noise = a * noise[:, 1:] + 0.2 / a * noise[:, :-1]
        path = _file(tmp_path / f"{seed}.fits", noise)
        qa = np.zeros((4, 11, 11), "f4")
        qa[1] = smooth
        with fits.open(path, mode="append") as hdus:
            hdus.append(image_hdu(qa, "QA", PLANE2="after"))
        table = measure(path, Table({"x": x + 0.3, "y": y - 0.2}), apertures="2,3.5")
        pulls.append([table["aper_2"] / table["aper_2_err"], table["aper_3_5"] / table["aper_3_5_err"]])
        shares = [table["aper_2_share"][0], table["aper_3_5_share"][0]]
    found = np.array(pulls).swapaxes(0, 1).reshape(2, -1)
    assert found.std(axis=1) == pytest.approx(1, abs=4 / np.sqrt(2 * found.shape[1]))
    # The share of a Gaussian within a circle, but for that the PSF is one of pixels.
    assert shares == pytest.approx([1 - np.exp(-0.5 * (r / SIGMA) ** 2) for r in (2, 3.5)], abs=0.02)


def test_apertures_without_all_pixels(tmp_path: Path) -> None:
    image = _stars([(60, 44)], 500.0)
    image[20, 31] = np.nan
    path = _file(tmp_path / "a.fits", image)
    table = measure(path, Table({"x": [60.0, 30.0, 1.0, 400.0], "y": [44.0, 20.0, 44.0, 10.0]}), apertures="3")
    assert table["aper_3"][0] == pytest.approx(500 * table["aper_3_share"][0], rel=1e-4)
    assert np.isnan(table["aper_3"][1:]).all()


def test_circles() -> None:
    for radius, dx, dy in ((0.5, 0, 0), (2.3, 0.4, -0.3), (5, -0.5, 0.1)):
        assert circle(radius, dx, dy, int(radius) + 2).sum() == pytest.approx(np.pi * radius**2, rel=0.01)
    assert circle(3, 0, 0, 4)[4, 4] == 1
    assert circle(3, 0, 0, 4)[0, 0] == 0


def test_refusals(tmp_path: Path) -> None:
    path = _file(tmp_path / "a.fits", np.random.default_rng(1).normal(size=SHAPE))
    plain = _file(tmp_path / "b.fits", np.random.default_rng(1).normal(size=SHAPE))
    with fits.open(plain, mode="update") as hdus:
        del hdus["IMAGE"].header["CTYPE*"]
    good = Table({"x": [3.0], "y": [4.0]})
    for table, says in (
        (Table({"u": [1.0]}), "has no columns ra and dec, or x and y; it has u"),
        (Table({"ra": ["10:30:00"], "dec": ["+2:00:00"]}), "column ra of the table of positions holds no numbers"),
        (Table({"ra": [10.0], "dec": [95.0]}), "declinations beyond 90"),
        (Table({"ra": [10.0], "dec": [2.0]}, units=["pix", "pix"]), "is in pix, which is no angle"),
    ):
        with pytest.raises(InputError, match=says):
            measure(path, table)
    with pytest.raises(InputError, match="has no WCS that places 1 positions"):
        measure(plain, Table({"ra": [150.0], "dec": [2.0]}))
    with pytest.raises(InputError, match="has no columns ra and dec; it has x, y"):
        measure(path, good, frame="sky")
    with pytest.raises(UsageError, match="apertures must be radii in pixels"):
        measure(path, good, apertures="three")
    with pytest.raises(UsageError, match="from 0 to 100 pixels"):
        measure(path, good, apertures="3,400")
    with pytest.warns(UserWarning, match="not one of 1 positions lies in it"):
        measure(path, Table({"ra": [10.0], "dec": [2.0]}))


def test_a_psf_of_ones_own(tmp_path: Path) -> None:
    """Instead of that of the file; of a grid that of the place."""
    path = _file(tmp_path / "a.fits", _stars([(60, 44)], 500.0))
    write_hdus(
        tmp_path / "psf.fits", *cube_hdus(np.array([PSF, gaussian(19, 2.5)]), [60.0, 110.0], [44.0, 44.0], "PSF")
    )
    positions = Table({"x": [60.0], "y": [44.0]})
    assert measure(path, positions, psf=str(tmp_path / "psf.fits"))["flux"][0] == pytest.approx(500, rel=1e-3)
    assert measure(path, positions, fwhm=SIGMA * 2.3548)["flux"][0] == pytest.approx(500, rel=1e-3)
    assert measure(path, positions, fwhm=8.0)["flux"][0] > 600
    assert SpatialKernel.constant(PSF).is_constant
