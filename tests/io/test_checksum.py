"""Checksums of HDUs."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from diffim_decorr.io.checksum import add_words, checksum_string, fold, set_checksum


def test_example_of_the_standard() -> None:
    # FITS standard 4.0, J.3: an HDU whose checksum is 868229149.
    assert checksum_string(~868229149 & 0xFFFFFFFF) == "hcHjjc9ghcEghc9g"


def test_encoding_can_be_decoded() -> None:
    rng = np.random.default_rng(3)
    for value in [0, 1, 0xFFFFFFFF, 0x80000000, *map(int, rng.integers(0, 1 << 32, 2000))]:
        text = checksum_string(value)
        assert len(text) == 16
        assert text.isalnum()
        # The characters stand at 16 places of a header card, which begin one byte after a word does.
        words = np.frombuffer((text[1:] + text[0]).encode(), "u1").astype(int).reshape(4, 4) - ord("0")
        assert (words.sum(axis=0) == [value >> 24, value >> 16 & 255, value >> 8 & 255, value & 255]).all()


@pytest.mark.parametrize("dtype", ["f4", "i4"])
@pytest.mark.parametrize("shape", [(1, 1), (7, 5), (40, 37)])
def test_checksums_by_astropy(tmp_path: Path, dtype: str, shape: tuple[int, int]) -> None:
    rng = np.random.default_rng(5)
    for _ in range(20):
        pixels = rng.integers(-(1 << 31), 1 << 31, shape).astype("i4").view(dtype)
        header = fits.PrimaryHDU(np.zeros(shape, dtype)).header
        text = set_checksum(header, fold(add_words(pixels)))
        stored = pixels.astype(pixels.dtype.newbyteorder(">")).tobytes()
        (tmp_path / "a.fits").write_bytes(text + stored + bytes(-len(stored) % 2880))
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            with fits.open(tmp_path / "a.fits", checksum=True) as hdus:
                assert hdus[0].verify_checksum() == hdus[0].verify_datasum() == 1


def test_sums_add_up() -> None:
    pixels = np.random.default_rng(6).normal(size=(9, 8)).astype("f4")
    assert fold(add_words(pixels)) == fold(sum(add_words(row) for row in pixels))
    assert fold(0) == 0
    assert fold(0xFFFFFFFF) == 0xFFFFFFFF
    assert fold(0x1_0000_0000) == 1
    assert fold(0xFFFFFFFF << 32 | 0xFFFFFFFF) == 0xFFFFFFFF
