"""How much memory a process takes, and may take."""

from __future__ import annotations

import os
import re
from contextlib import suppress
from importlib import import_module
from typing import Any

__all__ = ("available", "begin_peak", "limit", "peak")

resource: Any = None  # on systems that do not tell
with suppress(ImportError):
    resource = import_module("resource")


def begin_peak() -> None:
    """Begin to measure: the largest amount of memory is that from now on, where the system can do that."""
    with suppress(OSError), open("/proc/self/clear_refs", "w") as file:
        file.write("5")


def peak() -> float | None:
    """The largest amount of memory that was in use since then, in MB."""
    with suppress(OSError), open("/proc/self/status") as file:
        match = re.search(r"^VmHWM:\s*(\d+) kB", file.read(), re.MULTILINE)
        if match is not None:
            return round(int(match[1]) * 1.024e-3, 1)
    if resource is None:
        return None
    return round(float(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss) * 1.024e-3, 1)


def limit(megabytes: float) -> None:
    """Have this process take no more memory than this: what goes beyond is a MemoryError."""
    if resource is not None:
        with suppress(ValueError, OSError):  # less is allowed anyway
            hard = resource.getrlimit(resource.RLIMIT_DATA)[1]
            resource.setrlimit(resource.RLIMIT_DATA, (int(1e6 * megabytes), hard))


def available() -> float | None:
    """Memory that is free, in MB, or that the container or this process may have if that is less; None if not known."""
    found = _limits()
    with suppress(OSError), open("/proc/meminfo") as file:
        match = re.search(r"^MemAvailable:\s*(\d+) kB", file.read(), re.MULTILINE)
        found += [int(match[1]) * 1.024e-3] if match else []
    for most in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        with suppress(OSError, ValueError), open(most) as file:
            found.append(int(file.read()) * 1e-6)
    if not found and hasattr(os, "sysconf"):
        with suppress(ValueError, OSError):
            found.append(os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") * 1e-6)
    return min(found, default=None)


def _limits() -> list[float]:
    """What the limits of this process leave it, in MB."""
    found = []
    for kind, taken in (("RLIMIT_AS", "VmSize"), ("RLIMIT_DATA", "VmData")):
        most = resource.getrlimit(getattr(resource, kind))[0] if hasattr(resource, kind) else -1
        if most >= 0:
            with suppress(OSError), open("/proc/self/status") as file:
                match = re.search(rf"^{taken}:\s*(\d+) kB", file.read(), re.MULTILINE)
                most -= int(match[1]) * 1024 if match else 0
            found.append(max(0.0, most * 1e-6))
    return found
