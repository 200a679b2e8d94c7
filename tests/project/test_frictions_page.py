"""The page on frictions: each command under "after" prints what stands there."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.table import Table

from diffim_decorr import __version__
from support.project import ROOT, code_blocks, output_of

pytestmark = pytest.mark.slow

_PAGE = ROOT / "docs" / "evidence" / "frictions.md"
_ENVIRONMENT = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}


@pytest.fixture(scope="module")
def night(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("frictions")
    (begin,) = code_blocks(_PAGE, "sh")
    output_of("bash", "-euc", begin, cwd=folder)
    return folder / "night"


def _commands() -> list[tuple[str, str]]:
    """Each command with what it is to print."""
    found = []
    for block in code_blocks(_PAGE, "console"):
        for command, shown in re.findall(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", block, flags=re.MULTILINE):
            found.append((command, re.sub(r'"version": "[^"]*"', f'"version": "{__version__}"', shown)))
    return found


def test_commands_print_what_the_page_says(night: Path) -> None:
    commands = _commands()
    assert len(commands) >= 13
    before = sorted(path.name for path in night.iterdir())
    for command, shown in commands:
        done = subprocess.run(
            ["bash", "-c", command],
            cwd=night,
            env=_ENVIRONMENT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        assert done.stdout.rstrip() == shown.rstrip(), command
    # Nothing is left behind but what the shell made.
    assert sorted(path.name for path in night.iterdir()) == sorted([*before, "decorr.json"])


def test_each_friction_has_its_place() -> None:
    page = _PAGE.read_text(encoding="utf-8")
    headings = {title.lower().replace(" ", "-") for title in re.findall(r"^## (.*)$", page, flags=re.MULTILINE)}
    rows = re.findall(r"^\| .*\]\(#([a-z-]+)\)[^|]* \|$", page, flags=re.MULTILINE)
    assert len(rows) == 13
    assert set(rows) == headings - {"files"}


def test_snippets_run(night: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What sep finds is what differs; CCDData has image, variance and mask."""
    monkeypatch.chdir(night)
    names: dict[str, Any] = {}
    sources, data = code_blocks(_PAGE, "python")
    exec(sources, names)
    truth = Table.read("truth.fits")
    changed = truth[truth["TRANSIENT"] | truth["VARIABLE"]]
    # One of the five is on the border.
    assert len(names["objects"]) == len(changed) - 1 == 4
    for found in names["objects"]:
        assert np.hypot(changed["X"] - found["x"], changed["Y"] - found["y"]).min() < 1
    exec(data, names)
    plain, full = names["plain"], names["full"]
    np.testing.assert_array_equal(plain.data, full.data)
    np.testing.assert_allclose(plain.uncertainty.array, full.uncertainty.array)
    assert plain.mask.any()
    assert full.flags.any()
