"""Quality figures: is the noise white, and does the variance plane tell its size?

All figures are of source-free pixels: where neither input shows a source nearby and no mask plane is set. On large
images they are measured on a sample of windows, spread evenly over the field, with a million such pixels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diffim_decorr.geometry import Box
from diffim_decorr.images.planes import Plane
from diffim_decorr.noise.correlation import MAX_LAG, lagged_products, max_abs_rho, normalised, quick_median
from diffim_decorr.noise.sources import mask_sources, smoothed, typical
from diffim_decorr.noise.windows import ENOUGH, MOST_WINDOWS, WINDOWS_AT_ONCE, sample_boxes
from diffim_decorr.options import Options
from diffim_decorr.record import Figures, figure

__all__ = ("QualityFigures", "measure_quality", "remarks_on")

Array = NDArray[Any]

_FEWEST = 1000
# Correlation of the inputs' noise, or of what comes out, that is worth a warning.
_NOTABLE_CORRELATION = 0.02
_EVERY = 7  # of the pixels are enough for a level, which with a million of them is right to 0.3 % of the noise


@dataclass(frozen=True, eq=False, repr=False)
class QualityFigures(Figures):
    """How white the noise is, and whether the variance plane is right.

    Parameters
    ----------
    rho_before, rho_after, rho_science, rho_template
        Correlation functions (11, 11), with their centre at [5, 5]; those of the inputs tell whether the assumption of
        white noise holds.
    max_abs_rho_before, max_abs_rho_after
        Largest absolute correlation of pixels up to 5 pixels apart along each axis, in the difference and in the
        decorrelated difference. NaN if there were too few source-free pixels.
    snr_std
        Robust standard deviation of the decorrelated difference in units of the square root of its variance plane.
    pixels_used
        Number of source-free pixels.
    """

    rho_before: Array
    rho_after: Array
    rho_science: Array
    rho_template: Array
    max_abs_rho_before: float = figure("DCRHO0", "largest noise correlation, difference")
    max_abs_rho_after: float = figure("DCRHO1", "largest noise correlation, this image")
    snr_std: float = figure("DCSNRSTD", "robust std of image / sqrt(variance)")
    pixels_used: int = figure("DCNPIX", "source-free pixels measured")

    def __repr__(self) -> str:
        return (
            f"<QualityFigures: max_abs_rho {self.max_abs_rho_before:.4f} before, {self.max_abs_rho_after:.4f} after, "
            f"snr_std {self.snr_std:.4f}, {self.pixels_used} pixels>"
        )


@dataclass
class _Window:
    """Pixels of one window, and what is derived from them."""

    before: Array
    after: Array
    variance: Array
    inputs: tuple[Array, Array]
    use: Array
    smooth: tuple[Array, Array]
    scatter: tuple[float, float]


def measure_quality(
    shape: tuple[int, int],
    science: Plane,
    template: Plane,
    before: Plane,
    after: Callable[[Box], tuple[Array, Array, Array]],
    bad_bits: np.int32,
    threads: int = 1,
) -> QualityFigures:
    """Measure the figures on a sample of windows.

    Parameters
    ----------
    shape
        Of the images, (ny, nx).
    science, template
        The inputs, which show where sources are.
    before
        The difference.
    after
        Reads image, mask and variance of the decorrelated difference within a box.
    bad_bits
        Mask bits of pixels that are not used.
    threads
        Number of threads.
    """
    windows: list[_Window] = []
    boxes = sample_boxes(shape)
    with ThreadPoolExecutor(threads) as pool:

        def load(box: Box) -> _Window:
            return _load(box, science, template, before, after, bad_bits)

        for start in range(0, min(len(boxes), MOST_WINDOWS), WINDOWS_AT_ONCE):
            windows += pool.map(load, boxes[start : start + WINDOWS_AT_ONCE])
            # What stands out is judged by the scatter of the whole sample: a window may be full of sources.
            sigmas = [typical([window.scatter[k] for window in windows]) for k in range(2)]
            list(pool.map(_mask_sources, windows, [sigmas] * len(windows)))
            used = sum(int(window.use.sum()) for window in windows)
            if used >= ENOUGH:
                break
        if used < _FEWEST:
            nothing = np.full((2 * MAX_LAG + 1, 2 * MAX_LAG + 1), np.nan)
            return QualityFigures(nothing, nothing, nothing, nothing, np.nan, np.nan, np.nan, used)
        levels = [
            float(np.median(np.concatenate([getattr(window, name)[window.use][::_EVERY] for window in windows])))
            for name in ("before", "after")
        ]
        products = list(pool.map(lambda window: _products(window, levels), windows))
    counts, *sums = (sum(parts) for parts in zip(*products, strict=True))
    rho_before, rho_after, rho_science, rho_template = (normalised(total, counts) for total in sums)
    snr = np.concatenate([window.after[window.use] / np.sqrt(window.variance[window.use]) for window in windows])
    std = float(1.4826 * np.median(np.abs(snr - np.median(snr[::_EVERY]))))
    largest = max_abs_rho(rho_before), max_abs_rho(rho_after)
    return QualityFigures(rho_before, rho_after, rho_science, rho_template, *largest, std, used)


def _load(
    box: Box,
    science: Plane,
    template: Plane,
    before: Plane,
    after: Callable[[Box], tuple[Array, Array, Array]],
    bad_bits: np.int32,
) -> _Window:
    image, mask, variance = after(box)
    difference, *inputs = (plane.read(box).astype(np.float32) for plane in (before, science, template))
    use = ((mask & bad_bits) == 0) & (variance > 0)
    for plane in (image, variance, difference, *inputs):
        use &= np.isfinite(plane)
    smooth, scatter = [], []
    for k, pixels in enumerate(inputs):
        # The level of an input is its background, which need not be flat: it is taken off window by window.
        level = np.float32(quick_median(pixels[use]))
        inputs[k] = np.where(use, pixels - level, np.float32(0))
        smooth.append(smoothed(inputs[k]))
        scatter.append(1.4826 * quick_median(np.abs(smooth[k][use])))
    return _Window(difference, image, variance, tuple(inputs), use, tuple(smooth), tuple(scatter))  # type: ignore[arg-type]


def _mask_sources(window: _Window, sigmas: list[float]) -> None:
    """Leave out pixels near anything that stands out of the background of either input."""
    for smooth, sigma in zip(window.smooth, sigmas, strict=True):
        mask_sources(window.use, smooth, sigma)


def _products(window: _Window, levels: list[float]) -> list[Array]:
    """Lagged products of the mask, of the difference before and after, and of the inputs."""
    use = window.use
    planes = [use, window.before - np.float32(levels[0]), window.after - np.float32(levels[1])]
    for pixels in window.inputs:
        planes.append(pixels - np.float32(quick_median(pixels[use])))
    return [lagged_products(np.where(use, plane, 0), MAX_LAG) for plane in planes]


def remarks_on(qa: QualityFigures, options: Options) -> Iterator[str]:
    """What the user should know of the figures."""
    if not np.isfinite(qa.max_abs_rho_after):
        yield f"only {qa.pixels_used} source-free pixels: the quality figures could not be measured"
        return
    limit = _NOTABLE_CORRELATION + 5 / np.sqrt(qa.pixels_used)
    if options.score or qa.max_abs_rho_after <= limit:
        return
    if options.noise == "measured":
        yield (
            f"max_abs_rho {qa.max_abs_rho_after:.3f} is left although the noise was measured: at some frequencies "
            "there is next to none, or its correlation varies over the field, or the inputs show structure besides "
            "noise"
        )
        return
    inputs = {"science": max_abs_rho(qa.rho_science), "template": max_abs_rho(qa.rho_template)}
    listed = " and ".join(f"{name} {rho:.2f}" for name, rho in inputs.items() if rho > limit)
    if listed:
        yield (
            f"the noise of the inputs is itself correlated (by up to: {listed}), so that "
            f"max_abs_rho {qa.max_abs_rho_after:.3f} is left; --noise measured takes this into account"
        )
