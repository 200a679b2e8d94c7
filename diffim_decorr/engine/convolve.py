"""Convolving images with kernels that vary over the field, by tiled real FFTs.

``(K * I)(x) = sum_n c_n(x) (B_n * I)(x)`` is exact for a kernel of basis images and coefficient functions. Each tile
is transformed once for all basis images; a constant kernel is the case of one basis image.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diffim_decorr.engine.tiles import Tiling
from diffim_decorr.fft import forward, inverse, kernel_transform
from diffim_decorr.geometry import Box
from diffim_decorr.kernels.bank import KernelBank
from diffim_decorr.kernels.spatial import SpatialKernel

__all__ = ("TileConvolver", "Workspace", "convolve")

Array = NDArray[Any]


# Bytes that the transforms of all parts' kernels may take to be kept; of more each is made anew when it is wanted.
_KEPT = 192 << 20


class Workspace(threading.local):
    """Arrays that a thread uses again for each tile: fetching them anew costs more than what is done with them.

    Parameters
    ----------
    parts
        How many parts of a field, each with kernels of its own, share it.
    """

    def __init__(self, parts: int = 1) -> None:
        self._memory: dict[tuple[str, np.dtype[Any]], Array] = {}
        #: Bytes that the transforms of the kernels of one part may take to be kept.
        self.kept = _KEPT // parts

    def array(self, name: str, shape: tuple[int, ...], dtype: Any) -> Array:
        """The thread's own array of that name, shape and type, with whatever is in it."""
        key, size = (name, np.dtype(dtype)), math.prod(shape)
        if key not in self._memory or self._memory[key].size < size:
            self._memory[key] = np.zeros(size, dtype)
        return self._memory[key][:size].reshape(shape)


class TileConvolver:
    """Convolves tiles with a filter bank.

    Parameters
    ----------
    bank
        The kernels.
    tiling
        The tiles and their halo, which must not be smaller than the kernels' reach.
    workspace
        Where intermediate results are kept; it may be shared with others.
    """

    def __init__(self, bank: KernelBank, tiling: Tiling, workspace: Workspace | None = None) -> None:
        if bank.reach > tiling.halo:
            raise ValueError(f"a halo of {tiling.halo} pixels is too small for kernels that reach {bank.reach}")
        self.bank = bank.simplified()
        self._tiling = tiling
        self._workspace = workspace or Workspace()
        self._spectra: dict[np.dtype[Any], Array] = {}
        self._lock = threading.Lock()

    def _kernel(self, image: int, mode: int, dtype: np.dtype[Any]) -> Array:
        """The transform of a basis image, for transforms of images of a type."""
        kind = np.result_type(dtype, np.complex64)
        shape = self._tiling.fft_shape
        images, modes = self.bank.bases.shape[:2]
        if images * modes * shape[0] * (shape[1] // 2 + 1) * kind.itemsize > self._workspace.kept:
            return kernel_transform(self.bank.bases[image, mode], shape, kind)
        with self._lock:
            if dtype not in self._spectra:
                self._spectra[dtype] = kernel_transform(self.bank.bases, shape, kind)
            kernel: Array = self._spectra[dtype][image, mode]
            return kernel

    def __call__(self, tile: Box, images: Sequence[Array | None]) -> Array:
        """Convolve one tile.

        Parameters
        ----------
        tile
            The tile's pixels.
        images
            For each image the tile with its halo in an array of the tiling's `fft_shape`, the halo's first pixel at
            the origin, and zeros where there is no image. Their type, float32 or float64, is that of the work. Instead
            of an image that is zero everywhere there may be None, but not of all.

        Returns
        -------
        result
            Pixels (ny, nx) of the tile, in the workspace: the next call of the same thread overwrites them.
        """
        present = [(k, image) for k, image in enumerate(images) if image is not None]
        shape, dtype = present[0][1].shape, present[0][1].dtype
        half, complex_type = (shape[0], shape[1] // 2 + 1), np.result_type(dtype, np.complex64)
        spectra = [forward(image, self._workspace.array(f"spectrum{k}", half, complex_type)) for k, image in present]
        product, term = (self._workspace.array(name, half, complex_type) for name in ("product", "term"))
        convolved = self._workspace.array("convolved", shape, dtype)
        halo, (ny, nx) = self._tiling.halo, tile.shape
        inner = convolved[halo : halo + ny, halo : halo + nx]

        def convolve_mode(n: int) -> None:
            (first, _), *others = present
            np.multiply(spectra[0], self._kernel(first, n, dtype), out=product)
            for spectrum, (k, _) in zip(spectra[1:], others, strict=True):
                np.multiply(spectrum, self._kernel(k, n, dtype), out=term)
                np.add(product, term, out=product)
            inverse(product, shape[1], convolved)

        if self.bank.coefficients.is_constant:
            convolve_mode(0)
            return inner
        result = self._workspace.array("result", tile.shape, dtype)
        result[...] = 0
        columns, rows = np.arange(tile.x0, tile.x1), np.arange(tile.y0, tile.y1)
        for n, weights in enumerate(self.bank.coefficients.each(columns, rows)):
            if weights.any():
                convolve_mode(n)
                np.multiply(inner, weights, out=inner, casting="same_kind")
                np.add(result, inner, out=result)
        return result


def convolve(image: Array, kernel: SpatialKernel) -> Array:
    """Convolve an image with a kernel that may vary over the field, with zeros beyond the edges.

    Parameters
    ----------
    image
        Pixels (ny, nx), all finite.
    kernel
        The kernel; it is taken where the result's pixel is.

    Returns
    -------
    result
        Pixels (ny, nx), float64.
    """
    bank = KernelBank.of(kernel)
    tiling = Tiling((image.shape[0], image.shape[1]), bank.reach)
    convolver = TileConvolver(bank, tiling)
    result: Array = np.empty(image.shape)
    for tile in tiling:
        padded = np.zeros(tiling.fft_shape)
        window = tile.grown(tiling.halo)
        inside = window.clipped(tiling.shape)
        padded[inside.shifted(-window.x0, -window.y0).slices] = image[inside.slices]
        result[tile.slices] = convolver(tile, [padded])
    return result
