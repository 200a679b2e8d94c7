"""The page about JSON names every key that a run prints, and no others."""

from __future__ import annotations

import json
import re
from pathlib import Path

from support.command import OUT, succeed
from support.files import INPUTS, make_inputs
from support.project import ROOT

_PAGE = ROOT / "docs" / "reference" / "json.md"


def test_keys_are_described(tmp_path: Path) -> None:
    make_inputs(tmp_path)
    tree = json.loads(succeed(tmp_path, "run", *INPUTS, *OUT, "--json", "--quiet").stdout)
    rows = dict(re.findall(r"^\| `(\w+)` \| (.*) \|$", _PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE))
    assert set(rows) - {"exposures", "background"} == set(tree)
    for name in ("inputs", "kernel", "psi", "verdict"):
        assert set(tree[name]) <= set(re.findall(r"`(\w+)`", rows[name])), name
    derived = re.compile(r"_(expected|error)$")
    assert {key for key in tree["qa"] if not derived.search(key)} <= set(re.findall(r"`(\w+)`", rows["qa"]))


def test_codes_of_errors_are_described() -> None:
    """Those of exceptions, and those that the command gives to what else goes wrong."""
    classes = (ROOT / "diffim_decorr" / "errors.py").read_text(encoding="utf-8")
    command = (ROOT / "diffim_decorr" / "cli" / "__init__.py").read_text(encoding="utf-8")
    codes = {*re.findall(r'code: ClassVar\[str\] = "([\w-]+)"', classes)}
    codes |= {*re.findall(r'(?:telling\.tell\(|_end\(telling, )"([\w-]+)"', command)}
    (line,) = re.findall(r"^- code: (.*)$", _PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert codes == set(re.findall(r"`([\w-]+)`", line))
