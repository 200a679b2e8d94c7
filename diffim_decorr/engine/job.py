"""What has to be known to work on a tile."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from diffim_decorr.engine.tiles import Tiling
from diffim_decorr.geometry import Box
from diffim_decorr.images.absent import Fill
from diffim_decorr.images.background import NO_BACKGROUND, LocalBackground
from diffim_decorr.images.planes import Plane
from diffim_decorr.images.union import MaskUnion
from diffim_decorr.kernels.bank import KernelBank
from diffim_decorr.kernels.spatial import SpatialKernel
from diffim_decorr.noise.plane_level import PlaneLevel

__all__ = ("Input", "Job", "VariancePlane")

Array = NDArray[Any]


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
    spread
        How far its pixels reach into the difference: the share that each has in its neighbours (h, w), for an image
        that was convolved; None for one that was not.
    """

    plane: Plane
    fills: tuple[Fill, ...]
    mask: Plane | None = None
    bits: int = 0
    spread: Array | None = None

    @property
    def reach(self) -> int:
        """Of its pixels, along an axis."""
        return 0 if self.spread is None else max(self.spread.shape) // 2


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
    psi
        What the image is convolved with.
    footprint
        How much each pixel matters to its neighbours: |ψ|, with a sum of 1.
    variances, variance_kernels
        The variance planes, and the kernels that they are convolved with and summed; none if no variance is known.
    full
        Whether they are convolved, or weighted with the sums of the kernels.
    sigma
        Scatter of the image's background, which tells what is bright; 0 if it is not known.
    bad_fraction
        Share of the footprint on replaced pixels, or outside the image, above which a pixel is flagged.
    threads
        Number of threads.
    margin
        Least margin of the tiles. With the same one the same pixels come out, bit for bit.
    """

    image: Plane
    fills: tuple[Fill, ...]
    regions: tuple[Box, ...]
    masks: MaskUnion
    replaced: tuple[str, ...]
    psi: SpatialKernel
    footprint: SpatialKernel
    variances: tuple[VariancePlane, ...]
    variance_kernels: KernelBank
    full: bool
    sigma: float
    bad_fraction: float
    threads: int
    margin: int = 0
    inputs: tuple[Input, ...] = ()
    background: LocalBackground = NO_BACKGROUND

    @property
    def shape(self) -> tuple[int, int]:
        """(ny, nx)"""
        return self.image.shape

    @property
    def halo(self) -> int:
        """How many pixels around a tile it takes to work on it."""
        return max(max(self.psi.shape) // 2, self.variance_kernels.reach, self.margin)

    def tiling(self, shape: tuple[int, int] | None = None) -> Tiling:
        """Tiles of the image, or of windows of some shape."""
        return Tiling(shape or self.shape, self.halo)
