"""Headers of many thousand cards, as programs leave them that note every step."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
from astropy.io import fits

from diffim_decorr import read_exposure
from diffim_decorr.io.output.provenance import primary_header


def write_long(path: Path, count: int) -> None:
    header = fits.Header()
    for k in range(count):
        header.append(("HISTORY", f"step {k}") if k % 2 else (f"KEY{k}", k), end=True)
    fits.writeto(path, np.ones((3, 4), "f4"), header, overwrite=True)


def passed_on(path: Path) -> fits.Header:
    """What the primary header of a result has of an image's."""
    return primary_header(read_exposure(path).header, [], "noise decorrelated")


def test_all_cards_are_passed_on_in_their_order(path: Path) -> None:
    write_long(path, 5000)
    header = passed_on(path)
    assert list(header["HISTORY"])[:-1] == [f"step {k}" for k in range(1, 5000, 2)]
    assert [key for key in header if key.startswith("KEY")] == [f"KEY{k}" for k in range(0, 5000, 2)]


def test_time_grows_with_the_number_of_cards(path: Path) -> None:
    """Eight times the cards take less than half of what they would if each took longer the more there are."""

    def seconds(count: int) -> float:
        write_long(path, count)
        times = []
        for _ in range(3):
            start = time.process_time()
            passed_on(path)
            times.append(time.process_time() - start)
        return min(times)

    assert seconds(16000) < 32 * seconds(2000)
