"""The benchmarks run, write their page, and what decorr is compared to is what it claims to be. Nothing is timed."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from support.project import ROOT, output_of, run_script

RUN = ROOT / "benchmarks" / "run.py"


@pytest.fixture(scope="module")
def quick(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, dict[str, Any]]:
    """The page and the figures of a quick run."""
    folder = tmp_path_factory.mktemp("benchmarks")
    page, figures = folder / "docs" / "benchmarks.md", folder / "figures.json"
    command = folder / "decorr"
    command.write_text(f"#!{sys.executable}\nfrom diffim_decorr.cli import main\nmain()\n")
    command.chmod(0o755)
    options = ("--output", page, "--json", figures, "--work", folder, "--decorr", command)
    output_of(sys.executable, RUN, "--quick", *options)
    assert not list(folder.glob("decorr-bench-*")), "images are left behind"
    return page.read_text(encoding="utf-8"), json.loads(figures.read_text())


def test_the_page_has_its_tables(quick: tuple[str, dict[str, Any]]) -> None:
    page, figures = quick
    for title in ("# Benchmarks", "## Bars", "## Start-up", "## Whole runs", "## The engine", "## Where", "## Limits"):
        assert f"\n{title}" in f"\n{page}"
    for part in ("processor", "memory", "numpy", "diffim-decorr", "load average"):
        assert part in page
    for mode in ("Constant", "Spatial"):
        assert f"### {mode} ψ, 256²: stage by stage" in page
        assert f"### {mode} ψ, 256²: scaling" in page
    for suite in figures.values():
        for table in suite["tables"]:
            assert table["rows"]
            assert all(len(row) == len(table["headings"]) for row in table["rows"])


def test_rows_are_ratios_with_their_spread(quick: tuple[str, dict[str, Any]]) -> None:
    constant, spatial, scene = quick[1]["whole"]["tables"]
    assert [row[0] for row in constant["rows"]] == [row[0] for row in spatial["rows"]] == ["256²"]
    assert [row[0] for row in scene["rows"]] == ["constant", "spatial"]
    assert all("(" in row[3] and "–" in row[3] for table in (constant, spatial, scene) for row in table["rows"])


# Rms errors in units of the noise, against a brute-force filter at each pixel.
@pytest.mark.parametrize(
    ("method", "image", "variance"),
    [
        ("lsst-full", 1e-10, 1e-10),
        # The variance planes have a gradient, 6e-4 from pixel to pixel, and the squares' centroids lie off the centre.
        ("lsst-estimate", 1e-10, 1e-4),
        ("lsst-cells", 0.1, 0.05),
        ("lsst-cells-cropped", 0.1, 0.05),
        ("sfft-direct", 1e-3, None),
        ("sfft-transforms", 1e-3, None),
        ("decorr-constant-full-0", 1e-4, 1e-3),
        ("decorr-constant-full-1", 1e-4, 1e-3),
        ("decorr-constant-estimate-0", 1e-4, 1e-3),
        ("decorr-spatial-full-0", 1e-3, 1e-3),
        ("decorr-spatial-full-1", 1e-3, 1e-3),
    ],
)
def test_methods_agree_with_brute_force(
    quick: tuple[str, dict[str, Any]], method: str, image: float, variance: float | None
) -> None:
    figures = quick[1]["engine"]["figures"][method]
    assert figures["rms"] < image
    assert ("variance_rms" in figures) == (variance is not None)
    if variance is not None:
        assert figures["variance_rms"] < variance


def test_spatial_mode_is_more_accurate_than_cells(quick: tuple[str, dict[str, Any]]) -> None:
    figures = quick[1]["engine"]["figures"]
    assert figures["decorr-spatial-full-0"]["rms"] < 0.2 * figures["lsst-cells"]["rms"]


def test_wrong_options_are_refused(tmp_path: Path) -> None:
    for options, message in ((["--repeat", "0"], "at least 1"), (["--decorr", "/nowhere/decorr"], "no such command")):
        done = run_script(sys.executable, RUN, "--output", tmp_path / "page.md", *options)
        assert done.returncode != 0
        assert message in done.stderr
    assert not list(tmp_path.iterdir())
