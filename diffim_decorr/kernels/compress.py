"""Fewer basis images for the same kernel, and functions of kernels, such as their square."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diffim_decorr.kernels.coefficients import AffineCoefficients, Coefficients, PolynomialCoefficients
from diffim_decorr.kernels.grid import GridCoefficients
from diffim_decorr.kernels.spatial import SpatialKernel

__all__ = ("SUM_WEIGHT", "compact", "compressed", "condensed", "mapped")

Array = NDArray[Any]

#: By how much an error of a kernel's sum, which is what it makes of smooth images, counts more than one of its pixels.
SUM_WEIGHT = 20.0

# Basis images that are worth looking into, and what of them is rounding error, relative to the largest.
_MANY, _ROUNDING = 32, 1e-13
# How many samples are enough to find the modes of a kernel, or of a function of one; what the modes of the latter may
# leave out, relative to the whole; and how many pixels are worked on at once.
_MOST_SAMPLES, _MOST_MAPPED = 600, 400
_LEFT_OUT = 1e-3
# Share of the tolerance below which all modes together are not looked at.
_NEGLIGIBLE = 0.3
_BATCH = 1 << 22


def compact(kernel: SpatialKernel) -> SpatialKernel:
    """The same kernel, between knots, with no more basis images than it has independent ones.

    Hundreds of images on a grid are mostly sums of a few, and each basis image costs a Fourier transform. What is left
    out is the rounding error of double precision.
    """
    grid = kernel.coefficients
    count = len(kernel.basis)
    if count < _MANY or not isinstance(grid, GridCoefficients):
        return kernel
    flat = kernel.basis.reshape(count, -1)
    _, sizes, modes = np.linalg.svd(flat, full_matrices=False)
    modes = modes[sizes > _ROUNDING * sizes[0]]
    values = np.tensordot(modes @ flat.T, grid.values, axes=1)
    return SpatialKernel(modes.reshape(-1, *kernel.shape), GridCoefficients(values, grid.x, grid.y, grid.order))


def condensed(kernel: SpatialKernel) -> SpatialKernel:
    """The same kernel with an image for each power of x and y, if it is a polynomial and those are fewer.

    Images that vanish are left out, and so are borders of zeros around the others.
    """
    polynomials = _polynomials(kernel.coefficients)
    if polynomials is None:
        return kernel
    images = np.tensordot(polynomials.values, kernel.basis, axes=(0, 0))
    used = images.any(axis=(1, 2))
    if not used.any() or np.count_nonzero(used) > len(kernel.basis):
        return kernel
    images, powers = images[used], polynomials.powers[used]
    y, x = (np.abs(np.arange(n) - n // 2) for n in kernel.shape)
    reach = np.maximum(y[:, None], x)[images.any(axis=0)].max()
    rows, columns = (slice(max(n // 2 - reach, 0), n // 2 + reach + 1) for n in kernel.shape)
    coefficients = PolynomialCoefficients(np.eye(len(powers)), powers, polynomials.origin, polynomials.scale)
    return SpatialKernel(np.ascontiguousarray(images[:, rows, columns]), coefficients, kernel.field)


def _polynomials(coefficients: Coefficients) -> PolynomialCoefficients | None:
    """Coefficient functions as polynomials, if that is what they are."""
    if isinstance(coefficients, PolynomialCoefficients):
        return coefficients
    inner = _polynomials(coefficients.inner) if isinstance(coefficients, AffineCoefficients) else None
    if inner is None or not isinstance(coefficients, AffineCoefficients):
        return None
    values = np.hstack([coefficients.matrix @ inner.values, coefficients.offset[:, None]])
    powers = np.vstack([inner.powers, np.zeros((1, 2), dtype=inner.powers.dtype)])
    return PolynomialCoefficients(values, powers, inner.origin, inner.scale)


def compressed(samples: Array, areas: Array, tolerance: float, most: int | None = None) -> tuple[Array, Array, float]:
    """The fewest orthonormal modes (n, p) of samples (k, p), and their amounts (k, n), for a given rms error.

    Parameters
    ----------
    samples
        What is to be compressed.
    areas
        How much each sample counts (k), 1 on average.
    tolerance
        Bound of the rms error.
    most
        How many modes there may be, whatever that means for the error; None for as many as it takes.

    Returns
    -------
    modes, amounts, error
        The error is the root mean square over samples of the norm of what is left, and at most `tolerance`; of the
        worst sample it is at most three times that.
    """
    if samples.shape[1] < len(samples):
        modes = np.linalg.eigh((samples.T * areas) @ samples)[1][:, ::-1].T
    else:
        # Of many samples some are enough to find the modes; all of them are looked at for what is left.
        picked = np.unique(np.linspace(0, len(samples) - 1, min(len(samples), _MOST_SAMPLES)).astype(int))
        # All of these are large: neither copied where they need not be, nor multiplied by their weights one by one.
        some = samples if len(picked) == len(samples) else samples[picked]
        roots = np.sqrt(areas[picked])
        powers, vectors = np.linalg.eigh(roots[:, None] * (some @ some.T) * roots)
        # Those modes that may be needed: all but the last, of which there is less than the tolerance asks for.
        last = np.count_nonzero(np.maximum(powers, 0).cumsum() < (_NEGLIGIBLE * tolerance) ** 2 * len(picked))
        modes = (vectors[:, min(last, len(powers) - 1) :][:, ::-1].T * roots) @ some
    norms = np.sqrt(np.einsum("ij,ij->i", modes, modes))
    kept = max(1, int(np.count_nonzero(norms > 1e-9 * norms[0])))
    modes = modes[:kept]
    modes /= norms[:kept, None]
    amounts = (samples @ modes.T).astype(float)
    powers = np.einsum("ij,ij->i", samples, samples, dtype=float)
    left = np.maximum(powers[:, None] - (amounts**2).cumsum(axis=1), 0)
    errors = np.sqrt(areas @ left / len(left))
    fits = (errors <= tolerance) & (np.sqrt(left.max(axis=0)) <= 3 * tolerance)
    count = min(int(np.argmax(fits)) + 1 if fits.any() else kept, most or kept)
    return modes[:count].copy(), amounts[:, :count].copy(), float(errors[count - 1])


def mapped(kernel: SpatialKernel, function: Callable[[Array], Array]) -> SpatialKernel:
    """A function of a kernel, such as its square: computed at the kernel's knots, compressed, interpolated likewise.

    Parameters
    ----------
    kernel
        A constant kernel, or one whose coefficients are on a grid.
    function
        Of images (k, p), returning as many of as many pixels.

    Returns
    -------
    SpatialKernel
        Its sum at the knots is exact, the rms error of its pixels a thousandth of their norm.
    """
    flat = kernel.basis.reshape(len(kernel.basis), -1)
    if kernel.is_constant:
        image = function(kernel.coefficients.at(np.zeros(1), np.zeros(1)).T @ flat)[0]
        return SpatialKernel.constant(image.reshape(kernel.shape))
    grid = kernel.coefficients
    if not isinstance(grid, GridCoefficients):
        raise TypeError("the coefficients of a decorrelation kernel are constant or on a grid")
    knots = grid.values.reshape(len(flat), -1).T
    some = knots[np.unique(np.linspace(0, len(knots) - 1, min(len(knots), _MOST_MAPPED)).astype(int))]
    samples = function(some @ flat)
    # The eigenvectors of the much smaller matrix of their products, instead of a singular value decomposition.
    powers, vectors = np.linalg.eigh(samples @ samples.T)
    left_out = np.sqrt(np.maximum(powers, 0).cumsum()[::-1] / powers.sum())
    modes = vectors[:, ::-1].T[: max(1, int(np.count_nonzero(left_out > _LEFT_OUT)))] @ samples
    modes /= np.linalg.norm(modes, axis=1)[:, None]
    # All that is wanted of the many knots is good to single precision.
    flat, modes, knots = (array.astype(np.float32) for array in (flat, modes, knots))
    sums = modes.sum(axis=1)
    values = np.empty((len(modes), len(knots)), dtype=np.float32)
    step = max(1, _BATCH // flat.shape[1])
    for start in range(0, len(knots), step):
        batch = slice(start, start + step)
        images = function(knots[batch] @ flat)
        part = images @ modes.T
        values[:, batch] = (part * (images.sum(axis=1) / (part @ sums))[:, None]).T
    coefficients = GridCoefficients(values.reshape(-1, *grid.values.shape[1:]), grid.x, grid.y, grid.order)
    return SpatialKernel(modes.astype(float).reshape(-1, *kernel.shape), coefficients)
