"""A process that works on one exposure after the other: ``python -m diffim_decorr.batch.worker``.

It takes JSON lines from standard input, first its settings and then tasks, and answers each on standard output by one
line. It ends when its input does, whatever it is at: whoever started it has gone.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import warnings
from contextlib import suppress
from queue import SimpleQueue
from typing import Any, NoReturn, TextIO

__all__ = ("main",)

# Rather this process than the one that would start another.
_OUT_OF_MEMORY_SCORE = "500"


class _Inbox:
    """What comes in, read by a thread so that the end of it is noticed at once."""

    def __init__(self) -> None:
        self.lines: SimpleQueue[str | None] = SimpleQueue()
        self.working = False
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        for line in sys.stdin:
            self.lines.put(line)
        self.lines.put(None)
        if self.working:
            os.kill(os.getpid(), signal.SIGTERM)


def _terminated(number: int, _frame: Any) -> NoReturn:
    # As an exception, so that unfinished files are removed on the way out.
    signal.signal(number, signal.SIG_IGN)
    sys.exit(128 + number)


def main() -> None:
    """Work until the input ends."""
    # Ctrl-C is for whoever started it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _terminated)
    if not sys.warnoptions:
        warnings.simplefilter("ignore")
    with suppress(OSError), open("/proc/self/oom_score_adj", "w") as file:
        file.write(_OUT_OF_MEMORY_SCORE)
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what else is printed is no answer
    inbox = _Inbox()
    _work(inbox, answers)


def _work(inbox: _Inbox, answers: TextIO) -> None:
    from diffim_decorr.batch.work import work
    from diffim_decorr.memory import limit
    from diffim_decorr.threads import keep_to

    settings = json.loads(inbox.lines.get() or "{}")
    if settings.get("threads"):
        keep_to(settings["threads"])
    if settings.get("memory"):
        limit(settings["memory"])
    _answer(answers, {"ready": True})
    while (line := inbox.lines.get()) is not None:
        inbox.working = True
        outcome = work(json.loads(line))
        inbox.working = False
        _answer(answers, outcome)


def _answer(answers: TextIO, told: dict[str, Any]) -> None:
    answers.write(json.dumps(told, allow_nan=False) + "\n")
    answers.flush()


if __name__ == "__main__":
    main()
