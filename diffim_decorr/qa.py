"""Quality figures: is the noise white, and does the variance plane tell its size?

All figures are of source-free pixels: where neither input shows a source nearby and no mask plane is set. On large
images they are measured on a sample of windows, spread evenly over the field, with a million such pixels.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diffim_decorr.planes import Plane
from diffim_decorr.spatial import Box
from diffim_decorr.whitening import forward, good_size, inverse

__all__ = ("MAX_LAG", "QualityFigures", "autocorrelation", "max_abs_rho", "measure_quality")

Array = NDArray[Any]

MAX_LAG = 5
_WINDOW = 256
_ENOUGH = 1_000_000
_WINDOWS_AT_ONCE = 22
_MOST_WINDOWS = 88
_FEWEST = 1000
# Sources are found in images smoothed with about the PSF. The brighter they are, the farther their wings reach:
# thresholds in units of the smoothed noise, and how far around the mask is grown. The first threshold is high enough
# for noise alone to lose few pixels; masking more of its peaks would itself correlate what is left.
_SMOOTHING = 1.5
_TIERS = ((3.5, 5), (10.0, 9), (100.0, 18))


@dataclass(frozen=True)
class QualityFigures:
    """Figures of DESIGN: how white the noise is and whether the variance plane is right.

    Parameters
    ----------
    max_abs_rho_before, max_abs_rho_after
        Largest absolute correlation of pixels up to 5 pixels apart along each axis, in the difference and in the
        decorrelated difference. NaN if there were too few source-free pixels.
    snr_std
        Robust standard deviation of the decorrelated difference in units of the square root of its variance plane.
    pixels_used
        Number of source-free pixels.
    rho_before, rho_after, rho_science, rho_template
        Correlation functions (11, 11), with their centre at [5, 5]; those of the inputs tell whether the assumption of
        white noise holds.
    """

    max_abs_rho_before: float
    max_abs_rho_after: float
    snr_std: float
    pixels_used: int
    rho_before: Array
    rho_after: Array
    rho_science: Array
    rho_template: Array


def autocorrelation(images: Array, use: Array, max_lag: int = MAX_LAG) -> Array:
    """Masked autocorrelation function, normalised to 1 at zero lag.

    Parameters
    ----------
    images
        Windows (n, h, w); pixels that are not used must still be finite.
    use
        Which pixels to use, of the same shape.
    max_lag
        Largest lag along each axis.

    Returns
    -------
    rho
        Of shape (2 max_lag + 1, 2 max_lag + 1), zero lag in the middle.
    """
    data = np.where(use, images - np.median(images[use]), 0.0)
    shape = tuple(good_size(n + max_lag) for n in images.shape[-2:])
    lags = np.arange(-max_lag, max_lag + 1)
    sums = []
    for array in (data, use.astype(np.float64)):
        padded = np.zeros((len(images), *shape))
        padded[:, : images.shape[1], : images.shape[2]] = array
        spectrum = (np.abs(forward(padded)) ** 2).sum(axis=0)
        sums.append(inverse(spectrum.astype(complex), shape[1])[lags[:, None], lags[None, :]])
    rho: Array = sums[0] / np.maximum(sums[1], 1.0)
    centre = rho[max_lag, max_lag]
    return rho / centre if centre > 0 else np.full_like(rho, np.nan)


def max_abs_rho(rho: Array) -> float:
    """The largest absolute value of a correlation function other than at zero lag."""
    others = rho.copy()
    others[rho.shape[0] // 2, rho.shape[1] // 2] = 0.0
    return float(np.abs(others).max())


def measure_quality(
    shape: tuple[int, int],
    science: Plane,
    template: Plane,
    before: Plane,
    after: Callable[[Box], tuple[Array, Array, Array]],
    bad_bits: np.int32,
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
    """
    height, width = min(_WINDOW, shape[0]), min(_WINDOW, shape[1])
    rows, columns = shape[0] // height, shape[1] // width
    # Windows in an order in which any number of them from the first on is spread over the field.
    order = np.argsort((np.arange(rows * columns) * 0.6180339887498949) % 1.0, kind="stable")
    parts: list[tuple[Array, ...]] = []
    used = 0
    for start in range(0, min(len(order), _MOST_WINDOWS), _WINDOWS_AT_ONCE):
        boxes = []
        for index in order[start : start + _WINDOWS_AT_ONCE]:
            row, column = divmod(int(index), columns)
            y, x = row * shape[0] // rows, column * shape[1] // columns
            boxes.append(Box(x, y, x + width, y + height))
        images, masks, variances = (np.array(p) for p in zip(*map(after, boxes), strict=True))
        differences, sciences, templates = (
            np.array([plane.read(box) for box in boxes], dtype=np.float32) for plane in (before, science, template)
        )
        use = (masks & bad_bits) == 0
        for plane in (images, variances, differences, sciences, templates):
            use &= np.isfinite(plane)
        use &= variances > 0
        use &= ~(_sources(sciences, use) | _sources(templates, use))
        parts.append((use, differences, images, variances, sciences, templates))
        used += int(use.sum())
        if used >= _ENOUGH:
            break
    use, differences, images, variances, sciences, templates = (np.concatenate(p) for p in zip(*parts, strict=True))
    if used < _FEWEST:
        nothing = np.full((2 * MAX_LAG + 1, 2 * MAX_LAG + 1), np.nan)
        return QualityFigures(np.nan, np.nan, np.nan, used, nothing, nothing, nothing, nothing)
    rhos = [autocorrelation(_clean(plane, use), use) for plane in (differences, images)]
    # The level of an input is its background, which need not be flat: it is taken off window by window.
    rhos += [autocorrelation(_levelled(plane, use), use) for plane in (sciences, templates)]
    snr = images[use] / np.sqrt(variances[use])
    std = float(1.4826 * np.median(np.abs(snr - np.median(snr))))
    return QualityFigures(max_abs_rho(rhos[0]), max_abs_rho(rhos[1]), std, used, *rhos)


def _clean(images: Array, use: Array) -> Array:
    return np.where(use, images, 0.0)


def _levelled(images: Array, use: Array) -> Array:
    levels = np.array([np.median(image[u]) if u.any() else 0.0 for image, u in zip(images, use, strict=True)])
    return _clean(images - levels[:, None, None], use)


def _sources(images: Array, valid: Array) -> Array:
    """Pixels (n, h, w) near something that stands out of the background."""
    level = np.array([np.median(i[v]) if v.any() else 0.0 for i, v in zip(images, valid, strict=True)], dtype="f4")
    smooth = _smoothed(np.where(valid, images - level[:, None, None], 0.0).astype(np.float32))
    sigmas = [np.median(np.abs(s[v])) for s, v in zip(smooth, valid, strict=True) if v.any()]
    if not sigmas:
        return np.zeros(images.shape, dtype=bool)
    significance = np.abs(smooth) / max(1.4826 * float(np.median(sigmas)), np.finfo(np.float32).tiny)
    found = np.zeros(images.shape, dtype=bool)
    for threshold, radius in _TIERS:
        above = significance > threshold
        if above.any():
            found |= _grown(above, radius)
    return found


def _smoothed(images: Array) -> Array:
    """Images (n, h, w) convolved with a Gaussian, their edges held."""
    radius = int(3 * _SMOOTHING) + 1
    offsets = np.arange(-radius, radius + 1)
    weights = np.exp(-0.5 * (offsets / _SMOOTHING) ** 2)
    weights = (weights / weights.sum()).astype(np.float32)
    for axis in (1, 2):
        size = images.shape[axis]
        padding = [(0, 0)] * 3
        padding[axis] = (radius, radius)
        padded = np.pad(images, padding, mode="edge")
        images = sum(w * padded[(slice(None),) * axis + (slice(k, k + size),)] for k, w in enumerate(weights))
    return images


def _grown(mask: Array, radius: int) -> Array:
    """A mask (n, h, w) grown by a square."""
    for axis in (1, 2):
        size = mask.shape[axis]
        padding = [(0, 0)] * 3
        padding[axis] = (radius + 1, radius)
        counts = np.pad(mask, padding).cumsum(axis=axis, dtype=np.int32)
        ahead = counts[(slice(None),) * axis + (slice(2 * radius + 1, 2 * radius + 1 + size),)]
        mask = ahead > counts[(slice(None),) * axis + (slice(0, size),)]
    return mask
