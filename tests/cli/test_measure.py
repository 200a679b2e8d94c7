"""``decorr measure``: what is written and printed, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table

from support.command import decorr, refused, succeed
from support.data import HOTPANTS, needs_hotpants
from support.files import INPUTS, verified
from support.kernels import gaussian


@pytest.fixture
def folder(folder: Path) -> Path:
    """The inputs, a source among them, and a run's output."""
    fits.writeto(folder / "psf.fits", gaussian(17, 1.6), overwrite=True)
    for name in ("sci", "diff"):
        with fits.open(folder / f"{name}.fits", mode="update") as hdus:
            hdus[name == "sci"].data[31:48, 52:69] += 200 * gaussian(17, 1.6).astype("f4")
    succeed(folder, "run", *INPUTS, "--psf", "psf.fits", "-o", "out.fits", "-q")
    Table({"id": [1, 2], "x": [60.0, 20.0], "y": [39.0, 60.0]}).write(folder / "pixels.csv")
    return folder


@pytest.mark.parametrize("ending", ["ecsv", "csv", "fits", "vot"])
def test_the_table(folder: Path, ending: str) -> None:
    done = decorr(folder, "measure", "out.fits", "pixels.csv", "-o", f"found.{ending}", "--apertures", "3")
    assert done.returncode == 0, done.stderr
    assert "S/N of 3 or more      1" in done.stdout
    table = Table.read(folder / f"found.{ending}")
    assert table.colnames == [
        "row", "id", "image", "mjd", "x", "y", "ra", "dec", "flux", "flux_err", "snr", "upper_limit", "chi2", "dof",
        "weight", "flags", "aper_3", "aper_3_err", "aper_3_share",
    ]  # fmt: skip
    assert abs(table["flux"][0] - 200) < 4 * table["flux_err"][0]
    assert table["mjd"][0] == 60100.25
    assert table["upper_limit"][1] == pytest.approx(3 * table["flux_err"][1])
    if ending == "fits":
        verified(folder / "found.fits")


def test_many_outputs_and_the_tables_of_peaks(folder: Path) -> None:
    """Positions on the sky, as `decorr snr` has found them; names by themselves."""
    succeed(folder, "snr", "out.fits", "--peaks", 6, "--table", "peaks.ecsv", "-q")
    succeed(folder, "run", *INPUTS, "--psf", "psf.fits", "-o", "second.fits", "-q")
    done = succeed(folder, "measure", "out.fits", "second.fits", "peaks.ecsv")
    assert "in 2 images" in done.stdout
    peaks, table = (Table.read(folder / f"{name}.ecsv") for name in ("peaks", "peaks_fluxes"))
    assert list(table["image"]) == ["out.fits"] * len(peaks) + ["second.fits"] * len(peaks)
    np.testing.assert_allclose(table["flux"][: len(peaks)], peaks["flux"], rtol=1e-4)
    assert succeed(folder, "measure", "out.fits", "peaks.ecsv", "--skip-existing").stderr.endswith("exists already\n")
    quiet = succeed(folder, "measure", "out.fits", "peaks.ecsv", "--overwrite", "-q")
    assert (quiet.stdout, quiet.stderr) == ("", "")


@needs_hotpants
def test_from_hotpants_to_a_list_of_candidates(tmp_path: Path) -> None:
    """The lines of the documentation; sources that were added are in the list, with their fluxes."""
    places = [(500, 350), (700, 500), (250, 420)]
    for name in ("sci", "diff_ko2"):
        with fits.open(HOTPANTS / f"{name}.fits") as hdus:
            psf = fits.getdata(HOTPANTS / "sci_psf.fits").astype(float)
            half = psf.shape[0] // 2
            for x, y in places:
                hdus[0].data[y - half : y + half + 1, x - half : x + half + 1] += (3000 * psf / psf.sum()).astype("f4")
            hdus.writeto(tmp_path / f"{name}.fits")
    files = {name: HOTPANTS / f"{name}.fits" for name in ("tmpl", "sci_noise", "tmpl_noise", "sci_psf")}
    done = decorr(
        tmp_path, "run", "sci.fits", files["tmpl"], "diff_ko2.fits", "--sci-noise", files["sci_noise"], "--tmpl-noise",
        files["tmpl_noise"], "--psf", files["sci_psf"], "--spatial", "-o", "white.fits", "-q", timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    maps = ("-o", "maps.fits", "--peaks", 5, "--table", "candidates.ecsv", "--sci", "sci.fits", "-q")
    done = decorr(tmp_path, "snr", "white.fits", *maps, timeout=300)
    assert done.returncode == 0, done.stderr
    found = Table.read(tmp_path / "candidates.ecsv")
    for x, y in places:
        row = found[np.argmin(np.hypot(found["x"] - x, found["y"] - y))]
        assert np.hypot(row["x"] - x, row["y"] - y) < 5 * row["x_err"]
        assert abs(row["flux"] - 3000) < 5 * row["flux_err"]


def test_refusals(folder: Path) -> None:
    (folder / "bad.csv").write_text("u,v\n1,2\n")
    for says, *args in (
        ("no such file", "out.fits", "none.csv"),
        ("no such file", "none.fits", "pixels.csv"),
        ("has no columns ra and dec, or x and y", "out.fits", "bad.csv"),
        ("has no variance plane", "diff.fits", "pixels.csv"),
    ):
        refused(folder, says, "measure", *args)
    for says, *args in (
        ("needs an image, and then a table", "pixels.csv"),
        ("the ending says no form of a table", "pixels.csv", "out.fits", "-o", "found.dat"),
        ("the output exists already", "out.fits", "pixels.csv", "-o", "bad.csv"),
        ("the same file as the input", "out.fits", "pixels.csv", "-o", "pixels.csv", "--overwrite"),
        ("--psf and --fwhm exclude each other", "out.fits", "pixels.csv", "--psf", "psf.fits", "--fwhm", 3),
    ):
        refused(folder, says, "measure", *args, status=2)
