"""The noise of the background: its mean variance, and how it varies over the field.

A source's own Poisson noise must not change the decorrelation kernel across the source, so everything here is about
the background: sigma-clipped, mask-aware statistics of the variance planes.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diffim_decorr.errors import InputError
from diffim_decorr.exposure import Exposure
from diffim_decorr.masks import any_of
from diffim_decorr.matching import Side
from diffim_decorr.sampling import mask_sources, smoothed
from diffim_decorr.spatial import Box, GridCoefficients

__all__ = ("NoiseField", "background_variance", "clipped_mean", "local_noise", "measured_variance")

Array = NDArray[Any]

# Pixels read for a mean over the whole image: enough for a variance plane with a scatter of 10 % to give it to 3e-4.
_SAMPLE = 1 << 17
_IQR_TO_SIGMA = 0.741  # of a Gaussian
# Sides of the cells of local statistics, in pixels: coarse ones always, fine ones where the noise has steps.
_COARSE, _FINE = 64, 8
_STEP = 0.03
# How much more than usual something must stand out to be a source where the noise itself is measured.
_CERTAIN = 1.3


@dataclass(frozen=True)
class NoiseField:
    """Background noise of the images that a difference is made of, over the field.

    Parameters
    ----------
    variances
        Mean background variance of each image, in its unit squared.
    sides
        The side that each image is on.
    log_ratio
        Natural logarithm of the template side's over the science side's variance as a function of position, or None
        if it is the same everywhere.
    correlations
        Correlation function of each image's noise (2 l + 1, 2 l + 1), 1 in the middle, or None for white noise.
    """

    variances: tuple[float, ...]
    sides: tuple[Side, ...] = ("science", "template")
    log_ratio: GridCoefficients | None = None
    correlations: tuple[Array | None, ...] = (None, None)

    @property
    def science(self) -> float:
        """Sum of the variances on the science side."""
        return self._side("science")

    @property
    def template(self) -> float:
        """Sum of the variances on the template side."""
        return self._side("template")

    def _side(self, wanted: Side) -> float:
        return sum(v for v, side in zip(self.variances, self.sides, strict=True) if side == wanted)

    @property
    def mean_log_ratio(self) -> float:
        """Of the mean variances; infinite where one of them is zero."""
        with np.errstate(divide="ignore"):
            return float(np.log(self.template) - np.log(self.science))

    def relative(self, log_ratio: Array) -> Array:
        """Each image's share (images, k) of the noise where the logarithm of the sides' ratio is as given (k)."""
        # This form has no overflow where one of the sides has no noise.
        sides = {"science": 1 / (1 + np.exp(log_ratio)), "template": 1 / (1 + np.exp(-log_ratio))}
        totals = {"science": self.science or 1.0, "template": self.template or 1.0}
        shares: Array = np.array([v / totals[s] * sides[s] for v, s in zip(self.variances, self.sides, strict=True)])
        return shares


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
    sigma = _IQR_TO_SIGMA * (high - low)
    for _ in range(iterations):
        kept = values[np.abs(values - centre) <= clip * sigma]
        if not kept.size:
            break
        centre, sigma = kept.mean(), kept.std()
    return float(centre)


def background_variance(exposure: Exposure, bad_planes: Sequence[str]) -> float:
    """Sigma-clipped mean of a variance plane outside the bad mask planes, over evenly spaced rows of the image.

    Raises
    ------
    InputError
        If no pixel that is not masked has a positive, finite variance.
    """
    if exposure.variance_plane is None:
        raise ValueError("the exposure has no variance plane")
    ny, nx = exposure.shape
    count = min(ny, -(-_SAMPLE // nx))
    values = []
    positive = False
    for y in np.unique(np.linspace(0, ny - 1, count).round().astype(int)):
        row = Box(0, int(y), nx, int(y) + 1)
        variance = exposure.variance_plane.read(row)
        usable = np.isfinite(variance) & (variance > 0)
        positive |= bool(usable.any())
        if exposure.mask_plane is not None:
            usable &= ~any_of(exposure.mask_plane.read(row), exposure.mask_planes, bad_planes)
        values.append(variance[usable])
    mean = clipped_mean(np.concatenate(values))
    if not mean > 0:
        cause = "every pixel is masked" if positive else "no pixel has a variance > 0"
        raise InputError(f"{exposure.name}: the variance plane cannot be used: {cause}")
    return mean


def measured_variance(exposure: Exposure, bad_planes: Sequence[str]) -> float:
    """Background variance measured from the image itself, for images that come without a variance plane.

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
    picked = np.unique(np.linspace(0, rows * columns - 1, min(rows * columns, 8 * _SAMPLE // cell**2)).astype(int))
    residuals = []
    for index in picked:
        y, x = divmod(int(index), columns)
        box = Box(x * cell, y * cell, (x + 1) * cell, (y + 1) * cell)
        image = exposure.image_plane.read(box).astype(np.float64)
        usable = np.isfinite(image)
        if exposure.missing_value is not None:
            usable &= image != np.float32(exposure.missing_value)
        if exposure.mask_plane is not None:
            usable &= ~any_of(exposure.mask_plane.read(box), exposure.mask_planes, bad_planes)
        if usable.sum() > cell:
            _without_sources(image, usable)
        if usable.sum() > cell:
            residuals.append(image[usable] - np.median(image[usable]))
    if not residuals:
        raise InputError(f"{exposure.name}: has no variance plane, and no pixels to measure the noise from")
    # The scatter of each cell is robust against sources; the median over cells against cells full of them.
    sigmas = [_robust_sigma(r) for r in residuals]
    sigma = float(np.median(sigmas))
    if not sigma > 0:
        raise InputError(f"{exposure.name}: has no variance plane, and its background has no noise to measure")
    return sigma**2


def _without_sources(image: Array, usable: Array) -> None:
    """Leave out pixels near sources, which in crowded fields would raise the level and with it the scatter below it."""
    smooth = smoothed(np.where(usable, image - np.median(image[usable]), 0.0).astype(np.float32))
    # Peaks of correlated noise must not pass for sources: without them the scatter would be too small.
    sigma = _CERTAIN * 1.4826 * float(np.median(np.abs(smooth[usable])))
    mask_sources(usable, smooth, sigma)


def _robust_sigma(residuals: Array) -> float:
    sigma = 1.4826 * np.median(np.abs(residuals))
    for _ in range(3):
        # Sources are positive: only the side below the level is clean. A Gaussian's lower half has the whole's rms.
        below = residuals[(residuals <= 0) & (residuals > -4 * sigma)]
        if not below.size:
            return 0.0
        sigma = float(np.sqrt(np.mean(below**2)))
    return float(sigma)


def local_noise(
    science: Exposure,
    template: Exposure,
    means: tuple[float, float],
    bad_planes: Sequence[str],
    threads: int = 1,
) -> GridCoefficients | None:
    """Logarithm of the ratio of the local background variances, template over science.

    Local means over cells of 64 pixels; where these show a step (in template depth, between amplifiers), over cells of
    8 pixels. A median filter, which keeps steps, takes out sources and noise.

    Returns
    -------
    log_ratio
        None if the ratio is the same everywhere.
    """
    coarse = _log_ratio(science, template, means, bad_planes, _COARSE, threads)
    smooth = _median_filled(coarse)
    if np.ptp(smooth) == 0:
        return None
    steps = [np.abs(np.diff(smooth, axis=axis)).max(initial=0.0) for axis in (0, 1)]
    if max(steps) <= _STEP:
        return _gridded(smooth, _COARSE, science.shape)
    from scipy.ndimage import median_filter

    fine = _log_ratio(science, template, means, bad_planes, _FINE, threads)
    rows = np.minimum(np.arange(fine.shape[0]) * _FINE // _COARSE, smooth.shape[0] - 1)
    columns = np.minimum(np.arange(fine.shape[1]) * _FINE // _COARSE, smooth.shape[1] - 1)
    fine = np.where(np.isfinite(fine), fine, smooth[np.ix_(rows, columns)])
    return _gridded(median_filter(fine, size=9, mode="nearest"), _FINE, science.shape)


def _gridded(values: Array, cell: int, shape: tuple[int, int]) -> GridCoefficients:
    ny, nx = shape
    y = np.minimum(np.arange(values.shape[0]) * cell + (cell - 1) / 2, ny - 1.0)
    x = np.minimum(np.arange(values.shape[1]) * cell + (cell - 1) / 2, nx - 1.0)
    return GridCoefficients(values[None], x, y, order=1)


def _log_ratio(
    science: Exposure,
    template: Exposure,
    means: tuple[float, float],
    bad_planes: Sequence[str],
    cell: int,
    threads: int,
) -> Array:
    with ThreadPoolExecutor(min(2, threads)) as pool:
        logs = list(pool.map(_local_log, (science, template), means, [bad_planes] * 2, [cell] * 2))
    return logs[1] - logs[0]


def _local_log(exposure: Exposure, mean: float, bad_planes: Sequence[str], cell: int) -> Array:
    """Logarithm of clipped local means of the variance plane in cells, NaN where a cell has too few pixels."""
    ny, nx = exposure.shape
    rows, columns = -(-ny // cell), -(-nx // cell)
    plane = exposure.variance_plane
    if plane is None:
        return np.full((rows, columns), np.log(mean))
    # Rows are what takes time to read. A coarse cell has 128 samples, a fine one 16.
    steps = (cell // 8, cell // 16) if cell > _FINE else (2, 2)
    result = np.full((rows, columns), np.nan)
    for row in range(rows):
        strip = Box(0, row * cell, nx, min((row + 1) * cell, ny))
        variance = plane.read_every(strip, steps).astype(np.float32)
        usable = np.isfinite(variance) & (variance > 0)
        if exposure.mask_plane is not None:
            usable &= ~any_of(exposure.mask_plane.read_every(strip, steps), exposure.mask_planes, bad_planes)
        width = cell // steps[1]
        padding = columns * width - variance.shape[1]
        values = np.pad(np.where(usable, variance, np.nan), ((0, 0), (0, padding)), constant_values=np.nan)
        cells = values.reshape(values.shape[0], columns, width).transpose(1, 0, 2).reshape(columns, -1)
        average = _cell_means if cell > _FINE else _cell_medians
        result[row] = average(cells, minimum=max(4, cells.shape[1] // 8))
    logs: Array = np.log(result)
    return logs


def _cell_medians(cells: Array, minimum: int) -> Array:
    """Medians (k,) of values (k, m), NaN where fewer than `minimum` are finite.

    Where a step runs through a cell, the median is the value of one of its sides and not something in between.
    """
    ordered = np.sort(cells, axis=1)  # NaN last
    counts = np.isfinite(ordered).sum(axis=1)
    medians: Array = ordered[np.arange(len(ordered)), np.minimum(counts // 2, ordered.shape[1] - 1)]
    return np.where(counts >= minimum, medians, np.nan)


def _cell_means(cells: Array, minimum: int) -> Array:
    """Means (k,) of values (k, m) within 3 sigma of the median, NaN where fewer than `minimum` are finite."""
    ordered = np.sort(cells, axis=1)  # NaN last
    counts = np.isfinite(ordered).sum(axis=1)
    rows = np.arange(len(ordered))

    def quantile(q: float) -> Array:
        column: Array = ordered[rows, np.minimum((counts * q).astype(int), ordered.shape[1] - 1)]
        return column[:, None]

    centre, sigma = quantile(0.5), _IQR_TO_SIGMA * (quantile(0.75) - quantile(0.25))
    kept = np.abs(ordered - centre) <= 3 * sigma + 1e-6 * np.abs(centre)
    sums = np.where(kept, ordered, 0).sum(axis=1, dtype=np.float64)
    means: Array = np.full(len(ordered), np.nan)
    enough = (counts >= minimum) & kept.any(axis=1)
    means[enough] = sums[enough] / kept[enough].sum(axis=1)
    return means


def _median_filled(values: Array) -> Array:
    """Median over 3 x 3 cells; where no neighbour has a value either, that of the nearest cells that have."""
    filled = values
    while True:
        padded = np.pad(filled, 1, mode="edge")
        windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3)).reshape(*values.shape, 9)
        known = np.isfinite(windows).any(axis=-1)
        median = np.full(values.shape, np.nan)
        median[known] = np.nanmedian(windows[known], axis=-1)
        if known.all():
            return median
        if not known.any():
            return np.zeros(values.shape)
        filled = np.where(np.isfinite(filled), filled, median)
