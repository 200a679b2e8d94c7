"""Brute-force references for the tests: float64, written from the equations and sharing no code with the package."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import scipy.fft
from astropy.io import fits
from scipy.signal import fftconvolve

from diffim_decorr import Exposure

PLANES = {"BAD": 0, "SAT": 1, "INTRP": 2, "CR": 3, "EDGE": 4, "DETECTED": 5, "NO_DATA": 8}


# Kernels


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


def at_origin(kernel: np.ndarray, size: int) -> np.ndarray:
    """A kernel (h, w) on a periodic grid (size, size), its centre at the origin."""
    grid = np.zeros((size, size))
    grid[: kernel.shape[0], : kernel.shape[1]] = kernel
    return np.roll(grid, (-(kernel.shape[0] // 2), -(kernel.shape[1] // 2)), axis=(0, 1))


def psi_of(kernels: Sequence[np.ndarray], variances: Sequence[float], size: int = 256) -> np.ndarray:
    """The decorrelation kernel (size - 1, size - 1) of ``D = Σ κ_i ⊗ I_i`` with white noise in the I_i."""
    transforms = [np.abs(scipy.fft.rfft2(at_origin(kernel, size))) ** 2 for kernel in kernels]
    power = sum(v * t for v, t in zip(variances, transforms, strict=True))
    psi = np.fft.fftshift(scipy.fft.irfft2(np.sqrt(power[0, 0] / power), s=(size, size)))
    return psi[1:, 1:]


IDENTITY = np.ones((1, 1))


def hotpants_basis(gaussians: Sequence[tuple[int, float]], width: int) -> np.ndarray:
    """The basis images (n, width, width) of HOTPANTS for (degree, sigma) pairs."""
    x = np.arange(width) - width // 2
    basis: list[np.ndarray] = []
    for degree, sigma in gaussians:
        for i in range(degree + 1):
            for j in range(degree + 1 - i):
                along_x, along_y = (np.exp(-(x**2) / (2 * sigma**2)) * x**power for power in (i, j))
                if i % 2 == 0 and j % 2 == 0:
                    image = np.outer(along_y / along_y.sum(), along_x / along_x.sum())
                    basis.append(image - basis[0] if basis else image)
                else:
                    basis.append(np.outer(along_y, along_x))
    return np.array(basis)


@dataclass
class Region:
    """One region of a HOTPANTS difference.

    Parameters
    ----------
    box
        (x0, y0, x1, y1), 0-based, end exclusive.
    frame
        The buffered region, likewise.
    coefficients
        (n, terms)
    side
        "template" or "science", the image that was convolved.
    """

    box: tuple[int, int, int, int]
    frame: tuple[int, int, int, int]
    coefficients: np.ndarray
    side: str = "template"


@dataclass
class Hotpants:
    """A kernel in HOTPANTS' form and all that is needed to make the difference and the files from it."""

    shape: tuple[int, int]
    gaussians: Sequence[tuple[int, float]]
    width: int
    order: int
    regions: Sequence[Region]
    photnorm: str = "i"
    command: str | None = None

    @property
    def basis(self) -> np.ndarray:
        return hotpants_basis(self.gaussians, self.width)

    def _terms(self, region: Region, x: np.ndarray, y: np.ndarray) -> list[np.ndarray]:
        x0, y0, x1, y1 = region.frame
        u = (x - x0 - (x1 - x0) / 2) / ((x1 - x0) / 2)
        v = (y - y0 - (y1 - y0) / 2) / ((y1 - y0) / 2)
        return [u**a * v**b for a in range(self.order + 1) for b in range(self.order + 1 - a)]

    def region_at(self, x: float, y: float) -> Region:
        return next(r for r in self.regions if r.box[0] <= x < r.box[2] and r.box[1] <= y < r.box[3])

    def at(self, x: float, y: float) -> np.ndarray:
        region = self.region_at(x, y)
        terms = np.array(self._terms(region, np.float64(x), np.float64(y)))
        return np.tensordot(region.coefficients @ terms, self.basis, axes=1)

    def scale(self, region: Region) -> float:
        """What the difference is divided by: the (constant) kernel sum if PHOTNORM names the convolved image."""
        divided = {"t": "template", "i": "science"}.get(self.photnorm) == region.side
        return float(region.coefficients[0, 0]) if divided else 1.0

    def sides(self, x: float, y: float) -> tuple[np.ndarray, np.ndarray]:
        """Kernels of the science and the template image in the difference."""
        region = self.region_at(x, y)
        kernel, one = self.at(x, y) / self.scale(region), IDENTITY / self.scale(region)
        return (kernel, one) if region.side == "science" else (one, kernel)

    def difference(self, science: np.ndarray, template: np.ndarray) -> np.ndarray:
        y, x = np.mgrid[: self.shape[0], : self.shape[1]].astype(float)
        result = np.full(self.shape, np.nan)
        for side, convolved, other in (("template", template, science), ("science", science, template)):
            mine = [region for region in self.regions if region.side == side]
            if not mine:
                continue
            matched = [fftconvolve(convolved, image, "same") for image in self.basis]
            for region in mine:
                x0, y0, x1, y1 = region.box
                inside = slice(y0, y1), slice(x0, x1)
                terms = self._terms(region, x[inside], y[inside])
                kernelled = sum(
                    sum(c * t for c, t in zip(row, terms, strict=True)) * image[inside]
                    for row, image in zip(region.coefficients, matched, strict=True)
                )
                sign = 1.0 if side == "science" else -1.0
                result[inside] = sign * (kernelled - other[inside]) / self.scale(region)
        return result

    def write(self, path: Path, difference: np.ndarray) -> Path:
        columns = []
        for number, region in enumerate(self.regions):
            vector = np.concatenate([[0.0, region.coefficients[0, 0]], region.coefficients[1:].ravel(), [0.0]])
            columns.append(fits.Column(f"Region{number}", "D", array=vector))
        table = fits.BinTableHDU.from_columns(columns, name="Convolution Kernel Information")
        table.header["NGAUSS"] = len(self.gaussians)
        for number, (degree, sigma) in enumerate(self.gaussians, 1):
            table.header[f"DGAUSS{number}"], table.header[f"SGAUSS{number}"] = degree, sigma
        table.header["FWKERN"], table.header["CKORDER"], table.header["BGORDER"] = self.width, self.order, 0
        primary = fits.PrimaryHDU(difference.astype("f4"))
        header = primary.header
        header["NREGION"], header["PHOTNORM"], header["MASKVAL"] = len(self.regions), self.photnorm, 1e-30
        if self.command is not None:
            header["DIFFCMD"] = self.command
        for number, region in enumerate(self.regions):
            x0, y0, x1, y1 = region.box
            header[f"REGION{number:02d}"] = f"[{x0 + 1}:{x1},{y0 + 1}:{y1}]"
            header[f"CONVOL{number:02d}"] = "TEMPLATE" if region.side == "template" else "IMAGE"
            header[f"KSUM{number:02d}"] = float(region.coefficients[0, 0])
        fits.HDUList([primary, table]).writeto(path, overwrite=True)
        return path


def hotpants_coefficients(rng: np.random.Generator, basis: np.ndarray, order: int, total: float = 1.02) -> np.ndarray:
    """Coefficients (n, terms) of a kernel that varies notably over the field, but for its sum."""
    terms = (order + 1) * (order + 2) // 2
    values = rng.normal(size=(len(basis), terms)) * 0.02 / np.sqrt(np.abs(basis).sum(axis=(1, 2)))[:, None]
    values[0] = 0.0
    values[0, 0] = total
    # The last even function of the widest Gaussian sets how much noise is correlated.
    values[len(basis) - 6] = 0.0
    values[len(basis) - 6, 0] = 0.45 * total
    if order:
        values[len(basis) - 6, 1], values[len(basis) - 6, order + 1] = 0.2, -0.2
    return values


def hotpants_kernel(shape: tuple[int, int], seed: int, order: int = 2, total: float = 1.02) -> Hotpants:
    """A kernel of one region, order 2 and 21 pixels, drawn at random."""
    gaussians = [(4, 0.9), (2, 1.6), (2, 2.6)]
    values = hotpants_coefficients(np.random.default_rng(seed), hotpants_basis(gaussians, 21), order, total)
    whole = (0, 0, shape[1], shape[0])
    return Hotpants(shape, gaussians, 21, order, [Region(whole, whole, values)])


# Images


def white(rng: np.random.Generator, shape: tuple[int, int], variance: float | np.ndarray = 1.0) -> np.ndarray:
    return rng.normal(size=shape) * np.sqrt(variance)


def convolved(image: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """True convolution, zeros beyond the edges; a kernel's centre is at (h // 2, w // 2), of even sizes too."""
    height, width = kernel.shape
    full = fftconvolve(image, kernel, "full")
    return full[height // 2 :, width // 2 :][: image.shape[0], : image.shape[1]]


def noise_pair(
    seed: int, shape: tuple[int, int], svar: float | np.ndarray, tvar: float | np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return white(rng, shape, svar), white(rng, shape, tvar)


def exposures(
    science: np.ndarray,
    template: np.ndarray,
    difference: np.ndarray,
    svar: float | np.ndarray,
    tvar: float | np.ndarray,
) -> tuple[Exposure, Exposure, Exposure]:
    """Science, template and difference as a survey has them: single precision, with variance planes, masks clear."""
    clear = np.zeros(science.shape, "i4")
    single = [a.astype("f4") for a in (science, template, difference)]
    variances = [np.broadcast_to(np.asarray(v, "f4"), science.shape).copy() for v in (svar, tvar)]
    return (
        Exposure(single[0], variances[0], clear.copy(), mask_planes=PLANES, name="science"),
        Exposure(single[1], variances[1], clear.copy(), mask_planes=PLANES, name="template"),
        Exposure(single[2], None, clear.copy(), mask_planes=PLANES, name="difference"),
    )


def write_exposure(path: Path, image: np.ndarray, variance: np.ndarray | None, mask: np.ndarray | None = None) -> Path:
    hdus = [fits.PrimaryHDU(), fits.ImageHDU(image.astype("f4"), name="IMAGE")]
    hdus.append(fits.ImageHDU(np.zeros(image.shape, "i4") if mask is None else mask.astype("i4"), name="MASK"))
    for name, bit in PLANES.items():
        hdus[-1].header[f"MP_{name}" if len(name) <= 5 else f"HIERARCH MP_{name}"] = bit
    if variance is not None:
        hdus.append(fits.ImageHDU(variance.astype("f4"), name="VARIANCE"))
    fits.HDUList(hdus).writeto(path, overwrite=True)
    return path


# Measurements


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


# The command line


def run_command(*arguments: object, status: int = 0) -> dict[str, Any]:
    """Run `decorr` in a process of its own and return what ``--json`` says; its exit status must be as expected."""
    line = [sys.executable, "-c", "from diffim_decorr.cli import main; main()", *map(str, arguments)]
    done = subprocess.run(line, capture_output=True, text=True, timeout=120)
    assert done.returncode == status, done.stderr
    if status:
        return {"stderr": done.stderr, "stdout": done.stdout}
    said: dict[str, Any] = json.loads(done.stdout)
    return said
