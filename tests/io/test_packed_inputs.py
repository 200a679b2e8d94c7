"""Compressed files take no more memory than there is, and no more than what is in them says."""

from __future__ import annotations

import gzip
import io
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits

from diffim_decorr import InputError, read_exposure, read_psf
from diffim_decorr.geometry import Box
from diffim_decorr.io import hdus
from diffim_decorr.io.structure import BLOCK, unpack_hdus
from support.files import gzipped, make_inputs


def test_what_there_is_no_memory_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Is refused by what its header says, before it is unpacked: here there is nothing else."""
    header = fits.PrimaryHDU(np.zeros((2, 2), "f4")).header
    header.update({"NAXIS1": 30_000, "NAXIS2": 25_000})
    path = tmp_path / "huge.fits.gz"
    path.write_bytes(gzip.compress(header.tostring().encode()))
    monkeypatch.setattr(hdus, "available", lambda: 3000.0)
    with pytest.raises(InputError, match=r"huge\.fits\.gz: takes 3 GB of memory .* and 1 GB can be had: uncompress it"):
        read_exposure(path)
    monkeypatch.setattr(hdus, "available", lambda: None)
    with pytest.raises(InputError, match="truncated"):
        read_exposure(path)


def test_what_comes_after_the_last_hdu_is_not_unpacked(tmp_path: Path) -> None:
    make_inputs(tmp_path)
    content = (tmp_path / "sci.fits").read_bytes()
    packed = io.BytesIO(content + bytes(50 * BLOCK))
    assert unpack_hdus("sci.fits.gz", packed, np.inf).read() == content
    assert packed.tell() == len(content) + BLOCK
    (tmp_path / "long.fits").write_bytes(packed.getvalue())
    long = read_exposure(gzipped(tmp_path / "long.fits"))
    np.testing.assert_array_equal(long.image, read_exposure(tmp_path / "sci.fits").image)


SHAPE = (1000, 1200)
PIXELS = 4 * 1000 * 1200


def _tiled(path: Path, image: Any, **how: Any) -> Path:
    """A tile-compressed image in a file."""
    how = {"compression_type": "GZIP_2", "quantize_level": 0, **how}
    fits.HDUList([fits.PrimaryHDU(), fits.CompImageHDU(image, **how)]).writeto(path)
    return path


def _noise(kind: str) -> Any:
    return np.random.default_rng(1).normal(0, 100, SHAPE).astype(kind)


def test_a_small_file_that_claims_a_large_image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A header may ask for any memory: nothing is taken unless it is there."""
    path = _tiled(tmp_path / "huge.fits.fz", np.zeros((10, 10), "f4"), tile_shape=(10, 10))
    content = path.read_bytes()
    for card in ("ZNAXIS1", "ZNAXIS2", "ZTILE1", "ZTILE2"):
        old = f"{card:<8}=                   10".encode()
        assert old in content
        content = content.replace(old, f"{card:<8}=              4000000".encode())
    path.write_bytes(content)
    monkeypatch.setattr(hdus, "available", lambda: 3000.0)
    says = r"huge\.fits\.fz.*: takes 3.84e\+05 GB of memory when it is unpacked, and 3 GB can be had: uncompress it"
    for read in (read_exposure, read_psf):
        with pytest.raises(InputError, match=says):
            read(str(path))


@pytest.mark.parametrize("name", ["the image", "one tile"])
def test_good_compression_is_no_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """What fits is read, however small the file is; of an image in one tile that takes more."""
    whole = name == "one tile"
    path = _tiled(tmp_path / "sci.fits.fz", np.ones(SHAPE, "f4"), **({"tile_shape": SHAPE} if whole else {}))
    assert path.stat().st_size < PIXELS / 50
    takes = (6 if whole else 1) * PIXELS
    monkeypatch.setattr(hdus, "available", lambda: 1.05 * 1e-6 * takes)
    assert (read_exposure(path).image == 1).all()
    monkeypatch.setattr(hdus, "available", lambda: 0.95 * 1e-6 * takes)
    with pytest.raises(InputError, match=r"sci\.fits\.fz.*: takes .* GB of memory when it is unpacked"):
        read_exposure(path)


def test_there_may_be_less_once_it_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """For other images have been unpacked."""
    path = _tiled(tmp_path / "sci.fits.fz", _noise("f4"))
    says = r"sci\.fits\.fz.*: takes .* and 0.001 GB can be had"
    with hdus.open_fits(path) as opened:
        plane = hdus.image_plane(str(path), opened, opened[1])
        monkeypatch.setattr(hdus, "available", lambda: 1.0)
        with pytest.raises(InputError, match=says):
            hdus.image_plane(str(path), opened, opened[1])
    with pytest.raises(InputError, match=says):
        plane.read_all()


@pytest.mark.parametrize(
    ("kind", "how"),
    [
        ("f4", {}),
        ("f4", {"tile_shape": SHAPE}),
        ("f8", {"tile_shape": (100, 1200)}),
        ("i2", {"compression_type": "RICE_1"}),
        ("f4", {"compression_type": "RICE_1", "quantize_level": 16}),
    ],
)
def test_it_takes_no_more_than_is_said(tmp_path: Path, kind: str, how: dict[str, Any]) -> None:
    path = _tiled(tmp_path / "sci.fits.fz", _noise(kind), **how)
    with hdus.open_fits(path) as opened:
        plane = hdus.image_plane(str(path), opened, opened[1])
        said = hdus._unpacked_bytes(opened[1], "sci.fits.fz")
    tracemalloc.start()
    try:
        plane.read(Box(0, 0, 1, 1))
        taken = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    # Besides there are headers, tables and modules, whatever the size of the image.
    assert 0.7 * said < taken < said + 2e6
