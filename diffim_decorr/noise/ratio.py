"""How the ratio of the two sides' background noise varies over the field."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diffim_decorr.geometry import Box
from diffim_decorr.images.exposure import Exposure
from diffim_decorr.images.masks import any_of
from diffim_decorr.kernels.grid import GridCoefficients
from diffim_decorr.noise.background import IQR_TO_SIGMA
from diffim_decorr.noise.plane_level import PlaneLevel

__all__ = ("local_noise",)

Array = NDArray[Any]

# Sides of the cells of local statistics, in pixels: coarse ones always, fine ones where the noise has steps.
_COARSE, _FINE = 64, 8
_SQUARE = 9  # of fine cells whose median is taken
_STEP = 0.03


def local_noise(
    science: Exposure,
    template: Exposure,
    means: tuple[PlaneLevel, PlaneLevel],
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
    fine = _log_ratio(science, template, means, bad_planes, _FINE, threads)
    rows = np.minimum(np.arange(fine.shape[0]) * _FINE // _COARSE, smooth.shape[0] - 1)
    columns = np.minimum(np.arange(fine.shape[1]) * _FINE // _COARSE, smooth.shape[1] - 1)
    fine = np.where(np.isfinite(fine), fine, smooth[np.ix_(rows, columns)])
    return _gridded(_median_filtered(fine), _FINE, science.shape)


def _gridded(values: Array, cell: int, shape: tuple[int, int]) -> GridCoefficients:
    ny, nx = shape
    y = np.minimum(np.arange(values.shape[0]) * cell + (cell - 1) / 2, ny - 1.0)
    x = np.minimum(np.arange(values.shape[1]) * cell + (cell - 1) / 2, nx - 1.0)
    return GridCoefficients(values[None], x, y, order=1)


def _log_ratio(
    science: Exposure,
    template: Exposure,
    means: tuple[PlaneLevel, PlaneLevel],
    bad_planes: Sequence[str],
    cell: int,
    threads: int,
) -> Array:
    with ThreadPoolExecutor(min(2, threads)) as pool:
        logs = list(pool.map(_local_log, (science, template), means, [bad_planes] * 2, [cell] * 2))
    return logs[1] - logs[0]


def _local_log(exposure: Exposure, mean: PlaneLevel, bad_planes: Sequence[str], cell: int) -> Array:
    """Logarithm of clipped local means of the variance plane in cells, NaN where a cell has too few pixels."""
    ny, nx = exposure.shape
    rows, columns = -(-ny // cell), -(-nx // cell)
    plane = exposure.variance_plane
    if plane is None:
        return np.full((rows, columns), np.log(mean.level))
    # Rows are what takes time to read. A coarse cell has 128 samples, a fine one 16.
    steps = (cell // 8, cell // 16) if cell > _FINE else (2, 2)
    result = np.full((rows, columns), np.nan)
    for row in range(rows):
        strip = Box(0, row * cell, nx, min((row + 1) * cell, ny))
        variance = plane.read_every(strip, steps).astype(np.float32)
        usable = mean.known(variance)
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

    centre, sigma = quantile(0.5), IQR_TO_SIGMA * (quantile(0.75) - quantile(0.25))
    kept = np.abs(ordered - centre) <= 3 * sigma + 1e-6 * np.abs(centre)
    sums = np.where(kept, ordered, 0).sum(axis=1, dtype=np.float64)
    means: Array = np.full(len(ordered), np.nan)
    enough = (counts >= minimum) & kept.any(axis=1)
    means[enough] = sums[enough] / kept[enough].sum(axis=1)
    return means


def _median_filtered(values: Array) -> Array:
    """Medians over squares of 9 x 9 values, the edges held."""
    padded = np.pad(values, _SQUARE // 2, mode="edge")
    # Sorting in vectors is faster than scipy's filter, not to speak of importing that.
    result = np.empty_like(values)
    for first in range(0, len(values), _SQUARE):
        rows = padded[first : first + 2 * _SQUARE - 1]
        squares = np.lib.stride_tricks.sliding_window_view(rows, (_SQUARE, _SQUARE))
        ordered = np.sort(squares.reshape(*squares.shape[:2], -1), axis=-1)
        result[first : first + _SQUARE] = ordered[..., _SQUARE**2 // 2]
    return result


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
