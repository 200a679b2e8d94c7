"""What is in an output, and that it can be read again."""

from __future__ import annotations

import gzip
import re
import warnings
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS, FITSFixedWarning

import diffim_decorr
from diffim_decorr import decorrelate, read_exposure, read_kernel, read_psf
from support.command import OUT, decorr, succeed
from support.data import JWST, PARITY, needs_jwst, needs_parity
from support.files import INPUTS, SHAPE, image_planes, listing, make_inputs, sound, verified
from support.hotpants import hotpants_kernel
from support.noise import PLANES
from support.psfs import FIELD, gaussian_grid
from support.tiles import tile_count

# What is in it


def test_hdus(made: Path) -> None:
    with fits.open(made) as hdus:
        assert [hdu.name for hdu in hdus] == [
            "PRIMARY", "IMAGE", "MASK", "VARIANCE", "PSI_BASIS", "PSI_COEFFS", "PSF", "QA",
        ]  # fmt: skip
        assert hdus[0].data is None
        for name, bitpix, kind in (("IMAGE", -32, "f4"), ("MASK", 32, "i4"), ("VARIANCE", -32, "f4")):
            assert hdus[name].header["BITPIX"] == bitpix
            assert hdus[name].data.dtype.newbyteorder("=") == np.dtype(kind)
            assert hdus[name].data.shape == SHAPE
            assert hdus[name].header["EXTTYPE"] == name
        assert hdus["PSI_BASIS"].data.ndim == 3
        assert len(hdus["PSI_BASIS"].data) == hdus["PSI_COEFFS"].header["NBASIS"] == hdus[0].header["DCMODES"]
        assert hdus["PSF"].data.ndim == 2
        assert hdus["QA"].data.shape == (4, 11, 11)
        np.testing.assert_allclose(hdus["QA"].data[:, 5, 5], 1, rtol=1e-6)
        assert hdus["IMAGE"].header["BUNIT"] == "adu"
        assert hdus["VARIANCE"].header["BUNIT"] == "adu2"


def test_mask_planes(outputs: Path, made: Path) -> None:
    with fits.open(made) as hdus, fits.open(outputs / "sci.fits") as inputs:
        header, mask = hdus["MASK"].header, hdus["MASK"].data
        image_planes = {key[3:]: value for key, value in header.items() if key.startswith("MP_")}
        assert {name: image_planes[name] for name in PLANES} == PLANES
        assert "DECORR_BAD" in image_planes
        assert len(set(image_planes.values())) == len(image_planes)
        assert ((mask & inputs["MASK"].data) == inputs["MASK"].data).all()
        # The difference's missing pixel.
        assert mask[10, 12] >> PLANES["NO_DATA"] & 1
        assert np.isnan(hdus["IMAGE"].data[10, 12])
        assert np.isnan(hdus["VARIANCE"].data[10, 12])
        assert np.isnan(hdus["IMAGE"].data).sum() == 1


def test_wcs_is_kept(outputs: Path, made: Path) -> None:
    before = WCS(fits.getheader(outputs / "diff.fits"))
    x, y = np.array([0.0, 95, 13.5]), np.array([0.0, 79, 60.2])
    with fits.open(made) as hdus:
        for name in ("PRIMARY", "IMAGE", "MASK", "VARIANCE"):
            with warnings.catch_warnings():
                # astropy remarks that a primary header without pixels has a WCS.
                warnings.simplefilter("ignore", FITSFixedWarning)
                after = WCS(hdus[name].header)
            assert after.naxis == 2
            np.testing.assert_array_equal(after.all_pix2world(x, y, 0), before.all_pix2world(x, y, 0))
            assert after.wcs.radesys == "ICRS"


def test_header_of_the_difference_is_kept(made: Path) -> None:
    header = fits.getheader(made)
    assert header["OBJECT"] == "field 7"
    assert header.comments["OBJECT"] == "what was observed"
    assert header["MJD-OBS"] == 60100.25
    assert list(header["HISTORY"]) == ["made for a test", f"noise decorrelated by decorr {diffim_decorr.__version__}"]


# Sound FITS


def test_checksums(made: Path) -> None:
    sound(made)


def test_fitsverify(made: Path) -> None:
    verified(made)


@needs_parity
def test_lsst_exposures(tmp_path: Path) -> None:
    images = [PARITY / name for name in ("science.fits", "template.fits", "diff_template_convolved.fits")]
    done = succeed(tmp_path, "run", *images, "--kernel", PARITY / "kernel.fits", "-v", *OUT)
    assert done.stderr == ""
    sound(tmp_path / "out.fits")
    verified(tmp_path / "out.fits")
    assert re.search(r"read \d+\.\d+", done.stdout)


@needs_jwst
def test_header_of_a_space_telescope(tmp_path: Path) -> None:
    noise = ("--sci-noise", JWST / "sci_noise.fits", "--tmpl-noise", JWST / "tmpl_noise.fits")
    images = [JWST / name for name in ("sci.fits", "tmpl.fits", "hotpants_diff.fits")]
    succeed(tmp_path, "run", *images, "--kernel", JWST / "hotpants_diff.fits", *noise, *OUT)
    sound(tmp_path / "out.fits")
    verified(tmp_path / "out.fits")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FITSFixedWarning)
        before, after = (WCS(fits.getheader(f)) for f in (images[2], tmp_path / "out.fits"))
    np.testing.assert_array_equal(after.all_pix2world(3, 700, 0), before.all_pix2world(3, 700, 0))


def test_kernel_and_psf_that_vary(tmp_path: Path) -> None:
    succeed(tmp_path, "simulate", "sim", "--size", "200", "--kernel-width", "13", "--stars", "0", "-q")
    names = [f"sim/{name}.fits" for name in ("sci", "tmpl", "diff")]
    options = ("--kernel", "sim/kernel.fits", "--psf", "sim/sci_psf.fits", "--spatial")
    succeed(tmp_path, "run", *names, *options, *OUT)
    sound(tmp_path / "out.fits")
    verified(tmp_path / "out.fits")
    with fits.open(tmp_path / "out.fits") as hdus:
        count = hdus[0].header["DCMODES"]
        assert count > 1
        table = hdus["PSI_COEFFS"].data
        assert len(hdus["PSI_BASIS"].data) == count
        # psi at the first knot of the first piece, which keeps fluxes.
        nx, ny = table["NX"][0], table["NY"][0]
        values = table["VALUES"][0][: count * ny * nx].reshape(count, ny, nx)
        psi = np.tensordot(values[:, 0, 0], hdus["PSI_BASIS"].data, 1)
        assert psi.sum() == pytest.approx(1, abs=1e-3)
        assert len(hdus["PSF"].data) == len(hdus["PSF_POSITIONS"].data) > 1
        np.testing.assert_allclose(hdus["PSF"].data.sum(axis=(1, 2)), 1, atol=1e-3)


# Compression, names, repetition


@pytest.mark.parametrize("name", ["packed.fits.fz", "zipped.fits.gz"])
def test_compression_loses_nothing(outputs: Path, name: str) -> None:
    for plain, packed in zip(
        image_planes(outputs / "made" / "constant.fits"), image_planes(outputs / "made" / name), strict=True
    ):
        assert plain.tobytes() == packed.astype(plain.dtype).tobytes()
    with fits.open(outputs / "made" / "packed.fits.fz", disable_image_compression=True) as hdus:
        assert [hdus[k].header["ZCMPTYPE"] for k in (1, 2, 3)] == ["GZIP_2", "RICE_1", "GZIP_2"]
    assert (outputs / "made" / "zipped.fits.gz").read_bytes()[:2] == b"\x1f\x8b"
    assert gzip.decompress((outputs / "made" / "zipped.fits.gz").read_bytes())[:6] == b"SIMPLE"


def test_outputs_can_be_read_back(made: Path) -> None:
    exposure = diffim_decorr.read_exposure(made)
    image, mask, variance, *_ = image_planes(made)
    np.testing.assert_array_equal(exposure.image, image)
    np.testing.assert_array_equal(exposure.mask, mask)
    np.testing.assert_array_equal(exposure.variance, variance)
    assert exposure.psf is not None


@pytest.mark.parametrize("shape", [(1100, 96), (80, 1100)], ids=["rows of tiles", "columns of tiles"])
def test_two_runs_are_the_same_but_for_their_dates(tmp_path: Path, shape: tuple[int, int]) -> None:
    """Whichever of the tiles is done first, but for the number of threads that was asked for."""
    assert tile_count(shape) == 2
    make_inputs(tmp_path, shape)
    contents = []
    for threads in ("1", "2"):
        options = ("--spatial", "--psf", "psf.fits", "--threads", threads, "-q", *OUT, "--overwrite")
        succeed(tmp_path, "run", *INPUTS, *options)
        contents.append((tmp_path / "out.fits").read_bytes())
    one, other = (
        re.sub(rb"DCTHREAD= *\d|--threads \d|20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d|CHECKSUM= '[^']{16}'", b"", content)
        for content in contents
    )
    assert one == other


def test_inputs_are_not_touched(folder: Path) -> None:
    before = listing(folder)
    succeed(folder, "run", *INPUTS, *OUT)
    after = listing(folder)
    assert after.pop("out.fits")
    assert after == before


def test_corrected_psf_in_the_output(tmp_path: Path) -> None:
    """What the file has is what Python has, and can be read again as a PSF."""
    hotpants = hotpants_kernel(FIELD, seed=9)
    science, template, difference = np.random.default_rng(1).normal(size=(3, *FIELD))
    hotpants.write(tmp_path / "diff.fits", difference)
    fits.writeto(tmp_path / "sci.fits", science)
    fits.writeto(tmp_path / "tmpl.fits", template)
    gaussian_grid(tmp_path / "psf.fits")
    options = ("--svar", "1", "--tvar", "2", "--spatial", "-q", "-o", "out.fits")
    files = ("sci.fits", "tmpl.fits", "diff.fits", "--kernel", "diff.fits", "--psf", "psf.fits")
    succeed(tmp_path, "run", *files, *options)
    images = [read_exposure(tmp_path / name) for name in ("sci.fits", "tmpl.fits", "diff.fits")]
    kernel = read_kernel(tmp_path / "diff.fits", FIELD)
    psf = read_psf(tmp_path / "psf.fits")
    result = decorrelate(*images, kernel, psf=psf, spatial=True, svar=1.0, tvar=2.0)
    stored = read_exposure(tmp_path / "out.fits").psf
    np.testing.assert_allclose(stored.at(70, 90), result.exposure.psf.at(70, 90), atol=1e-6)
    # An image of it at a position.
    done = decorr(tmp_path, "psf", "out.fits", "70", "90", "-o", "at.fits")
    assert done.returncode == 0, done.stderr
    image, header = fits.getdata(tmp_path / "at.fits", header=True)
    np.testing.assert_allclose(image, stored.at(70, 90), atol=1e-7)
    assert (header["PSFFILE"], header["PSFX"], header["PSFY"]) == ("out.fits", 70, 90)
