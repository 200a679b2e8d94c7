"""One kernel applied after another."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diffim_decorr.errors import InputError
from diffim_decorr.fft import inverse, kernel_transform
from diffim_decorr.kernels.spatial import SpatialKernel

__all__ = ("Product", "composed")

Array = NDArray[Any]

_CHUNK = 64


def composed(first: SpatialKernel, second: SpatialKernel) -> SpatialKernel:
    """The kernel of one convolution after another, as large as both together.

    Raises
    ------
    InputError
        If both vary over the field.
    """
    if not first.is_constant and not second.is_constant:
        raise InputError("of two kernels that are applied one after the other, only one may vary over the field")
    fixed, varying = (first, second) if first.is_constant else (second, first)
    shape = _shape_of((fixed, varying))
    spectra = kernel_transform(varying.basis, shape) * kernel_transform(_image_of(fixed), shape)
    return SpatialKernel(_images(spectra, shape), varying.coefficients, varying.field)


class Product:
    """Kernels multiplied in Fourier space, at any position.

    Attributes
    ----------
    shape
        Of the product, (h, w).
    basis
        Its basis images (n, h, w); None if more than one kernel varies.
    """

    def __init__(self, kernels: Sequence[SpatialKernel]) -> None:
        self.shape = _shape_of(kernels)
        constant = [kernel for kernel in kernels if kernel.is_constant]
        self._varying = [kernel for kernel in kernels if not kernel.is_constant] or [constant.pop()]
        self._spectra = [kernel_transform(kernel.basis, self.shape) for kernel in self._varying]
        for kernel in constant:
            self._spectra[0] = self._spectra[0] * kernel_transform(_image_of(kernel), self.shape)
        # Of one kernel that varies the images can be added up as they are.
        self.basis = _images(self._spectra[0], self.shape) if len(self._varying) == 1 else None

    def amounts(self, x: Array, y: Array) -> Array:
        """Of each basis image at k positions (n, k), where no more than one kernel varies."""
        (varying,) = self._varying
        return varying.coefficients.at(x, y)

    def sample(self, x: Array, y: Array) -> Array:
        """Images (k, h, w) at k positions."""
        if self.basis is not None:
            images: Array = np.tensordot(self.amounts(x, y), self.basis, axes=(0, 0))
            return images
        weights = [kernel.coefficients.at(x, y) for kernel in self._varying]
        factors = [np.tensordot(w, s, axes=(0, 0)) for w, s in zip(weights, self._spectra, strict=True)]
        return _images(np.multiply.reduce(factors), self.shape)

    def grid(self, x: Array, y: Array) -> Array:
        """Images (len(y), len(x), h, w) on the grid that the positions span."""
        all_x, all_y = (positions.ravel() for positions in np.meshgrid(x, y))
        starts = range(0, len(all_x), _CHUNK)
        images = np.concatenate([self.sample(all_x[k : k + _CHUNK], all_y[k : k + _CHUNK]) for k in starts])
        return images.reshape(len(y), len(x), *self.shape)


def _shape_of(kernels: Sequence[SpatialKernel]) -> tuple[int, int]:
    """The size of what comes out, with the centre where all centres meet."""
    first, *others = (kernel.shape for kernel in kernels)
    height, width = (first[k] + 2 * sum(other[k] // 2 for other in others) for k in (0, 1))
    return height, width


def _image_of(kernel: SpatialKernel) -> Array:
    """The image of a kernel that is the same everywhere."""
    amounts = kernel.coefficients.at(np.zeros(1), np.zeros(1))[:, 0]
    image: Array = np.tensordot(amounts, kernel.basis, axes=1)
    return image


def _images(spectra: Array, shape: tuple[int, int]) -> Array:
    """Images (..., h, w) with their centre in the middle, of transforms with it at the origin."""
    images = inverse(spectra, shape[1])
    rolled: Array = np.roll(images, (shape[0] // 2, shape[1] // 2), axis=(-2, -1))
    return rolled
