"""What is told of a run, as one object: what ``--json`` prints, and what batches keep."""

from __future__ import annotations

from typing import Any

from diffim_decorr._version import __version__
from diffim_decorr.io.output.layouts import output_paths
from diffim_decorr.options import LayoutName
from diffim_decorr.record import Record

__all__ = ("SCHEMA", "skipped_of", "snr_summary", "summary_of")

#: Version of the object's form: what means something else gets a new number.
SCHEMA = 1


def summary_of(record: Record, path: str | None = None, layout: LayoutName = "lsst") -> dict[str, Any]:
    """The object on a run; figures that could not be measured are None."""
    summary: dict[str, Any] = {"schema": SCHEMA, "version": __version__}
    if path is not None:
        summary |= _files(path, layout)
    tree = record.tree()
    return summary | {"mode": "spatial" if tree["options"].get("spatial") else "constant"} | tree


def snr_summary(record: Record, path: str) -> dict[str, Any]:
    """The object of ``decorr snr``."""
    return {"schema": SCHEMA, "version": __version__, "output": path, **record.tree()}


def skipped_of(path: str, layout: LayoutName, warnings: list[str]) -> dict[str, Any]:
    """The object for an output that was there already."""
    return {"schema": SCHEMA, "version": __version__, **_files(path, layout), "skipped": True, "warnings": warnings}


def _files(path: str, layout: LayoutName) -> dict[str, Any]:
    files = output_paths(path, layout)
    return {"output": path} if len(files) == 1 else {"output": path, "files": files}
