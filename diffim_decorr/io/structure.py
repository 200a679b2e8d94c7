"""The structure of FITS files, checked against their size before anything else is read."""

from __future__ import annotations

import math
import os
import re
from io import BytesIO
from typing import BinaryIO

from diffim_decorr.errors import InputError

__all__ = ("BLOCK", "DTYPES", "check_structure", "too_large", "unpack_hdus")

DTYPES = {8: "u1", 16: ">i2", 32: ">i4", 64: ">i8", -32: ">f4", -64: ">f8"}
BLOCK = 2880
_LONGEST_HEADER = 10_000  # blocks
_PIECE = 1 << 22  # bytes that are unpacked at a time
# The END card; as astropy does, one that is followed by NUL, a comment or the like instead of blanks is taken for it.
_END = re.compile(rb"END( {77}| {0,76}[^ A-Z0-9_-])", re.DOTALL)
# The cards that say where an HDU ends.
_STRUCTURE = re.compile(rb"(BITPIX|NAXIS\d{0,3}|[PG]COUNT|GROUPS|TFIELDS) *$")


def check_structure(path: str, file: BinaryIO) -> None:
    """Walk over the HDUs by the cards that say how long they are (FITS standard 4.4.1), reading nothing else."""
    size = file.seek(0, os.SEEK_END)
    begin, index = 0, 0
    while begin < size:
        file.seek(begin)
        where = f"{path}[{index}]"
        header = _read_header(file)
        if header is None:
            file.seek(begin)
            if index and file.read(8) != b"XTENSION":
                return  # whatever follows the last HDU is of no concern
            raise InputError(f"{where}: the file is truncated or damaged: the header has no end")
        data = begin + len(header)
        shape, length = _extent(header, where)
        # The padding of the last block may be missing without loss.
        missing = data + length - size
        if missing > 0:
            raise InputError(
                f"{where}: the file is truncated: the header declares an array of "
                f"{' x '.join(map(str, shape))}, and {missing} bytes of it are missing"
            )
        begin = data + length + -length % BLOCK
        index += 1


def too_large(name: str, size: float, most: float) -> InputError:
    """What is to be said of something that takes more bytes when it is unpacked than there are."""
    return InputError(
        f"{name}: takes {size * 1e-9:.3g} GB of memory when it is unpacked, and {most * 1e-9:.3g} GB can be had: "
        "uncompress it beforehand"
    )


def unpack_hdus(path: str, packed: BinaryIO, most: float) -> BytesIO:
    """Read the HDUs of a file that is unpacked meanwhile, and nothing that comes after them.

    Parameters
    ----------
    path
        For messages.
    packed
        The file's content.
    most
        How many bytes they may take.

    Raises
    ------
    InputError
        If their headers, or what is read, say that they take more.
    """
    content = BytesIO()
    index = 0
    while (start := packed.read(BLOCK)) and (not index or start.startswith(b"XTENSION")):
        header = _read_header(packed, start, content)
        if header is None:
            break
        length = _extent(header, f"{path}[{index}]")[1]
        if content.tell() + length > most:
            raise too_large(path, content.tell() + length, most)
        left = length + -length % BLOCK
        while left and (piece := packed.read(min(left, _PIECE))):
            content.write(piece)
            left -= len(piece)
        index += 1
    content.seek(0)
    return content


def _read_header(file: BinaryIO, start: bytes = b"", copy: BinaryIO | None = None) -> bytes | None:
    """The blocks of a header, or None if they have no END; the first may have been read, and all may be copied."""
    blocks = []
    for _ in range(_LONGEST_HEADER):
        block, start = start or file.read(BLOCK), b""
        if copy is not None:
            copy.write(block)
        if len(block) < BLOCK:
            return None
        blocks.append(block)
        if any(_END.match(block, k) for k in range(0, BLOCK, 80)):
            return b"".join(blocks)
    return None


def _extent(header: bytes, where: str) -> tuple[list[int], int]:
    """Shape of the array in an HDU, and the bytes it takes, with the heap of a table."""
    cards: dict[str, bytes] = {}
    for k in range(0, len(header), 80):
        keyword = header[k : k + 8]
        if _END.match(header, k):
            break
        if _STRUCTURE.match(keyword):
            cards.setdefault(keyword.decode().strip(), header[k + 8 : k + 80])

    def number(key: str, default: int | None = None) -> int:
        if key not in cards:
            if default is None:
                raise InputError(f"{where}: damaged FITS file (there is no card {key})")
            return default
        value = re.fullmatch(rb"= *([+-]?\d+) *(/.*)?", cards[key], re.DOTALL)
        if value is None:
            text = cards[key].lstrip(b"=").split(b"/")[0].decode("ascii", "replace").strip()
            raise InputError(f"{where}: damaged FITS file ({key} = {text} is not a whole number)")
        return int(value.group(1))

    bitpix, naxis = number("BITPIX"), number("NAXIS")
    if bitpix not in DTYPES:
        raise InputError(f"{where}: damaged FITS file (BITPIX = {bitpix} is none of {', '.join(map(str, DTYPES))})")
    if not 0 <= naxis <= 999:
        raise InputError(f"{where}: damaged FITS file (NAXIS = {naxis} is not from 0 to 999)")
    if not 0 <= number("TFIELDS", 0) <= 999:
        raise InputError(f"{where}: damaged FITS file (TFIELDS = {number('TFIELDS')} is not from 0 to 999)")
    shape = [number(f"NAXIS{k + 1}") for k in range(naxis)]
    heap, groups = number("PCOUNT", 0), number("GCOUNT", 1)
    for key, value in (*((f"NAXIS{k + 1}", n) for k, n in enumerate(shape)), ("PCOUNT", heap), ("GCOUNT", groups)):
        if value < 0:
            raise InputError(f"{where}: damaged FITS file ({key} = {value} is negative)")
    if not shape:
        return shape, 0
    # Random groups have NAXIS1 = 0, which is no axis.
    pixels = math.prod(shape[1:] if shape[0] == 0 and "GROUPS" in cards else shape)
    return shape, abs(bitpix) // 8 * groups * (heap + pixels)
