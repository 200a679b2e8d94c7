"""Nights of small exposures, and what is compared of their outputs."""

from __future__ import annotations

import csv
import json
import os
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from astropy.io import fits

from support.files import make_inputs

__all__ = ("content", "make_night", "outcomes_in", "paths_of", "rows_of", "write_csv")

COLUMNS = ("science", "template", "difference", "kernel", "output")


def make_night(folder: Path, count: int) -> list[dict[str, str]]:
    """So many exposures, each in a folder of its own, and the rows of a manifest of them, ``night.csv``."""
    (folder / "0").mkdir(parents=True)
    make_inputs(folder / "0")
    for k in range(1, count):
        shutil.copytree(folder / "0", folder / str(k))
    rows = rows_of(range(count))
    write_csv(folder / "night.csv", rows)
    return rows


def rows_of(numbers: Iterable[int]) -> list[dict[str, str]]:
    names = {"science": "sci", "template": "tmpl", "difference": "diff", "kernel": "kernel", "output": "out"}
    return [{column: f"{k}/{name}.fits" for column, name in names.items()} for k in numbers]


def write_csv(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def outcomes_in(path: Path) -> dict[str, dict[str, Any]]:
    """The last line on each output, by its name."""
    return {line["output"]: line for line in map(json.loads, path.read_text().splitlines())}


def content(path: Path) -> list[tuple[dict[str, Any], bytes]]:
    """All that is in a file but when it was made."""
    dated = ("DCDATE", "CHECKSUM", "DATASUM")
    with fits.open(path) as hdus:
        return [
            (
                {key: value for key, value in hdu.header.items() if key not in dated},
                b"" if hdu.data is None else hdu.data.tobytes(),
            )
            for hdu in hdus
        ]


def paths_of(folder: Path) -> set[str]:
    """All files in a folder."""
    return {os.path.relpath(os.path.join(root, name), folder) for root, _, names in os.walk(folder) for name in names}
