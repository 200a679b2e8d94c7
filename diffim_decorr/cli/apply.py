"""``decorr apply``: convolve companion images with the ψ that a run stored."""

from __future__ import annotations

from typing import Any

import click

from diffim_decorr.cli.commands import Command, argument, output_option
from diffim_decorr.cli.common import guarded_files, loading, skipped, tell, warn
from diffim_decorr.cli.config import config_option
from diffim_decorr.cli.lines import print_line
from diffim_decorr.cli.options import chosen, options_of
from diffim_decorr.cli.progress import progress_shown
from diffim_decorr.errors import OutputExistsError
from diffim_decorr.options import ApplyOptions, CommandOptions, OutputOptions

__all__ = ("apply",)


@click.command(
    cls=Command,
    page="apply.md",
    examples=[
        ("decorr apply sci.fits --psi diff_decorr.fits", "the science image, for its zero point"),
        ("decorr apply fakes.fits --psi diff_decorr.fits --mask diff_decorr.fits", "sources that were injected"),
        ("decorr apply psf.fits --psi diff_decorr.fits --at 512 300 -o psf_at.fits", "a PSF at one position"),
    ],
)
@argument("image", "IMAGE", "The image to convolve.")
@options_of(ApplyOptions)
@output_option("IMAGE", "_decorr")
@options_of(OutputOptions, "overwrite", "skip_existing")
@options_of(CommandOptions, "json", "quiet")
@config_option
def apply(image: str, **given: Any) -> None:
    """Convolve IMAGE with the decorrelation kernel of a run, so that it goes with the run's result.

    The science image for its zero point, injected fakes, a matched template, or with --at a PSF.
    """
    from time import perf_counter

    start = perf_counter()
    options = chosen(ApplyOptions, given)
    output, command = chosen(OutputOptions, given), chosen(CommandOptions, given)
    with loading():
        from diffim_decorr.apply import apply_file

    try:
        with progress_shown(command.quiet) as progress:
            path, hdus, record = apply_file(
                image,
                options,
                output=output.output,
                overwrite=output.overwrite,
                guarded=guarded_files(),
                progress=progress,
            )
    except OutputExistsError:
        if skipped(image, output, command):
            return
        raise
    if not command.quiet:
        for warning in record.warnings:
            warn(warning)
    if command.quiet and not command.json:
        return
    tree = record.tree()
    seconds = perf_counter() - start
    with tell(path):
        if command.json:
            from diffim_decorr.cli.summary import print_json
            from diffim_decorr.summary import summary_of

            psi = {"file": options.psi, **tree["psi"]}
            print_json(
                {
                    **summary_of(record, path),
                    "mode": psi["mode"],
                    "psi": psi,
                    "hdus": hdus,
                    "seconds": round(seconds, 4),
                }
            )
            return
        psi = tree["psi"]
        for label, value in (
            ("output", path),
            ("HDUs", ", ".join(hdus)),
            ("decorrelation kernel", f"{psi['mode']}, half width {psi['half_width']}, {psi['modes']} modes"),
            ("seconds", f"{seconds:.2f}"),
        ):
            print_line(f"{label:<22}{value}")
