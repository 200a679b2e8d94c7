"""ψ and what goes with it at single positions and noise ratios: its spectrum, and images of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from copy import copy
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diffim_decorr.errors import InputError
from diffim_decorr.fft import even_window, inverse, inverse_window, kernel_transform
from diffim_decorr.kernels.spatial import SpatialKernel
from diffim_decorr.noise.field import NoiseField
from diffim_decorr.noise.response import moved
from diffim_decorr.psi.filters import score_filter, squared, whitening_filter
from diffim_decorr.psi.nodes import Places
from diffim_decorr.psi.spectra import ResponseSpectrum, spectrum_of
from diffim_decorr.threads import within_memory

__all__ = ("Recipe", "Sampler", "Spectra", "mirrored")

Array = NDArray[Any]

# Values that are worked on at once, few enough to stay in the cache of one core, and those of spectra at some places.
_AT_ONCE, _AT_A_TIME = 1 << 14, 1 << 19
_EVEN = 1e-14  # of a transform's imaginary part relative to its real one, below which the kernel is even
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
    least
        What the spectrum of the residual is at least. A first ψ that knows the noise leaves little to do but where its
        gain was limited, and there no noise is to be had.
    """

    score: bool = False
    max_gain: float = 1e4
    residual: Array | None = None
    half_width: int | None = None
    least: float = 0.5


@dataclass(frozen=True, eq=False)
class Spectra:
    """Spectra at some places and frequencies.

    Parameters
    ----------
    psi
        ψ̂ (k, frequencies), which is real.
    chains
        Of each input the real and the imaginary part of ``ψ̂ κ̂_i`` (k, frequencies), times the root of ρ̂_i where its
        noise is correlated, or ŵ_i where it is known what correlated it; None for an imaginary part that vanishes, and
        for an input of which this is ψ̂ itself.
    limited
        The fraction of frequencies at which the gain was limited.
    """

    psi: Array
    chains: list[tuple[Array, Array | None] | None]
    limited: float


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
        self.frequencies = size * (size // 2 + 1)
        self.inputs = tuple(inputs)
        self.batch = max(1, _AT_A_TIME // (self.frequencies * len(self.inputs)))
        self._noise = noise
        self._recipe = recipe
        self._transforms = [_parts(kernel_transform(kernel.basis, (size, size))) for kernel in inputs]
        self._coefficients = [kernel.coefficients for kernel in inputs]
        self._correlations = [None if rho is None else spectrum_of(rho, size) for rho in noise.correlations]
        self._responses = [
            None if response is None else ResponseSpectrum.on_grid(response, size)
            for response in noise.responses or (None,) * len(inputs)
        ]
        #: The inputs of which ψ ⊗ κ_i is ψ itself.
        self.untouched = tuple(
            rho is None and kernel.shape == (1, 1) and kernel.is_constant and _is_one(kernel)
            for kernel, rho in zip(inputs, noise.correlations, strict=True)
        )
        self._sums = [real[:, 0] for real, _ in self._transforms]
        self._second, self._second_gain = self._residual_filter()

    @property
    def weights(self) -> Array:
        """Weights of the frequencies, with which sums of squares over them are those over the pixels of the image."""
        weights = np.full((self.size, self.size // 2 + 1), 2.0 / self.size**2)
        weights[:, [0, -1]] /= 2
        return weights.ravel()

    def at_frequencies(self, chosen: Array) -> Sampler:
        """The same for some of the frequencies, whose numbers are given, zero first; for spectra, not for images."""
        other = copy(self)
        other.frequencies = len(chosen)
        other._transforms = [
            (real[:, chosen], None if imaginary is None else imaginary[:, chosen])
            for real, imaginary in self._transforms
        ]
        other._correlations = [None if rho is None else rho.chosen(chosen) for rho in self._correlations]
        other._responses = [None if response is None else response.chosen(chosen) for response in self._responses]
        other._second = None if self._second is None else self._second[chosen]
        return other

    def workers(self, threads: int) -> int:
        """How many threads may compute images at once without taking too much memory."""
        each = 8 * self.batch * self.frequencies * (4 + 3 * len(self.inputs))
        return within_memory(threads, each, _BUDGET)

    def _residual_filter(self) -> tuple[Array | None, float]:
        """The filter for what a first ψ left, and by how much it changes the variance beyond what the model says."""
        if self._recipe.residual is None:
            return None, 1.0
        spectrum = np.maximum(spectrum_of(self._recipe.residual, self.size).usual, self._recipe.least)
        second = np.sqrt(spectrum[0] / spectrum)
        # The noise has the variance spectrum(0) after this filter; for white noise it would be the mean of its square.
        return second, float(spectrum[0] / (self.weights @ second**2))

    def spectra(self, places: Places, chains: bool = True) -> Spectra:
        """ψ̂ at places, and, if wanted, the spectra of the kernels by which the inputs' noise gets into the result.

        Raises
        ------
        InputError
            If the kernels sum to zero.
        """
        x, y, log_ratio = places
        variances = self._noise.relative(log_ratio)[..., None]
        amounts = [coefficients.at(x, y).T for coefficients in self._coefficients]
        shares = [None if rho is None else rho.amounts(x, y) for rho in self._correlations]
        zero = self._power_at_zero(amounts, variances, shares)
        if not np.all(zero > 0):
            raise InputError("the difference has no noise at zero frequency: the kernel sums to zero")
        shape = len(x), self.frequencies
        psi, limited = np.empty(shape), 0.0
        wanted = [
            None
            if untouched or not chains
            else (np.empty(shape), None if imaginary is None and response is None else np.empty(shape))
            for untouched, (_, imaginary), response in zip(
                self.untouched, self._transforms, self._responses, strict=True
            )
        ]
        weights = [None if response is None or not chains else response.amounts(x, y) for response in self._responses]
        # Block by block, which stay in the processor's cache.
        step = max(256, _AT_ONCE // len(x))
        for start in range(0, self.frequencies, step):
            here = slice(start, start + step)
            transforms = [
                (a @ real[:, here], None if imaginary is None else a @ imaginary[:, here])
                for a, (real, imaginary) in zip(amounts, self._transforms, strict=True)
            ]
            correlations = [
                None if rho is None else rho.values(own, here)
                for rho, own in zip(self._correlations, shares, strict=True)
            ]
            filtered, part = self._filtered(transforms, variances, correlations, zero, here)
            psi[:, here] = filtered
            limited += part * filtered.shape[1] / self.frequencies
            for chain, own, rho, response, weight in zip(
                wanted, transforms, correlations, self._responses, weights, strict=True
            ):
                if chain is None:
                    continue
                # Correlated noise is white noise after the filter whose square is its spectrum: with that in it, the
                # sum of the kernel's square is the true gain.
                factor = filtered if rho is None or weight is not None else filtered * np.sqrt(rho)
                if response is not None and weight is not None:
                    own = _product(own, response.values(weight, here))
                for result, given in zip(chain, own, strict=True):
                    if result is not None and given is not None:
                        np.multiply(factor, given, out=result[:, here])
        return Spectra(psi, wanted, limited)

    def _power_at_zero(self, amounts: list[Array], variances: Array, shares: list[Array | None]) -> Array:
        """Noise power (k, 1) of the difference at frequency zero."""
        sums = [(a @ total)[:, None] for a, total in zip(amounts, self._sums, strict=True)]
        first = slice(0, 1)
        factors = [
            1.0 if rho is None else rho.values(own, first) for rho, own in zip(self._correlations, shares, strict=True)
        ]
        power: Array = np.sum([v * s**2 * rho for v, s, rho in zip(variances, sums, factors, strict=True)], axis=0)
        return power

    def _filtered(
        self,
        transforms: list[tuple[Array, Array | None]],
        variances: Array,
        correlations: list[Array | None],
        zero: Array,
        here: slice,
    ) -> tuple[Array, float]:
        """ψ̂ at some frequencies, and the fraction of them at which the gain was limited."""
        power, science = np.zeros(()), np.zeros(())
        for own, variance, rho, side in zip(transforms, variances, correlations, self._noise.sides, strict=True):
            part = squared(*own)
            part *= variance
            if self._recipe.score and side == "science":
                # The PSF's part, without the correlation of the noise, which belongs in the denominator only.
                science = science + part
            power = power + (part if rho is None else part * rho)
        limited = 0.0
        if self._recipe.score:
            own_variance = variances[[side == "science" for side in self._noise.sides]].sum(axis=0)
            psi = score_filter(power, zero, science, own_variance)
        else:
            psi, limited = whitening_filter(power, zero, self._recipe.max_gain)
        if self._second is not None:
            psi *= self._second[here]
        return psi, limited

    def gains(self, spectra: Spectra, weights: Array) -> Array:
        """The sums of the variance kernels (inputs, k), from the weights of the frequencies."""
        parts = [(spectra.psi,) if chain is None else chain for chain in spectra.chains]
        sums = [sum((part * part) @ weights for part in chain if part is not None) for chain in parts]
        return np.array(sums) * self._second_gain

    def images(self, spectra: Spectra, half_width: int, reach: int) -> tuple[Array, Array]:
        """Images of ψ and of what the inputs' noise is convolved with in all, around their middle.

        Returns
        -------
        psi
            The rows (k, half_width + 1, s) from the middle on: ψ is even.
        chains
            Of each input ``ψ ⊗ κ_i`` (inputs, k, r, r), whose squares are the variance kernels.
        """
        grid = (-1, self.size, self.size // 2 + 1)
        widest = min(max(half_width, reach), self.size // 2 - 1)
        wider = even_window(spectra.psi.reshape(grid), self.size, widest)
        chains = np.empty((len(self.inputs), len(wider), 2 * reach + 1, 2 * reach + 1))
        for image, chain in zip(chains, spectra.chains, strict=True):
            if chain is None:
                image[...] = mirrored(_narrowed(wider, reach))
            else:
                image[...] = inverse_window(_complex(chain).reshape(grid), self.size, reach)
        chains *= self._second_gain**0.5
        return _narrowed(wider, half_width), chains

    def moved(self, images: Array, number: int, places: tuple[Array, Array]) -> Array:
        """Variance kernels (k, r, r) of an input at places (x, y), for planes on the pixels that there are."""
        response = self._noise.responses[number] if self._noise.responses else None
        return images if response is None else moved(images, response.phases(*places))

    @property
    def moves(self) -> bool:
        """Whether it does anything to any input's."""
        return any(response is not None for response in self._responses)

    def squares(self, spectra: Spectra) -> Iterator[Array]:
        """The variance kernels one after the other, periodic images (k, N, N), but for those that are ψ²."""
        for chain in spectra.chains:
            if chain is not None:
                image = inverse(_complex(chain).reshape(-1, self.size, self.size // 2 + 1), self.size)
                image *= image
                image *= self._second_gain
                yield image


def mirrored(rows: Array) -> Array:
    """Even images (…, s, s) of which the rows from the middle on are known (…, h + 1, s)."""
    return np.concatenate([rows[..., :0:-1, ::-1], rows], axis=-2)


def _narrowed(rows: Array, half_width: int) -> Array:
    """The part of such rows within a half-width."""
    middle = rows.shape[-1] // 2
    return rows[..., : half_width + 1, middle - half_width : middle + half_width + 1]


def _product(parts: tuple[Array, Array | None], other: Array) -> tuple[Array, Array]:
    """Real and imaginary part of a product."""
    real, imaginary = parts
    if imaginary is None:
        return real * other.real, real * other.imag
    return real * other.real - imaginary * other.imag, real * other.imag + imaginary * other.real


def _complex(parts: tuple[Array, Array | None]) -> Array:
    real, imaginary = parts
    whole = np.zeros(real.shape, dtype=complex)
    whole.real = real
    if imaginary is not None:
        whole.imag = imaginary
    return whole


def _parts(transforms: Array) -> tuple[Array, Array | None]:
    """Real and imaginary part of transforms (n, frequencies); None for one that is rounding error."""
    flat = transforms.reshape(len(transforms), -1)
    real, imaginary = np.ascontiguousarray(flat.real), np.ascontiguousarray(flat.imag)
    even = np.abs(imaginary).max() <= _EVEN * np.abs(real).max()
    return real, None if even else imaginary


def _is_one(kernel: SpatialKernel) -> bool:
    return bool(kernel.coefficients.at(np.zeros(1), np.zeros(1))[:, 0] @ kernel.basis[:, 0, 0] == 1.0)
