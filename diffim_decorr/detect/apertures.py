"""Fluxes in circular apertures, with errors that take the correlation that is left into account."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diffim_decorr.detect.photometry import Photometer
from diffim_decorr.geometry import Box
from diffim_decorr.io.hdus import open_fits, pick, read_array, split_spec

__all__ = ("Apertures", "circle")

Array = NDArray[Any]

_PARTS = 15  # of a pixel along each axis


def circle(radius: float, dx: float, dy: float, half: int) -> Array:
    """Share of each pixel (2 half + 1, 2 half + 1) inside a circle whose centre is (dx, dy) from the middle."""
    fine = (np.arange((2 * half + 1) * _PARTS) + 0.5) / _PARTS - 0.5 - half
    inside = (fine[:, None] - dy) ** 2 + (fine - dx) ** 2 < radius**2
    shares: Array = inside.reshape(2 * half + 1, _PARTS, 2 * half + 1, _PARTS).mean(axis=(1, 3))
    return shares


class Apertures:
    """Measures fluxes in circles.

    Parameters
    ----------
    image
        The file, whose QA tells the correlation that is left.
    photometer
        That of the image.
    radii
        In pixels.
    """

    def __init__(self, image: str, photometer: Photometer, radii: Sequence[float]) -> None:
        self._photometer, self._radii = photometer, radii
        self._rho = _correlation(image)

    def measured(self, x: Array, y: Array, inside: Array) -> dict[str, Array]:
        """Columns with the flux, its error, and the share of a point source's flux, for each radius.

        NaN where a pixel of the aperture is not usable.
        """
        columns: dict[str, Array] = {}
        for radius in self._radii:
            found = np.full((3, len(x)), np.nan)
            for k in np.flatnonzero(inside):
                found[:, k] = self._one(float(x[k]), float(y[k]), radius)
            name = f"aper_{radius:g}".replace(".", "_")
            columns |= dict(zip((name, f"{name}_err", f"{name}_share"), found, strict=True))
        return columns

    def _one(self, x: float, y: float, radius: float) -> tuple[float, float, float]:
        source, x0, y0 = self._photometer.source.at(x, y)
        half = int(np.ceil(radius)) + 1
        shares = circle(radius, x - x0, y - y0, half)
        share = float((_sized(source, half) * shares).sum())
        window = Box(x0, y0, x0 + 1, y0 + 1).grown(half)
        if window.clipped(self._photometer.shape) != window:
            return np.nan, np.nan, share
        data, weight, _ = self._photometer.pixels(window)
        if not (weight[shares > 0] > 0).all():
            return np.nan, np.nan, share
        sigma = np.where(shares > 0, shares / np.sqrt(np.where(weight > 0, weight, 1)), 0)
        return float((shares * data).sum()), float(_variance(sigma, self._rho) ** 0.5), share


def _variance(sigma: Array, rho: Array) -> float:
    """Of a sum of pixels with standard deviations (h, w) and correlations (2 l + 1, 2 l + 1)."""
    lag = len(rho) // 2
    padded = np.pad(sigma, lag)
    height, width = sigma.shape
    return float(
        sum(
            rho[j, i] * (sigma * padded[j : j + height, i : i + width]).sum()
            for j in range(len(rho))
            for i in range(len(rho))
        )
    )


def _sized(image: Array, half: int) -> Array:
    """The middle (2 half + 1, 2 half + 1) of an image, zeros where it is smaller."""
    own = len(image) // 2
    if own < half:
        return np.pad(image, half - own)
    return image[own - half : own + half + 1, own - half : own + half + 1]


def _correlation(image: str) -> Array:
    """The correlation function that is left in an image, if it tells; else that of white noise."""
    path, extension = split_spec(image)
    with open_fits(path) as hdus:
        version = hdus[extension].ver if extension is not None else None
        hdu = pick(hdus, "EXTNAME", "QA", version)
        if hdu is not None and hdu.header.get("PLANE2") == "after":
            rho: Array = read_array(hdus, hdu, path)[1]
            if np.isfinite(rho).all() and rho.shape[0] == rho.shape[1]:
                return rho
    return np.ones((1, 1))
