"""What is done for one exposure, and what became of it, as one JSON object.

Everything that goes to another process and comes back from there is made of plain numbers, words, lists and mappings.
"""

from __future__ import annotations

import errno
import os
import platform
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from time import perf_counter
from typing import Any

from diffim_decorr.batch.resume import why_again
from diffim_decorr.batch.tasks import Task
from diffim_decorr.errors import InputError, OutputExistsError, UsageError, causes, lacks_memory
from diffim_decorr.findings import findings_of
from diffim_decorr.io.output.layouts import is_output
from diffim_decorr.io.unfinished import reclaim
from diffim_decorr.memory import begin_peak, peak
from diffim_decorr.report.companions import draw_result, map_result
from diffim_decorr.run import decorrelate_files, decorrelate_mosaic
from diffim_decorr.summary import summary_of

__all__ = ("failure", "work")

# What may be gone the next time: errors of disks and networks, and what was used up.
_PASSING = {
    getattr(errno, name)
    for name in (
        "EIO", "ESTALE", "ETIMEDOUT", "EAGAIN", "EBUSY", "ENOLCK", "EREMOTEIO", "ENETDOWN", "ENETUNREACH", "EHOSTDOWN",
        "EHOSTUNREACH", "ECONNRESET", "ENOTCONN", "ESHUTDOWN", "ENFILE", "EMFILE", "ENOSPC", "EDQUOT",
    )
    if hasattr(errno, name)
}  # fmt: skip

_HEADER = 1 << 20  # bytes in which an output says that it is one


def work(tree: Mapping[str, Any]) -> dict[str, Any]:
    """Do what is to be done for one exposure.

    Parameters
    ----------
    tree
        A task as `Task.tree` makes it.

    Returns
    -------
    outcome
        ``status`` is ``done``, ``skipped`` or ``failed``; the latter with an ``error``, of which ``passing`` says
        whether it may be gone the next time.
    """
    start = perf_counter()
    task = Task.of(tree)
    begin_peak()
    try:
        outcome = _worked(task)
    except Exception as error:  # of one exposure, which is not to stop the others
        outcome = failure(task, *_cause(error))
    outcome["seconds"] = round(perf_counter() - start, 3)
    outcome["memory"] = peak()
    return outcome


def failure(task: Task, code: str, message: str, passing: bool = False) -> dict[str, Any]:
    """What is told of an exposure that there is no result of."""
    return {**_about(task), "status": "failed", "error": {"code": code, "message": message, "passing": passing}}


def _about(task: Task) -> dict[str, Any]:
    return {
        "number": task.number,
        "output": task.path,
        "inputs": task.images,
        "host": platform.node(),
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _worked(task: Task) -> dict[str, Any]:
    output, companions = task.output, task.companions
    lacking = [path for path in companions.files if not os.path.isfile(path)]
    there = [path for path in task.paths if os.path.isfile(path)]
    if output.skip_existing and len(there) == len(task.paths):
        return _skipped(task, "it exists", lacking)
    again = "--overwrite" if output.overwrite else why_again(task)
    if not again:
        return _skipped(task, "it is whole, of the same inputs, options and version", lacking)
    if not output.overwrite and not all(map(_ours, there)):
        raise OutputExistsError(f"{task.path}: is no output of decorr, and replaced only with --overwrite")
    if not output.overwrite and not there and len(lacking) < len(companions.files):
        path = next(path for path in companions.files if path not in lacking)
        raise OutputExistsError(f"{path}: is there, but the result is not that it could be of (--overwrite)")
    told = summary_of(*_run(task))
    more = _make_companions(task, companions.files)
    return {**_about(task), "status": "done", "why": again, **_found(task, more), "run": told}


def _make_companions(task: Task, wanted: Collection[str]) -> list[str]:
    """Make what is wanted of all that is made of the result besides, and tell the warnings."""
    own = task.companions
    plot, report = (path if path in wanted else None for path in (own.plot, own.report))
    if plot or report:
        draw_result(task.paths[0], task.images, task.inputs, task.options, plot, report, overwrite=True)
    if own.snr in wanted and own.snr is not None:
        return [f"{own.snr}: {text}" for text in map_result(task.path, task.options, own.snr, overwrite=True).warnings]
    return []


def _ours(path: str) -> bool:
    """Whether a file may be replaced: an output, or what is left of one."""
    if is_output(path):
        return True
    with open(path, "rb") as file:
        start = file.read(_HEADER)
    return not start or b"DCVERS  =" in start


def _run(task: Task) -> Any:
    """Make the output, in the same way as the command that does it."""
    output = replace(task.output, overwrite=True, skip_existing=False)
    images = task.science, task.template, task.difference
    if not task.inputs.all_ext:
        path, record = decorrelate_files(
            *images, task.inputs, task.options, output, command=task.line, psf_needed=task.companions.snr is not None
        )
        return record, path, output.layout
    records: list[Any] = []
    path, failures, count = decorrelate_mosaic(
        *images, task.inputs, task.options, output, command=task.line, told=lambda *told: records.append(told[2])
    )
    if failures:
        why = "; ".join(failures.values())
        raise InputError(f"{path}: written without {', '.join(failures)}, {len(failures)} of {count} HDUs: {why}")
    worst = max(records, key=lambda record: ("ok", "check", "fail").index(record.verdict.status))
    return worst, path, output.layout


def _skipped(task: Task, why: str, lacking: Sequence[str]) -> dict[str, Any]:
    """What is told of a result that is there; what was to be made of it besides may be not."""
    for path in task.written:
        reclaim(path)
    if not lacking:
        return {**_about(task), "status": "skipped", "why": why, **_found(task)}
    more = _make_companions(task, lacking)
    return {**_about(task), "status": "done", "why": f"there is no {lacking[0]}", **_found(task, more)}


def _found(task: Task, warnings: Sequence[str] = ()) -> dict[str, Any]:
    """What the output's own header says: the same whether it was made now or before."""
    found = None
    with suppress(InputError):
        found = findings_of(task.path)
    if found is None:
        told = [f"{task.path}: is no output of decorr", *warnings]
        return {"verdict": None, "reasons": [], "figures": {}, "when": None, "made": None, "warnings": told}
    return {
        "verdict": found.status,
        "reasons": list(found.reasons),
        "figures": dict(found.figures),
        "when": found.when if found.when == found.when else None,
        "made": found.made,
        "warnings": [*found.warnings, *warnings],
    }


def _cause(error: BaseException) -> tuple[str, str, bool]:
    """What kind of failure it is, a line about it, and whether it may be gone the next time."""
    numbers = [one.errno for one in causes(error) if isinstance(one, OSError)]
    passing = any(number in _PASSING for number in numbers)
    text = " ".join(str(error).split()) or type(error).__name__
    if lacks_memory(error):
        return "memory", "there is not enough memory for it (--memory-limit, --max-memory)", False
    if isinstance(error, OSError) and error.filename is not None:
        text = f"{os.fsdecode(error.filename)}: {error.strerror}"
    if isinstance(error, OSError) or passing:
        return "io", text, passing
    if isinstance(error, InputError):
        return "usage" if isinstance(error, UsageError) else "input", text, False
    return "internal", f"{type(error).__name__}: {text}", False
