"""The page on the calibration of figures and verdicts, and the images that it is made from."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from support.project import ROOT, load_script, output_of
from support.reference import convolved

pytestmark = pytest.mark.slow

SCRIPT = ROOT / "benchmarks" / "calibration.py"


def test_the_page_is_written(tmp_path: Path) -> None:
    page = tmp_path / "docs" / "calibration.md"
    output_of(sys.executable, SCRIPT, "--runs", "4", "--output", page)
    text = page.read_text(encoding="utf-8")
    for command in ("run", "qa"):
        assert f"| `decorr {command}` | 4 | 0 | 0 | none |" in text
    for name in ("snr_std", "max_abs_rho_after", "block_std.16", "spectrum_chi2", "tails.below_4", "peaks.above_4"):
        assert f"| `{name}` | 4 |" in text
    assert max(map(len, (row for row in text.splitlines() if not row.startswith("|")))) <= 120


@pytest.mark.parametrize("side", ["template", "science"])
def test_what_is_drawn_is_what_it_is_said_to_be(side: str) -> None:
    """The difference is the science image less the matched template, pixel by pixel, with the kernel that is given."""
    calibration = load_script(SCRIPT)
    run = calibration.Run(5, (120, 130), 1.2, 2.0, spatial=True, convolved=side, stars=False)
    (science, template, difference), kernel = calibration.pair(run)
    images = [exposure.image.astype(float) for exposure in (science, template)]
    for x, y in [(10, 60), (70, 60), (120, 30)]:
        local = kernel.at(x, y)
        if side == "template":
            expected = images[0] - convolved(images[1], local)
        else:
            expected = convolved(images[0], local) - images[1]
        assert difference.image[y, x] == pytest.approx(expected[y, x], abs=1e-5)
    assert not np.allclose(kernel.at(0, 0), kernel.at(129, 0))
