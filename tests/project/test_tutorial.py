"""The tutorial word by word: each command prints what stands under it."""

from __future__ import annotations

import itertools
import re
from pathlib import Path

from support.project import ROOT, output_of

_PAGE = ROOT / "docs" / "start" / "tutorial.md"
_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", flags=re.MULTILINE | re.DOTALL)


def _but_for_seconds(text: str) -> str:
    return re.sub(r"^(seconds +)[\d.]+$", r"\1", text.strip(), flags=re.MULTILINE)


def test_commands_print_what_the_page_says(tmp_path: Path) -> None:
    blocks = _BLOCK.findall(_PAGE.read_text(encoding="utf-8"))
    steps = [(code, shown) for (kind, code), (_, shown) in itertools.pairwise(blocks) if kind == "sh"]
    assert len(steps) == 4
    folder = tmp_path
    for code, shown in steps:
        printed = output_of("bash", "-euc", code, cwd=folder)
        assert _but_for_seconds(printed) == _but_for_seconds(shown)
        folder = tmp_path / "night"
