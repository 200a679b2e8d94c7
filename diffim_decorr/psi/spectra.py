"""Power spectra of the noise of one image, the same everywhere or varying over the field."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diffim_decorr.fft import kernel_transform
from diffim_decorr.kernels.coefficients import Coefficients
from diffim_decorr.noise.correlation import positive
from diffim_decorr.noise.local_correlation import LocalCorrelation
from diffim_decorr.noise.response import Response

__all__ = ("NoiseSpectrum", "ResponseSpectrum", "spectrum_of")

Array = NDArray[Any]

# Of a local one, relative to the usual one at the same frequency: two pixels that are not alike have no spectrum in
# common, and what stands for it is off by about this many pixels over the beat, but needs not have a larger floor than
# the second. Without one ψ would be largest where resampling leaves next to nothing and the model knows least.
_UNLIKE, _LARGEST_SHARE = 3.0, 0.05


@dataclass(frozen=True, eq=False)
class NoiseSpectrum:
    """Power spectrum of one image's noise, relative to its variance.

    Parameters
    ----------
    usual
        Its mean over the field (frequencies).
    basis, coefficients
        Those of which it is made where it varies, (n, frequencies) and n functions of position; or None.
    floor
        The smallest value of such a one, relative to the mean at the same frequency.
    """

    usual: Array
    basis: Array | None = None
    coefficients: Coefficients | None = None
    floor: float = 0.0

    def chosen(self, frequencies: Array) -> NoiseSpectrum:
        """The same at some of the frequencies."""
        basis = None if self.basis is None else self.basis[:, frequencies]
        return replace(self, usual=self.usual[frequencies], basis=basis)

    def amounts(self, x: Array, y: Array) -> Array | None:
        """How much (k, n) of each part there is at places."""
        return None if self.coefficients is None else self.coefficients.at(x, y).T

    def values(self, amounts: Array | None, here: slice) -> Array:
        """The spectrum (k or 1, frequencies) at places and some of the frequencies."""
        usual = self.usual[here]
        if amounts is None or self.basis is None:
            return usual[None]
        # A floor that sets in smoothly: a sharp one would take close nodes and a wide ψ.
        floor = self.floor * usual
        above = amounts @ self.basis[:, here]
        above -= floor
        above += np.hypot(above, 2 * floor)
        above /= 2
        above += floor
        return above


def spectrum_of(correlation: Array | LocalCorrelation, size: int) -> NoiseSpectrum:
    """The spectrum of noise with a correlation function, which need not be exactly positive.

    Parameters
    ----------
    correlation
        At lags (2 l + 1, 2 l + 1), or that as a function of position.
    size
        Of the square grid in Fourier space.
    """
    if isinstance(correlation, LocalCorrelation):
        usual = positive(_transform(correlation.usual, size))
        basis = np.array([_transform(image, size).ravel() for image in correlation.kernel.basis])
        floor = min(_UNLIKE / correlation.beat, _LARGEST_SHARE)
        return NoiseSpectrum(usual.ravel(), basis, correlation.kernel.coefficients, floor)
    return NoiseSpectrum(positive(_transform(correlation, size)).ravel())


@dataclass(frozen=True, eq=False)
class ResponseSpectrum:
    """Spectrum ŵ of the weights with which one image's noise was made of white noise.

    Parameters
    ----------
    response
        The weights over the field.
    y, x
        The frequencies, in cycles per pixel.
    """

    response: Response
    y: Array
    x: Array

    @classmethod
    def on_grid(cls, response: Response, size: int) -> ResponseSpectrum:
        """On all of the grid of a real transform."""
        y, x = np.meshgrid(np.fft.fftfreq(size), np.fft.rfftfreq(size), indexing="ij")
        return cls(response, y.ravel(), x.ravel())

    @cached_property
    def _waves(self) -> tuple[Array, Array]:
        """By what a weight along y, and along x, is multiplied at each frequency (2 r + 1, frequencies)."""
        reach = self.response.reach
        steps = np.arange(-reach, reach + 1)
        down, across = (np.exp(-2j * np.pi * np.outer(steps, frequencies)) for frequencies in (self.y, self.x))
        return down, across

    def chosen(self, frequencies: Array) -> ResponseSpectrum:
        """The same at some of the frequencies."""
        return replace(self, y=self.y[frequencies], x=self.x[frequencies])

    def amounts(self, x: Array, y: Array) -> tuple[Array, Array]:
        """The weights (k, 2 r + 1) along y and along x at places."""
        across, down = (self.response.along(phase) for phase in self.response.phases(x, y))
        return down, across

    def values(self, amounts: tuple[Array, Array], here: slice) -> Array:
        """ŵ (k, frequencies) at places and some of the frequencies."""
        down, across = (own @ waves[:, here] for own, waves in zip(amounts, self._waves, strict=True))
        product: Array = down * across
        return product


def _transform(image: Array, size: int) -> Array:
    real: Array = kernel_transform(image, (size, size)).real
    return real
