"""The command as a whole."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import diffim_decorr
from diffim_decorr.cli import cli
from support.command import decorr, quickly


def test_version_and_help(tmp_path: Path) -> None:
    done = decorr(tmp_path, "--version")
    assert (done.returncode, done.stdout) == (0, f"decorr, version {diffim_decorr.__version__}\n")
    for args in (("--help",), ("-h",), ()):
        done = decorr(tmp_path, *args)
        assert "run" in done.stdout + done.stderr
        assert "simulate" in done.stdout + done.stderr
    done = decorr(tmp_path, "run", "--help")
    assert done.returncode == 0
    for option in ("--kernel", "--spatial", "--tolerance", "--config"):
        assert option in done.stdout


def test_commands_are_listed() -> None:
    assert {"run", "simulate"} <= set(cli.list_commands(None))  # type: ignore[arg-type]


def test_installed_command() -> None:
    command = Path(sys.executable).with_name("decorr")
    if not command.exists():
        pytest.skip("the command is not installed beside this Python")
    done = subprocess.run([command, "--version"], capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert done.stdout.startswith("decorr, version ")


def test_no_such_command(tmp_path: Path) -> None:
    done = quickly(tmp_path, "fly")
    assert done.returncode == 2
    assert "No such command 'fly'" in done.stderr
