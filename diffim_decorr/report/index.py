"""An index over many images: every figure in one table, the worst first, and trends over time."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from diffim_decorr._version import __version__
from diffim_decorr.errors import InputError
from diffim_decorr.findings import findings_of
from diffim_decorr.plots import COLOURS, STYLE
from diffim_decorr.report.environment import number, template

__all__ = ("Entry", "entries_of", "index_of", "page_name")

_STATUSES = ("ok", "check", "fail")
_NO_FIGURES = ("image", "verdict", "reasons", "when")
_TRENDS = ("max_abs_rho", "snr_std", "psf_scatter", "flagged")
_EXPECTED = {"max_abs_rho": 0.0, "snr_std": 1.0, "psf_scatter": 1.0, "flagged": 0.0}
_FITS = (".fits", ".fit", ".fts", ".fits.gz", ".fits.fz")


@dataclass(frozen=True)
class Entry:
    """What is known of one image.

    Parameters
    ----------
    name
        The image.
    status
        ``ok``, ``check`` or ``fail``; ``error`` if there is no result.
    reasons
        Why it is not ok.
    figures
        By name; what was not measured is not there.
    when
        Its time as a modified Julian date; NaN if that is not known.
    link
        Its page, relative to the index; empty if there is none.
    """

    name: str
    status: str
    reasons: str
    figures: Mapping[str, float]
    when: float = math.nan
    link: str = ""


def entries_of(paths: Iterable[str], index: str) -> list[Entry]:
    """What outputs, folders of outputs, and tables of `decorr qa` and `decorr batch` say.

    Parameters
    ----------
    paths
        Files and folders.
    index
        Where the index will be: pages beside the images are linked from there.

    Raises
    ------
    InputError
        If a file is none of these, or there is not one image.
    """
    entries: list[Entry] = []
    for path in paths:
        if os.path.isdir(path):
            names = sorted(name for name in os.listdir(path) if name.lower().endswith(_FITS))
            found = [_output(os.path.join(path, name), index) for name in names]
            entries += [entry for entry in found if entry is not None]
        elif path.lower().endswith(".ecsv"):
            entries += _table(path, index)
        else:
            entry = _output(path, index)
            if entry is None:
                raise InputError(f"{path}: is no output of decorr run (it has no card DCVERDCT); decorr qa judges it")
            entries.append(entry)
    if not entries:
        raise InputError(f"{', '.join(paths)}: not one output of decorr run")
    return sorted(entries, key=_badness, reverse=True)


def _badness(entry: Entry) -> tuple[int, float]:
    """The order in which images are shown, the worst first."""
    status = _STATUSES.index(entry.status) if entry.status in _STATUSES else len(_STATUSES)
    off = [abs(entry.figures[name] - _EXPECTED[name]) for name in ("snr_std", "max_abs_rho") if name in entry.figures]
    return status, max(off, default=math.inf)


def _output(path: str, index: str) -> Entry | None:
    """What the header of an output says; None of other files."""
    found = findings_of(path)
    if found is None:
        return None
    return Entry(path, found.status, "; ".join(found.reasons), found.figures, found.when, _link(path, index))


def _table(path: str, index: str) -> list[Entry]:
    from astropy.table import Table

    try:
        table = Table.read(path, format="ascii.ecsv")
        names = table.meta.get("figures", [name for name in table.colnames if name not in _NO_FIGURES])
        rows = [dict(zip(table.colnames, row, strict=True)) for row in table.iterrows()]
        return [_row(row, names, index) for row in rows]
    except (OSError, ValueError, KeyError) as error:
        raise InputError(f"{path}: is no table of decorr qa or decorr batch: {' '.join(str(error).split())}") from error


def _row(row: Mapping[str, Any], names: Sequence[str], index: str) -> Entry:
    figures = {
        name: float(row[name])
        for name in names
        if not name.endswith(("_expected", "_error"))
        and isinstance(row[name], float | int)
        and math.isfinite(row[name])
    }  # fmt: skip
    name = str(row["image"])
    # What is empty in such a table comes back masked.
    reasons = "" if row["reasons"] is np.ma.masked else str(row["reasons"])
    return Entry(name, str(row["verdict"]), reasons, figures, float(row.get("when", math.nan)), _link(name, index))


def _link(path: str, index: str) -> str:
    """The page of an image that lies beside it, as seen from the index."""
    page = page_name(path)
    return os.path.relpath(page, os.path.dirname(os.path.abspath(index))) if os.path.exists(page) else ""


def page_name(path: str) -> str:
    """Where the page of an image is looked for."""
    stem = path.split("[")[0]
    for ending in sorted(_FITS, key=len, reverse=True):
        if stem.lower().endswith(ending):
            return stem[: -len(ending)] + ".html"
    return stem + ".html"


def index_of(entries: Sequence[Entry], title: str) -> str:
    """The index, one HTML document that needs nothing besides."""
    names = dict.fromkeys(name for entry in entries for name in entry.figures)
    counts = {status: sum(entry.status == status for entry in entries) for status in (*_STATUSES, "error")}
    timed = any(math.isfinite(entry.when) for entry in entries)
    page: str = template("index.html").render(
        title=title,
        entries=entries,
        names=list(names),
        counts={status: count for status, count in counts.items() if count},
        order={"error": 3, "fail": 2, "check": 1, "ok": 0},
        timed=timed,
        trends=_trends(entries),
        trend_words=_trend_words(entries),
        number=number,
        version=__version__,
    )
    return page


def _trends(entries: Sequence[Entry]) -> str:
    """A picture (SVG) of some figures over time, or over the images in their order; empty if there is nothing."""
    timed = all(math.isfinite(entry.when) for entry in entries)
    ordered = sorted(entries, key=lambda entry: (entry.when if timed else 0, entry.name))
    names = [name for name in _TRENDS if any(name in entry.figures for entry in ordered)]
    if len(ordered) < 2 or not names:
        return ""
    x = np.array([entry.when for entry in ordered]) if timed else np.arange(1, len(ordered) + 1)
    marks = {"ok": (COLOURS[0], "o"), "check": (COLOURS[1], "^")}
    with rc_context({**STYLE, "text.color": "#777777", "axes.labelcolor": "#777777", "xtick.color": "#777777",
                     "ytick.color": "#777777", "axes.edgecolor": "#777777"}):  # fmt: skip
        figure = Figure(figsize=(7.2, 1.3 * len(names) + 0.4), layout="constrained")
        FigureCanvasAgg(figure)
        for axis, name in zip(np.atleast_1d(figure.subplots(len(names), 1, sharex=True)), names, strict=True):
            y = np.array([entry.figures.get(name, math.nan) for entry in ordered])
            for status in dict.fromkeys(entry.status for entry in ordered):
                some = np.array([entry.status == status for entry in ordered])
                colour, mark = marks.get(status, ("#CC3311", "s"))
                axis.plot(x[some], y[some], mark, color=colour, ms=3, ls="none", label=status)
            axis.axhline(_EXPECTED[name], color="#777777", lw=0.6)
            axis.set_ylabel(name)
        axis.set_xlabel("modified Julian date [d]" if timed else "image")
        figure.axes[0].legend(ncols=3)
        data = BytesIO()
        figure.savefig(data, format="svg", transparent=True, metadata={"Date": None})
    text = data.getvalue().decode()
    return text[text.index("<svg") :]


def _trend_words(entries: Sequence[Entry]) -> str:
    """What the picture shows, in words."""
    said = []
    for name in _TRENDS:
        values = [entry.figures[name] for entry in entries if name in entry.figures]
        if values:
            said.append(
                f"{name} from {number(min(values))} to {number(max(values))}, median {number(float(np.median(values)))}"
            )
    return "; ".join(said)
