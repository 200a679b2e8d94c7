"""The regression harness: what it records it finds again, what moves it reports, what it lacks it skips."""

from __future__ import annotations

import json
import sys
import tomllib

import pytest

from support.project import ROOT, load_script, run_script

RUN = ROOT / "regression" / "run.py"
CASES = """
[[case]]
name = "tiny"
simulate = "--size 96 --stars 0 --kernel-width 9 --kernel-sigma 1 --no-masks"
run = "{sim}/sci.fits {sim}/tmpl.fits {sim}/diff.fits --kernel {sim}/kernel.fits --psf {sim}/sci_psf.fits"

[[case]]
name = "elsewhere"
needs = ["{data}/nowhere.fits"]
run = "{data}/nowhere.fits {data}/nowhere.fits {data}/nowhere.fits --kernel {data}/nowhere.fits"

[[case]]
name = "impossible"
run = "nothing.fits nothing.fits nothing.fits --kernel nothing.fits"

[tolerances]
default = { abs = 1e-6, rel = 1e-6 }
"image.values" = { abs = 2e-3, rms = true }
mask = { abs = 0 }
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with cases and recorded figures of the tiny one."""
    path = tmp_path_factory.mktemp("regression")
    (path / "cases.toml").write_text(CASES)
    done = harness(path, "--record")
    assert done.returncode == 0, done.stdout + done.stderr
    return path


def harness(path, *arguments, only=("tiny", "elsewhere"), expected="expected.json"):
    line = [sys.executable, RUN, "--cases", path / "cases.toml", "--expected", path / expected, "--data", path]
    return run_script(*line, *arguments, "--only", *only)


@pytest.fixture(scope="module")
def harness_module():
    return load_script(RUN)


@pytest.fixture
def stored(folder):
    return json.loads((folder / "expected.json").read_text())["tiny"]


@pytest.fixture
def moved(harness_module, stored):
    """Names of the figures that moved, from the stored to other ones."""
    tolerances = tomllib.loads(CASES)["tolerances"]

    def names(found):
        return [row[0] for row in harness_module.compare(found, stored, tolerances)]

    return names


def plus(values, amount):
    return [None if v is None else v + amount for v in values]


@pytest.mark.slow
def test_recorded_figures_are_found_again(folder):
    done = harness(folder)
    assert done.returncode == 0
    assert "tiny: as recorded" in done.stdout
    assert "elsewhere: skipped, there is no " in done.stdout
    assert "1 cases compared, 1 skipped, 0 figures moved" in done.stdout


def test_figures_are_recorded_line_by_line(folder):
    text = (folder / "expected.json").read_text()
    stored = json.loads(text)
    assert list(stored) == ["tiny"]
    assert len(text.splitlines()) == len(stored["tiny"]) + 4
    assert stored["tiny"]["psf.sum"] == pytest.approx(1, abs=1e-5)


def test_drift_is_reported(folder, stored):
    stored["noise.svar"] *= 1.01
    stored["image.values"] = plus(stored["image.values"], 0.01)
    stored["psi.energy"][3] *= 0.9
    stored["mask.EDGE"] += 1
    (folder / "moved.json").write_text(json.dumps({"tiny": stored}))
    done = harness(folder, only=["tiny"], expected="moved.json")
    assert done.returncode == 1
    assert "4 figures moved" in done.stdout
    for figure in ("noise.svar", "image.values", "psi.energy", "mask.EDGE"):
        assert figure in done.stdout


def test_small_changes_are_no_drift(stored, moved):
    assert moved(stored) == []
    nudged = stored | {"noise.svar": stored["noise.svar"] * (1 + 1e-7)}
    assert moved(nudged | {"image.values": plus(stored["image.values"], 0.001)}) == []
    assert moved(nudged | {"image.values": plus(stored["image.values"], 0.01)}) == ["image.values"]


def test_new_and_missing_figures_are_drift(stored, moved):
    found = dict(stored)
    found["psf.total"] = found.pop("psf.sum")
    known = next(k for k, v in enumerate(stored["image.values"]) if v is not None)
    found["image.values"] = [None if k == known else v for k, v in enumerate(stored["image.values"])]
    found["qa.snr_std"] = None
    assert moved(found) == ["image.values", "psf.sum", "psf.total", "qa.snr_std"]


def test_a_case_that_was_never_recorded_is_drift(folder):
    done = harness(folder, only=["tiny"], expected="none.json")
    assert done.returncode == 1
    assert "record them first" in done.stdout


def test_a_run_that_fails_is_drift_and_is_not_recorded(folder):
    before = (folder / "expected.json").read_text()
    done = harness(folder, "--record", only=["impossible"])
    assert done.returncode == 1
    assert "impossible: failed, status 3: decorr: error: nothing.fits" in done.stdout
    assert (folder / "expected.json").read_text() == before


def test_unknown_cases_are_wrong_usage(folder):
    assert harness(folder, only=["unheard_of"]).returncode == 2
