"""Writing what was measured as a page of Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from textwrap import wrap

from plan import Bar, Measured, Table, large_rounds

__all__ = ("page", "plain_bar")

_HEAD = """\
# Benchmarks

Written by `make bench` (`python benchmarks/run.py`), which measures everything anew.
"""

_HOW = (
    "Every command runs in a process of its own, turn and turn about with what it is compared to, so that whatever "
    "else the machine does disturbs all of them. Ratios are formed round by round. A figure is the median of the "
    "rounds, with the smallest and the largest in parentheses: {rounds} rounds, {twice} for start-up, {large} beyond "
    "4096². Files are in the page cache; what was written is flushed to the disk between runs."
)

# The benchmarks alone keep the load near the two threads they mostly use.
_BUSY = 3.0
_BUSY_REMARK = (
    "**The machine was busy with other work**, as its load averages show. Where a run has threads and what it is "
    "compared to has none, ratios are worse than they are on a machine of one's own."
)

_LIMITS = """\
## Limits

- Ratios to reading and writing depend on the disk and on how fast it takes what is synced: here both are close to the
  speed of memory. On a slow disk they come closer to 1.
- Another number of cores changes the comparison with the other methods, most of which use one; the column *on one
  core* is the comparison of algorithms alone.
- The other methods are as short as they can be written, without the bookkeeping of the packages they come from, which
  only adds to their time.
- Tiles with pixels beyond some hundred σ are filtered in double precision, which takes longer: the field of stars has
  many of them, the white noise none.
- With one ψ for the whole field all methods agree with the brute force to rounding, decorr to that of the single
  precision it works in and writes.
- A compressed input is unpacked into memory as a whole, and takes more of it.
"""


def page(
    measured: Sequence[Measured], machine: Mapping[str, str], load: tuple[str, str], rounds: int, date: str
) -> str:
    """The whole page.

    Parameters
    ----------
    measured
        What each suite found.
    machine
        What it was measured on.
    load
        Load averages of the machine before and after.
    rounds
        How often everything was measured.
    date
        When.
    """
    about = {"date": date, **machine, "load average before and after": f"{load[0]}, {load[1]}"}
    how = _HOW.format(rounds=rounds, twice=2 * rounds + 1, large=large_rounds(rounds))
    parts = [_HEAD, _wrapped(how), _markdown(Table("", ("", ""), list(about.items())))]
    if max(map(float, load)) > _BUSY:
        parts.append(_wrapped(_BUSY_REMARK))
    bars = [bar for suite in measured for bar in suite.bars]
    if bars:
        parts.append("## Bars\n")
        rows: list[tuple[str, ...]] = [(bar.name, *_shown(bar), "met" if bar.met else "**not met**") for bar in bars]
        parts.append(_markdown(Table("", ("what", "measured", "bar", ""), rows)))
    for suite in measured:
        parts.append(f"## {suite.title}\n")
        if suite.text:
            parts.append(_wrapped(suite.text))
        for table in suite.tables:
            if table.title:
                parts.append(f"### {table.title}\n")
            parts.append(_markdown(table))
    parts.append(_LIMITS)
    return "\n".join(parts)


def plain_bar(bar: Bar) -> str:
    """A line for the terminal."""
    figure, limit = _shown(bar)
    return f"{'ok  ' if bar.met else 'FAIL'} {bar.name:<70} {figure:>10}   bar {limit}"


def _shown(bar: Bar) -> tuple[str, str]:
    form = ".1e" if bar.figure < 0.01 else ".2f" if bar.figure < 10 else ".1f" if bar.figure < 100 else ".0f"
    return f"{bar.figure:{form}}{bar.unit}", f"{'≥' if bar.at_least else '≤'} {bar.limit:g}{bar.unit}"


def _markdown(table: Table) -> str:
    lines = [_row(table.headings), _row("---" for _ in table.headings), *map(_row, table.rows)]
    return "\n".join(lines) + "\n"


def _row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _wrapped(text: str) -> str:
    paragraphs = (
        wrap(part, 120, break_long_words=False, break_on_hyphens=False) for part in text.strip().split("\n\n")
    )
    return "\n\n".join("\n".join(lines) for lines in paragraphs) + "\n"
