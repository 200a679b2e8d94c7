"""Links and anchors within the built documentation: `make docs` runs this, and fails where one leads nowhere.

    python tools/links.py docs/_build/html

Links that lead out are looked at with `make docs-links`, for which a network is needed.
"""

from __future__ import annotations

import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

_KINDS = ("href", "src")


class _Page(HTMLParser):
    """The anchors of a page, and where its links lead."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.anchors: set[str] = set()
        self.links: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if value and (name == "id" or (tag == "a" and name == "name")):
                self.anchors.add(value)
            elif value and name in _KINDS:
                self.links.add(value)


def broken_in(folder: Path) -> list[str]:
    """Links of the pages in a folder that lead nowhere in it, with the page that each is on."""
    # Themes keep templates among their files.
    listed = [path.resolve() for path in folder.rglob("*.html") if "_static" not in path.relative_to(folder).parts]
    pages = {path: _Page(path.read_text(encoding="utf-8")) for path in listed}
    found = []
    for path, page in pages.items():
        for link in sorted(page.links):
            parts = urlsplit(link)
            if parts.scheme or parts.netloc or link == "#":
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            target = target / "index.html" if target.is_dir() else target
            anchor = unquote(parts.fragment)
            lost = not target.exists() or (anchor and target in pages and anchor not in pages[target].anchors)
            if lost:
                found.append(f"{path.relative_to(folder.resolve())}: {link}")
    return found


def main() -> int:
    broken = broken_in(Path(sys.argv[1]))
    for line in broken:
        print(line, file=sys.stderr)
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
