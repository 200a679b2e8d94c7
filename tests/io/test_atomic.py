"""Files appear whole or not at all, whatever the file system can do."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from diffim_decorr import InputError, write_grid_kernel
from diffim_decorr.io.atomic import drafts, move, whole_file
from diffim_decorr.io.structure import BLOCK
from support.files import listing


def test_file_system_without_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_links(*_: Any) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(os, "link", no_links)
    source, target = tmp_path / "a", tmp_path / "b"
    source.write_text("new")
    move(str(source), str(target), overwrite=False)
    assert target.read_text() == "new"
    source.write_text("newer")
    with pytest.raises(InputError, match="exists already"):
        move(str(source), str(target), overwrite=False)
    assert target.read_text() == "new"


def test_files_that_appear_in_the_meantime(tmp_path: Path) -> None:
    """A companion that cannot be placed takes the others with it."""
    paths = [str(tmp_path / name) for name in ("a.fits", "b.fits", "c.fits")]
    with pytest.raises(InputError, match=r"a\.fits: the output exists already"), drafts(paths, overwrite=False):
        Path(paths[0]).write_text("someone else's")
    assert listing(tmp_path) == {"a.fits": b"someone else's"}


def test_messages_name_the_output(tmp_path: Path) -> None:
    """And not the file that is written beside it; which is gone."""
    path = str(tmp_path / "k.fits")
    with (
        pytest.raises(InputError, match=rf"^{re.escape(path)}: a cube of 2 kernels"),
        whole_file(path, False) as temporary,
    ):
        write_grid_kernel(temporary, np.ones((2, 3, 3)), [1.0], [1.0], overwrite=True)
    with pytest.raises(InputError, match="the output cannot be written"), whole_file(f"{path}/k.fits", False):
        pass
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("by", [-BLOCK, -3 * BLOCK, BLOCK, 4 * BLOCK])
@pytest.mark.parametrize("piece", [100, 1 << 24])
def test_what_is_written_can_be_moved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, by: int, piece: int) -> None:
    """However much is moved at a time: pieces overlap with where they go."""
    monkeypatch.setattr("diffim_decorr.io.atomic._PIECE", piece)
    content = np.random.default_rng(3).bytes(9 * BLOCK)
    with drafts([str(tmp_path / "a.fits")], overwrite=False) as unfinished:
        (draft,) = unfinished.values()
        draft.append(content)
        draft.shift(4 * BLOCK, by)
        assert draft.end == 9 * BLOCK + by
        assert draft.claim(1) == 9 * BLOCK + by
        draft.cut(9 * BLOCK + by)
    moved = (tmp_path / "a.fits").read_bytes()
    assert len(moved) == 9 * BLOCK + by
    kept = min(4 * BLOCK, 4 * BLOCK + by)
    assert moved[:kept] == content[:kept]
    assert moved[4 * BLOCK + by :] == content[4 * BLOCK :]
