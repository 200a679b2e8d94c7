"""``decorr snr`` and ``decorr run --snr``: what is written and printed, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table

from diffim_decorr import read_exposure, read_psi, snr_maps, write_grid_kernel
from support.command import decorr, refused, succeed, told
from support.files import INPUTS, LAYOUTS, SHAPE, verified
from support.kernels import gaussian


@pytest.fixture
def folder(folder: Path) -> Path:
    """The inputs, with a kernel that varies."""
    x, y = (axis.ravel() for axis in np.meshgrid([0, SHAPE[1] - 1], [0, SHAPE[0] - 1]))
    write_grid_kernel(folder / "grid.fits", [gaussian(9, sigma) for sigma in (1.3, 1.45, 1.35, 1.5)], x, y)
    (folder / "kernel.fits").unlink()
    fits.writeto(folder / "psf.fits", gaussian(17, 1.6), overwrite=True)
    (folder / "grid.fits").rename(folder / "kernel.fits")
    return folder


def _run(folder: Path, *options: object) -> None:
    succeed(folder, "run", *INPUTS, "--psf", "psf.fits", "--spatial", "-o", "out.fits", *options)


def test_the_file(folder: Path) -> None:
    """FLUX, FLUX_ERR, SNR and MASK, with the difference's header; the same pixels as in Python."""
    _run(folder)
    done = decorr(folder, "snr", "out.fits", "-o", "maps.fits")
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert "PSF                   PSF_INPUT of the file, and psi" in done.stdout
    maps = snr_maps(folder / "out.fits")
    with fits.open(folder / "maps.fits", checksum=True) as hdus:
        assert [hdu.name for hdu in hdus] == ["PRIMARY", "FLUX", "FLUX_ERR", "SNR", "MASK"]
        header = hdus[0].header
        assert header["OBJECT"] == "field 7"
        assert header["DCIMAGE"] == "out.fits"
        assert header["DCMKIND"] == "PSF_INPUT of the file, and psi"
        assert header["DCMLEAST"] == 0.5
        assert header["DCMSTD"] == maps.record.quality.snr_std.value
        assert "flux of point sources measured by decorr" in str(header["HISTORY"])
        assert "DCSNRSTD" not in header  # that of the image
        units = [hdus[name].header.get("BUNIT") for name in ("FLUX", "FLUX_ERR", "SNR", "MASK")]
        assert units == ["adu", "adu", None, None]
        assert hdus["SNR"].header["CTYPE1"] == "RA---TAN"
        for name, plane in (("FLUX", maps.flux), ("FLUX_ERR", maps.flux_err), ("SNR", maps.snr), ("MASK", maps.mask)):
            assert np.array_equal(hdus[name].data, plane, equal_nan=True), name
        assert hdus["MASK"].header["MP_LOW_WEIGHT"] == maps.mask_planes["LOW_WEIGHT"]
        assert hdus["MASK"].header["MP_SAT"] == 1
    maps.write(folder / "again.fits")
    ignored = ["DCDATE", "DCIMAGE", "CHECKSUM"]
    assert fits.FITSDiff(folder / "maps.fits", folder / "again.fits", ignore_keywords=ignored).identical


def test_the_file_is_a_sound_one(folder: Path) -> None:
    _run(folder, "--snr", "maps.fits")
    snr_maps(folder / "out.fits").write(folder / "again.fits")
    for name in ("out", "maps", "again"):
        verified(folder / f"{name}.fits")


def test_a_run_that_writes_them(folder: Path) -> None:
    _run(folder, "--snr", "maps.fits")
    succeed(folder, "snr", "out.fits", "-o", "later.fits")
    for name in ("FLUX", "FLUX_ERR", "SNR", "MASK"):
        one, other = (fits.getdata(folder / f"{which}.fits", name) for which in ("maps", "later"))
        assert np.array_equal(one, other, equal_nan=True)


def test_psfs(folder: Path) -> None:
    """That of an input is convolved with ψ, that of a result is not."""
    succeed(folder, "run", *INPUTS, "--spatial", "-o", "bare.fits")
    _run(folder)
    own = told(folder, "snr", "out.fits", "-o", "own.fits")
    given = told(folder, "snr", "bare.fits", "--psf", "psf.fits", "-o", "given.fits")
    result = told(folder, "snr", "bare.fits", "--psf", "out.fits", "-o", "result.fits")
    assert (own["qa"]["psf"], given["qa"]["psf"]) == ("PSF_INPUT of the file, and psi", "psf.fits")
    expected = fits.getdata(folder / "own.fits", "SNR")
    assert np.nanmax(np.abs(fits.getdata(folder / "given.fits", "SNR") - expected)) < 1e-4
    # Between the positions of its grid it is right to 3e-4 of the peak.
    assert np.nanmax(np.abs(fits.getdata(folder / "result.fits", "SNR") - expected)) < 0.01
    succeed(folder, "psf", "out.fits", 48, 40, "-o", "there.fits")
    there = told(folder, "snr", "bare.fits", "--psf", "there.fits", "-o", "there_maps.fits")
    # One position stands for the whole field.
    assert np.nanmax(np.abs(fits.getdata(folder / "there_maps.fits", "SNR") - expected)) < 0.1
    assert result["qa"]["reach"] == there["qa"]["reach"]
    fwhm = told(folder, "snr", "bare.fits", "--fwhm", 3.77, "-o", "fwhm.fits")
    assert fwhm["qa"]["psf"] == "Gaussian, FWHM 3.77 pixels"
    assert fits.getheader(folder / "fwhm.fits")["DCMFWHM"] == 3.77
    assert np.nanmax(np.abs(fits.getdata(folder / "fwhm.fits", "SNR") - expected)) < 0.1


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout(folder: Path, layout: str) -> None:
    _run(folder)
    succeed(folder, "run", *INPUTS, "--psf", "psf.fits", "--spatial", "-o", "other.fits", "--layout", layout)
    for name in ("out", "other"):
        done = succeed(folder, "snr", f"{name}.fits")
        assert done.stderr == ""
    one, other = (fits.getdata(folder / f"{name}_snr.fits", "SNR") for name in ("out", "other"))
    np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-4)


def test_one_of_several_exposures(folder: Path) -> None:
    images = {name: fits.getdata(folder / f"{name}.fits", name != "diff") for name in ("sci", "tmpl", "diff")}
    for name, image in images.items():
        hdus = [fits.PrimaryHDU(), fits.ImageHDU(image, name="ONE"), fits.ImageHDU(image[:, ::-1] * 2, name="TWO")]
        fits.HDUList(hdus).writeto(folder / f"{name}s.fits")
    succeed(
        folder, "run", "scis.fits", "tmpls.fits", "diffs.fits", "--kernel", "kernel.fits", "--all-ext", "--psf",
        "psf.fits", "--spatial", "-o", "mosaic.fits",
    )  # fmt: skip
    succeed(folder, "snr", "mosaic.fits[IMAGE,2]", "-o", "second.fits")
    second = read_exposure(folder / "mosaic.fits[IMAGE,2]")
    expected = snr_maps(second, psf=gaussian(17, 1.6), psi=read_psi(folder / "mosaic.fits[PSI_BASIS,2]").kernel)
    np.testing.assert_allclose(fits.getdata(folder / "second.fits", "SNR"), expected.snr, rtol=1e-4, atol=1e-4)
    refused(folder, "holds 2 exposures", "snr", "mosaic.fits", "-o", "none.fits")


def test_skipped_and_quiet(folder: Path) -> None:
    _run(folder)
    succeed(folder, "snr", "out.fits", "-o", "maps.fits", "-q")
    before = (folder / "maps.fits").read_bytes()
    done = succeed(folder, "snr", "out.fits", "-o", "maps.fits", "--skip-existing")
    assert "skipped" in done.stderr
    assert (folder / "maps.fits").read_bytes() == before
    succeed(folder, "snr", "out.fits", "-o", "maps.fits", "--overwrite", "--least-weight", 0.9)
    assert fits.getheader(folder / "maps.fits")["DCMLEAST"] == 0.9


def test_refusals(folder: Path) -> None:
    _run(folder)
    succeed(folder, "run", *INPUTS, "--spatial", "-o", "bare.fits")
    succeed(folder, "snr", "out.fits", "-o", "maps.fits")
    fits.writeto(folder / "small.fits", np.ones((20, 30)))
    for says, *args in (
        ("bare.fits[IMAGE]: has no PSF: give one with --psf", "bare.fits"),
        ("diff.fits: has no variance plane", "diff.fits"),
        ("maps.fits[FLUX]: has no variance plane", "maps.fits", "-o", "other.fits"),
        ("no such file", "nowhere.fits"),
        ("a cube of 4 PSFs", "bare.fits", "--psf", "out.fits[QA]"),
        ("has 30 x 20 pixels", "bare.fits", "--fwhm", 3, "--mask", "small.fits"),
    ):
        refused(folder, says, "snr", *args)
    for says, *args in (
        ("--psf and --fwhm exclude each other", "snr", "out.fits", "--psf", "psf.fits", "--fwhm", 3),
        ("maps.fits: the output exists", "snr", "out.fits", "-o", "maps.fits"),
        ("out.fits", "snr", "out.fits", "-o", "out.fits", "--overwrite"),
        ("--snr and --output name the same file", "run", *INPUTS, "-o", "new.fits", "--snr", "new.fits"),
        ("--snr has no meaning with --score", "run", *INPUTS, "--score", "--snr", "new.fits"),
        ("--snr is of one exposure", "run", *INPUTS, "--all-ext", "--snr", "new.fits"),
        ("maps.fits: the output exists", "run", *INPUTS, "-o", "new.fits", "--psf", "psf.fits", "--snr", "maps.fits"),
    ):
        refused(folder, says, *args, status=2)
    refused(folder, "the PSF of the result is not known", "run", *INPUTS, "-o", "new.fits", "--snr", "new_maps.fits")


def test_inputs_that_were_both_convolved(folder: Path) -> None:
    fits.writeto(folder / "first.fits", gaussian(5, 0.6))
    succeed(folder, "run", *INPUTS, "--pre-conv-kernel", "first.fits", "--psf", "psf.fits", "-o", "both.fits", "-q")
    refused(folder, "both of its inputs were convolved", "snr", "both.fits", "--psf", "psf.fits", "-o", "maps.fits")
    succeed(folder, "snr", "both.fits", "-o", "maps.fits")
    succeed(folder, "run", *INPUTS, "--pre-conv-kernel", "first.fits", "--score", "-o", "score.fits", "-q")
    refused(folder, "is a score image", "snr", "score.fits", "-o", "none.fits")


def test_what_was_convolved_with_psi(folder: Path) -> None:
    """It is said that its noise is hardly white; the difference itself is as good as the run's result."""
    _run(folder)
    succeed(folder, "apply", "sci.fits", "--psi", "out.fits", "-o", "sci_psi.fits")
    done = succeed(folder, "snr", "sci_psi.fits", "--psf", "out.fits", "-o", "maps.fits")
    assert "only if it has the noise of the difference" in done.stderr
    assert fits.getdata(folder / "maps.fits", "SNR").shape == SHAPE


@pytest.mark.parametrize("ending", ["ecsv", "csv", "fits", "vot"])
def test_a_table_of_peaks(folder: Path, ending: str) -> None:
    """In each form, with its columns and units; with the science image it has distances."""
    for name in ("sci", "diff"):
        with fits.open(folder / f"{name}.fits", mode="update") as hdus:
            hdus[name == "sci"].data[31:48, 52:69] += 200 * gaussian(17, 1.6).astype("f4")
    _run(folder, "-q")
    args = ("snr", "out.fits", "-o", "maps.fits", "--peaks", 5, "--table", f"peaks.{ending}", "--sci", "sci.fits")
    done = succeed(folder, *args)
    assert "beyond 5 σ, of which noise makes 0.0" in done.stdout
    table = Table.read(folder / f"peaks.{ending}")
    assert table.colnames == [
        "x", "y", "x_err", "y_err", "ra", "dec", "flux", "flux_err", "snr", "snr_pixel", "sign", "chi2", "dof",
        "weight", "flags", "nearest",
    ]  # fmt: skip
    row = table[0]
    assert (row["x"], row["y"]) == pytest.approx((60, 39), abs=0.3)
    assert abs(row["flux"] - 200) < 4 * row["flux_err"]
    assert row["ra"] == pytest.approx(150.1 - (60 - 47.5) * 5.5e-5, abs=1e-4)
    assert row["nearest"] < 0.5
    if ending != "csv":
        assert (str(table["ra"].unit), str(table["x_err"].unit)) == ("deg", "pix")
    if ending == "fits":
        verified(folder / "peaks.fits")
    said = told(folder, *args, "--overwrite")
    assert said["qa"]["peaks"] == len(table)
    assert said["qa"]["peaks_of_noise"] < 0.1


def test_the_table_has_a_name_of_its_own(folder: Path) -> None:
    _run(folder)
    succeed(folder, "snr", "out.fits", "--peaks", 3)
    table = Table.read(folder / "out_snr_peaks.ecsv")
    assert (np.abs(table["snr_pixel"]) > 3).all()
    assert table.meta["threshold"] == 3
    for says, *args in (
        ("out_snr_peaks.ecsv: the output exists", "-o", "out_snr.fits", "--peaks", 4),
        ("--table has no meaning without --peaks", "-o", "new.fits", "--table", "new.ecsv"),
        ("--sci has no meaning without --peaks", "-o", "new.fits", "--sci", "sci.fits"),
        ("the ending says no form of a table", "-o", "new.fits", "--peaks", 4, "--table", "peaks.txt"),
        ("must be a number from 2", "-o", "new.fits", "--peaks", 0.5),
    ):
        (folder / "out_snr.fits").unlink(missing_ok=True)
        refused(folder, says, "snr", "out.fits", *args, status=2)
    fits.writeto(folder / "small.fits", np.ones((20, 30)))
    refused(folder, "has 30 x 20 pixels", "snr", "out.fits", "-o", "new.fits", "--peaks", 4, "--sci", "small.fits")
