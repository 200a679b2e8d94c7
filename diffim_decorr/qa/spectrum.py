"""The covariance of the difference as measured, and as several hypotheses have it, and how likely each of them is.

Everything is kept as sums over windows of lagged products: the expectation of a masked product is the hypothesis'
covariance times the number of pairs, so that masks and kernels that vary over the field need no approximation.
Spectra are the Fourier transforms of covariances under a lag window (Blackman & Tukey 1958), the same for what is
measured and for what is expected; likelihoods are Whittle's (1953).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diffim_decorr.fft import forward, good_size, inverse_near, kernel_transform
from diffim_decorr.record import Measured

__all__ = ("LAG", "Spectra", "at_lags", "autocovariance")

Array = NDArray[Any]

LAG = 20
_FLOOR = 1e-4  # of the mean power: what a spectrum is at least, where a lag window leaves next to nothing


def autocovariance(kernel: Array, correlation: Array | None = None) -> Array:
    """Covariance (41, 41) of noise that was convolved with a kernel (h, w).

    Parameters
    ----------
    kernel
        Its centre at (h // 2, w // 2).
    correlation
        Of the noise, of odd shape, zero lag in the middle; that of white noise by default.
    """
    reach = 0 if correlation is None else correlation.shape[0]
    height, width = (good_size(2 * n + reach + 2 * LAG) for n in kernel.shape)
    power = np.abs(kernel_transform(kernel, (height, width))) ** 2
    if correlation is not None:
        power = power * kernel_transform(correlation, (height, width)).real
    return inverse_near(power, width, LAG)


def at_lags(image: Array) -> Array:
    """A kernel (h, w), its centre at (h // 2, w // 2), as a function of the lag (41, 41)."""
    height, width = image.shape
    padded = np.pad(image, [(LAG, LAG), (LAG, LAG)])
    result: Array = padded[height // 2 :, width // 2 :][: 2 * LAG + 1, : 2 * LAG + 1]
    return result


@dataclass(frozen=True, eq=False)
class Spectra:
    """What was measured, and what hypotheses expect.

    Parameters
    ----------
    pairs
        Numbers of pairs of pixels at each lag (41, 41).
    measured
        Sums of products of the difference.
    expected
        The same as each hypothesis has it: of one or more parts, whose amplitudes are free if there are several.
    """

    pairs: Array
    measured: Array
    expected: Mapping[str, tuple[Array, ...]]

    @property
    def pixels(self) -> float:
        """The number of pixels."""
        return float(self.pairs[LAG, LAG])

    def power(self, products: Array) -> Array:
        """Spectrum of sums of products, on a grid of frequencies."""
        covariance = products / np.maximum(self.pairs, 1.0) * _lag_window()
        spectrum: Array = forward(np.fft.ifftshift(covariance)).real
        return spectrum

    def fitted(self, name: str, free: bool = False) -> tuple[Array, tuple[float, ...]]:
        """Spectrum of a hypothesis, and the amplitudes of its parts, of which those that are free are fitted."""
        parts = [self.power(part) for part in self.expected[name]]
        if not free:
            return np.sum(parts, axis=0), (1.0,) * len(parts)
        measured = self._positive(self.power(self.measured))
        amplitudes = np.array([measured.mean() / len(parts) / max(part.mean(), 1e-300) for part in parts])
        for _ in range(200):
            model = self._positive(np.tensordot(amplitudes, parts, axes=1))
            # Multiplicative steps to the largest likelihood (Févotte, Bertin & Durrieu 2009), which keep signs.
            steps = [np.mean(measured * part / model**2) / max(np.mean(part / model), 1e-300) for part in parts]
            amplitudes *= np.maximum(steps, 0)
        return np.tensordot(amplitudes, parts, axes=1), tuple(float(a) for a in amplitudes)

    def deviance(self, spectrum: Array) -> float:
        """Minus the logarithm of a spectrum's likelihood, over that of the measured spectrum itself."""
        ratio = self._positive(self.power(self.measured)) / self._positive(spectrum)
        return float(0.5 * self.pixels * np.mean(ratio - 1 - np.log(ratio)))

    def chi2(self, spectrum: Array) -> Measured:
        """Squared relative deviations of the measured power, over their statistical error squared."""
        ratio = self.power(self.measured) / self._positive(spectrum)
        window = _lag_window() ** 2 * self.pixels / np.maximum(self.pairs, 1.0)
        bins = window.sum() ** 2 / (window**2).sum() / 2
        return Measured(float(np.mean((ratio - 1) ** 2) * self.pixels / window.sum()), 1.0, float(np.sqrt(2 / bins)))

    def _positive(self, spectrum: Array) -> Array:
        return np.maximum(spectrum, _FLOOR * abs(float(spectrum.mean())) + 1e-300)


def _lag_window() -> Array:
    """Parzen's lag window, which leaves no spectrum negative, along both axes."""
    lags = np.abs(np.arange(-LAG, LAG + 1)) / (LAG + 1)
    window = np.where(lags <= 0.5, 1 - 6 * lags**2 * (1 - lags), 2 * (1 - lags) ** 3)
    both: Array = window[:, None] * window[None, :]
    return both
