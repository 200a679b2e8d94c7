"""What a kernel file says: the matching kernel, which image it convolved, and how the difference was scaled."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from diffim_decorr.errors import InputError
from diffim_decorr.geometry import Box
from diffim_decorr.kernels.coefficients import AffineCoefficients, Coefficients
from diffim_decorr.kernels.piecewise import PiecewiseCoefficients
from diffim_decorr.kernels.spatial import SpatialKernel
from diffim_decorr.options import Side

__all__ = ("MatchingKernel", "check_kernel_images")

Array = NDArray[Any]

_LARGEST = 1001


@dataclass(frozen=True, eq=False, repr=False)
class MatchingKernel:
    """A PSF-matching kernel and its part in the difference.

    Parameters
    ----------
    kernel
        The kernel as it was applied, by true convolution.
    format
        Name of the file format it came from.
    convolved
        Which image was convolved in each of ``kernel.boxes`` (one entry if there are none); None where the file does
        not say, which is taken for the template. One entry stands for all boxes.
    normalized
        Whether the difference was divided by the kernel sum, likewise. None stands for LSST's convention: divided
        if and only if the science image was convolved (Reiss & Lupton, DMTN-021; Kovacs, DMTN-179).
    parent_frame
        Whether positions are in the parent frame of an LSST exposure (its XY0) rather than counted from the first
        pixel of the array.
    name
        Where it was read from, for messages.
    remarks
        What a user of it should know.
    """

    kernel: SpatialKernel
    format: str = "image"
    convolved: tuple[Side | None, ...] = (None,)
    normalized: tuple[bool | None, ...] = (None,)
    parent_frame: bool = True
    name: str = "kernel"
    remarks: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        regions = max(1, len(self.kernel.boxes))
        for name in ("convolved", "normalized"):
            given = getattr(self, name)
            if len(given) == 1:
                object.__setattr__(self, name, given * regions)
            elif len(given) != regions:
                raise InputError(f"{self.name}: {len(given)} entries of {name} for a kernel of {regions} regions")

    @classmethod
    def from_array(cls, array: ArrayLike, name: str = "kernel") -> MatchingKernel:
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
        >>> MatchingKernel.from_array([[0, 1, 0], [1, 4, 1], [0, 1, 0]]).kernel.sum_at(0, 0)
        8.0
        """
        pixels = np.asarray(array)
        if pixels.dtype.kind not in "biuf":
            raise InputError(f"{name}: a kernel must be an array of real numbers, not of {pixels.dtype}")
        if pixels.ndim != 2:
            axes = f"{pixels.ndim} dimension{'s' * (pixels.ndim != 1)}"
            raise InputError(f"{name}: a kernel must be a 2-D image, not an array of {axes}")
        check_kernel_images(pixels[None], name)
        return cls(SpatialKernel.constant(pixels), name=name)

    def __repr__(self) -> str:
        sides = sorted({side or "not said" for side in self.convolved})
        return f"<MatchingKernel {self.name}: {self.format}, convolved {' and '.join(sides)}, {self.kernel!r}>"

    @property
    def field(self) -> Box | None:
        """The pixels of the image that it is for, if the file says."""
        return self.kernel.field

    def at(self, x: float, y: float) -> Array:
        """The kernel image (h, w) at a position.

        Raises
        ------
        InputError
            If it lies outside the field, or where there is no kernel.
        """
        self.kernel.check_inside(np.array([x]), np.array([y]), self.name)
        image = self.kernel.at(x, y)
        if not image.any():
            raise InputError(f"{self.name}: has no kernel at position {x:g} {y:g}")
        return image

    def cutout(self, box: Box) -> MatchingKernel:
        """The kernel of a cut-out of the image, positions counted from its first pixel.

        Parameters
        ----------
        box
            The pixels that are cut out, in the frame of the kernel's positions.

        Raises
        ------
        InputError
            If the box has no pixel or reaches beyond the field, or there is no kernel in it.
        """
        kept = [k for k, own in enumerate(self.kernel.boxes) if min(own.within(box).shape) > 0] or [0]
        return replace(
            self,
            kernel=self.kernel.cutout(box),
            convolved=tuple(self.convolved[k] for k in kept),
            normalized=tuple(self.normalized[k] for k in kept),
            parent_frame=False,
        )

    def placed(self, xy0: tuple[int, int]) -> MatchingKernel:
        """The same kernel in the pixels of an array whose first one is at a position of the parent frame."""
        if not self.parent_frame:
            return self
        return replace(self, kernel=self.kernel.shifted(-xy0[0], -xy0[1]), parent_frame=False)

    def sides(
        self, convolved: Side | None = None, science_kernel: SpatialKernel | None = None
    ) -> tuple[SpatialKernel, SpatialKernel]:
        """Kernels of the science and of the template image in ``D = sum_i K_i * I_i`` (signs left out).

        Parameters
        ----------
        convolved
            Which image was convolved, if the file is to be overruled.
        science_kernel
            What the science image was convolved with besides, by pre-convolution or cross-convolution.

        Returns
        -------
        science, template
            One is the matching kernel, the other the identity (or `science_kernel`), both divided by the kernel sum
            where the difference was. With several regions each may change roles from region to region.

        Raises
        ------
        InputError
            If the science image would be convolved twice, or the sum that the difference was divided by is not
            positive.
        """
        sides: list[Side] = [convolved or side or "template" for side in self.convolved]
        if science_kernel is not None and "science" in sides:
            where = f" in region {sides.index('science') + 1} of {len(sides)}" if len(sides) > 1 else ""
            raise InputError(
                f"{self.name}: the matching kernel convolved the science image{where}, so that another kernel of the "
                "science image has no place; --convolved template says otherwise"
            )
        boxes = self.kernel.boxes
        if not boxes:
            scale = self._scale(0, sides[0], None)
            matched, other = (k.scaled(1 / scale) for k in (self.kernel, science_kernel or SpatialKernel.identity()))
            return (matched, other) if sides[0] == "science" else (other, matched)
        scales = [self._scale(k, side, box) for k, (side, box) in enumerate(zip(sides, boxes, strict=True))]
        if science_kernel is not None:
            science = _in_regions(science_kernel, boxes, scales)
        else:
            science = self._piecewise("science", sides, scales)
        return science, self._piecewise("template", sides, scales)

    def _scale(self, region: int, side: Side, box: Box | None) -> float:
        normalized = self.normalized[region]
        if not (side == "science" if normalized is None else normalized):
            return 1.0
        x, y = (0.0, 0.0) if box is None else ((box.x0 + box.x1 - 1) / 2, (box.y0 + box.y1 - 1) / 2)
        amounts = self.kernel.coefficients.piece(region).at(np.array([x]), np.array([y]))[:, 0]
        total = float(amounts @ self.kernel.basis.sum(axis=(1, 2)))
        if not total > 0:
            raise InputError(f"{self.name}: the kernel sum is {total:.4g}, but the difference was divided by it")
        return total

    def _piecewise(self, image: Side, sides: list[Side], scales: list[float]) -> SpatialKernel:
        """The kernel of one image, the matching kernel in some regions and the identity in the others."""
        height, width = self.kernel.shape
        delta = np.zeros((1, height, width))
        delta[0, height // 2, width // 2] = 1.0
        count = len(self.kernel.basis)
        embed = np.vstack([np.zeros((1, count)), np.eye(count)])
        first = np.eye(count + 1)[0]
        pieces: list[tuple[Box, Coefficients]] = []
        for region, (box, side, scale) in enumerate(zip(self.kernel.boxes, sides, scales, strict=True)):
            own = self.kernel.coefficients.piece(region)
            if side == image:
                pieces.append((box, AffineCoefficients(own, embed / scale, 0 * first)))
            else:
                pieces.append((box, AffineCoefficients(own, 0 * embed, first / scale)))
        return SpatialKernel(np.concatenate([delta, self.kernel.basis]), PiecewiseCoefficients(tuple(pieces)))


def _in_regions(kernel: SpatialKernel, boxes: tuple[Box, ...], scales: list[float]) -> SpatialKernel:
    """A kernel of the whole field, divided by a number in each of some regions."""
    if kernel.boxes:
        raise InputError("the kernel of the science image must not have regions of its own where the matching one has")
    one = np.eye(len(kernel.basis))
    pieces = tuple((box, kernel.coefficients.combined(one / scale)) for box, scale in zip(boxes, scales, strict=True))
    return SpatialKernel(kernel.basis, PiecewiseCoefficients(pieces))


def check_kernel_images(cube: Array, where: str) -> None:
    """Refuse kernel images (n, h, w) that no difference can have been made with.

    Raises
    ------
    InputError
        If there are no pixels or too many, or they are not finite, or one of the images is nothing but zeros.
    """
    height, width = cube.shape[1:]
    if not cube.size:
        raise InputError(f"{where}: the kernel has no pixels")
    if max(height, width) > _LARGEST:
        raise InputError(f"{where}: {width} x {height} pixels look like an image, not a kernel")
    if not np.isfinite(cube).all():
        raise InputError(f"{where}: the kernel holds pixels that are not finite")
    if not cube.any(axis=(1, 2)).all():
        raise InputError(f"{where}: the kernel holds nothing but zeros")
