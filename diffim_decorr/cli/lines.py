"""What commands print: one line after the other, whatever is in the names of files."""

from __future__ import annotations

import click

from diffim_decorr.errors import plain

__all__ = ("print_line",)


def print_line(text: str) -> None:
    """One line on standard output, in which no control characters reach a terminal."""
    click.echo(plain(text))
