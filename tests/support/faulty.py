"""A worker of a batch with something going wrong: ``python -m support.faulty WHAT FILE``.

FILE counts by its length how often it has happened.
"""

from __future__ import annotations

import errno
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

from diffim_decorr.batch import work, worker


def _disk() -> None:
    raise OSError(errno.EIO, os.strerror(errno.EIO), "somewhere")


def _stuck() -> None:
    """Whatever is asked of it."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    time.sleep(600)


EFFECTS: dict[str, Any] = {
    "SIGKILL": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "SIGBUS": lambda: os.kill(os.getpid(), signal.SIGBUS),
    "exit": lambda: os._exit(7),
    "EIO": _disk,
    "sleep": lambda: time.sleep(600),
    "stuck": _stuck,
    "memory": lambda: bytearray(10**9),
    "print": lambda: print("not an answer"),
    "error": lambda: 1 / 0,
}


def main() -> None:
    what, file, times = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
    if what == "stillborn":
        sys.exit("cannot even start")
    real = work.decorrelate_files

    def spoilt(*args: Any, **keywords: Any) -> Any:
        with file.open("a") as counter:
            counter.write("x")
        if file.stat().st_size <= times:
            EFFECTS[what]()
        return real(*args, **keywords)

    work.decorrelate_files = spoilt
    worker.main()


if __name__ == "__main__":
    main()
