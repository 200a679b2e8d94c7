"""Whether the output of an exposure is there already, as its own header says."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterator, Mapping
from typing import Any

from diffim_decorr._version import __version__
from diffim_decorr.batch.tasks import Task
from diffim_decorr.declare import declared
from diffim_decorr.errors import InputError
from diffim_decorr.io.fingerprint import fingerprint, modified
from diffim_decorr.io.hdus import open_fits, split_spec
from diffim_decorr.io.output.cards import card_of
from diffim_decorr.io.output.provenance import option_cards
from diffim_decorr.reading import at_exposure, files_read

__all__ = ("why_again",)

# Of these nothing of the result depends.
_IDLE = ("threads",)


def why_again(task: Task) -> str:
    """Why an exposure has to be worked on, empty if its output is whole and what would come out.

    Raises
    ------
    InputError
        If an input cannot be read.
    """
    missing = [path for path in task.paths if not os.path.isfile(path)]
    if missing:
        return "there is no output" if len(missing) == len(task.paths) else f"there is no {missing[0]}"
    try:
        headers = [_headers(path) for path in task.paths]
    except InputError as error:
        return f"the output is damaged: {error}"
    primary, own = headers[0]
    if own is None:
        return "what is there is no output"
    if own.get("DCVERS", primary.get("DCVERS")) != __version__:
        return f"it was made by version {primary.get('DCVERS')}"
    if "DCFAIL1" in primary:
        return "not all exposures are in it"
    return _changed_option(task, own) or _changed_input(task, own)


def _headers(path: str) -> tuple[Mapping[str, Any], Mapping[str, Any] | None]:
    """The primary header of a file, and the first that says how its pixels were made."""
    with open_fits(path) as hdus:
        cards = [dict(hdu.header.items()) for hdu in hdus]
    return cards[0], next((own for own in cards if "DCDIFF" in own), None)


def _changed_option(task: Task, header: Mapping[str, Any]) -> str:
    """Which option was another one; of names of files only the HDU matters, the files themselves are looked at."""
    for group in (task.inputs, task.options, task.output):
        files = {option.card for option in declared(type(group)).values() if option.names_file}
        idle = {declared(type(group))[name].card for name in _IDLE if name in declared(type(group))}
        for keyword, value, comment in option_cards(group):
            if keyword in idle:
                continue
            wanted, there = card_of(keyword, value, comment).value, header.get(keyword)
            if keyword in files and isinstance(wanted, str) and isinstance(there, str):
                wanted, there = (_extension(name) for name in (wanted, there))
            if not _equal(wanted, there):
                return f"its options were others ({keyword})"
    return ""


def _changed_input(task: Task, header: Mapping[str, Any]) -> str:
    """Which input is another one."""
    files, inputs = dict(task.images), task.inputs
    extension = header.get("DCEXT") if inputs.all_ext else inputs.ext
    if extension is not None:
        files, inputs = at_exposure(files, inputs, str(extension))
    stored = list(_prints(header))
    names = files_read(files, inputs)
    if len(names) != len(stored):
        return "it was made of other files"
    for name, (content, time, old) in zip(names, stored, strict=True):
        path = split_spec(name)[0]
        try:
            same = content == fingerprint(path) and time == modified(path) and _extension(name) == _extension(old)
        except OSError as error:
            raise InputError(f"{path}: cannot be read: {error.strerror}") from error
        if not same:
            return f"{path} has changed"
    return ""


def _prints(header: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """Of each file that was read: its fingerprint, when it was changed last, and its name."""
    k = 1
    while f"DCSUM{k}" in header:
        content, _, name = str(header[f"DCSUM{k}"]).partition(" ")
        yield content, str(header.get(f"DCMT{k}", "")), name
        k += 1


def _equal(wanted: Any, there: Any) -> bool:
    """Whether a value is the one that a card has, which keeps 16 digits, and no blanks at the end."""
    if isinstance(wanted, float) and isinstance(there, int | float) and not isinstance(there, bool):
        return math.isclose(wanted, there, rel_tol=1e-14)
    if isinstance(wanted, str) and isinstance(there, str):
        return wanted.rstrip() == there.rstrip()
    return type(wanted) is type(there) and wanted == there


def _extension(name: str) -> str:
    """What is in brackets at the end of a name."""
    match = re.search(r"\[([^\[\]]+)\]$", name)
    return match[1] if match else ""
