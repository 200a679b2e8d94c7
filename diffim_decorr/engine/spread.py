"""All tiles of one image on the workers of a cluster of Dask, into a sink that is here.

A task is some tiles side by side, and the job goes with each: it is some ten kilobytes, for workers read the pixels
from the files themselves. So any worker can do a task, whenever it came and whoever had the task before.
"""

from __future__ import annotations

import pickle
import socket
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from io import BytesIO
from itertools import islice, pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from diffim_decorr._version import __version__
from diffim_decorr.engine.field_work import FieldWork
from diffim_decorr.engine.job import Job
from diffim_decorr.engine.rows import Rows
from diffim_decorr.engine.schedule import Progress
from diffim_decorr.engine.sinks import Sink
from diffim_decorr.engine.tiles import TileRow
from diffim_decorr.errors import InputError, UsageError
from diffim_decorr.images.planes import Plane
from diffim_decorr.scheduler import client_of, submitted
from diffim_decorr.threads import serial_blas

if TYPE_CHECKING:
    from distributed import Client, Future

__all__ = ("Spread", "spread_over")

Array = NDArray[Any]
# Pixels of image, mask and variance, and for each of the job's signs whether it is set.
_Done = tuple[tuple[Array, Array, Array], tuple[bool, ...]]

_TILES = 4  # of a task at most: enough to be worth being sent, and some ten megabytes that come back
_AHEAD = 2  # tasks for each thread of the workers, so that none waits for us
_PATIENCE = 600.0  # seconds without any worker


@contextmanager
def spread_over(scheduler: str) -> Iterator[Spread]:
    """The workers of a scheduler, by its address or the file that it has written about itself.

    Raises
    ------
    UsageError
        If it cannot be reached.
    """
    with client_of(scheduler, direct_to_workers=True) as client:
        yield Spread(client, scheduler)


class Spread:
    """Workers that tiles are spread over; use `spread_over`."""

    def __init__(self, client: Client, scheduler: str) -> None:
        self._client = client
        self._scheduler = scheduler

    def check(self, planes: Iterable[Plane | None]) -> None:
        """Refuse planes that workers cannot read, before anything is done that takes time.

        Raises
        ------
        UsageError
            Naming one that is in the memory of this process.
        """
        _sent(list(planes))

    def convolve_image(self, job: Job, sink: Sink, progress: Progress | None = None) -> None:
        """The same as `schedule.convolve_image`, bit for bit.

        Raises
        ------
        InputError
            If a worker cannot read an input, or finds another one in its place.
        UsageError
            If a worker is of another version, or none comes.
        RuntimeError
            If the scheduler is gone, or tiles end the processes of workers.
        """
        tiling, sent = job.tiling, _sent(job)
        rows = Rows(tiling, sink)
        waiting = (piece for row in tiling.rows for piece in _pieces(row))
        total, done = sum(map(len, tiling.rows)), 0
        begun: deque[tuple[TileRow, Future]] = deque()
        while True:
            for piece in islice(waiting, max(0, _AHEAD * self._threads - len(begun))):
                begun.append((piece, submitted(self._client, _work, __version__, sent, pickle.dumps(piece))))
            if not begun:
                break
            piece, future = begun.popleft()
            pixels, seen = self._result(future)
            future.release()
            for sign, is_set in zip(job.signs, seen, strict=True):
                if is_set:
                    sign.set()
            self._put(piece, pixels, rows, sink)
            done += len(piece)
            if progress is not None:
                progress(done, total)
        assert done == total

    @property
    def _threads(self) -> int:
        """How many tasks can be worked on at a time now, of which one is always there to be waited for."""
        try:
            threads: dict[str, int] = self._client.nthreads()
        except OSError:
            raise self._gone from None
        return max(1, sum(threads.values()))

    @property
    def _gone(self) -> RuntimeError:
        return RuntimeError(f"the scheduler {self._scheduler} is gone")

    def _put(self, piece: TileRow, pixels: tuple[Array, Array, Array], rows: Rows, sink: Sink) -> None:
        """Put the pixels of a piece into its row, and the row into the sink if that was the last."""
        first, last = piece[0][0], piece[-1][0]
        arrays = rows.arrays(first)
        for array, own in zip(arrays, pixels, strict=True):
            array[:, first.x0 : last.x1] = own
        if [rows.complete(tile) for tile, _ in piece][-1]:
            sink.write(first.y0, *arrays)
            rows.release(first)

    def _result(self, future: Future) -> _Done:
        """What a worker made of a piece, as soon as it is done."""
        from distributed import TimeoutError as LateError
        from distributed.client import FutureCancelledError
        from distributed.comm import CommClosedError
        from distributed.scheduler import KilledWorker

        while True:
            try:
                done: _Done = future.result(timeout=_PATIENCE)
                return done
            except LateError:
                if not self._client.nthreads():
                    text = f"--scheduler {self._scheduler}: has no workers, and none came for {_PATIENCE:g} s"
                    raise UsageError(text) from None
            except ImportError as error:
                text = f"--scheduler {self._scheduler}: a worker has no decorr {__version__} ({error})"
                raise UsageError(text) from None
            except (FutureCancelledError, CommClosedError):
                raise self._gone from None
            except KilledWorker:
                raise RuntimeError("the workers that had some tiles died, one after the other") from None


def _pieces(row: TileRow) -> Iterator[TileRow]:
    """A row of tiles in the fewest pieces that are small enough, all of about the same size."""
    count = -(-len(row) // _TILES)
    edges = [round(k * len(row) / count) for k in range(count + 1)]
    return (row[begin:end] for begin, end in pairwise(edges))


class _Pickler(pickle.Pickler):
    """Refuses pixels that are in memory."""

    def reducer_override(self, obj: Any) -> Any:
        if isinstance(obj, Plane) and obj.in_memory is not None:
            raise UsageError(
                f"{obj.in_memory}: is unpacked in memory, and workers read pixels from files (--scheduler): uncompress "
                "it beforehand"
            )
        return NotImplemented


def _sent(what: Any) -> bytes:
    """A job, or planes, as they go to workers."""
    file = BytesIO()
    _Pickler(file, pickle.HIGHEST_PROTOCOL).dump(what)
    return file.getvalue()


@lru_cache(maxsize=1)
def _prepared(sent: bytes) -> tuple[Job, FieldWork]:
    """A job and what is known to do it, on a worker, for as long as no other job comes."""
    job: Job = pickle.loads(sent)
    return job, FieldWork(job)


def _work(version: str, sent: bytes, sent_piece: bytes) -> _Done:
    """Work on tiles side by side, on a worker; nothing of ours is unpacked before it is known to be of one version."""
    if version != __version__:
        raise UsageError(f"the worker on {socket.gethostname()} has decorr {__version__}, and this is {version}")
    with serial_blas():
        job, work = _prepared(sent)
        piece: TileRow = pickle.loads(sent_piece)
        x0, shape = piece[0][0].x0, (piece[0][0].shape[0], piece[-1][0].x1 - piece[0][0].x0)
        image, mask, variance = np.empty(shape, np.float32), np.empty(shape, np.int32), np.empty(shape, np.float32)
        try:
            for tile, part in piece:
                own = slice(tile.x0 - x0, tile.x1 - x0)
                work(tile, part, image[:, own], mask[:, own], variance[:, own])
        except OSError as error:
            if error.filename is None:
                raise
            where = f"the worker on {socket.gethostname()}"
            raise InputError(f"{error.filename}: cannot be read by {where}: {error.strerror}") from None
    return (image, mask, variance), tuple(sign.is_set() for sign in job.signs)
