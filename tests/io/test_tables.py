"""Tables of sources in files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from astropy.table import Table

from diffim_decorr import InputError, UsageError
from diffim_decorr.io.tables import read_table, write_table


@pytest.mark.parametrize("name", ["t.ecsv", "t.csv", "t.fits", "t.vot", "t.xml", "T.FITS"])
def test_what_is_written_is_read(tmp_path: Path, name: str) -> None:
    table = Table({"x": [1.5, np.nan], "n": [3, 4], "flags": ["SAT|CR", ""]})
    write_table(str(tmp_path / name), table, overwrite=False)
    found = read_table(str(tmp_path / name))
    assert found.colnames == table.colnames
    assert found["x"][0] == 1.5
    assert list(found["n"]) == [3, 4]
    assert found["flags"][0] == "SAT|CR"
    with pytest.raises(UsageError, match="exists already"):
        write_table(str(tmp_path / name), table, overwrite=False)
    write_table(str(tmp_path / name), table[:1], overwrite=True)
    assert len(read_table(str(tmp_path / name))) == 1


def test_what_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "bad.ecsv").write_text("x y\n1 2 3\n")
    (tmp_path / "bad.fits").write_bytes(b"no table")
    for name in ("bad.ecsv", "bad.fits"):
        with pytest.raises(InputError, match="cannot be read as a table"):
            read_table(str(tmp_path / name))
    with pytest.raises(InputError, match="no such file"):
        read_table(str(tmp_path / "none.fits"))
    with pytest.raises(UsageError, match="the ending says no form of a table"):
        read_table(str(tmp_path / "table.dat"))
