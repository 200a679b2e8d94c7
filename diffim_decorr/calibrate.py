"""Calibration of the variance: how much the result scatters, in units of its variance plane, there and by cells.

Only half of the pixels are looked at, the other half is left for the judgement of the result.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diffim_decorr.difference.subtraction import Subtraction
from diffim_decorr.engine.field_work import FieldWork
from diffim_decorr.engine.job import Job
from diffim_decorr.geometry import Box
from diffim_decorr.images.mesh import Mesh, edges
from diffim_decorr.noise.chosen import ChosenPixels, robust_scatter
from diffim_decorr.noise.free_pixels import FreePixels
from diffim_decorr.noise.halves import Halves
from diffim_decorr.noise.robust import level_of, standard_deviation
from diffim_decorr.options import Options
from diffim_decorr.record import Record

__all__ = ("Calibration", "calibration_of")

Array = NDArray[Any]

# What is known of the inputs explains the noise of the result to a few per cent, unless it is not only noise.
_NOTABLE = 0.1
_CREDIBLE = 2.0  # times as much or as little is no calibration
_CELL = 128
_AT_ONCE = 2  # cells along each axis that are worked on together
_LEAST = 0.05  # of a cell's pixels
_FEWEST_CELLS = 9
_FEWEST_PIXELS = 1000
# Relative error of a variance from the median deviation of n Gaussian numbers, times √n.
_ERROR = 2 * 1.1664
# Variances of the noise of cells differ if what they differ by is so many of its errors.
_SIGNIFICANT = 3.0
_BINOMIAL = np.outer([1.0, 2.0, 1.0], [1.0, 2.0, 1.0])


@dataclass(frozen=True, eq=False)
class Calibration:
    """What the variances of a result are to be multiplied with.

    Parameters
    ----------
    factor
        All over the field.
    local
        Besides, as a function of position; None if it is the same everywhere.
    """

    factor: float
    local: Mesh | None = None

    @property
    def map(self) -> Mesh | None:
        """All of it as a function of position; None if it is the same everywhere."""
        return None if self.local is None else self.local.scaled(self.factor)

    @property
    def spread(self) -> float | None:
        """Relative standard deviation of the variance's factor over the field, None if it is the same everywhere."""
        return None if self.local is None else float(self.local.values.std())


def calibration_of(
    job: Job,
    subtraction: Subtraction,
    chosen: ChosenPixels | None,
    halves: Halves,
    options: Options,
    record: Record,
) -> Calibration | None:
    """Calibrate the variance of what a job makes; None if that is not to be done.

    Parameters
    ----------
    job
        The job.
    subtraction
        What it was made of.
    chosen
        Source-free pixels of the half that is calibrated on, where the inputs' noise was measured.
    halves
        The halves.
    options
        What is to be done: by default it is, all over the field, where the inputs' noise was measured.
    record
        Takes what the user should know.
    """
    how = options.calibrate or ("none" if chosen is None else "global")
    if how == "none" or options.score:
        return None
    with record.timed("noise"):
        local, pixels = None, chosen
        if pixels is None or how == "local":
            bits = subtraction.masks.bits({*options.bad_planes, *options.replace_planes})
            free = FreePixels((subtraction.science, subtraction.template), subtraction.masks, bits, options.workers)
            local = _local(job, free, halves, options.workers, record) if how == "local" else None
            pixels = free.sample(halves) if pixels is None else pixels
        factor = pixels.scatter(_snr(FieldWork(job, pixels.boxes[0].shape))) ** 2
        if pixels.pixels < _FEWEST_PIXELS or not factor > 0:
            record.warn("there are too few source-free pixels to calibrate the variance on; it is left as it is")
            return None
        return Calibration(_believed(factor, chosen is not None, record), local)


def _snr(work: FieldWork) -> Callable[[Box], Array]:
    """The decorrelated difference in units of the root of its variance, NaN where that is not known."""

    def snr(box: Box) -> Array:
        image, variance = work.pixels(box)
        usable = np.isfinite(image) & (variance > 0) & (variance < np.inf)
        # A level that is left in the image is no noise, and must not vary with the variance.
        level = np.float32(level_of(image[usable]) if usable.any() else 0)
        return np.where(usable, image - level, np.nan) / np.sqrt(np.where(usable, variance, 1))

    return snr


def _believed(factor: float, measured: bool, record: Record) -> float:
    """The factor of all variances that was measured on the result, if it can be believed; else 1."""
    if abs(factor - 1) <= _NOTABLE:
        return factor
    usable = 1 / _CREDIBLE <= factor <= _CREDIBLE
    explained, remedy = (
        (
            "the noise measured on the inputs explains",
            "the inputs show structure besides noise, or the kernel is not the one that was used; mask extended "
            "sources, subtract the background, or use --noise white",
        )
        if measured
        else (
            "the variances of the inputs explain",
            "these are wrong, or the noise of the inputs is correlated, or the kernel is not the one that was used; "
            "--noise measured measures the noise",
        )
    )
    record.warn(
        f"the noise variance of the result is {factor:.2f} times what {explained}"
        f"{', to which the variance plane is scaled' if usable else '; the variance plane is left at the latter'}: "
        f"{remedy}"
    )
    return factor if usable else 1.0


def _local(job: Job, free: FreePixels, halves: Halves, threads: int, record: Record) -> Mesh | None:
    """The variance in units of the plane over the field, relative to its mean; None if it does not vary."""
    y, x = (edges(length, _CELL) for length in job.shape)
    shape = len(y) - 1, len(x) - 1
    if shape[0] * shape[1] < _FEWEST_CELLS:
        record.warn(
            f"--calibrate local: the image has room for {shape[0] * shape[1]} cells of {_CELL} pixels only, too few to "
            "tell variances that vary from chance; it is calibrated as a whole"
        )
        return None
    blocks = [
        (j, i, Box(x[i], y[j], x[min(i + _AT_ONCE, shape[1])], y[min(j + _AT_ONCE, shape[0])]))
        for j in range(0, shape[0], _AT_ONCE)
        for i in range(0, shape[1], _AT_ONCE)
    ]
    largest = max(box.shape[0] for *_, box in blocks), max(box.shape[1] for *_, box in blocks)
    snr = _snr(FieldWork(job, largest))
    variances, counts = np.full(shape, np.nan), np.zeros(shape)

    def measure(j: int, i: int, box: Box) -> None:
        values = np.where(free(box) & halves.calibrated(box), snr(box), np.nan)
        for row in range(j, min(j + _AT_ONCE, shape[0])):
            for column in range(i, min(i + _AT_ONCE, shape[1])):
                own = values[y[row] - box.y0 : y[row + 1] - box.y0, x[column] - box.x0 : x[column + 1] - box.x0]
                used = own[np.isfinite(own)]
                if len(used) >= _LEAST * own.size:
                    scatter = standard_deviation(used, whole=True) if free.coarse else robust_scatter(used)
                    variances[row, column], counts[row, column] = scatter**2, len(used)

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(lambda block: measure(*block), blocks))
    relative = shrunk(variances, counts)
    return None if relative is None else Mesh(relative, job.shape)


def shrunk(variances: Array, counts: Array) -> Array | None:
    """Variances in cells relative to their mean, smooth, and as near to 1 as their errors call for.

    A sum over 3 x 3 cells with binomial weights, of errors that are known; what these sums differ by beyond that is
    taken for real, and each is shrunk to the mean accordingly (Efron & Morris 1973).

    Parameters
    ----------
    variances, counts
        Measured ones, NaN where there is none, and of how many pixels, (rows, columns).

    Returns
    -------
    relative
        None if they differ by no more than chance has it.
    """
    known = np.isfinite(variances) & (counts > 0)
    if np.count_nonzero(known) < _FEWEST_CELLS:
        return None
    mean = float(np.average(variances[known], weights=counts[known]))
    away = np.where(known, variances / mean - 1, 0.0)
    weights = np.where(known, counts, 0.0)  # one over the square of the error, but for a factor
    total = _around(weights, _BINOMIAL)
    smooth = _around(weights * away, _BINOMIAL) / np.maximum(total, 1e-9)
    error = _ERROR**2 * _around(weights, _BINOMIAL**2) / np.maximum(total, 1e-9) ** 2
    beyond = float(np.mean((smooth**2 - error)[known]))
    # Sums over neighbouring cells have most of their pixels in common.
    independent = max(np.count_nonzero(known) / 4, 1.0)
    if beyond <= _SIGNIFICANT * np.sqrt(2 / independent) * float(np.mean(error[known])):
        return None
    relative: Array = 1 + np.where(total > 0, smooth * beyond / (beyond + error), 0.0)
    return np.clip(relative, 1 / _CREDIBLE, _CREDIBLE)


def _around(cells: Array, weights: Array) -> Array:
    """Weighted sums over 3 x 3 cells, those beyond the edges being 0."""
    padded = np.pad(cells, 1)
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3))
    result: Array = np.tensordot(windows, weights, axes=2)
    return result
