"""Fourier transforms of small kernels on a tile's large grid, a block of columns at a time.

Few of the rows of such a grid are not zero, and the columns of a block stay in the processor's cache: a transform is
made again for each tile in less time than it takes to fetch one that was kept.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from diffim_decorr.engine.workspace import Workspace
from diffim_decorr.fft import columns_of_symmetric, forward_columns, forward_rows

__all__ = ("KernelSpectra", "is_symmetric")

Array = NDArray[Any]

# Up to which difference, relative to its largest pixel, an image is the same when it is turned by half a circle.
_SYMMETRIC = 1e-12


def is_symmetric(images: Array) -> bool:
    """Whether images (k, h, w) are the same when they are turned by half a circle: their transforms are real."""
    skew = np.abs(images - images[:, ::-1, ::-1]).max()
    return bool(skew <= _SYMMETRIC * np.abs(images).max())


class KernelSpectra:
    """The transforms of kernels.

    Parameters
    ----------
    images
        The kernels (k, h, w), their centres in the middle.
    shape
        Of the grid.
    dtype
        Type of the images to be convolved with them.
    symmetric
        Whether the kernels are the same when they are turned by half a circle.
    workspace, name
        Where intermediate results are kept, and how these are called.
    """

    def __init__(
        self,
        images: Array,
        shape: tuple[int, int],
        dtype: np.dtype[Any],
        symmetric: bool,
        workspace: Workspace,
        name: str,
    ) -> None:
        self._shape, self._dtype, self._symmetric = shape, dtype, symmetric
        self._complex = np.result_type(dtype, np.complex64)
        self._workspace, self._name = workspace, name
        count, self._height, width = images.shape
        padded = workspace.array("kernel", (count, self._height, shape[1]), dtype)
        padded[...] = 0
        half = width // 2
        padded[..., : half + 1] = images[..., half:]
        padded[..., shape[1] - half :] = images[..., :half]
        rows = workspace.array(f"{name} rows", (count, self._height, shape[1] // 2 + 1), self._complex)
        self._rows = forward_rows(padded, rows)

    def block(self, number: int, columns: slice) -> Array:
        """Columns of a transform (h, columns), real if the kernel is symmetric; the next call overwrites them."""
        rows, half = self._rows[number, :, columns], self._height // 2
        height, width = self._shape[0], rows.shape[1]
        if self._symmetric:
            # Of a symmetric kernel one half says all.
            padded = self._workspace.array("half kernel", (height // 2 + 1, width), self._complex)
            padded[half + 1 :] = 0
            padded[: half + 1] = rows[half:]
            out = self._workspace.array(self._name, (height, width), self._dtype)
            return columns_of_symmetric(padded, height, out)
        padded = self._workspace.array(self._name, (height, width), self._complex)
        padded[half + 1 : height - half] = 0
        padded[: half + 1] = rows[half:]
        padded[height - half :] = rows[:half]
        return forward_columns(padded)
