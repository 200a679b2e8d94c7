"""Pictures and pages that commands are asked for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import click

from diffim_decorr.errors import UsageError

__all__ = ("check_pictures", "ending_of", "extra")

_OF_EXTRAS = ("matplotlib", "jinja2", "distributed")


@contextmanager
def extra(name: str) -> Iterator[None]:
    """For imports of what an extra installs: what is missing is said with the remedy."""
    try:
        yield
    except ModuleNotFoundError as error:
        missing = (error.name or "").split(".")[0]
        if missing not in _OF_EXTRAS:
            raise
        raise click.ClickException(f"{missing} is missing; pip install 'diffim-decorr[{name}]' installs it") from error


def ending_of(picture: str) -> str:
    """What kind of file a picture is to be."""
    from diffim_decorr.plots import endings

    ending = picture.rpartition(".")[2].lower()
    if ending not in endings():
        raise UsageError(f"{picture}: a picture must be one of {', '.join(endings())}")
    return ending


def check_pictures(plot: str | None, report: str | None, inputs: Sequence[str], overwrite: bool) -> None:
    """See that a picture and a page can be made and written, before anything is done that takes time."""
    from diffim_decorr.io.atomic import check_output

    if plot is not None:
        with extra("plot"):
            ending_of(plot)
    if report is not None:
        if not report.lower().endswith((".html", ".htm")):
            raise UsageError(f"{report}: a report must end in .html")
        with extra("report"):
            import diffim_decorr.report.page  # noqa: F401
    for path in (plot, report):
        if path is not None:
            check_output(path, list(inputs), overwrite)
