"""How the noise scatters at several scales, over the field and in its tails, against what the variance plane says.

All scatters are robust (1.4826 times the median of absolute values), whose relative error for Gaussian noise is
1.166/√n: single pixels are judged by their number, in the tails.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diffim_decorr.noise.robust import median
from diffim_decorr.noise.sources import smoothed
from diffim_decorr.qa.sample import Window
from diffim_decorr.record import Measured

__all__ = ("BLOCKS", "ROBUST_ERROR", "WindowScatter", "block_std", "cell_spread", "psf_scatter", "scatter_in", "tails")

Array = NDArray[Any]

BLOCKS = (2, 4, 8, 16, 32)
ROBUST_ERROR = 1.1664  # of 1.4826 MAD, times √n
_TAILS = (3, 4, 5)
_BEYOND = {3: 1.349898e-3, 4: 3.167124e-5, 5: 2.866516e-7}  # of a Gaussian, on one side
_CELL = 64
_LEAST_OF_BLOCK, _LEAST_OF_CELL, _LEAST_OF_PSF = 0.5, 0.2, 0.9
_PSF_SIGMA, _PSF_RADIUS = 1.5, 5
# So many pixels of white noise smoothed with that Gaussian count as one for a median of absolute values: the sum over
# lags of the covariance of |z| < median(|z|), a series in even powers of ρ = exp(-r²/4σ²). For a variance it is Σ ρ².
_PIXELS_PER_PSF = 7.8


@dataclass(frozen=True)
class WindowScatter:
    """What one window adds to the figures.

    Parameters
    ----------
    snr
        Of the pixels used (k,), in units of the noise.
    blocks
        Of means over so many pixels squared.
    matched
        Of the image smoothed with a PSF.
    cells
        Robust scatters and numbers of pixels of cells.
    """

    snr: Array
    blocks: dict[int, Array]
    matched: Array
    cells: tuple[Array, Array]


def scatter_in(window: Window, level: float) -> WindowScatter:
    """The scatter of the decorrelated difference in a window."""
    use = window.use
    residual = np.where(use, window.after - np.float32(level), np.float32(0))
    variance = np.where(use, window.variance, np.float32(0))
    snr = residual / np.sqrt(np.where(use, window.variance, np.float32(1)))
    blocks = dict(zip(BLOCKS, _block_snrs(residual, variance, use), strict=True))
    return WindowScatter(snr[use], blocks, _matched_snr(residual, variance, use), _cells(snr, use))


def _blocks(image: Array, size: int) -> Array:
    """Pixels (rows, columns, size²) of whole blocks."""
    rows, columns = image.shape[0] // size, image.shape[1] // size
    cut = image[: rows * size, : columns * size].reshape(rows, size, columns, size)
    return cut.swapaxes(1, 2).reshape(rows, columns, size * size)


def _block_snrs(residual: Array, variance: Array, use: Array) -> Iterator[Array]:
    """Sums over blocks in units of the noise that they would have if pixels had nothing to do with each other."""
    planes = [plane.astype(np.float64) for plane in (residual, variance, use)]
    for size in BLOCKS:  # each is of four of the one before
        planes = [_in_fours(plane) for plane in planes]
        total, noise, pixels = planes
        enough = pixels >= _LEAST_OF_BLOCK * size * size
        yield total[enough] / np.sqrt(noise[enough])


def _in_fours(image: Array) -> Array:
    """Sums of whole blocks of 2 x 2 pixels."""
    rows, columns = image.shape[0] // 2 * 2, image.shape[1] // 2 * 2
    pairs = image[:rows:2] + image[1:rows:2]
    sums: Array = pairs[:, :columns:2] + pairs[:, 1:columns:2]
    return sums


def _matched_snr(residual: Array, variance: Array, use: Array) -> Array:
    """The image smoothed with a Gaussian for a PSF, in units of the noise that independent pixels would give it."""
    # The square of a Gaussian is one of a width √2 smaller, and of the sum 1/(4πσ²).
    signal, noise = smoothed(residual, _PSF_SIGMA), smoothed(variance, _PSF_SIGMA / np.sqrt(2))
    inner = use & (smoothed(use.astype(np.float32), _PSF_SIGMA) >= _LEAST_OF_PSF)
    for border in (np.s_[:_PSF_RADIUS], np.s_[-_PSF_RADIUS:], np.s_[:, :_PSF_RADIUS], np.s_[:, -_PSF_RADIUS:]):
        inner[border] = False
    weights = np.exp(-0.5 * (np.arange(-_PSF_RADIUS, _PSF_RADIUS + 1) / _PSF_SIGMA) ** 2)
    peak = (np.sum(weights**2) / np.sum(weights) ** 2) ** 2
    snr: Array = signal[inner] / np.sqrt(peak * noise[inner])
    return snr


def _cells(snr: Array, use: Array) -> tuple[Array, Array]:
    """Robust scatter in cells, and of how many pixels."""
    pixels, used = _blocks(snr, _CELL), _blocks(use, _CELL)
    counts = used.sum(axis=-1)
    enough = counts >= _LEAST_OF_CELL * _CELL * _CELL
    scatters = [_robust(values[mask]) for values, mask in zip(pixels[enough], used[enough], strict=True)]
    return np.array(scatters), counts[enough]


def _robust(values: Array) -> float:
    return 1.4826 * median(np.abs(values)) if values.size else np.nan


def _scatter(values: Array, number: float) -> Measured:
    return Measured(_robust(values), 1.0, ROBUST_ERROR / np.sqrt(number)) if number >= 1 else Measured()


def block_std(parts: Iterable[WindowScatter]) -> dict[str, Measured]:
    """Scatter of block means over its prediction, by the width of blocks in pixels."""
    parts = list(parts)
    joined = {size: np.concatenate([part.blocks[size] for part in parts]) for size in BLOCKS}
    return {str(size): _scatter(values, len(values)) for size, values in joined.items()}


def psf_scatter(parts: Iterable[WindowScatter]) -> Measured:
    """Scatter after a matched filter over its prediction: what a detection sees."""
    joined = np.concatenate([part.matched for part in parts])
    return _scatter(joined, len(joined) / _PIXELS_PER_PSF)


def cell_spread(parts: Iterable[WindowScatter]) -> Measured:
    """Relative spread of the noise in cells of 64 pixels, beyond its sampling error."""
    pairs = [part.cells for part in parts]
    scatters, counts = (np.concatenate([pair[k] for pair in pairs]) for k in (0, 1))
    if len(scatters) < 4 or not scatters.any():
        return Measured()
    own = ROBUST_ERROR**2 / counts
    relative = scatters / np.average(scatters, weights=counts) - 1
    excess = float(np.mean(relative**2) - np.mean(own))
    # The error is that of the excess variance of so many cells, as a spread.
    return Measured(np.sqrt(max(excess, 0.0)), 0.0, float((2 / len(scatters)) ** 0.25 * np.sqrt(np.mean(own))))


def tails(snr: Array) -> dict[str, Measured]:
    """Pixels beyond so many σ on either side, over what Gaussian noise has."""
    found = {}
    for sigma in _TAILS:
        expected = len(snr) * _BEYOND[sigma]
        for side, count in (("above", np.count_nonzero(snr > sigma)), ("below", np.count_nonzero(snr < -sigma))):
            found[f"{side}_{sigma}"] = Measured(count / expected, 1.0, expected**-0.5)
    return found
