"""``decorr snr``: maps of flux, error and S/N of point sources."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import click

from diffim_decorr.cli.commands import Command, argument, output_option
from diffim_decorr.cli.common import guarded_files, loading, skipped, tell, warn
from diffim_decorr.cli.config import config_option
from diffim_decorr.cli.lines import print_line
from diffim_decorr.cli.options import chosen, options_of
from diffim_decorr.cli.progress import progress_shown
from diffim_decorr.errors import OutputExistsError
from diffim_decorr.options import CommandOptions, OutputOptions, SnrOptions

__all__ = ("snr",)


@click.command(
    cls=Command,
    page="snr.md",
    examples=[
        ("decorr snr diff_decorr.fits -o maps.fits", "maps of flux, error and S/N"),
        ("decorr snr diff_decorr.fits --peaks 5 --sci sci.fits", "and a table of what is beyond 5 σ"),
        ("decorr snr other_diff.fits --fwhm 3.2 --noise sigma.fits", "of a difference without a PSF, made elsewhere"),
    ],
)
@argument("image", "IMAGE", "An output of decorr run, or another image with white noise.")
@output_option("IMAGE", "_snr")
@options_of(SnrOptions)
@options_of(OutputOptions, "overwrite", "skip_existing")
@options_of(CommandOptions, "json", "quiet")
@config_option
def snr(image: str, **given: Any) -> None:
    """Measure the flux of a point source, its error and S/N at every pixel of IMAGE, an output of decorr run.

    The output has the images FLUX, FLUX_ERR, SNR and MASK.
    """
    options = chosen(SnrOptions, given)
    output, command = chosen(OutputOptions, given), chosen(CommandOptions, given)
    with loading():
        from diffim_decorr.detect.maps import snr_file
        from diffim_decorr.io.hdus import split_spec
        from diffim_decorr.io.output.layouts import default_output

    path = default_output(split_spec(image)[0], "_snr") if output.output is None else output.output
    try:
        with progress_shown(command.quiet) as progress:
            record = snr_file(
                image,
                options,
                output=path,
                overwrite=output.overwrite,
                guarded=guarded_files(),
                progress=progress,
            )
    except OutputExistsError:
        if skipped(image, replace(output, output=path), command):
            return
        raise
    if not command.quiet:
        for warning in record.warnings:
            warn(warning)
    if command.quiet and not command.json:
        return
    from diffim_decorr.cli.summary import print_json
    from diffim_decorr.summary import snr_summary

    with tell(path):
        summary = snr_summary(record, path)
        if command.json:
            print_json(summary)
            return
        qa = summary["qa"]
        peaks = []
        if qa["peaks"] is not None:
            expected = f"{qa['peaks_of_noise']:.3g}"
            peaks = [("peaks", f"{qa['peaks']} beyond {options.peaks:g} σ, of which noise makes {expected}")]
        for label, value in (
            ("output", path),
            ("PSF", f"{qa['psf']}, half width {qa['reach']}"),
            ("S/N", f"scatter {_shown(qa['snr_std'])}, median {_shown(qa['snr_median'])}"),
            *peaks,
            ("seconds", f"{summary['timings']['total']:.2f}"),
        ):
            print_line(f"{label:<22}{value}")


def _shown(measured: dict[str, float | None]) -> str:
    value, error = measured["value"], measured["error"]
    return "not measured" if value is None else f"{value:.4f} ± {error:.4f}"
