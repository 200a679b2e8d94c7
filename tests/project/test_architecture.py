"""The page on the package's structure shows all of it."""

from __future__ import annotations

from support.project import ROOT


def test_every_file_has_its_line() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text("utf-8")
    package = ROOT / "diffim_decorr"
    files = [path.relative_to(package).as_posix() for path in package.rglob("*.py") if path.stat().st_size]
    assert [file for file in files if f"| `{file}` |" not in page] == []
