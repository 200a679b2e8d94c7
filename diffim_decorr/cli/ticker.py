"""How far a batch has come, on standard error: a live line on a terminal, else a line for each exposure."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from contextlib import ExitStack
from datetime import UTC, datetime
from time import perf_counter
from typing import TYPE_CHECKING, Any, Self, TextIO

from diffim_decorr.cli.common import say, warn
from diffim_decorr.errors import UsageError, plain

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from diffim_decorr.batch.night import Totals

__all__ = ("Ticker",)


class Ticker:
    """Tells what became of each exposure as it comes.

    Parameters
    ----------
    total
        How many exposures there are.
    quiet
        Whether nothing is to be said on standard error.
    log
        A file that is told everything, too.
    """

    def __init__(self, total: int, quiet: bool, log: str | None) -> None:
        self._total = total
        self._quiet = quiet or sys.stderr is None
        self._log: TextIO | None = None
        self._log_name = log or ""
        self._bar: tuple[Progress, TaskID] | None = None
        self._start = perf_counter()
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        if self._log_name:
            try:
                self._log = self._stack.enter_context(open(self._log_name, "a", encoding="utf-8"))
            except OSError as error:
                raise UsageError(f"{self._log_name}: the log cannot be written: {error.strerror}") from error
        if not self._quiet and sys.stderr.isatty():
            self._bar = self._live()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _live(self) -> tuple[Progress, TaskID]:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        bar = Progress(
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[failed]} failed, {task.fields[rate]}, left"),
            TimeRemainingColumn(),
            console=Console(stderr=True, highlight=False, markup=False, emoji=False),
        )
        self._stack.enter_context(bar)
        return bar, bar.add_task("", total=self._total, failed=0, rate="")

    def note(self, text: str) -> None:
        """Tell anything."""
        self._write(text, True)

    def tell(self, outcome: Mapping[str, Any], totals: Totals) -> None:
        """Tell what became of an exposure."""
        status, width = outcome["status"], len(str(totals.total))
        if status == "failed":
            what = f"failed: {outcome['error']['message']}"
        elif status == "skipped":
            what = f"skipped: {outcome['why']}"
        else:
            what = f"done in {outcome['seconds']:.2f} s: {outcome['verdict']}"
        if outcome["gates"]:
            what += f"; marked: {', '.join(outcome['gates'])}"
        self._write(f"[{totals.ended:{width}}/{totals.total}] {outcome['output']}: {what}", status == "failed")
        if self._bar is not None:
            bar, task = self._bar
            rate = (totals.done + totals.failed) / (perf_counter() - self._start)
            bar.update(task, completed=totals.ended, failed=totals.failed, rate=f"{rate:.2f} a second")

    def end(self, totals: Totals) -> None:
        """Tell what all came to."""
        seconds = perf_counter() - self._start
        counts = f"{totals.done} done, {totals.skipped} skipped, {totals.failed} failed"
        self._write(f"{counts} in {seconds:.1f} s", False)

    def _write(self, text: str, matters: bool) -> None:
        """One line with its time; a terminal with a live line has those only that matter."""
        line = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ} {plain(text)}"
        if self._log is not None:
            try:
                self._log.write(line + "\n")
                self._log.flush()
            except OSError as error:
                self._log = None
                warn(f"{self._log_name}: nothing more is written to the log: {os.strerror(error.errno or 0)}")
        if self._bar is not None:
            if matters:
                self._bar[0].console.print(plain(text))
        elif not self._quiet:
            say(line)
