"""Matching kernels as the LSST stack persists them (``lsst.afw.math.Kernel.writeFits``).

An archive is a sequence of binary tables: an index, and tables with the rows of the objects that it lists. A kernel is
a row of its own; the basis kernels and spatial functions of a linear combination are objects that it names by their
numbers. The layout and the conventions below are those of the afw package, table version 3 and before.

Kernels of afw are applied by correlation; what is returned is turned round, for convolution.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import isqrt
from typing import Any

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

from diffim_decorr.difference.matching import MatchingKernel
from diffim_decorr.errors import InputError
from diffim_decorr.io.hdus import damaged, hdu_label
from diffim_decorr.io.headers import integer_card
from diffim_decorr.io.kernels.lsst_common import Frame, as_one_family, chebyshev_powers, for_convolution
from diffim_decorr.io.kernels.source import Format, NoKernelError
from diffim_decorr.kernels.coefficients import PolynomialCoefficients
from diffim_decorr.kernels.spatial import SpatialKernel

__all__ = ("FORMAT", "is_lsst_kernel", "read_lsst_kernel")

Array = NDArray[Any]

_LARGEST_KERNEL = 1001


def is_lsst_kernel(hdus: Sequence[Any]) -> bool:
    """Whether the index of an archive with a kernel is among the HDUs."""
    return any(item.kind.endswith("Kernel") for index in hdus if _is_index(index) for item in _items(index))


def read_lsst_kernel(hdus: fits.HDUList, among: Sequence[Any], name: str) -> MatchingKernel:
    """Read the kernel of an archive.

    Parameters
    ----------
    hdus
        The open file.
    among
        The HDUs of it that may be the archive's index.
    name
        The file's name, for messages.

    Returns
    -------
    MatchingKernel
        With positions in the parent frame. An archive does not say which image was convolved.

    Raises
    ------
    InputError
        If there is no kernel, more than one, or one of a kind that is not understood.
    """
    indices = [hdu for hdu in among if _is_index(hdu)]
    if not indices:
        raise InputError(f"{name}: holds no archive of LSST objects (a table with EXTTYPE ARCHIVE_INDEX)")
    index = next((hdu for hdu in indices if is_lsst_kernel([hdu])), indices[0])
    archive = _Archive.open(hdus, index, name)
    number = archive.matching_kernel()
    kernel = archive.kernel(number)
    if not kernel.basis.any():
        raise InputError(f"{archive.where}: the kernel holds nothing but zeros")
    return MatchingKernel(kernel, format="lsst", name=archive.where)


@dataclass(frozen=True)
class _Item:
    """Rows of a table that belong to one object."""

    number: int
    kind: str
    catalogue: int
    row: int


def _is_index(hdu: Any) -> bool:
    return isinstance(hdu, fits.BinTableHDU) and hdu.header.get("EXTTYPE") == "ARCHIVE_INDEX"


def _items(index: Any) -> Iterator[_Item]:
    for row in index.data:
        yield _Item(int(row["id"]), str(row["name"]).strip(), int(row["cat.archive"]), int(row["row0"]))


@dataclass(frozen=True, eq=False)
class _Archive:
    """An archive: its objects by their numbers, and its tables."""

    items: dict[int, _Item]
    catalogues: list[Any]
    where: str

    @classmethod
    def open(cls, hdus: fits.HDUList, index: Any, name: str) -> _Archive:
        where = hdu_label(name, hdus, index)
        first = next(k for k, hdu in enumerate(hdus) if hdu is index)
        count = integer_card(index.header, "AR_NCAT", 1, len(hdus), where)
        with damaged(where):
            return cls({item.number: item for item in _items(index)}, list(hdus[first : first + count]), where)

    def matching_kernel(self) -> int:
        """The number of the one kernel that is no part of another object."""
        kernels = [item for item in self.items.values() if item.kind.endswith("Kernel")]
        if not kernels:
            raise NoKernelError(f"{self.where}: the archive holds no kernel")
        parts = {part for item in kernels if item.kind == "LinearCombinationKernel" for part in self._parts(item)}
        # KernelPsf and PcaPsf have one.
        psfs = {
            int(self._vector(item, "kernel", 1)[0])
            for item in self.items.values()
            if item.kind.endswith("Psf") and "kernel" in self._columns(item)
        }
        own = [item for item in kernels if item.number not in parts | psfs]
        if not own:
            raise NoKernelError(f"{self.where}: the only kernel in the archive is that of a PSF, no matching kernel")
        if len(own) > 1:
            listed = ", ".join(f"{item.kind} {item.number}" for item in own)
            raise InputError(f"{self.where}: the archive holds several kernels ({listed}); one is needed")
        return own[0].number

    def kernel(self, number: int) -> SpatialKernel:
        """The kernel of that number, for convolution, its centre at (h // 2, w // 2)."""
        item = self._item(number)
        if item.kind != "LinearCombinationKernel":
            return SpatialKernel.constant(self._image(item))
        images = [self._image(self._item(part)) for part in self._parts(item)]
        if len({image.shape for image in images}) > 1:
            raise InputError(f"{self.where}: the parts of {item.kind} {item.number} have different sizes or centres")
        basis = np.array(images)
        if "spatialfunctions" not in self._columns(item):
            amplitudes = self._vector(item, "amplitudes", len(basis))
            return SpatialKernel.constant(np.tensordot(amplitudes, basis, axes=1))
        functions = self._vector(item, "spatialfunctions", len(basis)).astype(int)
        return SpatialKernel(basis, self._polynomials(functions))

    def _item(self, number: int) -> _Item:
        if number not in self.items:
            raise InputError(f"{self.where}: the archive lacks the object {number}, which a kernel in it needs")
        return self.items[number]

    def _columns(self, item: _Item) -> list[str]:
        """The columns of an object's row, none if it has no row."""
        known = 0 < item.catalogue < len(self.catalogues)
        return list(self.catalogues[item.catalogue].columns.names) if known else []

    def _row(self, item: _Item) -> Any:
        """The row of an object that has but one."""
        if not 0 < item.catalogue < len(self.catalogues):
            raise InputError(f"{self.where}: {item.kind} {item.number} lies in table {item.catalogue}, which is none")
        with damaged(self.where):
            rows = self.catalogues[item.catalogue].data
        if not 0 <= item.row < len(rows):
            raise InputError(f"{self.where}: {item.kind} {item.number} lies in row {item.row} of {len(rows)}")
        return rows[item.row]

    def _vector(self, item: _Item, column: str, count: int | None = None) -> Array:
        """The finite numbers in a column of an object's row."""
        row = self._row(item)
        if column not in self._columns(item):
            raise InputError(f"{self.where}: {item.kind} {item.number} has no column {column}")
        given = np.atleast_1d(np.asarray(row[column]))
        if given.dtype.kind not in "fiu":
            raise InputError(f"{self.where}: column {column} of {item.kind} {item.number} holds no plain numbers")
        values = given.astype(np.float64).ravel()
        if count is not None and len(values) != count:
            raise InputError(
                f"{self.where}: {item.kind} {item.number} has {len(values)} numbers in column {column} instead of "
                f"{count}"
            )
        if not np.isfinite(values).all():
            raise InputError(f"{self.where}: column {column} of {item.kind} {item.number} is not finite")
        return values

    def _point(self, item: _Item, name: str) -> Array:
        # One column of two numbers in tables of version 0, two columns since.
        if name in self._columns(item):
            return self._vector(item, name, 2)
        return np.array([self._vector(item, f"{name}_{axis}", 1)[0] for axis in "xy"])

    def _parts(self, item: _Item) -> list[int]:
        return [int(number) for number in self._vector(item, "components")]

    def _image(self, item: _Item) -> Array:
        """The image (h, w) of a kernel that does not vary, for convolution, its centre at (h // 2, w // 2)."""
        if item.kind not in ("FixedKernel", "DeltaFunctionKernel"):
            raise InputError(
                f"{self.where}: {item.kind} {item.number} is not understood; what is understood: FixedKernel, "
                "LinearCombinationKernel and, as parts of it, DeltaFunctionKernel"
            )
        width, height = (int(length) for length in self._point(item, "dimensions"))
        if not (0 < width <= _LARGEST_KERNEL and 0 < height <= _LARGEST_KERNEL):
            raise InputError(f"{self.where}: {item.kind} {item.number} has {width} x {height} pixels")
        centre = tuple(int(position) for position in self._point(item, "center"))
        if not (0 <= centre[0] < width and 0 <= centre[1] < height):
            raise InputError(f"{self.where}: the centre {centre} of {item.kind} {item.number} lies outside of it")
        if item.kind == "FixedKernel":
            image = self._vector(item, "image", width * height).reshape(height, width)
        else:
            x, y = (int(position) for position in self._point(item, "pixel"))
            if not (0 <= x < width and 0 <= y < height):
                raise InputError(f"{self.where}: the pixel ({x}, {y}) of {item.kind} {item.number} lies outside of it")
            image = np.zeros((height, width))
            image[y, x] = 1.0
        return for_convolution(image, centre)

    def _polynomials(self, numbers: Array) -> PolynomialCoefficients:
        """The spatial functions of those numbers, as powers about a common centre."""
        tensors, frames = zip(*(self._function(self._item(int(number))) for number in numbers), strict=True)
        return as_one_family(tensors, frames)

    def _function(self, item: _Item) -> tuple[Array, Frame]:
        """Coefficients (powers of x, powers of y) of a function, and origin and scale of x and y."""
        kind = item.kind.rstrip("FD")
        if kind not in ("PolynomialFunction2", "Chebyshev1Function2"):
            raise InputError(
                f"{self.where}: the spatial function {item.kind} {item.number} is not understood; what is "
                "understood: PolynomialFunction2, Chebyshev1Function2"
            )
        values = self._vector(item, "coefficients")
        degree = (isqrt(8 * len(values) + 1) - 3) // 2
        if (degree + 1) * (degree + 2) // 2 != len(values):
            raise InputError(f"{self.where}: {item.kind} {item.number} has {len(values)} coefficients, of no degree")
        tensor = np.zeros((degree + 1, degree + 1))
        # Degree by degree, with falling powers of x: 1, x, y, x², xy, y², …
        for value, (i, j) in zip(values, ((d - j, j) for d in range(degree + 1) for j in range(d + 1)), strict=True):
            tensor[i, j] = value
        if kind == "PolynomialFunction2":
            return tensor, (0.0, 0.0, 1.0, 1.0)
        low, high = self._point(item, "min"), self._point(item, "max")
        if not (high > low).all():
            raise InputError(f"{self.where}: {item.kind} {item.number} ranges from {low.tolist()} to {high.tolist()}")
        powers = chebyshev_powers(degree)
        (x0, y0), (sx, sy) = (low + high) / 2, (high - low) / 2
        return powers @ tensor @ powers.T, (float(x0), float(y0), float(sx), float(sy))


FORMAT = Format(
    "lsst",
    "an archive of LSST's stack with a kernel",
    lambda source: is_lsst_kernel(source.named),
    lambda source: read_lsst_kernel(source.hdus, source.named, source.path),
)
