"""A stored ψ that is damaged is told in one line."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from support.command import refused


def without(name: str) -> Callable[[Path], None]:
    def edit(path: Path) -> None:
        with fits.open(path) as hdus:
            kept = fits.HDUList([hdu.copy() for hdu in hdus if hdu.name != name])
        kept.writeto(path, overwrite=True)

    return edit


def table(change: Callable[[fits.BinTableHDU], None]) -> Callable[[Path], None]:
    def edit(path: Path) -> None:
        with fits.open(path, mode="update") as hdus:
            change(hdus["PSI_COEFFS"])

    return edit


def put(column: str, value: float) -> Callable[[Path], None]:
    def change(hdu: fits.BinTableHDU) -> None:
        cell = hdu.data[column]
        cell[(0,) * cell.ndim] = value

    return table(change)


def basis(value: object) -> Callable[[Path], None]:
    def edit(path: Path) -> None:
        with fits.open(path, mode="update") as hdus:
            if isinstance(value, tuple):
                hdus["PSI_BASIS"].data = np.ones(value)
            else:
                hdus["PSI_BASIS"].data[0, 0, 0] = value

    return edit


def image_table(path: Path) -> None:
    without("PSI_COEFFS")(path)
    fits.append(path, np.ones((3, 3)), fits.Header({"EXTNAME": "PSI_COEFFS"}))


def words(path: Path) -> None:
    with fits.open(path) as hdus:
        old = hdus["PSI_COEFFS"]
        column = fits.Column("KNOTS_X", "3A", array=["abc"] * len(old.data))
        columns = [column if own.name == "KNOTS_X" else own for own in old.columns]
        hdus["PSI_COEFFS"] = fits.BinTableHDU.from_columns(columns, old.header.copy(strip=True), name="PSI_COEFFS")
        hdus.writeto(path.with_suffix(".new"))
    path.with_suffix(".new").rename(path)


DAMAGES = {
    "no basis": (without("PSI_BASIS"), "holds no decorrelation kernel"),
    "no table": (without("PSI_COEFFS"), "[PSI_BASIS]: its coefficients are missing"),
    "an image for a table": (image_table, "[PSI_COEFFS]: is not a binary table"),
    "no column": (table(lambda hdu: hdu.columns.del_col("KNOTS_X")), "[PSI_COEFFS]: has no column KNOTS_X"),
    "words": (words, "[PSI_COEFFS]: column KNOTS_X holds no plain numbers"),
    "no rows": (table(lambda hdu: setattr(hdu, "data", hdu.data[:0])), "[PSI_COEFFS]: has no rows"),
    "more knots than there are": (put("NX", 1000), "[PSI_COEFFS]: a row does not hold what it says"),
    "order 0": (put("ORDER", 0), "[PSI_COEFFS]: a row does not hold what it says"),
    "empty rectangle": (put("X1", 0), "[PSI_COEFFS]: a row does not hold what it says"),
    "NaN among the values": (put("VALUES", np.nan), "[PSI_COEFFS]: holds numbers that are not finite"),
    "knots not in order": (put("KNOTS_Y", 1e6), "[PSI_COEFFS]: the knots are not in increasing order"),
    "NaN in the basis": (basis(np.nan), "[PSI_BASIS]: holds pixels that are not finite"),
    "even size": (basis((3, 6, 6)), "[PSI_BASIS]: is not a cube of square images"),
    "card": (table(lambda hdu: hdu.header.set("FIELDNX", "wide")), "[PSI_COEFFS]: card FIELDNX = 'wide' is not"),
    "margin": (put("MARGIN", -3), "[PSI_COEFFS]: has a MARGIN of -3"),
    "error": (put("TILEERR", np.nan), "[PSI_COEFFS]: has a TILEERR of nan"),
}  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_psi(psi_runs: Path, tmp_path: Path, damage: str) -> None:
    for name in ("sci", "spatial"):
        shutil.copy(psi_runs / f"{name}.fits", tmp_path)
    spoil, says = DAMAGES[damage]
    spoil(tmp_path / "spatial.fits")
    refused(
        tmp_path, f"spatial.fits{says}" if says.startswith("[") else says, "apply", "sci.fits", "--psi", "spatial.fits"
    )
