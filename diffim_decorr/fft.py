"""Real Fourier transforms: the only file that names the library they come from."""

from __future__ import annotations

from typing import Any

import ducc0.fft
import numpy as np
from numpy.typing import NDArray

__all__ = ("even_window", "forward", "good_size", "inverse", "inverse_window", "kernel_transform")

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
    place = np.ix_((np.arange(height) - height // 2) % shape[0], (np.arange(width) - width // 2) % shape[1])
    result = np.empty((*images.shape[:-2], shape[0], shape[1] // 2 + 1), dtype)
    padded = np.zeros(shape)
    spectrum = np.empty(result.shape[-2:], np.complex128)
    # One by one, so that large grids need little memory besides the result.
    for image, out in zip(images.reshape(-1, height, width), result.reshape(-1, *spectrum.shape), strict=True):
        padded[place] = image
        out[...] = forward(padded, spectrum)
    return result
