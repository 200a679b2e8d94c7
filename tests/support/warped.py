"""White noise that was resampled by known kernels: pixels at places between those before, weighted and added up."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from astropy.io import fits

from diffim_decorr import Warp

__all__ = ("Resampled", "cells", "sky_headers")

MARGIN = 40


def bilinear(d: np.ndarray) -> np.ndarray:
    return np.maximum(1 - np.abs(d), 0)


def lanczos3(d: np.ndarray) -> np.ndarray:
    return np.where(np.abs(d) < 3, np.sinc(d) * np.sinc(d / 3), 0)


@dataclass
class Resampled:
    """An image (n, n) whose pixel (x, y) was at ``scale R(degrees) (x, y) + shift`` before."""

    kind: str
    degrees: float
    shape: tuple[int, int]
    shift: tuple[float, float] = (0.3, 0.1)
    scale: float = 1.0

    def __post_init__(self) -> None:
        ny, nx = self.shape
        y, x = np.mgrid[:ny, :nx].astype(float)
        corners = np.array(self._turned(np.array([0, nx, 0, nx]), np.array([0, 0, ny, ny])))
        self.origin = np.floor(-corners.min(axis=1)) + MARGIN
        size = np.ceil(np.ptp(corners, axis=1)).astype(int) + 2 * MARGIN + 2
        self.before = int(size[1]), int(size[0])
        u, v = self.places(x, y)
        self.u, self.v = u, v
        reach = 1 if self.kind == "bilinear" else 3
        weight = {"bilinear": bilinear, "lanczos3": lanczos3}[self.kind]
        self.steps = range(-reach + 1, reach + 1)
        along = []
        for place in (u, v):
            weights = np.array([weight(place % 1 - k) for k in self.steps])
            along.append(weights / weights.sum(axis=0))
        self.along_x, self.along_y = along
        self.first = np.floor(v).astype(int) * self.before[1] + np.floor(u).astype(int)
        #: Of a pixel, for white noise of variance 1 before.
        self.variance = (self.along_x**2).sum(axis=0) * (self.along_y**2).sum(axis=0)

    def _turned(self, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        c, s = self.scale * np.cos(np.radians(self.degrees)), self.scale * np.sin(np.radians(self.degrees))
        return c * x - s * y, s * x + c * y

    def places(self, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        u, v = self._turned(x, y)
        return u + self.origin[0] + self.shift[0], v + self.origin[1] + self.shift[1]

    @property
    def warp(self) -> Warp:
        return Warp.of(self.kind, self.places, self.shape, self.before)

    def of(self, before: np.ndarray) -> np.ndarray:
        """The image, of pixels before."""
        pixels, width = before.ravel(), before.shape[1]
        total = np.zeros(self.shape)
        for j, down in zip(self.steps, self.along_y, strict=True):
            row = np.zeros(self.shape)
            for i, across in zip(self.steps, self.along_x, strict=True):
                row += across * pixels[self.first + j * width + i]
            total += down * row
        return total

    def noise(self, rng: np.random.Generator) -> np.ndarray:
        """White noise of variance 1, resampled."""
        return self.of(rng.standard_normal(self.before))


def cells(images: list[np.ndarray], size: int = 64, edge: int = 40, lag: int = 5) -> tuple[np.ndarray, np.ndarray]:
    """Largest correlation and scatter in cells of some images, of all of them together."""
    found = []
    ny, nx = images[0].shape
    for y in range(edge, ny - edge - size + 1, size):
        for x in range(edge, nx - edge - size + 1, size):
            cut = np.array([image[y : y + size, x : x + size] for image in images])
            variance = float((cut**2).mean())
            rho = []
            for dy in range(lag + 1):
                for dx in range(-lag, lag + 1):
                    if dy > 0 or dx > 0:
                        one = cut[:, : size - dy, max(0, -dx) : size - max(0, dx)]
                        other = cut[:, dy:, max(0, dx) : size + min(0, dx)]
                        rho.append(abs(float((one * other).mean())) / variance)
            found.append((max(rho), variance**0.5))
    rho, scatter = np.array(found).T
    return rho, scatter


def sky_headers(image: Resampled, declination: float = 10.0) -> tuple[fits.Header, fits.Header]:
    """Of the image and of the pixels before, such that the latter lie on the sky where they were."""
    ny, nx = image.shape
    x, y = (nx - 1) / 2, (ny - 1) / 2
    u, v = image.places(np.array(x), np.array(y))
    matrix = np.array([image.places(np.array(x + dx), np.array(y + dy)) for dx, dy in ((1, 0), (0, 1))]).T
    matrix = matrix - np.array([[u], [v]])
    scale = np.diag([-5e-5, 5e-5])
    headers = []
    for place, cd in (((x, y), scale @ matrix), ((float(u), float(v)), scale)):
        x, y = (float(coordinate) + 1 for coordinate in place)
        (a, b), (c, d) = cd.tolist()
        headers.append(fits.Header({
            "CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CUNIT1": "deg", "CUNIT2": "deg", "CRVAL1": 150.0,
            "CRVAL2": declination, "CRPIX1": x, "CRPIX2": y, "CD1_1": a, "CD1_2": b, "CD2_1": c, "CD2_2": d,
        }))  # fmt: skip
    return headers[0], headers[1]
