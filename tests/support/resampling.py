"""Kernels that correlate white noise as resampling, drizzling and smoothing do."""

from __future__ import annotations

import numpy as np

from support.kernels import gaussian

__all__ = ("PAIRS", "box")


def separable(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    kernel = np.outer(y, x)
    return kernel / np.sqrt((kernel**2).sum())


def bilinear(dx: float, dy: float) -> np.ndarray:
    return separable(*(np.array([0, 1 - d, d]) for d in (dx, dy)))


def lanczos(dx: float, dy: float) -> np.ndarray:
    def along(d: float) -> np.ndarray:
        x = np.arange(-3, 4) - d
        return np.sinc(x) * np.sinc(x / 3) * (np.abs(x) < 3)

    return separable(along(dx), along(dy))


def box(overlap: float) -> np.ndarray:
    """Drizzled with drops that overlap the neighbouring pixels by some fraction."""
    return separable(*2 * [np.array([overlap, 1, overlap])])


def smooth(sigma: float) -> np.ndarray:
    image = gaussian(9, sigma)
    return image / np.sqrt((image**2).sum())


#: Of the science image and the template.
PAIRS = {
    "bilinear and drizzled": (bilinear(0.3, 0.4), box(0.35)),
    "Lanczos and Gaussian": (lanczos(0.4, 0.25), smooth(0.7)),
    "white and half a pixel bilinear": (np.ones((1, 1)), bilinear(0.5, 0.5)),
    "Gaussian and half a pixel Lanczos": (smooth(0.6), lanczos(0.5, 0.5)),
}
