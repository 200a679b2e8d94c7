"""A sample of windows with source-free pixels, on which all figures are measured.

A pixel is used where neither input shows a source nearby and no mask plane is set. On large images there are as many
windows, spread evenly over the field, as it takes for a million such pixels.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diffim_decorr.geometry import Box
from diffim_decorr.images.planes import Plane
from diffim_decorr.noise.correlation import quick_median
from diffim_decorr.noise.halves import Halves
from diffim_decorr.noise.robust import is_coarse, level_of, mean_level
from diffim_decorr.noise.sources import mask_sources, smoothed, typical
from diffim_decorr.noise.windows import ENOUGH, MOST_WINDOWS, WINDOWS_AT_ONCE, sample_boxes

__all__ = ("Sample", "Window", "sample_of")

Array = NDArray[Any]


@dataclass
class Window:
    """Pixels (h, w) of one window, and what is derived from them.

    Parameters
    ----------
    box
        Where it is.
    before, after, variance
        The difference, the decorrelated difference and its variance.
    inputs
        Science image and template, their level taken off, 0 where not used.
    use
        Source-free pixels.
    flagged
        Share of pixels with a mask plane that matters, or without data.
    smooth, scatter
        Of the inputs: smoothed, and how much that scatters.
    """

    box: Box
    before: Array
    after: Array
    variance: Array
    inputs: tuple[Array, ...]
    use: Array
    flagged: float
    smooth: tuple[Array, ...]
    scatter: tuple[float, ...]


@dataclass(frozen=True)
class Sample:
    """Windows, and the levels of the difference before and after in all of them.

    Parameters
    ----------
    windows
        Of which none may have a pixel that is used.
    level_before, level_after
        Means of the difference and of the decorrelated difference within 4 σ.
    pixels
        How many are used.
    coarse
        Whether an input has integer pixels, or multiples of a gain, that are not small against its noise: the
        difference then has lumps in its distribution, which quantiles do not fit.
    """

    windows: list[Window]
    level_before: float
    level_after: float
    pixels: int
    coarse: bool = False


def sample_of(
    shape: tuple[int, int],
    inputs: Sequence[Plane],
    before: Plane,
    after: Callable[[Box], tuple[Array, Array, Array]],
    bad_bits: np.int32,
    pool: Executor,
    held_back: Halves | None = None,
) -> Sample:
    """Choose and read the windows; see `measure_quality` for the parameters."""
    windows: list[Window] = []
    boxes = sample_boxes(shape)
    load = partial(_load, inputs=inputs, before=before, after=after, bad_bits=bad_bits)
    for start in range(0, min(len(boxes), MOST_WINDOWS), WINDOWS_AT_ONCE):
        windows += pool.map(load, boxes[start : start + WINDOWS_AT_ONCE])
        # What stands out is judged by the scatter of the whole sample: a window may be full of sources.
        sigmas = [typical([window.scatter[k] for window in windows]) for k in range(len(inputs))]
        list(pool.map(_mask_sources, windows, [sigmas] * len(windows)))
        if held_back is not None:
            for window in windows:
                window.use &= ~held_back.calibrated(window.box)
        used = sum(int(window.use.sum()) for window in windows)
        if used >= (ENOUGH if held_back is None else ENOUGH // 2):
            break
    if not used:
        return Sample(windows, np.nan, np.nan, 0)
    most = max(windows, key=lambda window: int(window.use.sum()))
    coarse = any(is_coarse(pixels[most.use]) for pixels in most.inputs)

    def level(name: str) -> float:
        return mean_level(np.concatenate([getattr(window, name)[window.use] for window in windows]))

    return Sample(windows, level("before"), level("after"), used, coarse)


def _load(
    box: Box,
    inputs: Sequence[Plane],
    before: Plane,
    after: Callable[[Box], tuple[Array, Array, Array]],
    bad_bits: np.int32,
) -> Window:
    image, mask, variance = after(box)
    difference, *pixels = (plane.read(box).astype(np.float32) for plane in (before, *inputs))
    use = ((mask & bad_bits) == 0) & (variance > 0)
    for plane in (image, variance, difference, *pixels):
        use &= np.isfinite(plane)
    flat, smooth, scatter = [], [], []
    for values in pixels:
        # The level of an input is its background, which need not be flat: it is taken off window by window.
        level = np.float32(level_of(values[use]))
        flat.append(np.where(use, values - level, np.float32(0)))
        smooth.append(smoothed(flat[-1]))
        scatter.append(1.4826 * quick_median(np.abs(smooth[-1][use])))
    flagged = 1 - float(use.mean())
    return Window(box, difference, image, variance, tuple(flat), use, flagged, tuple(smooth), tuple(scatter))


def _mask_sources(window: Window, sigmas: list[float]) -> None:
    """Leave out pixels near anything that stands out of the background of either input."""
    for smooth, sigma in zip(window.smooth, sigmas, strict=True):
        mask_sources(window.use, smooth, sigma)
