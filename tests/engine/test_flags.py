"""Flags are where too much of ψ fell on what is missing."""

from __future__ import annotations

import numpy as np
import pytest

from support.hole import HOLE, KERNEL, PSI, SHAPE, bit, images, plane, run
from support.reference import convolved


def lost_fractions(replaced: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Which fraction of Σ|ψ| fell on replaced pixels, and which outside the image."""
    weight = np.abs(PSI) / np.abs(PSI).sum()
    inside = convolved(np.ones(SHAPE), weight)
    return convolved(replaced.astype(float), weight), 1 - inside


@pytest.mark.parametrize("limit", [0.001, 0.01, 0.2])
@pytest.mark.parametrize("spatial", [False, True])
def test_flags_are_where_too_much_of_psi_was_missing(limit: float, spatial: bool) -> None:
    difference = images()[2]
    difference[HOLE] = np.nan
    mask = plane("CR", (slice(30, 31), slice(40, 41)), (slice(110, 111), slice(0, 40)))
    result = run(difference, (None, mask, None), bad_fraction=limit, spatial=spatial)
    # The template was convolved: what is masked in it is as wide as the matching kernel.
    reached = convolved((mask != 0).astype(float), KERNEL / KERNEL.sum())
    assert (np.abs(reached - limit) > 1e-6).all()
    replaced = ~np.isfinite(difference) | (mask != 0) | (reached > limit)
    np.testing.assert_array_equal(bit(result, "DECORR_FILLED"), replaced)
    bad, outside = lost_fractions(replaced)
    # ψ is accurate to 1e-3, and cut at 1e-5 of its sum.
    clear = np.minimum(np.abs(bad - limit), np.abs(outside - limit)) > 0.02 * limit + 2e-5
    clear &= np.abs(bad + outside - limit) > 0.02 * limit + 2e-5
    assert clear.mean() > 0.95
    np.testing.assert_array_equal(bit(result, "EDGE")[clear], (outside > limit)[clear])
    # What fell on replaced pixels and what fell outside add up.
    flagged = bit(result, "DECORR_BAD") | bit(result, "EDGE")
    np.testing.assert_array_equal(flagged[clear], (bad + outside > limit)[clear])
    assert bit(result, "DECORR_BAD")[clear & (bad > limit)].all()
    assert not bit(result, "DECORR_BAD")[clear & (bad == 0)].any()


def test_one_lost_pixel_flags_itself_and_few_others() -> None:
    difference = images()[2]
    difference[75, 80] = np.nan
    flagged = bit(run(difference), "DECORR_BAD")
    weight = np.abs(PSI) / np.abs(PSI).sum()
    assert flagged[75, 80]
    assert flagged.sum() == pytest.approx((weight > 0.01).sum(), abs=2)
