"""What is printed for other programs does the same work there."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from support.command import decorr, succeed
from support.nights import content, make_night, paths_of, rows_of, write_csv
from support.project import run_script

FORMS = ("make", "sh", "slurm", "snakemake")
OUTPUTS = {"0/out.fits", "1/out $x.fits", "2/out.fits"}


@pytest.fixture
def night(tmp_path: Path) -> Path:
    """Three exposures, one of them with a name that needs care."""
    make_night(tmp_path, 3)
    rows = rows_of(range(3))
    rows[1]["output"] = "1/out $x.fits"
    os.rename(tmp_path / "1/sci.fits", tmp_path / "1/it's $a sci.fits")
    rows[1]["science"] = "1/it's $a sci.fits"
    write_csv(tmp_path / "night.csv", rows)
    return tmp_path


def _emit(night: Path, form: str) -> Path:
    done = succeed(night, "batch", "night.csv", "--spatial", "--emit", form)
    path = night / f"emitted.{form}"
    path.write_text(done.stdout)
    return path


def _run(night: Path, form: str, path: Path) -> subprocess.CompletedProcess[str]:
    if form == "make":
        return run_script("make", "-k", "-j", 2, "-f", path, cwd=night)
    if form == "sh":
        return run_script("sh", path, cwd=night, JOBS="2")
    if form == "slurm":
        return _array(night, path)
    snakemake = Path(sys.executable).with_name("snakemake")
    words = (snakemake, "-s", path, "--cores", 2, "--keep-going")
    return run_script(*words, cwd=night, HOME=str(night), XDG_CACHE_HOME=str(night / ".cache"))


def _array(night: Path, path: Path) -> subprocess.CompletedProcess[str]:
    """What sbatch does: a process for each number of the array."""
    numbers = re.search(r"^#SBATCH --array=1-(\d+)$", path.read_text(), re.MULTILINE)
    assert numbers is not None
    for number in range(1, int(numbers[1]) + 1):
        done = run_script("bash", path, cwd=night, SLURM_ARRAY_TASK_ID=str(number))
        if done.returncode:
            return done
    return done


@pytest.mark.parametrize("form", FORMS)
def test_every_form_does_the_work(night: Path, form: str) -> None:
    path = _emit(night, form)
    done = _run(night, form, path)
    assert done.returncode == 0, done.stderr
    assert {name for name in paths_of(night) if "out" in name and not name.startswith(".")} == OUTPUTS
    header, *pixels = content(night / "0/out.fits")
    assert header[0]["DCMODE"] == "spatial"
    assert content(night / "1/out $x.fits")[1:] == pixels
    # Once more there is nothing to do.
    times = {name: os.stat(night / name).st_mtime_ns for name in OUTPUTS}
    assert _run(night, form, path).returncode == 0
    assert {name: os.stat(night / name).st_mtime_ns for name in OUTPUTS} == times


@pytest.mark.parametrize("form", FORMS)
def test_one_that_fails_does_not_stop_the_others(night: Path, form: str) -> None:
    (night / "0/tmpl.fits").write_text("junk")
    path = _emit(night, form)
    done = _run(night, form, path)
    if form == "slurm":
        assert done.returncode == 5
        for number in (2, 3):
            assert run_script("bash", path, cwd=night, SLURM_ARRAY_TASK_ID=str(number)).returncode == 0
    else:
        assert done.returncode != 0
    assert "0/tmpl.fits: " in done.stderr + done.stdout
    assert {name for name in paths_of(night) if "out" in name and not name.startswith(".")} == OUTPUTS - {"0/out.fits"}


def test_the_array(night: Path) -> None:
    """As Slurm reads it; more exposures than an array has tasks share them."""
    path = _emit(night, "slurm")
    assert run_script("bash", "-n", path).returncode == 0
    lines = path.read_text().splitlines()
    assert lines[0] == "#!/bin/bash"
    options = [line for line in lines if line.startswith("#SBATCH ")]
    assert lines[1 : 1 + len(options)] == options
    assert {option.split("=")[0] for option in options} == {
        "#SBATCH --job-name", "#SBATCH --array", "#SBATCH --cpus-per-task", "#SBATCH --mem", "#SBATCH --output",
    }  # fmt: skip
    shutil.copy(night / "night.csv", night / "short.csv")
    write_csv(night / "night.csv", [row | {"output": f"o{k}.fits"} for k, row in enumerate(rows_of([0]) * 2345)])
    text = _emit(night, "slurm").read_text()
    assert "#SBATCH --array=1-1000\n" in text
    fake = night / "decorr"
    fake.write_text('#!/bin/sh\necho "$@" >> calls\n')
    fake.chmod(0o755)
    for number in (1, 345, 346, 1000):
        done = run_script("bash", night / "emitted.slurm", cwd=night, SLURM_ARRAY_TASK_ID=str(number),
                          PATH=f"{night}:{os.environ['PATH']}")  # fmt: skip
        assert done.returncode == 0
    made = re.findall(r"o(\d+)\.fits", (night / "calls").read_text())
    assert list(map(int, made)) == [0, 1000, 2000, 344, 1344, 2344, 345, 1345, 999, 1999]


def test_names_that_cannot_be_held(night: Path) -> None:
    for output, form, says in (
        ("a\nb.fits", "sh", "has a line break"),
        ("{a}.fits", "snakemake", "braces are wildcards"),
    ):
        write_csv(night / "night.csv", [rows_of([0])[0] | {"output": output}])
        done = decorr(night, "batch", "night.csv", "--emit", form)
        assert done.returncode == 2
        assert says in done.stderr
