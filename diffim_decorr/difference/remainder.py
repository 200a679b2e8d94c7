"""What is left of a difference when the two images that it was made of are taken off as its kernel has them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from diffim_decorr.difference.subtraction import Subtraction
from diffim_decorr.fft import forward, good_size, inverse, kernel_transform
from diffim_decorr.geometry import Box
from diffim_decorr.images.exposure import Exposure
from diffim_decorr.images.planes import Plane
from diffim_decorr.kernels.spatial import SpatialKernel

__all__ = ("Remainder",)

Array = NDArray[Any]


@final
@dataclass(frozen=True, eq=False)
class Remainder(Plane):
    """``D - (κ_s ⊗ S - κ_t ⊗ T)``: background that was taken off, and nothing else if D was made of S and T with κ."""

    subtraction: Subtraction

    @property
    def shape(self) -> tuple[int, int]:
        return self.subtraction.shape

    def read(self, box: Box) -> Array:
        given = self.subtraction
        science, template = given.sides
        left = given.difference.image_plane.read(box).astype(np.float64)
        missing = given.difference.absent(left.astype(np.float32))
        if missing is not None:
            left[missing] = np.nan
        left -= _convolved(given.science, science, box)
        left += _convolved(given.template, template, box)
        return left.astype(np.float32)


def _convolved(exposure: Exposure, kernel: SpatialKernel, box: Box) -> Array:
    """The pixels (h, w) of an image, convolved with a kernel that may vary; its level is put for what holds no data."""
    reach = max(kernel.shape) // 2 + 1
    wide = box.grown(reach).clipped(exposure.shape)
    pixels = exposure.image_plane.read(wide).astype(np.float64)
    missing = exposure.absent(pixels.astype(np.float32))
    if missing is not None:
        pixels[missing] = np.median(pixels[~missing]) if not missing.all() else 0.0
    height, width = (good_size(n + reach) for n in wide.shape)
    padded = np.zeros((height, width))
    padded[: wide.shape[0], : wide.shape[1]] = pixels
    spectrum = forward(padded)
    inner = box.shifted(-wide.x0, -wide.y0).slices
    result = np.zeros(box.shape)
    amounts = kernel.coefficients.each(np.arange(box.x0, box.x1), np.arange(box.y0, box.y1))
    for image, amount in zip(kernel.basis, amounts, strict=True):
        result += amount * inverse(spectrum * kernel_transform(image, (height, width)), width)[inner]
    return result
