"""Reading matching kernels of every format, told apart by what is in the file."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from astropy.io import fits
from numpy.typing import ArrayLike, NDArray

from diffim_decorr.errors import InputError
from diffim_decorr.functions import ScatteredCoefficients
from diffim_decorr.gridding import compact
from diffim_decorr.io.fits import damaged, hdu_label, open_fits, read_array, select_hdu, split_spec, write_hdus
from diffim_decorr.io.hotpants import is_hotpants, read_hotpants
from diffim_decorr.io.kernel_table import is_kernel_table, read_kernel_table, write_kernel_table
from diffim_decorr.io.lsst import is_lsst_kernel, read_lsst_kernel
from diffim_decorr.io.sfft import is_sfft, read_sfft
from diffim_decorr.matching import MatchingKernel
from diffim_decorr.spatial import GridCoefficients, SpatialKernel

__all__ = ("kernel_from_array", "read_kernel", "write_grid_kernel", "write_kernel_table")

Array = NDArray[Any]

_LARGEST_KERNEL = 1001
# Width over length of a set of positions below which it is a line.
_THINNEST = 1e-6


@dataclass(frozen=True)
class _Source:
    """An open file, the HDU of it that the user named, if any, and what the user knows besides."""

    hdus: fits.HDUList
    path: str
    hdu: Any
    image_shape: tuple[int, int] | None
    header: fits.Header | None

    @property
    def named(self) -> list[Any]:
        """The HDUs to look into."""
        return list(self.hdus) if self.hdu is None else [self.hdu]

    def label(self, hdu: Any) -> str:
        return hdu_label(self.path, self.hdus, hdu)


@dataclass(frozen=True)
class _Format:
    """A kind of kernel file: what it is called, what it is, how it is recognised, how it is read."""

    name: str
    description: str
    sniff: Callable[[_Source], bool]
    read: Callable[[_Source], MatchingKernel]


def read_kernel(
    path: str | os.PathLike[str],
    image_shape: tuple[int, int] | None = None,
    header: fits.Header | None = None,
    format: str | None = None,
) -> MatchingKernel:
    """Read a matching kernel, whatever the format.

    Parameters
    ----------
    path
        A FITS file, or ``name.fits[EXT]`` to choose the HDU by its number, its name, or its name and version.
    image_shape
        Shape (ny, nx) of the difference, for formats that need it.
    header
        The difference's header, for what kernel files lack: HOTPANTS' command line (DIFFCMD), and which image SFFT
        convolved (CONVD).
    format
        One of hotpants, sfft, lsst, table, grid and image, to read the file as that instead of looking into it.

    Returns
    -------
    MatchingKernel

    Raises
    ------
    InputError
        If the file cannot be read, is of no known format, or holds a kernel that cannot be used.
    """
    formats = [known for known in _FORMATS if format in (None, known.name)]
    if not formats:
        raise InputError(f"there is no kernel format {format!r}; there are {', '.join(k.name for k in _FORMATS)}")
    name, extension = split_spec(path)
    with open_fits(name) as hdus:
        hdu = None if extension is None else select_hdu(name, hdus, extension)
        source = _Source(hdus, name, hdu, image_shape, header)
        where = name if hdu is None else source.label(hdu)
        for known in formats:
            with damaged(where):
                found = format is not None or known.sniff(source)
            if found:
                return known.read(source)
    understood = ", ".join(known.description for known in _FORMATS)
    raise InputError(f"{where}: holds no kernel of a known format; what is understood: {understood}")


def kernel_from_array(array: ArrayLike, name: str = "kernel") -> MatchingKernel:
    """The kernel that is one image everywhere.

    Parameters
    ----------
    array
        The kernel image (h, w), its centre at index (h // 2, w // 2).
    name
        What to call it in messages.

    Raises
    ------
    InputError
        If the array is no usable kernel.

    Examples
    --------
    >>> kernel_from_array([[0, 1, 0], [1, 4, 1], [0, 1, 0]]).kernel.sum_at(0, 0)
    8.0
    """
    pixels = np.asarray(array)
    if pixels.dtype.kind not in "biuf":
        raise InputError(f"{name}: a kernel must be an array of real numbers, not of {pixels.dtype}")
    if pixels.ndim != 2:
        raise InputError(f"{name}: a kernel must be a 2-D image, not {_dimensions(pixels)}")
    _check(pixels[None], name)
    return MatchingKernel(SpatialKernel.constant(pixels), format="image", name=name)


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


def _is_hotpants(source: _Source) -> bool:
    # A HOTPANTS difference without a kernel table must not pass for a kernel image, so it is recognised all the same.
    return is_hotpants(source.named) or (source.hdu is None and "KERINFO" in source.hdus[0].header)


def _read_hotpants(source: _Source) -> MatchingKernel:
    command = None if source.header is None else source.header.get("DIFFCMD")
    return read_hotpants(source.hdus, source.path, source.image_shape, command)


def _is_sfft(source: _Source) -> bool:
    return is_sfft(source.named)


def _read_sfft(source: _Source) -> MatchingKernel:
    return read_sfft(source.hdus, source.named, source.path, source.image_shape, source.header)


def _is_lsst(source: _Source) -> bool:
    return is_lsst_kernel(source.named)


def _read_lsst(source: _Source) -> MatchingKernel:
    return read_lsst_kernel(source.hdus, source.named, source.path)


def _is_table(source: _Source) -> bool:
    return is_kernel_table(source.named)


def _read_table(source: _Source) -> MatchingKernel:
    return read_kernel_table(source.hdus, source.named, source.path)


def _pixels(source: _Source) -> Any:
    """The first HDU with pixels."""
    return next((hdu for hdu in source.named if getattr(hdu, "is_image", False) and hdu.shape), None)


def _read_pixels(source: _Source, hdu: Any) -> Array:
    where = source.label(hdu)
    if 0 in hdu.shape:
        raise InputError(f"{where}: the kernel has no pixels")
    return read_array(source.hdus, hdu, where)


def _positions(source: _Source) -> Any:
    """The table of positions."""
    tables = (hdu for hdu in source.hdus if isinstance(hdu, fits.BinTableHDU | fits.TableHDU))
    return next((hdu for hdu in tables if {"X", "Y"} <= {name.upper() for name in hdu.columns.names}), None)


def _is_grid(source: _Source) -> bool:
    hdu = _pixels(source)
    if hdu is None or len(hdu.shape) < 3:
        return False
    return bool(hdu.shape[-3] > 1) or _positions(source) is not None


def _read_grid(source: _Source) -> MatchingKernel:
    hdu, table = _pixels(source), _positions(source)
    if hdu is None:
        raise InputError(f"{source.path}: holds no image")
    where = source.label(hdu)
    if table is None:
        raise InputError(f"{where}: a cube of kernels needs a table with their positions, columns X and Y")
    cube = _read_pixels(source, hdu)
    where_table = source.label(table)
    with damaged(where_table):
        columns = [np.asarray(table.data[name]) for name in "XY"]
    for name, column in zip("XY", columns, strict=True):
        if column.ndim != 1 or column.dtype.kind not in "iuf":
            raise InputError(f"{where_table}: column {name} is not a column of plain numbers")
    x, y = (column.astype(np.float64) for column in columns)
    if cube.ndim == 2:
        cube = cube[None]
    return MatchingKernel(_grid(cube, x, y, where), format="grid", name=where)


def _grid(cube: Array, x: Array, y: Array, where: str) -> SpatialKernel:
    """The kernel of images (n, h, w): bilinear between positions on a rectangular grid, else on thin-plate splines."""
    if cube.ndim != 3:
        raise InputError(f"{where}: kernels on a grid must be a cube of images, not {_dimensions(cube)}")
    if x.shape != (len(cube),) or y.shape != (len(cube),):
        raise InputError(f"{where}: a cube of {len(cube)} kernels, but {x.size} positions")
    _check(cube, where)
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


def _is_image(source: _Source) -> bool:
    return _pixels(source) is not None


def _read_image(source: _Source) -> MatchingKernel:
    hdu = _pixels(source)
    if hdu is None:
        raise InputError(f"{source.path}: holds no image")
    where = source.label(hdu)
    return kernel_from_array(_read_pixels(source, hdu), where)


def _check(cube: Array, where: str) -> None:
    """Refuse kernel images (n, h, w) that no difference can have been made with."""
    height, width = cube.shape[1:]
    if not cube.size:
        raise InputError(f"{where}: the kernel has no pixels")
    if max(height, width) > _LARGEST_KERNEL:
        raise InputError(f"{where}: {width} x {height} pixels look like an image, not a kernel")
    if not np.isfinite(cube).all():
        raise InputError(f"{where}: the kernel holds pixels that are not finite")
    if not cube.any(axis=(1, 2)).all():
        raise InputError(f"{where}: the kernel holds nothing but zeros")


def _dimensions(array: Array) -> str:
    return f"an array of {array.ndim} dimension{'s' * (array.ndim != 1)}"


# In this order: the image comes last, for it takes whatever has pixels.
_FORMATS = (
    _Format("hotpants", "a HOTPANTS kernel table (-hki or -oki)", _is_hotpants, _read_hotpants),
    _Format("sfft", "a solution of SFFT", _is_sfft, _read_sfft),
    _Format("lsst", "an archive of LSST's stack with a kernel", _is_lsst, _read_lsst),
    _Format("table", "a table of kernel pixels DX, DY with polynomials X0Y0, …", _is_table, _read_table),
    _Format("grid", "a cube of kernel images with a table of their positions X, Y", _is_grid, _read_grid),
    _Format("image", "a kernel image", _is_image, _read_image),
)
