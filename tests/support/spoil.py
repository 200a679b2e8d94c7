"""What can be wrong with a file."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits

from support.files import replace_card

__all__ = ("Args", "Spoil", "be_directory", "be_pipe", "card", "cut", "pixels", "table", "write")

#: Arguments of a command.
Args = tuple[str, ...]
#: Spoils something in a folder; the arguments of ``decorr run`` to try it with.
Spoil = Callable[[Path], Args]


def cut(count: int) -> Callable[[Path], None]:
    return lambda path: os.truncate(path, count)


def write(content: bytes) -> Callable[[Path], None]:
    return lambda path: (path.unlink(), path.write_bytes(content))[0]


def be_directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


def be_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def card(text: str, keyword: str) -> Callable[[Path], None]:
    """Replace the first card of a keyword by text."""
    return lambda path: replace_card(path, keyword, text)


def pixels(array: Any) -> Callable[[Path], None]:
    return lambda path: fits.writeto(path, np.asarray(array), overwrite=True)


def table(path: Path) -> None:
    fits.BinTableHDU.from_columns([fits.Column("A", "D", array=[1.0])]).writeto(path, overwrite=True)
