"""The page about the environment names every variable that is looked at."""

from __future__ import annotations

import re

from diffim_decorr.batch.pool import _SINGLE
from diffim_decorr.cli.surroundings import _HOMES
from support.project import ROOT

_LOOKED_AT = re.compile(r"""environ(?:\.get\(|\[)\s*["'](\w+)|["'](\w+)["'] in os\.environ|\$\{?(SLURM_\w+)""")


def test_variables_are_described() -> None:
    page = (ROOT / "docs" / "reference" / "environment.md").read_text("utf-8")
    sources = [path for folder in ("diffim_decorr", "tests") for path in (ROOT / folder).rglob("*.py")]
    found = {
        name for path in sources for match in _LOOKED_AT.findall(path.read_text("utf-8")) for name in match if name
    }
    assert {"DECORR_TRACEBACK", "DECORR_FUZZ", "SLURM_ARRAY_TASK_ID"} <= found
    # What every program looks at to find others.
    assert {*found, *_SINGLE, *_HOMES} - {"PATH", "PYTHONPATH"} <= set(re.findall(r"`(\w+)`", page))
