"""Whitening block by block, as delta does it.

The image is cut into blocks of 256 x 256 pixels, the next ones half a block away. Each block has one filter, that of
the matching kernel and of the noise at its centre, and is convolved with it as if it went on periodically. The blocks
are blended with a Hann window, by which what wrapped around has little weight away from the image's edges. No variance
plane is propagated, and nothing bounds the error.

A program of our own for the method of delta (tkillestein/delta, version 1.1, 2026) with numpy, ducc0 and threads, in
single precision.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import ducc0.fft
import numpy as np
from data import SVAR, TVAR, Kernel
from numpy.typing import NDArray

__all__ = ("whiten_blocks",)

Array = NDArray[Any]

_BLOCK = 256


def whiten_blocks(image: Array, kernel: Kernel, threads: int) -> Array:
    """The whitened image: noise of the variance that the pixels had, and fluxes that are scaled.

    The filter of each block is sqrt((s + t Σκ²) / (s + t |κ̂|²)) with s and t the background variances of science image
    and template: its mean gain of noise is 1, whereas ψ keeps fluxes.
    """
    ny, nx = image.shape
    missing = [(0, max(_BLOCK - size, 0)) for size in image.shape]
    padded = np.pad(image, missing, mode="symmetric") if any(after for _, after in missing) else image
    origins_y, origins_x = (_origins(size) for size in padded.shape)
    windows_y, windows_x = (_windows(o, size) for o, size in zip((origins_y, origins_x), padded.shape, strict=True))
    along_y, along_x = (_phases(size) for size in kernel.basis.shape[1:])
    along_x = along_x[: _BLOCK // 2 + 1].T
    result = np.zeros(padded.shape, dtype=np.float32)

    def strip(row: int) -> Array:
        """What the blocks of one row add to the rows that they cover."""
        y = origins_y[row]
        total = np.zeros((_BLOCK, padded.shape[1]), dtype=np.float32)
        for x, across in zip(origins_x, windows_x, strict=True):
            block = padded[y : y + _BLOCK, x : x + _BLOCK]
            transform = ducc0.fft.r2c(block, axes=(0, 1))
            kappa = kernel.at(x + (_BLOCK - 1) / 2, y + (_BLOCK - 1) / 2)
            # The transform of so small an image is faster as products of matrices.
            spectrum = along_y @ (kappa.astype(np.complex64) @ along_x)
            gain = spectrum.real**2
            gain += spectrum.imag**2
            gain *= np.float32(TVAR)
            gain += np.float32(SVAR)
            np.sqrt(gain, out=gain)
            np.divide(np.float32((SVAR + TVAR * (kappa**2).sum()) ** 0.5), gain, out=gain)
            transform *= gain
            whitened = ducc0.fft.c2r(
                transform, axes=(0, 1), lastsize=_BLOCK, forward=False, inorm=2, allow_overwriting_input=True
            )
            whitened *= across
            total[:, x : x + _BLOCK] += whitened
        total *= windows_y[row][:, None]
        return total

    with ThreadPoolExecutor(threads) as pool:
        # In the order of the rows, so that sums do not depend on who is done first.
        for y, added in zip(origins_y, pool.map(strip, range(len(origins_y))), strict=True):
            result[y : y + _BLOCK] += added
    return result[:ny, :nx]


def _origins(size: int) -> list[int]:
    """Where blocks begin: half a block apart, the last one flush with the edge."""
    regular = list(range(0, size - _BLOCK + 1, _BLOCK // 2))
    return regular if regular[-1] + _BLOCK == size else [*regular, size - _BLOCK]


def _phases(size: int) -> Array:
    """Factors of a discrete Fourier transform (frequencies, pixels) of a kernel about its centre."""
    cycles = np.outer(np.fft.fftfreq(_BLOCK), np.arange(size) - size // 2)
    return np.exp(-2j * np.pi * cycles).astype(np.complex64)


def _windows(origins: Sequence[int], size: int) -> Array:
    """Hann windows of the blocks, divided by the sum of all at each pixel."""
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * (np.arange(_BLOCK) + 0.5) / _BLOCK)
    sums = np.zeros(size)
    for origin in origins:
        sums[origin : origin + _BLOCK] += hann
    return np.array([hann / sums[origin : origin + _BLOCK] for origin in origins], dtype=np.float32)
