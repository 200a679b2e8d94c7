"""The real data beside the checkout; tests that use them are skipped where they are absent."""

from __future__ import annotations

from pathlib import Path

import pytest

__all__ = ("DATA", "JWST", "PARITY", "SFFT", "needs_decam", "needs_jwst", "needs_lsst", "needs_parity")

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
JWST, PARITY = DATA / "jwst_a2744", DATA / "lsst_parity"
#: Small subtractions by SFFT that are kept with the tests.
SFFT = Path(__file__).resolve().parents[1] / "data" / "sfft"


def _needs(folder: str) -> pytest.MarkDecorator:
    absent = not (DATA / folder).is_dir()
    return pytest.mark.skipif(absent, reason=f"the data folder shared/data/{folder} is absent")


needs_decam, needs_jwst, needs_lsst, needs_parity = map(_needs, ("decam", "jwst_a2744", "lsst", "lsst_parity"))
