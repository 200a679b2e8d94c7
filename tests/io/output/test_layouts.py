"""Layouts of the output: what others find in them, and that nothing else differs."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import sep
from astropy.io import fits
from astropy.wcs import WCS

from diffim_decorr import decorrelate, read_exposure, read_kernel, read_psf, read_psi
from support.command import succeed
from support.files import INPUTS, LAYOUTS, WHERE, listing, make_inputs, verified, write_exposure
from support.kernels import gaussian
from support.noise import PLANES, noise_pair
from support.reference import convolved

ENDINGS = (".fits", ".fits.fz", ".fits.gz")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One difference in every layout, and plain and compressed."""
    folder = tmp_path_factory.mktemp("layouts")
    make_inputs(folder)
    for layout in LAYOUTS:
        for ending in ENDINGS:
            succeed(folder, "run", *INPUTS, "--psf", "psf.fits", "--layout", layout, "-q", "-o", f"{layout}{ending}")
    return folder


def planes(folder: Path, layout: str, ending: str = ".fits") -> tuple[np.ndarray, ...]:
    """Image, mask and variance, as a user would get them."""
    found = []
    for suffix, hdu in WHERE[layout]:
        with fits.open(folder / f"{layout}{suffix}{ending}") as hdus:
            # Compressed images cannot be in the primary HDU.
            found.append(hdus[1 if hdu == 0 and ending == ".fits.fz" else hdu].data)
    image, mask, variance = found
    return image, mask, np.square(variance) if layout == "sci-err-dq" else variance


# What is in them


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_pixels_are_the_same_in_every_layout(made: Path, layout: str, ending: str) -> None:
    for plane, wanted in zip(planes(made, layout, ending), planes(made, "lsst"), strict=True):
        assert plane.dtype.newbyteorder("=") == wanted.dtype.newbyteorder("=")
        np.testing.assert_allclose(plane, wanted, rtol=2e-7 if wanted.dtype.kind == "f" else 0)
    np.testing.assert_array_equal(planes(made, layout, ending)[0], planes(made, "lsst")[0])


@pytest.mark.parametrize("layout", LAYOUTS)
def test_pixels_are_those_of_the_python_api(made: Path, layout: str) -> None:
    images = [read_exposure(made / name) for name in INPUTS[:3]]
    psf = read_psf(made / "psf.fits")
    result = decorrelate(*images, read_kernel(made / "kernel.fits"), psf=psf).exposure
    image, mask, variance = planes(made, layout)
    np.testing.assert_array_equal(image, result.image)
    np.testing.assert_array_equal(mask, result.mask)
    np.testing.assert_allclose(variance, result.variance, rtol=2e-7)


def test_hdus(made: Path) -> None:
    names = {}
    for path in sorted(path for layout in LAYOUTS for path in made.glob(f"{layout}*.fits")):
        with fits.open(path, checksum=True) as hdus:
            names[path.stem] = [hdu.name for hdu in hdus]
            for hdu in hdus:
                assert hdu.verify_checksum() == hdu.verify_datasum() == 1
    rest = ["PSI_BASIS", "PSI_COEFFS", "PSF", "QA"]
    assert names["lsst"] == ["PRIMARY", "IMAGE", "MASK", "VARIANCE", *rest]
    assert names["sci-err-dq"] == ["PRIMARY", "SCI", "ERR", "DQ", *rest]
    assert names["flat"] == names["flat_mask"] == names["flat_variance"] == ["PRIMARY"]
    assert names["flat_psi"] == ["PRIMARY", *rest]
    assert fits.getheader(made / "sci-err-dq.fits", "ERR")["BUNIT"] == "adu"
    assert fits.getheader(made / "flat_variance.fits")["BUNIT"] == "adu2"
    assert fits.getheader(made / "flat_mask.fits")["MP_SAT"] == PLANES["SAT"]


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_fitsverify(made: Path, layout: str, ending: str) -> None:
    paths = [path for path in made.glob(f"{layout}*{ending}") if path.name.endswith(ending)]
    assert len(paths) == (4 if layout == "flat" else 1)
    for path in paths:
        verified(path)


def test_provenance_is_the_same(made: Path) -> None:
    wanted = fits.getheader(made / "lsst.fits")
    for path, hdu in (("sci-err-dq.fits", 0), ("flat.fits", 0), ("flat.fits.fz", 1), ("flat_psi.fits", "PSI_BASIS")):
        header = fits.getheader(made / path, hdu)
        for card in (key for key in wanted if key.startswith("DC") and key not in ("DCDATE", "DCOLAYOU", "DCCMD")):
            # Standard deviations of single precision, squared, are the variances to 1e-7.
            same = pytest.approx(wanted[card], rel=1e-6) if isinstance(wanted[card], float) else wanted[card]
            assert header[card] == same, (path, card)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_outputs_are_read_again(made: Path, layout: str) -> None:
    options = {}
    if layout == "flat":
        options = {key: made / f"flat_{key}.fits" for key in ("variance", "mask")} | {"psf": made / "flat_psi.fits"}
    exposure = read_exposure(made / f"{layout}.fits", **options)
    image, mask, variance = planes(made, layout)
    np.testing.assert_array_equal(exposure.image, image)
    np.testing.assert_array_equal(exposure.mask, mask)
    np.testing.assert_allclose(exposure.variance, variance, rtol=1e-6)
    assert exposure.mask_planes["SAT"] == PLANES["SAT"]
    np.testing.assert_allclose(exposure.psf, fits.getdata(made / "lsst.fits", "PSF"), rtol=1e-6)


def test_psi_is_read_from_every_layout(made: Path) -> None:
    wanted = read_psi(made / "lsst.fits")
    for name in ("sci-err-dq.fits", "flat_psi.fits"):
        psi = read_psi(made / name)
        np.testing.assert_array_equal(psi.kernel.basis, wanted.kernel.basis)
        assert (psi.variance, psi.bad_fraction) == (wanted.variance, wanted.bad_fraction)


CARDS = [
    "CTYPE1  = 'RA---TPV'           / projection of axis 1",
    "CTYPE2  = 'DEC--TPV'",
    "CRVAL1  =          1.50117000D+02 / written by something old",
    "CRVAL2  =    2.205000000000000000",
    "CRPIX1  =                    48.5 /the middle",
    "CRPIX2  =               4.0500E01",
    "CUNIT1  = 'deg     '",
    "CUNIT2  = 'deg     '",
    "CD1_1   =    -5.5E-05",
    "CD1_2   =     1.0E-06",
    "CD2_1   =     1.0E-06",
    "CD2_2   =     5.5E-05",
    "PV1_0   =                 1.1E-04",
    "PV1_1   =       1.000000000001230",
    "PV2_1   =                0.999998",
    "PV2_7   =                   3E-03",
    "RADESYS = 'FK5     '           / as it was",
    "EQUINOX =                  2000.0",
    "LONPOLE =                   180.0",
]


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_wcs_is_not_touched(tmp_path: Path, layout: str, ending: str) -> None:
    """Every card of it is the same to the byte, in every plane, and sky positions are equal."""
    make_inputs(tmp_path)
    pixels = fits.getdata(tmp_path / "diff.fits")
    cards = b"".join(card.encode().ljust(80) for card in CARDS)
    header = fits.PrimaryHDU(pixels).header.tostring(endcard=False, padding=False).encode() + cards + b"END".ljust(80)
    data = pixels.astype(">f4").tobytes()
    (tmp_path / "diff.fits").write_bytes(
        header + bytes(-len(header) % 2880).replace(b"\0", b" ") + data + bytes(-len(data) % 2880)
    )
    succeed(tmp_path, "run", *INPUTS, "--layout", layout, "-q", "-o", f"{layout}{ending}")
    before = WCS(fits.getheader(tmp_path / "diff.fits"))
    x, y = np.array([0.0, 95, 13.5]), np.array([0.0, 79, 60.2])
    for suffix, hdu in WHERE[layout]:
        path = tmp_path / f"{layout}{suffix}{ending}"
        with fits.open(path) as hdus:
            found = hdus[1 if hdu == 0 and ending == ".fits.fz" else hdu].header
            assert {card.rstrip() for card in CARDS} <= {str(card).rstrip() for card in found.cards}
            np.testing.assert_array_equal(WCS(found).all_pix2world(x, y, 0), before.all_pix2world(x, y, 0))
        verified(path)


# Other tools


@pytest.mark.parametrize("layout", LAYOUTS)
def test_detection_with_sep(tmp_path: Path, layout: str) -> None:
    """Every star is found, where it is, with its flux, and hardly anything else."""
    shape, places = (300, 320), [(60, 70), (160, 90), (250, 60), (90, 210), (230, 220)]
    science, template = noise_pair(3, shape, 1.0, 1.0)
    psf, kernel = gaussian(25, 1.6), gaussian(15, 1.3)
    for x, y in places:
        science[y - 12 : y + 13, x - 12 : x + 13] += 400.0 * psf
    mask = np.zeros(shape, "i4")
    mask[140:150, 140:150] = 1 << PLANES["SAT"]
    science[140:150, 140:150] = 1e5
    for name, image in (("sci", science), ("tmpl", template)):
        write_exposure(tmp_path / f"{name}.fits", image, np.ones(shape), mask)
    fits.writeto(tmp_path / "diff.fits", (science - convolved(template, kernel)).astype("f4"))
    fits.writeto(tmp_path / "kernel.fits", kernel)
    fits.writeto(tmp_path / "psf.fits", psf)
    succeed(tmp_path, "run", *INPUTS, "--psf", "psf.fits", "--layout", layout, "-q", "-o", f"{layout}.fits")
    image, flags, variance = (plane.astype(plane.dtype.newbyteorder("=")) for plane in planes(tmp_path, layout))
    corrected = read_psf(tmp_path / ("flat_psi.fits" if layout == "flat" else f"{layout}.fits"))
    middle = corrected.shape[0] // 2
    matched = np.ascontiguousarray(corrected[middle - 4 : middle + 5, middle - 4 : middle + 5])
    usable = sum(1 << PLANES[name] for name in ("SAT", "NO_DATA", "EDGE"))
    objects = sep.extract(
        image, 5.0, var=variance, mask=(flags & usable) != 0, filter_kernel=matched, filter_type="matched", minarea=1
    )
    found = [(o["x"], o["y"]) for o in objects]
    for x, y in places:
        assert min(np.hypot(x - a, y - b) for a, b in found) < 0.5
    # 1e5 independent trials at 5 sigma: 0.03 false ones are expected.
    assert len(objects) == len(places)
    flux, error, _ = sep.sum_circle(image, *np.array(places, float).T, 6.0, var=variance)
    assert (np.abs(flux - 400.0) < 5 * error).all()
    assert (error < 30).all()


@pytest.mark.parametrize("layout", LAYOUTS)
def test_first_image_is_the_difference(made: Path, layout: str) -> None:
    """What fits.getdata, sep and DS9 take without being told."""
    with fits.open(made / f"{layout}.fits") as hdus:
        first = next(hdu.data for hdu in hdus if hdu.data is not None)
    np.testing.assert_array_equal(first, planes(made, "lsst")[0])


# Whole or not at all


@pytest.mark.parametrize("name", ["flat.fits", "flat_mask.fits", "flat_variance.fits", "flat_psi.fits"])
def test_no_file_of_a_layout_is_overwritten(tmp_path: Path, name: str) -> None:
    make_inputs(tmp_path)
    (tmp_path / name).write_text("precious")
    before = listing(tmp_path)
    done = succeed(tmp_path, "run", *INPUTS, "--layout", "flat", "-o", "flat.fits", status=2)
    assert f"{name}: the output exists already" in done.stderr
    assert listing(tmp_path) == before
    succeed(tmp_path, "run", *INPUTS, "--layout", "flat", "-q", "-o", "flat.fits", "--overwrite")
    assert (tmp_path / name).read_bytes()[:6] == b"SIMPLE"


def test_input_cannot_be_a_companion_of_the_output(tmp_path: Path) -> None:
    make_inputs(tmp_path)
    shutil.copy(tmp_path / "sci.fits", tmp_path / "out_mask.fits")
    args = ("--sci-mask", "out_mask.fits", "--layout", "flat", "--overwrite", "-o", "out.fits")
    done = succeed(tmp_path, "run", *INPUTS, *args, status=2)
    assert "out_mask.fits: the output is the same file as the input" in done.stderr


def test_json_names_all_files(tmp_path: Path) -> None:
    make_inputs(tmp_path)
    said = json.loads(succeed(tmp_path, "run", *INPUTS, "--layout", "flat", "--json", "-o", "out.fits").stdout)
    assert said["files"] == ["out.fits", "out_mask.fits", "out_variance.fits", "out_psi.fits"]
    assert sorted(said["files"]) == sorted(path.name for path in tmp_path.glob("out*"))
