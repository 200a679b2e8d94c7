"""Point sources in images whose PSF varies, from the equations, pixel by pixel."""

from __future__ import annotations

import numpy as np
from scipy.signal import convolve2d

from diffim_decorr import SpatialKernel
from support.kernels import gaussian

__all__ = ("fluxes", "grid_psf", "response", "stepped_psi")


def response(psf: SpatialKernel, psi: SpatialKernel, x: int, y: int) -> np.ndarray:
    """What a source of flux 1 at a pixel becomes: each pixel has the kernel ψ of its own place."""
    phi = psf.at(x, y)
    half = phi.shape[0] // 2 + psi.shape[0] // 2
    v, u = np.mgrid[-half : half + 1, -half : half + 1]
    amounts = psi.coefficients.at((x + u).ravel(), (y + v).ravel()).reshape(len(psi.basis), *u.shape)
    return sum(c * convolve2d(b, phi) for c, b in zip(amounts, psi.basis, strict=True))


def fluxes(
    image: np.ndarray, variance: np.ndarray, psf: SpatialKernel, psi: SpatialKernel, places: list[tuple[int, int]]
) -> tuple[np.ndarray, np.ndarray]:
    """Flux and error of a source at pixels (x, y): Σ R D/V / Σ R²/V, no weight where V is not finite."""
    found = []
    ny, nx = image.shape
    weight = np.where(np.isfinite(image) & np.isfinite(variance), 1 / variance, 0)
    data = np.where(weight > 0, image, 0)
    for x, y in places:
        r = response(psf, psi, x, y)
        half = len(r) // 2
        rows, columns = (
            np.arange(max(0, y - half), min(ny, y + half + 1)),
            np.arange(max(0, x - half), min(nx, x + half + 1)),
        )
        inside = np.ix_(rows, columns)
        own = r[np.ix_(rows - y + half, columns - x + half)]
        information = (own**2 * weight[inside]).sum()
        found.append(((own * weight[inside] * data[inside]).sum() / information, information**-0.5))
    flux, error = np.array(found).T
    return flux, error


def grid_psf(shape: tuple[int, int], width: int = 15) -> SpatialKernel:
    """PSFs on a grid over an image, that get wider to the right and longer upwards."""
    from diffim_decorr.kernels.grid import on_grid

    x, y = np.linspace(0, shape[1] - 1, 4), np.linspace(0, shape[0] - 1, 3)
    images = [[gaussian(width, (1.2 + 0.5 * a / shape[1], 1.4 + 0.3 * b / shape[0])) for a in x] for b in y]
    return on_grid(np.array(images), x, y)


def stepped_psi(shape: tuple[int, int], step: int, width: int = 11) -> SpatialKernel:
    """A filter of sum 1 that varies smoothly, but for a step between two columns."""
    from diffim_decorr.kernels.grid import GridCoefficients

    sharp = -0.3 * gaussian(width, 1.0)
    sharp[width // 2, width // 2] += 0.3
    wide = gaussian(width, (2.0, 1.2)) - gaussian(width, 1.3)
    delta = np.zeros_like(sharp)
    delta[width // 2, width // 2] = 1
    x = np.array([0.0, step - 1, step, shape[1] - 1])
    y = np.array([0.0, shape[0] / 2, shape[0] - 1])
    values = np.empty((3, 3, 4))
    values[0] = 1
    values[1] = np.array([1.0, 1.2, -0.8, -0.5]) + 0.2 * np.arange(3)[:, None]
    values[2] = np.array([0.2, 0.3, -0.3, 0.1])
    return SpatialKernel(np.array([delta, sharp, wide]), GridCoefficients(values, x, y))
