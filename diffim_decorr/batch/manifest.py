"""Reading a manifest: a table with a row for each exposure, in whatever form tables come."""

from __future__ import annotations

import csv
import io
import json
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from diffim_decorr.errors import UsageError

__all__ = ("Row", "read_manifest")

_FITS = b"SIMPLE  ="
_ECSV = b"# %ECSV"


@dataclass(frozen=True)
class Row:
    """What is said of one exposure.

    Parameters
    ----------
    where
        The manifest and the row, for messages.
    cells
        By the names of their columns; those that are empty are not there.
    """

    where: str
    cells: Mapping[str, Any]


def read_manifest(path: str) -> list[Row]:
    """Read a manifest: CSV, ECSV, FITS or JSON lines, by what is in it.

    Parameters
    ----------
    path
        The file; ``-`` is standard input.

    Raises
    ------
    UsageError
        If it cannot be read, or is no such table.
    """
    content = _content(path)
    name = "standard input" if path == "-" else path
    if content.startswith(_FITS):
        cells = _table(name, io.BytesIO(content), "fits")
    elif content.startswith(_ECSV):
        cells = _table(name, _text(name, content), "ascii.ecsv")
    elif content.lstrip().startswith(b"{"):
        cells = _objects(name, _text(name, content))
    else:
        cells = _values(name, _text(name, content))
    rows = [Row(f"{name}, row {number}", own) for number, own in cells]
    if not rows:
        raise UsageError(f"{name}: there is no exposure in it")
    return rows


def _content(path: str) -> bytes:
    if path == "-":
        return sys.stdin.buffer.read()
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        raise UsageError(f"{path}: the manifest cannot be read: {error.strerror}") from error


def _text(name: str, content: bytes) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise UsageError(f"{name}: is no table: neither FITS nor text in UTF-8") from None


def _values(name: str, text: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """Values with commas; lines that begin with # are comments."""
    lines = (line for line in io.StringIO(text) if not line.startswith("#"))
    try:
        reader = csv.reader(lines, strict=True)
        header = [column.strip() for column in next(reader, [])]
        if len(set(header)) != len(header):
            twice = next(column for column in header if header.count(column) > 1)
            raise UsageError(f"{name}: there are two columns {twice!r}")
        number = 0
        for cells in reader:
            if not cells:
                continue
            number += 1
            if len(cells) != len(header):
                raise UsageError(f"{name}, row {number}: has {len(cells)} values for {len(header)} columns")
            stripped = (cell.strip() for cell in cells)
            yield number, {column: cell for column, cell in zip(header, stripped, strict=True) if cell}
    except csv.Error as error:
        raise UsageError(f"{name}: is no table of values with commas: {error}") from error


def _objects(name: str, text: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """JSON lines: an object in each."""
    lines = (line for line in text.split("\n") if line.strip())
    for number, line in enumerate(lines, 1):
        try:
            found = json.loads(line)
        except ValueError as error:
            raise UsageError(f"{name}, row {number}: is not JSON: {error}") from error
        if not isinstance(found, dict):
            raise UsageError(f"{name}, row {number}: is no JSON object")
        yield number, {column: cell for column, cell in found.items() if cell is not None}


def _table(name: str, file: Any, form: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """What astropy reads as a table."""
    from astropy.table import Table

    try:
        table = Table.read(file, format=form)
        rows = list(table.iterrows())
    except Exception as error:  # whatever a damaged table makes of it
        cause = " ".join(str(error).split()) or type(error).__name__
        raise UsageError(f"{name}: is no table that can be read: {cause}") from error
    for number, row in enumerate(rows, 1):
        plain = {column: _plain(cell) for column, cell in zip(table.colnames, row, strict=True)}
        yield number, {column: cell for column, cell in plain.items() if cell is not None and cell != ""}


def _plain(cell: Any) -> Any:
    """A cell without numpy; None if it is masked."""
    import numpy as np

    if cell is np.ma.masked:
        return None
    if isinstance(cell, bytes):
        return cell.decode("utf-8", "replace").strip()
    if isinstance(cell, str):
        return cell.strip()
    plain = cell.tolist() if hasattr(cell, "tolist") else cell
    return None if isinstance(plain, float) and plain != plain else plain
