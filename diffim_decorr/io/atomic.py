"""Files that are written beside their place, synced, and renamed, so that they appear whole or not at all."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from typing import BinaryIO

from astropy.io import fits

from diffim_decorr.errors import InputError, OutputExistsError, UsageError
from diffim_decorr.io.packing import is_packed, pack
from diffim_decorr.io.signals import undisturbed
from diffim_decorr.io.structure import BLOCK
from diffim_decorr.io.unfinished import begin, folder_of, second_name

__all__ = (
    "Draft",
    "check_output",
    "drafts",
    "exists_already",
    "move",
    "naming",
    "sync_folder",
    "whole_file",
    "write_hdus",
)

# What file systems answer that cannot sync folders or reserve room.
_PIECE = 1 << 24  # bytes that are moved at a time
_CANNOT = (errno.EINVAL, errno.EOPNOTSUPP, errno.ENOSYS, errno.EBADF)


class Draft:
    """A file that is not finished.

    Parameters
    ----------
    path
        Where it will be, and what it is called in messages.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self.end = 0
        try:
            descriptor, self.temporary = begin(path, ".part")
        except OSError as error:
            raise UsageError(f"{path}: the output cannot be written: {error.strerror}") from error
        self._file: BinaryIO = os.fdopen(descriptor, "r+b")

    def claim(self, length: int) -> int:
        """Room for so many bytes and the rest of their last block, at the offset that is returned."""
        offset = self.end
        self.end += length + -length % BLOCK
        return offset

    def put(self, offset: int, data: bytes | memoryview) -> None:
        view = memoryview(data)
        with naming(self.path):
            while view:
                count = os.pwrite(self._file.fileno(), view, offset)
                view, offset = view[count:], offset + count

    def append(self, hdu: bytes) -> None:
        """A whole HDU."""
        self.put(self.claim(len(hdu)), hdu)

    def reserve(self) -> None:
        """Take up what was claimed: space that is missing is better missed now than at the end."""
        with naming(self.path):
            try:
                os.posix_fallocate(self._file.fileno(), 0, self.end)
            except (AttributeError, OSError) as error:
                if isinstance(error, OSError) and error.errno not in _CANNOT:
                    raise
                self._file.truncate(self.end)

    def cut(self, end: int) -> None:
        """Give up what was claimed from there on."""
        with naming(self.path):
            self._file.truncate(end)
        self.end = end

    def shift(self, start: int, by: int) -> None:
        """Move all that was claimed from an offset on by so many bytes, to the end of the file if more than 0."""
        if by > 0:
            self.end += by
            self.reserve()
            self.end -= by
        begins = range(start, self.end, _PIECE)
        with naming(self.path):
            for begin in reversed(begins) if by > 0 else begins:
                piece = os.pread(self._file.fileno(), min(_PIECE, self.end - begin), begin)
                self.put(begin + by, piece)
        if by > 0:
            self.end += by
        else:
            self.cut(self.end + by)

    def sync(self) -> None:
        with naming(self.path):
            os.fsync(self._file.fileno())

    def close(self) -> None:
        """Have what was written on the disk, and compress it if the name asks for that.

        The file stays open, and so is taken by nobody for left behind, until it is in its place.
        """
        self.sync()
        with naming(self.path):
            if is_packed(self.path):
                packed = pack(self.temporary, self.path)
                self._file.close()
                self._file = packed
            _allow(self.temporary)

    def is_at(self, path: str) -> bool:
        """Whether it is what a name stands for."""
        try:
            return os.path.samestat(os.lstat(path), os.fstat(self._file.fileno()))
        except FileNotFoundError:
            return False

    def discard(self) -> None:
        """Remove what is left of it beside its place."""
        with naming(self.path):
            self._file.close()
            _remove(self.temporary)


@contextmanager
def drafts(paths: Sequence[str], *, overwrite: bool) -> Iterator[dict[str, Draft]]:
    """Files by their paths, moved to their places once all went well.

    The first one comes last, so that the others are there when it is.
    """
    unfinished: dict[str, Draft] = {}
    try:
        for path in paths:
            with undisturbed():
                unfinished[path] = Draft(path)
        yield unfinished
        for draft in unfinished.values():
            draft.close()
        with undisturbed():
            _place(unfinished, overwrite)
            for draft in unfinished.values():
                draft.discard()
    except BaseException as error:
        with undisturbed():
            for draft in unfinished.values():
                _clean_up(draft.discard, error)
        raise


def _place(finished: dict[str, Draft], overwrite: bool) -> None:
    """Move files to their places, all of them or none: if one fails, what was there before comes back."""
    before = {path: second_name(path) for path in finished} if overwrite else {}
    moving: list[str] = []
    try:
        for path, draft in reversed(finished.items()):
            moving.append(path)
            if overwrite:
                with suppress(OSError):  # there is nothing, or the file system has no second names
                    os.link(path, before[path], follow_symlinks=False)
            with naming(path):
                move(draft.temporary, path, overwrite)
                sync_folder(folder_of(path))
    except BaseException as error:
        for path in moving:
            _clean_up(partial(_put_back, path, finished[path], before.get(path)), error)
        raise
    failed: list[OSError] = []
    for path, name in before.items():
        try:
            with naming(path):
                _remove(name)
        except OSError as error:
            error.add_note(f"it is written, but {name} could not be removed")
            failed.append(error)
    if failed:
        raise failed[0]


def _put_back(path: str, draft: Draft, old: str | None) -> None:
    """Undo that a file was moved to its place, if it was."""
    with naming(path):
        if not draft.is_at(path):
            if old is not None:
                _remove(old)
        elif old is not None and os.path.lexists(old):
            os.replace(old, path)
        else:
            _remove(path)


def _clean_up(action: Callable[[], None], error: BaseException) -> None:
    """Do something after an error, which is to be told in any case, and this too if it fails."""
    try:
        action()
    except OSError as other:
        error.add_note(f"{other.filename}: what was begun could not be removed: {other.strerror}")


def _remove(path: str) -> None:
    with suppress(FileNotFoundError):
        os.unlink(path)


def _allow(path: str) -> None:
    """Give a temporary file the permissions of any other."""
    umask = os.umask(0)
    os.umask(umask)
    os.chmod(path, 0o666 & ~umask)


def exists_already(path: str) -> OutputExistsError:
    """What is to be said where a file must not be replaced."""
    return OutputExistsError(f"{path}: the output exists already; --overwrite replaces it")


@contextmanager
def naming(path: str) -> Iterator[None]:
    """Have errors of the file system say which file they are about."""
    try:
        yield
    except OSError as error:
        raise OSError(error.errno or errno.EIO, error.strerror or str(error), path) from error


def move(temporary: str, path: str, overwrite: bool) -> None:
    """Put a finished file in its place.

    Raises
    ------
    UsageError
        If there is a file already, and it may not be replaced.
    """
    if overwrite:
        os.replace(temporary, path)
        return
    try:
        os.link(temporary, path)  # fails if there is something, where a rename would replace it
    except FileExistsError:
        raise exists_already(path) from None
    except OSError:  # a file system without links
        if os.path.lexists(path):
            raise exists_already(path) from None
        os.rename(temporary, path)


def sync_folder(folder: str) -> None:
    """Have the new name outlive a power cut, where the file system can do that."""
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except PermissionError:  # a folder that may be written to, but not read
        return
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _CANNOT:
            raise
    finally:
        os.close(descriptor)


def check_output(path: str, inputs: Sequence[str], overwrite: bool) -> None:
    """Refuse an output that would destroy an input or another file, or cannot be written.

    Raises
    ------
    UsageError
        Naming the output and the cause.
    """
    folder, name = folder_of(path), os.path.basename(path)
    if os.path.isdir(path):
        raise UsageError(f"{path}: the output is a directory")
    if not os.path.isdir(folder):
        raise UsageError(f"{path}: there is no directory {os.path.join(os.getcwd(), folder)}")
    if path == "-":
        raise UsageError("-: outputs are files that appear whole, not standard output; ./- is a file of that name")
    if not name:
        raise UsageError(f"the name of the output is empty: {path!r}")
    if os.path.exists(path):
        for other in inputs:
            if os.path.exists(other) and os.path.samefile(path, other):
                raise UsageError(f"{path}: the output is the same file as the input {other}")
        if not os.path.isfile(path):
            raise UsageError(f"{path}: the output exists and is not a regular file")
    try:
        os.lstat(path)
    except FileNotFoundError:
        pass
    except OSError as error:
        raise UsageError(f"{path}: the output cannot be written: {error.strerror}") from error
    else:
        if not overwrite:
            raise exists_already(path)
    if not os.access(folder, os.W_OK | os.X_OK):
        raise UsageError(f"{path}: the directory {os.path.join(os.getcwd(), folder)} cannot be written to")


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
    UsageError
        If nothing can be written there, or another file has appeared there in the meantime.
    OSError
        Naming the place, if it cannot be written to its end.
    """
    name = os.path.basename(path)
    ending = name[name.find(".", 1) :] if "." in name[1:] else ""
    descriptor, temporary = -1, ""
    try:
        with undisturbed():
            try:
                descriptor, temporary = begin(path, ending)
            except OSError as error:
                raise UsageError(f"{path}: the output cannot be written: {error.strerror}") from error
        with naming(path):
            yield temporary
            with open(temporary, "rb+") as file:
                os.fsync(file.fileno())
            with undisturbed():
                _allow(temporary)
                move(temporary, path, overwrite)
                sync_folder(folder_of(path))
                _remove(temporary)
    except BaseException as error:
        if temporary:
            with undisturbed():
                _clean_up(partial(_remove, temporary), error)
        if temporary and isinstance(error, InputError):
            # Whoever wrote it knows of the temporary file only.
            raise type(error)(str(error).replace(temporary, path)) from error
        raise
    finally:
        if temporary:
            os.close(descriptor)


def write_hdus(path: str, hdus: fits.HDUList, overwrite: bool) -> None:
    """Write a small file, with checksums, whole or not at all.

    Raises
    ------
    UsageError
        If the file exists and is not to be replaced, or its folder cannot be written to.
    OSError
        Naming the file, if it cannot be written to its end.
    """
    if os.path.lexists(path) and not overwrite:
        raise exists_already(path)
    with whole_file(path, overwrite) as temporary, open(temporary, "wb") as file:
        hdus.writeto(file, checksum=True)
