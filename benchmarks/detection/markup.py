"""Tables of Markdown, in which figures stay in one piece."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

__all__ = ("table",)


def table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Rows under headings."""
    lines = (headings, ["---"] * len(headings), *rows)
    return "".join(f"| {' | '.join(_unbroken(cell) for cell in cells)} |\n" for cells in lines)


def _unbroken(cell: str) -> str:
    """A cell with spaces at which no line ends next to signs and units."""
    return re.sub(r"(?<=[±<>]) | (?=[±σ])", "\N{NO-BREAK SPACE}", cell)
