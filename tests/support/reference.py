"""Brute-force references: float64, written from the equations and sharing no code with the package."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import scipy.fft
from scipy.signal import fftconvolve

__all__ = (
    "autocorrelation",
    "brute_force",
    "central",
    "convolved",
    "filtered_at",
    "max_abs_rho",
    "psi_of",
    "rms",
    "widened",
)

# Kernels


def _at_origin(kernel: np.ndarray, size: int) -> np.ndarray:
    """A kernel (h, w) on a periodic grid (size, size), its centre at the origin."""
    grid = np.zeros((size, size))
    grid[: kernel.shape[0], : kernel.shape[1]] = kernel
    return np.roll(grid, (-(kernel.shape[0] // 2), -(kernel.shape[1] // 2)), axis=(0, 1))


def psi_of(kernels: Sequence[np.ndarray], variances: Sequence[float], size: int = 256) -> np.ndarray:
    """The decorrelation kernel (size - 1, size - 1) of ``D = Σ κ_i ⊗ I_i`` with white noise in the I_i."""
    transforms = [np.abs(scipy.fft.rfft2(_at_origin(kernel, size))) ** 2 for kernel in kernels]
    power = sum(v * t for v, t in zip(variances, transforms, strict=True))
    psi = np.fft.fftshift(scipy.fft.irfft2(np.sqrt(power[0, 0] / power), s=(size, size)))
    return psi[1:, 1:]


def central(image: np.ndarray, half: int) -> np.ndarray:
    """The pixels (2 half + 1, 2 half + 1) around an image's centre at (h // 2, w // 2)."""
    y, x = image.shape[0] // 2, image.shape[1] // 2
    return image[y - half : y + half + 1, x - half : x + half + 1]


def widened(image: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """The same image in the middle of zeros."""
    return np.pad(image, [((n - m) // 2,) * 2 for n, m in zip(shape, image.shape, strict=True)])


# Images


def convolved(image: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """True convolution, zeros beyond the edges; a kernel's centre is at (h // 2, w // 2), of even sizes too."""
    height, width = kernel.shape
    full = fftconvolve(image, kernel, "full")
    return full[height // 2 :, width // 2 :][: image.shape[0], : image.shape[1]]


def autocorrelation(image: np.ndarray, use: np.ndarray | None = None, lag: int = 5) -> np.ndarray:
    """Correlation function (2 lag + 1, 2 lag + 1) of the pixels in use: a mean over pairs of pixels for each lag."""
    if use is None:
        use = np.ones(image.shape, bool)
    data = np.where(use, image - np.median(image[use]), 0.0)
    rho = np.empty((2 * lag + 1, 2 * lag + 1))
    ny, nx = image.shape
    for dy in range(lag + 1):
        for dx in range(-lag, lag + 1):
            a = slice(0, ny - dy), slice(max(0, -dx), nx - max(0, dx))
            b = slice(dy, ny), slice(max(0, dx), nx - max(0, -dx))
            value = (data[a] * data[b]).sum() / max(1, np.count_nonzero(use[a] & use[b]))
            rho[lag + dy, lag + dx] = rho[lag - dy, lag - dx] = value
    return rho / rho[lag, lag]


def max_abs_rho(image: np.ndarray, use: np.ndarray | None = None, lag: int = 5) -> float:
    rho = autocorrelation(image, use, lag)
    rho[lag, lag] = 0.0
    return float(np.abs(rho).max())


def filtered_at(image: np.ndarray, x: int, y: int, kernel: np.ndarray) -> float:
    """One pixel of the convolution of an image with a kernel (odd sizes), by its definition; zeros beyond the edges."""
    hy, hx = kernel.shape[0] // 2, kernel.shape[1] // 2
    y0, y1 = max(0, y - hy), min(image.shape[0], y + hy + 1)
    x0, x1 = max(0, x - hx), min(image.shape[1], x + hx + 1)
    flipped = kernel[::-1, ::-1]
    part = flipped[y0 - y + hy : y1 - y + hy, x0 - x + hx : x1 - x + hx]
    return float((image[y0:y1, x0:x1] * part).sum())


def brute_force(
    image: np.ndarray, positions: Sequence[tuple[int, int]], psi: Callable[[int, int], np.ndarray]
) -> np.ndarray:
    """The decorrelated image at positions (x, y), each with a kernel of its own."""
    return np.array([filtered_at(image, x, y, psi(x, y)) for x, y in positions])


def rms(values: np.ndarray) -> float:
    return float(np.sqrt(np.mean(values**2)))
