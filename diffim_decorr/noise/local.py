"""The noise of an image whose resampling is known: how it varies over the field, and whether the image agrees.

Where the noise before was white, the correlation function and the variance at each place follow from the interpolation
and the sub-pixel phase alone (`phase`). Nothing is fitted to the image but the level, so that all its source-free
pixels judge the model: its mean must be the correlation function that is measured, and products of neighbouring pixels
must go up and down with the phase as it says.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from diffim_decorr.geometry import Box
from diffim_decorr.images.exposure import Exposure
from diffim_decorr.images.planes import Plane
from diffim_decorr.noise.correlation import different_lags, paired
from diffim_decorr.noise.local_correlation import LocalCorrelation
from diffim_decorr.noise.measured import MeasuredNoise
from diffim_decorr.noise.phase import SHORTEST, PhaseVariance, correlation_of
from diffim_decorr.noise.plane_level import PlaneLevel
from diffim_decorr.noise.response import Response
from diffim_decorr.noise.windows import SourceFreeWindows

__all__ = ("Agreement", "LocalNoise", "agreement_with", "blocks_of", "local_noise_of", "told_by_level")

Array = NDArray[Any]

_ROWS, _LEAST = 512, 1 << 17  # of a variance plane that are looked at
_WINDOWS = 10
_LAG = 2  # up to which products are compared
_NOTHING = 1e-6  # is a variance of less
_BLOCK = 64  # pixels, blocks of which scatter as their products do
# How many standard errors the image may be off; by how much correlations may differ in any case, for a model of
# interpolation is not what a program does to the last digit; and the share of the variation that must be there.
_SIGMAS, _SAME, _SHARE = 5.0, 0.03, 0.5


@dataclass(frozen=True, eq=False)
class LocalNoise:
    """What is expected of the noise of an image.

    Parameters
    ----------
    exposure
        The image, with the variance that the pixels had before they were resampled, as far as its plane tells.
    correlation
        Its correlation function over the field.
    structure
        By what resampling makes its variance larger or smaller.
    response
        With what weights it was made of white noise, if that is known.
    """

    exposure: Exposure
    correlation: LocalCorrelation
    structure: Plane
    response: Response | None = None


@final
@dataclass(frozen=True, eq=False)
class _Quotient(Plane):
    """One plane divided by another."""

    one: Plane
    other: Plane

    @property
    def shape(self) -> tuple[int, int]:
        return self.one.shape

    def read(self, box: Box) -> Array:
        quotient: Array = self.one.read(box) / self.other.read(box)
        return quotient

    def read_every(self, box: Box, steps: tuple[int, int]) -> Array:
        quotient: Array = self.one.read_every(box, steps) / self.other.read_every(box, steps)
        return quotient

    def held(self, y0: int, y1: int) -> Any:
        return self.one.held(y0, y1)


def local_noise_of(exposure: Exposure) -> LocalNoise:
    """What is expected of the noise of an image that has warps.

    A variance plane that was propagated through the resampling, Σ w² V, has its structure already, which is taken out;
    one that was resampled as an image has not.
    """
    structure = PhaseVariance(exposure.warps, exposure.shape)
    plane = exposure.variance_plane
    share = math.nan if plane is None else _follows(plane, structure)
    propagated = share > 0.5 or math.isnan(share)
    if plane is not None and share > 0.5:
        exposure = exposure.with_variance(_Quotient(plane, structure))
    response = Response.of(exposure.warps[0], not propagated) if len(exposure.warps) == 1 else None
    return LocalNoise(exposure, correlation_of(exposure.warps), structure, response)


def told_by_level(noise: LocalNoise, measured: MeasuredNoise, level: PlaneLevel | None) -> LocalNoise:
    """With what the level of the noise tells of its variance plane, where there is no structure to tell it.

    Pixels have as much noise as a plane says that was propagated, and less than one that was resampled as an image.
    """
    plane = noise.exposure.variance_plane
    if noise.response is None or level is None or plane is None or not math.isnan(_follows(plane, noise.structure)):
        return noise
    there = np.zeros(1)
    left = math.prod(float((noise.response.along(phase) ** 2).sum()) for phase in noise.response.phases(there, there))
    relative = measured.variance * left / level.level
    mean = float(noise.response.warp.interpolation.variances().mean()) ** 2
    response = replace(noise.response, interpolated=relative < math.sqrt(left * mean))
    return replace(noise, response=response)


def _follows(plane: Plane, structure: Plane) -> float:
    """How much of a structure there is in a variance plane: 1 if it has it, 0 if it is as smooth as before.

    NaN if the structure is none.
    """
    ny, nx = plane.shape
    step = max(1, math.ceil(ny / _ROWS)), max(1, math.ceil(nx * min(ny, _ROWS) / _LEAST))
    whole = Box(0, 0, nx, ny)
    variance, expected = (p.read_every(whole, step).astype(float).ravel() for p in (plane, structure))
    usable = np.isfinite(variance) & (variance > 0)
    if not usable.any():
        return math.nan
    middle = np.median(variance[usable])
    # Neither sources nor steps of the depth, as far as possible.
    usable &= (variance < 4 * middle) & (variance > middle / 4)
    relative, shape = variance[usable] / middle, expected[usable] - expected[usable].mean()
    square = float(shape @ shape)
    return float(shape @ relative) / square / float(relative.mean()) if square > 1e-9 * len(shape) else math.nan


@dataclass(frozen=True)
class Agreement:
    """How well an image agrees with what is expected of its noise.

    Parameters
    ----------
    share, share_error
        Of the expected variation with the phase that is there, and its standard error; NaN where none is expected.
    difference, difference_error
        The largest difference of the mean correlation functions, and the standard error of one.
    beat
        After how many pixels a sub-pixel phase is the same again.
    """

    share: float
    share_error: float
    difference: float
    difference_error: float
    beat: float

    @property
    def remark(self) -> str | None:
        """In what the pixels contradict; None if in nothing. What cannot be told from them is believed."""
        if self.beat < SHORTEST:
            return (
                f"the sub-pixel phase of its warp comes round within {self.beat:.1f} pixels, which no kernel can follow"
            )
        if self.share < _SHARE and self.share + _SIGMAS * self.share_error < 1:
            return (
                f"its noise varies by {self.share:.0%} only of what the sub-pixel phase of its warp makes of it: the "
                "WCS is not the one with which it was resampled, or it was interpolated otherwise"
            )
        if self.difference > max(_SAME, _SIGMAS * self.difference_error):
            return (
                f"the correlation of its noise differs by {self.difference:.2f} from what its warp makes of white "
                "noise: it was interpolated otherwise, or its noise was correlated before"
            )
        return None


def agreement_with(
    noise: LocalNoise, measured: MeasuredNoise, windows: SourceFreeWindows, level: PlaneLevel | None
) -> Agreement:
    """How well the pixels of an image agree with what is expected of its noise.

    Parameters
    ----------
    noise
        What is expected.
    measured
        The noise as measured in the windows.
    windows
        Where there are no sources.
    level
        Of its variance plane, if it has one.
    """
    lags = different_lags(_LAG)
    parts = []
    for box, pixels, use in windows.scaled(noise.exposure, level, _WINDOWS):
        pixels = pixels / measured.variance**0.5
        parts += [_products(noise.correlation, box, pixels, use, block, lags) for block in blocks_of(box.shape)]
    pairs, products, expected, crossed, squares = np.array(parts).reshape(-1, 5, len(lags)).transpose(1, 0, 2)
    number = np.maximum(pairs.sum(axis=0), 1)
    off = (products.sum(axis=0) - expected.sum(axis=0)) / number - measured.plateau
    difference, error = float(np.abs(off[1:]).max()), 1 / math.sqrt(float(number[0]))
    crossed, squares = crossed.sum(axis=1), squares.sum(axis=1)
    total = float(squares.sum())
    if not total > _NOTHING * number.sum():
        return Agreement(math.nan, math.nan, difference, error, noise.correlation.beat)
    share = float(crossed.sum()) / total
    scatter = math.sqrt(float(np.sum((crossed - share * squares) ** 2))) / total
    return Agreement(share, scatter, difference, error, noise.correlation.beat)


def blocks_of(shape: tuple[int, int]) -> list[tuple[slice, slice]]:
    """Blocks that make up a window."""
    ny, nx = shape
    return [
        (slice(y, y + _BLOCK), slice(x, x + _BLOCK)) for y in range(0, ny, _BLOCK) for x in range(0, nx, _BLOCK)
    ]  # fmt: skip


def _products(
    correlation: LocalCorrelation,
    box: Box,
    pixels: Array,
    use: Array,
    block: tuple[slice, slice],
    lags: list[tuple[int, int]],
) -> Array:
    """Sums (5, lags) over pairs of pixels in a block of a window.

    Of 1, of products, of what these should be, of products times what of that varies over the field, and of the square
    of the latter.
    """
    pixels, use = pixels[block], use[block]
    ny, nx = pixels.shape
    # What is in the middle of a pair is so at pixels beside that, but for a small part of the period.
    beats = correlation.kernel.coefficients.grid(
        np.arange(nx) + float(box.x0 + block[1].start), np.arange(ny) + float(box.y0 + block[0].start)
    )
    middle = len(correlation.usual) // 2
    there = np.array([correlation.kernel.basis[:, middle + dy, middle + dx] for dy, dx in lags])
    covariances = np.tensordot(there, beats, axes=1)
    sums = np.empty((5, len(lags)))
    for k, (dy, dx) in enumerate(lags):
        one, other, between = paired(pixels.shape, (dy, dx))
        both = use[one] & use[other]
        product = np.where(both, pixels[one] * pixels[other], 0)
        expected = np.where(both, covariances[k][between], 0)
        usual = correlation.usual[middle + dy, middle + dx]
        varying = np.where(both, expected - usual, 0)
        sums[:, k] = (
            both.sum(), product.sum(), expected.sum(), ((product - usual) * varying).sum(), (varying**2).sum()
        )  # fmt: skip
    return sums
