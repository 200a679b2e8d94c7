"""The page on noise that varies over the field."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from support.project import ROOT, load_script, output_of

pytestmark = pytest.mark.slow

SCRIPT = ROOT / "benchmarks" / "local_noise.py"


def test_the_page_is_written(tmp_path: Path) -> None:
    page = tmp_path / "docs" / "noise.md"
    output_of(sys.executable, SCRIPT, "--side", "210", "--seeds", "4", "--only", "white", "--output", page)
    rows = [row.split(" | ") for row in page.read_text(encoding="utf-8").splitlines() if row.startswith("| white")]
    assert [row[1] for row in rows[:3]] == ["white", "measured", "local"]
    assert rows[0][-1] == "1.000 |"
    assert float(rows[0][2]) < 0.03


def test_it_judges_by_other_noise() -> None:
    """What is made white looks so, and what is taken for white and is not does not."""
    script = load_script(SCRIPT)
    name = "science bilinear, turned by 0.2°, warp known"
    local, measured = (script.judged(name, model, 4, 320) for model in ("local", "measured"))
    assert np.median(local.rho) < 0.04
    assert np.median(measured.rho) > 0.15
    assert np.isnan(local.flux_error)
