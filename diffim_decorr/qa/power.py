"""The power spectrum of noise by frequency, from its correlation function."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diffim_decorr.record import Measured

__all__ = ("Spectrum", "flatness", "spectrum_of")

Array = NDArray[Any]

_BINS = 12
_GRID = 64  # frequencies along each axis


@dataclass(frozen=True, eq=False)
class Spectrum:
    """Power of the noise by frequency, in units of its mean.

    Parameters
    ----------
    frequency
        Cycles per pixel, middles of bins (k,).
    power, error
        As measured, and its statistical error.
    independent
        To how many independent bins they amount: neighbouring ones have much in common.
    model
        As it is supposed to be; None if nothing is known.
    """

    frequency: Array
    power: Array
    error: Array
    independent: float
    model: Array | None


def spectrum_of(rho: Array, pairs: Array, model: Array | None) -> Spectrum:
    """The transform of a correlation function (2 l + 1, 2 l + 1) under Parzen's lag window, averaged in rings.

    Each ring's power is a sum of correlations with known weights, so that its error follows from theirs.

    Parameters
    ----------
    rho, pairs
        The correlation function, zero lag in the middle, and the number of pairs at each lag.
    model
        What the correlation function is supposed to be; None if that is not known.
    """
    middle = rho.shape[0] // 2
    lags = np.arange(-middle, middle + 1)
    u = np.abs(lags) / (middle + 1)
    window = np.where(u <= 0.5, 1 - 6 * u**2 * (1 - u), 2 * (1 - u) ** 3)
    taper = np.outer(window, window)
    k = np.fft.fftfreq(_GRID)
    radius = np.hypot(*np.meshgrid(k, k, indexing="ij"))
    edges = np.linspace(0, 0.5 * 2**0.5, _BINS + 1)
    frequency, power, expected, scaled = [], [], [], []
    number = np.maximum(pairs, 1.0)
    for low, high in itertools.pairwise(edges):
        ring = (radius >= low) & (radius < high if high < edges[-1] else radius <= high)
        # The mean over a ring of cos(2π k·l), by lag.
        weights = np.fft.fft2(ring / ring.sum()).real[np.ix_(lags, lags)] * taper
        frequency.append(float(radius[ring].mean()))
        power.append(float(np.sum(weights * rho)))
        expected.append(np.nan if model is None else float(np.sum(weights * model)))
        # Opposite lags are the same number; that at zero lag is 1 by definition.
        part = weights * np.sqrt(2 / number)
        part[middle, middle] = 0
        scaled.append(part.ravel())
    known = None if model is None else np.array(expected)
    covariance = np.array(scaled) @ np.array(scaled).T
    error = np.sqrt(np.diag(covariance))
    independent = len(error) ** 2 / float(np.sum((covariance / np.outer(error, error)) ** 2))
    return Spectrum(np.array(frequency), np.array(power), error, independent, known)


def flatness(spectrum: Spectrum) -> Measured:
    """Mean squared deviation of the power from the model's, in units of its error."""
    if spectrum.model is None:
        return Measured()
    pulls = (spectrum.power - spectrum.model) / spectrum.error
    return Measured(float(np.mean(pulls**2)), 1.0, float((2 / spectrum.independent) ** 0.5))
