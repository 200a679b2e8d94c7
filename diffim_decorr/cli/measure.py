"""``decorr measure``: forced photometry at given positions."""

from __future__ import annotations

from typing import Any

import click

from diffim_decorr.cli.commands import Command, argument, output_option
from diffim_decorr.cli.common import say, tell, warn
from diffim_decorr.cli.config import config_option
from diffim_decorr.cli.lines import print_line
from diffim_decorr.cli.options import chosen, options_of
from diffim_decorr.errors import OutputExistsError, UsageError
from diffim_decorr.options import CommandOptions, MeasureOptions, OutputOptions

__all__ = ("measure",)


@click.command(
    cls=Command,
    page="snr.md",
    examples=[
        ("decorr measure diff_decorr.fits positions.ecsv", "fluxes at the positions of a table"),
        ("decorr measure night*/diff_decorr.fits targets.csv -o lightcurves.ecsv", "light curves over many nights"),
        ("decorr measure diff_decorr.fits targets.csv --apertures 3,5.5 --limit 5", "with apertures, limits at 5 σ"),
    ],
)
@argument("files", "IMAGE... TABLE", "Images, outputs of decorr run, and last the table.", nargs=-1, required=True)
@output_option("TABLE", "_fluxes")
@options_of(MeasureOptions)
@options_of(OutputOptions, "overwrite", "skip_existing")
@options_of(CommandOptions, "quiet")
@config_option
def measure(files: tuple[str, ...], **given: Any) -> None:
    """Measure fluxes of point sources at the positions in TABLE in each IMAGE, an output of decorr run.

    TABLE has columns ra and dec (ICRS, degrees), or x and y (0-based pixels), as .ecsv, .csv, .fits, .vot or .xml. So
    has the output, with a row for each position in each image.
    """
    import os

    options = chosen(MeasureOptions, given)
    output, command = chosen(OutputOptions, given), chosen(CommandOptions, given)
    *images, table = files
    if not images:
        raise UsageError("decorr measure needs an image, and then a table of positions")
    from diffim_decorr.detect.forced import measure_files

    stem, ending = os.path.splitext(table)
    path = output.output or f"{stem}_fluxes{ending}"
    try:
        found, warnings = measure_files(images, table, options, output=path, overwrite=output.overwrite)
    except OutputExistsError:
        if not output.skip_existing:
            raise
        if not command.quiet:
            say(f"decorr: {path}: skipped, for it exists already")
        return
    if command.quiet:
        return
    for text in warnings:
        warn(text)
    with tell(path):
        detected = int((found["snr"] >= options.limit).sum())
        for label, value in (
            ("output", path),
            ("positions", f"{len(found) // len(images)} in {len(images)} image{'s' * (len(images) > 1)}"),
            (f"S/N of {options.limit:g} or more", str(detected)),
        ):
            print_line(f"{label:<22}{value}")
