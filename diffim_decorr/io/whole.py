"""Small files that appear whole or not at all."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

from diffim_decorr.errors import InputError
from diffim_decorr.io.drafts import move, naming, sync_folder

__all__ = ("whole_file",)


@contextmanager
def whole_file(path: str, overwrite: bool) -> Iterator[str]:
    """A file beside the place of another, that is moved there once all went well.

    Parameters
    ----------
    path
        Its place.
    overwrite
        Whether a file that is there may be replaced.

    Yields
    ------
    temporary
        Name of an empty file with the same ending.

    Raises
    ------
    InputError
        If nothing can be written there, or another file has appeared there in the meantime.
    OSError
        Naming the place, if it cannot be written to its end.
    """
    folder, name = os.path.split(os.path.abspath(path))
    ending = name[name.find(".", 1) :] if "." in name[1:] else ""
    try:
        descriptor, temporary = tempfile.mkstemp(prefix=".decorr-", suffix=ending, dir=folder)
    except OSError as error:
        raise InputError(f"{path}: the output cannot be written: {error.strerror}") from error
    os.close(descriptor)
    try:
        with naming(path):
            yield temporary
            with open(temporary, "rb+") as file:
                os.fsync(file.fileno())
            umask = os.umask(0)
            os.umask(umask)
            os.chmod(temporary, 0o666 & ~umask)
            move(temporary, path, overwrite)
            sync_folder(folder)
    except InputError as error:
        # Whoever wrote it knows of the temporary file only.
        raise InputError(str(error).replace(temporary, path)) from error
    finally:
        if os.path.exists(temporary):
            os.unlink(temporary)
