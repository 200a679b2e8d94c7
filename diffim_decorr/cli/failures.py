"""What goes wrong, as one JSON object where one is asked for, besides the line on standard error."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Sequence
from typing import Any

import click

from diffim_decorr._version import __version__

__all__ = ("Telling", "asked_for_json", "failure_of")

# What to do stands at the end of a message, after a colon or semicolon or in brackets.
_REMEDY = (
    r"(?:[;:(]|\.(?= Did))\s*(?P<remedy>(?:give|use|check|name|copy|add|multiply|uncompress|cut|write|leave|store|take|"
    r"make|a larger|[Dd]id you mean|decorr [a-z]|decorrelate\(|--[a-z]).*?)\)?$"
)
_HDU = r"(?P<file>.+?)\[(?P<hdu>[^\[\]]+)\]$"


class Telling:
    """Whether a command prints an object, and whether it has done so: there is one object, whatever happens.

    Parameters
    ----------
    asked
        Whether an object was asked for.
    """

    def __init__(self, asked: bool) -> None:
        self.asked = asked
        self.done = False

    @staticmethod
    def current() -> Telling:
        """That of the command that is running."""
        context = click.get_current_context(silent=True)
        return context.obj if context is not None and isinstance(context.obj, Telling) else Telling(False)

    def tell(self, code: str, message: str, status: int) -> None:
        """Print what went wrong, if an object was asked for and none is printed yet."""
        if not self.asked or self.done:
            return
        import json

        self.done = True
        try:
            click.echo(json.dumps(failure_of(code, message, status, sys.argv[1:]), indent=2))
            sys.stdout.flush()
        except (OSError, AttributeError):
            # Standard output is full or closed; what went wrong stands on standard error.
            if sys.stdout is not None:
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def asked_for_json(words: Sequence[str]) -> bool:
    """Whether the words of a command line ask for an object, even if nothing else of them can be understood."""
    return "--json" in (words[: words.index("--")] if "--" in words else words)


def failure_of(code: str, message: str, status: int, words: Sequence[str] = ()) -> dict[str, Any]:
    """The object on what went wrong.

    Parameters
    ----------
    code
        What kind of error it is.
    message
        The line about it.
    status
        Of the process.
    words
        Of the command line, which tell what in a message is the name of a file.
    """
    # Imported late: it is of use only here, and most runs go well.
    from diffim_decorr.summary import SCHEMA

    head = message.partition(": ")[0]
    named = re.fullmatch(_HDU, head, re.DOTALL)
    path, hdu = (named["file"], named["hdu"]) if named else (head, None)
    known = any(path == word.partition("[")[0] or word.endswith(f"={path}") for word in words)
    is_file = head != message and (known or os.path.exists(path))
    remedy = re.search(_REMEDY, message, re.DOTALL)
    error = {
        "code": code,
        "message": message,
        "file": path if is_file else None,
        "hdu": hdu if is_file else None,
        "remedy": remedy["remedy"].rstrip(".") if remedy else None,
    }
    return {"schema": SCHEMA, "version": __version__, "status": status, "error": error}
