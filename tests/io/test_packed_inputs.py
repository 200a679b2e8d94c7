"""Compressed files take no more memory than there is, and no more than what is in them says."""

from __future__ import annotations

import gzip
import io
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from diffim_decorr import InputError, read_exposure
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
