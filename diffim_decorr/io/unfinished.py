"""Unfinished files: beside their place, named after it, and locked while somebody works on them.

What a process that was killed leaves behind is locked by nobody any more, and goes when the same output is begun again.
"""

from __future__ import annotations

import os
import re
import stat
import tempfile
from contextlib import suppress
from importlib import import_module
from typing import Any

__all__ = ("begin", "folder_of", "lock", "reclaim", "second_name")

fcntl: Any = None  # on systems without such locks, where what is left behind stays
with suppress(ImportError):
    fcntl = import_module("fcntl")

# Bytes of a name that can be kept, so that with all that is put to it a file system takes it.
_LONGEST = 150


def begin(path: str, ending: str) -> tuple[int, str]:
    """Create an empty file for what will be at a place, after what earlier ones left there is removed.

    Parameters
    ----------
    path
        The place.
    ending
        Of the file's own name.

    Returns
    -------
    descriptor, name
        Nobody removes the file before the descriptor is closed.

    Raises
    ------
    OSError
        If the folder cannot be written to.
    """
    reclaim(path)
    folder, prefix = _folder_and_prefix(path)
    while True:
        descriptor, name = tempfile.mkstemp(prefix=prefix, suffix=ending, dir=folder)
        # Between both, somebody else may have taken it for left behind.
        if lock(descriptor) is not False and os.fstat(descriptor).st_nlink:
            return descriptor, name
        os.close(descriptor)
        with suppress(FileNotFoundError):
            os.unlink(name)


def second_name(path: str) -> str:
    """What a file may be called besides its own name while another takes its place; reclaimed as what is unfinished."""
    folder, prefix = _folder_and_prefix(path)
    return os.path.join(folder, f"{prefix}{os.urandom(4).hex()}.old")


def lock(descriptor: int, shared: bool = False) -> bool | None:
    """Lock an open file until it is closed; False if somebody else has locked it, None if it cannot be locked."""
    if fcntl is None:
        return None
    try:
        fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a file system that has no locks
        return None
    return True


def reclaim(path: str) -> list[str]:
    """Remove unfinished files of a place on which nobody works any more.

    Returns
    -------
    names
        Of the files that were removed.
    """
    folder, prefix = _folder_and_prefix(path)
    form = re.compile(re.escape(prefix) + r"[a-z0-9_]{8}(\.\w+)*")
    removed = []
    with suppress(OSError), os.scandir(folder) as entries:
        removed = [entry.path for entry in entries if form.fullmatch(entry.name) and _remove_if_left(entry.path)]
    return removed


def folder_of(path: str) -> str:
    """The folder of a file, as the system finds it: ``link/..`` is not where the link is."""
    return os.path.dirname(path) or os.curdir


def _folder_and_prefix(path: str) -> tuple[str, str]:
    folder, name = folder_of(path), os.path.basename(path)
    kept = os.fsencode(name)[:_LONGEST].decode(errors="ignore")
    return folder, f".decorr-{kept}-"


def _remove_if_left(path: str) -> bool:
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:  # somebody else's
        return False
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode) or not lock(descriptor):
            return False
        os.unlink(path)
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return True
