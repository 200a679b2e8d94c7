"""All tiles of an image, several at a time, into a sink: as many as there are threads and memory for."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol

from numpy.typing import NDArray

from diffim_decorr.engine.field_work import FieldWork
from diffim_decorr.engine.job import Job
from diffim_decorr.engine.rows import Rows
from diffim_decorr.engine.sinks import Sink
from diffim_decorr.engine.tiles import FieldTiling, TileRow
from diffim_decorr.geometry import Box
from diffim_decorr.threads import within_memory

__all__ = ("Progress", "Work", "convolve_image", "work_on_tiles")

Array = NDArray[Any]
Progress = Callable[[int, int], None]

_PIXEL = 12  # bytes of image, mask and variance


class Work(Protocol):
    """What is done to the tiles of an image; safe to call from several threads."""

    #: The tiles.
    tiling: FieldTiling
    #: Bytes that a thread takes for a tile, and all tiles together.
    bytes_each: int
    bytes_kept: int

    def __call__(self, tile: Box, part: int | None, image: Array, mask: Array, variance: Array) -> None:
        """Put the result's pixels into arrays of the tile's shape."""

    def held(self, row: TileRow) -> list[Any]:
        """As `Plane.held`, for all that is read for a row of tiles."""


def convolve_image(job: Job, sink: Sink, progress: Progress | None = None) -> None:
    """Convolve an image with ψ, propagate variance and mask, tile by tile.

    Parameters
    ----------
    job
        What is to be done.
    sink
        Where the result goes.
    progress
        Called with the number of tiles done and the number of all.
    """
    work_on_tiles(FieldWork(job), sink, job.threads, job.memory, progress)


def work_on_tiles(work: Work, sink: Sink, threads: int, memory: int, progress: Progress | None = None) -> None:
    """Do to each tile what is to be done, in so many threads and bytes; see `convolve_image`."""
    tiles = list(work.tiling)
    rows = Rows(work.tiling, sink, work.held)
    lock = threading.Lock()
    done = 0

    def process(tile: Box, part: int | None) -> None:
        nonlocal done
        with lock:
            arrays = rows.arrays(tile)
        work(tile, part, *(array[:, tile.x0 : tile.x1] for array in arrays))
        with lock:
            complete = rows.complete(tile)
            done += 1
            if progress is not None:
                progress(done, len(tiles))
        if complete:
            sink.write(tile.y0, *arrays)
            with lock:
                rows.release(tile)

    with ThreadPoolExecutor(_workers(work, sink, threads, memory)) as pool:
        futures = [pool.submit(process, *tile) for tile in tiles]
        try:
            for future in futures:
                future.result()
        except BaseException:
            for future in futures:
                future.cancel()
            raise


def _workers(work: Work, sink: Sink, threads: int, memory: int) -> int:
    """How many tiles may be worked on at once; what comes out is the same for any number."""
    # Two rows of tiles are in flight: the one that is being finished, and the one that is begun.
    height, width = (max(end) for end in zip(*((t.shape[0], t.x1) for t, _ in work.tiling), strict=True))
    rows = 0 if sink.rows(0, 1) else 2 * height * width * _PIXEL
    return within_memory(threads, work.bytes_each, memory - work.bytes_kept - rows)
