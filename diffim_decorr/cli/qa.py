"""``decorr qa``: judging difference images, whoever made them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from diffim_decorr.cli.commands import Command, argument, option
from diffim_decorr.cli.common import loading, say, warn
from diffim_decorr.cli.options import chosen, options_of
from diffim_decorr.cli.pictures import check_pictures
from diffim_decorr.errors import InputError, UsageError
from diffim_decorr.options import OutputOptions, QaOptions

if TYPE_CHECKING:
    from diffim_decorr.assessment import Assessment

__all__ = ("qa",)


@click.command(
    cls=Command,
    page="qa.md",
    examples=[
        ("decorr qa diff_decorr.fits --report qa.html", "a result, with a page on it"),
        (
            "decorr qa diff.fits --sci sci.fits --tmpl tmpl.fits --kernel kernel.fits",
            "any difference, and what it should be",
        ),
        ("decorr qa night/*_decorr.fits --ecsv figures.ecsv --fail-if 'max_abs_rho>0.05'", "many, with a limit"),
    ],
)
@argument(
    "images",
    "IMAGE...",
    "What decorr run has written, or any other difference image; FILE may be name.fits[EXT] everywhere.",
    nargs=-1,
    required=True,
)
@options_of(QaOptions)
@option(
    "--fail-if",
    "conditions",
    section="Quality",
    multiple=True,
    metavar="CONDITION",
    help="End with status 4 if a figure is so, as 'max_abs_rho>0.05'; may be given several times.",
)
@option("--strict", section="Quality", is_flag=True, help="End with status 4 if a verdict is fail.")
@option("--json", "as_json", section="Messages", is_flag=True, help="Print one JSON object.")
@option(
    "--ecsv", section="Output", path=True, metavar="FILE", help="Write all figures as a table, a row for each image."
)
@option("--plot", section="Output", path=True, metavar="FILE", help="Draw everything on one page, as PNG, PDF, SVG …")
@option("--report", section="Output", path=True, metavar="FILE.html", help="Write a page with figures and pictures.")
@options_of(OutputOptions, "overwrite")
@option("-q", "--quiet", section="Messages", is_flag=True, help="Print nothing but errors.")
def qa(
    images: tuple[str, ...],
    conditions: tuple[str, ...],
    strict: bool,
    as_json: bool,
    ecsv: str | None,
    plot: str | None,
    report: str | None,
    quiet: bool,
    **given: Any,
) -> None:
    """Judge the noise of difference images: is it white, and does the variance plane tell its size?

    Its variance plane and mask are found as decorr run finds them, or given.
    """
    options, output = chosen(QaOptions, given), chosen(OutputOptions, given)
    if len(images) > 1 and options.files:
        name = next(iter(options.files))
        raise UsageError(f"--{name} belongs to one image; {len(images)} are given")
    if len(images) > 1 and (plot or report):
        raise UsageError("--plot and --report are of one image; decorr report makes an index over many")
    with loading():
        from diffim_decorr.assessment import Condition, assess_file, table_of
        from diffim_decorr.io.atomic import check_output
        from diffim_decorr.report.companions import write_pictures

    limits = [Condition.of(text) for text in conditions]
    check_pictures(plot, report, [*images, *options.files.values()], output.overwrite)
    if ecsv is not None:
        check_output(ecsv, [*images, *options.files.values()], output.overwrite)
    found: list[Assessment] = []
    broken: list[str] = []
    for image in images:
        try:
            found.append(assess_file(image, options))
        except UsageError:
            raise
        except InputError as error:
            if len(images) == 1:
                raise
            say(f"decorr: error: {error}")
            broken.append(str(error))
    values = {one.name: {name: measured.value for name, measured in one.figures.items()} for one in found}
    missed = {name: [said for limit in limits if (said := limit.met_by(own))] for name, own in values.items()}
    if not quiet:
        for one in found:
            for text in one.warnings:
                warn(text)
    if ecsv is not None:
        _write_table(ecsv, table_of(found), output.overwrite)
    for one in found:
        write_pictures(one, plot, report, output.overwrite)
    if as_json:
        _print_json(found, broken, len(images) > 1)
    elif not quiet:
        from diffim_decorr.cli.score import print_scores

        print_scores(found, len(images) > 1)
    _end(found, broken, missed, strict)


def _write_table(path: str, table: Any, overwrite: bool) -> None:
    from diffim_decorr.io.atomic import whole_file

    with whole_file(path, overwrite) as temporary:
        table.write(temporary, format="ascii.ecsv", overwrite=True)


def _print_json(found: list[Assessment], broken: list[str], several: bool) -> None:
    from diffim_decorr._version import __version__
    from diffim_decorr.assessment import SCHEMA
    from diffim_decorr.cli.summary import print_json

    trees = [one.tree() for one in found]
    print_json({"schema": SCHEMA, "version": __version__, "images": trees, "failed": broken} if several else trees[0])


def _end(found: list[Assessment], broken: list[str], missed: dict[str, list[str]], strict: bool) -> None:
    """End with the status that images and conditions ask for."""
    from diffim_decorr.errors import FailedVerdictError

    failed = [f"{name}: {', '.join(said)}" for name, said in missed.items() if said]
    if strict:
        failed += [f"{one.name}: {one.verdict}" for one in found if one.verdict.status == "fail"]
    for text in failed[1:]:
        say(f"decorr: {text}")
    if broken:
        raise InputError(f"{len(broken)} of {len(broken) + len(found)} images could not be judged")
    if failed:
        raise FailedVerdictError(failed[0])
