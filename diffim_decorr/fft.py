"""Real Fourier transforms: the only file that names the library they come from."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import ducc0.fft
import numpy as np
from numpy.typing import NDArray

__all__ = (
    "columns_of_symmetric",
    "even_window",
    "forward",
    "forward_columns",
    "forward_rows",
    "good_size",
    "inverse",
    "inverse_columns",
    "inverse_near",
    "inverse_rows",
    "inverse_window",
    "kernel_transform",
)

Array = NDArray[Any]


def good_size(size: int) -> int:
    """The smallest even size, not below the given one, for which transforms are fast."""
    size = int(ducc0.fft.good_size(size, True))
    while size % 2:
        size = int(ducc0.fft.good_size(size + 1, True))
    return size


def forward(images: Array, out: Array | None = None) -> Array:
    """Real transform of images (..., h, w) over their last two axes."""
    axes = (images.ndim - 2, images.ndim - 1)
    result: Array = ducc0.fft.r2c(images, axes=axes, out=out)
    return result


def inverse(spectra: Array, width: int, out: Array | None = None) -> Array:
    """Inverse of `forward` for images of the given width; the spectra may be overwritten."""
    axes = (spectra.ndim - 2, spectra.ndim - 1)
    result: Array = ducc0.fft.c2r(
        spectra, axes=axes, lastsize=width, forward=False, inorm=2, out=out, allow_overwriting_input=True
    )
    return result


def forward_rows(images: Array, out: Array) -> Array:
    """The part of `forward` that goes along the rows of images (..., h, w)."""
    result: Array = ducc0.fft.r2c(images, axes=(images.ndim - 1,), out=out)
    return result


def forward_columns(spectra: Array) -> Array:
    """The part of `forward` that goes along the columns of spectra (h, w), which are overwritten."""
    result: Array = ducc0.fft.c2c(spectra, axes=(0,), out=spectra)
    return result


def columns_of_symmetric(half: Array, height: int, out: Array) -> Array:
    """The same for images that are the same when they are turned by half a circle: real, from rows 0 to h / 2."""
    result: Array = ducc0.fft.c2r(half, axes=(0,), lastsize=height, forward=True, out=out)
    return result


def inverse_columns(spectra: Array) -> None:
    """The part of `inverse` that goes along the columns of spectra (h, w), which are overwritten."""
    ducc0.fft.c2c(spectra, axes=(0,), forward=False, inorm=2, out=spectra)


def inverse_rows(spectra: Array, width: int, out: Array) -> None:
    """The part of `inverse` that goes along the rows, after the other, for images (h, width)."""
    ducc0.fft.c2r(spectra, axes=(1,), lastsize=width, forward=False, inorm=2, out=out)


def inverse_near(spectra: Array, width: int, reach: int) -> Array:
    """The pixels (..., 2 r + 1, 2 r + 1) around the first one of the `inverse` of spectra, real or complex.

    So few sums over all frequencies take less time than the transform.
    """
    height = spectra.shape[-2]
    along_y, along_x = _waves(height, reach), _waves(width, reach)
    number = spectra.shape[-1]
    # All frequencies but the first and the last stand for their negative ones as well.
    twice = np.where((np.arange(number) == 0) | (2 * np.arange(number) == width), 1.0, 2.0)
    parts = np.ascontiguousarray(spectra, dtype=np.result_type(spectra, np.float64))
    sums = np.concatenate([along_y.real, along_y.imag]) @ parts.view(np.float64)
    cosine, sine = np.split(sums.view(parts.dtype), 2, axis=-2)
    rows = np.concatenate([(cosine - 1j * sine)[..., :0:-1, :], cosine + 1j * sine], axis=-2) * twice
    columns = np.concatenate([along_x[:0:-1, :number].conj(), along_x[:, :number]])
    result: Array = (rows @ columns.T).real / (height * width)
    return result


@lru_cache(maxsize=32)
def _waves(size: int, reach: int) -> Array:
    """exp(2 π i k l / n) for positions l from 0 to a reach and all frequencies k: (r + 1, n)."""
    phase = np.outer(np.arange(reach + 1), np.arange(size)) % size
    waves: Array = np.exp(2j * np.pi / size * phase)
    return waves


def inverse_window(spectra: Array, width: int, half_width: int) -> Array:
    """The pixels of `inverse` within a half-width of the origin, with that in the middle (..., s, s)."""
    offsets = np.arange(-half_width, half_width + 1)
    columns: Array = ducc0.fft.c2c(spectra, axes=(spectra.ndim - 2,), forward=False, inorm=2)
    # Of the rows that are not wanted nothing has to be known.
    rows: Array = ducc0.fft.c2r(
        columns[..., offsets, :], axes=(spectra.ndim - 1,), lastsize=width, forward=False, inorm=2
    )
    return rows[..., offsets]


def even_window(spectra: Array, width: int, half_width: int) -> Array:
    """The same of real spectra, whose images are even: the rows from the middle on (..., half_width + 1, s).

    The others are the same pixels once more, in reverse order.
    """
    # The transform of a column that is real is Hermitian, so that half of it is enough; that it is the forward one
    # turns the image around.
    columns: Array = ducc0.fft.r2c(spectra, axes=(spectra.ndim - 2,), inorm=2)
    rows: Array = ducc0.fft.c2r(
        columns[..., : half_width + 1, :], axes=(spectra.ndim - 1,), lastsize=width, forward=False, inorm=2
    )
    return rows[..., np.arange(half_width, -half_width - 1, -1)]


def kernel_transform(images: Array, shape: tuple[int, int], dtype: Any = np.complex128) -> Array:
    """Transforms of kernel images (..., h, w), their centres at the origin of a grid of the given shape."""
    height, width = images.shape[-2:]
    rows, columns = ((np.arange(n) - n // 2) % side for n, side in zip((height, width), shape, strict=True))
    result = np.zeros((*images.shape[:-2], shape[0], shape[1] // 2 + 1), dtype)
    padded = np.zeros((height, shape[1]))
    spectrum = np.empty(result.shape[-2:], np.complex128)
    # One by one, so that large grids need little memory besides the result; and only those rows that are not zero.
    for image, out in zip(images.reshape(-1, height, width), result.reshape(-1, *spectrum.shape), strict=True):
        padded[:, columns] = image
        spectrum[...] = 0
        spectrum[rows] = ducc0.fft.r2c(padded, axes=(1,))
        out[...] = ducc0.fft.c2c(spectrum, axes=(0,), out=spectrum)
    return result
