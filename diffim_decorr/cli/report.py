"""``decorr report``: an index over many results."""

from __future__ import annotations

from typing import Any

import click

from diffim_decorr.cli.options import chosen, options_of
from diffim_decorr.cli.pictures import check_pictures, extra, write_pictures
from diffim_decorr.errors import InputError
from diffim_decorr.options import OutputOptions

__all__ = ("report",)


@click.command()
@click.argument("results", metavar="RESULT...", nargs=-1, required=True)
@click.option("-o", "--output", default="report.html", show_default=True, metavar="FILE.html", help="The index.")
@click.option("--pages", is_flag=True, help="Also write the page of each result that has none, beside it.")
@click.option("--title", default="Decorrelated differences", show_default=True, help="Its heading.")
@options_of(OutputOptions, "overwrite")
@click.option("-q", "--quiet", is_flag=True, help="Print nothing but errors.")
def report(results: tuple[str, ...], output: str, pages: bool, title: str, quiet: bool, **given: Any) -> None:
    """Write an index over many results: verdicts, figures, trends, the worst first.

    RESULT is an output of decorr run, a folder of them, or a table that decorr qa --ecsv wrote. A page beside a result,
    of its name with .html, is linked.
    """
    import os

    overwrite = chosen(OutputOptions, given).overwrite
    check_pictures(None, output, [path for path in results if os.path.isfile(path)], overwrite)
    with extra("report"):
        from diffim_decorr.io.atomic import whole_file
        from diffim_decorr.report.index import entries_of, index_of, page_name

    entries = entries_of(results, output)
    if pages:
        from diffim_decorr.assessment import assess_file
        from diffim_decorr.cli.common import warn
        from diffim_decorr.options import QaOptions

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
        click.echo(f"{output}: {len(entries)} image{'s' * (len(entries) != 1)}")
