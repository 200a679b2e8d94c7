"""Worker processes: started once, replaced when they die, stopped when they take too long."""

from __future__ import annotations

import heapq
import json
import os
import selectors
import signal
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Self

from diffim_decorr.batch.tasks import Task
from diffim_decorr.batch.work import failure
from diffim_decorr.io.unfinished import reclaim

__all__ = ("Limits", "Pool")

_PROGRAM = ["-m", "diffim_decorr.batch.worker"]
# Seconds in which a process that is told to end has to end.
_GRACE = 5.0
# Processes that may die in a row before they have done anything.
_STILLBORN = 3
# Each process keeps its linear algebra to one thread; this spares the others from being made at all.
_SINGLE = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
_MEANT = {
    "SIGKILL": "somebody killed it, as the system does when memory runs out",
    "SIGBUS": "a file got shorter while it was read, or the disk is full",
}


@dataclass(frozen=True)
class Limits:
    """What one exposure may take.

    Parameters
    ----------
    threads
        Processors for each.
    seconds, megabytes
        Time and memory; None without limit.
    retries, wait
        How often it is tried again after an error that may be gone then, and after how many seconds for the first time.
    """

    threads: int = 1
    seconds: float | None = None
    megabytes: float | None = None
    retries: int = 2
    wait: float = 2.0


@dataclass(order=True)
class _Attempt:
    """An exposure that is waiting, from a time on."""

    due: float
    number: int
    task: Task = field(compare=False)
    tried: int = field(default=0, compare=False)
    crashed: int = field(default=0, compare=False)
    errors: int = field(default=0, compare=False)


class _Worker:
    """One process."""

    def __init__(self, limits: Limits, folder: str | None) -> None:
        self.said = tempfile.TemporaryFile()  # noqa: SIM115
        self.process = subprocess.Popen(
            [sys.executable, *(f"-W{option}" for option in sys.warnoptions), *_PROGRAM],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.said,
            cwd=folder,
            env=os.environ | dict.fromkeys(_SINGLE, "1"),
            start_new_session=True,
        )
        assert self.process.stdout is not None
        self.output = self.process.stdout
        self.ready = False
        self.attempt: _Attempt | None = None
        self.since = 0.0
        self.stopping: float | None = None  # when it is killed
        self.cause = ""  # of its end
        self._begun = b""
        self._send({"threads": limits.threads, "memory": limits.megabytes})

    def give(self, attempt: _Attempt) -> None:
        """Have it work on an exposure."""
        self.attempt, self.since = attempt, time.monotonic()
        attempt.tried += 1
        self._send(attempt.task.tree())

    def _send(self, told: Any) -> None:
        assert self.process.stdin is not None
        with suppress(BrokenPipeError):  # that it is gone shows at its output
            self.process.stdin.write(json.dumps(told).encode() + b"\n")
            self.process.stdin.flush()

    def answers(self) -> list[dict[str, Any]] | None:
        """What it has answered; None if it has ended."""
        piece = os.read(self.output.fileno(), 1 << 16)
        if not piece:
            return None
        *lines, self._begun = (self._begun + piece).split(b"\n")
        return [json.loads(line) for line in lines]

    def stop(self) -> None:
        """Have it end what it is at, and itself."""
        self.stopping = time.monotonic() + _GRACE
        self.process.terminate()

    def end(self, grace: float = _GRACE) -> None:
        """Have it end, by whatever it takes, and clean up after it."""
        assert self.process.stdin is not None
        with suppress(BrokenPipeError):
            self.process.stdin.close()
        try:
            self.process.wait(grace)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.output.close()
        self.cause = self._cause()
        self.said.close()
        if self.attempt is not None:
            for path in self.attempt.task.written:
                reclaim(path)

    def _cause(self) -> str:
        """How it ended."""
        status = self.process.returncode
        self.said.seek(0)
        lines = self.said.read().decode(errors="replace").strip().splitlines()
        last = f": {lines[-1]}" if lines else ""
        if status >= 0:
            return f"its process ended with status {status}{last}"
        name = signal.Signals(-status).name
        return f"its process was ended by {name}" + (f" ({_MEANT[name]})" if name in _MEANT else "") + last


class Pool:
    """Processes that work on exposures; a context, at whose end none of them is left.

    Parameters
    ----------
    jobs
        How many exposures are worked on at a time.
    limits
        What each may take.
    folder
        Where names of files are looked for; by default from the current one.
    """

    def __init__(self, jobs: int, limits: Limits, folder: str | None = None) -> None:
        self._jobs = jobs
        self._limits = limits
        self._folder = folder
        self._workers: list[_Worker] = []
        self._selector = selectors.DefaultSelector()
        self._stillborn = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        # All at once, and then each.
        for worker in self._workers:
            if worker.attempt is not None:
                worker.process.terminate()
        until = time.monotonic() + _GRACE
        for worker in self._workers:
            worker.end(max(0.1, until - time.monotonic()))
        self._workers.clear()
        self._selector.close()

    def outcomes(self, tasks: Iterable[Task]) -> Iterator[dict[str, Any]]:
        """What became of each exposure, in the order in which they end; they are begun in their own.

        Raises
        ------
        RuntimeError
            If processes cannot be started.
        """
        waiting = deque(_Attempt(0.0, task.number, task) for task in tasks)
        later: list[_Attempt] = []
        while waiting or later or any(worker.attempt for worker in self._workers):
            while later and later[0].due <= time.monotonic():
                waiting.append(heapq.heappop(later))
            self._give(waiting)
            for key, _ in self._selector.select(_patience(self._workers, later, self._limits)):
                worker = key.data
                answers = worker.answers()
                for answer in answers or ():
                    attempt = self._answered(worker, answer)
                    if attempt is not None and _again(attempt, answer, self._limits):
                        heapq.heappush(later, attempt)
                    elif attempt is not None:
                        yield answer | {"attempts": attempt.tried}
                if answers is None:
                    attempt = self._buried(worker)
                    if attempt is not None and worker.stopping is None and not attempt.crashed:
                        attempt.crashed += 1
                        waiting.appendleft(attempt)
                    elif attempt is not None:
                        yield _died(worker, self._limits) | {"attempts": attempt.tried}
            _stop_slow(self._workers, self._limits)

    def _give(self, waiting: deque[_Attempt]) -> None:
        """Have whoever is free work on what waits, and start as many more as there is work for."""
        for worker in self._workers:
            if waiting and worker.ready and worker.attempt is None and worker.stopping is None:
                worker.give(waiting.popleft())
        starting = sum(not worker.ready for worker in self._workers)
        for _ in range(min(self._jobs - len(self._workers), len(waiting) - starting)):
            worker = _Worker(self._limits, self._folder)
            self._workers.append(worker)
            self._selector.register(worker.output, selectors.EVENT_READ, worker)

    def _answered(self, worker: _Worker, answer: dict[str, Any]) -> _Attempt | None:
        """What an answer is about; None if it is about the process itself."""
        self._stillborn = 0
        if "ready" in answer:
            worker.ready = True
            return None
        attempt, worker.attempt = worker.attempt, None
        return attempt

    def _buried(self, worker: _Worker) -> _Attempt | None:
        """What a process was at that has ended, if anything."""
        self._selector.unregister(worker.output)
        self._workers.remove(worker)
        worker.end()
        if not worker.ready:
            self._stillborn += 1
            if self._stillborn >= _STILLBORN:
                raise RuntimeError(f"no process can be started: {worker.cause}")
        return worker.attempt


def _again(attempt: _Attempt, answer: dict[str, Any], limits: Limits) -> bool:
    """Whether an exposure is to be tried again, and when."""
    if not answer.get("error", {}).get("passing") or attempt.errors >= limits.retries:
        return False
    attempt.due = time.monotonic() + limits.wait * 2**attempt.errors
    attempt.errors += 1
    return True


def _patience(workers: list[_Worker], later: list[_Attempt], limits: Limits) -> float | None:
    """Seconds until something has to be done even if nothing is heard; None for ever."""
    times = [attempt.due for attempt in later[:1]]
    for worker in workers:
        if worker.stopping is not None:
            times.append(worker.stopping)
        elif worker.attempt is not None and limits.seconds is not None:
            times.append(worker.since + limits.seconds)
    return max(0.0, min(times) - time.monotonic()) + 0.01 if times else None


def _stop_slow(workers: list[_Worker], limits: Limits) -> None:
    """Stop processes that take too long."""
    now = time.monotonic()
    for worker in workers:
        if worker.stopping is not None:
            if now >= worker.stopping:
                worker.process.kill()
        elif worker.attempt is not None and limits.seconds is not None and now >= worker.since + limits.seconds:
            worker.stop()


def _died(worker: _Worker, limits: Limits) -> dict[str, Any]:
    """What is told of an exposure whose process died."""
    assert worker.attempt is not None
    took = {"seconds": round(time.monotonic() - worker.since, 3), "memory": None}
    if worker.stopping is not None:
        text = f"it took longer than {limits.seconds:g} s (--time-limit)"
        return failure(worker.attempt.task, "time", text) | took
    return failure(worker.attempt.task, "crash", f"{worker.cause}, twice") | took
