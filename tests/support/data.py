"""The real data beside the checkout; tests that use them are skipped where they are absent."""

from __future__ import annotations

from pathlib import Path

import pytest

__all__ = (
    "DECAM",
    "HOTPANTS",
    "JWST",
    "LSST",
    "LSST_IMAGES",
    "PARITY",
    "SFFT",
    "needs_decam",
    "needs_hotpants",
    "needs_jwst",
    "needs_lsst",
    "needs_lsst_images",
    "needs_parity",
)

_DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
DECAM, HOTPANTS, JWST, LSST, PARITY, LSST_IMAGES = (
    _DATA / folder for folder in ("decam", "hotpants", "jwst_a2744", "lsst", "lsst_parity", "lsst_images")
)
#: Small subtractions by SFFT that are kept with the tests.
SFFT = Path(__file__).resolve().parents[1] / "data" / "sfft"


def _needs(folder: Path) -> pytest.MarkDecorator:
    return pytest.mark.skipif(not folder.is_dir(), reason=f"the data folder shared/data/{folder.name} is absent")


needs_decam, needs_hotpants, needs_jwst, needs_lsst, needs_parity, needs_lsst_images = map(
    _needs, (DECAM, HOTPANTS, JWST, LSST, PARITY, LSST_IMAGES)
)
