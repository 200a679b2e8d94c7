"""The background of a difference, in cells, without sources: taken off before its noise is whitened.

As SExtractor (Bertin & Arnouts 1996, section 7.1) and photutils have it: a clipped mean in each cell of a mesh. What
stands out of a rough background, medians of few pixels, is masked as a source is anywhere else in the package.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from diffim_decorr.difference.subtraction import Subtraction
from diffim_decorr.errors import InputError
from diffim_decorr.geometry import Box
from diffim_decorr.images.mesh import Flattened, Mesh, edges
from diffim_decorr.noise.correlation import quick_median
from diffim_decorr.noise.sources import SOURCE_REACH, mask_sources, smoothed
from diffim_decorr.options import Options
from diffim_decorr.record import BackgroundFigures, Record

__all__ = ("without_background",)

Array = NDArray[Any]

_SAMPLES = 8  # pixels along each axis of a cell that tell its rough background
_CLIP = 4.0  # of the noise
_LEAST = 0.1  # of a cell's pixels
_ROWS = 256  # of pixels that are looked at together
# A cell stands out from those around if it does by so many times what is usual, and by this much of a pixel's noise.
_STANDS_OUT, _NOTABLE = 8.0, 0.3
_FEWEST_CELLS = 16
_MOSTLY_EMPTY = 0.5


class _Cells(NamedTuple):
    """What is measured in cells (rows, columns): the mean of the pixels used, their scatter, how many there are."""

    level: Array
    scatter: Array
    pixels: Array


def without_background(
    subtraction: Subtraction, size: int, options: Options, record: Record
) -> tuple[Subtraction, Mesh]:
    """A subtraction whose difference has no background, and what that was.

    Parameters
    ----------
    subtraction
        The inputs.
    size
        Of the cells, in pixels.
    options
        Which masks matter, and the number of threads.
    record
        Takes the figures of the background, and what the user should know of it.

    Raises
    ------
    InputError
        If there is no pixel to measure it from.
    """
    difference = subtraction.difference
    measured = _measured(subtraction, size, options)
    empty = measured.pixels == 0
    if empty.all():
        raise InputError(
            f"{difference.name}: no cell of {size} pixels has enough pixels without sources, masks and missing data to "
            "measure the background from; give a larger --background, check --bad-planes, or leave it out"
        )
    mesh = Mesh(_filled(measured.level), subtraction.shape)
    for remark in _remarks(measured, mesh, size, difference.name):
        record.warn(remark)
    spread = 1.4826 * float(np.median(np.abs(mesh.values - np.median(mesh.values))))
    level = float(np.median(mesh.values))
    record.background = BackgroundFigures(
        level / subtraction.unit, spread / subtraction.unit, float(empty.mean()), mesh.values.shape
    )
    flat = difference.with_image(Flattened(difference.image_plane, difference.fills, mesh))
    return replace(subtraction, difference=flat), mesh


def _remarks(measured: _Cells, mesh: Mesh, size: int, name: str) -> Iterator[str]:
    """What the user should know of a background."""
    ny, nx = mesh.shape
    if mesh.values.size == 1:
        yield (
            f"--background {size}: the image has {nx} x {ny} pixels, so that one level is taken off all of it; "
            "smaller cells would follow the background"
        )
        return
    empty = float(np.mean(measured.pixels == 0))
    if empty > _MOSTLY_EMPTY:
        yield (
            f"{name}: {empty:.0%} of the cells of --background {size} have too few pixels without sources, masks and "
            "missing data; the background there is that of the cells around, which may be far away"
        )
    around = mesh.values - _smoothed(mesh.values)
    usual = max(_STANDS_OUT * 1.4826 * float(np.median(np.abs(around))), _NOTABLE * _typical(measured.scatter))
    count = int(np.count_nonzero((np.abs(around) > usual) & (measured.pixels > 0)))
    if count and mesh.values.size >= _FEWEST_CELLS:
        yield (
            f"{name}: in {count} of {mesh.values.size} cells the background of --background {size} stands out from the "
            "cells around: what is larger than a cell, as a source may be, is taken off with it; give larger cells, or "
            "mask it"
        )


def _typical(scatter: Array) -> float:
    known = scatter[np.isfinite(scatter)]
    return float(np.median(known)) if known.size else 0.0


def _measured(subtraction: Subtraction, size: int, options: Options) -> _Cells:
    """The background in the cells of a mesh, NaN where too few pixels show it."""
    y, x = (edges(length, size) for length in subtraction.shape)
    bits = subtraction.masks.bits({*options.bad_planes, *options.replace_planes})
    read = partial(_read, subtraction, bits)
    # Whole rows of cells at a time.
    step = max(1, _ROWS // size)
    strips = [y[k : k + step + 1] for k in range(0, len(y) - 1, step)]
    with ThreadPoolExecutor(options.workers) as pool:
        rough = _joined(pool.map(lambda own: _rough(read(Box(0, own[0], x[-1], own[-1])), own - own[0], x), strips))
        level, scatter = (_smoothed(_filled(values)) for values in (rough.level, rough.scatter))
        # Where more than half of the pixels have one value the scatter is not known: then the pixels' unit has to do.
        about = Mesh(level, subtraction.shape), Mesh(np.where(scatter > 0, scatter, 1.0), subtraction.shape)
        return _joined(pool.map(lambda own: _fine(read, about, own, x), strips))


def _joined(strips: Iterable[_Cells]) -> _Cells:
    return _Cells(*(np.concatenate(planes) for planes in zip(*strips, strict=True)))


def _read(subtraction: Subtraction, bits: np.int32, box: Box) -> Array:
    """The pixels of the difference, NaN where it or an input holds no data or is masked."""
    pixels: Array | None = None
    gone = np.zeros(box.shape, dtype=bool)
    for exposure in (subtraction.difference, subtraction.science, subtraction.template):
        image = exposure.image_plane.read(box).astype(np.float32, copy=False)
        missing = exposure.absent(image)
        if missing is not None:
            gone |= missing
        pixels = image if pixels is None else pixels
    assert pixels is not None
    mask = subtraction.masks.set_bits(box)
    if mask is not None:
        gone |= (mask & bits) != 0
    return np.where(gone, np.float32(np.nan), pixels)


def _rough(pixels: Array, y: Array, x: Array) -> _Cells:
    """Medians of a few pixels of each cell, and their scatter."""
    rows, columns = _spread(y), _spread(x)
    cells = pixels[np.ix_(rows, columns)].reshape(len(y) - 1, _SAMPLES, len(x) - 1, _SAMPLES)
    values = cells.swapaxes(1, 2).reshape(len(y) - 1, len(x) - 1, -1)
    level = _medians(values)
    scatter = 1.4826 * _medians(np.abs(values - level[..., None]))
    return _Cells(level, scatter, np.isfinite(values).sum(axis=-1))


def _spread(ends: Array) -> Array:
    """So many pixels in each of the cells along an axis, evenly spaced."""
    places = (np.arange(_SAMPLES) + 0.5) / _SAMPLES
    return (ends[:-1, None] + np.diff(ends)[:, None] * places).astype(int).ravel()


def _medians(values: Array) -> Array:
    """Medians (rows, columns) of those of values (rows, columns, k) that are finite, NaN where there are too few."""
    ordered = np.sort(values, axis=-1)  # NaN last
    counts = np.isfinite(ordered).sum(axis=-1)
    lower, upper = (
        np.take_along_axis(ordered, np.maximum(k, 0)[..., None], axis=-1)[..., 0]
        for k in ((counts - 1) // 2, counts // 2)
    )
    enough = counts >= max(2, _LEAST * values.shape[-1])
    return np.where(enough, (lower + upper) / 2, np.nan)


def _fine(read: Callable[[Box], Array], about: tuple[Mesh, Mesh], y: Array, x: Array) -> _Cells:
    """Clipped means of all pixels of each cell that show no source."""
    own = Box(0, y[0], x[-1], y[-1])
    seen = own.grown(SOURCE_REACH).clipped(about[0].shape)
    level, scatter = (mesh.within(seen) for mesh in about)
    snr = ((read(seen) - level) / scatter).astype(np.float32)
    use = np.isfinite(snr)
    smooth = smoothed(np.where(use, snr, np.float32(0)))
    if use.any():
        mask_sources(use, smooth, 1.4826 * quick_median(np.abs(smooth[use])))
    use &= np.abs(snr) <= _CLIP
    inner = own.shifted(-seen.x0, -seen.y0).slices
    counts, sums, squares = (
        _summed(np.where(use, values, 0)[inner], y - y[0], x[:-1]) for values in (np.ones_like(snr), snr, snr**2)
    )
    enough = counts >= _LEAST * np.outer(np.diff(y), np.diff(x))
    means, number = sums / np.maximum(counts, 1), np.maximum(counts, 1)
    middles = [((ends[:-1] + ends[1:] - 1) / 2) for ends in (y, x)]
    base, unit = (mesh.at(*middles) for mesh in about)
    found = np.where(enough, base + unit * means, np.nan)
    return _Cells(found, unit * np.sqrt(np.maximum(squares / number - means**2, 0)), np.where(enough, counts, 0))


def _summed(pixels: Array, y: Array, x: Array) -> Array:
    """Sums over the cells that begin in these rows and columns."""
    rows: Array = np.add.reduceat(pixels, y[:-1], axis=0, dtype=np.float64)
    result: Array = np.add.reduceat(rows, x, axis=1)
    return result


def _filled(cells: Array) -> Array:
    """Cells (rows, columns) of which those without a value have the mean of those around that have one."""
    filled = cells
    while not np.isfinite(filled).all():
        padded = np.pad(filled, 1, constant_values=np.nan)
        around = np.lib.stride_tricks.sliding_window_view(padded, (3, 3)).reshape(*cells.shape, 9)
        known = np.isfinite(around)
        if not known.any():
            return np.zeros(cells.shape)
        counts = known.sum(axis=-1)
        means = np.where(known, around, 0).sum(axis=-1) / np.maximum(counts, 1)
        filled = np.where(np.isfinite(filled) | (counts == 0), filled, means)
    return filled


def _smoothed(cells: Array) -> Array:
    """Medians of 3 x 3 cells."""
    padded = np.pad(cells, 1, mode="edge")
    result: Array = np.median(np.lib.stride_tricks.sliding_window_view(padded, (3, 3)), axis=(-2, -1))
    return result
