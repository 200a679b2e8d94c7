"""What is seen of an image to work on a tile of it: the tile, and its halo as far as there is one."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from diffim_decorr.engine.tiles import Tiling
from diffim_decorr.engine.workspace import Workspace
from diffim_decorr.geometry import Box

__all__ = ("Windows",)

Array = NDArray[Any]


class Windows:
    """Windows on tiles with the halo of a tiling.

    Parameters
    ----------
    tiling
        The tiles' halo, and the shape of the transforms.
    field
        Shape of the image, (ny, nx).
    workspace
        Where the arrays come from.
    """

    def __init__(self, tiling: Tiling, field: tuple[int, int], workspace: Workspace) -> None:
        self._tiling, self._field, self._workspace = tiling, field, workspace

    def inside(self, tile: Box) -> Box:
        """What of the image is seen."""
        return tile.grown(self._tiling.halo).clipped(self._field)

    def own(self, tile: Box) -> tuple[slice, slice]:
        """Where in that the tile is."""
        inside = self.inside(tile)
        return tile.shifted(-inside.x0, -inside.y0).slices

    def array(self, name: str, tile: Box) -> tuple[Array, Array]:
        """An array of the transforms' shape for a window, zero outside the image, and the part inside."""
        window, inside = tile.grown(self._tiling.halo), self.inside(tile)
        padded = self._workspace.array(name, self._tiling.fft_shape, np.float32)
        ny, nx = window.shape
        if inside == window:
            padded[ny:] = 0
            padded[:, nx:] = 0
        else:
            padded[...] = 0
        return padded, padded[inside.shifted(-window.x0, -window.y0).slices]
