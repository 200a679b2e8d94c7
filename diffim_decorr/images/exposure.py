"""An image with what belongs to it: variance, mask, header, PSF."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from copy import copy
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from diffim_decorr.errors import InputError
from diffim_decorr.images.absent import Fill, absent, area_fill
from diffim_decorr.images.masks import any_of
from diffim_decorr.images.planes import ArrayPlane, ConstantPlane, DerivedPlane, Plane
from diffim_decorr.images.warps import Warp
from diffim_decorr.kernels.spatial import SpatialKernel
from diffim_decorr.options import UNUSABLE_PLANES

if TYPE_CHECKING:
    from astropy.io.fits import Header
    from astropy.nddata import CCDData
    from astropy.units import UnitBase

__all__ = ("Exposure",)

Array = NDArray[Any]

# How many areas of zeros chance may make in an image, and how small an area is one.
_BY_CHANCE, _SMALLEST = 1e-3, 3
# What a card can be called whose value is the number of a bit (FITS standard 4.1.2.3, and ESO's HIERARCH).
_PLANE_NAME = re.compile(r"[!-<>-~]([ -<>-~]{0,48}[!-<>-~])?")


class Exposure:
    """An image, and its variance plane, mask plane, header and PSF where they are known.

    Parameters
    ----------
    image
        Pixels (ny, nx): an array, or a `Plane` that is read when it is needed.
    variance
        Variance of each pixel in the image's unit squared: an array or plane of the same shape, or one number.
    mask
        Bit mask, an integer array or plane of the same shape.
    mask_planes
        Bit number of each named mask plane. Without it every pixel of the mask but 0 is BAD.
    header
        FITS header of the image.
    psf
        PSF image, or a `SpatialKernel` if it varies over the field.
    xy0
        Position of the first pixel in the parent frame of an LSST exposure.
    missing_value
        Pixels of this value hold no data, besides those that are not finite, and areas of exact zeros.
    fills
        What stands for no data, instead, where it takes more to say it.
    name
        Where the exposure comes from, for messages.
    remarks
        What a user of it should know.
    psf_fault
        Why there is no PSF, if one was there that cannot be used.
    warps
        How the image was resampled, see `read_warp`; of one that was combined, how each of those that it was made of.

    Raises
    ------
    InputError
        If the planes do not fit together.
    """

    def __init__(
        self,
        image: ArrayLike | Plane,
        variance: ArrayLike | Plane | None = None,
        mask: ArrayLike | Plane | None = None,
        *,
        mask_planes: Mapping[str, int] | None = None,
        header: Header | None = None,
        psf: ArrayLike | SpatialKernel | None = None,
        xy0: tuple[int, int] = (0, 0),
        missing_value: float | None = None,
        fills: Sequence[Fill] | None = None,
        name: str = "array",
        remarks: Sequence[str] = (),
        psf_fault: str | None = None,
        warps: Sequence[Warp] = (),
    ) -> None:
        self.name = name
        self.remarks = tuple(remarks)
        self.psf_fault = psf_fault
        self.warps = tuple(warps)
        self.image_plane = _as_plane(image, None, f"{name}: the image")
        shape = self.image_plane.shape
        self.variance_plane = None if variance is None else _as_plane(variance, shape, f"{name}: the variance plane")
        self.mask_plane = None if mask is None else _as_plane(mask, shape, f"{name}: the mask plane", kinds="iub")
        self.mask_planes: dict[str, int] = dict(mask_planes or {})
        if self.mask_plane is not None and not self.mask_planes:
            self.mask_plane, self.mask_planes = DerivedPlane(self.mask_plane, _nonzero), {"BAD": 0}
        self.header = header
        self.psf = psf if psf is None or isinstance(psf, SpatialKernel) else np.asarray(psf, dtype=float)
        self.xy0 = xy0
        self.missing_value = missing_value
        self._given_fills = fills
        for plane, bit in self.mask_planes.items():
            if not _PLANE_NAME.fullmatch(plane):
                raise InputError(f"{name}: {plane!r} is no name of a mask plane that fits into a card of a FITS header")
            if not 0 <= bit < 32:
                raise InputError(f"{name}: mask plane {plane} is said to be bit {bit}, which a 32-bit mask has not")

    @classmethod
    def from_ccddata(cls, data: CCDData, name: str = "CCDData") -> Exposure:
        """The exposure in a `astropy.nddata.CCDData`.

        Parameters
        ----------
        data
            Its uncertainty may be a variance, a standard deviation or an inverse variance. Flags are the bits of planes
            that ``MP_`` cards in its header name; without such cards the mask marks BAD pixels, and flags are ignored.
            The WCS is that of the object; the cards of the header stay as they are where they say the same.
        name
            What to call it in messages.

        Raises
        ------
        InputError
            If it is not 2-D, or its uncertainty is of another kind.
        """
        # Most runs have no use for what astropy needs for it.
        from diffim_decorr.images.ccddata import from_ccddata

        arguments = from_ccddata(data, name)
        return cls(arguments.pop("image"), **arguments)

    def to_ccddata(self, unit: str | UnitBase | None = None, masked: Sequence[str] | None = None) -> CCDData:
        """The same as a `astropy.nddata.CCDData`, in memory.

        Parameters
        ----------
        unit
            That of the image; by default the header's BUNIT, or none if there is none that astropy understands.
        masked
            Planes whose pixels are masked, besides those that hold no data; by default NO_DATA, SAT, CR, BAD, EDGE
            and DECORR_BAD. All bits are in the flags, and the names of the planes in ``MP_`` cards of the header.

        Returns
        -------
        CCDData
            With a `VarianceUncertainty`, and the PSF if it is the same everywhere.
        """
        from diffim_decorr.images.ccddata import MASKED_PLANES, to_ccddata

        return to_ccddata(
            self.image,
            self.absent(self.image.astype(np.float32)),
            self.variance,
            self.mask,
            self.mask_planes,
            self.header,
            self.psf if isinstance(self.psf, np.ndarray) else None,
            unit,
            MASKED_PLANES if masked is None else masked,
        )

    def __repr__(self) -> str:
        ny, nx = self.shape
        return f"<Exposure {self.name}: {nx} x {ny} pixels, mask planes {sorted(self.mask_planes)}>"

    @cached_property
    def fills(self) -> tuple[Fill, ...]:
        """Values that stand for no data."""
        given = self._given_fills
        if given is None:
            given = [] if self.missing_value is None else [Fill(self.missing_value)]
        # Real pixels are not exactly 0 all over an area.
        zeros = area_fill(self.image_plane, 0.0, by_chance=_BY_CHANCE, smallest=_SMALLEST)
        return tuple(given) if zeros is None else (*given, zeros)

    def absent(self, pixels: Array) -> Array | None:
        """Where pixels (h, w) that were read of the image, in single precision, hold no data; None if nowhere."""
        return absent(pixels, self.fills)

    def usable(self, planes: Sequence[str] | None = None) -> Array:
        """Which pixels (ny, nx) tell something of the sky.

        Parameters
        ----------
        planes
            Mask planes whose pixels do not; by default NO_DATA, SAT, CR, BAD, EDGE, DECORR_BAD and DECORR_FILLED. What
            says that there is something, as DETECTED, is not among them.

        Returns
        -------
        usable
            True where the image has a value, the variance, if it is known, is finite and positive, and none of these
            planes is set.

        Examples
        --------
        >>> import numpy as np
        >>> from diffim_decorr import Exposure
        >>> mask = np.array([[1, 2], [0, 0]])
        >>> Exposure([[1.0, 2.0], [np.nan, 4.0]], 1.0, mask, mask_planes={"SAT": 0, "DETECTED": 1}).usable().tolist()
        [[False, True], [False, True]]
        """
        image = self.image
        usable: Array = np.isfinite(image)
        missing = self.absent(image.astype(np.float32))
        if missing is not None:
            usable &= ~missing
        if self.variance is not None:
            usable &= np.isfinite(self.variance) & (self.variance > 0)
        if self.mask is not None:
            usable &= ~any_of(self.mask, self.mask_planes, UNUSABLE_PLANES if planes is None else planes)
        return usable

    def scaled(self, factor: float) -> Exposure:
        """The same in a unit that is so many times smaller."""
        other = copy(self)
        other.image_plane = DerivedPlane(self.image_plane, partial(_times, factor))
        if self.variance_plane is not None:
            other.variance_plane = DerivedPlane(self.variance_plane, partial(_times, factor**2))
        if self.missing_value is not None:
            other.missing_value = self.missing_value * factor
        other.fills = tuple(fill.scaled(factor) for fill in self.fills)
        return other

    def with_image(self, image: Plane) -> Exposure:
        """The same with other pixels, NaN where they hold no data."""
        other = copy(self)
        other.image_plane = image
        other.missing_value = None
        other.fills = ()
        return other

    def with_variance(self, variance: Plane) -> Exposure:
        """The same with another variance plane."""
        other = copy(self)
        other.variance_plane = variance
        return other

    def with_warps(self, warps: Sequence[Warp]) -> Exposure:
        """The same with how it was resampled."""
        other = copy(self)
        other.warps = tuple(warps)
        return other

    @property
    def shape(self) -> tuple[int, int]:
        """(ny, nx)"""
        return self.image_plane.shape

    @property
    def image(self) -> Array:
        """Pixels (ny, nx)."""
        return _materialised(self.image_plane)

    @property
    def variance(self) -> Array | None:
        """Variances (ny, nx), or None if they are not known."""
        return None if self.variance_plane is None else _materialised(self.variance_plane)

    @property
    def mask(self) -> Array | None:
        """Bit mask (ny, nx), or None."""
        return None if self.mask_plane is None else _materialised(self.mask_plane)


def _materialised(plane: Plane) -> Array:
    return plane.array if isinstance(plane, ArrayPlane) else plane.read_all()


def _times(factor: float, pixels: Array) -> Array:
    # The factor itself may be beyond single precision.
    product: Array = np.multiply(pixels, factor, dtype=np.float64)
    return product


def _nonzero(mask: Array) -> Array:
    bad: Array = (mask != 0).astype(np.int32)
    return bad


def _as_plane(data: ArrayLike | Plane, shape: tuple[int, int] | None, what: str, kinds: str = "fiub") -> Plane:
    if isinstance(data, Plane):
        plane = data
    else:
        if isinstance(data, np.ma.MaskedArray):
            data = np.ma.filled(data.astype(float), np.nan)
        array = np.asarray(data)
        if array.ndim == 0 and shape is not None:
            return ConstantPlane(float(array), shape)
        if array.ndim != 2 or array.size == 0:
            raise InputError(f"{what} must be a 2-D array with pixels, not of shape {array.shape}")
        if array.dtype.kind not in kinds:
            wanted = "real numbers" if "f" in kinds else "whole numbers"
            raise InputError(f"{what} has pixels of type {array.dtype}, not {wanted}")
        plane = ArrayPlane(array)
    if shape is not None and plane.shape != shape:
        raise InputError(f"{what} has {_size(plane.shape)} pixels, the image {_size(shape)}")
    return plane


def _size(shape: tuple[int, int]) -> str:
    return f"{shape[1]} x {shape[0]}"
