"""Compressing finished files, without loss."""

from __future__ import annotations

import gzip
import os
import shutil
from contextlib import suppress
from typing import Any, BinaryIO

from astropy.io import fits

from diffim_decorr.io.signals import undisturbed
from diffim_decorr.io.unfinished import begin

__all__ = ("is_packed", "pack")

# Lossless, for planes of real numbers and of flags (by BITPIX); what belongs to them is small.
_COMPRESSION = {-64: "GZIP_2", -32: "GZIP_2", 32: "RICE_1"}


def is_packed(path: str) -> bool:
    """Whether the name of a file says that it is to be compressed."""
    return path.lower().endswith((".fz", ".gz"))


def pack(temporary: str, path: str) -> BinaryIO:
    """Compress a finished file in place, without loss; what comes back is open, as `unfinished.begin` has it."""
    held, packed = None, ""
    try:
        with undisturbed():
            descriptor, packed = begin(path, ".part")
            held = os.fdopen(descriptor, "r+b")
        with open(packed, "wb") as file:
            if path.lower().endswith(".gz"):
                with open(temporary, "rb") as plain, gzip.open(file, "wb", compresslevel=4) as archive:
                    shutil.copyfileobj(plain, archive, 1 << 20)
            else:
                with fits.open(temporary) as hdus:
                    # An image cannot be compressed in the primary HDU.
                    out = fits.HDUList([hdus[0] if hdus[0].data is None else fits.PrimaryHDU()])
                    for hdu in hdus if hdus[0].data is not None else hdus[1:]:
                        bitpix = hdu.header["BITPIX"] if hdu.is_image and len(hdu.shape) == 2 else 0
                        out.append(_compressed(hdu, _COMPRESSION[bitpix]) if bitpix in _COMPRESSION else hdu)
                    out.writeto(file, checksum=True)
        os.fsync(descriptor)
        os.replace(packed, temporary)
    except BaseException:
        with undisturbed(), suppress(FileNotFoundError):
            if held is not None:
                held.close()
                os.unlink(packed)
        raise
    return held


def _compressed(hdu: Any, kind: str) -> fits.CompImageHDU:
    # Blank cards, room that was not needed, would make the checksum wrong.
    hdu.header.remove("", ignore_missing=True, remove_all=True)
    # A quantize level of 0 keeps floating-point pixels bit for bit.
    name = hdu.name if "EXTNAME" in hdu.header else None
    return fits.CompImageHDU(hdu.data, hdu.header, name=name, compression_type=kind, quantize_level=0)
