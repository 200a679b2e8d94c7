"""Opening FITS files: which HDU is meant, what is wrong with a file, where its pixels are."""

from __future__ import annotations

import math
import os
import re
import threading
import warnings
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any, BinaryIO, final

import numpy as np
from astropy.io import fits
from astropy.io.fits.verify import VerifyError
from astropy.utils.exceptions import AstropyWarning
from numpy.typing import NDArray

from diffim_decorr.errors import InputError
from diffim_decorr.geometry import Box
from diffim_decorr.images.planes import ArrayPlane, FilePlane, Identity, Plane, changed, elsewhere, identity_of, is_same
from diffim_decorr.io.structure import DTYPES, check_structure, too_large, unpack_hdus
from diffim_decorr.memory import available

__all__ = (
    "Extension",
    "column_names",
    "damaged",
    "hdu_label",
    "holds_integers",
    "image_plane",
    "is_image",
    "is_numpy_archive",
    "open_fits",
    "pick",
    "quantization_step",
    "read_array",
    "select_hdu",
    "shape_of",
    "split_spec",
)

Array = NDArray[Any]

Extension = str | int | tuple[str, int] | None
_BROKEN = (OSError, ValueError, TypeError, KeyError, IndexError, EOFError, MemoryError, VerifyError, zlib.error)
# The modules of Python that read compressed files, by what these begin with, and programs that none reads.
_PACKED = {b"\x1f\x8b": "gzip", b"BZh": "bz2"}
_NOT_UNPACKED = {b"\x1f\x9d": "compress", b"PK\x03\x04": "zip", b"\x28\xb5\x2f\xfd": "zstd", b"\xfd7zXZ": "xz"}
# What is unpacked is in memory as it is in the file, as astropy reads it, and as pixels.
_COPIES = 3
# So often are the pixels of a tile of a tile-compressed image in memory while it is unpacked.
_TILE_COPIES = 5
_LONGEST_ENTRY = 200  # bytes of a name in an archive of numpy


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
    if not extension:
        raise InputError(f"{text}: the brackets name no HDU")
    if extension.isdigit():
        return path, int(extension)
    name, comma, version = extension.partition(",")
    if ":" in extension:
        raise InputError(f"{text}: image sections such as [{extension}] are not read; cut the image out beforehand")
    if comma:
        if not version.strip().isdigit():
            raise InputError(f"{text}: the version after the comma in [{extension}] is not a number")
        return path, (name.strip(), int(version))
    return path, name


@contextmanager
def open_fits(path: str | os.PathLike[str]) -> Iterator[fits.HDUList]:
    """Open a FITS file for reading, the structure of all its HDUs checked against its size.

    Raises
    ------
    InputError
        If the file is missing, empty, no FITS file, truncated or damaged.
    """
    path = os.fspath(path)
    with _opened(path) as file, warnings.catch_warnings():
        # Whatever matters among astropy's remarks about headers turns up as an error of our own.
        warnings.simplefilter("ignore", AstropyWarning)
        check_structure(path, file)
        file.seek(0)
        with damaged(path):
            # Of a file that somebody cuts short a map ends the process.
            hdus = fits.open(file, lazy_load_hdus=True, memmap=False)
        try:
            yield hdus
        except Exception as error:
            if _is_of_astropy(error):
                raise _damage(path, error) from error
            raise
        finally:
            hdus.close()


@contextmanager
def damaged(name: str) -> Iterator[None]:
    """Turn what astropy says about damaged files into one line that names the file."""
    try:
        yield
    except InputError:
        raise
    except _BROKEN as error:
        raise _damage(name, error) from error


def _is_of_astropy(error: Exception) -> bool:
    """Whether it is astropy that stumbled, over headers and columns that it looks at when they are first asked for.

    It does so by errors of all kinds. What the system says is about something else.
    """
    if isinstance(error, OSError) and error.errno is not None:
        return False
    if isinstance(error, AttributeError) and type(error.obj).__module__.startswith("astropy."):
        return True  # an HDU that is not of the kind that its header claims has no data
    place = error.__traceback__
    while place is not None and place.tb_next is not None:
        place = place.tb_next
    return place is not None and str(place.tb_frame.f_globals.get("__name__", "")).startswith("astropy.")


def _damage(name: str, error: Exception) -> InputError:
    cause = " ".join(str(error).split()) or type(error).__name__
    return InputError(f"{name}: damaged FITS file ({cause})")


@contextmanager
def _opened(path: str) -> Iterator[BinaryIO]:
    """The bytes of a FITS file, unpacked into memory if they are compressed."""
    if os.path.isdir(path):
        raise InputError(f"{path}: is a directory, not a FITS file")
    if not os.path.exists(path):
        raise InputError(f"{path}: no such file")
    if not os.path.isfile(path):
        raise InputError(f"{path}: is not a regular file")
    try:
        file = open(path, "rb")  # noqa: SIM115
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from error
    with file:
        start = file.read(6)
        file.seek(0)
        if not start:
            raise InputError(f"{path}: the file is empty")
        packing = _packing(start)
        if packing is not None:
            with damaged(path), import_module(packing).open(file) as packed:
                # Before all of whatever it is is unpacked.
                if packed.read(6) != b"SIMPLE":
                    raise InputError(f"{path}: what is compressed in it is not a FITS file")
                packed.seek(0)
                content = unpack_hdus(path, packed, 1e6 * (available() or math.inf) / _COPIES)
            with content:
                yield content
        elif start != b"SIMPLE":
            for magic, program in _NOT_UNPACKED.items():
                if start.startswith(magic):
                    raise InputError(f"{path}: is compressed by {program}, which is not read: uncompress it beforehand")
            raise InputError(f"{path}: not a FITS file (it does not begin with SIMPLE)")
        else:
            yield file


def is_numpy_archive(path: str) -> bool:
    """Whether a file is no FITS file but an archive of numpy's arrays (``.npz``), by its first entry."""
    try:
        with open(path, "rb") as file:
            start = file.read(30 + _LONGEST_ENTRY)
    except OSError:
        return False
    length = int.from_bytes(start[26:28], "little")
    return start.startswith(b"PK\x03\x04") and start[30 : 30 + length].endswith(b".npy")


def _packing(start: bytes) -> str | None:
    """The module that reads a file with these first bytes, if it is compressed."""
    return next((module for magic, module in _PACKED.items() if start.startswith(magic)), None)


def hdu_label(path: str, hdus: fits.HDUList, hdu: Any) -> str:
    """``name.fits[EXT]`` for messages."""
    if len(hdus) == 1:
        return path
    if not hdu.name or hdu.name == "PRIMARY":
        return f"{path}[{next(k for k, other in enumerate(hdus) if other is hdu)}]"
    return f"{path}[{hdu.name},{hdu.ver}]" if hdu.ver != 1 else f"{path}[{hdu.name}]"


def is_image(hdu: Any) -> bool:
    """Whether an HDU holds a 2-D image (leading axes of length 1 do not count)."""
    shape = shape_of(hdu)
    return len(shape) >= 2 and all(n == 1 for n in shape[:-2]) and min(shape[-2:]) > 0


def shape_of(hdu: Any) -> tuple[int, ...]:
    """Of the array in an HDU; empty if that is no image, or none of which astropy can make anything."""
    shape = getattr(hdu, "shape", ()) if getattr(hdu, "is_image", False) else ()
    return tuple(shape) if all(isinstance(n, int) for n in shape) else ()


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
        names = ", ".join(f"{k}{f' {_name(h)}' if h.name else ''}" for k, h in enumerate(hdus))
        shown = ",".join(map(str, extension)) if isinstance(extension, tuple) else extension
        raise InputError(f"{path}: there is no HDU [{shown}]; the file has {names}") from None


def pick(hdus: Iterable[Any], card: str, value: str, version: int | None = None) -> Any:
    """The first HDU whose card has a value, and whose EXTVER is the version; None if there is none."""
    for hdu in hdus:
        if str(hdu.header.get(card, "")).strip().upper() == value and (version is None or hdu.ver == version):
            return hdu
    return None


def _name(hdu: Any) -> str:
    return f"{hdu.name},{hdu.ver}" if hdu.ver != 1 else str(hdu.name)


def read_array(hdus: fits.HDUList, hdu: Any, name: str) -> Array:
    """The pixels of an image HDU as a native float64 array, without leading axes of length 1.

    Raises
    ------
    InputError
        If the HDU holds no image or cannot be read.
    """
    if not shape_of(hdu):
        raise InputError(f"{name}: holds no image")
    if isinstance(hdu, fits.CompImageHDU):
        _refuse_too_large(name, _unpacked_bytes(hdu, name))
    with damaged(name):
        array = np.array(hdu.data, dtype=np.float64)
    while array.ndim > 2 and len(array) == 1:
        array = array[0]
    return array


def column_names(table: Any) -> list[str]:
    """Names of the columns of a table; empty of one that has none."""
    return [name or "" for name in table.columns.names]


def holds_integers(hdu: Any) -> bool:
    """Whether the pixels of an image HDU are whole numbers, none of them undefined."""
    header = hdu.header
    return (
        header["BITPIX"] > 0
        and header.get("BSCALE", 1) == 1
        and header.get("BZERO", 0) == int(header.get("BZERO", 0))
        and "BLANK" not in header
    )


def image_plane(path: str, hdus: fits.HDUList, hdu: Any) -> Plane:
    """The pixels of a 2-D image HDU as a plane, left in the file where they can be read window by window.

    Tile-compressed images are decompressed when they are first read, as a whole.

    Raises
    ------
    InputError
        If the HDU holds no 2-D image, or its cards are damaged.
    """
    name = hdu_label(path, hdus, hdu)
    if not is_image(hdu):
        shape = " x ".join(str(n) for n in shape_of(hdu)[::-1])
        raise InputError(f"{name}: holds no 2-D image" + (f" but an array of {shape}" if shape else ""))
    extent = (int(hdu.shape[-2]), int(hdu.shape[-1]))
    header = hdu.header
    scaling = {key: header.get(key, default) for key, default in (("BSCALE", 1.0), ("BZERO", 0.0))}
    for key, value in scaling.items():
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise InputError(f"{name}: damaged FITS file ({key} = {value!r} is not a number)")
    if isinstance(hdu, fits.CompImageHDU):
        index = next(k for k, other in enumerate(hdus) if other is hdu)
        size = _unpacked_bytes(hdu, name)
        _refuse_too_large(name, size)
        return _CompressedPlane(os.path.join(os.getcwd(), path), index, extent, name, size, identity_of(path))
    if _is_packed(path):  # unpacked in memory, which is gone when the file is closed
        with damaged(name):
            return ArrayPlane(_pixels(hdu), name)
    return FilePlane(
        path=os.path.join(os.getcwd(), path),
        offset=hdu.fileinfo()["datLoc"],
        extent=extent,
        dtype=np.dtype(DTYPES[header["BITPIX"]]),
        scale=float(scaling["BSCALE"]),
        zero=float(scaling["BZERO"]),
        blank=header.get("BLANK") if header["BITPIX"] > 0 else None,
        identity=identity_of(path),
    )


def quantization_step(path: str, hdus: fits.HDUList, hdu: Any) -> float:
    """The largest step that a compression with losses rounded an image to; 0 if there was none."""
    if not isinstance(hdu, fits.CompImageHDU) or hdu.header["BITPIX"] > 0:
        return 0.0
    index = next(k for k, other in enumerate(hdus) if other is hdu)
    with damaged(hdu_label(path, hdus, hdu)), fits.open(path, disable_image_compression=True, memmap=False) as tables:
        table = tables[index]
        if "ZSCALE" not in table.columns.names:
            return float(table.header.get("ZSCALE", 0.0))
        steps = np.asarray(table.data["ZSCALE"], dtype=float)
    return float(np.max(steps[np.isfinite(steps)], initial=0.0))


def _is_packed(path: str) -> bool:
    with open(path, "rb") as file:
        return _packing(file.read(6)) is not None


def _unpacked_bytes(hdu: Any, name: str) -> int:
    """What it takes to unpack a tile-compressed image: its pixels, its largest tile, and what is in the file."""
    header = hdu.header
    with damaged(name):
        each = np.dtype(DTYPES[header["BITPIX"]]).itemsize
        if header.get("BSCALE", 1) != 1 or header.get("BZERO", 0) != 0:
            each = max(each, 4 if each <= 2 else 8)
        # Older versions of astropy do not tell; a row is what most have.
        tile = math.prod(map(int, getattr(hdu, "tile_shape", hdu.shape[-1:])))
        pixels: int = math.prod(map(int, hdu.shape)) + _TILE_COPIES * tile
        return each * pixels + int(hdu.fileinfo()["datSpan"])


def _refuse_too_large(name: str, size: int) -> None:
    """See that there is memory before it is taken: a few bytes of a header may ask for any."""
    most = 1e6 * (available() or math.inf)
    if size > most:
        raise too_large(name, size, most)


def _pixels(hdu: Any) -> Array:
    """The pixels of a 2-D image in native byte order."""
    data = np.asarray(hdu.data)
    data = data.reshape(data.shape[-2:])
    return np.ascontiguousarray(data, dtype=data.dtype.newbyteorder("="))


@final
class _CompressedPlane(Plane):
    """A tile-compressed image, decompressed when it is first read."""

    def __init__(
        self, path: str, index: int, extent: tuple[int, int], name: str, size: int, identity: Identity
    ) -> None:
        self._path = path
        self._index = index
        self._extent = extent
        self._name = name
        self._size = size
        self._identity = identity
        self._lock = threading.Lock()
        self._array: Array | None = None

    def __reduce__(self) -> Any:
        # Another process unpacks it for itself.
        return _CompressedPlane, (
            self._path,
            self._index,
            self._extent,
            self._name,
            self._size,
            elsewhere(self._identity),
        )

    @property
    def shape(self) -> tuple[int, int]:
        return self._extent

    @property
    def in_memory(self) -> str:
        return self._name

    def read(self, box: Box) -> Array:
        with self._lock:
            if self._array is None:
                # Others may have been unpacked since it was opened.
                _refuse_too_large(self._name, self._size)
                with open_fits(self._path) as hdus:
                    try:
                        self._array = _pixels(hdus[self._index])
                    except Exception as error:  # the decoders have exceptions of their own
                        raise _damage(self._name, error) from error
                if not is_same(self._path, self._identity):
                    self._array = None
                    raise changed(self._path)
        return self._array[box.slices].copy()
