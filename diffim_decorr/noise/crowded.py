"""The noise of a difference as it has it itself, where there is no room between the sources of its inputs.

Faint stars without number pass for noise in either input. From the difference they are gone, and what is left of them
is their photons' noise, of which the variance planes tell. So the pixels with the least variance are those of the
background, whatever there is between them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diffim_decorr.fft import good_size, kernel_transform
from diffim_decorr.geometry import Box
from diffim_decorr.images.exposure import Exposure
from diffim_decorr.noise.chosen import LAG, ChosenPixels, flattened, robust_scatter, snr_of, valid_pixels
from diffim_decorr.noise.likelihood import Likelihood
from diffim_decorr.noise.robust import median
from diffim_decorr.noise.sources import grown, smoothed
from diffim_decorr.noise.windows import ENOUGH, MOST_WINDOWS, WINDOWS_AT_ONCE, sample_boxes
from diffim_decorr.record import Measured

__all__ = ("FEWEST", "departure", "own_correlation", "quiet_pixels", "trend", "without_slope")

Array = NDArray[Any]

#: With fewer pixels nothing is measured.
FEWEST = 3000
# Pixels of the background have a variance below so many times its second percentile. With more of the light of stars,
# what they scatter is more than pairs of them tell. But it takes as many as this, and this share of all.
_PERCENTILE, _ABOVE, _PLENTY, _LOWEST = 2.0, 1.1, 30_000, 0.1
_SMOOTHING = 2.0  # of the variance, before it is compared
_CLIP, _CLIP_REACH = 6.0, 2
_REACH = 10  # lags beyond this add more noise than they tell
_FLAT = 0.6  # of the reach, before the correlation is tapered
_GRID = 64
_DEGREE = 3
_ROBUST_ERROR = 1.1664  # of a robust scatter, times the root of the number of values


def quiet_pixels(shape: tuple[int, int], read: Callable[[Box], tuple[Array, Array]], threads: int) -> ChosenPixels:
    """The pixels of a difference with the least variance, without what stands out of its noise.

    Parameters
    ----------
    shape
        Of the image, (ny, nx).
    read
        Image and variance within a box, NaN what is not to be used.
    threads
        Number of threads.
    """
    boxes = sample_boxes(shape)[:MOST_WINDOWS]
    kept: list[Box] = []
    loaded: list[tuple[Array, Array]] = []

    def load(box: Box) -> tuple[Array, Array]:
        image, variance = read(box)
        snr = snr_of(image, variance)
        known = np.isfinite(snr)
        if not known.any():
            return snr, np.full(box.shape, np.inf, dtype=np.float32)
        # A plane that was made from the pixels has their noise, and is low where that is.
        smooth = smoothed(np.where(known, variance, median(variance[known])), _SMOOTHING)
        return snr, np.where(known, smooth, np.inf)

    with ThreadPoolExecutor(threads) as pool:
        for start in range(0, len(boxes), WINDOWS_AT_ONCE):
            batch = boxes[start : start + WINDOWS_AT_ONCE]
            loaded += pool.map(load, batch)
            kept += batch
            limit = _limit([variance for _, variance in loaded])
            use = [variance <= limit for _, variance in loaded]
            if sum(int(mask.sum()) for mask in use) >= ENOUGH:
                break
    values = np.concatenate([snr[mask] for (snr, _), mask in zip(loaded, use, strict=True)])
    if values.size:
        centre, sigma = median(values), robust_scatter(values)
        for (snr, _), mask in zip(loaded, use, strict=True):
            mask &= ~grown(np.abs(snr - centre) > _CLIP * sigma, _CLIP_REACH)
    return ChosenPixels(kept, use, threads)


def _limit(variances: Sequence[Array]) -> float:
    """The variance below which pixels are taken."""
    known = np.concatenate([variance[variance < np.inf] for variance in variances])
    if not known.size:
        return -np.inf
    least = np.quantile(known, min(max(_LOWEST, _PLENTY / known.size), 1.0))
    return float(max(_ABOVE * np.percentile(known, _PERCENTILE), least))


def own_correlation(covariance: Array) -> Array:
    """Correlation function (41, 41) of a covariance, which goes to 0 within the lags that are well known."""
    y, x = np.mgrid[-LAG : LAG + 1, -LAG : LAG + 1]
    phase = np.clip((np.hypot(x, y) / _REACH - _FLAT) / (1 - _FLAT), 0, 1)
    correlation: Array = covariance / covariance[LAG, LAG] * 0.5 * (1 + np.cos(np.pi * phase))
    return correlation


def departure(correlation: Array, pixels: int) -> float:
    """By how much the spectrum of a correlation function (41, 41) departs from a white one: rms beyond its error."""
    spectrum = kernel_transform(correlation, (good_size(_GRID), good_size(_GRID))).real
    chance = (np.count_nonzero(correlation) - 1) / max(pixels, 1)
    return float(np.sqrt(max(np.mean((spectrum - 1) ** 2) - chance, 0.0)))


def without_slope(image: Array) -> Array:
    """An image (h, w) without the polynomial of third degree that fits it best, as backgrounds are."""
    y, x = (np.linspace(-1, 1, n) for n in image.shape)
    terms = np.array([np.outer(y**i, x**j) for i in range(_DEGREE + 1) for j in range(_DEGREE + 1 - i)])
    known = np.isfinite(image)
    if np.count_nonzero(known) < 10 * len(terms):
        return image
    values = image[known].astype(np.float64)
    # What stands out are residuals of sources.
    fair = np.abs(values - np.median(values)) < _CLIP * robust_scatter(values)
    columns = terms[:, known].T
    amounts = np.linalg.lstsq(columns[fair], values[fair], rcond=None)[0]
    left: Array = image - np.tensordot(amounts, terms, axes=1)
    return left


def trend(
    quiet: ChosenPixels,
    read: Callable[[Box], tuple[Array, Array]],
    images: Sequence[Exposure],
    bad_planes: Sequence[str],
    sources: Likelihood,
) -> Measured:
    """Scatter of a difference, in units of its noise, where there is most light over that where there is least.

    It is 1 if the variance tells the noise of that light.

    Parameters
    ----------
    quiet
        The pixels that are compared, the brightest third of them with the faintest.
    read
        Image and variance within a box.
    images, bad_planes
        Science image and template, and which planes of their masks matter.
    sources
        Makes the image that tells how much light there is.

    Returns
    -------
    ratio
        With its statistical error; NaN if it cannot be told.
    """

    def seen(box: Box, use: Array) -> tuple[Array, Array]:
        valid, pixels = valid_pixels(box, images, bad_planes)
        image = sources.image(box, *flattened(valid, pixels))
        snr = snr_of(*read(box))
        use = use & valid & np.isfinite(snr)
        if image is None or not use.any():
            return np.empty(0), np.empty(0)
        light, values = smoothed(image.astype(np.float32))[use], snr[use]
        # Window by window, for the level of the images need not be the same in all of them.
        faint, bright = np.quantile(light, (1 / 3, 2 / 3))
        return values[light <= faint], values[light >= bright]

    with ThreadPoolExecutor(quiet.threads) as pool:
        faint, bright = map(np.concatenate, zip(*pool.map(seen, quiet.boxes, quiet.use), strict=True))
    number = min(len(faint), len(bright))
    if 3 * number < FEWEST:
        return Measured()
    return Measured(robust_scatter(bright) / robust_scatter(faint), 1.0, float(_ROBUST_ERROR * np.sqrt(2 / number)))
