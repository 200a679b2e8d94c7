"""ψ and the variance kernels at single positions and noise ratios."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diffim_decorr.errors import InputError
from diffim_decorr.fft import inverse, kernel_transform
from diffim_decorr.kernels.spatial import SpatialKernel
from diffim_decorr.noise.field import NoiseField
from diffim_decorr.psi.filters import noise_power, score_filter, whitening_filter
from diffim_decorr.threads import within_memory

__all__ = ("Recipe", "Sampler")

Array = NDArray[Any]

_SMALLEST_RESIDUAL = 0.5
_SMALLEST_POWER = 2e-3  # of a measured noise spectrum, relative to its largest value
# Frequencies of all nodes that are worked on at once, few enough to stay in the cache of one core.
_AT_ONCE = 1 << 15
_BUDGET = 128 << 20  # bytes for all that is worked on at once


@dataclass(frozen=True, eq=False)
class Recipe:
    """What ψ is to do, besides what the noise says.

    Parameters
    ----------
    score
        Make the difference, which was pre-convolved, a likelihood image instead of whitening it.
    max_gain
        Limit of ψ̂(k) relative to ψ̂(0).
    residual
        Correlation function (2 l + 1, 2 l + 1) that a first ψ left in the difference, to be whitened as well.
    half_width
        Of ψ in pixels; None for what the tolerance needs.
    """

    score: bool = False
    max_gain: float = 1e4
    residual: Array | None = None
    half_width: int | None = None


class Sampler:
    """Computes ψ and the variance kernels at positions and noise ratios.

    Parameters
    ----------
    inputs
        Kernel of each image.
    noise
        Noise of each image.
    recipe
        What ψ is to do.
    size
        Of the square grid in Fourier space.
    """

    def __init__(self, inputs: Sequence[SpatialKernel], noise: NoiseField, recipe: Recipe, size: int) -> None:
        self.size = size
        self.batch = max(1, _AT_ONCE // (size * (size // 2 + 1)))
        self.inputs = tuple(inputs)
        self._noise = noise
        self._recipe = recipe
        self._spectra = [kernel_transform(kernel.basis, (size, size)) for kernel in inputs]
        self._untouched = [kernel.shape == (1, 1) and kernel.is_constant and _is_one(kernel) for kernel in inputs]
        self._coefficients = [kernel.coefficients for kernel in inputs]
        self._correlations = [None if rho is None else self._spectrum(rho) for rho in noise.correlations]
        self._second, self._second_gain = self._residual_filter()

    def on_grid(self, size: int) -> Sampler:
        """The same on a grid of another size."""
        return Sampler(self.inputs, self._noise, self._recipe, size)

    def workers(self, threads: int) -> int:
        """How many threads may sample at once without taking too much memory."""
        each = 16 * self.batch * self.size * (self.size // 2 + 1) * (2 + 3 * len(self._spectra))
        return within_memory(threads, each, _BUDGET)

    def _spectrum(self, rho: Array) -> Array:
        """Power spectrum of noise with a measured correlation function, which need not be exactly positive."""
        spectrum = kernel_transform(rho, (self.size, self.size)).real
        # A floor that sets in smoothly: a sharp one would make ψ ring.
        floor = _SMALLEST_POWER * spectrum.max()
        floored: Array = (spectrum + np.hypot(spectrum, 2 * floor)) / 2
        return floored

    def _residual_filter(self) -> tuple[Array | None, float]:
        """The filter for what a first ψ left, and by how much it changes the variance beyond what the model says."""
        if self._recipe.residual is None:
            return None, 1.0
        # A first ψ leaves little to do but where its gain was limited, and there no noise is to be had.
        spectrum = np.maximum(self._spectrum(self._recipe.residual), _SMALLEST_RESIDUAL)
        second = np.sqrt(spectrum[0, 0] / spectrum)
        # The noise has the variance spectrum(0) after this filter; for white noise it would be the mean of its square.
        return second, float(spectrum[0, 0] / self._mean(second**2))

    def _mean(self, half: Array) -> Array:
        """Mean over all frequencies of real, symmetric spectra (..., N, N // 2 + 1)."""
        weights = np.full(half.shape[-1], 2.0)
        weights[[0, -1]] = 1.0
        mean: Array = (half * weights).sum(axis=(-2, -1)) / self.size**2
        return mean

    def filters(self, x: Array, y: Array, log_ratio: Array) -> tuple[Array, list[Array], float]:
        """ψ̂ and the inputs' κ̂ (k, N, N // 2 + 1), and the fraction of frequencies limited."""
        variances = self._noise.relative(log_ratio)
        transforms = [
            _weighted(coefficients.at(x, y), spectrum)
            for coefficients, spectrum in zip(self._coefficients, self._spectra, strict=True)
        ]
        powers = noise_power(transforms, variances, self._correlations)
        power = powers.sum(axis=0)
        if not np.all(power[:, 0, 0] > 0):
            raise InputError("the difference has no noise at zero frequency: the kernel sums to zero")
        limited = 0.0
        if self._recipe.score:
            science = [side == "science" for side in self._noise.sides]
            # The PSF's part, without the correlation of the noise, which belongs in the denominator only.
            own = noise_power(transforms, variances, [None] * len(transforms))[science].sum(axis=0)
            psi = score_filter(power, own, variances[science].sum(axis=0))
        else:
            psi, limited = whitening_filter(power, self._recipe.max_gain)
        if self._second is not None:
            psi *= self._second
        return psi, transforms, limited

    def psi(self, x: Array, y: Array, log_ratio: Array) -> tuple[Array, float]:
        """Periodic images (k, N, N) of ψ, and the fraction of frequencies limited."""
        psi, _, limited = self.filters(x, y, log_ratio)
        return inverse(psi.astype(complex), self.size), limited

    def all(self, x: Array, y: Array, log_ratio: Array) -> tuple[Array, Array, float]:
        """Periodic images of ψ (k, N, N) and of the variance kernels (inputs, k, N, N)."""
        psi, transforms, limited = self.filters(x, y, log_ratio)
        image = inverse(psi.astype(complex), self.size)
        squares = []
        for transform, untouched, correlation in zip(transforms, self._untouched, self._correlations, strict=True):
            if untouched and correlation is None:
                squares.append(image**2 * self._second_gain)
                continue
            whole = psi * transform
            if correlation is not None:
                # Correlated noise is white noise after the filter whose square is its spectrum: with that in it, the
                # sum of the kernel's square is the true gain.
                whole *= np.sqrt(correlation)
            square = inverse(whole, self.size) ** 2
            squares.append(square * self._second_gain)
        return image, np.array(squares), limited


def _is_one(kernel: SpatialKernel) -> bool:
    return bool(kernel.coefficients.at(np.zeros(1), np.zeros(1))[:, 0] @ kernel.basis[:, 0, 0] == 1.0)


def _weighted(amounts: Array, spectra: Array) -> Array:
    """Sums (k, …) of complex spectra (n, …) with real amounts (n, k)."""
    parts = spectra.reshape(len(spectra), -1).view(np.float64)
    return (amounts.T @ parts).view(np.complex128).reshape(-1, *spectra.shape[1:])
