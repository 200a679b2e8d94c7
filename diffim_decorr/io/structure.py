"""The structure of FITS files, checked against their size before anything else is read."""

from __future__ import annotations

import math
import os
import re
from typing import BinaryIO

from diffim_decorr.errors import InputError

__all__ = ("BLOCK", "DTYPES", "check_structure")

DTYPES = {8: "u1", 16: ">i2", 32: ">i4", 64: ">i8", -32: ">f4", -64: ">f8"}
BLOCK = 2880
_LONGEST_HEADER = 10_000  # blocks
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


def _read_header(file: BinaryIO) -> bytes | None:
    """The blocks of a header, or None if they have no END."""
    blocks = []
    for _ in range(_LONGEST_HEADER):
        block = file.read(BLOCK)
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
