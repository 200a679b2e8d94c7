"""Kernels, differences and files in the form of HOTPANTS, made from the rules of the format."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from astropy.io import fits
from scipy.signal import fftconvolve

from support.kernels import IDENTITY

__all__ = ("Hotpants", "Region", "hotpants_basis", "hotpants_coefficients", "hotpants_kernel")


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
