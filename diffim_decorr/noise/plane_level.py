"""The background's value of a variance plane, and which of its values can be believed.

Pixels without data have variances of 0, infinity, 1e30, or numbers near 0 of either sign, which a compression with
losses makes of zeros. There may be more of them than of any others.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from diffim_decorr.errors import InputError
from diffim_decorr.geometry import Box
from diffim_decorr.images.exposure import Exposure
from diffim_decorr.images.masks import any_of
from diffim_decorr.noise.background import SAMPLE, clipped_mean, measured_variance

__all__ = ("PlaneLevel", "plane_level")

Array = NDArray[Any]

# Variances so many times smaller or larger than the background's are none.
_LEAST, _MOST = 1e-4, 1e8
_APART = 1e3  # is what lies between values that are of different kinds, ...
_FEWEST = 0.01  # ... if each kind has this share
# Of zeros that a compression has made uncertain, those above 0 are within so many standard deviations of those below
# it; what is not small beside the background is something else.
_UNCERTAIN, _SMALL = 8.0, 0.05


_TINY = " (below 1e-38 a file of single precision has nothing but 0: give it in double, or a --sci-noise image)"


class PlaneLevel(NamedTuple):
    """The background's value of a variance plane, and the limits of what can be believed.

    Parameters
    ----------
    level
        In the background.
    least, most
        Variances beyond these are none.
    unknown
        Share of the pixels with data whose variance is none.
    """

    level: float
    least: float = 0.0
    most: float = np.inf
    unknown: float = 0.0

    def known(self, variance: Array) -> Array:
        """Which variances can be believed."""
        believed: Array = (variance > self.least) & (variance < self.most)  # false for NaN
        return believed

    @classmethod
    def of(cls, level: float) -> PlaneLevel:
        """Where only the level is known."""
        return cls(level, _LEAST * level, _MOST * level if level else np.inf)


def plane_level(exposure: Exposure, bad_planes: Sequence[str]) -> PlaneLevel:
    """The sigma-clipped mean of a variance plane outside the bad mask planes, over evenly spaced rows of the image.

    Where the variances are of kinds that lie far apart, that of the background is the one nearest to the scatter of the
    image.

    Raises
    ------
    InputError
        If no pixel that is not masked has a positive, finite variance.
    """
    variance, with_data, positive = _sampled(exposure, bad_planes)
    above = np.sort(variance[np.isfinite(variance) & (variance > 0)])
    if not len(above):
        cause = "every pixel is masked" if positive else f"no pixel has a variance > 0{_TINY}"
        raise InputError(f"{exposure.name}: the variance plane cannot be used: {cause}")
    least, most = _limits_of_background(above, variance[np.isfinite(variance) & (variance < 0)], exposure, bad_planes)
    level = clipped_mean(above[(above > least) & (above < most)])
    found = PlaneLevel(level, max(least, _LEAST * level), min(most, _MOST * level))
    unknown = with_data & ~found.known(variance)
    return found._replace(unknown=float(unknown.sum() / max(with_data.sum(), 1)))


def _sampled(exposure: Exposure, bad_planes: Sequence[str]) -> tuple[Array, Array, bool]:
    """Variances (k,) of pixels that are not masked, which of them have data, and whether one, masked or not, is > 0."""
    if exposure.variance_plane is None:
        raise ValueError("the exposure has no variance plane")
    ny, nx = exposure.shape
    values, data = [], []
    positive = False
    for y in np.unique(np.linspace(0, ny - 1, min(ny, -(-SAMPLE // nx))).round().astype(int)):
        row = Box(0, int(y), nx, int(y) + 1)
        variance = exposure.variance_plane.read(row)
        usable = np.isfinite(variance) & (variance > 0)
        positive |= bool(usable.any())
        seen = np.ones(variance.shape, dtype=bool)
        if exposure.mask_plane is not None:
            seen &= ~any_of(exposure.mask_plane.read(row), exposure.mask_planes, bad_planes)
        values.append(variance[seen].astype(np.float64))
        data.append(_holds_data(exposure, row)[seen])
    return np.concatenate(values), np.concatenate(data), positive


def _holds_data(exposure: Exposure, row: Box) -> Array:
    """Which pixels of a row hold data; areas of a fill value do not show in one row, where the value itself counts."""
    image = exposure.image_plane.read(row).astype(np.float32)
    data: Array = np.isfinite(image)
    for fill in exposure.fills:
        data &= ~fill.like(image)
    return data


def _limits_of_background(
    above: Array, below: Array, exposure: Exposure, bad_planes: Sequence[str]
) -> tuple[float, float]:
    """Between which limits the variances of the background are, given those above 0, in order, and those below."""
    logs = np.log10(above)
    gaps = np.flatnonzero(np.diff(logs) > np.log10(_APART)) + 1
    kinds = [kind for kind in np.split(above, gaps) if len(kind) >= _FEWEST * len(above)]
    kind = max(kinds, key=len)
    if len(kinds) > 1:
        try:
            measured = np.log(measured_variance(exposure, bad_planes))
        except InputError:
            pass  # there is nothing to tell them apart by
        else:
            kind = min(kinds, key=lambda kind: abs(np.log(np.median(kind)) - measured))
    smaller, larger = (
        max((k[-1] for k in kinds if k[-1] < kind[0]), default=0.0),
        min((k[0] for k in kinds if k[0] > kind[-1]), default=np.inf),
    )
    least = float(np.sqrt(smaller) * np.sqrt(kind[0]))
    most = float(np.sqrt(larger) * np.sqrt(kind[-1]))
    zeros = _UNCERTAIN * float(below.std()) if len(below) else 0.0
    sure = kind[kind > zeros]
    if len(sure) and zeros < _SMALL * float(np.median(sure)):
        least = max(least, zeros)
    return least, most
