"""Inputs that change while they are read are noticed, and nothing is made of two of them."""

from __future__ import annotations

import os
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits

from diffim_decorr import InputError, decorrelate, read_exposure
from diffim_decorr.geometry import Box
from diffim_decorr.options import InputOptions, Options, OutputOptions
from diffim_decorr.run import decorrelate_files
from support.files import listing, make_inputs

NAMES = ("sci.fits", "tmpl.fits", "diff.fits")


def _replace(path: str) -> None:
    """By another file, as programs do that write beside the place."""
    shutil.copy2(path, f"{path}.new")
    os.replace(f"{path}.new", path)


def _rewrite(path: str) -> None:
    content = Path(path).read_bytes()
    with open(path, "r+b") as file:
        file.write(content)
    os.utime(path, ns=(0, os.stat(path).st_mtime_ns + 10**7))


def _append(path: str) -> None:
    with open(path, "ab") as file:
        file.write(bytes(2880))


def _cut(path: str) -> None:
    """By so much that of each plane something is missing; a map of it would end this process."""
    os.truncate(path, os.path.getsize(path) // 10)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    make_inputs(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def _run(**keywords: Any) -> None:
    inputs = InputOptions(kernel="kernel.fits", psf="psf.fits")
    decorrelate_files(*NAMES, inputs, Options(), OutputOptions(output="out.fits"), **keywords)


@pytest.mark.parametrize("change", [_replace, _rewrite, _append, _cut])
@pytest.mark.parametrize("name", [*NAMES, "kernel.fits", "psf.fits"])
@pytest.mark.parametrize("when", ["noise", "filter", "qa"])
def test_a_run_notices(folder: Path, name: str, when: str, change: Callable[[str], None]) -> None:
    changed: list[bool] = []

    def told(stage: str, done: int, total: int) -> None:
        if stage == when and not changed:
            changed.append(True)
            change(name)

    with pytest.raises(InputError, match=f"{name}: has changed"):
        _run(progress=told)
    assert changed
    assert set(listing(folder)) == {*NAMES, "kernel.fits", "psf.fits"}


def test_what_is_left_alone_is_no_change(folder: Path) -> None:
    """Reading does not change files, nor does another name of them."""

    def told(stage: str, done: int, total: int) -> None:
        if stage == "filter" and not done:
            Path("sci.fits").read_bytes()
            os.utime("sci.fits", ns=(1, os.stat("sci.fits").st_mtime_ns))
            os.link("sci.fits", "other.fits")

    _run(progress=told)
    assert Path("out.fits").exists()


@pytest.mark.parametrize("change", [_replace, _rewrite, _append, _cut])
def test_exposures_notice(folder: Path, change: Callable[[str], None]) -> None:
    """From the time on at which they were read, in whatever process."""
    exposure = read_exposure("sci.fits")
    before = exposure.image_plane.read(Box(0, 0, 5, 5))
    change("sci.fits")
    for box in (Box(0, 0, 5, 5), Box(3, 7, 8, 8)):
        with pytest.raises(InputError, match=r"sci\.fits: has changed since it was opened"):
            exposure.image_plane.read(box)
    if change is not _cut:
        np.testing.assert_array_equal(read_exposure("sci.fits").image_plane.read(Box(0, 0, 5, 5)), before)


def test_rows_that_are_held_stay_what_they_are(folder: Path) -> None:
    """Whatever becomes of the file, and of the memory that they are in, which is used again only after them."""
    plane = read_exposure("sci.fits").image_plane
    expected = plane.read_all()
    held, first = plane.held(20, 40), plane.read(Box(0, 0, 96, 20))
    later = plane.held(40, 60)
    piece = later[3:5, 7:9]
    del later
    plane.held(60, 80)
    np.testing.assert_array_equal(piece, expected[43:45, 7:9])
    _cut("sci.fits")
    np.testing.assert_array_equal(held, expected[20:40])
    np.testing.assert_array_equal(plane.read(Box(5, 20, 9, 40)), expected[20:40, 5:9])
    np.testing.assert_array_equal(first, expected[:20])
    with pytest.raises(InputError, match=r"sci\.fits: has changed"):
        plane.read(Box(5, 20, 9, 41))


def test_compressed_exposures_notice(folder: Path) -> None:
    """That are unpacked when they are first read, by each process for itself."""
    with fits.open("sci.fits") as hdus:
        fits.HDUList([hdus[0], fits.CompImageHDU(hdus[1].data, quantize_level=0)]).writeto("packed.fits.fz")
    exposure = pickle.loads(pickle.dumps(read_exposure("packed.fits.fz")))
    _replace("packed.fits.fz")
    with pytest.raises(InputError, match=r"packed\.fits\.fz: has changed since it was opened"):
        exposure.image_plane.read_all()


@pytest.mark.parametrize("name", [*NAMES, "kernel.fits"])
def test_the_api_notices(folder: Path, name: str) -> None:
    changed: list[bool] = []

    def told(stage: str, done: int, total: int) -> None:
        if stage == "qa" and not changed:
            changed.append(True)
            _replace(name)

    with pytest.raises(InputError, match=f"{name}: has changed"):
        decorrelate(*NAMES, "kernel.fits", progress=told)
