"""Cubes of kernels with a table of their positions."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from diffim_decorr import InputError, read_kernel, write_grid_kernel


def a_grid(generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    x, y = (axis.ravel() for axis in np.meshgrid([10.0, 50.0, 100.0], [20.0, 60.5]))
    order = generator.permutation(6)
    return generator.normal(size=(6, 5, 4)), x[order], y[order]


def test_grid_is_bilinear_between_its_positions(tmp_path: Path) -> None:
    cube, x, y = a_grid(np.random.default_rng(5))
    write_grid_kernel(tmp_path / "grid.fits", cube, x, y)
    matching = read_kernel(tmp_path / "grid.fits")
    assert (matching.format, matching.parent_frame) == ("grid", True)
    assert matching.kernel.basis.dtype == np.float64
    by_position = {(a, b): image for a, b, image in zip(x, y, cube, strict=True)}
    for (a, b), image in by_position.items():
        np.testing.assert_allclose(matching.kernel.at(a, b), image, atol=1e-14)
    # A quarter of the way from 50 to 100, two thirds of the way from 20 to 60.5.
    expected = (
        0.75 / 3 * by_position[50.0, 20.0]
        + 0.25 / 3 * by_position[100.0, 20.0]
        + 1.5 / 3 * by_position[50.0, 60.5]
        + 0.5 / 3 * by_position[100.0, 60.5]
    )
    np.testing.assert_allclose(matching.kernel.at(62.5, 47.0), expected, atol=1e-14)
    # Outside, the outermost kernel holds.
    np.testing.assert_allclose(matching.kernel.at(-5, 0), by_position[10.0, 20.0], atol=1e-14)


def test_grid_along_one_axis_and_of_one_kernel(tmp_path: Path) -> None:
    cube = a_grid(np.random.default_rng(6))[0]
    write_grid_kernel(tmp_path / "line.fits", cube[:2], [10, 30], [7, 7])
    np.testing.assert_allclose(read_kernel(tmp_path / "line.fits").kernel.at(15, 99), 0.75 * cube[0] + 0.25 * cube[1])
    write_grid_kernel(tmp_path / "one.fits", cube[:1], [10], [7])
    one = read_kernel(tmp_path / "one.fits")
    assert one.format == "grid"
    assert one.kernel.is_constant
    np.testing.assert_array_equal(one.kernel.at(500, 500), cube[0])


def test_grid_of_any_type_and_layout(tmp_path: Path) -> None:
    cube, x, y = a_grid(np.random.default_rng(7))
    table = fits.BinTableHDU.from_columns(
        [fits.Column("ID", "J", array=np.arange(6)), fits.Column("y", "E", array=y), fits.Column("x", "I", array=x)]
    )
    fits.HDUList([fits.PrimaryHDU(cube.astype(">f4")), table]).writeto(tmp_path / "grid.fits")
    for spec in ("", "[0]"):
        matching = read_kernel(f"{tmp_path / 'grid.fits'}{spec}")
        np.testing.assert_allclose(matching.kernel.at(x[2], y[2]), cube[2], rtol=1e-6)


def test_written_grid_has_valid_checksums(tmp_path: Path) -> None:
    path = tmp_path / "grid.fits"
    cube, x, y = a_grid(np.random.default_rng(8))
    write_grid_kernel(path, cube, x, y)
    with fits.open(path, checksum=True) as hdus:
        assert [hdu.name for hdu in hdus] == ["PRIMARY", "KERNEL", "POSITIONS"]
        assert all("CHECKSUM" in hdu.header and "DATASUM" in hdu.header for hdu in hdus)
        hdus.verify("exception")
        np.testing.assert_array_equal(hdus["KERNEL"].data, cube)
    before = path.read_bytes()
    with pytest.raises(InputError, match=r"grid\.fits: the output exists already"):
        write_grid_kernel(path, 2 * cube, x, y)
    assert path.read_bytes() == before
    write_grid_kernel(path, 2 * cube, x, y, overwrite=True)
    np.testing.assert_allclose(read_kernel(path).kernel.at(x[0], y[0]), 2 * cube[0])
    with pytest.raises(InputError, match="cannot be written"):
        write_grid_kernel(tmp_path / "none" / "grid.fits", cube, x, y)


@pytest.mark.parametrize(
    ("cube", "x", "y", "cause"),
    [
        (np.ones((4, 3, 3)), [0, 1, 0, 0], [0, 0, 1, 1], "same position"),
        (np.ones((3, 3, 3)), [0, 1, 2], [0, 1, 2], "lie on one line"),
        (np.ones((3, 3, 3)), [0, 1e4, 2e4], [0, 10000, 20000.001], "lie on one line"),
        (np.ones((2, 3, 3)), [0, 1], [0, 1], "lie on one line"),
        (np.ones((2, 3, 3)), [5, 5], [5, 5], "same position"),
        (np.ones((2, 3, 3)), [0, np.nan], [0, 0], "position .* not finite"),
        (np.ones((2, 3, 3)), [0, 1, 2], [0, 0, 0], "cube of 2 kernels, but 3 positions"),
        (np.stack([np.ones((3, 3)), np.zeros((3, 3))]), [0, 1], [0, 0], "nothing but zeros"),
        (np.stack([np.ones((3, 3)), np.full((3, 3), np.nan)]), [0, 1], [0, 0], "not finite"),
        (np.ones((2, 1, 1002)), [0, 1], [0, 0], "look like an image"),
        (np.ones((2, 2, 3, 3)), [0, 1], [0, 0], "not an array of 4 dimensions"),
        (np.ones((2, 0, 3)), [0, 1], [0, 0], "no pixels"),
    ],
)
def test_grids_that_are_none(tmp_path: Path, cube: np.ndarray, x: list[float], y: list[float], cause: str) -> None:
    path = tmp_path / "grid.fits"
    with pytest.raises(InputError, match=cause):
        write_grid_kernel(path, cube, x, y)
    assert not path.exists()
    columns = [fits.Column(name, "D", array=values) for name, values in (("X", x), ("Y", y))]
    fits.HDUList([fits.PrimaryHDU(cube), fits.BinTableHDU.from_columns(columns)]).writeto(path)
    with pytest.raises(InputError, match=cause) as caught:
        read_kernel(path)
    assert str(caught.value).startswith(f"{path}[0]: ")


def test_grid_positions_of_something_else(tmp_path: Path) -> None:
    columns = [fits.Column("X", "4A", array=["a", "b"]), fits.Column("Y", "D", array=[0.0, 1.0])]
    table = fits.BinTableHDU.from_columns(columns, name="POSITIONS")
    fits.HDUList([fits.PrimaryHDU(np.ones((2, 3, 3))), table]).writeto(tmp_path / "grid.fits")
    with pytest.raises(InputError, match=r"grid\.fits\[POSITIONS\]: column X is not a column of plain numbers"):
        read_kernel(tmp_path / "grid.fits")
