"""Lagged products of windows."""

from __future__ import annotations

import numpy as np
import pytest

from diffim_decorr.geometry import Box
from diffim_decorr.qa.products import products_in
from diffim_decorr.qa.sample import Window
from diffim_decorr.qa.spectrum import LAG


def test_the_kernel_is_where_the_difference_has_it() -> None:
    """A difference that is an input shifted to the right and up; pixels that are not used are no data."""
    rng = np.random.default_rng(4)
    source, other = rng.normal(size=(2, 128, 128)).astype(np.float32)
    before = np.roll(source, (3, 2), axis=(0, 1)) + 5
    use = rng.random(source.shape) < 0.8
    blank = np.where(use, np.float32(0), np.float32(np.nan))
    inputs = (source * use, other * use)
    window = Window(Box(0, 0, 128, 128), before + blank, other + blank, before, inputs, use, 0.2, (), ())
    products = products_in(window, 5.0, 0.0)
    number = products.pairs[LAG, LAG]
    assert number == pytest.approx(use.sum())
    both = use & np.roll(use, (3, 2), axis=(0, 1))
    assert products.pairs[LAG + 3, LAG + 2] == pytest.approx(both[3:, 2:].sum(), abs=0.01)
    assert products.crossed[0][LAG + 3, LAG + 2] == pytest.approx((source**2).mean() * both[3:, 2:].sum(), rel=0.05)
    largest = np.unravel_index(np.argmax(products.crossed[0]), products.pairs.shape)
    assert largest == (LAG + 3, LAG + 2)
    assert np.abs(products.crossed[1]).max() < 6 * number**0.5
    assert products.before[LAG, LAG] == pytest.approx(float(((before - 5)[use] ** 2).sum()), rel=1e-5)
    assert products.after[LAG, LAG] == pytest.approx(float((other[use] ** 2).sum()), rel=1e-5)
