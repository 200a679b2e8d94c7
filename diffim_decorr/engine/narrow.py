"""How far ψ has to reach: the fainter the pixels, the less of it is told from nothing."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from diffim_decorr.geometry import Box
from diffim_decorr.kernels.bank import KernelBank
from diffim_decorr.kernels.spatial import SpatialKernel

__all__ = ("half_width_within", "narrowed")

Array = NDArray[Any]

_PLACES = 4  # along each axis of the field at which a kernel is looked at


def half_width_within(kernel: SpatialKernel, box: Box, norm: float, peak: float) -> int:
    """The least half-width beyond which a kernel has, all over a box, at most some norm and no larger pixel."""
    half = max(kernel.shape) // 2
    x, y = (np.linspace(first, end - 1, _PLACES) for first, end in ((box.x0, box.x1), (box.y0, box.y1)))
    weights = kernel.coefficients.grid(x, y).reshape(len(kernel.basis), -1)
    distance = np.abs(np.arange(-half, half + 1))
    rings = np.maximum(distance[:, None], distance[None, :]).ravel()
    order = np.argsort(rings, kind="stable")
    begins = np.searchsorted(rings[order], np.arange(half + 1))
    images = np.abs(weights.T @ kernel.basis.reshape(len(kernel.basis), -1))[:, order]
    # Each of what lies outside, summed from the last ring.
    peaks = np.maximum.accumulate(np.maximum.reduceat(images, begins, axis=1)[:, ::-1], axis=1)[:, ::-1]
    powers = np.add.reduceat(images**2, begins, axis=1)[:, ::-1].cumsum(axis=1)[:, ::-1]
    fits = (powers.max(axis=0) <= norm**2) & (peaks.max(axis=0) <= peak)
    # What fits from ring h on allows for a half-width of h - 1.
    return max(int(np.argmax(fits)) - 1, 1) if fits.any() else half


def narrowed(bank: KernelBank, half_width: int) -> KernelBank:
    """The kernels of a bank within a half-width, with the sums that they had."""
    height, width = bank.bases.shape[-2:]
    rows, columns = (slice(n // 2 - half_width, n // 2 + half_width + 1) for n in (height, width))
    bases = bank.bases[..., rows, columns]
    # Spread over all pixels what is missing of the sum leaves no mark on any.
    missing = bank.bases.sum(axis=(2, 3)) - bases.sum(axis=(2, 3))
    return KernelBank(bases + missing[..., None, None] / (bases.shape[-2] * bases.shape[-1]), bank.coefficients)
