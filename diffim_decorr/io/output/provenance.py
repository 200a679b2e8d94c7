"""What the header of an output says of how it was made: options, inputs, figures, warnings, all from the record."""

from __future__ import annotations

import math
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from astropy.io import fits

from diffim_decorr._version import __version__
from diffim_decorr.declare import Declared, declared
from diffim_decorr.io.output.cards import LONG_STRINGS, VERSION_CARD, card_of, without_pixels
from diffim_decorr.record import Figures, Record

__all__ = ("option_cards", "primary_header", "provenance_cards")


def primary_header(inherited: fits.Header | None, provenance: list[fits.Card], done: str) -> fits.Header:
    """The difference's header without its pixels, and what was done to it."""
    header = without_pixels(inherited, {card.keyword for card in provenance})
    header.append(LONG_STRINGS, end=True)
    for item in provenance:
        header.append(item, end=True)
    header.add_history(f"{done} by decorr {__version__}")
    return header


def provenance_cards(record: Record) -> list[fits.Card]:
    """How a result was made, and how well it did; what is no number has no card."""
    return [
        card_of(keyword, value, comment)
        for keyword, value, comment in _cards(record)
        if not isinstance(value, float) or math.isfinite(value)
    ]


def _cards(record: Record) -> Iterator[tuple[str, Any, str]]:
    yield VERSION_CARD
    yield "DCDATE", datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S"), "[UTC] time of decorrelation"
    if record.command:
        yield "DCCMD", record.command, ""
    yield from record.input_cards
    for k, (name, value) in enumerate(record.prints.items(), 1):
        yield f"DCSUM{k}", f"{value} {name}", ""
    for k, value in enumerate(record.modified.values(), 1):
        yield f"DCMT{k}", value, f"[s] since 1970: last change of input {k}"
    for options in record.options:
        yield from option_cards(options)
    yield from _figure_cards(record.kernel)
    yield from _figure_cards(record.background)
    yield from _figure_cards(record.noise)
    for k, image in enumerate([] if record.noise is None else record.noise.images, 1):
        yield from _figure_cards(image, k)
    yield from _figure_cards(record.psi)
    yield from _figure_cards(record.quality)
    if record.verdict is not None:
        yield "DCVERDCT", record.verdict.status, "verdict: ok, check or fail"
        for k, reason in enumerate(record.verdict.reasons, 1):
            yield f"DCWHY{k}", f"{reason.status}, {reason}", ""
        if record.verdict.explanation:
            yield "DCEXPLAN", record.verdict.explanation, ""
    for k, warning in enumerate(record.warnings, 1):
        yield f"DCWARN{k}", warning, ""


def option_cards(options: Declared) -> Iterator[tuple[str, Any, str]]:
    """Each option that has a card, its default included."""
    for name, option in declared(type(options)).items():
        if not option.card:
            continue
        value = getattr(options, name)
        if option.kind == "point":
            both = (option.shown(None),) * 2 if value is None else value
            yield from zip((f"{option.card}X", f"{option.card}Y"), both, (option.comment,) * 2, strict=True)
        elif value is None or option.words or option.kind in ("names", "files", "texts"):
            yield option.card, option.shown(value), option.comment
        else:
            yield option.card, value, option.comment


def _figure_cards(figures: Figures | None, number: int | None = None) -> Iterator[tuple[str, Any, str]]:
    if figures is not None:
        yield from figures.cards(number)
