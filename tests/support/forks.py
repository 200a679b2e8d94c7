"""Running the command many times, each time in a process of its own that is forked off one that has imported all.

``python -m support.forks`` is that one: it takes jobs as lines of JSON, and answers each by the status it ended with.
"""

from __future__ import annotations

import atexit
import gc
import importlib
import json
import os
import pkgutil
import resource
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

__all__ = ("Forks",)


class Forks:
    """Runs ``decorr`` in a folder, with limits and with something going wrong on the way.

    Parameters
    ----------
    folder
        Where; what is said is in the files ``stdout`` and ``stderr`` there.
    seconds, megabytes
        Limits of each.
    """

    def __init__(self, folder: Path, seconds: int = 60, megabytes: int = 2000) -> None:
        self._folder = folder
        self._limits = {"seconds": seconds, "bytes": megabytes * 1_000_000}
        found = [str(Path(__file__).parents[1]), *filter(None, [os.environ.get("PYTHONPATH")])]
        self._process = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-m", "support.forks"], cwd=folder, stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, text=True, env=os.environ | {"PYTHONPATH": os.pathsep.join(found)},
        )  # fmt: skip

    def run(self, *args: str, fault: tuple[int, str] | None = None) -> tuple[int, str, str]:
        """Status, standard output and standard error; see `support.faults` for what may go wrong."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({"args": args, "fault": fault, **self._limits}) + "\n")
        self._process.stdin.flush()
        status = int(self._process.stdout.readline())
        return status, *((self._folder / name).read_text(errors="replace") for name in ("stdout", "stderr"))

    def stop(self) -> None:
        self._process.communicate()


def _import_all() -> None:
    import diffim_decorr

    for module in pkgutil.walk_packages(diffim_decorr.__path__, "diffim_decorr."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)


def _wait_for_work() -> dict[str, Any]:
    """Fork for each job; what comes back is the job, in the child."""
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            return dict(json.loads(line))
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
    sys.exit()


def _work(job: dict[str, Any]) -> None:
    from diffim_decorr.cli import main
    from support.faults import inject

    signal.alarm(job["seconds"])
    resource.setrlimit(resource.RLIMIT_DATA, (job["bytes"], job["bytes"]))
    for number, name in ((1, "stdout"), (2, "stderr")):
        os.dup2(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
    sys.argv[:] = ["decorr", *job["args"]]
    if job["fault"] is not None:
        inject(*job["fault"])
    try:
        main()
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else 1
    else:
        status = 0
    # As an interpreter ends, but that it does not take itself to pieces, which takes longer than most of what is tried.
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(status)


if __name__ == "__main__":
    _import_all()
    gc.freeze()
    _work(_wait_for_work())
