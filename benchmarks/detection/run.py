"""Does it serve detection? Writes docs/detection.md.

python benchmarks/detection/run.py          (`make detection`); `--only injection` prints that part of the page
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path

from counts import METHODS, REAL_METHODS, negative_peaks, survey
from fields import SCENES
from injection import injected
from page import counted, negative, written
from pairs import DATA, JWST, jwst
from steps import at_steps

__all__ = ("METHODS", "SCENES")

_PAGE = Path(__file__).resolve().parents[2] / "docs" / "detection.md"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="one small image of each kind, to see that it works")
    parser.add_argument("--output", type=Path, default=_PAGE, help="the page")
    parser.add_argument("--data", type=Path, default=DATA, help="where the real images are")
    parser.add_argument("--only", choices=("counts", "injection", "steps"), help="print a part of it and write nothing")
    given = parser.parse_args()
    count, size = (1, 400) if given.quick else (5, 1000)
    fields, side = (1, 600) if given.quick else (24, 2048)
    real = given.data.is_dir() and not given.quick
    parts: dict[str, Callable[[], str]] = {
        "counts": lambda: _counts(count, size, given.data / "jwst_a2744" if real else None),
        "injection": lambda: injected(given.data) if real else "The real images are not at hand.\n\n",
        "steps": lambda: at_steps(fields, side),
    }
    start = time.perf_counter()
    texts = {}
    for name, part in parts.items():
        if given.only in (None, name):
            texts[name] = part()
            print(f"{name}: {time.perf_counter() - start:.0f} s", file=sys.stderr)
    if given.only is not None:
        print(texts[given.only])
        return
    minutes = max(1, (time.perf_counter() - start) / 60)
    given.output.parent.mkdir(parents=True, exist_ok=True)
    numbers = {"minutes": minutes, "count": count, "size": size, "fields": fields, "side": side}
    given.output.write_text(written(numbers, texts), encoding="utf-8")


def _counts(count: int, size: int, folder: Path | None) -> str:
    """Peaks and sources in simulated fields, and in the real pair if its folder is given."""
    text = ""
    for name, make in SCENES.items():
        text += counted(name, survey([make(seed, size) for seed in range(1, count + 1)]))
    if folder is None:
        return text
    real = jwst(folder)
    text += counted(JWST, survey([real], methods=REAL_METHODS))
    return text + negative(negative_peaks(real, list(REAL_METHODS)[-2]))


if __name__ == "__main__":
    main()
