"""What has to be known to work on a tile."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from numpy.typing import NDArray

from diffim_decorr.engine.tiles import FieldTiling
from diffim_decorr.geometry import Box
from diffim_decorr.images.absent import HUGE, Fill
from diffim_decorr.images.background import NO_BACKGROUND, LocalBackground
from diffim_decorr.images.mesh import Mesh
from diffim_decorr.images.planes import Plane
from diffim_decorr.images.union import MaskUnion
from diffim_decorr.kernels.bank import KernelBank
from diffim_decorr.kernels.spatial import SpatialKernel
from diffim_decorr.noise.plane_level import PlaneLevel

__all__ = ("Input", "Job", "Part", "Sign", "VariancePlane", "oversized_remark")

Array = NDArray[Any]

_DYNAMIC_RANGE = 1e12  # in units of the noise, more than of any detector; double precision has four digits more


class Sign:
    """That something was seen, whichever thread has seen it; unlike an event of threads it goes to other processes."""

    def __init__(self) -> None:
        self._seen = False

    def set(self) -> None:
        self._seen = True

    def is_set(self) -> bool:
        return self._seen


@dataclass(frozen=True, eq=False)
class VariancePlane:
    """A variance plane, its value in the background, and which of its values can be believed."""

    plane: Plane
    background: PlaneLevel


@dataclass(frozen=True, eq=False)
class Input:
    """An image that the difference was made of.

    Parameters
    ----------
    plane, fills
        The image, and values that stand for no data in it.
    mask, bits
        Its own mask and those bits of it whose pixels are replaced; None if there is no such mask.
    oversized
        Set once pixels were found that are larger than any can be, and count as missing.
    """

    plane: Plane
    fills: tuple[Fill, ...]
    mask: Plane | None = None
    bits: int = 0
    oversized: Sign = field(default_factory=Sign)


@dataclass(frozen=True, eq=False)
class Part:
    """What the image is convolved with in a rectangle within which all of that is smooth.

    Parameters
    ----------
    box
        The rectangle.
    psi
        What the image is convolved with.
    footprint
        How much each pixel matters to its neighbours: |ψ|, with a sum of 1.
    variance_kernels
        What the variance planes are convolved with, and summed.
    spreads
        How far the pixels of each input reach into the image: the share that each has in its neighbours (h, w), for an
        input that was convolved; None for one that was not.
    margin
        Least margin of the tiles.
    error
        By how much ψ may be simplified within a tile that shows noise only: the norm of what is left out.

    With the same margin and error the same pixels come out, bit for bit.
    """

    box: Box
    psi: SpatialKernel
    footprint: SpatialKernel
    variance_kernels: KernelBank
    spreads: tuple[Array | None, ...] = ()
    margin: int = 0
    error: float = 0.0

    @property
    def halo(self) -> int:
        """How many pixels around a tile it takes to work on it."""
        return max(max(self.psi.shape) // 2, self.variance_kernels.reach, self.margin)


@dataclass(frozen=True, eq=False)
class Job:
    """An image to be convolved with ψ, and what goes with it.

    Parameters
    ----------
    image
        The image, (ny, nx).
    fills
        Values that stand for no data, besides what is not finite.
    inputs
        The images that it was made of: where they hold no data, it holds none.
    background
        What stands in for pixels that are replaced.
    regions
        Rectangles outside of which there was no matching kernel, and so is no image; none if it was everywhere.
    masks
        Its mask.
    replaced
        Mask planes whose pixels are replaced.
    parts
        What it is convolved with, from one rectangle to the next. Where they overlap, the last one counts.
    variances
        The variance planes; none if no variance is known.
    full
        Whether they are convolved, or weighted with the sums of the kernels.
    sigma
        Scatter of the image's background, which tells what is bright; 0 if it is not known.
    bad_fraction
        Share of the footprint on replaced pixels, or outside the image, above which a pixel is flagged.
    threads
        Number of threads.
    memory
        Bytes for all that is worked on.
    calibration
        What the variance is multiplied with in the end, as a function of position.
    oversized
        As of its inputs.
    """

    image: Plane
    fills: tuple[Fill, ...]
    regions: tuple[Box, ...]
    masks: MaskUnion
    replaced: tuple[str, ...]
    parts: tuple[Part, ...]
    variances: tuple[VariancePlane, ...]
    full: bool
    sigma: float
    bad_fraction: float
    threads: int
    memory: int
    inputs: tuple[Input, ...] = ()
    background: LocalBackground = NO_BACKGROUND
    calibration: Mesh | None = None
    oversized: Sign = field(default_factory=Sign)

    @property
    def largest(self) -> float:
        """Up to which pixels are data: the errors of what is larger would reach over whole tiles."""
        return min(HUGE, _DYNAMIC_RANGE * self.sigma) if self.sigma > 0 else HUGE

    @property
    def shape(self) -> tuple[int, int]:
        """(ny, nx)"""
        return self.image.shape

    @property
    def tiling(self) -> FieldTiling:
        """How the image is cut into tiles."""
        return FieldTiling(self.shape, [part.box for part in self.parts], [part.halo for part in self.parts])

    @property
    def signs(self) -> tuple[Sign, ...]:
        """Those of pixels that are larger than any can be, in the image and in each of its inputs."""
        return self.oversized, *(source.oversized for source in self.inputs)


def oversized_remark(name: str) -> str:
    """What a user should know of an image with pixels that are larger than any can be."""
    return (
        f"{name}: has pixels beyond {HUGE:g}, or {_DYNAMIC_RANGE:g} times the noise, which no image of the sky has; "
        "they are taken for missing data (NO_DATA): set them to NaN, or mask them"
    )
