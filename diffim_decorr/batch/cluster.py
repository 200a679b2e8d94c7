"""Exposures on a cluster of Dask: the same work, wherever its workers are.

A worker of Dask has a process of its own for each of its threads, as on one machine, so that what happens to an
exposure happens to that process: limits and crashes are the same. If a worker of Dask dies, Dask gives what it was at
to another.
"""

from __future__ import annotations

import atexit
import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from itertools import islice
from typing import Any

from distributed import Client, as_completed
from distributed.scheduler import KilledWorker

from diffim_decorr._version import __version__
from diffim_decorr.batch.pool import Limits, Pool
from diffim_decorr.batch.tasks import Task
from diffim_decorr.batch.work import failure
from diffim_decorr.scheduler import client_of, submitted

__all__ = ("Cluster", "connected")

# Exposures that the scheduler is told of at a time.
_AHEAD = 1000
_own = threading.local()


class Cluster:
    """Workers of Dask; use `connected`."""

    def __init__(self, client: Client, limits: Limits, ahead: int) -> None:
        self._client = client
        self._limits = limits
        self._ahead = ahead

    @property
    def places(self) -> int:
        """How many exposures can be worked on at a time now."""
        return sum(self._client.nthreads().values())

    def outcomes(self, tasks: Sequence[Task]) -> Iterator[dict[str, Any]]:
        """What became of each exposure, in the order in which they end.

        Raises
        ------
        RuntimeError
            If the scheduler is gone.
        """
        waiting = iter(tasks)
        by_key: dict[str, Task] = {}
        ending = as_completed(loop=self._client.loop)
        for task in islice(waiting, self._ahead):
            ending.add(self._submit(task, by_key))
        for future in ending:
            task = by_key.pop(future.key)
            following = next(waiting, None)
            if following is not None:
                ending.add(self._submit(following, by_key))
            yield self._outcome(task, future)
            future.release()

    def _submit(self, task: Task, by_key: dict[str, Task]) -> Any:
        future = submitted(self._client, _work, task.tree(), asdict(self._limits), os.getcwd(), __version__)
        by_key[future.key] = task
        return future

    def _outcome(self, task: Task, future: Any) -> dict[str, Any]:
        if future.cancelled():
            raise RuntimeError("the scheduler is gone; the same command goes on from here")
        error = future.exception()
        if error is None:
            outcome: dict[str, Any] = future.result()
            return outcome
        if isinstance(error, KilledWorker):
            text = "the workers that had it died, one after the other"
            return failure(task, "crash", text) | {"attempts": 1, "seconds": None, "memory": None}
        if isinstance(error, ImportError):
            text = f"a worker has no decorr {__version__} ({error})"
            return failure(task, "usage", text) | {"attempts": 1, "seconds": None, "memory": None}
        return failure(task, "internal", f"{type(error).__name__}: {error}") | {
            "attempts": 1, "seconds": None, "memory": None,
        }  # fmt: skip


@contextmanager
def connected(scheduler: str, limits: Limits, ahead: int | None = None) -> Iterator[Cluster]:
    """The workers of a scheduler.

    Parameters
    ----------
    scheduler
        Its address, or the file that it has written about itself.
    limits
        What an exposure may take.
    ahead
        Exposures that the scheduler is told of at a time; None for as many as it takes.

    Raises
    ------
    UsageError
        If it cannot be reached.
    """
    with client_of(scheduler) as client:
        yield Cluster(client, limits, ahead or _AHEAD)


def _work(tree: dict[str, Any], limits: dict[str, Any], folder: str, version: str) -> dict[str, Any]:
    """Work on one exposure, on a worker of Dask."""
    task = Task.of(tree)
    if version != __version__:
        text = f"this worker has decorr {__version__}, and the batch {version}"
        return failure(task, "usage", text) | {"attempts": 1, "seconds": None, "memory": None}
    pool = getattr(_own, "pool", None)
    if pool is None or _own.told != (limits, folder):
        if pool is not None:
            pool.__exit__()
        pool = _own.pool = Pool(1, Limits(**limits), folder)
        _own.told = (limits, folder)
        atexit.register(pool.__exit__)
    (outcome,) = pool.outcomes([task])
    return dict(outcome)
