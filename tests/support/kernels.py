"""Kernels of the tests."""

from __future__ import annotations

import numpy as np

__all__ = ("IDENTITY", "gaussian")

IDENTITY = np.ones((1, 1))


def gaussian(
    width: int | tuple[int, int],
    sigma: float | tuple[float, float],
    angle: float = 0.0,
    shift: tuple[float, float] = (0.0, 0.0),
    total: float = 1.0,
) -> np.ndarray:
    """A Gaussian (h, w) around index (h // 2, w // 2), moved by (dx, dy), rotated by an angle in degrees."""
    height, width = (width, width) if isinstance(width, int) else width
    major, minor = (sigma, sigma) if isinstance(sigma, int | float) else sigma
    y, x = np.mgrid[:height, :width].astype(float)
    x, y = x - width // 2 - shift[0], y - height // 2 - shift[1]
    c, s = np.cos(np.radians(angle)), np.sin(np.radians(angle))
    u, v = c * x + s * y, c * y - s * x
    image = np.exp(-0.5 * ((u / major) ** 2 + (v / minor) ** 2))
    return image * (total / image.sum())
