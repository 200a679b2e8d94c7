"""The benchmarks run, write their page, and what decorr is compared to is what it claims to be. Nothing is timed."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from support.data import JWST, needs_jwst
from support.project import ROOT, load_script, output_of, run_script

pytestmark = pytest.mark.slow

BENCHMARKS = ROOT / "benchmarks"
RUN = BENCHMARKS / "run.py"
needs_git = pytest.mark.skipif(
    not (ROOT / ".git").exists() or shutil.which("git") is None, reason="this is no checkout of git"
)


@pytest.fixture(scope="module")
def quick(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, dict[str, Any]]:
    """The page and the figures of a quick run."""
    folder = tmp_path_factory.mktemp("benchmarks")
    page, figures = folder / "docs" / "benchmarks.md", folder / "figures.json"
    command = folder / "decorr"
    command.write_text(f"#!{sys.executable}\nfrom diffim_decorr.cli import main\nmain()\n")
    command.chmod(0o755)
    options = ("--output", page, "--json", figures, "--work", folder, "--decorr", command, "--data", folder / "nowhere")
    output_of(sys.executable, RUN, "--quick", *options)
    assert not list(folder.glob("decorr-bench-*")), "images are left behind"
    return page.read_text(encoding="utf-8"), json.loads(figures.read_text())


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Scripts of the benchmarks as modules, by name."""
    monkeypatch.syspath_prepend(BENCHMARKS)

    def load(name: str) -> ModuleType:
        return load_script(BENCHMARKS / f"{name}.py")

    return load


def test_the_page_has_its_tables(quick: tuple[str, dict[str, Any]]) -> None:
    page, figures = quick
    suites = ("Bars", "Start-up", "Whole runs", "Real images and wide kernels", "The engine", "Where", "Limits")
    for title in ("# Benchmarks", *(f"## {suite}" for suite in suites)):
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
        ("decorr-spatial-estimate-0", 1e-3, 1e-3),
        ("delta-spatial-0", 0.02, None),
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


def test_threads_change_nothing_in_blocks(quick: tuple[str, dict[str, Any]]) -> None:
    one, more = (quick[1]["engine"]["figures"][f"delta-spatial-{threads}"] for threads in (1, 0))
    assert one["rms"] == more["rms"]
    assert one["max_abs_rho"] == more["max_abs_rho"]


def test_fluxes_are_kept_or_scaled(quick: tuple[str, dict[str, Any]]) -> None:
    figures = quick[1]["engine"]["figures"]
    for name, error in (("decorr-spatial-full-0", 1e-3), ("lsst-full", 1e-6), ("sfft-transforms", 1e-3)):
        assert figures[name]["flux_low"] == pytest.approx(1, abs=error)
        assert figures[name]["flux_high"] == pytest.approx(1, abs=error)
    # The noise's power at frequency 0 is (1 + 2 · 1.02²), and that of a pixel at least the science image's own, 1.
    assert 1 / 3.1**0.5 < figures["delta-spatial-0"]["flux_low"] < figures["delta-spatial-0"]["flux_high"] < 0.7


def test_every_method_leaves_white_noise(quick: tuple[str, dict[str, Any]]) -> None:
    # (320 - 80)² pixels, 60 lags: beyond 4.8/√N once in 10⁴.
    found = [own["max_abs_rho"] for name, own in quick[1]["engine"]["figures"].items() if "spatial" in name]
    assert len(found) == 6
    assert max(found) < 4.8 / 240


def test_times_are_of_walls_and_of_processors(quick: tuple[str, dict[str, Any]]) -> None:
    for own in quick[1]["engine"]["figures"].values():
        assert own["wall_ns"] == pytest.approx(own["seconds"] / 320**2 * 1e9)
        assert own["cpu_ns"] > 0
    speed, accuracy = quick[1]["engine"]["tables"]
    assert len(speed["rows"]) == len(quick[1]["engine"]["figures"])
    assert len(accuracy["rows"]) == sum(not name.endswith("-1") for name in quick[1]["engine"]["figures"])


def test_real_images_that_are_absent_are_named(quick: tuple[str, dict[str, Any]]) -> None:
    (table,) = quick[1]["real"]["tables"]
    assert [row[0] for row in table["rows"]] == ["white noise, 256², kernel of 21², order 2"]
    assert "(no jwst_a2744/hotpants_diff.fits)" in quick[1]["real"]["text"]


@needs_jwst
def test_real_images_are_measured() -> None:
    page = output_of(sys.executable, RUN, "--quick", "--only", "real", "--data", JWST.parent)
    (row,) = (line for line in page.splitlines() if line.startswith("| JWST"))
    *_, half_width, modes, error, warnings, _ = (cell.strip() for cell in row.split("|"))
    assert int(half_width) > 1
    assert int(modes) > 1
    assert float(error) < 1e-3
    # Of both images it is said that their noise varies over the field.
    assert warnings == "sci.fits; tmpl.fits"


@needs_git
def test_this_tree_agrees_with_the_last_commit(tmp_path: Path) -> None:
    figures = tmp_path / "figures.json"
    options = ("--json", figures, "--work", tmp_path, "--data", tmp_path / "nowhere")
    page = output_of(sys.executable, RUN, "--quick", "--against", "HEAD", *options)
    assert "\n## Against HEAD\n" in page
    pairs = json.loads(figures.read_text())["against"]["figures"]
    assert [name.partition(",")[0] for name in pairs] == ["engine"] * 2 + ["whole run"] * 2 + ["white noise"]
    for pair in pairs.values():
        assert pair["faster"] > 0
        assert pair["less_cpu"] > 0
        # What differs since the last commit is within both trees' tolerance of 1e-3 rms.
        assert pair["image"] < 0.02
        assert pair["variance"] < 0.02
    assert list(tmp_path.iterdir()) == [figures]


@needs_git
def test_unknown_commits_are_refused(tmp_path: Path) -> None:
    done = run_script(sys.executable, RUN, "--against", "no-such-commit", "--work", tmp_path)
    assert done.returncode == 2
    assert "--against no-such-commit: no such commit" in done.stderr
    assert not list(tmp_path.iterdir())


def test_pairs_take_all_from_the_tree_they_are_given(tmp_path: Path) -> None:
    tree, arrays, saved = tmp_path / "tree", tmp_path / "arrays", tmp_path / "saved.npz"
    (tree / "benchmarks").mkdir(parents=True)
    (tree / "diffim_decorr").mkdir()
    (tree / "diffim_decorr" / "__init__.py").write_text("FACTOR = 3\n")
    (tree / "benchmarks" / "data.py").write_text(
        "SVAR, TVAR = 2.0, 4.0\n"
        "class Kernel:\n"
        "    load = staticmethod(lambda path: 5.0)\n"
        "def shade(width):\n"
        "    return [1.0] * width\n"
    )
    (tree / "benchmarks" / "method.py").write_text(
        "from diffim_decorr import FACTOR\n"
        "def engine(name):\n"
        "    return lambda s, t, d, variances, kernel: (FACTOR * (s + t + kernel * d), sum(variances))\n"
    )
    arrays.mkdir()
    for value, name in enumerate(("science", "template", "difference")):
        np.save(arrays / f"{name}.npy", np.full((8, 8), value, np.float32))
    said = output_of(sys.executable, BENCHMARKS / "pair.py", tree, "any", arrays, "--save", saved)
    assert set(json.loads(said)) == {"seconds", "cpu"}
    with np.load(saved) as result:
        assert (result["image"] == 3 * (0 + 1 + 5 * 2)).all()
        assert (result["variance"] == 6).all()


def test_agreement_is_in_units_of_the_noise(script: Any) -> None:
    image, variance, mask = np.zeros((4, 4), "f4"), np.full((4, 4), 4.0, "f4"), np.zeros((4, 4), "i4")
    earlier = {"image": image.copy(), "variance": variance.copy(), "mask": mask.copy()}
    image[0, 0], variance[1, 1], mask[2, 2], image[3, 3] = 1, 4.4, 1, np.nan
    found = script("against").agreement(earlier, {"image": image, "variance": variance, "mask": mask})
    assert (found.image, found.pixels) == (0.5, 2)
    assert found.variance == pytest.approx(0.1)


def test_what_takes_too_long_is_ended_and_run_once(script: Any, tmp_path: Path) -> None:
    measure = script("measure")
    code = f"import time; open({str(tmp_path / 'runs')!r}, 'a').write('.'); time.sleep(600)"
    samples = measure.interleaved({"long": [sys.executable, "-c", code]}, 3, settle=False, limit=2)["long"]
    assert [sample.stopped for sample in samples] == [True] * 3
    assert samples[0].wall >= 2
    assert (tmp_path / "runs").read_text() == "."
    assert script("real").lower_limit(samples, measure.spread([2.0]), ".1f").startswith("> 2.0")


def test_what_is_measured_in_part_is_printed(tmp_path: Path) -> None:
    page = ROOT / "docs" / "benchmarks.md"
    before = page.stat().st_mtime_ns
    assert "\n## Start-up\n" in output_of(sys.executable, RUN, "--quick", "--only", "startup", "--work", tmp_path)
    assert page.stat().st_mtime_ns == before


def test_wrong_options_are_refused(tmp_path: Path) -> None:
    wrong = (["--repeat", "0"], "at least 1"), (["--decorr", "/nowhere/decorr"], "no such command")
    for options, message in (*wrong, (["--only", "against"], "needs --against REV")):
        done = run_script(sys.executable, RUN, "--output", tmp_path / "page.md", *options)
        assert done.returncode != 0
        assert message in done.stderr
    assert not list(tmp_path.iterdir())
