"""``decorr batch``: nights of exposures."""

from __future__ import annotations

import json
import os
import pty
import random
import re
import shlex
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table

from diffim_decorr.options import InputOptions, Options, OutputOptions
from diffim_decorr.run import decorrelate_files
from support.command import COMMAND, ENVIRONMENT, decorr, refused, succeed
from support.nights import content, make_night, outcomes_in, paths_of, rows_of, write_csv

TOLD = {"night.results.jsonl", "night.summary.ecsv"}


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five exposures, of which the second has no template, and the fourth a difference that is none."""
    folder = tmp_path_factory.mktemp("template")
    make_night(folder, 5)
    (folder / "1/tmpl.fits").unlink()
    (folder / "3/diff.fits").write_text("no image")
    return folder


@pytest.fixture
def night(template: Path, tmp_path: Path) -> Path:
    shutil.copytree(template, tmp_path, dirs_exist_ok=True)
    return tmp_path


def _batch(folder: Path, *args: object, status: int = 0, **keywords: Any) -> subprocess.CompletedProcess[str]:
    done = decorr(folder, "batch", *args, **keywords)
    assert done.returncode == status, done.stderr
    return done


def _mended(night: Path) -> None:
    for name in ("1/tmpl.fits", "3/diff.fits"):
        shutil.copy(night / "0" / Path(name).name, night / name)


def test_a_night(night: Path) -> None:
    before = paths_of(night)
    done = _batch(night, "night.csv", status=5)
    assert paths_of(night) - before == TOLD | {f"{k}/out.fits" for k in (0, 2, 4)}
    assert done.stdout.splitlines()[:2] == ["exposures             5", "done, skipped, failed 3, 0, 2"]
    lines = done.stderr.splitlines()
    assert lines[-1] == "decorr: 2 of 5 exposures failed"
    assert {line.split(": ")[2] for line in lines[-3:-1]} == {"1/tmpl.fits", "3/diff.fits"} or all(
        line.startswith("decorr: failed: ") for line in lines[-3:-1]
    )
    assert sum(bool(re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ \[\d/5\] \d/out.fits: ", line)) for line in lines) == 5

    told = outcomes_in(night / "night.results.jsonl")
    assert len(told) == 5
    assert told["1/out.fits"]["error"]["code"] == "input"
    assert "1/tmpl.fits: no such file" in told["1/out.fits"]["error"]["message"]
    assert told["0/out.fits"]["run"]["qa"]["snr_std"] == pytest.approx(told["0/out.fits"]["figures"]["snr_std"])

    table = Table.read(night / "night.summary.ecsv")
    assert list(table["status"]) == ["done", "failed", "done", "failed", "done"]
    assert list(table["verdict"]) == ["ok", "error", "ok", "error", "ok"]
    assert table["snr_std"][0] == pytest.approx(told["0/out.fits"]["figures"]["snr_std"])
    assert table["seconds_filter"][0] > 0


def test_the_outputs_are_those_of_single_runs(night: Path) -> None:
    _batch(night, "night.csv", "--spatial", status=5)
    os.rename(night / "2/out.fits", night / "2/batch.fits")
    told = outcomes_in(night / "night.results.jsonl")
    command = shlex.split(content(night / "2/batch.fits")[0][0]["DCCMD"])
    assert command[:2] == ["decorr", "run"]
    succeed(night, *command[1:])
    assert content(night / "2/out.fits") == content(night / "2/batch.fits")
    assert told["2/out.fits"]["run"]["options"]["spatial"] is True


def test_started_again(night: Path) -> None:
    """What is whole stays, what failed or has changed is done."""
    _batch(night, "night.csv", status=5)
    _mended(night)
    os.utime(night / "2/sci.fits")
    times = {k: os.stat(night / f"{k}/out.fits").st_mtime_ns for k in (0, 2, 4)}
    before = outcomes_in(night / "night.results.jsonl")
    done = _batch(night, "night.csv", "--json")
    told = json.loads(done.stdout)
    assert (told["done"], told["skipped"], told["failed"]) == (3, 2, 0)
    for k, time_ in times.items():
        assert (os.stat(night / f"{k}/out.fits").st_mtime_ns == time_) == (k != 2)
    # What was known of those that are skipped is still known.
    after = outcomes_in(night / "night.results.jsonl")
    assert after["0/out.fits"] == before["0/out.fits"]
    table = Table.read(night / "night.summary.ecsv")
    assert list(table["status"]) == ["done"] * 5
    done = _batch(night, "night.csv", "--svar", 4, "--json")
    assert json.loads(done.stdout)["done"] == 5
    # The results can be lost.
    (night / "night.results.jsonl").unlink()
    done = _batch(night, "night.csv", "--svar", 4, "--json")
    assert json.loads(done.stdout)["skipped"] == 5
    again = Table.read(night / "night.summary.ecsv")
    assert list(again["status"]) == ["skipped"] * 5
    assert again["snr_std"][0] > 0


def test_what_is_done_all_the_same_or_not_at_all(night: Path) -> None:
    _batch(night, "night.csv", status=5)
    # Only what failed.
    done = _batch(night, "night.csv", "--retry-failed", "--json", status=5)
    assert json.loads(done.stdout)["total"] == 2
    assert len(Table.read(night / "night.summary.ecsv")) == 5
    _mended(night)
    done = _batch(night, "night.csv", "--retry-failed", "--json")
    assert json.loads(done.stdout)["done"] == 2
    done = _batch(night, "night.csv", "--retry-failed", "--json")
    assert json.loads(done.stdout)["total"] == 0
    # All, or nothing whatever has changed.
    done = _batch(night, "night.csv", "--clobber", "--json")
    assert json.loads(done.stdout)["done"] == 5
    done = _batch(night, "night.csv", "--skip-existing", "--spatial", "--json")
    assert json.loads(done.stdout)["skipped"] == 5


def test_marks(night: Path) -> None:
    _mended(night)
    done = _batch(night, "night.csv", "--fail-if", "snr_std>0.5", "--fail-if", "flagged>1", status=4)
    assert done.stderr.count("decorr: marked: ") == 5
    assert "5 of 5 exposures are marked by --fail-if" in done.stderr
    assert {f"{k}/out.fits" for k in range(5)} <= paths_of(night)
    table = Table.read(night / "night.summary.ecsv")
    assert all(gate.startswith("snr_std ") for gate in table["gates"])
    _batch(night, "night.csv", "--fail-if", "snr_std>2")
    assert not any(Table.read(night / "night.summary.ecsv")["gates"].filled(""))


def test_report(night: Path) -> None:
    _batch(night, "night.csv", status=5)
    succeed(night, "report", "night.summary.ecsv", "-o", "index.html")
    page = (night / "index.html").read_text()
    for text in ("0/out.fits", "3/out.fits", "no such file", "snr_std", "memory"):
        assert text in page
    assert ">--<" not in page  # what has no reasons


def test_patterns(night: Path) -> None:
    _mended(night)
    args = (
        "--glob",
        "{k}/diff.fits",
        "--science",
        "{dir}/sci.fits",
        "--template",
        "{k}/tmpl.fits",
        "-k",
        "{dir}/kernel.fits",
    )
    told = json.loads(_batch(night, *args, "-o", "{dir}/{stem}_{k}.fits", "--json").stdout)
    assert (told["done"], told["results"]) == (5, "decorr-batch.results.jsonl")
    assert "3/diff_3.fits" in paths_of(night)
    told = json.loads(_batch(night, *args, "--glob", "*/diff*.fits", "--template", "{dir}/tmpl.fits", "--json", "-o",
                             "{dir}/{stem}_0.fits", "--json", status=5).stdout)  # fmt: skip
    assert told["failed"] > 0  # outputs of the batch before match, and are told


def test_standard_input_and_config(night: Path) -> None:
    (night / "config.toml").write_text('spatial = true\njobs = 1\nresults = "r.jsonl"\n')
    lines = "\n".join(json.dumps(row) for row in rows_of([0, 2]))
    done = decorr(night, "batch", "-", "--config", "config.toml", "-q", stdin=None, input=lines)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert outcomes_in(night / "r.jsonl")["2/out.fits"]["run"]["mode"] == "spatial"


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no such device")
def test_nobody_who_could_be_told(night: Path) -> None:
    """The work is done all the same."""
    with open("/dev/full", "w") as full:
        line = [*COMMAND, "batch", "night.csv"]
        done = subprocess.run(line, cwd=night, env=ENVIRONMENT, stdout=full, stderr=full, check=False)
    assert done.returncode == 5
    assert {f"{k}/out.fits" for k in (0, 2, 4)} <= paths_of(night)
    assert len(outcomes_in(night / "night.results.jsonl")) == 5


def test_log(night: Path) -> None:
    _batch(night, "night.csv", "--log", "night.log", "-q", status=5)
    log = (night / "night.log").read_text()
    assert log.count("out.fits: ") == 5
    assert "1/out.fits: failed: " in log
    _batch(night, "night.csv", "--log", "night.log", "-q", status=5)
    assert (night / "night.log").read_text().startswith(log)


def test_a_live_line_on_a_terminal(night: Path) -> None:
    leader, follower = pty.openpty()
    process = subprocess.Popen(
        [*COMMAND, "batch", "night.csv"], cwd=night, env=ENVIRONMENT | {"TERM": "xterm"}, stdout=subprocess.DEVNULL,
        stderr=follower, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    os.close(follower)
    said = b""
    while True:
        try:
            piece = os.read(leader, 65536)
        except OSError:  # the other end is closed
            break
        if not piece:
            break
        said += piece
    os.close(leader)
    assert process.wait() == 5
    text = said.decode()
    assert "5/5" in text
    assert "2 failed" in text
    assert "a second" in text
    assert "no such file" in text


@pytest.mark.parametrize(
    ("args", "says"),
    [
        ((), "either a MANIFEST or --glob"),
        (("night.csv", "--glob", "*", "--science", "s", "--template", "t"), "either a MANIFEST or --glob"),
        (("none.csv",), "none.csv: the manifest cannot be read"),
        (("--glob", "*.fits"), "--glob needs --science and --template"),
        (("night.csv", "--fail-if", "snr>1"), "there is no figure 'snr'"),
        (("night.csv", "--fail-if", "block_std>1"), "several values"),
        (("night.csv", "--summary", "0/sci.fits"), "used for something else"),
        (("night.csv", "--summary", "0/psf.fits"), "0/psf.fits: is no table of a batch"),
        (("night.csv", "--results", "night.csv"), "used for something else"),
        (("night.csv", "--results", "nowhere/r.jsonl"), "nowhere/r.jsonl: the results cannot be written"),
        (("night.csv", "--jobs", "0"), "jobs"),
        (("night.csv", "--log", "nowhere/log"), "nowhere/log: the log cannot be written"),
        (("night.csv", "-k", "{x}.fits", "--psf", "{x}.fits"), "there is nothing for {x}"),
    ],
)
def test_usage(night: Path, args: tuple[str, ...], says: str) -> None:
    done = decorr(night, "batch", *args)
    assert done.returncode == 2, done.stderr
    assert says in done.stderr
    assert not [name for name in paths_of(night) if "out.fits" in name]


def test_results_that_are_none(night: Path) -> None:
    (night / "r.jsonl").write_text('{"a": 1}\n')
    refused(night, "is no line of decorr batch", "batch", "night.csv", "--results", "r.jsonl", status=2)


# Interrupted


def _start(folder: Path, *args: object) -> subprocess.Popen[bytes]:
    line = [*COMMAND, "batch", *map(str, args)]
    return subprocess.Popen(line, cwd=folder, env=ENVIRONMENT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def _ended(folder: Path) -> int:
    path = folder / "night.results.jsonl"
    return len(path.read_bytes().splitlines()) if path.exists() else 0


def _wait(condition: Any, seconds: float = 60.0) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.01)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted(tmp_path: Path, number: signal.Signals) -> None:
    make_night(tmp_path, 12)
    with _start(tmp_path, "night.csv", "--jobs", 2) as process:
        _wait(lambda: _ended(tmp_path) > 1)
        process.send_signal(number)
        _, said = process.communicate(timeout=60)
    assert process.returncode == 128 + number
    assert b"the same command goes on from here" in said
    table = Table.read(tmp_path / "night.summary.ecsv")
    assert {"done", "missing"} == set(table["status"])
    assert not [name for name in paths_of(tmp_path) if ".part" in name]
    told = json.loads(_batch(tmp_path, "night.csv", "--json").stdout)
    assert told["skipped"] >= 2
    assert told["done"] + told["skipped"] == 12


def _spoilt(folder: Path, rng: random.Random) -> None:
    """One of the ways in which an exposure can be broken."""
    wrong = rng.randrange(4)
    if wrong == 0:
        (folder / "sci.fits").write_text("junk")
    elif wrong == 1:
        (folder / "tmpl.fits").unlink()
    elif wrong == 2:
        os.truncate(folder / "diff.fits", 10_000)
    else:
        fits.writeto(folder / "kernel.fits", np.full((3, 3), np.nan), overwrite=True)


def _as_alone(folder: Path) -> list[Any]:
    """What comes out of an exposure where nothing else is done, but for the primary header."""
    names = [str(folder / f"{name}.fits") for name in ("sci", "tmpl", "diff")]
    output = OutputOptions(output=str(folder / "single.fits"))
    decorrelate_files(*names, InputOptions(kernel=str(folder / "kernel.fits")), Options(), output)
    found = content(folder / "single.fits")[1:]
    (folder / "single.fits").unlink()
    return found


@pytest.mark.slow
def test_killed_again_and_again(tmp_path: Path) -> None:
    """At whatever moment: the night ends as if nothing had happened. `DECORR_NIGHT=300` tries a long one."""
    count = int(os.environ.get("DECORR_NIGHT", "14"))
    rng = random.Random(int(os.environ.get("DECORR_NIGHT_SEED", "5")))
    make_night(tmp_path, count)
    for k in range(count):  # no two are alike
        with fits.open(tmp_path / f"{k}/diff.fits", mode="update") as hdus:
            hdus[0].data[5, 7] = k / count
    broken = rng.sample(range(count), max(2, count // 10))
    for k in broken:
        _spoilt(tmp_path / str(k), rng)
    before = paths_of(tmp_path)
    for most in (0, *sorted(rng.sample(range(1, count), 4))):
        with _start(tmp_path, "night.csv", "--jobs", 2) as process:
            _wait(lambda: process.poll() is not None or _ended(tmp_path) >= most, 600)  # noqa: B023
            time.sleep(rng.uniform(0, 0.3))
            process.kill()
            process.communicate()
    with (tmp_path / "night.results.jsonl").open("ab") as file:
        file.write(b'{"output": "0/out.f')  # a line that was not written to its end
    told = json.loads(_batch(tmp_path, "night.csv", "--json", status=5, timeout=600).stdout)
    assert (told["done"] + told["skipped"], told["failed"]) == (count - len(broken), len(broken))
    good = [k for k in range(count) if k not in broken]
    _wait(lambda: paths_of(tmp_path) - before == TOLD | {f"{k}/out.fits" for k in good}, 10)
    table = Table.read(tmp_path / "night.summary.ecsv")
    assert list(np.flatnonzero(table["status"] == "failed")) == sorted(broken)
    assert set(table["verdict"]) == {"ok", "error"}
    assert len(outcomes_in(tmp_path / "night.results.jsonl")) == count
    for k in good:
        assert content(tmp_path / f"{k}/out.fits")[1:] == _as_alone(tmp_path / str(k))


def test_two_batches_on_one_manifest(tmp_path: Path) -> None:
    make_night(tmp_path, 40)
    with _start(tmp_path, "night.csv", "--jobs", 1) as process:
        _wait(lambda: _ended(tmp_path) > 0)
        second = decorr(tmp_path, "batch", "night.csv", "--results", "other.jsonl")
        write_csv(tmp_path / "other.csv", rows_of([0]))
        third = decorr(tmp_path, "batch", "other.csv", "--results", "night.results.jsonl")
        process.terminate()
        process.communicate()
    assert second.returncode == third.returncode == 2
    assert "night.csv: another batch is working on this manifest" in second.stderr
    assert "night.results.jsonl: another batch is writing these results" in third.stderr


def test_left_over_files_are_removed(night: Path) -> None:
    for name in (".decorr-out.fits-abcdefgh.part", ".decorr-other.fits-abcdefgh.part"):
        (night / "0" / name).write_text("left")
    _batch(night, "night.csv", status=5)
    left = [name for name in paths_of(night) if ".part" in name]
    assert left == ["0/.decorr-other.fits-abcdefgh.part"]
