"""Faults and signals at single calls of the system by which files are written."""

from __future__ import annotations

import atexit
import builtins
import errno
import fcntl
import io
import os
import signal
import threading
from collections.abc import Callable
from typing import Any

__all__ = ("COUNTED", "FAULTS", "inject")

#: What can go wrong at a call: it fails, or there is a signal before or after it.
FAULTS = (
    "ENOSPC", "EIO", "EACCES", "SIGTERM before", "SIGTERM after", "SIGINT before", "SIGINT after", "SIGKILL before",
    "SIGKILL after",
)  # fmt: skip
#: Where the number of calls is written, once the process has come to its end.
COUNTED = "counted"

# Calls on descriptors, and on names, of which those of unfinished files and of outputs count.
_DESCRIPTORS = ("fsync", "pwrite", "posix_fallocate", "ftruncate")
_NAMES = ("open", "link", "replace", "rename", "unlink", "chmod")


class _Calls:
    """Counts calls, and spoils one of them."""

    def __init__(self, at: int, what: str) -> None:
        self.count = 0
        self._at, self._what = at, what
        self._lock = threading.Lock()

    def spoil(self, real: Callable[..., Any], *args: Any, **keywords: Any) -> Any:
        with self._lock:
            self.count += 1
            mine = self.count == self._at
        what, _, when = self._what.partition(" ")
        if mine and not when:
            number = getattr(errno, what)
            raise OSError(number, os.strerror(number), *(args[:1] if args and isinstance(args[0], str) else ()))
        if mine and when == "before":
            os.kill(os.getpid(), getattr(signal, what))
        result = real(*args, **keywords)
        if mine and when == "after":
            os.kill(os.getpid(), getattr(signal, what))
        return result


def _is_ours(*args: Any) -> bool:
    return any(isinstance(arg, str) and (".decorr-" in arg or "out" in arg or arg == ".") for arg in args)


def inject(at: int, what: str) -> None:
    """Spoil a call of this process from now on, by its number; none if that is 0, when they are counted."""
    calls = _Calls(at, what)
    if not at:
        _tell_count(calls)
    for owner, names, counts in (
        (os, _DESCRIPTORS, lambda *_: True),
        (os, _NAMES, _is_ours),
        (fcntl, ("flock",), lambda *_: True),
    ):
        for name in names:
            setattr(owner, name, _spoilt(calls, getattr(owner, name), counts))
    _spoil_files(calls)


def _spoilt(calls: _Calls, real: Callable[..., Any], counts: Callable[..., bool]) -> Callable[..., Any]:
    def call(*args: Any, **keywords: Any) -> Any:
        return calls.spoil(real, *args, **keywords) if counts(*args) else real(*args, **keywords)

    return call


def _spoil_files(calls: _Calls) -> None:
    """Count what is written to unfinished files that are opened by their names."""
    whole = builtins.open

    class Raw(io.FileIO):
        def write(self, data: Any) -> Any:
            return calls.spoil(super().write, data)

    def opened(path: Any, mode: str = "r", *args: Any, **keywords: Any) -> Any:
        if mode not in ("w", "wb") or not _is_ours(path):
            return whole(path, mode, *args, **keywords)
        file = io.BufferedWriter(calls.spoil(Raw, path, "w"))
        return file if mode == "wb" else io.TextIOWrapper(file, encoding=keywords.get("encoding"))

    builtins.open = opened  # type: ignore[assignment]


def _tell_count(calls: _Calls) -> None:
    @atexit.register
    def tell() -> None:
        with io.FileIO(COUNTED, "w") as file:
            file.write(str(calls.count).encode())
