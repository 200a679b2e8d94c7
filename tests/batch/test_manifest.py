"""Manifests of every form say the same; what is none is refused."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from astropy.table import MaskedColumn, Table

from diffim_decorr import UsageError
from diffim_decorr.batch.manifest import read_manifest

ROWS: list[dict[str, Any]] = [
    {"science": "a.fits", "difference": "d 1.fits", "svar": 2.5, "spatial": True, "half_width": 9},
    {"science": "b.fits", "difference": "d,2.fits", "spatial": False},
]


def _csv(path: Path) -> None:
    path.write_text(
        "\ufeff# a night\nscience, difference,svar,spatial,half_width\n"
        'a.fits,d 1.fits,2.5,true,9\n\n# nothing\nb.fits,"d,2.fits",,false,\n'
    )


def _lines(path: Path) -> None:
    path.write_text("\n".join(json.dumps(row | {"psf": None}) for row in ROWS) + "\n\n")


def _table(form: str, path: Path) -> None:
    columns = {name: [row.get(name) for row in ROWS] for name in ROWS[0]}
    table = Table()
    for name, values in columns.items():
        mask = [value is None for value in values]
        filled = [value if value is not None else type(values[0])() for value in values]
        table[name] = MaskedColumn(filled, mask=mask) if any(mask) else filled
    table.write(path, format=form)


WRITERS = {
    "csv": _csv,
    "jsonl": _lines,
    "ecsv": lambda path: _table("ascii.ecsv", path),
    "fits": lambda path: _table("fits", path),
}


@pytest.mark.parametrize("form", WRITERS)
def test_every_form_says_the_same(tmp_path: Path, form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "night"  # the content tells which form it is
    WRITERS[form](path)
    for name in (str(path), "-"):
        monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(path.read_bytes())))
        rows = read_manifest(name)
        cells = [dict(row.cells) for row in rows]
        if form == "csv":
            assert cells[0] == {
                key: str(value).lower() if value is True else str(value) for key, value in ROWS[0].items()
            }
            assert cells[1] == {"science": "b.fits", "difference": "d,2.fits", "spatial": "false"}
        else:
            assert cells == ROWS
        assert rows[1].where == ("standard input, row 2" if name == "-" else f"{path}, row 2")
        assert not any(isinstance(value, np.generic) for row in cells for value in row.values())


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "no exposure"),
        (b"science,template\n", "no exposure"),
        (b"science,science\na,b\n", "two columns 'science'"),
        (b"science,template\na,b,c\n", "row 1: has 3 values for 2 columns"),
        (b'science\n"a\n', "no table of values"),
        (b'{"science": 1}\n[1]\n', "row 2: is no JSON object"),
        (b'{"science": }\n', "row 1: is not JSON"),
        (b"\xff\xfe\x00", "neither FITS nor text"),
        (b"# %ECSV 1.0\n# ---\nnonsense", "no table that can be read"),
        (b"SIMPLE  = nothing", "no table that can be read"),
    ],
)
def test_what_is_no_manifest(tmp_path: Path, content: bytes, says: str) -> None:
    path = tmp_path / "night.csv"
    path.write_bytes(content)
    with pytest.raises(UsageError, match=says) as caught:
        read_manifest(str(path))
    assert str(path) in str(caught.value)


def test_a_manifest_that_is_not_there(tmp_path: Path) -> None:
    for path in (tmp_path / "night.csv", tmp_path):
        with pytest.raises(UsageError, match=f"{path}: the manifest cannot be read"):
            read_manifest(str(path))
