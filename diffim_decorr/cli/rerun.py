"""``decorr rerun``: making an output once more."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import click

from diffim_decorr.cli.commands import Command, argument, output_option
from diffim_decorr.cli.common import loading, tell, typed, warn
from diffim_decorr.cli.options import chosen, options_of
from diffim_decorr.cli.progress import progress_shown
from diffim_decorr.options import CommandOptions, OutputOptions

__all__ = ("rerun",)


@click.command(
    cls=Command,
    page="output.md",
    examples=[
        ("decorr rerun diff_decorr.fits", "writes diff_decorr_rerun.fits"),
        ("decorr rerun diff_decorr.fits -o again.fits --json -q", "with figures for a script"),
        ("decorr config diff_decorr.fits > night.toml", "rather its options, to be changed"),
    ],
)
@argument("made", "OUT", "An output of decorr run.")
@output_option("OUT", "_rerun")
@options_of(OutputOptions, "overwrite")
@options_of(CommandOptions, "json", "quiet", "verbose")
def rerun(made: str, output: str | None, **given: Any) -> None:
    """Make OUT, an output of decorr run, once more: from the same files, with the same options.

    Files that have changed since are named. They are looked for where they were, from the current folder, or else
    beside OUT.
    """
    with loading():
        from diffim_decorr.io.output.layouts import default_output
        from diffim_decorr.recipe import recipe_of
        from diffim_decorr.run import decorrelate_files

    command, place = chosen(CommandOptions, given), chosen(OutputOptions, given)
    recipe = recipe_of(made).found()
    path = output or default_output(made, "_rerun")
    with progress_shown(command.quiet) as progress:
        written, record = decorrelate_files(
            recipe.images["science"],
            recipe.images["template"],
            recipe.images["difference"],
            recipe.inputs,
            recipe.options,
            replace(recipe.output, output=path, overwrite=place.overwrite),
            others=(command,),
            command=typed(),
            guarded=[made],
            progress=progress,
        )
    if not command.quiet:
        for text in (*recipe.changes(), *record.warnings):
            warn(str(text))
    if command.json or not command.quiet:
        from diffim_decorr.cli.summary import print_json, print_summary
        from diffim_decorr.summary import summary_of

        summary = summary_of(record, written, recipe.output.layout)
        with tell(written):
            if command.json:
                print_json(summary)
            else:
                print_summary(summary, command.verbose)
