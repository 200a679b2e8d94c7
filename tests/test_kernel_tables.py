"""Kernels as a table of their pixels, at scattered positions, and read as a format that is asked for."""

from __future__ import annotations

import re
import runpy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table
from click.testing import CliRunner
from command import decorr, make_inputs
from diffim_decorr.spatial import Box

from diffim_decorr import InputError, MatchingKernel, SpatialKernel, read_kernel, write_grid_kernel, write_kernel_table
from diffim_decorr.cli import run
from diffim_decorr.io import kernels

FORMATS = Path(__file__).parents[1] / "docs" / "formats.md"
JWST = Path(__file__).resolve().parents[2] / "shared" / "data" / "jwst_a2744"
needs_jwst = pytest.mark.skipif(not JWST.is_dir(), reason="the data folder shared/data/jwst_a2744 is absent")

PIXELS = [(-2, 0), (0, 0), (1, 1), (0, -1)]
COLUMNS = {"X0Y0": [0.1, 0.7, 0.2, 0.05], "X1Y0": [0.0, -0.1, 0.1, 0.0], "X2Y1": [0.02, 0.0, 0.0, 0.01]}


def write_table(path: Path, columns: dict[str, Any] | None = None, **cards: Any) -> Path:
    dx, dy = zip(*PIXELS, strict=True)
    table = Table({"DX": dx, "DY": dy} | COLUMNS | (columns or {}))
    table.meta = {"X0": 50.0, "Y0": 40.0, "XSCALE": 25.0, "YSCALE": 20.0} | cards
    table.write(path)
    return path


def by_hand(x: float, y: float) -> np.ndarray:
    u, v = (x - 50) / 25, (y - 40) / 20
    kernel = np.zeros((3, 5))
    for (dx, dy), a, b, c in zip(PIXELS, *COLUMNS.values(), strict=True):
        kernel[dy + 1, dx + 2] = a + b * u + c * u**2 * v
    return kernel


def test_table_means_what_its_columns_and_cards_say(tmp_path: Path) -> None:
    matching = read_kernel(write_table(tmp_path / "k.fits"))
    assert (matching.format, matching.convolved, matching.normalized) == ("table", (None,), (None,))
    assert matching.parent_frame
    for x, y in [(50, 40), (0, 0), (99, 77.5)]:
        np.testing.assert_allclose(matching.kernel.at(x, y), by_hand(x, y), rtol=0, atol=1e-14)
    told = read_kernel(write_table(tmp_path / "t.fits", CONVOLVD="science", DIVIDED=False, PARENT=False))
    assert (told.convolved, told.normalized, told.parent_frame) == (("science",), (False,), False)


def test_table_without_cards_has_powers_of_pixels(tmp_path: Path) -> None:
    Table({"dx": [0], "dy": [0], "x0y0": [1.0], "x1y0": [1e-3]}).write(tmp_path / "k.fits")
    assert read_kernel(tmp_path / "k.fits").kernel.sum_at(200, 5) == pytest.approx(1.2)


def test_ten_lines_of_the_documentation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The example in docs/formats.md writes a kernel that the command takes."""
    (lines,) = re.findall(r"^```python\n(.*?)^```$", FORMATS.read_text(), flags=re.MULTILINE | re.DOTALL)
    assert len([line for line in lines.splitlines() if line]) <= 10
    make_inputs(tmp_path)
    (tmp_path / "write.py").write_text(lines)
    monkeypatch.chdir(tmp_path)
    names = runpy.run_path("write.py")
    matching = read_kernel("kernel.fits")
    assert matching.convolved == ("template",)
    x, y = 400, 1800
    u, v = (x - 1023.5) / 1024, (y - 1023.5) / 1024
    expected = sum(c * u**a * v**b for (a, b), c in names["coefficients"].items())
    np.testing.assert_allclose(matching.kernel.at(x, y), expected, rtol=0, atol=1e-15)
    done = decorr(tmp_path, "run", "sci.fits", "tmpl.fits", "diff.fits", "--kernel", "kernel.fits")
    assert done.returncode == 0, done.stderr


def with_duplicate() -> dict[str, Any]:
    return {"DX": [-2, 0, 1, 0], "DY": [0, 0, 1, 0]}


@pytest.mark.parametrize(
    ("columns", "cards", "cause"),
    [
        ({"DX": [0.5, 0, 1, 0]}, {}, "column DX holds what is no whole number"),
        ({"DY": [0, 0, 501, 0]}, {}, "column DY holds what is no whole number up to 500"),
        ({"DX": [np.nan, 0, 1, 0]}, {}, "column DX holds what is no whole number"),
        ({"DX": ["a", "b", "c", "d"]}, {}, "column DX is not a column of plain numbers"),
        ({"X0Y0": np.ones((4, 2))}, {}, "column X0Y0 is not a column of plain numbers"),
        (with_duplicate(), {}, "a kernel pixel comes twice"),
        ({"X2Y1": [np.inf, 0, 0, 0]}, {}, "not finite"),
        ({name: [0.0] * 4 for name in COLUMNS}, {}, "nothing but zeros"),
        ({}, {"XSCALE": 0.0}, "XSCALE and YSCALE must not be 0"),
        ({}, {"Y0": "middle"}, "Y0 is 'middle', not a number"),
        ({}, {"CONVOLVD": "REF"}, "CONVOLVD is 'REF', neither TEMPLATE nor SCIENCE"),
        ({}, {"DIVIDED": "yes"}, "DIVIDED is 'yes', neither T nor F"),
        ({}, {"PARENT": 1}, "PARENT is 1, neither T nor F"),
        ({}, {"REGION": "[0:4,1:5]"}, r"REGION is '\[0:4,1:5\]'"),
    ],
)
def test_broken_tables(tmp_path: Path, columns: dict[str, Any], cards: dict[str, Any], cause: str) -> None:
    path = write_table(tmp_path / "k.fits", columns, **cards)
    with pytest.raises(InputError, match=cause) as caught:
        read_kernel(path)
    assert str(caught.value).startswith(f"{path}[1]: ")


def test_tables_of_no_rows_and_no_tables(tmp_path: Path) -> None:
    Table({"DX": np.zeros(0, int), "DY": np.zeros(0, int), "X0Y0": np.zeros(0)}).write(tmp_path / "k.fits")
    with pytest.raises(InputError, match="the table has no rows"):
        read_kernel(tmp_path / "k.fits")
    Table({"DX": [0], "DY": [0]}).write(tmp_path / "n.fits")
    with pytest.raises(InputError, match="holds no kernel of a known format"):
        read_kernel(tmp_path / "n.fits")
    with pytest.raises(InputError, match=r"n\.fits: holds no table of kernel pixels, with columns DX, DY, X0Y0"):
        read_kernel(tmp_path / "n.fits", format="table")


def test_several_tables_need_regions(tmp_path: Path) -> None:
    one = write_table(tmp_path / "one.fits", REGION="[1:50,1:80]")
    other = write_table(tmp_path / "other.fits", {"X0Y0": [1.0, 0, 0, 0]}, REGION="[51:100,1:80]", CONVOLVD="SCIENCE")
    with fits.open(one) as a, fits.open(other) as b:
        fits.HDUList([a[0], a[1], b[1]]).writeto(tmp_path / "both.fits")
        matching = read_kernel(tmp_path / "both.fits")
        assert matching.kernel.boxes == (Box(0, 0, 50, 80), Box(50, 0, 100, 80))
        assert matching.convolved == (None, "science")
        np.testing.assert_allclose(matching.kernel.at(20, 30), by_hand(20, 30), rtol=0, atol=1e-14)
        assert matching.kernel.at(50, 40)[1, 0] == 1.0
        del b[1].header["REGION"]
        fits.HDUList([a[0], a[1], b[1]]).writeto(tmp_path / "lacks.fits")
        b[1].header.update({"REGION": "[51:100,1:80]", "PARENT": False})
        fits.HDUList([a[0], a[1], b[1]]).writeto(tmp_path / "differ.fits")
    with pytest.raises(InputError, match=r"lacks\.fits\[2\]: one of 2 kernels, but without a card REGION"):
        read_kernel(tmp_path / "lacks.fits")
    with pytest.raises(InputError, match="differ in their cards PARENT"):
        read_kernel(tmp_path / "differ.fits")


@needs_jwst
@pytest.mark.parametrize(
    ("file", "divided"),
    [("hotpants_diff.fits", (False,)), ("hotpants_diff_2x2_science_convolved.fits", (False,) * 4),
     ("sfft_solution.fits", (False,))],
)  # fmt: skip
def test_real_kernels_come_back(tmp_path: Path, file: str, divided: tuple[bool, ...]) -> None:
    before = read_kernel(JWST / file, (900, 900))
    write_kernel_table(tmp_path / "k.fits", before)
    after = read_kernel(tmp_path / "k.fits")
    assert after.format == "table"
    assert (after.convolved, after.normalized) == (before.convolved, divided)
    assert (after.parent_frame, after.kernel.boxes) == (False, before.kernel.boxes)
    rng = np.random.default_rng(1)
    x, y = rng.uniform(0, 899, (2, 20))
    mine, theirs = after.kernel.sample(x, y), before.kernel.sample(x, y)
    np.testing.assert_allclose(mine, theirs, rtol=0, atol=1e-12 * np.abs(theirs).max())
    with fits.open(tmp_path / "k.fits", checksum=True) as hdus:
        assert all("CHECKSUM" in hdu.header for hdu in hdus)
        hdus.verify("exception")


def test_even_kernels_come_back_with_their_centre(tmp_path: Path) -> None:
    image = np.random.default_rng(2).normal(size=(4, 6))
    before = MatchingKernel(SpatialKernel.constant(image), convolved=("science",), normalized=(True,))
    write_kernel_table(tmp_path / "k.fits", before)
    after = read_kernel(tmp_path / "k.fits")
    assert (after.convolved, after.normalized, after.parent_frame) == (("science",), (True,), True)
    expected = np.zeros((5, 7))
    expected[:4, :6] = image
    np.testing.assert_array_equal(after.kernel.at(3, 3), expected)
    with pytest.raises(InputError, match=r"k\.fits: the file exists"):
        write_kernel_table(tmp_path / "k.fits", before)
    write_kernel_table(tmp_path / "k.fits", before, overwrite=True)


def test_only_polynomials_are_written_as_tables(tmp_path: Path) -> None:
    write_grid_kernel(tmp_path / "g.fits", np.ones((2, 3, 3)), [0, 50], [0, 0])
    grid = read_kernel(tmp_path / "g.fits")
    with pytest.raises(InputError, match=r"g\.fits\[KERNEL\]: its coefficients are no polynomials.* on a grid"):
        write_kernel_table(tmp_path / "k.fits", grid)
    assert not (tmp_path / "k.fits").exists()


# Scattered positions


def scattered(seed: int, count: int = 12) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.normal(size=(count, 3, 5)), rng.uniform(0, 2000, count), rng.uniform(0, 4000, count)


def test_scattered_kernels_are_met_and_planes_are_exact(tmp_path: Path) -> None:
    cube, x, y = scattered(1)
    write_grid_kernel(tmp_path / "k.fits", cube, x, y)
    matching = read_kernel(tmp_path / "k.fits")
    assert (matching.format, matching.parent_frame) == ("grid", True)
    for k in (0, 5, 11):
        np.testing.assert_allclose(matching.kernel.at(x[k], y[k]), cube[k], rtol=0, atol=1e-9)
    # A thin plate that may be flat is flat, inside and out.
    planes = cube[0] + cube[1] * x[:, None, None] / 2000 - cube[2] * y[:, None, None] / 4000
    write_grid_kernel(tmp_path / "p.fits", planes, x, y)
    kernel = read_kernel(tmp_path / "p.fits").kernel
    for at in [(700.0, 1500.0), (-100.0, 4500.0)]:
        expected = cube[0] + cube[1] * at[0] / 2000 - cube[2] * at[1] / 4000
        np.testing.assert_allclose(kernel.at(*at), expected, rtol=0, atol=1e-9)
    moved = kernel.shifted(-64, 100)
    np.testing.assert_allclose(moved.at(36, 1600), kernel.at(100, 1500), rtol=0, atol=1e-9)


def test_scattered_kernels_bend_as_a_thin_plate(tmp_path: Path) -> None:
    """Between four corners and a centre: r² ln r and a plane, solved by hand."""
    x, y = np.array([0.0, 100.0, 0.0, 100.0, 50.0]), np.array([0.0, 0.0, 100.0, 100.0, 50.0])
    write_grid_kernel(tmp_path / "k.fits", np.array([1.0, 1, 1, 1, 3])[:, None, None], x, y)

    # Symmetry: weight w at the corners, -4 w in the centre, and a constant c.
    def phi(r: float) -> float:
        return r**2 * np.log(r) if r else 0.0

    half, side, diagonal = np.sqrt(5000.0), 100.0, np.sqrt(20000.0)
    corner = 2 * phi(side) + phi(diagonal) - 4 * phi(half)
    centre = 4 * phi(half)
    w = (3 - 1) / (centre - corner)
    c = 1 - w * corner
    r = [np.hypot(80.0 - a, 30.0 - b) for a, b in zip(x, y, strict=True)]
    expected = w * (sum(map(phi, r[:4])) - 4 * phi(r[4])) + c
    assert read_kernel(tmp_path / "k.fits").kernel.sum_at(80, 30) == pytest.approx(expected, rel=1e-9)


def test_the_command_takes_scattered_kernels(tmp_path: Path) -> None:
    make_inputs(tmp_path)
    y, x = np.mgrid[-4:5, -4:5]
    positions = np.array([(10, 12), (80, 9), (50, 71), (90, 60), (20, 66)])
    cube = [np.exp(-0.5 * (x**2 + y**2) / (1.2 + 0.005 * a) ** 2) for a, _ in positions]
    write_grid_kernel(tmp_path / "k.fits", np.array(cube) / np.sum(cube, axis=(1, 2))[:, None, None], *positions.T)
    done = decorr(tmp_path, "run", "sci.fits", "tmpl.fits", "diff.fits", "-k", "k.fits", "--spatial", "--json")
    assert done.returncode == 0, done.stderr


# The format that is asked for


def test_the_command_knows_all_formats() -> None:
    names = [known.name for known in kernels._FORMATS]
    for option in ("kernel_format", "sci_kernel_format"):
        (parameter,) = [p for p in run.run.params if p.name == option]
        assert list(parameter.type.choices) == names
    said = CliRunner().invoke(run.run, ["--help"]).output
    assert "--kernel-format" in said


def test_a_format_that_is_asked_for_wins(tmp_path: Path) -> None:
    """A file that two readers take: the table is looked for first, the image only if it is asked for."""
    with fits.open(write_table(tmp_path / "t.fits")) as hdus:
        fits.HDUList([fits.PrimaryHDU(np.eye(3)), hdus[1]]).writeto(tmp_path / "both.fits")
    assert read_kernel(tmp_path / "both.fits").format == "table"
    assert read_kernel(tmp_path / "both.fits", format="image").kernel.sum_at(0, 0) == 3.0
    with pytest.raises(InputError, match="there is no kernel format 'fits'; there are hotpants, sfft, lsst, table"):
        read_kernel(tmp_path / "both.fits", format="fits")
    for name, cause in [
        ("hotpants", "holds no HOTPANTS kernel table"),
        ("sfft", "holds no solution of SFFT"),
        ("lsst", "holds no archive of LSST objects"),
        ("grid", "needs a table with their positions"),
    ]:
        with pytest.raises(InputError, match=f"both.fits.*{cause}"):
            read_kernel(tmp_path / "both.fits", format=name)
    for name in ("grid", "image"):
        with pytest.raises(InputError, match=r"both\.fits.*holds no image"):
            read_kernel(f"{tmp_path / 'both.fits'}[1]", format=name)


def test_formats_on_the_command_line(tmp_path: Path) -> None:
    make_inputs(tmp_path)
    line = ["run", "sci.fits", "tmpl.fits", "diff.fits", "--kernel", "kernel.fits", "--overwrite"]
    done = decorr(tmp_path, *line, "--kernel-format", "sfft")
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr.startswith("decorr: error: kernel.fits: holds no solution of SFFT")
    assert done.stderr.count("\n") == 1
    done = decorr(tmp_path, *line, "--pre-conv-kernel", "psf.fits", "--sci-kernel-format", "table")
    assert done.returncode == 3
    assert "psf.fits: holds no table of kernel pixels" in done.stderr
    done = decorr(tmp_path, *line, "--kernel-format", "fits")
    assert done.returncode == 2
    fits.PrimaryHDU().writeto(tmp_path / "empty.fits")
    done = decorr(tmp_path, *line[:4], "--kernel", "empty.fits")
    assert done.returncode == 3
    for name in ("HOTPANTS", "SFFT", "LSST", "table of kernel pixels", "cube of kernel images", "a kernel image"):
        assert name in done.stderr
