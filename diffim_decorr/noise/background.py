"""The variance of the background: the mean of its values, and measured from pixels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from diffim_decorr.errors import InputError
from diffim_decorr.geometry import Box
from diffim_decorr.images.exposure import Exposure
from diffim_decorr.images.masks import any_of
from diffim_decorr.noise.robust import Scatter, fill_value, level_of, scatter_of
from diffim_decorr.noise.sources import mask_sources, smoothed

__all__ = ("IQR_TO_SIGMA", "SAMPLE", "Background", "clipped_mean", "measured_background", "measured_variance")

Array = NDArray[Any]

# Pixels read for a mean over the whole image: enough for a variance plane with a scatter of 10 % to give it to 3e-4.
SAMPLE = 1 << 17
IQR_TO_SIGMA = 0.741  # of a Gaussian
# How much more than usual something must stand out to be a source where the noise itself is measured.
_CERTAIN = 1.3


def clipped_mean(values: Array, clip: float = 3.0, iterations: int = 3) -> float:
    """Sigma-clipped mean, as LSST's MEANCLIP: the first pass around the median with the interquartile range.

    Parameters
    ----------
    values
        Finite values, of any shape.
    clip
        Limit in standard deviations.
    iterations
        Number of passes.

    Returns
    -------
    mean
        NaN if there are no values.
    """
    values = np.asarray(values, dtype=np.float64).ravel()
    if not values.size:
        return float("nan")
    low, centre, high = np.percentile(values, (25.0, 50.0, 75.0))
    sigma = IQR_TO_SIGMA * (high - low)
    for _ in range(iterations):
        kept = values[np.abs(values - centre) <= clip * sigma]
        if not kept.size:
            break
        centre, sigma = kept.mean(), kept.std()
    return float(centre)


class Background(NamedTuple):
    """The background of an image: the variance of its pixels, and its level."""

    variance: float
    level: float


def measured_variance(exposure: Exposure, bad_planes: Sequence[str]) -> float:
    """Background variance measured from the image itself, for images that come without a variance plane."""
    return measured_background(exposure, bad_planes).variance


def measured_background(exposure: Exposure, bad_planes: Sequence[str]) -> Background:
    """The background measured from the image itself.

    The variance of pixels around the local level, sources clipped: differences of neighbours would be simpler, but
    they are too small where noise is correlated.

    Raises
    ------
    InputError
        If no pixel can be used or the background has no noise.
    """
    ny, nx = exposure.shape
    cell = min(64, ny, nx)
    rows, columns = ny // cell, nx // cell
    picked = np.unique(np.linspace(0, rows * columns - 1, min(rows * columns, 8 * SAMPLE // cell**2)).astype(int))
    scatters: list[Scatter] = []
    levels: list[float] = []
    counts: list[int] = []
    empty = 0
    for index in picked:
        y, x = divmod(int(index), columns)
        box = Box(x * cell, y * cell, (x + 1) * cell, (y + 1) * cell)
        image = exposure.image_plane.read(box).astype(np.float64)
        missing = exposure.absent(image.astype(np.float32))
        usable = np.ones(image.shape, dtype=bool) if missing is None else ~missing
        if exposure.mask_plane is not None:
            usable &= ~any_of(exposure.mask_plane.read(box), exposure.mask_planes, bad_planes)
        filled = fill_value(image[usable])
        if filled is not None:
            usable &= image != filled
            empty += 1
        if usable.sum() > cell:
            _without_sources(image, usable)
        if usable.sum() > cell:
            scatters.append(scatter_of(image[usable]))
            levels.append(level_of(image[usable]))
            counts.append(int(usable.sum()))
    if not scatters and not empty:
        raise InputError(f"{exposure.name}: has no variance plane, and no pixels to measure the noise from")
    # The scatter of each cell is robust against sources; the median over cells against cells full of them. What the
    # half below the level allows is judged by the median as well: by chance it is too little in every other cell.
    sigma = Scatter(*(_weighted_median(values, counts) for values in zip(*scatters, strict=True))).limited
    if not sigma > 0:
        raise InputError(
            f"{exposure.name}: has no variance plane, and its background has no noise to measure (--svar, --tvar or a "
            "variance, noise or weight file tell it)"
        )
    return Background(sigma**2, _weighted_median(levels, counts))


def _weighted_median(values: Sequence[float], weights: Sequence[int]) -> float:
    """The value that half of the weight is below."""
    order = np.argsort(values)
    reached = np.cumsum(np.array(weights)[order])
    return float(np.array(values)[order][np.searchsorted(reached, reached[-1] / 2)])


def _without_sources(image: Array, usable: Array) -> None:
    """Leave out pixels near sources, which in crowded fields would raise the level and with it the scatter below it."""
    smooth = smoothed(np.where(usable, image - level_of(image[usable]), 0.0).astype(np.float32))
    # Peaks of correlated noise must not pass for sources: without them the scatter would be too small.
    sigma = _CERTAIN * 1.4826 * float(np.median(np.abs(smooth[usable])))
    mask_sources(usable, smooth, sigma)
