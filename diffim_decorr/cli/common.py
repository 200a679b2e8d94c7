"""What several commands have in common."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import click

__all__ = ("plane_names", "progress_on_terminal", "say")


def plane_names(_ctx: click.Context, _param: click.Parameter, value: str | None) -> tuple[str, ...] | None:
    """The mask planes in a list with commas."""
    if value is None:
        return None
    if value.strip().lower() == "none":
        return ()
    return tuple(name.strip().upper() for name in value.split(",") if name.strip())


def progress_on_terminal(quiet: bool) -> Any:
    """A progress bar on standard error, if that is a terminal."""
    from sys import stderr

    if quiet or not stderr.isatty():
        return nullcontext(None)
    from diffim_decorr.cli.report import progress_bar

    return progress_bar()


def say(text: str) -> None:
    """One line on standard error, whatever is in file names."""
    click.echo("".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text), err=True)
