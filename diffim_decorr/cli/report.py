"""``decorr report``: an index over many results."""

from __future__ import annotations

from typing import Any

import click

from diffim_decorr.cli.commands import Command, argument, option
from diffim_decorr.cli.lines import print_line
from diffim_decorr.cli.options import chosen, options_of
from diffim_decorr.cli.pictures import check_pictures, extra
from diffim_decorr.errors import InputError
from diffim_decorr.options import CommandOptions, OutputOptions

__all__ = ("report",)


@click.command(
    cls=Command,
    page="qa.md",
    examples=[
        ("decorr report night/", "an index over a folder, report.html"),
        ("decorr report night/*_decorr.fits --pages -o night.html", "with a page for each result"),
        ("decorr report figures.ecsv --title 'Night 12'", "of what decorr qa --ecsv wrote"),
    ],
)
@argument(
    "results",
    "RESULT...",
    "Outputs of decorr run, folders of them, or tables that decorr qa --ecsv wrote.",
    nargs=-1,
    required=True,
)
@option(
    "-o",
    "--output",
    section="Output",
    path=True,
    default="report.html",
    show_default=True,
    metavar="FILE.html",
    help="The index.",
)
@option("--pages", section="Output", is_flag=True, help="Also write the page of each result that has none, beside it.")
@option("--title", section="Output", default="Decorrelated differences", show_default=True, help="Its heading.")
@options_of(OutputOptions, "overwrite")
@options_of(CommandOptions, "quiet")
def report(results: tuple[str, ...], output: str, pages: bool, title: str, **given: Any) -> None:
    """Write an index over many results: verdicts, figures, trends, the worst first.

    A page beside a result, of its name with .html, is linked.
    """
    import os

    overwrite, quiet = chosen(OutputOptions, given).overwrite, chosen(CommandOptions, given).quiet
    check_pictures(None, output, [path for path in results if os.path.isfile(path)], overwrite)
    with extra("report"):
        from diffim_decorr.io.atomic import whole_file
        from diffim_decorr.report.index import entries_of, index_of, page_name

    entries = entries_of(results, output)
    if pages:
        from diffim_decorr.assessment import assess_file
        from diffim_decorr.cli.common import warn
        from diffim_decorr.options import QaOptions
        from diffim_decorr.report.companions import write_pictures

        for entry in entries:
            if not entry.link and os.path.exists(entry.name.split("[")[0]):
                try:
                    write_pictures(assess_file(entry.name, QaOptions()), None, page_name(entry.name), overwrite)
                except InputError as error:
                    warn(str(error))
        entries = entries_of(results, output)
    with whole_file(output, overwrite) as temporary, open(temporary, "w", encoding="utf-8") as file:
        file.write(index_of(entries, title))
    if not quiet:
        print_line(f"{output}: {len(entries)} image{'s' * (len(entries) != 1)}")
