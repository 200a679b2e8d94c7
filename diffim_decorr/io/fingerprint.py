"""Telling whether a file is still the one that was read."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable

from diffim_decorr.errors import InputError
from diffim_decorr.images.planes import Identity, identity_of
from diffim_decorr.io.hdus import split_spec

__all__ = ("Watch", "fingerprint", "modified")

# A checksum of so many bytes in so many places tells files apart as well as one of all that they hold, unless somebody
# changes single pixels on purpose; and reading them takes milliseconds.
_BLOCKS, _LENGTH = 32, 32_768


def fingerprint(path: str) -> str:
    """Size in bytes and a checksum (BLAKE2b, 16 digits) of 1 MiB spread evenly over a file, or all of a smaller one.

    Raises
    ------
    OSError
        If it cannot be read.
    """
    digest = hashlib.blake2b(digest_size=8)
    with open(path, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        if size <= _BLOCKS * _LENGTH:
            digest.update(file.read())
        else:
            for k in range(_BLOCKS):
                file.seek((size - _LENGTH) * k // (_BLOCKS - 1))
                digest.update(file.read(_LENGTH))
    return f"{size}:{digest.hexdigest()}"


def modified(path: str) -> str:
    """When a file was changed last: seconds since 1970, with as many digits as the file system has.

    Raises
    ------
    OSError
        If there is no such file.
    """
    seconds, nanoseconds = divmod(os.stat(path).st_mtime_ns, 10**9)
    return f"{seconds}.{nanoseconds:09d}"


class Watch:
    """Sees whether files stay what they are while they are read.

    Parameters
    ----------
    specs
        Their names, with or without HDU. Of files that are not there whoever reads them will say so.
    """

    def __init__(self, specs: Iterable[str]) -> None:
        self._before = {path: _identity(path) for path in dict.fromkeys(split_spec(spec)[0] for spec in specs)}

    def check(self) -> None:
        """Refuse what was made of files of which some are others by now.

        Raises
        ------
        InputError
            Naming the first.
        """
        for path, before in self._before.items():
            if _identity(path) != before:
                raise InputError(f"{path}: has changed while it was read; nothing is written")


def _identity(path: str) -> Identity | None:
    try:
        return identity_of(path)
    except OSError:
        return None
