"""The tool that looks at links within the built documentation."""

from __future__ import annotations

from pathlib import Path

from support.project import ROOT, load_script


def test_links_that_lead_nowhere_are_found(tmp_path: Path) -> None:
    tool = load_script(ROOT / "tools" / "links.py")
    (tmp_path / "sub").mkdir()
    (tmp_path / "picture of it.png").touch()
    (tmp_path / "sub" / "index.html").write_text('<h1 id="there">…</h1><a href="../one.html#top">up</a>')
    good = [
        "sub/",
        "sub/index.html#there",
        "#top",
        "picture%20of%20it.png",
        "https://example.org/none",
        "mailto:a@b",
        "#",
    ]
    bad = ["none.html", "sub/index.html#gone", "#gone"]
    links = "".join(f'<a href="{link}">…</a>' for link in (*good, *bad))
    (tmp_path / "one.html").write_text(f'<p id="top">…</p>{links}<img src="none.png">')
    found = [line.partition(": ") for line in tool.broken_in(tmp_path)]
    assert {page for page, _, _ in found} == {"one.html"}
    assert {link for _, _, link in found} == {*bad, "none.png"}
