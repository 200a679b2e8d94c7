"""A cluster of Dask on this machine: a scheduler and workers, each a process."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

__all__ = ("StartWorker", "running_scheduler", "running_workers", "wait_for")

#: Starts a worker, with further arguments for Dask's own program, and a folder (``path``) that its modules are from.
StartWorker = Callable[..., subprocess.Popen[bytes]]

_DASK = [sys.executable, "-m", "dask"]
# Dask's own programs warn of themselves.
_PLAIN = {key: value for key, value in os.environ.items() if key != "PYTHONWARNINGS"}


def wait_for(condition: Callable[[], Any], seconds: float = 90.0) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.05)


@contextmanager
def running_scheduler(file: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A scheduler that says in a file where it is."""
    line = [*_DASK, "scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard", "--scheduler-file", file]
    with subprocess.Popen(line, cwd=file.parent, env=_PLAIN, stderr=subprocess.DEVNULL) as process:
        wait_for(file.exists)
        yield process
        process.terminate()


@contextmanager
def running_workers(scheduler: Path, folder: Path) -> Iterator[StartWorker]:
    """What starts workers of a scheduler, each of which has a folder for itself in a folder."""
    started: list[subprocess.Popen[bytes]] = []

    def start(*more: object, path: object = "") -> subprocess.Popen[bytes]:
        own = ["--host", "127.0.0.1", "--nthreads", "1", "--no-nanny", "--no-dashboard", "--death-timeout", "60"]
        place = folder / f"w{len(started)}"
        line = [*_DASK, "worker", "--scheduler-file", scheduler, "--local-directory", place, *own, *map(str, more)]
        env = _PLAIN | ({"PYTHONPATH": str(path)} if path else {})
        started.append(subprocess.Popen(line, cwd="/", env=env, stderr=subprocess.DEVNULL))
        return started[-1]

    yield start
    for process in started:
        process.terminate()
    for process in started:
        process.wait(30)
