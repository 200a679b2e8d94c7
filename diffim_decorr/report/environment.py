"""How templates are filled in."""

from __future__ import annotations

import math
from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

__all__ = ("number", "template")


def number(value: float) -> str:
    """Four digits; empty for what is no number."""
    return f"{value:.4g}" if math.isfinite(value) else ""


@cache
def _environment() -> Environment:
    # File names and headers are not to be trusted: everything is escaped.
    found = Environment(
        loader=PackageLoader("diffim_decorr.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found.filters["number"] = number
    return found


def template(name: str) -> Any:
    """A template by its name."""
    return _environment().get_template(name)
