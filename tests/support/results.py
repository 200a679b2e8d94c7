"""What results must be."""

from __future__ import annotations

import numpy as np
import pytest

from diffim_decorr import Result
from support.reference import max_abs_rho

__all__ = ("assert_white", "inner")


def assert_white(image: np.ndarray, variance: np.ndarray, use: np.ndarray | None = None) -> None:
    """The bars: each of the 60 independent correlations within 4 of its standard errors, snr_std 1 ± 0.005."""
    use = np.ones(image.shape, bool) if use is None else use
    count = np.count_nonzero(use)
    snr = np.where(use, image, 0.0) / np.sqrt(np.where(use, variance, 1.0), dtype=float)
    assert max_abs_rho(snr, use) <= 4 / np.sqrt(count)
    # Of fewer pixels than 1e5 the standard error of a standard deviation, 1 / sqrt(2 N), counts.
    assert snr[use].std() == pytest.approx(1, abs=0.005 if count >= 1e5 else 3.5 / np.sqrt(2 * count))


def inner(result: Result, *kernels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Image and variance away from the edges, where pixels outside the image are missed."""
    margin = max(result.psi.shape) // 2 + max(max(kernel.shape) for kernel in kernels) // 2
    inside = slice(margin, -margin), slice(margin, -margin)
    return result.exposure.image[inside].astype(float), result.exposure.variance[inside].astype(float)
