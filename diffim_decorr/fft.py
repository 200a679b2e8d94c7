"""Real Fourier transforms: the only file that names the library they come from."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import ducc0.fft
import numpy as np
from numpy.typing import NDArray

__all__ = ("forward", "good_size", "inverse", "inverse_near", "kernel_transform")

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
