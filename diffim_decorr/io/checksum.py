"""FITS checksums of data that are written piece by piece (FITS standard 4.0, appendix J)."""

from __future__ import annotations

from typing import Any

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

__all__ = ("add_words", "checksum_string", "fold", "set_checksum")

_EXCLUDED = set(range(0x3A, 0x41)) | set(range(0x5B, 0x61))


def add_words(pixels: NDArray[Any]) -> int:
    """Sum of the 32-bit words of native pixels of 4 or 8 bytes: those of the big-endian file read as big-endian."""
    return int(pixels.view(np.uint32).sum(dtype=np.uint64))


def fold(total: int) -> int:
    """The 1's complement sum in 32 bits of a sum that was kept in more."""
    while total >> 32:
        total = (total & 0xFFFFFFFF) + (total >> 32)
    return total


def checksum_string(complement: int) -> str:
    """The 16 characters that encode a 32-bit number (appendix J.2)."""
    characters = [""] * 16
    for byte in range(4):
        value = (complement >> (24 - 8 * byte)) & 0xFF
        parts = [value // 4 + (value % 4 if k == 0 else 0) + 0x30 for k in range(4)]
        # Punctuation is avoided by shifting pairs against each other, which keeps their sum.
        while any(part in _EXCLUDED for part in parts):
            for k in (0, 2):
                if parts[k] in _EXCLUDED or parts[k + 1] in _EXCLUDED:
                    parts[k] += 1
                    parts[k + 1] -= 1
        for k in range(4):
            characters[4 * k + byte] = chr(parts[k])
    text = "".join(characters)
    return text[-1] + text[:-1]


def set_checksum(header: fits.Header, datasum: int) -> bytes:
    """Set CHECKSUM and DATASUM of a header and return it as bytes, padded to whole blocks."""
    header["DATASUM"] = (str(fold(datasum)), "data unit checksum")
    header["CHECKSUM"] = ("0" * 16, "HDU checksum")
    text = header.tostring().encode("ascii")
    words = np.frombuffer(text, dtype=">u4")
    total = fold(int(words.sum(dtype=np.uint64)) + fold(datasum))
    header["CHECKSUM"] = (checksum_string(~total & 0xFFFFFFFF), "HDU checksum")
    return bytes(header.tostring().encode("ascii"))
