"""Reading matching kernels of every format, told apart by what is in the file.

A new format is a file with a `Format` of its own, and a line in `FORMATS`.
"""

from __future__ import annotations

import os
import warnings
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from astropy.io import fits

from diffim_decorr.declare import unknown_name
from diffim_decorr.difference.matching import MatchingKernel
from diffim_decorr.errors import DecorrWarning, InputError, UsageError
from diffim_decorr.io.hdus import damaged, is_numpy_archive, open_fits, select_hdu, split_spec
from diffim_decorr.io.kernels import delta, grid, hotpants, image, lsst, lsst_images, sfft, table
from diffim_decorr.io.kernels.source import Format, Source
from diffim_decorr.kernels.spatial import SpatialKernel
from diffim_decorr.threads import serial_blas

__all__ = ("FORMATS", "as_kernel", "holds_kernel", "kernel_inside", "load_kernel", "read_kernel")

# In this order: the one that is no FITS file first, and the image last, for it takes whatever has pixels.
FORMATS = (
    delta.FORMAT,
    hotpants.FORMAT,
    sfft.FORMAT,
    lsst.FORMAT,
    lsst_images.FORMAT,
    table.FORMAT,
    grid.FORMAT,
    image.FORMAT,
)


def read_kernel(
    path: str | os.PathLike[str],
    image_shape: tuple[int, int] | None = None,
    header: fits.Header | None = None,
    format: str | None = None,
) -> MatchingKernel:
    """Read a matching kernel, whatever the format.

    Parameters
    ----------
    path
        A FITS file, or ``name.fits[EXT]`` to choose the HDU by its number, its name, or its name and version; or a
        solution of delta, an archive of numpy.
    image_shape
        Shape (ny, nx) of the difference, for formats that need it.
    header
        The difference's header, for what kernel files lack: HOTPANTS' command line (DIFFCMD), and which image SFFT
        convolved (CONVD).
    format
        One of delta, hotpants, sfft, lsst, lsst-images, table, grid and image, to read the file as that instead of
        looking into it.

    Returns
    -------
    MatchingKernel

    Warns
    -----
    DecorrWarning
        If the file lacks something, or holds less than it should.

    Raises
    ------
    InputError
        If the file cannot be read, is of no known format, or holds a kernel that cannot be used.
    """
    kernel = load_kernel(path, image_shape, header, format)
    for remark in kernel.remarks:
        warnings.warn(remark, DecorrWarning, stacklevel=2)
    return kernel


@serial_blas()
def load_kernel(
    path: str | os.PathLike[str],
    image_shape: tuple[int, int] | None = None,
    header: fits.Header | None = None,
    format: str | None = None,
) -> MatchingKernel:
    """As `read_kernel`; what a user should know of the kernel is in its remarks only."""
    formats = [known for known in FORMATS if format in (None, known.name)]
    if not formats:
        names = [known.name for known in FORMATS]
        raise UsageError(f"{unknown_name('kernel format', str(format), names)}; there are {', '.join(names)}")
    name, extension = split_spec(path)
    with _opened(name) as hdus:
        hdu = None if extension is None else select_hdu(name, hdus, extension)
        source = Source(hdus, name, hdu, image_shape, header, format is not None)
        where = name if hdu is None else source.label(hdu)
        for known in formats:
            with damaged(where):
                found = format is not None or known.sniff(source)
            if found:
                return known.read(source)
    understood = ", ".join(known.description for known in FORMATS)
    raise InputError(f"{where}: holds no kernel of a known format; what is understood: {understood}")


def _opened(name: str) -> AbstractContextManager[fits.HDUList]:
    """The HDUs of a file, none if it is of another kind."""
    return nullcontext(fits.HDUList()) if is_numpy_archive(name) else open_fits(name)


def kernel_inside(
    path: str, image_shape: tuple[int, int] | None = None, header: fits.Header | None = None
) -> MatchingKernel:
    """The matching kernel that a difference has in its own file, as HOTPANTS writes it with ``-hki``, or lsst.images.

    Raises
    ------
    UsageError
        If there is none: then one has to be given.
    """
    name, _ = split_spec(path)
    with open_fits(name) as hdus:
        source = Source(hdus, name, None, image_shape, header)
        known = _unmistakable(source)
        if known is not None:
            return known.read(source)
    raise UsageError(
        f"Missing option '-k' / '--kernel': {name} has no matching kernel inside (--kernel FILE names "
        "the one that HOTPANTS -oki, SFFT, LSST or another program wrote)"
    )


def holds_kernel(path: str | os.PathLike[str]) -> bool:
    """Whether a file holds a matching kernel, in a format that nothing else could be."""
    name, extension = split_spec(path)
    with _opened(name) as hdus:
        hdu = None if extension is None else select_hdu(name, hdus, extension)
        return _unmistakable(Source(hdus, name, hdu, None, None)) is not None


def _unmistakable(source: Source) -> Format | None:
    """The format of a kernel in a file, but for those that any image or cube would pass for."""
    for known in FORMATS:
        if known not in (grid.FORMAT, image.FORMAT):
            with damaged(source.path):
                if known.sniff(source):
                    return known
    return None


def as_kernel(
    given: Any, image_shape: tuple[int, int] | None = None, header: fits.Header | None = None
) -> MatchingKernel:
    """The kernel that is meant: a `MatchingKernel`, a `SpatialKernel`, an image, or the name of a file.

    Parameters
    ----------
    given
        What a user handed over.
    image_shape, header
        Of the difference, as in `read_kernel`.

    Raises
    ------
    InputError
        If it is nothing of that kind, or cannot be used.
    """
    if isinstance(given, MatchingKernel):
        return given
    if isinstance(given, SpatialKernel):
        return MatchingKernel(given)
    if isinstance(given, str | os.PathLike):
        return load_kernel(given, image_shape, header)
    return MatchingKernel.from_array(given)
