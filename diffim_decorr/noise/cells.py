"""The noise of an image in cells of the field, where nothing is known of why it varies.

Covariances at small lags are measured in squares of a checkerboard. What those of one half and those of the other have
in common varies over the field; what they have not is the error of either. A few modes over the lags, with amounts that
are smooth over the field and as large as the halves agree upon, stand for what varies.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from diffim_decorr.geometry import Box
from diffim_decorr.kernels.grid import GridCoefficients
from diffim_decorr.kernels.spatial import SpatialKernel
from diffim_decorr.noise.chosen import products_of
from diffim_decorr.noise.correlation import different_lags
from diffim_decorr.noise.local_correlation import UNSURE, LocalCorrelation

__all__ = ("Squares", "Variation", "correlation_in_cells", "finer", "squares_of", "variation_of")

Array = NDArray[Any]

_LAG = 6  # pixels, up to which covariances may vary
_FEWEST = 200  # pairs that a square must have
# Pixels, is a square, and widths of a correlation function.
_SMALLEST, _APART = 16, 4.0
_MOST_MODES = 3
# How far amounts are smoothed, in cells; and by how many standard errors the halves have to agree.
_SMOOTHED = (0.0, 0.7, 1.5, 3.0)
_SIGNIFICANT = 5.0
_NOTABLE = 0.03  # of the variance


class Squares(NamedTuple):
    """Lagged products of pixels in squares of a checkerboard.

    Parameters
    ----------
    row, column
        Of each square (k).
    products, pairs
        Sums of products at lags (k, 2 l + 1, 2 l + 1), relative to the variance plane, and numbers of pairs.
    size
        Of the squares, in pixels.
    """

    row: Array
    column: Array
    products: Array
    pairs: Array
    size: int

    def without(self, correlation: LocalCorrelation) -> Squares:
        """The same, what is expected of them at their centres taken off, but for its mean."""
        kernel, middle = correlation.kernel, len(correlation.usual) // 2
        x, y = (self.size * (index + 0.5) - 0.5 for index in (self.column, self.row))
        near = slice(middle - _LAG, middle + _LAG + 1)
        expected = np.tensordot(kernel.coefficients.at(x, y), kernel.basis[:, near, near], axes=(0, 0))
        variance = self.products[:, _LAG, _LAG].sum() / max(self.pairs[:, _LAG, _LAG].sum(), 1)
        varying = variance * (expected - correlation.usual[near, near])
        return self._replace(products=self.products - self.pairs * varying)

    def chosen(self, which: Array) -> Squares:
        """Some of them."""
        return Squares(self.row[which], self.column[which], self.products[which], self.pairs[which], self.size)

    @property
    def halves(self) -> tuple[Squares, Squares]:
        """Those of the half that is calibrated on, and the others."""
        mine = (self.row + self.column) % 2 == 0
        return self.chosen(mine), self.chosen(~mine)

    @property
    def alternate(self) -> tuple[Squares, Squares]:
        """Of squares of one half those in even rows, and the others."""
        even = self.row % 2 == 0
        return self.chosen(even), self.chosen(~even)


class _Cells(NamedTuple):
    """Covariances (k, lags) in cells of two by two squares, and how many pairs (k) of pixels each tells them from."""

    covariance: Array
    weight: Array


@dataclass(frozen=True)
class Variation:
    """How much covariances vary from cell to cell of the field.

    Parameters
    ----------
    rms
        Of the covariance at the lag at which it varies most, in units of the variance; errors taken off.
    significance
        In standard errors.
    lag
        That lag, (y, x).
    size
        Of the cells, in pixels.
    """

    rms: float
    significance: float
    lag: tuple[int, int]
    size: int

    @property
    def notable(self) -> bool:
        """Whether it is there, and matters."""
        return self.significance > _SIGNIFICANT and self.rms > _NOTABLE

    def __str__(self) -> str:
        if self.lag == (0, 0):
            return (
                f"the variance of its noise varies by {self.rms:.0%} rms over cells of {self.size} pixels, besides "
                "what its variance plane tells"
            )
        dy, dx = self.lag
        return (
            f"the correlation of its noise varies by {self.rms:.2f} rms over cells of {self.size} pixels, most that "
            f"of pixels ({dx}, {dy}) apart"
        )


def finer(size: int, usual: Array) -> list[int]:
    """Sizes of squares, each half as large, that are tried for what varies within those of a size, and that itself.

    None is as small as noise with the usual correlation function (2 l + 1, 2 l + 1) reaches from one to the next: the
    halves would have it in common.
    """
    smallest = max(_SMALLEST, _APART * math.sqrt(float((usual**2).sum())))
    sizes = [size]
    while sizes[-1] // 2 >= smallest:
        sizes.append(sizes[-1] // 2)
    return sizes


def squares_of(windows: Iterable[tuple[Box, Array, Array]], size: int, threads: int) -> Squares:
    """Lagged products in each square of a checkerboard.

    Parameters
    ----------
    windows
        Boxes of an image, their pixels (h, w) in units of the variance plane's root, and which of them are used.
    size
        Of the squares, in pixels.
    threads
        Number of threads.
    """
    fewest = min(_FEWEST, size**2 // 2)

    def told(part: tuple[Box, Array, Array]) -> list[tuple[int, int, Array, Array]]:
        box, pixels, use = part
        return [
            (row, column, *products_of(pixels[own], use[own], _LAG))
            for row, column, own in _squares_in(box, size)
            if use[own].sum() >= fewest
        ]

    with ThreadPoolExecutor(threads) as pool:
        found = [square for squares in pool.map(told, windows) for square in squares]
    row, column, *sums = zip(*found, strict=True) if found else ((), (), (), ())
    shape = (len(row), 2 * _LAG + 1, 2 * _LAG + 1)
    products, pairs = (np.array(planes, dtype=float).reshape(shape) for planes in sums)
    return Squares(np.array(row, dtype=int), np.array(column, dtype=int), products, pairs, size)


def _squares_in(box: Box, size: int) -> Iterator[tuple[int, int, tuple[slice, slice]]]:
    """The squares that have a part in a box: row, column, and the pixels of the box in it."""
    for row in range(box.y0 // size, -(-box.y1 // size)):
        for column in range(box.x0 // size, -(-box.x1 // size)):
            y, x = (
                slice(max(k * size, first) - first, min((k + 1) * size, end) - first)
                for k, first, end in ((row, box.y0, box.y1), (column, box.x0, box.x1))
            )
            yield row, column, (y, x)


def variation_of(squares: Squares) -> Variation | None:
    """How much covariances vary over the field; None if there are too few squares to tell."""
    shape = _cells_along(squares)
    one, other = (_in_cells(half, shape) for half in squares.halves)
    both = (one.weight > 0) & (other.weight > 0)
    if both.sum() < _SIGNIFICANT:
        return None
    weight = np.minimum(one.weight, other.weight)[both]
    variance = _mean(one)[_CENTRE]
    left, right = ((cells.covariance - _mean(cells))[both] / variance for cells in (one, other))
    signal = (weight[:, None] * left * right).sum(axis=0)
    # What the halves have in common is in no difference of them; where these are small by chance, others are usual.
    noise = (weight[:, None] * (left - right) ** 2).sum(axis=0) / 2
    significance = signal * math.sqrt(len(weight)) / np.maximum(noise, np.median(noise))
    certain = significance > _SIGNIFICANT
    k = int(np.argmax(np.where(certain, signal, 0) if certain.any() else significance))
    rms = math.sqrt(max(0.0, float(signal[k] / weight.sum())))
    dy, dx = (int(lag) for lag in _LAGS[k])
    return Variation(rms, float(significance[k]), (dy, dx), 2 * squares.size)


# Opposite lags are the same.
_LAGS = np.array(different_lags(_LAG))
_CENTRE = 0


def _cells_along(squares: Squares) -> tuple[int, int]:
    """Rows and columns of the cells that hold all squares."""
    return int(squares.row.max(initial=0)) // 2 + 1, int(squares.column.max(initial=0)) // 2 + 1


def _in_cells(squares: Squares, shape: tuple[int, int]) -> _Cells:
    """Squares put together two by two, (rows × columns) of them."""
    cell = squares.row // 2 * shape[1] + squares.column // 2
    y, x = (_LAGS + _LAG).T
    sums = [np.zeros((math.prod(shape), len(_LAGS))) for _ in range(2)]
    for total, planes in zip(sums, (squares.products, squares.pairs), strict=True):
        np.add.at(total, cell, planes[:, y, x])
    products, pairs = sums
    return _Cells(products / np.maximum(pairs, 1), pairs[:, _CENTRE])


def _mean(cells: _Cells) -> Array:
    """Mean covariances (lags) over all cells."""
    return np.average(cells.covariance, axis=0, weights=cells.weight)


def correlation_in_cells(several: Iterable[Squares], usual: Array, shape: tuple[int, int]) -> LocalCorrelation | None:
    """The correlation function over the field, as far as the halves of the pixels agree upon it.

    Parameters
    ----------
    several
        Squares of both halves, of one size or another: on one half it is measured, on the other it is judged, and that
        size is taken with which most of what varies there was foreseen.
    usual
        The correlation function (2 l + 1, 2 l + 1) for all of the field.
    shape
        Of the image, (ny, nx).

    Returns
    -------
    correlation
        None if nothing varies that can be measured.
    """
    found = [followed for squares in several if (followed := _followed(squares, usual, shape)) is not None]
    return max(found, key=lambda followed: followed[0])[1] if found else None


def _followed(squares: Squares, usual: Array, shape: tuple[int, int]) -> tuple[float, LocalCorrelation] | None:
    """That of one size of squares, and how much of the squares of what was not fitted it foresees."""
    along = _cells_along(squares)
    fitted, held = squares.halves
    cells = [_in_cells(part, along) for part in (fitted, held, *fitted.alternate)]
    if min(np.count_nonzero(part.weight) for part in cells) < _SIGNIFICANT:
        return None
    deviations = [part.covariance - _mean(part) for part in cells]
    variance = float(_mean(cells[0])[_CENTRE])
    modes = _modes(*((own, part.weight) for own, part in zip(deviations[2:], cells[2:], strict=True)))
    found = []
    for mode in modes:
        maps = [(own @ mode / variance).reshape(along) for own in deviations[:2]]
        smooth = _agreed(*maps, *(part.weight.reshape(along) for part in cells[:2]))
        if smooth is not None:
            found.append((mode, *smooth))
    if not found:
        return None
    kept, amounts, scales, gained = zip(*found, strict=True)
    size = 2 * squares.size
    grid = _on_field(np.array([np.ones(along), *amounts]), size, shape)
    basis = np.array([usual, *(_image(mode, usual.shape) for mode in kept)])
    period = 2 * math.pi * max(1.0, *scales) * size
    return sum(gained), LocalCorrelation(SpatialKernel(basis, grid), usual, period, UNSURE)


def _modes(one: tuple[Array, Array], other: tuple[Array, Array]) -> Array:
    """The few directions (n, lags) in which covariances vary most, of what two parts of the pixels see alike."""
    weight = np.sqrt(one[1] * other[1])[:, None]
    both = (one[0] * weight).T @ other[0]
    values, vectors = np.linalg.eigh(both + both.T)
    order = np.argsort(values)[::-1][:_MOST_MODES]
    modes: Array = vectors[:, order[values[order] > 0]].T
    return modes


def _agreed(fitted: Array, held: Array, weight: Array, other: Array) -> tuple[Array, float, float] | None:
    """Amounts (rows, columns) of a mode, how far they are smoothed, and what they foresee; None if halves disagree.

    Those of one half, smoothed, predict those of the other by the factor that fits best, which is the share of them
    that is no error.
    """
    best: tuple[Array, float, float] | None = None
    for scale in _SMOOTHED:
        smooth = _smooth(fitted, weight, scale)
        crossed, square = float((other * smooth * held).sum()), float((other * smooth**2).sum())
        if square <= 0:
            continue
        factor = min(1.0, crossed / square)
        left = other * (held - factor * smooth) ** 2
        significance = crossed / math.sqrt(square * float(left.sum()) / np.count_nonzero(other))
        gained = factor * (2 * crossed - factor * square)
        if significance > _SIGNIFICANT and (best is None or gained > best[-1]):
            best = factor * smooth, scale, gained
    return best


def _smooth(amounts: Array, weight: Array, scale: float) -> Array:
    """A map smoothed where it is known, and so filled where it is not."""
    from scipy.ndimage import gaussian_filter  # which takes long to import, and most runs do without

    total = gaussian_filter(weight, scale, mode="constant")
    smooth = gaussian_filter(weight * amounts, scale, mode="constant")
    return np.where(total > 1e-3 * weight.max(), smooth / np.maximum(total, 1e-12 * weight.max()), 0.0)


def _on_field(values: Array, size: int, shape: tuple[int, int]) -> GridCoefficients:
    """Values (n, rows, columns) at the centres of the cells that lie in the image, held from there to its edges."""
    rows, columns = (min(count, -(-n // size)) for count, n in zip(values.shape[1:], shape, strict=True))
    y, x = (np.arange(count) * size + (size - 1) / 2 for count in (rows, columns))
    y, x = (np.minimum(centres, n - 1.0) for centres, n in zip((y, x), shape, strict=True))
    y, x = (np.concatenate([[-0.5], centres, [n - 0.5]]) for centres, n in zip((y, x), shape, strict=True))
    held = np.pad(values[:, :rows, :columns], ((0, 0), (1, 1), (1, 1)), mode="edge")
    return GridCoefficients(held, x, y, order=3)


def _image(mode: Array, shape: tuple[int, ...]) -> Array:
    """A mode (lags) as an image of lags, which goes to zero at its edge."""
    image = np.zeros(shape)
    middle = shape[0] // 2
    taper = 0.5 + 0.5 * np.cos(np.pi * np.clip(np.hypot(*_LAGS.T) / (_LAG + 1), 0, 1))
    for (dy, dx), value in zip(_LAGS, mode * taper, strict=True):
        image[middle + dy, middle + dx] = image[middle - dy, middle - dx] = value
    return image
