"""What people use today, written from the formulae.

Each function takes the difference, the variance planes of science and template image, the matching kernel of the
template, and gives the decorrelated image and its variance, or None for the variance where the method has none. The
background variances are given to them, while decorr measures them in its time. All have one thread, but for delta's
way, which is named with the number of its threads: all cores for 0.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from contextlib import redirect_stdout
from typing import Any

import numpy as np
from blocks import whiten_blocks
from data import SVAR, TVAR, Kernel, centred
from measure import cores
from numpy.typing import NDArray

__all__ = ("PEERS", "lsst", "lsst_cells", "sfft_convolve", "sfft_convolve_fft", "sfft_kernel", "sfft_package_kernel")

Array = NDArray[Any]

_CELL, _BORDER = 212, 41
_SFFT_WIDTH = 51


def lsst(image: Array, variances: tuple[Array, Array], kappa: Array, *, full: bool) -> tuple[Array, Array]:
    """LSST's decorrelation with one kernel: complex transforms of the zero-padded image, in double precision.

    References
    ----------
    Reiss & Lupton, DMTN-021; Kovacs, DMTN-179, section 5.
    """
    (ny, nx), (height, width) = image.shape, kappa.shape
    shape = _even(ny + height - 1), _even(nx + width - 1)
    transform = np.fft.fft2(centred(kappa, shape))
    power = np.abs(transform) ** 2
    psi = np.sqrt((SVAR + TVAR * power[0, 0]) / (SVAR + TVAR * power))
    result = np.fft.ifft2(np.fft.fft2(_padded(image, shape)) * psi).real[:ny, :nx]
    if full:
        total = np.zeros(shape, dtype=complex)
        for plane, spectrum in zip(variances, (psi, psi * transform), strict=True):
            squared = np.fft.ifft2(spectrum).real ** 2
            total += np.fft.fft2(squared) * np.fft.fft2(_padded(plane, shape))
        variance = np.fft.ifft2(total).real[:ny, :nx]
    else:
        gains = (psi**2).mean(), (psi**2 * power).mean()
        variance = gains[0] * variances[0] + gains[1] * variances[1]
    return result, variance


def lsst_cells(image: Array, variances: tuple[Array, Array], kernel: Kernel, *, average: bool) -> tuple[Array, Array]:
    """LSST's spatial mode: cells with borders, each with the kernel at its centre and full variance.

    Where cells and their borders overlap their results are averaged; or else each cell's own pixels are taken and
    those of its border thrown away.
    """
    ny, nx = image.shape
    sums, weights = np.zeros((2, ny, nx)), np.zeros((ny, nx))
    for y in range(0, ny, _CELL):
        for x in range(0, nx, _CELL):
            own = slice(y, min(y + _CELL, ny)), slice(x, min(x + _CELL, nx))
            grown = tuple(
                slice(max(s.start - _BORDER, 0), min(s.stop + _BORDER, n)) for s, n in zip(own, (ny, nx), strict=True)
            )
            kappa = kernel.at((own[1].start + own[1].stop - 1) / 2, (own[0].start + own[0].stop - 1) / 2)
            results = lsst(image[grown], (variances[0][grown], variances[1][grown]), kappa, full=True)
            kept = grown if average else own
            inner = tuple(slice(k.start - g.start, k.stop - g.start) for k, g in zip(kept, grown, strict=True))
            for total, result in zip(sums, results, strict=True):
                total[kept] += result[inner]
            weights[kept] += 1
    return sums[0] / weights, sums[1] / weights


def sfft_kernel(kappa: Array) -> Array:
    """SFFT's decorrelation kernel, cut to 51 x 51 pixels and normalised.

    References
    ----------
    Hu et al. 2022, ApJ 936, 157; Hu & Wang 2023, arXiv:2309.09143, eq. 20-22.
    """
    size, half = 128, _SFFT_WIDTH // 2
    power = SVAR + TVAR * np.abs(np.fft.fft2(centred(kappa, (size, size)))) ** 2
    psi = np.fft.fftshift(np.fft.ifft2(np.sqrt(1 / power)).real)
    middle = slice(size // 2 - half, size // 2 + half + 1)
    cut = psi[middle, middle]
    result: Array = cut / cut.sum()
    return result


def sfft_package_kernel(kappa: Array) -> Array:
    """The same from the sfft package, which is to be installed for this."""
    # Standard output is for our figures.
    with redirect_stdout(sys.stderr):
        from sfft.utils.DeCorrelationCalculator import DeCorrelation_Calculator

        # The package indexes images [x, y].
        result = DeCorrelation_Calculator.DCC(
            MK_JLst=[None],
            SkySig_JLst=[SVAR**0.5],
            MK_ILst=[None],
            SkySig_ILst=[TVAR**0.5],
            MK_Fin=kappa.T,
            KERatio=_SFFT_WIDTH / len(kappa),
            VERBOSE_LEVEL=0,
        )
    return np.asarray(result).T


def sfft_convolve(image: Array, psi: Array) -> Array:
    """Direct convolution with astropy."""
    from astropy.convolution import convolve

    result: Array = convolve(image, psi, boundary="fill", fill_value=0.0)
    return result


def sfft_convolve_fft(image: Array, psi: Array) -> Array:
    """Convolution by transforms of the whole image with astropy."""
    from astropy.convolution import convolve_fft

    result: Array = convolve_fft(image, psi, boundary="fill", fill_value=0.0, allow_huge=True)
    return result


def _by_direct_convolution(image: Array, _variances: tuple[Array, Array], kernel: Kernel) -> tuple[Array, None]:
    return sfft_convolve(image, sfft_kernel(kernel.centre)), None


def _by_transforms(image: Array, _variances: tuple[Array, Array], kernel: Kernel) -> tuple[Array, None]:
    return sfft_convolve_fft(image, sfft_kernel(kernel.centre)), None


def _by_package(image: Array, _variances: tuple[Array, Array], kernel: Kernel) -> tuple[Array, None]:
    return sfft_convolve_fft(image, sfft_package_kernel(kernel.centre)), None


def _by_blocks(threads: int) -> Callable[[Array, tuple[Array, Array], Kernel], tuple[Array, None]]:
    return lambda image, _variances, kernel: (whiten_blocks(image, kernel, threads), None)


PEERS: dict[str, Callable[[Array, tuple[Array, Array], Kernel], tuple[Array, Array | None]]] = {
    "lsst-estimate": lambda image, variances, kernel: lsst(image, variances, kernel.centre, full=False),
    "lsst-full": lambda image, variances, kernel: lsst(image, variances, kernel.centre, full=True),
    "lsst-cells": lambda image, variances, kernel: lsst_cells(image, variances, kernel, average=True),
    "lsst-cells-cropped": lambda image, variances, kernel: lsst_cells(image, variances, kernel, average=False),
    "sfft-direct": _by_direct_convolution,
    "sfft-transforms": _by_transforms,
    "sfft-package": _by_package,
    "delta-spatial-0": _by_blocks(cores()),
    "delta-spatial-1": _by_blocks(1),
}


def _even(size: int) -> int:
    return 2 * math.ceil(size / 2)


def _padded(image: Array, shape: tuple[int, int]) -> Array:
    padded = np.zeros(shape)
    padded[: image.shape[0], : image.shape[1]] = image
    return padded
