"""The table that ``decorr qa`` prints."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from diffim_decorr.cli.lines import print_line
from diffim_decorr.errors import plain
from diffim_decorr.qa.score import FIGURES

if TYPE_CHECKING:
    from diffim_decorr.assessment import Assessment
    from diffim_decorr.record import Measured

__all__ = ("print_scores",)

_COLOURS = {"ok": "green", "check": "yellow", "fail": "red"}
_FAR = 5.0  # errors from the expectation


def print_scores(found: Sequence[Assessment], several: bool) -> None:
    """Print the verdict and all figures of one image, or a line for each of several."""
    if several:
        for one in found:
            figures = one.figures
            said = [f"{name} {_number(figures[name].value)}" for name in ("max_abs_rho", "snr_std", "psf_scatter")]
            print_line(f"{one.verdict.status:<7}{one.name}: {', '.join(said)}")
        return
    for one in found:
        _print_one(one)


def _print_one(one: Assessment) -> None:
    verdict = one.verdict
    lines = [f"{reason.status}: {reason}" for reason in verdict.reasons]
    if verdict.explanation:
        lines.insert(0, verdict.explanation)
    rows = list(_rows(one))
    if sys.stdout is None or not sys.stdout.isatty():
        print_line(f"{'verdict':<28}{verdict.status}")
        for line in lines:
            print_line(f"{'':<28}{line}")
        for cells in rows:
            print_line("{:<28}{:>12}{:>12}{:>12}  {}".format(*cells).rstrip())
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(highlight=False, markup=False, emoji=False)
    judged = (verdict.status, f"bold {_COLOURS[verdict.status]}")
    console.print(Text.assemble("verdict  ", judged, f"  {plain(one.name)}"))
    for line in lines:
        console.print(f"  {plain(line)}")
    table = Table(box=None, pad_edge=False, header_style="dim")
    for k, heading in enumerate(rows[0]):
        table.add_column(heading, justify="right" if 0 < k < 4 else "left", overflow="fold")
    for cells in rows[1:]:
        table.add_row(*cells)
    console.print(table)


def _rows(one: Assessment) -> Iterator[tuple[str, str, str, str, str]]:
    """Name, value, expectation and its error, and what the figure is."""
    yield "figure", "value", "expected", "error", ""
    last = ""
    for name, measured in one.figures.items():
        figure = name.split(".")[0]
        yield name, *_numbers(measured), "" if figure == last else FIGURES[figure].label
        last = figure
    pixels = one.score.pixels
    yield "pixels", str(pixels["all"]), "", "", f"{pixels['used']} used, {pixels['without_data']} without data"
    for plane, count in pixels["planes"].items():
        yield plane, str(count), "", "", "mask plane"


def _numbers(measured: Measured) -> tuple[str, str, str]:
    far = math.isfinite(measured.error) and abs(measured.value - measured.expected) > _FAR * measured.error
    value = _number(measured.value) + (" *" if far else "  ")
    return value, _number(measured.expected, ""), _number(measured.error, "")


def _number(value: float, nothing: str = "not measured") -> str:
    return f"{value:.4g}" if math.isfinite(value) else nothing
