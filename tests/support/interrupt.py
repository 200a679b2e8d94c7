"""``decorr`` with something going wrong: ``python -m support.interrupt STEP WHAT ARGS``, after a step of its output."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from astropy.io import fits

from diffim_decorr.cli import main
from diffim_decorr.io.atomic import Draft
from diffim_decorr.io.output.file import OutputFile

STEPS: dict[str, tuple[Any, str]] = {
    "created": (Draft, "reserve"),
    "reserved": (os, "posix_fallocate"),
    "pixels": (OutputFile, "write"),
    "finished": (OutputFile, "finish"),
    "packed": (fits.HDUList, "writeto"),
    "zipped": (shutil, "copyfileobj"),
}


def kill(name: str) -> None:
    os.kill(os.getpid(), getattr(signal, name))


def kill_again_and_again() -> None:
    """Twice now, and twice for every file that is taken away then."""
    unlink = os.unlink

    def interrupted(path: Any) -> None:
        kill("SIGTERM")
        kill("SIGTERM")
        unlink(path)

    os.unlink = interrupted
    kill("SIGTERM")
    kill("SIGTERM")


def fail(name: str) -> None:
    number = getattr(errno, name)
    raise OSError(number, os.strerror(number))


def effect(what: str) -> Callable[[], Any]:
    if what == "again and again":
        return kill_again_and_again
    if what == "appear":
        return lambda: Path("out.fits").write_text("precious")
    return lambda: kill(what) if what.startswith("SIG") else fail(what)


def spoil(step: str, what: str) -> None:
    owner, name = STEPS[step]
    real, happen = getattr(owner, name), effect(what)

    def spoilt(*args: Any, **keywords: Any) -> Any:
        result = real(*args, **keywords)
        happen()
        return result

    setattr(owner, name, spoilt)


if __name__ == "__main__":
    step, what, *sys.argv[1:] = sys.argv[1:]
    spoil(step, what)
    main()
