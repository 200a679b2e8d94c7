"""What an output is of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from diffim_decorr.images.mesh import Mesh
from diffim_decorr.kernels.spatial import SpatialKernel
from diffim_decorr.record import Record

if TYPE_CHECKING:
    from astropy.io.fits import Header

__all__ = ("Product",)

Array = NDArray[Any]


@dataclass(frozen=True, eq=False)
class Product:
    """What is known of a result before its pixels are.

    Parameters
    ----------
    shape
        (ny, nx)
    header
        Of the difference, or of the image that was convolved.
    mask_planes
        Bit number of each mask plane.
    xy0
        Position of the first pixel in the parent frame.
    has_variance
        Whether its variance is known.
    record
        How it was made.
    done
        What was done to it, for HISTORY.
    psi
        The decorrelation kernel, if it is to be stored.
    margins, simplified
        Margin of the tiles in each rectangle of ψ, and the norm of what of ψ was left out in one: with these the same
        pixels come out again.
    psf_input
        PSF before ψ, if it is to be stored.
    later
        How many cards will be known only once its pixels are, of a product that no quality is measured of.
    wide
        Whether variances take double precision, being smaller or larger than single precision holds.
    background
        What was taken off the image before, if anything was.
    calibration
        What its variance was multiplied with, if that varies over the field.
    """

    shape: tuple[int, int]
    header: Header | None
    mask_planes: Mapping[str, int]
    xy0: tuple[int, int]
    has_variance: bool
    record: Record
    done: str
    psi: SpatialKernel | None = None
    margins: tuple[int, ...] = ()
    simplified: tuple[float, ...] = ()
    wide: bool = False
    psf_input: Array | SpatialKernel | None = None
    later: int = 0
    background: Mesh | None = None
    calibration: Mesh | None = None
