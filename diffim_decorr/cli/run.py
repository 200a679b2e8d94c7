"""``decorr run``: the main job."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from diffim_decorr._version import __version__
from diffim_decorr.cli.commands import Command, argument
from diffim_decorr.cli.common import guarded_files, loading, say, skipped, tell, typed, warn
from diffim_decorr.cli.config import config_option
from diffim_decorr.cli.options import chosen, options_of
from diffim_decorr.cli.pictures import check_pictures, extra
from diffim_decorr.cli.progress import progress_shown
from diffim_decorr.errors import OptionError, OutputExistsError
from diffim_decorr.options import CommandOptions, InputOptions, Options, OutputOptions

if TYPE_CHECKING:
    from diffim_decorr.errors import InputError
    from diffim_decorr.record import Record

__all__ = ("run",)


@click.command(
    cls=Command,
    page="reference/options.md",
    examples=[
        ("decorr run sci.fits tmpl.fits diff.fits --spatial", "the kernel is in the difference (HOTPANTS -hki)"),
        (
            "decorr run sci.fits tmpl.fits diff.fits -k FITS_Solution.fits --psf psf.fits --spatial -o white.fits",
            "with SFFT's solution, and the PSF of what was not convolved",
        ),
        (
            "decorr run sci.fits tmpl.fits diff.fits -k kernel.fits --noise measured --report white.html",
            "images that were resampled, and a page on the result",
        ),
    ],
)
@argument("sci", "SCI", "The science image, with its variance and mask.")
@argument("tmpl", "TMPL", "The template, likewise, on the same pixels.")
@argument("diff", "DIFF", "The difference of the two.")
@options_of(InputOptions)
@options_of(Options)
@options_of(OutputOptions)
@options_of(CommandOptions)
@config_option
def run(sci: str, tmpl: str, diff: str, **given: Any) -> None:
    """Whiten the noise of the difference image DIFF of SCI and TMPL.

    FILE may be name.fits[EXT] everywhere; .fits.gz and .fits.fz are read and written.
    """
    from time import perf_counter

    start = perf_counter()
    inputs, options = chosen(InputOptions, given), chosen(Options, given)
    output, command = chosen(OutputOptions, given), chosen(CommandOptions, given)
    with loading():
        from diffim_decorr.run import decorrelate_files

    starting = perf_counter() - start
    if inputs.all_ext and (command.plot or command.report):
        raise OptionError(
            "{plot} and {report} are of one exposure, not of {all_ext}; decorr qa OUT[IMAGE,2] makes them"
        )
    if inputs.all_ext and command.scheduler:
        raise OptionError("{scheduler} is for one large exposure, not for {all_ext}")
    if command.scheduler:
        with extra("batch"):
            import distributed  # noqa: F401
    try:
        if command.snr:
            _check_maps(command.snr, [sci, tmpl, diff, *inputs.files], inputs, options, output)
        check_pictures(command.plot, command.report, [sci, tmpl, diff, *inputs.files], output.overwrite)
        if inputs.all_ext:
            _run_all((sci, tmpl, diff), inputs, options, output, command, start)
            return
        with progress_shown(command.quiet) as progress:
            path, record = decorrelate_files(
                sci, tmpl, diff, inputs, options, output,
                others=(command,), command=typed(), guarded=guarded_files(), psf_needed=command.snr is not None,
                scheduler=command.scheduler, progress=progress,
            )  # fmt: skip
    except OutputExistsError:
        if skipped(diff, output, command):
            return
        raise
    record.timings = {"start": starting, **record.timings, "total": perf_counter() - start}
    if not command.quiet:
        for warning in record.warnings:
            warn(warning)
    if command.json or not command.quiet:
        from diffim_decorr.cli.summary import print_json, print_summary
        from diffim_decorr.summary import summary_of

        summary = summary_of(record, path, output.layout)
        with tell(path):
            if command.json:
                print_json(summary)
            else:
                print_summary(summary, command.verbose)
    if command.plot or command.report:
        _write_pictures(path, record, inputs, command, output.overwrite)
    if command.snr:
        _write_maps(path, options, command, output.overwrite)
    if command.strict:
        _refuse_failed(path, [record])


def _write_pictures(path: str, record: Record, inputs: InputOptions, command: CommandOptions, overwrite: bool) -> None:
    """The picture and the page on a result."""
    from diffim_decorr.io.output.layouts import output_paths
    from diffim_decorr.report.companions import draw_result

    options = next(own for own in record.options if isinstance(own, Options))
    layout = next(own.layout for own in record.options if isinstance(own, OutputOptions))
    image = output_paths(path, layout)[0]
    draw_result(image, record.inputs, inputs, options, command.plot, command.report, overwrite)


def _check_maps(path: str, read: list[str], inputs: InputOptions, options: Options, output: OutputOptions) -> None:
    """Refuse maps that cannot be made before anything is done."""
    from diffim_decorr.io.atomic import check_output
    from diffim_decorr.io.hdus import split_spec

    if inputs.all_ext:
        raise OptionError("{snr} is of one exposure, not of {all_ext}; decorr snr OUT[IMAGE,2] makes the maps")
    if options.score:
        raise OptionError("{snr} has no meaning with {score}: a score image over the roots of its variance is the S/N")
    if path == output.output:
        raise OptionError("{snr} and {output} name the same file")
    check_output(path, [split_spec(name)[0] for name in read], output.overwrite)


def _write_maps(path: str, options: Options, command: CommandOptions, overwrite: bool) -> None:
    """The maps of flux, error and S/N of a result."""
    from diffim_decorr.report.companions import map_result

    assert command.snr is not None
    record = map_result(path, options, command.snr, overwrite)
    if not command.quiet:
        for warning in record.warnings:
            warn(f"{command.snr}: {warning}")


def _refuse_failed(path: str, records: list[Record]) -> None:
    """End with status 4 if a verdict is fail."""
    from diffim_decorr.errors import FailedVerdictError

    failed = [record.verdict for record in records if record.verdict is not None and record.verdict.status == "fail"]
    if failed:
        raise FailedVerdictError(f"{path}: written, but judged bad: {failed[0]}")


def _run_all(
    images: tuple[str, str, str],
    inputs: InputOptions,
    options: Options,
    output: OutputOptions,
    command: CommandOptions,
    start: float,
) -> None:
    """Every exposure of the difference into one output; one that cannot be used does not stop the others."""
    from time import perf_counter

    from diffim_decorr.cli.summary import print_extensions, print_json
    from diffim_decorr.errors import InputError
    from diffim_decorr.run import decorrelate_mosaic
    from diffim_decorr.summary import SCHEMA

    summaries: list[dict[str, Any]] = []
    records: list[Record] = []

    def told(extension: str, number: int, found: Record | InputError) -> None:
        if isinstance(found, InputError):
            say(f"decorr: error: {found}")
            return
        if not command.quiet:
            for warning in found.warnings:
                warn(f"[{extension}] {warning}")
        records.append(found)
        summary = {"mode": "spatial" if options.spatial else "constant", **found.tree()}
        summaries.append({"extension": extension, "version": number, **summary})

    with progress_shown(command.quiet, "each exposure") as progress:
        path, failures, count = decorrelate_mosaic(
            *images, inputs, options, output,
            others=(command,), command=typed(), guarded=guarded_files(), progress=progress, told=told,
        )  # fmt: skip
    seconds = perf_counter() - start
    with tell(path):
        if command.json:
            failed = [{"extension": extension, "error": cause} for extension, cause in failures.items()]
            timings = {"total": round(seconds, 4)}
            whole = {"output": path, "extensions": summaries, "failed": failed, "timings": timings}
            print_json({"schema": SCHEMA, "version": __version__, **whole})
        elif not command.quiet:
            print_extensions(path, summaries, seconds)
    if failures:
        raise InputError(f"{path}: written without {', '.join(failures)}, {len(failures)} of {count} HDUs")
    if command.strict:
        _refuse_failed(path, records)
