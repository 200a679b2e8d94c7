"""Bits of masks in any type and byte order."""

from __future__ import annotations

import numpy as np
import pytest

from diffim_decorr import Exposure


@pytest.mark.parametrize("kind", ["<i4", ">i4", "<i2", ">i2", "<u2", ">u2", "<i8", ">i8", ">u4", "u1", "i1"])
def test_flags_of_any_type_are_kept(kind: str) -> None:
    """FITS files hold masks in big-endian order, and astropy hands them on so."""
    mask = np.zeros((60, 60), kind)
    mask[5, 7] = 1 << 1
    masked = Exposure(np.zeros((60, 60)), 1.0, mask, mask_planes={"SAT": 1}).to_ccddata().mask
    assert np.argwhere(masked).tolist() == [[5, 7]]
