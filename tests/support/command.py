"""Running the real command."""

from __future__ import annotations

import atexit
import functools
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from support.files import listing

__all__ = ("COMMAND", "ENVIRONMENT", "OUT", "decorr", "on_terminal", "quickly", "refused", "succeed", "told")

OUT = ("-o", "out.fits")
COMMAND = [sys.executable, "-m", "diffim_decorr"]
# As in any shell, but that whatever warns is an error.
ENVIRONMENT = {**os.environ, "PYTHONWARNINGS": "error"}

Runner = Callable[..., subprocess.CompletedProcess[str]]

# Python takes longer to start and import than the command to refuse an input: this has done so once and forks.
_SERVER = """
import gc, importlib, json, os, pkgutil, signal, sys
import diffim_decorr
for module in pkgutil.walk_packages(diffim_decorr.__path__, "diffim_decorr."):
    if not module.name.endswith("__main__"):
        importlib.import_module(module.name)
from diffim_decorr.cli import main
gc.freeze()
for line in sys.stdin:
    child = os.fork()
    if child == 0:
        break
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
else:
    sys.exit()
job = json.loads(line)
signal.alarm(60)
os.chdir(job["folder"])
for number, name, flags in ((0, os.devnull, os.O_RDONLY), (1, job["out"], os.O_WRONLY), (2, job["err"], os.O_WRONLY)):
    os.dup2(os.open(name, flags), number)
sys.argv[:] = ["decorr", *job["args"]]
main()
"""


def decorr(folder: Path, *args: object, **keywords: Any) -> subprocess.CompletedProcess[str]:
    """Run ``decorr ARGS`` in a folder."""
    keywords = {"env": ENVIRONMENT, "timeout": 60, "stdin": subprocess.DEVNULL, "capture_output": True, **keywords}
    return subprocess.run([*COMMAND, *map(str, args)], cwd=folder, text=True, **keywords)


def quickly(folder: Path, *args: object) -> subprocess.CompletedProcess[str]:
    """The same in a process that is forked off one that has imported everything already."""
    server = _server()
    with tempfile.NamedTemporaryFile("r") as out, tempfile.NamedTemporaryFile("r") as err:
        job = {"folder": str(folder), "args": list(map(str, args)), "out": out.name, "err": err.name}
        server.stdin.write(json.dumps(job) + "\n")
        server.stdin.flush()
        status = int(server.stdout.readline())
        return subprocess.CompletedProcess(job["args"], status, out.read(), err.read())


@functools.cache
def _server() -> subprocess.Popen[str]:
    server = subprocess.Popen(
        [sys.executable, "-c", _SERVER], env=ENVIRONMENT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )

    @atexit.register
    def stop() -> None:
        server.communicate()

    return server


def on_terminal(folder: Path, *args: object, **environment: str) -> tuple[str, int]:
    """What the command shows on a terminal, and its status."""
    pty = pytest.importorskip("pty")
    mine, its = pty.openpty()
    env = {**ENVIRONMENT, "TERM": "xterm", "COLUMNS": "100", **environment}
    line = [*COMMAND, *map(str, args)]
    with subprocess.Popen(line, cwd=folder, env=env, stdin=its, stdout=its, stderr=its) as process:
        os.close(its)
        shown = b""
        while True:
            try:
                part = os.read(mine, 4096)
            except OSError:  # how Linux says that the other side has been closed
                break
            if not part:
                break
            shown += part
        status = process.wait(timeout=60)
    os.close(mine)
    return shown.decode(), status


def succeed(folder: Path, *args: object, status: int = 0) -> subprocess.CompletedProcess[str]:
    """Run a command that must end well, or as it is said."""
    done = quickly(folder, *args)
    assert done.returncode == status, done.stderr
    return done


def told(folder: Path, *args: object) -> dict[str, Any]:
    """What a command says with ``--json``."""
    said: dict[str, Any] = json.loads(succeed(folder, *args, "--json").stdout)
    return said


def refused(
    folder: Path, says: str | tuple[str, ...], *args: object, status: int = 3, run: Runner = quickly
) -> subprocess.CompletedProcess[str]:
    """Run a command that must be refused, in one line if it is an input that cannot be used; nothing is written."""
    before = listing(folder)
    done = run(folder, *args)
    assert done.returncode == status, done.stderr
    assert done.stdout == ""
    for text in (says,) if isinstance(says, str) else says:
        assert text in done.stderr
    if status == 3 or done.stderr.startswith("decorr: error: "):
        assert done.stderr.startswith("decorr: error: ")
        assert done.stderr.count("\n") == 1, done.stderr
    assert listing(folder) == before
    return done
