"""The correlation function of an image's noise."""

from __future__ import annotations

import numpy as np
import pytest

from diffim_decorr.noise.correlation import correlation_function


def test_a_plateau_is_taken_off() -> None:
    """A correlation function under which lies a constant, as from an error of the background."""
    y, x = np.mgrid[-20:21, -20:21]
    true = np.exp(-(x**2 + y**2) / 2.0)
    rho, variance, plateau = correlation_function(4.0 * true + 0.5, 10**6)
    assert variance == pytest.approx(4.0, rel=1e-6)
    assert plateau == pytest.approx(0.125, rel=1e-6)
    assert np.abs(rho - true)[np.hypot(x, y) <= 3].max() < 1e-6
    assert np.abs(rho[np.hypot(x, y) > 15]).max() == 0
