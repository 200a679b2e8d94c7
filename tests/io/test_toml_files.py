"""TOML files, and what is none."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from diffim_decorr import InputError
from diffim_decorr.errors import UsageError
from diffim_decorr.io.stacks import read_inputs
from diffim_decorr.io.toml_files import read_toml
from support.command import refused


def test_entries(tmp_path: Path) -> None:
    path = tmp_path / "a.toml"
    path.write_text('name = "Ö"\n[table]\nlist = [1, 2]\n', encoding="utf-8")
    assert read_toml(str(path), UsageError) == {"name": "Ö", "table": {"list": [1, 2]}}


def test_what_is_none(tmp_path: Path) -> None:
    """Neither does it wait for a pipe, nor fill the memory with what has no end."""
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "large").write_bytes(b"#" * (17 << 20))
    (tmp_path / "binary").write_bytes(bytes(range(256)))
    for name, cause in (
        ("pipe", "is not a regular file"), ("large", "has more than 16 MiB"), ("binary", "not a TOML file"),
        (".", "cannot be read"), ("none", "cannot be read: No such file"),
    ):  # fmt: skip
        with pytest.raises(UsageError, match=cause):
            read_toml(str(tmp_path / name), UsageError)
    with pytest.raises(InputError, match="/dev/zero: is not a regular file"):
        read_inputs("/dev/zero", (5, 5))
    refused(tmp_path, "large: has more than 16 MiB", "run", "a", "b", "c", "--config", "large", status=2)
