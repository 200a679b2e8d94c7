"""Files that are written beside their place, synced, and renamed, so that they appear whole or not at all."""

from __future__ import annotations

import errno
import gzip
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from astropy.io import fits

from diffim_decorr.errors import InputError

__all__ = ("Draft", "drafts", "exists_already", "move", "naming", "sync_folder")

_BLOCK = 2880
# Lossless, for planes of real numbers and of flags (by BITPIX); what belongs to them is small.
_COMPRESSION = {-32: "GZIP_2", 32: "RICE_1"}


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
        folder = os.path.dirname(os.path.abspath(path))
        try:
            descriptor, self.temporary = tempfile.mkstemp(prefix=".decorr-", suffix=".part", dir=folder)
        except OSError as error:
            raise InputError(f"{path}: the output cannot be written: {error.strerror}") from error
        self._file = os.fdopen(descriptor, "r+b")

    def claim(self, length: int) -> int:
        """Room for so many bytes and the rest of their last block, at the offset that is returned."""
        offset = self.end
        self.end += length + -length % _BLOCK
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
                if isinstance(error, OSError) and error.errno not in (errno.EINVAL, errno.EOPNOTSUPP, errno.ENOSYS):
                    raise
                self._file.truncate(self.end)

    def cut(self, end: int) -> None:
        """Give up what was claimed from there on."""
        with naming(self.path):
            self._file.truncate(end)
        self.end = end

    def sync(self) -> None:
        with naming(self.path):
            os.fsync(self._file.fileno())

    def close(self) -> None:
        """Have what was written on the disk, and compress it if the name asks for that."""
        self.sync()
        self._file.close()
        with naming(self.path):
            if self.path.lower().endswith((".fz", ".gz")):
                pack(self.temporary, self.path)
            umask = os.umask(0)
            os.umask(umask)
            os.chmod(self.temporary, 0o666 & ~umask)

    def discard(self) -> None:
        self._file.close()
        if os.path.exists(self.temporary):
            os.unlink(self.temporary)


@contextmanager
def drafts(paths: Sequence[str], *, overwrite: bool) -> Iterator[dict[str, Draft]]:
    """Files by their paths, moved to their places once all went well.

    The first one comes last, so that the others are there when it is.
    """
    unfinished: dict[str, Draft] = {}
    try:
        for path in paths:
            unfinished[path] = Draft(path)
        yield unfinished
        for draft in unfinished.values():
            draft.close()
        placed: list[str] = []
        try:
            for path, draft in reversed(unfinished.items()):
                with naming(path):
                    move(draft.temporary, path, overwrite)
                placed.append(path)
        except BaseException:
            for path in () if overwrite else placed:
                os.unlink(path)
            raise
        for folder in {os.path.dirname(os.path.abspath(path)) for path in paths}:
            sync_folder(folder)
    finally:
        for draft in unfinished.values():
            draft.discard()


def exists_already(path: str) -> InputError:
    return InputError(f"{path}: the output exists already; --overwrite replaces it")


@contextmanager
def naming(path: str) -> Iterator[None]:
    """Have errors of the file system say which file they are about."""
    try:
        yield
    except OSError as error:
        raise OSError(error.errno or errno.EIO, error.strerror or str(error), path) from error


def move(temporary: str, path: str, overwrite: bool) -> None:
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
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def pack(temporary: str, path: str) -> None:
    """Compress a finished file in place, without loss."""
    packed = temporary + ".packed"
    try:
        if path.lower().endswith(".gz"):
            with open(temporary, "rb") as plain, gzip.open(packed, "wb", compresslevel=4) as file:
                shutil.copyfileobj(plain, file, 1 << 20)
        else:
            with fits.open(temporary) as hdus:
                # An image cannot be compressed in the primary HDU.
                out = fits.HDUList([hdus[0] if hdus[0].data is None else fits.PrimaryHDU()])
                for hdu in hdus if hdus[0].data is not None else hdus[1:]:
                    bitpix = hdu.header["BITPIX"] if hdu.is_image and len(hdu.shape) == 2 else 0
                    out.append(_compressed(hdu, _COMPRESSION[bitpix]) if bitpix in _COMPRESSION else hdu)
                out.writeto(packed, checksum=True)
        with open(packed, "rb+") as file:
            os.fsync(file.fileno())
        os.replace(packed, temporary)
    finally:
        if os.path.exists(packed):
            os.unlink(packed)


def _compressed(hdu: Any, kind: str) -> fits.CompImageHDU:
    # Blank cards, room that was not needed, would make the checksum wrong.
    hdu.header.remove("", ignore_missing=True, remove_all=True)
    # A quantize level of 0 keeps floating-point pixels bit for bit.
    name = hdu.name if "EXTNAME" in hdu.header else None
    return fits.CompImageHDU(hdu.data, hdu.header, name=name, compression_type=kind, quantize_level=0)
