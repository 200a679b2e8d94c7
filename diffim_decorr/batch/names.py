"""Names of files made of the parts of another: patterns of differences, and what stands for their parts."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterator, Mapping

from diffim_decorr.errors import UsageError

__all__ = ("filled", "matching", "parts_of")

_PLACE = re.compile(r"\{(\w+)\}")
_ENDING = re.compile(r"(\.fits?|\.fts)?(\.gz|\.fz|\.bz2)?$", re.IGNORECASE)
_PIECE = re.compile(r"\{(\w+)\}|(\*\*/)|(\*)|(\?)|\[(!?)([^\]/]+)\]|(.)", re.DOTALL)


def parts_of(difference: str) -> dict[str, str]:
    """``dir``, ``name`` and ``stem`` of a difference: its folder, its name, and that without the ending."""
    path = re.sub(r"\[[^\[\]]*\]$", "", difference)
    folder, name = os.path.split(path)
    return {"dir": folder or ".", "name": name, "stem": _ENDING.sub("", name)}


def filled(text: str, parts: Mapping[str, str], called: str) -> str:
    """A name with its places filled in.

    Raises
    ------
    UsageError
        If there is nothing for a place.
    """

    def part(match: re.Match[str]) -> str:
        if match[1] not in parts:
            there = ", ".join(f"{{{name}}}" for name in parts)
            raise UsageError(f"{called} {text}: there is nothing for {match[0]}; there are {there}")
        return parts[match[1]]

    return _PLACE.sub(part, text)


def matching(pattern: str) -> list[tuple[str, dict[str, str]]]:
    """The files that match a pattern, in the order of their names, each with what stands for its words.

    Raises
    ------
    UsageError
        If there are none.
    """
    form = re.compile("".join(_expression(pattern)))
    found = []
    for path in sorted(glob.glob(_PLACE.sub("*", pattern), recursive=True)):
        match = form.fullmatch(path)
        if match is not None and not os.path.isdir(path):
            found.append((path, match.groupdict()))
    if not found:
        raise UsageError(f"--glob {pattern}: no file matches")
    return found


def _expression(pattern: str) -> Iterator[str]:
    """A pattern as a regular expression, piece by piece."""
    known: set[str] = set()
    for word, folders, star, mark, other, letters, plain in _PIECE.findall(pattern):
        if word:
            if not word.isidentifier():
                raise UsageError(f"--glob {pattern}: {{{word}}} is no word")
            yield f"(?P={word})" if word in known else f"(?P<{word}>[^/]+)"
            known.add(word)
        elif folders:
            yield "(?:.*/)?"
        elif star or mark:
            yield "[^/]*" if star else "[^/]"
        elif letters:
            inside = letters.replace("\\", r"\\")
            yield f"[{'^' if other else ''}{inside}]"
        else:
            yield re.escape(plain)
