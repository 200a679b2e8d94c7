"""The page on detection is written."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from support.project import ROOT, load_script, output_of

pytestmark = pytest.mark.slow

SCRIPT = ROOT / "benchmarks" / "detection.py"


def test_the_page_is_written(tmp_path: Path) -> None:
    detection = load_script(SCRIPT)
    page = tmp_path / "docs" / "detection.md"
    output_of(sys.executable, SCRIPT, "--quick", "--output", page)
    text = page.read_text(encoding="utf-8")
    for scene in detection.SCENES:
        assert f"### {scene[0].upper()}{scene[1:]}" in text
    for method in detection.METHODS:
        assert text.count(f"\n| {method} |") == len(detection.SCENES)
    assert max(map(len, (row for row in text.splitlines() if not row.startswith("|")))) <= 120
