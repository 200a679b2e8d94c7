"""What became of each exposure: JSON lines as they come, and a table at the end."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import IO, Any

from diffim_decorr._version import __version__
from diffim_decorr.batch.tasks import Task
from diffim_decorr.errors import UsageError
from diffim_decorr.findings import FIGURE_CARDS
from diffim_decorr.io.atomic import check_output, naming, whole_file
from diffim_decorr.io.unfinished import lock
from diffim_decorr.summary import SCHEMA

__all__ = ("Results", "check_table", "locked", "opened", "table_of", "write_table")

_ECSV = b"# %ECSV"
_STAGES = ("read", "noise", "psi", "filter", "qa", "write")


class Results:
    """A file with a line for each exposure that was worked on; of several on one, the last counts.

    Use `opened`.
    """

    def __init__(self, path: str, file: IO[bytes]) -> None:
        self.path = path
        self._file = file
        self.known = self._read()

    def _read(self) -> dict[str, dict[str, Any]]:
        """What is known from before, by output; a last line that was not written to its end is taken off."""
        known: dict[str, dict[str, Any]] = {}
        self._file.seek(0)
        content = self._file.read()
        whole = content.rfind(b"\n") + 1
        for number, line in enumerate(content[:whole].split(b"\n"), 1):
            # After a power cut there may be zeros where lines were.
            with suppress(json.JSONDecodeError, UnicodeDecodeError):
                known |= self._entry(line, number)
        if whole < len(content):
            self._file.truncate(whole)
        return known

    def _entry(self, line: bytes, number: int) -> dict[str, dict[str, Any]]:
        found = json.loads(line or b"null")
        if found is None:
            return {}
        if not isinstance(found, dict) or "output" not in found or "status" not in found:
            raise UsageError(f"{self.path}, line {number}: is no line of decorr batch; --results names another file")
        return {str(found["output"]): found}

    def add(self, outcome: Mapping[str, Any]) -> None:
        """Write what became of an exposure."""
        line = json.dumps(outcome, allow_nan=False).encode() + b"\n"
        with naming(self.path):
            self._file.write(line)
            self._file.flush()
        self.known[str(outcome["output"])] = dict(outcome)

    def failed(self, task: Task) -> bool:
        """Whether an exposure failed when it was worked on last."""
        return self.known.get(task.path, {}).get("status") == "failed"


@contextmanager
def opened(path: str) -> Iterator[Results]:
    """The results at a place, which nobody else can open in the meantime.

    Raises
    ------
    UsageError
        If another batch has them, they cannot be written, or there is something else.
    """
    if os.path.lexists(path) and not os.path.isfile(path):
        raise UsageError(f"{path}: the results cannot be written there: it is no regular file")
    try:
        file = open(path, "a+b")  # noqa: SIM115
    except OSError as error:
        raise UsageError(f"{path}: the results cannot be written: {error.strerror}") from error
    with file:
        if lock(file.fileno()) is False:
            raise UsageError(f"{path}: another batch is writing these results")
        results = Results(path, file)
        yield results
        with naming(path):
            os.fsync(file.fileno())


@contextmanager
def locked(manifest: str, shared: bool) -> Iterator[None]:
    """A manifest that no other batch can work on in the meantime, but for those of its other parts if it is shared.

    Raises
    ------
    UsageError
        If another one does.
    """
    with open(manifest, "rb") as file:
        if lock(file.fileno(), shared) is False:
            raise UsageError(f"{manifest}: another batch is working on this manifest")
        yield


def table_of(tasks: Sequence[Task], known: Mapping[str, Mapping[str, Any]]) -> Any:
    """A table of all exposures in the order of the manifest: an `astropy.table.Table`."""
    import numpy as np
    from astropy.table import Table

    found = [known.get(task.path, {"status": "missing"}) for task in tasks]
    said = {
        "number": [task.number for task in tasks],
        "image": [task.path for task in tasks],
        **{role: [task.images[role] for task in tasks] for role in ("science", "template", "difference")},
        "status": [str(one["status"]) for one in found],
        "verdict": [_verdict(one) for one in found],
        "reasons": [_reasons(one) for one in found],
        "gates": ["; ".join(one.get("gates", ())) for one in found],
        "warnings": ["; ".join(map(str, one.get("warnings", ()))) for one in found],
        "attempts": [int(one.get("attempts", 0)) for one in found],
        "made": [str(one.get("made") or "") for one in found],
        "host": [str(one.get("host", "")) for one in found],
        "when": np.array([_number(one.get("when")) for one in found], float),
    }
    figures = {
        name: np.array([_number(one.get("figures", {}).get(name)) for one in found], float)
        for name in FIGURE_CARDS.values()
    }
    costs = {name: np.array([_number(one.get(name)) for one in found], float) for name in ("seconds", "memory")}
    stages = {
        f"seconds_{name}": np.array([_number(one.get("run", {}).get("timings", {}).get(name)) for one in found], float)
        for name in _STAGES
    }
    table = Table({**said, **figures, **costs, **stages})
    table.meta = {"schema": SCHEMA, "version": __version__, "figures": [*figures, *costs]}
    table["memory"].unit = "MB"
    for name in ("seconds", *stages):
        table[name].unit = "s"
    return table


def _verdict(one: Mapping[str, Any]) -> str:
    """As an index over results has it: an error where there is no result."""
    if one["status"] in ("failed", "missing"):
        return "error"
    return str(one.get("verdict") or "error")


def _reasons(one: Mapping[str, Any]) -> str:
    if one["status"] == "missing":
        return "it was not worked on"
    if one["status"] == "failed":
        return str(one.get("error", {}).get("message", ""))
    return "; ".join(map(str, one.get("reasons", ())))


def _number(value: Any) -> float:
    return float(value) if isinstance(value, int | float) else math.nan


def check_table(path: str) -> None:
    """Refuse to put the table in the place of something else.

    Raises
    ------
    UsageError
        If there is another file, or the table cannot be written there.
    """
    try:
        check_output(path, [], True)
        with open(path, "rb") as file:
            start = file.read(len(_ECSV))
    except FileNotFoundError:
        return
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}") from error
    if start != _ECSV:
        raise UsageError(f"{path}: is no table of a batch; --summary names another file")


def write_table(table: Any, path: str) -> None:
    """Write the table, whole or not at all, in the place of an earlier one."""
    with whole_file(path, True) as temporary:
        table.write(temporary, format="ascii.ecsv", overwrite=True)
