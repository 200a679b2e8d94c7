"""Lagged products of the pixels in a window: what all correlation functions and spectra are made of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diffim_decorr.fft import inverse_near
from diffim_decorr.noise.correlation import on_grid, power_of, transforms
from diffim_decorr.noise.robust import level_of
from diffim_decorr.qa.sample import Window
from diffim_decorr.qa.spectrum import LAG

__all__ = ("Products", "products_in")

Array = NDArray[Any]


@dataclass(frozen=True, eq=False)
class Products:
    """Sums of products of pixels at each lag (41, 41), zero lag in the middle, of the pixels that are used.

    Parameters
    ----------
    pairs
        Numbers of pairs of pixels.
    before, after
        Of the difference and of the decorrelated difference, their levels taken off.
    inputs
        Of each input.
    crossed
        Of the difference and each input: at lag l the latter's pixel is taken l pixels before. A difference that is
        the input convolved with a kernel has the kernel there.
    """

    pairs: Array
    before: Array
    after: Array
    inputs: tuple[Array, ...]
    crossed: tuple[Array, ...]


def products_in(window: Window, level_before: float, level_after: float) -> Products:
    """The products of a window, given the levels of the difference and of the decorrelated difference."""
    use = window.use
    planes = [window.before - np.float32(level_before), window.after - np.float32(level_after)]
    # Without what is near sources an input has another level.
    planes += [pixels - np.float32(level_of(pixels[use])) for pixels in window.inputs]
    used = np.zeros((1 + len(planes), *use.shape), dtype=np.float32)
    used[0] = use
    for plane, out in zip(planes, used[1:], strict=True):
        np.copyto(out, plane, where=use)
    # One transform of each for all of it.
    spectra = transforms(used, LAG)
    width = on_grid(use.shape, LAG)[1]
    pairs, before, after, *inputs = inverse_near(power_of(spectra), width, LAG)
    # Products of pixels in odd units exceed single precision.
    crossed = inverse_near(spectra[1].astype(np.complex128) * np.conj(spectra[3:]), width, LAG)
    return Products(pairs, before, after, tuple(inputs), tuple(crossed))
