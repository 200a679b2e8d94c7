"""What is known of a kernel file before it is read, and what a format of such files is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from astropy.io import fits
from numpy.typing import NDArray

from diffim_decorr.difference.matching import MatchingKernel
from diffim_decorr.errors import InputError
from diffim_decorr.io.hdus import hdu_label, read_array, shape_of
from diffim_decorr.options import KernelFormat

__all__ = ("Format", "NoKernelError", "Source")

Array = NDArray[Any]


@dataclass(frozen=True, eq=False)
class Source:
    """An open file, the HDU of it that the user named, if any, and what the user knows besides.

    Parameters
    ----------
    hdus, path, hdu
        The file, and the HDU that was named.
    image_shape, header
        Of the difference.
    asked
        Whether the format was asked for, instead of being found out.
    """

    hdus: fits.HDUList
    path: str
    hdu: Any
    image_shape: tuple[int, int] | None
    header: fits.Header | None
    asked: bool = False

    @property
    def named(self) -> list[Any]:
        """The HDUs to look into."""
        return list(self.hdus) if self.hdu is None else [self.hdu]

    def label(self, hdu: Any) -> str:
        """``name.fits[EXT]`` for messages."""
        return hdu_label(self.path, self.hdus, hdu)

    def with_pixels(self) -> Any:
        """The first HDU with pixels, None if there is none."""
        return next((hdu for hdu in self.named if shape_of(hdu)), None)

    def pixels(self) -> tuple[Array, str]:
        """The pixels of that HDU, without leading axes of length 1, and what to call it."""
        hdu = self.with_pixels()
        if hdu is None:
            raise InputError(f"{self.path}: holds no image")
        where = self.label(hdu)
        if 0 in hdu.shape:
            raise InputError(f"{where}: the kernel has no pixels")
        return read_array(self.hdus, hdu, where), where


class NoKernelError(InputError):
    """A file of a format that may hold a matching kernel holds none, as exposures do not."""


@dataclass(frozen=True)
class Format:
    """A kind of kernel file: what it is called, what it is, how it is recognised, how it is read."""

    name: KernelFormat
    description: str
    sniff: Callable[[Source], bool]
    read: Callable[[Source], MatchingKernel]
