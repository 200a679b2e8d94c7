"""The decorrelation kernel that a run stored."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diffim_decorr.errors import InputError
from diffim_decorr.geometry import Box
from diffim_decorr.kernels.spatial import SpatialKernel
from diffim_decorr.options import Options

__all__ = ("DecorrelationKernel",)

Array = NDArray[Any]


@dataclass(frozen=True, eq=False, repr=False)
class DecorrelationKernel:
    """ψ as a run stored it, with what it takes to do the same to another image.

    Parameters
    ----------
    kernel
        ψ.
    shape
        Of the image that it was made for, (ny, nx).
    variance
        Background variance of that image, which says what pixels are bright; 0 if it is not known.
    margins, simplified
        Margin of the tiles in the run, and the norm of what of ψ was left out in a tile, in each of the kernel's boxes;
        none if it is not known.
    replace_planes
        Mask planes that were replaced.
    bad_fraction
        Share of Σ|ψ| on replaced pixels, or outside the image, above which a pixel was flagged.
    xy0
        Position of the first pixel in the parent frame of an LSST exposure.
    name
        Where it was read from, for messages.
    """

    kernel: SpatialKernel
    shape: tuple[int, int]
    variance: float = 0.0
    margins: tuple[int, ...] = ()
    simplified: tuple[float, ...] = ()
    replace_planes: tuple[str, ...] = Options.replace_planes
    bad_fraction: float = Options.bad_fraction
    xy0: tuple[int, int] = (0, 0)
    name: str = "psi"

    def __repr__(self) -> str:
        ny, nx = self.shape
        return f"<DecorrelationKernel {self.name}: field of {nx} x {ny} pixels, {self.kernel!r}>"

    @property
    def field(self) -> Box:
        """The pixels that it is for."""
        return Box(0, 0, self.shape[1], self.shape[0])

    @property
    def half_width(self) -> int:
        return self.kernel.shape[0] // 2

    @property
    def is_constant(self) -> bool:
        return self.kernel.is_constant

    def at(self, x: float, y: float) -> Array:
        """ψ at a position of the field, an image (h, h).

        Raises
        ------
        InputError
            If the position lies outside the field, or where the run had no matching kernel.
        """
        ny, nx = self.shape
        if not (np.isfinite([x, y]).all() and self.field.contains(x, y)):
            raise InputError(f"{self.name}: position {x:g} {y:g} lies outside the field of {nx} x {ny} pixels")
        psi = self.kernel.at(x, y)
        if not psi.any():
            raise InputError(f"{self.name}: there was no matching kernel at position {x:g} {y:g}")
        return psi
