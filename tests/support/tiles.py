"""How the engine cuts an image into tiles, for tests that are about the seams between them."""

from __future__ import annotations

from diffim_decorr.engine.tiles import Tiling

__all__ = ("column_seams", "row_seams", "tile_count")

# The cut hardly depends on how far the kernels reach; this is what those of most tests do.
_HALO = 40


def column_seams(shape: tuple[int, int]) -> list[int]:
    """The first columns of all tiles but the first one's."""
    return [begin for begin, _ in Tiling(shape, _HALO).columns[1:]]


def tile_count(shape: tuple[int, int]) -> int:
    return len(list(Tiling(shape, _HALO)))


def row_seams(shape: tuple[int, int]) -> list[int]:
    """The first rows of all tiles but the first one's."""
    return [begin for begin, _ in Tiling(shape, _HALO).rows[1:]]
