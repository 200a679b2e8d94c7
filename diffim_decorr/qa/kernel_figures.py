"""What a kernel is like: its sum, width and shape over the field, and the noise correlation that it causes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diffim_decorr.difference.matching import MatchingKernel
from diffim_decorr.fft import good_size, inverse, kernel_transform
from diffim_decorr.geometry import Box
from diffim_decorr.kernels.coefficients import AffineCoefficients, Coefficients
from diffim_decorr.kernels.grid import GridCoefficients
from diffim_decorr.kernels.spatial import SpatialKernel
from diffim_decorr.noise.correlation import max_abs_rho
from diffim_decorr.noise.field import NoiseField
from diffim_decorr.options import Side
from diffim_decorr.psi.build import build_decorrelation
from diffim_decorr.psi.filters import squared

__all__ = (
    "KernelFigures",
    "Shape",
    "correlation_caused",
    "decorrelation_at",
    "field_of",
    "figures_at",
    "shape_of",
    "sum_range",
)

Array = NDArray[Any]

# Widths are measured on an image with this many pixels for each one, around those above a fraction of the peak.
_FINE, _AROUND, _CORE = 16, 3, 0.3
# Lags of correlation functions, as in the quality figures.
_LAGS = 5


@dataclass(frozen=True)
class Shape:
    """Width and shape of the core of a kernel image.

    Parameters
    ----------
    fwhm
        Full width at half maximum in pixels, geometric mean of both axes.
    ellipticity
        1 - minor / major axis.
    """

    fwhm: float
    ellipticity: float


@dataclass(frozen=True)
class KernelFigures:
    """A kernel at one position.

    Parameters
    ----------
    x, y
        The position, 0-based pixels.
    sum
        The kernel sum, the photometric scale.
    peak
        Its largest pixel.
    shape
        Its width and shape, None if no pixel is positive.
    max_abs_rho
        Largest correlation of the difference's noise between pixels up to 5 apart along each axis; None for ψ, which
        takes correlation away.
    """

    x: float
    y: float
    sum: float
    peak: float
    shape: Shape | None
    max_abs_rho: float | None


def figures_at(
    matching: MatchingKernel, x: float, y: float, variances: tuple[float, float], convolved: Side | None = None
) -> KernelFigures:
    """Figures of a kernel at one position.

    Parameters
    ----------
    matching
        The kernel.
    x, y
        The position.
    variances
        Background variances of the science image and the template.
    convolved
        Which image was convolved, if the file is to be overruled.
    """
    image = matching.kernel.at(x, y)
    # Between the regions of a HOTPANTS run there may be none.
    without = matching.format == "psi" or not image.any()
    rho = None if without else correlation_caused(matching, x, y, variances, convolved)
    return KernelFigures(
        x, y, float(image.sum()), float(image.max()), shape_of(image), None if rho is None else max_abs_rho(rho)
    )


def correlation_caused(
    matching: MatchingKernel, x: float, y: float, variances: tuple[float, float], convolved: Side | None = None
) -> Array:
    """Noise correlation function (11, 11) of the difference of images with white noise.

    References
    ----------
    Reiss & Lupton, DMTN-021, eq. 2: the noise power of the difference, whose transform this is.
    """
    kernels = [side.at(x, y) for side in matching.sides(convolved)]
    size = good_size(2 * max(max(kernel.shape) for kernel in kernels) + 2 * _LAGS)
    transforms = [kernel_transform(kernel, (size, size)) for kernel in kernels]
    power = sum(v * squared(t.real, t.imag) for v, t in zip(variances, transforms, strict=True))
    covariance = inverse(np.asarray(power, dtype=complex), size)
    lags = np.arange(-_LAGS, _LAGS + 1)
    rho: Array = covariance[np.ix_(lags, lags)] / covariance[0, 0]
    return rho


def shape_of(image: Array) -> Shape | None:
    """Width and shape of a kernel image (h, w), of its core above half of the maximum.

    The image is interpolated by a cubic spline, so that a single pixel has a width of 1.2 pixels. The ellipse has the
    core's area and second moments, as an isophote's (Bertin & Arnouts 1996, A&AS 117, 393). Wings do not count.

    Returns
    -------
    Shape
        None if no pixel is positive.
    """
    from scipy.ndimage import label, map_coordinates

    if not image.max() > 0:
        return None
    padded = np.pad(image, _AROUND)
    rows, columns = np.nonzero(padded > _CORE * image.max())
    axes = [
        np.arange((part.min() - _AROUND) * _FINE, (part.max() + _AROUND) * _FINE + 1) / _FINE
        for part in (rows, columns)
    ]
    fine = map_coordinates(padded, np.meshgrid(*axes, indexing="ij"), order=3, mode="grid-constant")
    parts, _ = label(fine > fine.max() / 2)
    y, x = np.nonzero(parts == parts.flat[int(np.argmax(fine))])
    minor, major = np.sqrt(np.linalg.eigvalsh(np.cov(np.array([x, y]), bias=True)))
    return Shape(2 * float(np.sqrt(len(x) / np.pi)) / _FINE, float(1 - minor / major))


def field_of(matching: MatchingKernel, image_shape: tuple[int, int] | None = None) -> Box | None:
    """The pixels that a kernel is for: those of the image if its shape is given, else what the kernel's file says.

    Returns
    -------
    Box
        None if nothing says how large the field is.
    """
    if image_shape is not None:
        return Box(0, 0, image_shape[1], image_shape[0])
    if matching.field is not None:
        return matching.field
    boxes = matching.kernel.boxes
    if not boxes:
        knots = _knots(matching.kernel.coefficients)
        if knots is None:
            return None
        x, y = knots
        return Box(int(np.floor(x[0])), int(np.floor(y[0])), int(np.ceil(x[-1])) + 1, int(np.ceil(y[-1])) + 1)
    return Box(
        min(box.x0 for box in boxes),
        min(box.y0 for box in boxes),
        max(box.x1 for box in boxes),
        max(box.y1 for box in boxes),
    )


def _knots(coefficients: Coefficients) -> tuple[Array, Array] | None:
    if isinstance(coefficients, AffineCoefficients):
        return _knots(coefficients.inner)
    if isinstance(coefficients, GridCoefficients):
        return coefficients.x, coefficients.y
    return None


def sum_range(kernel: SpatialKernel, positions: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """Smallest and largest kernel sum at some positions."""
    x, y = np.array(positions, dtype=float).T
    sums = kernel.coefficients.at(x, y).T @ kernel.basis.sum(axis=(1, 2))
    return float(sums.min()), float(sums.max())


def decorrelation_at(
    matching: MatchingKernel,
    positions: Sequence[tuple[float, float]],
    variances: tuple[float, float],
    convolved: Side | None = None,
) -> Array:
    """Decorrelation kernels (k, h, h) for white noise at some positions, all of the size that the widest needs.

    Parameters
    ----------
    matching
        The matching kernel.
    positions
        (x, y) of each.
    variances
        Background variances of the science image and the template.
    convolved
        Which image was convolved, if the file is to be overruled.
    """
    noise = NoiseField((float(variances[0]), float(variances[1])))
    sides = matching.sides(convolved)
    images = [build_decorrelation(sides, noise, (1, 1), at=position).psi.at(0.0, 0.0) for position in positions]
    largest = max(len(image) for image in images)
    return np.array([np.pad(image, (largest - len(image)) // 2) for image in images])
