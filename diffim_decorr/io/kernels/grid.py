"""Matching kernels as images at positions: on a rectangular grid, or scattered."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
from astropy.io import fits
from numpy.typing import ArrayLike, NDArray

from diffim_decorr.difference.matching import MatchingKernel, check_kernel_images
from diffim_decorr.errors import InputError
from diffim_decorr.io.atomic import write_hdus
from diffim_decorr.io.hdus import column_names, damaged
from diffim_decorr.io.kernels.source import Format, Source
from diffim_decorr.kernels.compress import compact
from diffim_decorr.kernels.grid import GridCoefficients
from diffim_decorr.kernels.scattered import ScatteredCoefficients
from diffim_decorr.kernels.spatial import SpatialKernel

__all__ = ("FORMAT", "write_grid_kernel")

Array = NDArray[Any]

# Width over length of a set of positions below which it is a line.
_THINNEST = 1e-6


def write_grid_kernel(
    path: str | os.PathLike[str], kernels: ArrayLike, x: ArrayLike, y: ArrayLike, overwrite: bool = False
) -> None:
    """Write kernels at positions, the cube as HDU KERNEL and the positions as table POSITIONS.

    Parameters
    ----------
    path
        The file to write.
    kernels
        Kernel images (n, h, w).
    x, y
        Their positions (n,), best a full rectangular grid, in any order: 0-based pixels, in the parent frame if the
        images have one.
    overwrite
        Whether to replace a file that exists.

    Raises
    ------
    InputError
        If the kernels cannot be used, or the file exists.
    """
    path = os.fspath(path)
    cube = np.asarray(kernels, dtype=np.float64)
    positions = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    _grid(cube, *positions, path)
    columns = [fits.Column(name, "D", array=values, unit="pixel") for name, values in zip("XY", positions, strict=True)]
    table = fits.BinTableHDU.from_columns(columns, name="POSITIONS")
    hdus = fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(cube, name="KERNEL"), table])
    write_hdus(path, hdus, overwrite)


def _positions(source: Source) -> Any:
    """The table of positions."""
    tables = (hdu for hdu in source.hdus if isinstance(hdu, fits.BinTableHDU | fits.TableHDU))
    return next((hdu for hdu in tables if {"X", "Y"} <= {name.upper() for name in column_names(hdu)}), None)


def _sniff(source: Source) -> bool:
    hdu = source.with_pixels()
    if hdu is None or len(hdu.shape) < 3:
        return False
    return bool(hdu.shape[-3] > 1) or _positions(source) is not None


def _read(source: Source) -> MatchingKernel:
    cube, where = source.pixels()
    table = _positions(source)
    if table is None:
        raise InputError(f"{where}: a cube of kernels needs a table with their positions, columns X and Y")
    where_table = source.label(table)
    with damaged(where_table):
        columns = [np.asarray(table.data[name]) for name in "XY"]
    for name, column in zip("XY", columns, strict=True):
        if column.ndim != 1 or column.dtype.kind not in "iuf":
            raise InputError(f"{where_table}: column {name} is not a column of plain numbers")
    x, y = (column.astype(np.float64) for column in columns)
    return MatchingKernel(_grid(cube[None] if cube.ndim == 2 else cube, x, y, where), format="grid", name=where)


def _grid(cube: Array, x: Array, y: Array, where: str) -> SpatialKernel:
    """The kernel of images (n, h, w): bilinear between positions on a rectangular grid, else on thin-plate splines."""
    if cube.ndim != 3:
        axes = f"{cube.ndim} dimension{'s' * (cube.ndim != 1)}"
        raise InputError(f"{where}: kernels on a grid must be a cube of images, not an array of {axes}")
    if x.shape != (len(cube),) or y.shape != (len(cube),):
        raise InputError(f"{where}: a cube of {len(cube)} kernels, but {x.size} positions")
    check_kernel_images(cube, where)
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        raise InputError(f"{where}: a position of the kernels is not finite")
    if len(cube) == 1:
        return SpatialKernel.constant(cube[0])
    knots_x, column = np.unique(x, return_inverse=True)
    knots_y, row = np.unique(y, return_inverse=True)
    filled = np.zeros((len(knots_y), len(knots_x)), dtype=int)
    np.add.at(filled, (row, column), 1)
    if not (filled == 1).all():
        return SpatialKernel(cube, _scattered(x, y, where))
    # Each image is a basis image of its own, and its coefficient is 1 at its own knot and 0 at all others.
    values = np.zeros((len(cube), len(knots_y), len(knots_x)))
    values[np.arange(len(cube)), row, column] = 1.0
    return compact(SpatialKernel(cube, GridCoefficients(values, knots_x, knots_y, order=1)))


def _scattered(x: Array, y: Array, where: str) -> ScatteredCoefficients:
    """The coefficients of kernels at positions that make no rectangular grid."""
    positions = np.stack([x, y], axis=1)
    if len(np.unique(positions, axis=0)) < len(positions):
        raise InputError(f"{where}: two kernels have the same position")
    # Relative to the extent, so that the unit does not matter.
    spread = np.linalg.svd((positions - positions.mean(axis=0)) / np.ptp(positions), compute_uv=False)
    if spread[1] < _THINNEST * spread[0]:
        raise InputError(
            f"{where}: the positions of the {len(positions)} kernels are no rectangular grid but lie on one line, "
            "which tells nothing of the field beside it"
        )
    return ScatteredCoefficients(positions)


FORMAT = Format("grid", "a cube of kernel images with a table of their positions X, Y", _sniff, _read)
