"""``decorr kernel``: show, at, plot and convert, through the real command."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table
from scipy.signal import correlate2d

from diffim_decorr import read_kernel, read_psi, write_grid_kernel
from support.command import ENVIRONMENT, decorr, refused, succeed, told
from support.data import JWST, needs_jwst
from support.files import INPUTS, make_inputs
from support.hotpants import hotpants_kernel
from support.kernels import gaussian

SHAPE = (120, 150)
NY, NX = SHAPE
FWHM = np.sqrt(8 * np.log(2))


def kernel(folder: Path, *args: object) -> subprocess.CompletedProcess[str]:
    return succeed(folder, "kernel", *args)


def shown(folder: Path, *args: object) -> dict[str, Any]:
    return told(folder, "kernel", "show", *args)


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Kernels of several formats, and the output of a run."""
    folder = tmp_path_factory.mktemp("good")
    make_inputs(folder, SHAPE)
    fits.writeto(folder / "image.fits", gaussian(21, (2.0, 1.3), 30, total=0.9))
    hotpants_kernel(SHAPE, 3).write(folder / "hotpants.fits", np.zeros(SHAPE))
    x, y = (axis.ravel() for axis in np.meshgrid([0, NX - 1], [0, NY - 1]))
    write_grid_kernel(folder / "grid.fits", [gaussian(11, s) for s in (1.0, 1.4, 1.2, 1.8)], x, y)
    options = ("--kernel", "grid.fits", "--spatial", "-o", "run.fits", "-q")
    succeed(folder, "run", *INPUTS[:3], *options)
    return folder


# show


@pytest.mark.parametrize(("svar", "tvar"), [(1.0, 1.0), (4.0, 1.0), (0.0, 2.0)])
def test_show_an_image(good: Path, svar: float, tvar: float) -> None:
    """The correlation of D = S - κ ⊗ T is that of κ with itself, diluted by the noise of S."""
    said = shown(good, "image.fits", "--svar", svar, "--tvar", tvar)
    assert (said["format"], said["width"], said["height"], said["basis_images"]) == ("image", 21, 21, 1)
    assert said["order"] == "constant"
    assert said["sum"]["min"] == said["sum"]["max"] == pytest.approx(0.9)
    (row,) = said["positions"]
    assert row["shape"]["fwhm"] == pytest.approx(FWHM * np.sqrt(2.6), rel=5e-3)
    assert row["shape"]["ellipticity"] == pytest.approx(0.35, abs=0.01)
    image = fits.getdata(good / "image.fits")
    covariance = tvar * correlate2d(image, image)
    covariance[20, 20] += svar
    lags = covariance[15:26, 15:26] / covariance[20, 20]
    lags[5, 5] = 0
    assert row["max_abs_rho"] == pytest.approx(np.abs(lags).max(), rel=1e-9)


def test_the_other_image_convolved(good: Path) -> None:
    (template,) = shown(good, "image.fits", "--svar", 4, "--tvar", 1)["positions"]
    (science,) = shown(good, "image.fits", "--svar", 1, "--tvar", 4, "--convolved", "science")["positions"]
    (swapped,) = shown(good, "image.fits", "--svar", 1, "--tvar", 4)["positions"]
    assert science["max_abs_rho"] == pytest.approx(template["max_abs_rho"])
    assert swapped["max_abs_rho"] > 1.5 * science["max_abs_rho"]


def test_show_is_what_a_difference_has(tmp_path: Path) -> None:
    """The correlation foretold is the one that a run measures, to its statistical error."""
    make_inputs(tmp_path, (400, 400))
    qa = told(tmp_path, "run", *INPUTS)["qa"]
    (row,) = shown(tmp_path, "kernel.fits", "--svar", 4, "--tvar", 2.25)["positions"]
    assert row["max_abs_rho"] == pytest.approx(qa["max_abs_rho_before"], abs=4 / np.sqrt(qa["pixels_used"]))


def test_show_hotpants(good: Path) -> None:
    reference = hotpants_kernel(SHAPE, 3)
    said = shown(good, "hotpants.fits")
    assert said["format"] == "hotpants"
    assert said["order"] == "polynomials of degree 2"
    assert said["field"] == [0, 0, NX, NY]
    assert said["convolved"] == ["template"]
    places = {row["place"]: row for row in said["positions"]}
    assert {place: (row["x"], row["y"]) for place, row in places.items()} == {
        "centre": (74.5, 59.5),
        "lower left": (0, 0),
        "lower right": (149, 0),
        "upper left": (0, 119),
        "upper right": (149, 119),
    }
    for row in places.values():
        expected = reference.at(row["x"], row["y"])
        # The widths of the Gaussians are read as HOTPANTS keeps them, in single precision.
        assert row["sum"] == pytest.approx(expected.sum(), rel=1e-7)
        assert row["peak"] == pytest.approx(expected.max(), rel=1e-7)
    assert len({row["shape"]["fwhm"] for row in places.values()}) == 5


@needs_jwst
def test_show_real_regions() -> None:
    path = JWST / "hotpants_diff_2x2_science_convolved.fits"
    said = shown(JWST, path.name)
    assert said["order"] == "polynomials of degree 1 in each of 4 regions"
    assert said["convolved"] == ["science"]
    header = fits.getheader(path)
    sums = [float(header[f"KSUM{k:02d}"]) for k in range(4)]
    assert said["sum"]["min"] == pytest.approx(min(sums), abs=5.1e-5)  # four decimals
    assert said["sum"]["max"] == pytest.approx(max(sums), abs=5.1e-5)
    assert all(0 < row["max_abs_rho"] < 1 and row["shape"]["fwhm"] > 1 for row in said["positions"])


def test_show_the_output_of_a_run(good: Path) -> None:
    said = shown(good, "run.fits")
    psi = read_psi(good / "run.fits")
    assert said["format"] == "psi"
    assert said["field"] == [0, 0, NX, NY]
    assert said["sum"]["min"] == pytest.approx(1, abs=1e-5)
    for row in said["positions"]:
        assert row["peak"] == pytest.approx(psi.at(row["x"], row["y"]).max(), rel=1e-12)
        assert row["max_abs_rho"] is None
    printed = kernel(good, "show", "run.fits").stdout
    assert "decorrelation kernel of a run" in printed
    assert "max_abs_rho" not in printed


def test_table(good: Path) -> None:
    lines = kernel(good, "show", "grid.fits").stdout.splitlines()
    assert "grid of 2 x 2 knots, bilinear in between" in "\n".join(lines)
    assert "not said (template)" in "\n".join(lines)
    heading = next(k for k, line in enumerate(lines) if line.startswith("position"))
    assert len(lines) == heading + 6
    assert lines[heading + 1].split()[:3] == ["centre", "74.5", "59.5"]


def test_field_of_an_image_in_a_parent_frame(good: Path, tmp_path: Path) -> None:
    """Positions of a grid are those of the parent; --image tells which part of it the image is."""
    header = fits.Header({"CTYPE1A": "LINEAR", "CRVAL1A": 40, "CRPIX1A": 1, "CTYPE2A": "LINEAR", "CRVAL2A": 30})
    header["CRPIX2A"] = 1
    fits.writeto(tmp_path / "part.fits", np.ones((50, 60), "f4"), header)
    said = shown(good, "grid.fits", "--image", tmp_path / "part.fits")
    assert said["field"] == [40, 30, 100, 80]
    assert said["positions"][1]["x"] == 40


# at


def test_at(good: Path, tmp_path: Path) -> None:
    reference = hotpants_kernel(SHAPE, 3)
    kernel(good, "at", "hotpants.fits", 12.5, 100, "-o", tmp_path / "k.fits")
    with fits.open(tmp_path / "k.fits", checksum=True) as hdus:
        np.testing.assert_allclose(hdus[0].data, reference.at(12.5, 100), rtol=0, atol=1e-8)
        header = hdus[0].header
        assert (header["DCATX"], header["DCATY"], header["DCKFORM"]) == (12.5, 100, "hotpants")
        assert hdus[0].verify_checksum() == 1
    # What is written is a kernel file.
    assert read_kernel(tmp_path / "k.fits").format == "image"


def test_psi_at(good: Path, tmp_path: Path) -> None:
    kernel(good, "at", "run.fits", 3, 4, "-o", tmp_path / "psi.fits")
    np.testing.assert_array_equal(fits.getdata(tmp_path / "psi.fits"), read_psi(good / "run.fits").at(3, 4))


# convert


@pytest.mark.parametrize("tolerance", [1e-2, 1e-3])
def test_convert_to_a_grid(good: Path, tmp_path: Path, tolerance: float) -> None:
    """Anywhere in the field the bilinear grid is the kernel, to the tolerance times its peak; and not much better."""
    reference = hotpants_kernel(SHAPE, 3)
    said = kernel(good, "convert", "hotpants.fits", "-o", tmp_path / "g.fits", "--to", "grid", "--tolerance", tolerance)
    grid = read_kernel(tmp_path / "g.fits")
    assert grid.format == "grid"
    assert f"{fits.getheader(tmp_path / 'g.fits', 'KERNEL')['NAXIS3']} images" in said.stdout
    rng = np.random.default_rng(5)
    positions = np.concatenate([rng.uniform(0, 1, (300, 2)) * (NX - 1, NY - 1), [[0, 0], [NX - 1, NY - 1]]])
    truth = [reference.at(x, y) for x, y in positions]
    peak = max(np.abs(image).max() for image in truth)
    worst = max(np.abs(grid.kernel.at(x, y) - image).max() for (x, y), image in zip(positions, truth, strict=True))
    assert 0.1 * tolerance * peak < worst <= tolerance * peak


def test_converted_kernel_in_a_run(good: Path, tmp_path: Path) -> None:
    """The decorrelated image is the same to the tolerance, in units of the noise."""
    kernel(good, "convert", "hotpants.fits", "-o", tmp_path / "g.fits", "--tolerance", 1e-4)
    # However many images there are, the kernel is of no more than seven independent ones, and no slower to use.
    assert len(read_kernel(tmp_path / "g.fits").kernel.basis) <= len(read_kernel(good / "hotpants.fits").kernel.basis)
    for name, path in (("a", good / "hotpants.fits"), ("b", tmp_path / "g.fits")):
        options = ("--kernel", path, "--spatial", "--tolerance", "1e-4", "-o", tmp_path / f"{name}.fits", "-q")
        succeed(good, "run", *INPUTS[:3], *options)
    a, b = (fits.getdata(tmp_path / f"{name}.fits", "IMAGE").astype(float) for name in "ab")
    sigma = np.sqrt(np.nanmedian(fits.getdata(tmp_path / "a.fits", "VARIANCE")))
    assert np.nanstd(a - b) < 1e-4 * sigma


def test_convert_to_a_table(good: Path, tmp_path: Path) -> None:
    """Nothing is lost: not the pixels, not the side, not the scale of the difference."""
    said = kernel(good, "convert", "hotpants.fits", "-o", tmp_path / "t.fits", "--to", "table")
    assert "21 x 21 pixels, each a polynomial in the position" in said.stdout
    assert not said.stderr
    before, after = read_kernel(good / "hotpants.fits"), read_kernel(tmp_path / "t.fits")
    assert (after.format, after.convolved, after.normalized) == ("table", before.convolved, before.normalized)
    for x, y in [(0, 0), (NX - 1, 3), (0.3 * NX, 0.8 * NY)]:
        np.testing.assert_allclose(after.kernel.at(x, y), before.kernel.at(x, y), rtol=0, atol=1e-12)
    refused(
        good,
        "its coefficients are no polynomials",
        "kernel",
        "convert",
        "grid.fits",
        "-o",
        tmp_path / "g.fits",
        "--to",
        "table",
    )


def test_convert_a_constant(good: Path, tmp_path: Path) -> None:
    kernel(good, "convert", "image.fits", "-o", tmp_path / "g.fits")
    grid = read_kernel(tmp_path / "g.fits")
    assert (grid.format, grid.kernel.is_constant) == ("grid", True)
    np.testing.assert_array_equal(grid.kernel.at(50, 60), fits.getdata(good / "image.fits"))


def test_convert_a_grid_keeps_it(good: Path, tmp_path: Path) -> None:
    kernel(good, "convert", "grid.fits", "-o", tmp_path / "g.fits")
    np.testing.assert_array_equal(
        fits.getdata(tmp_path / "g.fits", "KERNEL"), fits.getdata(good / "grid.fits", "KERNEL")
    )


def test_convert_psi(good: Path, tmp_path: Path) -> None:
    kernel(good, "convert", "run.fits", "-o", tmp_path / "g.fits", "--tolerance", 1e-3)
    psi, grid = read_psi(good / "run.fits"), read_kernel(tmp_path / "g.fits").kernel
    for x, y in np.random.default_rng(6).uniform(0, 1, (100, 2)) * (NX - 1, NY - 1):
        expected = psi.at(x, y)
        assert np.abs(grid.at(x, y) - expected).max() <= 1e-3 * expected.max()


def test_convert_tells_what_is_lost(good: Path, tmp_path: Path) -> None:
    reference = hotpants_kernel(SHAPE, 3)
    reference.regions[0].side = "science"
    reference.photnorm = "t"
    reference.write(tmp_path / "science.fits", np.zeros(SHAPE))
    done = kernel(tmp_path, "convert", "science.fits", "-o", "g.fits", "--tolerance", 0.01)
    assert "use --convolved science" in done.stderr
    assert "was not divided by the kernel sum" in done.stderr
    done = kernel(good, "convert", "hotpants.fits", "-o", tmp_path / "h.fits", "--tolerance", 0.01)
    assert done.stderr == ""


def test_what_cannot_be_converted(good: Path, tmp_path: Path) -> None:
    out = ("-o", tmp_path / "o.fits")
    many = "images of 21 x 21 pixels would be needed for a tolerance of 1e-09"
    refused(good, many, "kernel", "convert", "hotpants.fits", *out, "--tolerance", "1e-9")
    refused(good, "tolerance", "kernel", "convert", "hotpants.fits", *out, "--tolerance", "0", status=2)
    refused(good, "'table2'", "kernel", "convert", "hotpants.fits", *out, "--to", "table2", status=2)
    assert not (tmp_path / "o.fits").exists()


@needs_jwst
def test_regions_cannot_be_converted(good: Path, tmp_path: Path) -> None:
    path = JWST / "hotpants_diff_2x2_science_convolved.fits"
    jumps = "jumps from one of its 4 regions to the next"
    refused(good, jumps, "kernel", "convert", path, "-o", tmp_path / "o.fits")
    assert not (tmp_path / "o.fits").exists()


# plot


def test_plot(good: Path, tmp_path: Path) -> None:
    from matplotlib.image import imread

    for name in ("hotpants", "image"):
        kernel(good, "plot", f"{name}.fits", "-o", tmp_path / f"{name}.png")
        picture = imread(tmp_path / f"{name}.png")
        assert min(picture.shape[:2]) > 500
        # Positive pixels are drawn in red.
        assert ((picture[..., 0] > picture[..., 2] + 0.3).sum(axis=0) > 0).sum() > 20
    kernel(good, "plot", "run.fits", "-o", tmp_path / "k.pdf")
    assert (tmp_path / "k.pdf").read_bytes().startswith(b"%PDF")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["hotpants.png", "image.png", "k.pdf"]


def test_plot_without_matplotlib(good: Path, tmp_path: Path) -> None:
    missing = tmp_path / "modules"
    missing.mkdir()
    (missing / "matplotlib.py").write_text("raise ModuleNotFoundError('no matplotlib', name='matplotlib')\n")
    env = {**ENVIRONMENT, "PYTHONPATH": os.pathsep.join([str(missing), os.environ.get("PYTHONPATH", "")])}
    done = decorr(good, "kernel", "plot", "image.fits", "-o", tmp_path / "k.png", env=env)
    assert done.returncode == 1
    assert done.stderr == "Error: matplotlib is missing; pip install 'diffim-decorr[plot]' installs it\n"
    assert not (tmp_path / "k.png").exists()


# What cannot be used


def test_refusals(good: Path) -> None:
    refused(good, "no such file", "kernel", "show", "none.fits")
    refused(good, "holds no kernel of a known format", "kernel", "show", "run.fits[PSI_COEFFS]")
    refused(good, "no such file", "kernel", "show", "image.fits", "--image", "none.fits")
    refused(good, "'--svar': must be", "kernel", "show", "image.fits", "--svar", "-1", status=2)
    refused(good, "there is no noise", "kernel", "show", "image.fits", "--svar", "0", "--tvar", "0", status=2)
    outside = "position 150 3 lies outside the field, x from 0 to 149 and y from 0 to 119"
    refused(good, outside, "kernel", "at", "hotpants.fits", 150, 3, "-o", "o.fits")
    refused(good, "-o", "kernel", "at", "hotpants.fits", 1, 3, status=2)
    refused(good, "k.txt2: a picture must be one of", "kernel", "plot", "image.fits", "-o", "k.txt2", status=2)


def test_field_that_nobody_knows(tmp_path: Path) -> None:
    """A polynomial holds everywhere; --image says where it is wanted."""
    Table({"DX": [0, 1], "DY": [0, 0], "X0Y0": [1.0, 0.5], "X1Y0": [1e-3, 0.0]}).write(tmp_path / "k.fits")
    unknown = "k.fits[1]: does not tell the size of the field"
    refused(tmp_path, (unknown, "--image"), "kernel", "plot", "k.fits", "-o", "k.png")


@pytest.mark.parametrize(
    "command", [("at", "hotpants.fits", "3", "4"), ("plot", "hotpants.fits"), ("convert", "grid.fits")]
)
def test_nothing_is_overwritten(good: Path, tmp_path: Path, command: tuple[str, ...]) -> None:
    output = tmp_path / ("k.png" if command[0] == "plot" else "k.fits")
    output.write_bytes(b"mine")
    refused(good, "the output exists already", "kernel", *command, "-o", output, status=2)
    assert output.read_bytes() == b"mine"
    kernel(good, *command, "-o", output, "--overwrite")
    assert output.read_bytes() != b"mine"
    if command[0] != "plot":
        refused(
            good,
            "the output is the same file as the input",
            "kernel",
            *command,
            "-o",
            command[1],
            "--overwrite",
            status=2,
        )
    refused(good, "there is no directory", "kernel", *command, "-o", f"nowhere/{output.name}", status=2)
    assert [path.name for path in tmp_path.iterdir()] == [output.name]


def test_help_needs_no_numpy() -> None:
    code = "import sys, diffim_decorr.cli.kernel, diffim_decorr.cli.apply; sys.exit('numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_through_the_shell(good: Path) -> None:
    done = decorr(good, "kernel", "show", "hotpants.fits")
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert "max_abs_rho" in done.stdout
