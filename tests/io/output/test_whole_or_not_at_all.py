"""An output appears whole or not at all, whatever happens."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from support.command import COMMAND, ENVIRONMENT, OUT, decorr, succeed
from support.files import INPUTS, listing, sound


def interrupted(folder: Path, where: str, what: str, *args: str) -> subprocess.CompletedProcess[str]:
    """Run the command with something going wrong after a step of the output file."""
    script = f"""
import os, signal
from diffim_decorr.io import drafts, output
owner, name = {where}
real = getattr(owner, name)
def spoilt(*args, **keywords):
    result = real(*args, **keywords)
    {what}
    return result
setattr(owner, name, spoilt)
from diffim_decorr.cli import main
main()
"""
    line = [sys.executable, "-c", script, "run", *INPUTS, *args]
    return subprocess.run(line, cwd=folder, env=ENVIRONMENT, capture_output=True, text=True, timeout=60, check=False)


STEPS = {
    "created": '(output.OutputFile, "_reserve")',
    "pixels": '(output.OutputFile, "write")',
    "finished": '(output.OutputFile, "finish")',
    "packing": '(drafts, "_compressed")',
    "zipping": '(drafts.shutil, "copyfileobj")',
}


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP", "SIGINT"])
def test_ended_in_the_middle(folder: Path, name: str, step: str) -> None:
    out = "out.fits.gz" if step == "zipping" else "out.fits.fz"
    (folder / out).write_text("precious")
    before = listing(folder)
    done = interrupted(folder, STEPS[step], f"os.kill(os.getpid(), signal.{name})", "-o", out, "--overwrite")
    assert done.returncode == 128 + getattr(signal, name)
    assert done.stdout == ""
    assert done.stderr.strip() == ("decorr: interrupted" if name == "SIGINT" else "")
    assert listing(folder) == before


def test_hangup_that_is_ignored(folder: Path) -> None:
    # As under nohup.
    step = "[signal.signal(signal.SIGHUP, signal.SIG_IGN), " + STEPS["pixels"] + "][1]"
    done = interrupted(folder, step, "os.kill(os.getpid(), signal.SIGHUP)", *OUT)
    assert (done.returncode, done.stderr) == (0, "")
    sound(folder / "out.fits")


def test_killed_in_the_middle(folder: Path) -> None:
    before = listing(folder)
    done = interrupted(folder, STEPS["finished"], "os.kill(os.getpid(), signal.SIGKILL)", *OUT)
    assert done.returncode == -signal.SIGKILL
    after = listing(folder)
    assert "out.fits" not in after
    left = [name for name in after if name not in before]
    assert [name for name in left if not name.startswith(".decorr-")] == []
    assert {name: after[name] for name in before} == before
    succeed(folder, "run", *INPUTS, *OUT)


def test_a_second_signal_does_not_stop_the_cleaning(folder: Path) -> None:
    before = listing(folder)
    twice = "[os.kill(os.getpid(), signal.SIGTERM) for _ in 'ab']"
    spoil = f"os.unlink, real_unlink = (lambda p: ({twice}, real_unlink(p))), os.unlink"
    done = interrupted(
        folder, STEPS["pixels"], f"real_unlink = None; {spoil}; {twice}".replace("real_unlink = None; ", ""), *OUT
    )
    assert done.returncode == 128 + signal.SIGTERM
    assert listing(folder) == before


@pytest.mark.parametrize("out", ["out.fits", "out.fits.fz", "out.fits.gz"])
@pytest.mark.parametrize("step", ["created", "finished"])
def test_full_disk(folder: Path, step: str, out: str) -> None:
    before = listing(folder)
    full = "exec('raise OSError(28, \"No space left on device\")')"
    done = interrupted(folder, STEPS[step], full, "-o", out)
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert "No space left on device" in done.stderr
    assert listing(folder) == before


@pytest.mark.parametrize("out", ["out.fits", "out.fits.gz"])
def test_file_that_may_not_grow(folder: Path, out: str) -> None:
    resource = pytest.importorskip("resource")
    (folder / out).write_text("precious")
    before = listing(folder)
    limit = (50_000, 50_000)
    # What measures the coverage would write files, too.
    environment = {key: value for key, value in ENVIRONMENT.items() if not key.startswith("COV")}
    done = decorr(
        folder, "run", *INPUTS, "-o", out, "--overwrite", env=environment,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, limit),
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr == f"decorr: failed: OSError: {out}: File too large (DECORR_TRACEBACK=1 shows where)\n"
    assert listing(folder) == before


def test_traceback_for_those_who_want_it(folder: Path) -> None:
    line = [*COMMAND, "run", *INPUTS, *OUT]
    script = (
        "import diffim_decorr.io.output as o; o.OutputFile.write = None; from diffim_decorr.cli import main; main()"
    )
    line[1:3] = ["-c", script]
    environment = {**ENVIRONMENT, "DECORR_TRACEBACK": "1"}
    done = subprocess.run(line, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "Traceback" in done.stderr
    assert not (folder / "out.fits").exists()


def test_output_that_appears_in_the_meantime(folder: Path) -> None:
    appear = "os.system('printf precious > out.fits')"
    done = interrupted(folder, STEPS["finished"], appear, *OUT)
    assert done.returncode == 3
    assert done.stderr == "decorr: error: out.fits: the output exists already; --overwrite replaces it\n"
    assert (folder / "out.fits").read_text() == "precious"
    assert not [name for name in listing(folder) if name.startswith(".")]


@pytest.mark.parametrize("error", ["EOPNOTSUPP", "ENOSPC"])
def test_file_system_that_does_not_reserve(folder: Path, error: str) -> None:
    script = f"""
import errno, os
def refuse(*args):
    raise OSError(errno.{error}, "no")
os.posix_fallocate = refuse
from diffim_decorr.cli import main
main()
"""
    line = [sys.executable, "-c", script, "run", *INPUTS, *OUT]
    done = subprocess.run(line, cwd=folder, env=ENVIRONMENT, capture_output=True, text=True, check=False)
    if error == "ENOSPC":
        assert (done.returncode, done.stderr.split(" (")[0]) == (1, "decorr: failed: OSError: out.fits: no")
        assert not [name for name in listing(folder) if "out" in name or name.startswith(".")]
    else:
        assert (done.returncode, done.stderr) == (0, "")
        sound(folder / "out.fits")
