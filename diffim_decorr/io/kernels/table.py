"""Kernels as a table that any program can write: one row for each kernel pixel, one column for each polynomial term.

The kernel is ``K(dx, dy; x, y) = sum_ab c_ab(dx, dy) u^a v^b`` with ``u = (x - X0) / XSCALE`` and v likewise: the
delta-function basis of Bramich (2008, MNRAS 386, L77) with polynomials in the position (Bramich et al. 2013, MNRAS
428, 2275). Columns DX, DY are the offsets of the pixel from the kernel's centre; column ``XaYb`` is c_ab.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

from diffim_decorr.difference.matching import MatchingKernel
from diffim_decorr.errors import InputError
from diffim_decorr.geometry import Box
from diffim_decorr.io.atomic import write_hdus
from diffim_decorr.io.hdus import column_names, damaged, hdu_label
from diffim_decorr.io.kernels.source import Format
from diffim_decorr.kernels.coefficients import PolynomialCoefficients
from diffim_decorr.kernels.piecewise import PiecewiseCoefficients
from diffim_decorr.kernels.spatial import SpatialKernel
from diffim_decorr.options import Side

__all__ = ("FORMAT", "is_kernel_table", "read_kernel_table", "write_kernel_table")

Array = NDArray[Any]

_TERM = re.compile(r"X(\d{1,2})Y(\d{1,2})", re.IGNORECASE)
_REGION = re.compile(r"\s*\[\s*(\d+)\s*:\s*(\d+)\s*,\s*(\d+)\s*:\s*(\d+)\s*\]\s*")
_SIDES: dict[str, Side] = {"TEMPLATE": "template", "SCIENCE": "science"}
_LARGEST_OFFSET = 500


def is_kernel_table(hdus: Sequence[Any]) -> bool:
    """Whether there is a table of kernel pixels among the HDUs."""
    return any(_is_table(hdu) for hdu in hdus)


def read_kernel_table(hdus: fits.HDUList, among: Sequence[Any], name: str) -> MatchingKernel:
    """Read a table of kernel pixels, or several, each for a region of its own.

    Parameters
    ----------
    hdus
        The open file.
    among
        The HDUs of it to look into.
    name
        The file's name, for messages.

    Raises
    ------
    InputError
        If there is no such table, or it cannot be used.
    """
    tables = [hdu for hdu in among if _is_table(hdu)]
    if not tables:
        raise InputError(f"{name}: holds no table of kernel pixels, with columns DX, DY, X0Y0, …")
    labels = [hdu_label(name, hdus, table) for table in tables]
    where = labels[0]
    pieces = [_piece(table, label) for table, label in zip(tables, labels, strict=True)]
    boxes = [_box(table.header, label) for table, label in zip(tables, labels, strict=True)]
    if len(tables) > 1 and None in boxes:
        raise InputError(f"{labels[boxes.index(None)]}: one of {len(tables)} kernels, but without a card REGION")
    parent = {_logical(table.header, "PARENT", label) for table, label in zip(tables, labels, strict=True)}
    if len(parent) > 1:
        raise InputError(f"{where}: the tables differ in their cards PARENT")
    return MatchingKernel(
        kernel=_joined(pieces, boxes),
        format="table",
        convolved=tuple(_side(table.header, label) for table, label in zip(tables, labels, strict=True)),
        normalized=tuple(_logical(table.header, "DIVIDED", label) for table, label in zip(tables, labels, strict=True)),
        parent_frame=parent != {False},
        name=where,
    )


def write_kernel_table(path: str | os.PathLike[str], kernel: MatchingKernel, overwrite: bool = False) -> None:
    """Write a kernel whose coefficients are polynomials as a table of its pixels, one for each of its regions.

    Parameters
    ----------
    path
        The file to write.
    kernel
        The kernel.
    overwrite
        Whether to replace a file that exists.

    Raises
    ------
    InputError
        If the coefficients are no polynomials, or the file exists or cannot be written.
    """
    path = os.fspath(path)
    coefficients = kernel.kernel.coefficients
    pieces = coefficients.pieces if isinstance(coefficients, PiecewiseCoefficients) else ((None, coefficients),)
    hdus = fits.HDUList([fits.PrimaryHDU()])
    for number, (box, piece) in enumerate(pieces):
        if not isinstance(piece, PolynomialCoefficients):
            raise InputError(
                f"{kernel.name}: its coefficients are no polynomials in the position, so that it cannot be written as "
                "a table; write it on a grid"
            )
        table = fits.BinTableHDU.from_columns(list(_columns(kernel.kernel.basis, piece)), name="KERNEL", ver=number + 1)
        table.header.update(_cards(kernel, number, box, piece))
        hdus.append(table)
    write_hdus(path, hdus, overwrite)


def _columns(basis: Array, coefficients: PolynomialCoefficients) -> Iterator[fits.Column]:
    height, width = basis.shape[1:]
    dy, dx = np.mgrid[:height, :width] - np.array([height // 2, width // 2])[:, None, None]
    for name, offsets in (("DX", dx), ("DY", dy)):
        yield fits.Column(name, "I", array=offsets.ravel(), unit="pixel")
    for k, (a, b) in enumerate(coefficients.powers):
        yield fits.Column(f"X{a}Y{b}", "D", array=np.tensordot(coefficients.values[:, k], basis, axes=1).ravel())


def _cards(
    kernel: MatchingKernel, number: int, box: Box | None, coefficients: PolynomialCoefficients
) -> Iterator[tuple[str, Any, str]]:
    for axis, origin, scale in zip("XY", coefficients.origin, coefficients.scale, strict=True):
        yield f"{axis}0", origin, f"[pix] origin of {axis.lower()}, 0-based"
        yield f"{axis}SCALE", scale, f"[pix] unit of {axis.lower()}"
    yield "PARENT", kernel.parent_frame, "positions are in the parent frame, if any"
    side, divided = kernel.convolved[number], kernel.normalized[number]
    if side is not None:
        yield "CONVOLVD", side.upper(), "the image that was convolved"
    if divided is not None:
        yield "DIVIDED", divided, "difference was divided by the kernel sum"
    if box is not None:
        yield "REGION", f"[{box.x0 + 1}:{box.x1},{box.y0 + 1}:{box.y1}]", "pixels from 1 where this kernel holds"


def _is_table(hdu: Any) -> bool:
    if not isinstance(hdu, fits.BinTableHDU | fits.TableHDU):
        return False
    names = {name.upper() for name in column_names(hdu)}
    return {"DX", "DY"} <= names and any(_TERM.fullmatch(name) for name in names)


def _piece(table: Any, where: str) -> SpatialKernel:
    """The kernel that one table describes."""
    names = [name for name in column_names(table) if _TERM.fullmatch(name)]
    offsets = [_column(table, name, where) for name in ("DX", "DY")]
    values = np.array([_column(table, name, where) for name in names])
    if not values.size:
        raise InputError(f"{where}: the table has no rows")
    for name, column in zip(("DX", "DY"), offsets, strict=True):
        if not np.array_equal(column, np.rint(column)) or np.abs(column).max() > _LARGEST_OFFSET:
            raise InputError(f"{where}: column {name} holds what is no whole number up to {_LARGEST_OFFSET}")
    if not np.isfinite(values).all():
        raise InputError(f"{where}: the kernel holds coefficients that are not finite")
    if not values.any():
        raise InputError(f"{where}: the kernel holds nothing but zeros")
    dx, dy = (column.astype(int) for column in offsets)
    if len(np.unique(np.stack([dx, dy]), axis=1).T) < len(dx):
        raise InputError(f"{where}: a kernel pixel comes twice")
    half_x, half_y = np.abs(dx).max(), np.abs(dy).max()
    basis = np.zeros((len(names), 2 * half_y + 1, 2 * half_x + 1))
    basis[:, dy + half_y, dx + half_x] = values
    powers = np.array([list(map(int, _TERM.fullmatch(name).groups())) for name in names])  # type: ignore[union-attr]
    origin = _number(table.header, "X0", 0.0, where), _number(table.header, "Y0", 0.0, where)
    scale = _number(table.header, "XSCALE", 1.0, where), _number(table.header, "YSCALE", 1.0, where)
    if not all(scale):
        raise InputError(f"{where}: XSCALE and YSCALE must not be 0")
    return SpatialKernel(basis, PolynomialCoefficients(np.eye(len(names)), powers, origin, scale))


def _column(table: Any, name: str, where: str) -> Array:
    with damaged(where):
        column = np.asarray(table.data[name])
    if column.ndim != 1 or column.dtype.kind not in "fiu":
        raise InputError(f"{where}: column {name} is not a column of plain numbers")
    return column.astype(np.float64)


def _number(header: fits.Header, key: str, default: float, where: str) -> float:
    value = header.get(key, default)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InputError(f"{where}: {key} is {value!r}, not a number")
    return float(value)


def _logical(header: fits.Header, key: str, where: str) -> bool | None:
    value = header.get(key)
    if value is not None and not isinstance(value, bool):
        raise InputError(f"{where}: {key} is {value!r}, neither T nor F")
    return value


def _side(header: fits.Header, where: str) -> Side | None:
    if "CONVOLVD" not in header:
        return None
    text = str(header["CONVOLVD"]).strip()
    if text.upper() not in _SIDES:
        raise InputError(f"{where}: CONVOLVD is {text!r}, neither TEMPLATE nor SCIENCE")
    return _SIDES[text.upper()]


def _box(header: fits.Header, where: str) -> Box | None:
    if "REGION" not in header:
        return None
    text = str(header["REGION"])
    match = _REGION.fullmatch(text)
    x0, x1, y0, y1 = map(int, match.groups()) if match else (0, 0, 0, 0)
    if not (1 <= x0 <= x1 and 1 <= y0 <= y1):
        raise InputError(f"{where}: REGION is {text!r}, not '[x0:x1,y0:y1]' with pixels counted from 1")
    return Box(x0 - 1, y0 - 1, x1, y1)


def _joined(pieces: list[SpatialKernel], boxes: list[Box | None]) -> SpatialKernel:
    """One kernel of those of several regions: each region uses basis images of its own."""
    if boxes == [None]:
        return pieces[0]
    height, width = np.max([piece.shape for piece in pieces], axis=0)
    basis = []
    for piece in pieces:
        pads = [(0, 0), *(((total - own) // 2,) * 2 for total, own in zip((height, width), piece.shape, strict=True))]
        basis.append(np.pad(piece.basis, pads))
    count = sum(map(len, basis))
    functions: list[tuple[Box, PolynomialCoefficients]] = []
    first = 0
    for piece, box in zip(pieces, boxes, strict=True):
        own = piece.coefficients
        assert isinstance(own, PolynomialCoefficients)
        assert box is not None
        values = np.zeros((count, len(own.powers)))
        values[first : first + len(piece.basis)] = own.values
        functions.append((box, PolynomialCoefficients(values, own.powers, own.origin, own.scale)))
        first += len(piece.basis)
    return SpatialKernel(np.concatenate(basis), PiecewiseCoefficients(tuple(functions)))


FORMAT = Format(
    "table",
    "a table of kernel pixels DX, DY with polynomials X0Y0, …",
    lambda source: is_kernel_table(source.named),
    lambda source: read_kernel_table(source.hdus, source.named, source.path),
)
