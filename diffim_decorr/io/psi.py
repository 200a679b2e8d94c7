"""Reading the decorrelation kernel that a run stored: PSI_BASIS and PSI_COEFFS of its output."""

from __future__ import annotations

import math
import os
from typing import Any

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

from diffim_decorr.errors import InputError
from diffim_decorr.geometry import Box
from diffim_decorr.io.hdus import damaged, hdu_label, is_numpy_archive, open_fits, read_array, select_hdu, split_spec
from diffim_decorr.io.headers import parent_origin
from diffim_decorr.kernels.grid import GridCoefficients
from diffim_decorr.kernels.piecewise import PiecewiseCoefficients
from diffim_decorr.kernels.spatial import SpatialKernel
from diffim_decorr.options import REPLACED_PLANES
from diffim_decorr.psi.stored import DecorrelationKernel

__all__ = ("holds_psi", "read_psi")

Array = NDArray[Any]

_COLUMNS = ("X0", "Y0", "X1", "Y1", "ORDER", "NX", "NY", "KNOTS_X", "KNOTS_Y", "VALUES")


def holds_psi(path: str | os.PathLike[str]) -> bool:
    """Whether a file is a run's output, to look at its ψ."""
    name, extension = split_spec(path)
    if is_numpy_archive(name):
        return False
    with open_fits(name) as hdus:
        hdu = None if extension is None else select_hdu(name, hdus, extension)
        return _basis(hdus) is not None if hdu is None else hdu.name == "PSI_BASIS"


def read_psi(path: str | os.PathLike[str]) -> DecorrelationKernel:
    """Read the decorrelation kernel from the output of a run.

    Parameters
    ----------
    path
        The file; ``name.fits[PSI_BASIS,2]`` chooses one of several.

    Returns
    -------
    DecorrelationKernel
        The kernel that the run used, to the last bit.

    Raises
    ------
    InputError
        If the file cannot be read, or holds no decorrelation kernel or a damaged one.
    """
    name, extension = split_spec(path)
    with open_fits(name) as hdus:
        hdu = _basis(hdus) if extension is None else select_hdu(name, hdus, extension)
        if hdu is None or hdu.name != "PSI_BASIS":
            where = name if hdu is None else hdu_label(name, hdus, hdu)
            raise InputError(f"{where}: holds no decorrelation kernel (the HDUs PSI_BASIS and PSI_COEFFS of a run)")
        where = hdu_label(name, hdus, hdu)
        basis = read_array(hdus, hdu, where)
        basis = basis[None] if basis.ndim == 2 else basis
        if basis.ndim != 3 or basis.shape[1] != basis.shape[2] or basis.shape[1] % 2 == 0:
            raise InputError(f"{where}: is not a cube of square images with a middle pixel")
        if not np.isfinite(basis).all():
            raise InputError(f"{where}: holds pixels that are not finite")
        table = next((h for h in hdus if h.name == "PSI_COEFFS" and h.ver == hdu.ver), None)
        if table is None:
            raise InputError(f"{where}: its coefficients are missing, the table PSI_COEFFS")
        label = hdu_label(name, hdus, table)
        pieces = _pieces(table, len(basis), label)
        whole = Box(0, 0, max(box.x1 for box, _ in pieces), max(box.y1 for box, _ in pieces))
        shape = tuple(
            int(_number(table.header, f"FIELDN{axis}", size, label))
            for axis, size in zip("YX", whole.shape, strict=True)
        )
        one = len(pieces) == 1 and pieces[0][0] == Box(0, 0, shape[1], shape[0])
        # Where the image has its header to itself, how ψ was made is said with ψ.
        primary = hdu.header if "DCVERS" in hdu.header else hdus[0].header
        planes = primary.get("DCREPPL")
        return DecorrelationKernel(
            SpatialKernel(basis, pieces[0][1] if one else PiecewiseCoefficients(pieces), Box(0, 0, shape[1], shape[0])),
            (shape[0], shape[1]),
            variance=sum(_number(primary, card, 0.0, f"{name}[0]") for card in ("DCSVAR", "DCTVAR")),
            margins=tuple(int(margin) for margin in _each(table, "MARGIN", label)),
            simplified=_each(table, "TILEERR", label),
            replace_planes=REPLACED_PLANES if planes is None else _names(str(planes)),
            bad_fraction=_number(primary, "DCBADFRC", 0.01, f"{name}[0]"),
            xy0=parent_origin([primary], name),
            name=where,
        )


def _basis(hdus: fits.HDUList) -> Any:
    return next((hdu for hdu in hdus if hdu.name == "PSI_BASIS"), None)


def _names(listed: str) -> tuple[str, ...]:
    return () if listed.strip() == "none" else tuple(name.strip() for name in listed.split(",") if name.strip())


def _number(header: fits.Header, card: str, default: float, label: str) -> float:
    value = header.get(card, default)
    if isinstance(value, bool) or not isinstance(value, int | float) or not (math.isfinite(value) and value >= 0):
        raise InputError(f"{label}: card {card} = {value!r} is not a number that is 0 or more")
    return float(value)


def _each(table: Any, name: str, label: str) -> tuple[float, ...]:
    """A number of 0 or more for each rectangle; outputs of earlier versions have one in a card, or none."""
    if name not in table.columns.names:
        return (_number(table.header, name, 0, label),) * len(table.data)
    with damaged(label):
        numbers = tuple(float(number) for number in table.data[name])
    if not all(number >= 0 and math.isfinite(number) for number in numbers):
        raise InputError(f"{label}: has a {name} of {min(numbers):g}")
    return numbers


def _pieces(table: Any, count: int, label: str) -> tuple[tuple[Box, GridCoefficients], ...]:
    """The rectangles of the field with their coefficients."""
    if not isinstance(table, fits.BinTableHDU):
        raise InputError(f"{label}: is not a binary table")
    missing = [name for name in _COLUMNS if name not in table.columns.names]
    if missing:
        raise InputError(f"{label}: has no column {missing[0]}")
    with damaged(label):
        rows = [{name: np.ravel(row[name]) for name in _COLUMNS} for row in table.data]
    if not rows:
        raise InputError(f"{label}: has no rows")
    for name in _COLUMNS:
        if rows[0][name].dtype.kind not in "fiu":
            raise InputError(f"{label}: column {name} holds no plain numbers")
    return tuple(_piece(row, count, label) for row in rows)


def _piece(row: dict[str, Array], count: int, label: str) -> tuple[Box, GridCoefficients]:
    whole = {name: int(row[name][0]) for name in _COLUMNS[:7]}
    nx, ny, order = whole["NX"], whole["NY"], whole["ORDER"]
    box = Box(whole["X0"], whole["Y0"], whole["X1"], whole["Y1"])
    fits_in = len(row["KNOTS_X"]) >= nx > 0 and len(row["KNOTS_Y"]) >= ny > 0
    if not fits_in or len(row["VALUES"]) < count * ny * nx or order < 1 or min(box.shape) < 1:
        raise InputError(f"{label}: a row does not hold what it says: {count} x {ny} x {nx} values of order {order}")
    x, y = (row[f"KNOTS_{axis}"][:size].astype(np.float64) for axis, size in (("X", nx), ("Y", ny)))
    values = row["VALUES"][: count * ny * nx].astype(np.float64).reshape(count, ny, nx)
    if not (np.isfinite(values).all() and np.isfinite(x).all() and np.isfinite(y).all()):
        raise InputError(f"{label}: holds numbers that are not finite")
    if not ((np.diff(x) > 0).all() and (np.diff(y) > 0).all()):
        raise InputError(f"{label}: the knots are not in increasing order")
    # Runs interpolate in single precision, and what they store comes back as it was.
    single = values.astype(np.float32)
    return box, GridCoefficients(single, x, y, order)
