"""Convolving images with kernels that vary over the field, by tiled real FFTs.

``(K * I)(x) = sum_n c_n(x) (B_n * I)(x)`` is exact for a kernel of basis images and coefficient functions. Each tile
is transformed once for all basis images, of which it takes the few sums that its own kernels are made of; a constant
kernel is the case of one basis image.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diffim_decorr.engine.kernel_spectra import KernelSpectra, is_symmetric
from diffim_decorr.engine.local import Group, Localizer, LocalKernels
from diffim_decorr.engine.tiles import Tiling
from diffim_decorr.engine.workspace import Workspace
from diffim_decorr.fft import forward, inverse_columns, inverse_rows
from diffim_decorr.geometry import Box
from diffim_decorr.kernels.bank import KernelBank
from diffim_decorr.kernels.spatial import SpatialKernel

__all__ = ("GROUPS", "KERNEL_BYTES", "TileConvolver", "convolve")

Array = NDArray[Any]
# Gives columns of the transform of one of several kernels.
Transforms = Callable[[int, slice], Array]


# Columns, or rows, that are worked on at once, few enough to stay in a processor's cache.
_BLOCK = 128
#: Groups of kernels that are worked on at once, and about how many bytes transforms of the rows of these may take.
GROUPS, KERNEL_BYTES = 4, 48 << 20
# Of each pixel of these rows, with what they are made of, in double precision.
_ROW_BYTES = 24


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
    levels
        How much the kernel of each image counts (images); the same without.
    """

    def __init__(
        self, bank: KernelBank, tiling: Tiling, workspace: Workspace | None = None, levels: Array | None = None
    ) -> None:
        if bank.reach > tiling.halo:
            raise ValueError(f"a halo of {tiling.halo} pixels is too small for kernels that reach {bank.reach}")
        self.bank = bank.simplified()
        self._tiling = tiling
        self._workspace = workspace or Workspace()
        self._localizer = Localizer(self.bank, levels)
        self._symmetric = [is_symmetric(basis) for basis in self.bank.bases]
        self._kept: dict[tuple[int, np.dtype[Any]], list[Array]] = {}
        self._lock = threading.Lock()
        images, _, height, _ = self.bank.bases.shape
        self._at_once = max(1, KERNEL_BYTES // (images * height * tiling.fft_shape[1] * _ROW_BYTES))
        width = tiling.fft_shape[1] // 2 + 1
        self._blocks = [slice(begin, min(begin + _BLOCK, width)) for begin in range(0, width, _BLOCK)]

    def _kernels(self, image: int, local: LocalKernels, numbers: Sequence[int], dtype: np.dtype[Any]) -> Transforms:
        """The transforms of some of the kernels that an image is convolved with."""
        if self.bank.coefficients.is_constant:
            with self._lock:
                if (image, dtype) not in self._kept:
                    spectra = self._spectra(image, self.bank.bases[image], dtype)
                    self._kept[image, dtype] = [spectra.block(0, block).copy() for block in self._blocks]
                kept = self._kept[image, dtype]
            return lambda _, block: kept[self._blocks.index(block)]
        basis, chosen = self.bank.bases[image], list(numbers)
        kernels = basis[chosen] if local.matrix is None else np.tensordot(local.matrix[chosen], basis, axes=1)
        return self._spectra(image, kernels, dtype).block

    def _spectra(self, image: int, kernels: Array, dtype: np.dtype[Any]) -> KernelSpectra:
        shape, symmetric = self._tiling.fft_shape, self._symmetric[image]
        return KernelSpectra(kernels, shape, dtype, symmetric, self._workspace, f"kernel{image}")

    def local(self, tile: Box, error: float = 0.0) -> LocalKernels:
        """What a tile's kernels are made of.

        Parameters
        ----------
        tile
            The tile's pixels.
        error
            Norm of what may be left out of any pixel's kernel to make do with fewer transforms; of several images'
            kernels that of all together, each times its level.
        """
        return self._localizer(tile, error)

    def __call__(self, local: LocalKernels, images: Sequence[Array | None]) -> Array:
        """Convolve one tile.

        Parameters
        ----------
        local
            What the tile's kernels are made of.
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
        spectra = {k: forward(image, self._workspace.array(f"spectrum{k}", half, complex_type)) for k, image in present}
        result = self._workspace.array("result", local.tile.shape, dtype)
        weights = local.along_x(dtype)
        begin = True
        for groups in _batches(local.groups, self._at_once):
            for columns in self._columns(local, groups, spectra):
                self._add_rows(columns, next(weights), result, begin)
                begin = False
        return result

    def _columns(self, local: LocalKernels, groups: Sequence[Group], spectra: dict[int, Array]) -> Array:
        """What the rows of each group's result (ny, w) are the transforms of."""
        (height, width), complex_type = next((s.shape, s.dtype) for s in spectra.values())
        dtype = np.empty(0, complex_type).real.dtype
        (ny, _), halo = local.tile.shape, self._tiling.halo
        results = self._workspace.array("columns", (len(groups), ny, width), complex_type)
        along_y = local.along_y(dtype)
        numbers = [number for group in groups for number, _ in group]
        kernels = {k: self._kernels(k, local, numbers, dtype) for k in spectra}
        for block in self._blocks:
            shape = height, block.stop - block.start
            own = {k: self._workspace.array(f"own{k}", shape, complex_type) for k in spectra}
            for k, spectrum in spectra.items():
                own[k][...] = spectrum[:, block]
            product, term = (self._workspace.array(name, shape, complex_type) for name in ("product", "term"))
            inner = product[halo : halo + ny]
            place = 0
            for result, group in zip(results[..., block], groups, strict=True):
                for number, degree in group:
                    out = product
                    for k in local.images(number, list(spectra)):
                        np.multiply(own[k], kernels[k](place, block), out=out)
                        if out is term:
                            np.add(product, term, out=product)
                        out = term
                    place += 1
                    inverse_columns(product)
                    if degree:
                        np.multiply(inner.view(dtype), along_y[degree], out=inner.view(dtype))
                    if number == group[0][0]:
                        result[...] = inner
                    else:
                        np.add(result, inner, out=result)
        return results

    def _add_rows(self, columns: Array, weights: Array | None, result: Array, begin: bool) -> None:
        """Transform rows and add them, times their weights, to a result (ny, nx), or begin it with them."""
        width = self._tiling.fft_shape[1]
        halo, (ny, nx) = self._tiling.halo, result.shape
        rows = self._workspace.array("rows", (_BLOCK, width), result.dtype)
        for first in range(0, ny, _BLOCK):
            out = result[first : first + _BLOCK]
            own = rows[: len(out)]
            inverse_rows(columns[first : first + _BLOCK], width, own)
            inner = own[:, halo : halo + nx]
            if weights is not None:
                part = weights if weights.ndim == 1 else weights[first : first + _BLOCK]
                np.multiply(inner, part, out=inner, casting="same_kind")
            if begin:
                out[...] = inner
            else:
                np.add(out, inner, out=out)


def _batches(groups: Sequence[Group], kernels: int) -> Iterator[Sequence[Group]]:
    """So many groups at a time, with about so many kernels, that what they take of memory is bounded."""
    batch: list[Group] = []
    for group in groups:
        if batch and (len(batch) == GROUPS or sum(map(len, batch)) + len(group) > kernels):
            yield batch
            batch = []
        batch.append(group)
    yield batch


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
        result[tile.slices] = convolver(convolver.local(tile), [padded])
    return result
