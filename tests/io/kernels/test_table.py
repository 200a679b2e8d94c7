"""Kernels as a table of their pixels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table

from diffim_decorr import InputError, MatchingKernel, SpatialKernel, read_kernel, write_grid_kernel, write_kernel_table
from diffim_decorr.geometry import Box
from support.data import JWST, needs_jwst

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
    with pytest.raises(InputError, match=r"k\.fits: the output exists already"):
        write_kernel_table(tmp_path / "k.fits", before)
    write_kernel_table(tmp_path / "k.fits", before, overwrite=True)


def test_only_polynomials_are_written_as_tables(tmp_path: Path) -> None:
    write_grid_kernel(tmp_path / "g.fits", np.ones((2, 3, 3)), [0, 50], [0, 0])
    grid = read_kernel(tmp_path / "g.fits")
    with pytest.raises(InputError, match=r"g\.fits\[KERNEL\]: its coefficients are no polynomials.* on a grid"):
        write_kernel_table(tmp_path / "k.fits", grid)
    assert not (tmp_path / "k.fits").exists()
