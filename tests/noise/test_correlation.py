"""The correlation function of an image's noise."""

from __future__ import annotations

import numpy as np
import pytest

from diffim_decorr.noise.correlation import correlation_function, different_lags, lagged_products, paired


def test_a_plateau_is_taken_off() -> None:
    """A correlation function under which lies a constant, as from an error of the background."""
    y, x = np.mgrid[-20:21, -20:21]
    true = np.exp(-(x**2 + y**2) / 2.0)
    rho, variance, plateau = correlation_function(4.0 * true + 0.5, 10**6)
    assert variance == pytest.approx(4.0, rel=1e-6)
    assert plateau == pytest.approx(0.125, rel=1e-6)
    assert np.abs(rho - true)[np.hypot(x, y) <= 3].max() < 1e-6
    assert np.abs(rho[np.hypot(x, y) > 15]).max() == 0


def test_lagged_products_are_sums_over_pairs() -> None:
    images = np.random.default_rng(3).normal(size=(2, 12, 17)).astype(np.float32)
    reach = 4
    products = lagged_products(images, reach)
    for dy in range(-reach, reach + 1):
        for dx in range(-reach, reach + 1):
            padded = np.pad(images, ((0, 0), (reach, reach), (reach, reach)))
            shifted = padded[:, reach + dy : reach + dy + 12, reach + dx : reach + dx + 17]
            assert products[reach + dy, reach + dx] == pytest.approx(float(np.sum(images * shifted)), abs=1e-4)


def test_pairs_are_a_lag_apart() -> None:
    """And what is in the middle of them is so, to half a pixel; no lag is another's opposite, and none is missing."""
    y, x = np.mgrid[:9, :11]
    lags = different_lags(4)
    assert lags[0] == (0, 0)
    assert len({*lags, *((-dy, -dx) for dy, dx in lags)}) == 9 * 9
    assert len(lags) == (9 * 9 + 1) // 2
    for dy, dx in lags:
        one, other, between = paired(x.shape, (dy, dx))
        assert x[one].size == (9 - dy) * (11 - abs(dx))
        assert np.all(y[other] - y[one] == dy)
        assert np.all(x[other] - x[one] == dx)
        assert np.all(y[between] - y[one] == dy // 2)
        assert np.abs(x[between] - (x[one] + x[other]) / 2).max() <= 0.5
