"""Local maxima of the S/N map of point sources, of either sign, and what is found of each."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from diffim_decorr.detect.photometry import Photometer
from diffim_decorr.detect.point_source import PointSource
from diffim_decorr.geometry import Box
from diffim_decorr.images.wcs import to_sky

if TYPE_CHECKING:
    from astropy.io.fits import Header
    from astropy.table import Table

__all__ = ("Peaks", "find_peaks", "peak_table", "position_errors")

Array = NDArray[Any]
#: Flux, mask and variance of the flux within a box.
Read = Callable[[Box], tuple[Array, Array, Array]]

_ROWS = 512
# How far the top of the parabola may be from the largest pixel.
_FARTHEST = 1.0
# Width of the squares within which a source is taken to have one shape.
_CELL = 128
_FITTED = 3  # parameters: flux and position


@dataclass(frozen=True, eq=False)
class Peaks:
    """Positions in parts of pixels, and the S/N of the pixels that are larger than all around (k,)."""

    x: Array
    y: Array
    snr: Array


def find_peaks(read: Read, shape: tuple[int, int], threshold: float, flags: int = 0) -> Peaks:
    """Pixels whose S/N is beyond a threshold, of either sign, and farther from 0 than that of their eight neighbours.

    The position is that of the top of a parabola through the logarithms of these nine.

    Parameters
    ----------
    read
        Gives flux, mask and variance of the flux.
    shape
        (ny, nx)
    threshold
        The least S/N.
    flags
        Bits of the mask with which a pixel is no peak.
    """
    found = [np.zeros((3, 0))]
    ny, nx = shape
    for first in range(0, ny, _ROWS):
        last = min(first + _ROWS, ny)
        box = Box(0, max(0, first - 1), nx, min(ny, last + 1))
        flux, mask, variance = read(box)
        with np.errstate(invalid="ignore", divide="ignore"):
            snr = np.pad(flux / np.sqrt(variance), 1, constant_values=np.nan)
        ours = slice(first - box.y0 + 1, last - box.y0 + 1)
        found.append(np.array([*_peaks(snr, ours, threshold, (mask & flags) != 0)]).reshape(-1, 3).T)
        found[-1][0] -= 1
        found[-1][1] += box.y0 - 1
    x, y, value = np.concatenate(found, axis=1)
    return Peaks(x, y, value)


def _peaks(snr: Array, rows: slice, threshold: float, flagged: Array) -> Iterator[tuple[float, float, float]]:
    """Those in some rows of an array with a border of NaN."""
    inner = snr[rows, 1:-1]
    size = np.abs(inner)
    top = (size > threshold) & ~flagged[rows.start - 1 : rows.stop - 1]
    for dy in (-1, 0, 1):
        for dx in (-1, 0, 1):
            if dy or dx:
                other = snr[rows.start + dy : rows.stop + dy, 1 + dx : snr.shape[1] - 1 + dx] * np.sign(inner)
                # Of two that are equal the first one counts; what is not known is no more than it.
                top &= ~(other >= size) if (dy, dx) < (0, 0) else ~(other > size)
    for y, x in zip(*np.nonzero(top), strict=True):
        around = snr[rows.start + y - 1 : rows.start + y + 2, x : x + 3]
        right, up = _top(around * np.sign(around[1, 1]))
        yield x + 1 + right, rows.start + y + up, float(around[1, 1])


def _top(around: Array) -> tuple[float, float]:
    """Where the parabola through the logarithms of nine values is largest, from the middle; 0 where there is none."""
    if not (around > 0).all():  # or one of them is not known
        return 0.0, 0.0
    f = np.log(around / around[1, 1])
    # Least squares over all nine: sums of columns and rows, so that noise of one matters little.
    gx, gy = (f[:, 2] - f[:, 0]).sum() / 6, (f[2] - f[0]).sum() / 6
    xx = (f[:, 0] - 2 * f[:, 1] + f[:, 2]).sum() / 3
    yy = (f[0] - 2 * f[1] + f[2]).sum() / 3
    xy = (f[2, 2] - f[2, 0] - f[0, 2] + f[0, 0]) / 4
    determinant = xx * yy - xy**2
    if not (determinant > 0 and xx < 0):
        return 0.0, 0.0
    dx, dy = (xy * gy - yy * gx) / determinant, (xy * gx - xx * gy) / determinant
    return float(np.clip(dx, -_FARTHEST, _FARTHEST)), float(np.clip(dy, -_FARTHEST, _FARTHEST))


def position_errors(source: PointSource, x: float, y: float) -> tuple[float, float]:
    """Errors of the position of a source with an S/N of 1, in pixels along x and y; others' are less by their S/N.

    The inverse of ``Σ ∂R ∂R / Σ R²``, for white noise of the same variance all over the source.
    """
    image = source.near(x, y)
    along_y, along_x = np.gradient(image)
    products = np.array([[(a * b).sum() for b in (along_x, along_y)] for a in (along_x, along_y)])
    errors = np.sqrt(np.diag(np.linalg.inv(products)) * (image**2).sum())
    return float(errors[0]), float(errors[1])


def peak_table(
    peaks: Peaks, photometer: Photometer, header: Header | None, nearest: Callable[[Array, Array], Array] | None
) -> Table:
    """What is found of each peak, the brightest S/N first: an `astropy.table.Table`.

    Parameters
    ----------
    peaks
        Where they are.
    photometer
        Measures them.
    header
        That of the image, for positions on the sky.
    nearest
        The distance of positions to the nearest source of the science image, in pixels.
    """
    from astropy.table import Table

    order = np.argsort(-np.abs(peaks.snr), kind="stable")
    x, y = peaks.x[order], peaks.y[order]
    found = [photometer(a, b) for a, b in zip(x, y, strict=True)]
    cells: dict[tuple[int, int], tuple[float, float]] = {}
    errors = np.zeros((2, len(x)))
    flux, flux_err = (np.array([getattr(m, name) for m in found], float) for name in ("flux", "flux_err"))
    snr = flux / flux_err
    for k, (a, b) in enumerate(zip(x, y, strict=True)):
        cell = int(a // _CELL), int(b // _CELL)
        if cell not in cells:
            cells[cell] = position_errors(photometer.source, float(a), float(b))
        errors[:, k] = np.array(cells[cell]) / max(abs(snr[k]), 1e-30)
    table = Table()
    table["x"], table["y"] = x, y
    table["x_err"], table["y_err"] = errors
    sky = to_sky(header, x, y) if len(x) else (x, y)
    if sky is not None:
        table["ra"], table["dec"] = sky
    table["flux"], table["flux_err"], table["snr"] = flux, flux_err, snr
    table["snr_pixel"] = peaks.snr[order]
    table["sign"] = np.where(peaks.snr[order] > 0, 1, -1).astype(np.int16)
    table["chi2"] = np.array([m.chi2 for m in found], float)
    table["dof"] = np.array([max(m.pixels - _FITTED, 0) for m in found], np.int32)
    table["weight"] = np.array([m.weight for m in found], float)
    table["flags"] = np.array([photometer.names(m.bits) for m in found], "U")
    if nearest is not None:
        table["nearest"] = nearest(x, y)
    for name in ("x", "y", "x_err", "y_err", "nearest"):
        if name in table.colnames:
            table[name].unit = "pix"
    for name in ("ra", "dec"):
        if name in table.colnames:
            table[name].unit = "deg"
    for name, text in _MEANINGS.items():
        if name in table.colnames:
            table[name].description = text
    return table


_MEANINGS = {
    "x": "0-based pixel of the array",
    "y": "0-based pixel of the array",
    "ra": "ICRS",
    "dec": "ICRS",
    "flux": "PSF flux at the position",
    "snr": "flux / flux_err",
    "snr_pixel": "S/N map at the pixel of the peak",
    "chi2": "of the PSF's shape, over usable pixels of its core",
    "dof": "pixels of the core, less 3",
    "weight": "share of the PSF's weight on usable pixels",
    "flags": "mask planes in the core",
    "nearest": "distance to the nearest source of the science image",
}
