"""How many threads there are to work with, and none besides them in the linear algebra libraries.

What these libraries compute depends in its last bits on how many threads they take, so that the same run would give
other pixels on another machine, or under another setting of theirs. Every run therefore keeps them to one thread; it
has threads of its own.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

__all__ = ("LIBRARIES", "available_threads", "keep_to", "serial_blas", "within_memory")

#: Bytes that the interpreter takes, with all libraries that a run imports.
LIBRARIES = 180_000_000

_lock = threading.Lock()
_inside = 0
_most = 0
_limits: list[Any] = []


def available_threads() -> int:
    """The number of processors that this process may use."""
    there = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(there, _most or there)


def keep_to(threads: int) -> None:
    """Have this process take so many processors for all there are, as one of several that share them."""
    global _most
    _most = threads


def within_memory(threads: int, each: int, budget: int) -> int:
    """How many threads may work at once, at least one, if each takes so many bytes and all have so many."""
    return max(1, min(threads, budget // max(each, 1)))


@contextmanager
def serial_blas() -> Iterator[None]:
    """Keep the linear algebra libraries that are loaded to one thread, until the last of all that ask for it is done.

    Several threads of a program may be inside at the same time, and the same one more than once.
    """
    from threadpoolctl import threadpool_limits

    global _inside
    with _lock:
        _inside += 1
        _limits.append(threadpool_limits(1, user_api="blas"))
    try:
        yield
    finally:
        with _lock:
            _inside -= 1
            if not _inside:
                # The first one knows what it was before, and each later one of libraries that were loaded since.
                for limit in reversed(_limits):
                    limit.restore_original_limits()
                _limits.clear()
