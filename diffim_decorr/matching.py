"""What a kernel file says: the matching kernel, which image it convolved, and how the difference was scaled."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from diffim_decorr.errors import InputError
from diffim_decorr.spatial import (
    AffineCoefficients,
    Box,
    Coefficients,
    PiecewiseCoefficients,
    SpatialKernel,
)

__all__ = ("MatchingKernel", "Side")

Side = Literal["template", "science"]


@dataclass(frozen=True)
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
        not say, which is taken for the template.
    normalized
        Whether the difference was divided by the kernel sum, likewise. None stands for LSST's convention: divided
        if and only if the science image was convolved (Reiss & Lupton, DMTN-021; Kovacs, DMTN-179).
    parent_frame
        Whether positions are in the parent frame of an LSST exposure (its XY0) rather than counted from the first
        pixel of the array.
    name
        Where it was read from, for messages.
    field
        The pixels of the image that it is for, if the file says.
    """

    kernel: SpatialKernel
    format: str = "image"
    convolved: tuple[Side | None, ...] = (None,)
    normalized: tuple[bool | None, ...] = (None,)
    parent_frame: bool = True
    name: str = "kernel"
    field: Box | None = None

    def sides(self, convolved: Side | None = None) -> tuple[SpatialKernel, SpatialKernel]:
        """Kernels of the science and of the template image in ``D = sum_i K_i * I_i`` (signs left out).

        Parameters
        ----------
        convolved
            Which image was convolved, if the file is to be overruled.

        Returns
        -------
        science, template
            One is the matching kernel, the other the identity, both divided by the kernel sum where the difference
            was. With several regions each may change roles from region to region.
        """
        boxes = self.kernel.boxes
        if not boxes:
            side = convolved or self.convolved[0] or "template"
            scale = self._scale(0, side, None)
            matched = SpatialKernel(self.kernel.basis / scale, self.kernel.coefficients)
            other = SpatialKernel(SpatialKernel.identity().basis / scale, SpatialKernel.identity().coefficients)
            return (matched, other) if side == "science" else (other, matched)
        sides: Sequence[Side] = [convolved or side or "template" for side in self.convolved]
        scales = [self._scale(k, side, box) for k, (side, box) in enumerate(zip(sides, boxes, strict=True))]
        return self._piecewise("science", sides, scales), self._piecewise("template", sides, scales)

    def _scale(self, region: int, side: Side, box: Box | None) -> float:
        normalized = self.normalized[region]
        if not (side == "science" if normalized is None else normalized):
            return 1.0
        x, y = (0.0, 0.0) if box is None else ((box.x0 + box.x1 - 1) / 2, (box.y0 + box.y1 - 1) / 2)
        total = self.kernel.sum_at(x, y)
        if not total > 0:
            raise InputError(f"{self.name}: the kernel sum is {total:.4g}, but the difference was divided by it")
        return total

    def _piecewise(self, image: Side, sides: Sequence[Side], scales: Sequence[float]) -> SpatialKernel:
        """The kernel of one image, the matching kernel in some regions and the identity in the others."""
        height, width = self.kernel.shape
        delta = np.zeros((1, height, width))
        delta[0, height // 2, width // 2] = 1.0
        count = len(self.kernel.basis)
        embed = np.vstack([np.zeros((1, count)), np.eye(count)])
        first = np.eye(count + 1)[0]
        pieces: list[tuple[Box, Coefficients]] = []
        for box, side, scale in zip(self.kernel.boxes, sides, scales, strict=True):
            if side == image:
                pieces.append((box, AffineCoefficients(self._inner(box), embed / scale, 0 * first)))
            else:
                pieces.append((box, AffineCoefficients(self._inner(box), 0 * embed, first / scale)))
        return SpatialKernel(np.concatenate([delta, self.kernel.basis]), PiecewiseCoefficients(tuple(pieces)))

    def _inner(self, box: Box) -> Coefficients:
        coefficients = self.kernel.coefficients
        if not isinstance(coefficients, PiecewiseCoefficients):
            raise TypeError("a kernel with regions must have piecewise coefficients")
        return next(piece for own, piece in coefficients.pieces if own == box)
