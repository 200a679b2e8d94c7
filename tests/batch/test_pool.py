"""Whatever happens to a worker, every exposure comes to an end, and all that can be done is done."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from diffim_decorr.batch import pool
from diffim_decorr.batch.pool import Limits, Pool
from diffim_decorr.batch.tasks import Task
from diffim_decorr.options import InputOptions, Options, OutputOptions
from support.files import make_inputs
from support.nights import paths_of
from support.project import ROOT

Spoilt = Callable[..., list[dict[str, Any]]]


def _tasks(count: int) -> list[Task]:
    inputs = InputOptions(kernel="kernel.fits")
    return [
        Task(k, "sci.fits", "tmpl.fits", "diff.fits", inputs, Options(), OutputOptions(output=f"out{k}.fits"))
        for k in range(1, count + 1)
    ]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    make_inputs(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def spoilt(folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> Spoilt:
    """Work on some exposures by workers to which something happens the first times."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT / "tests"))
    counter = tmp_path_factory.mktemp("counter") / "count"

    def run(what: str, times: int, *, count: int = 1, jobs: int = 1, **limits: Any) -> list[dict[str, Any]]:
        monkeypatch.setattr(pool, "_PROGRAM", ["-m", "support.faulty", what, str(counter), str(times)])
        with Pool(jobs, Limits(**{"wait": 0.0, **limits})) as workers:
            ended = list(workers.outcomes(_tasks(count)))
        assert not [name for name in paths_of(folder) if ".part" in name]
        for outcome in ended:
            assert (outcome["status"] == "done") == os.path.exists(outcome["output"])
        return sorted(ended, key=lambda outcome: outcome["number"])

    return run


def test_all_are_worked_on(folder: Path) -> None:
    with Pool(2, Limits()) as workers:
        ended = [*workers.outcomes(_tasks(5)[:2]), *workers.outcomes(_tasks(5)[2:])]
    assert sorted(outcome["number"] for outcome in ended) == [1, 2, 3, 4, 5]
    for outcome in ended:
        assert (outcome["status"], outcome["attempts"], outcome["verdict"]) == ("done", 1, "ok")
        assert 0 < outcome["seconds"] < 30
        assert 20 < outcome["memory"] < 800
    assert {f"out{k}.fits" for k in range(1, 6)} <= paths_of(folder)


@pytest.mark.parametrize(
    ("what", "says"),
    [
        ("SIGKILL", "SIGKILL (somebody killed it"),
        ("SIGBUS", "SIGBUS (a file got shorter"),
        ("exit", "ended with status 7"),
    ],
)
def test_a_worker_that_dies_is_replaced(spoilt: Spoilt, what: str, says: str) -> None:
    """Its exposure is tried once more, and the others are none the worse."""
    first, *others = spoilt(what, 1, count=3)
    assert [outcome["status"] for outcome in (first, *others)] == ["done"] * 3
    assert first["attempts"] == 2
    assert [outcome["attempts"] for outcome in others] == [1, 1]


@pytest.mark.parametrize(("what", "says"), [("SIGKILL", "SIGKILL (somebody"), ("exit", "status 7")])
def test_it_is_tried_once_more_only(spoilt: Spoilt, what: str, says: str) -> None:
    first, second = spoilt(what, 2, count=2)
    assert (first["status"], first["error"]["code"], first["attempts"]) == ("failed", "crash", 2)
    assert says in first["error"]["message"]
    assert second["status"] == "done"


@pytest.mark.parametrize(("times", "retries", "status"), [(2, 2, "done"), (3, 2, "failed"), (1, 0, "failed")])
def test_errors_that_may_pass(spoilt: Spoilt, times: int, retries: int, status: str) -> None:
    (outcome,) = spoilt("EIO", times, retries=retries)
    assert outcome["status"] == status
    assert outcome["attempts"] == min(times, retries) + 1
    if status == "failed":
        assert outcome["error"] == {"code": "io", "message": "somewhere: Input/output error", "passing": True}


def test_others_go_on_while_one_waits(spoilt: Spoilt) -> None:
    start = time.monotonic()
    first, *others = spoilt("EIO", 1, count=3, wait=2.0)
    assert first["attempts"] == 2
    assert [outcome["attempts"] for outcome in others] == [1, 1]
    assert time.monotonic() - start > 2


@pytest.mark.parametrize("what", ["sleep", "stuck"])
def test_a_limit_of_time(spoilt: Spoilt, what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "_GRACE", 1.0)
    first, second = spoilt(what, 1, count=2, seconds=4.0)
    assert (first["status"], first["error"]["code"], first["attempts"]) == ("failed", "time", 1)
    assert first["error"]["message"] == "it took longer than 4 s (--time-limit)"
    assert second["status"] == "done"


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="others do not count memory so")
def test_a_limit_of_memory(spoilt: Spoilt) -> None:
    first, second = spoilt("memory", 1, count=2, megabytes=500.0)
    assert (first["status"], first["error"]["code"]) == ("failed", "memory")
    assert "--memory-limit" in first["error"]["message"]
    assert second["status"] == "done"


def test_errors_of_the_program(spoilt: Spoilt) -> None:
    first, second = spoilt("error", 1, count=2)
    assert first["error"]["code"] == "internal"
    assert first["error"]["message"] == "ZeroDivisionError: division by zero"
    assert second["status"] == "done"


def test_what_is_printed_is_no_answer(spoilt: Spoilt) -> None:
    assert [outcome["status"] for outcome in spoilt("print", 2, count=2)] == ["done", "done"]


def test_processes_that_cannot_be_started(spoilt: Spoilt) -> None:
    with pytest.raises(RuntimeError, match=r"no process can be started: .* status 1: cannot even start"):
        spoilt("stillborn", 0)


def test_nobody_is_left_behind(spoilt: Spoilt, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When whoever takes the outcomes has enough of them."""
    started = []
    worker = pool._Worker

    def counted(*args: Any) -> Any:
        started.append(worker(*args))
        return started[-1]

    monkeypatch.setattr(pool, "_Worker", counted)
    with Pool(2, Limits()) as workers:
        next(workers.outcomes(_tasks(6)))
    assert len(started) == 2
    assert all(one.process.returncode is not None for one in started)
    assert not [name for name in paths_of(folder) if ".part" in name]
