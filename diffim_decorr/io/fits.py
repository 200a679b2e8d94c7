"""Opening FITS files: which HDU is meant, what is wrong with a file, where its pixels are."""

from __future__ import annotations

import gzip
import os
import re
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from astropy.io import fits
from astropy.io.fits.verify import VerifyError
from astropy.utils.exceptions import AstropyWarning
from numpy.typing import NDArray

from diffim_decorr.errors import InputError
from diffim_decorr.planes import ArrayPlane, FilePlane, Plane

__all__ = ("Extension", "hdu_label", "image_plane", "is_image", "open_fits", "read_array", "select_hdu", "split_spec")

Extension = str | int | tuple[str, int] | None
Array = NDArray[Any]

_DTYPES = {8: "u1", 16: ">i2", 32: ">i4", 64: ">i8", -32: ">f4", -64: ">f8"}
_BROKEN = (OSError, ValueError, TypeError, KeyError, IndexError, EOFError, MemoryError, VerifyError, zlib.error)


def split_spec(spec: str | os.PathLike[str]) -> tuple[str, Extension]:
    """Split ``name.fits[EXT]`` into the file's name and the HDU that is meant.

    Returns
    -------
    path, extension
        The extension is a number, a name, a name with its version, or None if there is none.
    """
    text = os.fspath(spec)
    match = re.fullmatch(r"(.+)\[([^\[\]]+)\]", text)
    if match is None or os.path.exists(text):
        return text, None
    path, extension = match.group(1), match.group(2).strip()
    if extension.isdigit():
        return path, int(extension)
    name, comma, version = extension.partition(",")
    if comma:
        if not version.strip().isdigit():
            raise InputError(f"{text}: the version after the comma in [{extension}] is not a number")
        return path, (name.strip(), int(version))
    return path, name


@contextmanager
def open_fits(path: str | os.PathLike[str]) -> Iterator[fits.HDUList]:
    """Open a FITS file for reading, all its headers checked against the file's size.

    Raises
    ------
    InputError
        If the file is missing, empty, no FITS file, truncated or damaged.
    """
    path = os.fspath(path)
    if os.path.isdir(path):
        raise InputError(f"{path}: is a directory, not a FITS file")
    if not os.path.exists(path):
        raise InputError(f"{path}: no such file")
    try:
        with open(path, "rb") as file:
            start = file.read(6)
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from error
    if not start:
        raise InputError(f"{path}: the file is empty")
    packed = start[:2] == b"\x1f\x8b"
    if not packed and start != b"SIMPLE":
        raise InputError(f"{path}: not a FITS file (it does not begin with SIMPLE)")
    with warnings.catch_warnings():
        # Whatever matters among astropy's remarks about headers turns up below as an error of our own.
        warnings.simplefilter("ignore", AstropyWarning)
        with damaged(path):
            hdus = fits.open(
                path, memmap=None if not packed else False, lazy_load_hdus=not packed, ignore_missing_simple=False
            )
        try:
            with damaged(path):
                count = len(hdus)
            if not packed:
                _check_extents(path, hdus, count)
            yield hdus
        finally:
            hdus.close()


@contextmanager
def damaged(name: str) -> Iterator[None]:
    """Turn what astropy says about damaged files into one line that names the file."""
    try:
        yield
    except InputError:
        raise
    except (*_BROKEN, gzip.BadGzipFile) as error:
        cause = " ".join(str(error).split()) or type(error).__name__
        raise InputError(f"{name}: damaged FITS file ({cause})") from error


def _is_gzip(path: str) -> bool:
    with open(path, "rb") as file:
        return file.read(2) == b"\x1f\x8b"


def _check_extents(path: str, hdus: fits.HDUList, count: int) -> None:
    size = os.path.getsize(path)
    for index in range(count):
        with damaged(f"{path}[{index}]"):
            info = hdus.fileinfo(index)
            sizes = [hdus[index].header.get(f"NAXIS{k + 1}", 0) for k in range(hdus[index].header.get("NAXIS", 0))]
        if info is None:
            continue
        # The padding of the last block may be missing without loss.
        missing = info["datLoc"] + _data_bytes(hdus[index]) - size
        if missing > 0:
            raise InputError(
                f"{path}[{index}]: the file is truncated: the header declares an array of "
                f"{' x '.join(map(str, sizes))}, and {missing} bytes of it are missing"
            )


def _data_bytes(hdu: Any) -> int:
    header = hdu.header if not isinstance(hdu, fits.CompImageHDU) else hdu._bintable.header
    naxis = header.get("NAXIS", 0)
    if naxis == 0:
        return 0
    pixels = 1
    for k in range(naxis):
        pixels *= int(header[f"NAXIS{k + 1}"])
    return abs(int(header["BITPIX"])) // 8 * int(header.get("GCOUNT", 1)) * (int(header.get("PCOUNT", 0)) + pixels)


def hdu_label(path: str, hdus: fits.HDUList, hdu: Any) -> str:
    """``name.fits[EXT]`` for messages."""
    index = next(k for k, other in enumerate(hdus) if other is hdu)
    name = hdu.name if hdu.name and hdu.name != "PRIMARY" else index
    return f"{path}[{name}]" if len(hdus) > 1 else path


def is_image(hdu: Any) -> bool:
    """Whether an HDU holds a 2-D image (leading axes of length 1 do not count)."""
    if not getattr(hdu, "is_image", False):
        return False
    shape = hdu.shape
    return len(shape) >= 2 and all(n == 1 for n in shape[:-2]) and min(shape[-2:]) > 0


def select_hdu(path: str, hdus: fits.HDUList, extension: Extension) -> Any:
    """The HDU that ``[EXT]`` names.

    Raises
    ------
    InputError
        If there is none.
    """
    try:
        return hdus[extension]
    except (KeyError, IndexError):
        names = ", ".join(f"{k}{f' {h.name}' if h.name else ''}" for k, h in enumerate(hdus))
        shown = ",".join(map(str, extension)) if isinstance(extension, tuple) else extension
        raise InputError(f"{path}: there is no HDU [{shown}]; the file has {names}") from None


def read_array(hdus: fits.HDUList, hdu: Any, name: str) -> Array:
    """The pixels of an image HDU as a native float64 array, without leading axes of length 1.

    Raises
    ------
    InputError
        If the HDU holds no image or cannot be read.
    """
    if not getattr(hdu, "is_image", False) or not hdu.shape:
        raise InputError(f"{name}: holds no image")
    with damaged(name):
        array = np.array(hdu.data, dtype=np.float64)
    while array.ndim > 2 and len(array) == 1:
        array = array[0]
    return array


def image_plane(path: str, hdus: fits.HDUList, hdu: Any, name: str) -> Plane:
    """The pixels of a 2-D image HDU as a plane, left in the file where they can be read window by window.

    Compressed images are decompressed into memory.
    """
    if not is_image(hdu):
        shape = "x".join(str(n) for n in hdu.shape[::-1]) if getattr(hdu, "is_image", False) else ""
        raise InputError(f"{name}: holds no 2-D image" + (f" but an array of {shape}" if shape else ""))
    header = hdu.header
    info = None if isinstance(hdu, fits.CompImageHDU) else hdu.fileinfo()
    packed = _is_gzip(path)
    if info is None or packed:
        with damaged(name):
            data = np.asarray(hdu.data)
        data = data.reshape(data.shape[-2:])
        if data.dtype.kind == "u" and data.dtype.itemsize < 8:
            data = data.astype(np.int64 if data.dtype.itemsize == 4 else np.int32)
        return ArrayPlane(np.ascontiguousarray(data, dtype=data.dtype.newbyteorder("=")))
    with damaged(name):
        return FilePlane(
            path=os.path.abspath(path),
            offset=info["datLoc"],
            extent=(int(hdu.shape[-2]), int(hdu.shape[-1])),
            dtype=np.dtype(_DTYPES[header["BITPIX"]]),
            scale=float(header.get("BSCALE", 1.0)),
            zero=float(header.get("BZERO", 0.0)),
            blank=header.get("BLANK") if header["BITPIX"] > 0 else None,
        )
