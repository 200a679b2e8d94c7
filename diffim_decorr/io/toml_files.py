"""TOML files that people write: read as a whole, unless they are what nobody writes."""

from __future__ import annotations

import os
from typing import Any

__all__ = ("read_toml",)

_LARGEST = 16 << 20  # bytes


def read_toml(path: str, error: type[Exception]) -> dict[str, Any]:
    """The entries of a TOML file.

    Parameters
    ----------
    path
        Name of the file.
    error
        What is raised, with a line that names the file, if it cannot be read or is none.
    """
    import tomllib  # which most runs have no use for

    if os.path.exists(path) and not os.path.isfile(path) and not os.path.isdir(path):
        raise error(f"{path}: is not a regular file")
    try:
        with open(path, "rb") as file:
            text = file.read(_LARGEST + 1)
        if len(text) > _LARGEST:
            raise error(f"{path}: has more than {_LARGEST >> 20} MiB, which no list of options or images has")
        return tomllib.loads(text.decode("utf-8"))
    except OSError as failure:
        raise error(f"{path}: cannot be read: {failure.strerror}") from failure
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as failure:
        raise error(f"{path}: not a TOML file: {failure}") from failure
