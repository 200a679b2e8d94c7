"""How noise that was correlated before it was resampled varies with the sub-pixel phase: measured, not computed.

The harmonics of the phase are those that the warps make of white noise; how much of each there is at each lag is
fitted to the products of pixels of one half of a checkerboard, and taken as far as the other half agrees.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diffim_decorr.geometry import Box
from diffim_decorr.kernels.coefficients import Coefficients
from diffim_decorr.kernels.spatial import SpatialKernel
from diffim_decorr.noise.correlation import different_lags, paired
from diffim_decorr.noise.halves import Halves
from diffim_decorr.noise.local import LocalNoise, blocks_of
from diffim_decorr.noise.local_correlation import UNSURE, LocalCorrelation, LocalVariance
from diffim_decorr.noise.phase import SHORTEST, PhaseCoefficients
from diffim_decorr.noise.plane_level import PlaneLevel
from diffim_decorr.noise.windows import SourceFreeWindows

__all__ = ("regressed",)

Array = NDArray[Any]

_LAG = 6
_WINDOWS = 18
_SIGNIFICANT = 3.0
_FAINT = 0.02  # of the variance, is what would take a kernel with more detail than it is worth
_LARGEST_CONDITION = 1e8  # of the normal equations


def regressed(
    noise: LocalNoise, windows: SourceFreeWindows, level: PlaneLevel | None, halves: Halves
) -> LocalNoise | None:
    """The noise of an image whose warps are known, as far as its pixels tell how it varies with the phase.

    Parameters
    ----------
    noise
        What would be expected if it had been white before.
    windows
        Where there are no sources.
    level
        Of its variance plane, if it has one.
    halves
        Of the pixels, one of which judges what is fitted to the other.

    Returns
    -------
    noise
        None if nothing varies with the phase, or too fast.
    """
    expected = noise.correlation
    coefficients = expected.kernel.coefficients
    if expected.beat < SHORTEST or not isinstance(coefficients, PhaseCoefficients):
        return None
    measured = windows.measure(noise.exposure, level)
    lags = different_lags(_LAG)
    middle = len(measured.correlation) // 2
    usual = np.array([measured.correlation[middle + y, middle + x] for y, x in lags]) + measured.plateau
    number = coefficients.count
    gram, crossed = np.zeros((2, number, number)), np.zeros((2, number, len(lags)))
    for box, pixels, use in windows.scaled(noise.exposure, level, _WINDOWS):
        pixels = pixels / measured.variance**0.5
        mine = halves.calibrated(box)
        for own in blocks_of(box.shape):
            beats = _beats(coefficients, box, own)
            for k, half in enumerate((mine, ~mine)):
                _add(gram[k], crossed[k], beats, pixels[own], (use & half)[own], lags, usual)
    if max(np.linalg.cond(one) for one in gram) > _LARGEST_CONDITION:
        return None
    fitted, held = (np.linalg.solve(g, c) for g, c in zip(gram, crossed, strict=True))
    signal, error = (fitted * held).sum(axis=1), ((fitted - held) ** 2).sum(axis=1) / 2
    # Where it is small by chance, that of the other harmonics is more right.
    scale = np.diag(np.linalg.inv(gram[0]) + np.linalg.inv(gram[1]))
    error = np.maximum(error, np.median(error / scale) * scale)
    agreed = signal * math.sqrt(len(lags)) > _SIGNIFICANT * error
    agreed &= np.abs(fitted).max(axis=1) > _FAINT
    if not agreed.any():
        return None
    factor = np.clip(signal / np.maximum((fitted**2).sum(axis=1), 1e-300), 0, 1)
    images = np.zeros((number, *measured.correlation.shape))
    for (dy, dx), amounts in zip(lags, (fitted * (factor * agreed)[:, None]).T, strict=True):
        images[:, middle + dy, middle + dx] = images[:, middle - dy, middle - dx] = amounts
    constant = np.concatenate([(h[:, :2] == 0).all(axis=1) for h in coefficients.harmonics])
    images[constant] += measured.correlation
    kept = agreed | constant
    coefficients = coefficients.chosen(kept)
    correlation = LocalCorrelation(
        SpatialKernel(images[kept], coefficients),
        measured.correlation,
        coefficients.period,
        min(expected.beat, UNSURE),
    )
    structure = LocalVariance(correlation, noise.exposure.shape)
    # What it was before it was resampled is not known, and so neither with what weights it was made of white noise.
    return replace(noise, correlation=correlation, structure=structure, response=None)


def _beats(coefficients: Coefficients, box: Box, own: tuple[slice, slice]) -> Array:
    """The harmonics (n, h, w) at the pixels of a block of a window."""
    y, x = (
        np.arange(first + part.start, min(first + part.stop, end), dtype=float)
        for part, first, end in zip(own, (box.y0, box.x0), (box.y1, box.x1), strict=True)
    )
    return coefficients.grid(x, y)


def _add(
    gram: Array,
    crossed: Array,
    beats: Array,
    pixels: Array,
    use: Array,
    lags: list[tuple[int, int]],
    usual: Array,
) -> None:
    """Add a block's normal equations: harmonics times harmonics (n, n), and times products beyond the usual (n, lags).

    Pairs that a mask leaves out are taken to be like the others, at any lag.
    """
    used = beats[:, use]
    total = used.shape[1]
    gram += used @ used.T
    for k, lag in enumerate(lags):
        one, other, between = paired(pixels.shape, lag)
        both = use[one] & use[other]
        count = np.count_nonzero(both)
        if count:
            beyond = pixels[one][both] * pixels[other][both] - usual[k]
            crossed[:, k] += total / count * (beats[(slice(None), *between)][:, both] @ beyond)
