"""Timing commands in processes of their own, turn and turn about, and what is said of the figures."""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

__all__ = ("HERE", "Sample", "Spread", "cores", "interleaved", "machine", "ratio", "spread", "timed")

HERE = Path(__file__).resolve().parent


@dataclass(frozen=True)
class Sample:
    """One run of a command.

    Parameters
    ----------
    wall
        Seconds from start to end of its process.
    cpu
        Seconds of all its threads on the processors.
    peak
        Its largest resident memory [MiB].
    own
        The same without what is mapped of files [MiB], as far as it was seen.
    said
        The JSON object it printed, if any.
    stopped
        Whether it took too long and was ended; what is known of it are then lower limits.
    """

    wall: float
    cpu: float
    peak: float
    own: float
    said: dict[str, Any]
    stopped: bool = False

    @property
    def seconds(self) -> float:
        """Seconds of the work alone where the command tells them, else of the whole process."""
        return float(self.said.get("seconds", self.wall))

    @property
    def processors(self) -> float:
        """Seconds on the processors, of the work alone where the command tells them."""
        return float(self.said.get("cpu", self.cpu))


@dataclass(frozen=True)
class Spread:
    """Median of several figures, and the smallest and the largest of them."""

    median: float
    low: float
    high: float

    def __format__(self, form: str) -> str:
        return f"{self.median:{form}} ({self.low:{form}}–{self.high:{form}})"


def spread(figures: Sequence[float]) -> Spread:
    return Spread(statistics.median(figures), min(figures), max(figures))


def ratio(samples: Sequence[Sample], others: Sequence[Sample], figure: Callable[[Sample], float]) -> Spread:
    """Spread of a figure over that of the others, round by round."""
    return spread([figure(a) / figure(b) for a, b in zip(samples, others, strict=True)])


def cores() -> int:
    """How many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def timed(command: Sequence[object], *, settle: bool = True, limit: float = 0) -> Sample:
    """Run a command in a process of its own.

    Parameters
    ----------
    command
        The command and its arguments.
    settle
        Whether to wait first until what earlier runs wrote is on the disk, which would take of this one's time.
    limit
        Seconds after which it is ended; 0 for none.

    Raises
    ------
    RuntimeError
        If it fails.
    """
    line = [sys.executable, str(HERE / "launch.py"), str(limit), *map(str, command)]
    if settle:
        os.sync()
    done = subprocess.run(line, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{' '.join(map(str, command))}\n{done.stderr.strip()}")
    figures = json.loads(done.stdout)
    output = figures["output"].strip()
    said = json.loads(output) if output.startswith("{") else {}
    return Sample(figures["wall"], figures["cpu"], figures["peak"], figures["own"], said, figures["stopped"])


def interleaved(
    commands: Mapping[str, Sequence[object]],
    rounds: int,
    *,
    warm_up: bool = True,
    settle: bool = True,
    limit: float = 0,
) -> dict[str, list[Sample]]:
    """Run commands one after the other, again and again, so that whatever disturbs the machine disturbs all of them.

    One that takes too long is run once.

    Parameters
    ----------
    commands
        The commands by name.
    rounds
        How often each of them is measured.
    warm_up
        Whether one more round comes first and is left out.
    settle, limit
        See `timed`.

    Returns
    -------
    samples
        For each name its runs, in the order of the rounds.
    """
    samples: dict[str, list[Sample]] = {name: [] for name in commands}
    stopped: dict[str, Sample] = {}
    for number in range(-1 if warm_up else 0, rounds):
        for name, command in commands.items():
            sample = stopped.get(name) or timed(command, settle=settle, limit=limit)
            if sample.stopped:
                stopped[name] = sample
            if number >= 0:
                samples[name].append(sample)
    return samples


def machine() -> dict[str, str]:
    """What the figures depend on: processor, memory, versions."""
    versions = []
    for package in ("diffim-decorr", "numpy", "scipy", "astropy", "ducc0", "sfft"):
        try:
            versions.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            versions.append(f"no {package}")
    return {
        "processor": f"{_field('/proc/cpuinfo', 'model name') or platform.processor()}, {cores()} cores",
        "memory": _memory(),
        "system": f"{platform.system()} {platform.release()}, Python {platform.python_version()}",
        "packages": ", ".join(versions),
    }


def _memory() -> str:
    kibibytes = _field("/proc/meminfo", "MemTotal").split()
    return f"{int(kibibytes[0]) / 2**20:.0f} GiB" if kibibytes else "unknown"


def _field(path: str, name: str) -> str:
    """A line of one of Linux's files about the machine; empty elsewhere."""
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except OSError:
        return ""
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(name)), "")
