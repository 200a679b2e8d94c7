"""Kernels that vary over the field: basis images times coefficient functions.

Matching kernels of every format, decorrelation kernels and PSF models are all of the form
``K(x, y) = sum_n c_n(x, y) B_n``. They differ only in how the coefficient functions are written down.

Positions are 0-based pixel centres, x to the right and y up; arrays are indexed [y, x]. Kernels are meant for true
convolution, and their centre is at index (h // 2, w // 2).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from diffim_decorr.errors import InputError
from diffim_decorr.geometry import Box
from diffim_decorr.kernels.coefficients import Coefficients, PolynomialCoefficients

__all__ = ("SpatialKernel",)

Array = NDArray[Any]


@final
@dataclass(frozen=True, eq=False, repr=False)
class SpatialKernel:
    """A kernel that may vary over the field.

    Parameters
    ----------
    basis
        Basis images (n, h, w).
    coefficients
        Their n coefficient functions.
    field
        The pixels that the kernel is for, outside of which it is not to be asked for; None if that is not known.
    """

    basis: Array
    coefficients: Coefficients
    field: Box | None = None

    def __post_init__(self) -> None:
        if self.basis.ndim != 3 or len(self.basis) != self.coefficients.count:
            raise ValueError(
                f"a basis of shape {self.basis.shape} does not fit {self.coefficients.count} coefficient functions"
            )

    def __repr__(self) -> str:
        height, width = self.shape
        how = "constant" if self.is_constant else f"{len(self.basis)} basis images, {self.described}"
        return f"<SpatialKernel: {width} x {height} pixels, {how}>"

    @classmethod
    def constant(cls, image: ArrayLike) -> SpatialKernel:
        """The kernel that is one image (h, w) everywhere."""
        return cls(np.array(image, dtype=float)[None], PolynomialCoefficients.constant([1.0]))

    @classmethod
    def identity(cls) -> SpatialKernel:
        """The kernel that changes nothing."""
        return cls.constant([[1.0]])

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width of the kernel image."""
        return self.basis.shape[1], self.basis.shape[2]

    @property
    def is_constant(self) -> bool:
        return self.coefficients.is_constant

    @property
    def boxes(self) -> tuple[Box, ...]:
        """The rectangles within which the kernel is smooth; none if it is smooth everywhere."""
        return self.coefficients.boxes

    @property
    def described(self) -> str:
        """In what way the kernel varies over the field, in a few words."""
        return "constant" if self.is_constant else self.coefficients.described

    def at(self, x: float, y: float) -> Array:
        """The kernel image (h, w) at one position.

        Raises
        ------
        InputError
            If the position lies outside the field.
        """
        result: Array = self.sample(np.array([x]), np.array([y]))[0]
        return result

    def sample(self, x: Array, y: Array) -> Array:
        """Kernel images (k, h, w) at k positions.

        Raises
        ------
        InputError
            If a position lies outside the field.
        """
        self.check_inside(x, y)
        return np.tensordot(self.coefficients.at(x, y), self.basis, axes=(0, 0))

    def check_inside(self, x: Array, y: Array, name: str = "kernel") -> None:
        """Refuse positions outside the field, and such as are no numbers."""
        inside = np.isfinite(x) & np.isfinite(y)
        if self.field is not None:
            inside &= self.field.contains(x, y)
        if not np.all(inside):
            first = int(np.argmin(inside))
            where = "is none" if self.field is None else f"lies outside the field, {self.field}"
            raise InputError(f"{name}: position {np.ravel(x)[first]:g} {np.ravel(y)[first]:g} {where}")

    def sum_at(self, x: float, y: float) -> float:
        """The kernel sum, which is the photometric scale, at one position."""
        return float(self.at(x, y).sum())

    def frozen(self, x: float, y: float) -> SpatialKernel:
        """The constant kernel that this one is at a position."""
        return SpatialKernel.constant(self.at(x, y))

    def piece(self, number: int) -> SpatialKernel:
        """The kernel of one of the boxes, as smooth beyond it as within."""
        return replace(self, coefficients=self.coefficients.piece(number))

    def scaled(self, factor: float) -> SpatialKernel:
        """The kernel times a number."""
        return replace(self, basis=self.basis * factor)

    def shifted(self, dx: int, dy: int) -> SpatialKernel:
        """The same kernel in pixel coordinates moved by (dx, dy)."""
        if not (dx or dy):
            return self
        field = None if self.field is None else self.field.shifted(dx, dy)
        return replace(self, coefficients=self.coefficients.shifted(dx, dy), field=field)

    def cutout(self, box: Box) -> SpatialKernel:
        """The kernel for a part of the field, positions counted from the first pixel of that.

        Raises
        ------
        InputError
            If the box has no pixel or reaches beyond the field, or there is no kernel in it.
        """
        if min(box.shape) < 1 or (self.field is not None and box.within(self.field) != box):
            where = "" if self.field is None else f" within the field, {self.field}"
            raise InputError(f"a cut-out with {box} has no pixels{where}")
        return replace(self, coefficients=self.coefficients.cutout(box), field=box.shifted(-box.x0, -box.y0))
