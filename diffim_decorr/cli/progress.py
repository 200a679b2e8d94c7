"""How far a run has come, on standard error: a bar on a terminal, else one line if it will take long."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from time import perf_counter
from typing import TYPE_CHECKING

from diffim_decorr.cli.common import say

if TYPE_CHECKING:
    from diffim_decorr.record import Progress, Stage

__all__ = ("LONG", "Estimate", "progress_shown")

#: Seconds from which on a run takes long.
LONG = 10.0
# A stage is judged by its first steps once they have taken so many seconds.
_TELLING = 0.5
_CALLED: dict[Stage, str] = {
    "read": "reading",
    "noise": "measuring the noise",
    "psi": "building the kernel",
    "filter": "filtering",
    "qa": "measuring the quality",
    "write": "writing",
}


def progress_shown(quiet: bool, what: str = "this run") -> AbstractContextManager[Progress | None]:
    """What is to be told how far a run has come; nothing if it is to be quiet."""
    if quiet or sys.stderr is None:
        return nullcontext()
    return _bar() if sys.stderr.isatty() else nullcontext(Estimate(what))


class Estimate:
    """Says once how long a run takes, as soon as its steps tell that it is long.

    Parameters
    ----------
    what
        What takes so long.
    clock
        Tells the time in seconds.
    """

    def __init__(self, what: str, clock: Callable[[], float] = perf_counter) -> None:
        self._what = what
        self._clock = clock
        self._start = self._began = clock()
        self._said = False

    def __call__(self, stage: Stage, done: int, total: int, /) -> None:
        now = self._clock()
        if stage == "read":
            self._start = now
        if not done:
            self._began = now
        elif not self._said and now - self._began >= _TELLING:
            seconds = now - self._start + (now - self._began) / done * (total - done)
            if seconds >= LONG:
                self._said = True
                # How fast the filter is nobody knows before; what comes after it is short.
                about = "about" if stage == "filter" else "more than"
                say(f"decorr: {self._what} will take {about} {_rounded(seconds)}, {_CALLED[stage]} most of it")


def _rounded(seconds: float) -> str:
    """A time with as many digits as can be believed of an estimate."""
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} min"


@contextmanager
def _bar() -> Iterator[Progress]:
    """A progress bar."""
    from rich.console import Console
    from rich.progress import Progress as Bar

    with Bar(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=None)

        def show(stage: Stage, done: int, total: int, /) -> None:
            if done:
                bar.update(task, completed=done, total=total)
            else:
                bar.reset(task, total=None, description=_CALLED[stage])

        yield show
