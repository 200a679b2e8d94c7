"""The page on detection is written."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from support.project import ROOT, load_script, output_of

pytestmark = pytest.mark.slow

SCRIPT = ROOT / "benchmarks" / "detection" / "run.py"


def test_the_page_is_written(tmp_path: Path) -> None:
    detection = load_script(SCRIPT)
    page = tmp_path / "docs" / "detection.md"
    output_of(sys.executable, SCRIPT, "--quick", "--output", page)
    text = page.read_text(encoding="utf-8")
    for scene in detection.SCENES:
        assert f"### {scene[0].upper()}{scene[1:]}" in text
    for method in detection.METHODS:
        assert text.count(f"\n| {method} |") == len(detection.SCENES)
    for where in ("within 10 pixels of a step", "farther away"):
        assert re.search(rf"^\| {where}, all \| \d+ \| ", text, flags=re.MULTILINE)
    assert max(map(len, (row for row in text.splitlines() if not row.startswith("|")))) <= 120


def test_fluxes_at_steps() -> None:
    """Where they are and how strong, and that the pulls are of the order that they should be; the page has more."""
    found = load_script(SCRIPT.parent / "steps.py").pulls(1, 600)
    near = found.distance <= 10
    assert near.sum() == (~near).sum()
    assert found.distance[near].min() == 0.5
    assert found.distance[~near].min() > 30
    assert 500 < found.strength.max() < 1500
    assert (found.strength == 0).sum() > 15
    # 80 sources: four times the errors.
    assert abs(found.pull.mean()) < 4 * len(found.pull) ** -0.5
    assert abs(found.pull.std() - 1) < 4 * (2 * len(found.pull)) ** -0.5
