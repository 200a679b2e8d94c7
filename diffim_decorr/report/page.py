"""One page on one image: verdict, figures, pictures, and how it was made."""

from __future__ import annotations

import math
from base64 import b64encode
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from io import BytesIO
from typing import Any

from diffim_decorr._version import __version__
from diffim_decorr.assessment import Assessment
from diffim_decorr.plots import draw_panel, panels_of
from diffim_decorr.qa.score import FIGURES
from diffim_decorr.record import Measured
from diffim_decorr.report.environment import number, template
from diffim_decorr.report.notes import notes_on

__all__ = ("page_of",)

_FAR = 5.0


@dataclass(frozen=True)
class _Row:
    """A figure as the table has it."""

    name: str
    label: str
    meaning: str
    value: str
    expected: str
    error: str
    pull: str
    far: bool


@dataclass(frozen=True)
class _Picture:
    """A picture inside the page."""

    name: str
    title: str
    words: str
    data: str


def page_of(assessment: Assessment) -> str:
    """The page, one HTML document that needs nothing besides."""
    pictures = [_picture(assessment, panel) for panel in panels_of(assessment)]
    header: Mapping[str, Any] = {} if assessment.exposure is None else assessment.exposure.header or {}
    page: str = template("page.html").render(
        name=assessment.name,
        shape=assessment.shape,
        made_by=assessment.made_by,
        verdict=assessment.verdict,
        notes=list(notes_on(assessment)),
        rows=list(_rows(assessment)),
        pixels=assessment.score.pixels,
        pictures=pictures,
        warnings=[*assessment.warnings, *_stored_warnings(header)],
        command=header.get("DCCMD"),
        provenance=list(_provenance(header)),
        version=__version__,
    )
    return page


def _rows(assessment: Assessment) -> Iterator[_Row]:
    for name, found in assessment.figures.items():
        about = FIGURES[name.split(".")[0]]
        pull = (found.value - found.expected) / found.error if _known(found) else math.nan
        far = abs(pull) > _FAR
        value, expected, error = (number(value) for value in (found.value, found.expected, found.error))
        off = f"{pull:+.1f}" if math.isfinite(pull) else ""
        yield _Row(name, about.label, about.meaning, value, expected, error, off, far)


def _known(found: Measured) -> bool:
    return math.isfinite(found.error) and found.error > 0


def _picture(assessment: Assessment, panel: Any) -> _Picture:
    data = BytesIO()
    draw_panel(panel, assessment, data, "png")
    return _Picture(panel.name, panel.title, panel.words(assessment), b64encode(data.getvalue()).decode())


def _stored_warnings(header: Mapping[str, Any]) -> Iterator[str]:
    """What the run that made the image had to say."""
    for k in range(1, 100):
        if f"DCWARN{k}" not in header:
            return
        yield str(header[f"DCWARN{k}"])


def _provenance(header: Any) -> Iterator[tuple[str, str, str]]:
    """Keyword, value and comment of the cards that say how the image was made."""
    for card in getattr(header, "cards", ()):
        if card.keyword.startswith("DC") and not card.keyword.startswith(("DCWARN", "DCWHY")):
            yield card.keyword, str(card.value), card.comment
