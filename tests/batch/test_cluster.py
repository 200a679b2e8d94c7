"""Nights on a cluster of Dask: a scheduler and workers, each a process, on this machine."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest
from astropy.table import Table

from support.cluster import StartWorker, running_scheduler, wait_for
from support.command import COMMAND, ENVIRONMENT, decorr
from support.nights import content, make_night, outcomes_in, paths_of

pytestmark = pytest.mark.slow


def test_a_night_on_a_cluster(scheduler: Path, workers: StartWorker, tmp_path: Path) -> None:
    """One of three workers is killed in the middle, another comes: every exposure is done, as on one machine."""
    night = tmp_path / "night"
    make_night(night, 14)
    (night / "5/sci.fits").write_text("junk")
    before = paths_of(night)
    first, *_ = (workers(), workers(), workers())
    line = [*COMMAND, "batch", "night.csv", "--spatial", "--scheduler", str(scheduler)]
    with subprocess.Popen(
        line, cwd=night, env=ENVIRONMENT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    ) as process:
        results = night / "night.results.jsonl"
        wait_for(lambda: results.exists() and len(results.read_bytes().splitlines()) >= 2)
        os.kill(first.pid, signal.SIGKILL)
        workers()
        _, said = process.communicate(timeout=120)
    assert process.returncode == 5, said
    outputs = {f"{k}/out.fits" for k in range(14) if k != 5}
    wait_for(lambda: paths_of(night) - before == {"night.results.jsonl", "night.summary.ecsv"} | outputs, 20)
    table = Table.read(night / "night.summary.ecsv")
    status = list(table["status"])
    assert status.pop(5) == "failed"
    # What the killed worker had written and not told yet is found whole by the next.
    assert set(status) <= {"done", "skipped"}
    assert status.count("skipped") <= 1
    assert len(outcomes_in(results)) == 14

    # The same files as on one machine, with the same headers.
    kept = {name: content(night / name) for name in outputs}
    done = decorr(night, "batch", "night.csv", "--spatial", "--json")
    assert json.loads(done.stdout)["skipped"] == 13
    for name in outputs:
        (night / name).unlink()
    decorr(night, "batch", "night.csv", "--spatial", timeout=120)
    assert {name: content(night / name) for name in outputs} == kept


def test_limits_are_those_of_one_machine(scheduler: Path, workers: StartWorker, tmp_path: Path) -> None:
    night = tmp_path / "night"
    make_night(night, 2)
    workers()
    done = decorr(night, "batch", "night.csv", "--scheduler", scheduler, "--time-limit", "0.001", "-q")
    assert done.returncode == 5
    assert done.stderr.count("it took longer than 0.001 s (--time-limit)") == 2


def test_workers_without_decorr(scheduler: Path, workers: StartWorker, tmp_path: Path) -> None:
    """Of the same name, but without what it takes; nobody waits for them."""
    night = tmp_path / "night"
    make_night(night, 2)
    (tmp_path / "other" / "diffim_decorr").mkdir(parents=True)
    (tmp_path / "other" / "diffim_decorr" / "__init__.py").touch()
    workers(path=tmp_path / "other")
    done = decorr(night, "batch", "night.csv", "--scheduler", scheduler, "-q")
    assert done.returncode == 5
    assert done.stderr.count("a worker has no decorr ") == 2


@pytest.mark.parametrize(
    ("place", "says"),
    [
        ("nowhere.json", "--scheduler nowhere.json: is neither an address, as tcp://host:8786, nor a file"),
        ("tcp://127.0.0.1:9", "--scheduler tcp://127.0.0.1:9: cannot be reached: "),
        ("smoke://127.0.0.1:9", "--scheduler smoke://127.0.0.1:9: cannot be reached: "),
    ],
)
def test_schedulers_that_are_not_there(tmp_path: Path, place: str, says: str) -> None:
    make_night(tmp_path, 1)
    patience = {"DASK_DISTRIBUTED__COMM__TIMEOUTS__CONNECT": "1s"}
    done = decorr(tmp_path, "batch", "night.csv", "--scheduler", place, env=ENVIRONMENT | patience)
    assert done.returncode == 2
    assert says in done.stderr


def test_a_scheduler_that_goes(tmp_path: Path) -> None:
    """Is said; what was done is not lost."""
    make_night(tmp_path, 3)
    with running_scheduler(tmp_path / "s.json") as scheduler, subprocess.Popen(
        [*COMMAND, "batch", "night.csv", "--scheduler", "s.json", "--log", "log"], cwd=tmp_path, env=ENVIRONMENT,
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
    ) as process:  # fmt: skip
        log = tmp_path / "log"
        wait_for(lambda: log.exists() and "at a time on s.json" in log.read_text())
        time.sleep(1)
        scheduler.kill()
        _, said = process.communicate(timeout=120)
    assert process.returncode == 1
    assert b"the scheduler is gone; the same command goes on from here" in said
    shutil.rmtree(tmp_path)
