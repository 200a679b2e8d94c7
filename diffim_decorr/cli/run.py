"""``decorr run``: the main job."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from os import environ
from typing import TYPE_CHECKING, Any

import click

from diffim_decorr.cli import loading
from diffim_decorr.cli.common import plane_names, progress_on_terminal, say
from diffim_decorr.cli.config import config_option

if TYPE_CHECKING:
    from diffim_decorr.exposure import Exposure
    from diffim_decorr.io.output import OutputFile
    from diffim_decorr.options import Options
    from diffim_decorr.plan import Plan
    from diffim_decorr.qa import QualityFigures

__all__ = ("run",)


_KERNEL_FORMATS = ("hotpants", "sfft", "lsst", "table", "grid", "image")


@click.command()
@click.argument("sci", metavar="SCI")
@click.argument("tmpl", metavar="TMPL")
@click.argument("diff", metavar="DIFF")
@click.option("--kernel", "-k", required=True, metavar="FILE", help="Matching kernel.")
@click.option("--kernel-format", type=click.Choice(_KERNEL_FORMATS), help="Read the kernel file as this.")
@click.option("-o", "--output", metavar="FILE", help="Output  [default: DIFF's name with _decorr before its ending]")
@click.option("--spatial/--constant", default=False, help="Let the decorrelation kernel vary over the field, or not.")
@click.option(
    "--kernel-at", nargs=2, type=float, metavar="X Y", help="Where a constant kernel is taken, 0-based pixels."
)
@click.option(
    "--convolved",
    type=click.Choice(["auto", "template", "science"]),
    default="auto",
    show_default=True,
    help="Which image was convolved; auto: what the kernel file says, else the template.",
)
@click.option(
    "--noise",
    type=click.Choice(["white", "measured"]),
    default="white",
    show_default=True,
    help="Take the inputs' noise for white, or measure its correlation on source-free pixels.",
)
@click.option("--svar", type=float, metavar="F", help="Background variance of SCI, instead of measuring it.")
@click.option("--tvar", type=float, metavar="F", help="Background variance of TMPL, instead of measuring it.")
@click.option("--sci-variance", metavar="FILE", help="Variance image of SCI.")
@click.option("--sci-noise", metavar="FILE", help="Standard deviation image of SCI.")
@click.option("--sci-weight", metavar="FILE", help="Inverse variance image of SCI.")
@click.option("--tmpl-variance", metavar="FILE", help="Variance image of TMPL.")
@click.option("--tmpl-noise", metavar="FILE", help="Standard deviation image of TMPL.")
@click.option("--tmpl-weight", metavar="FILE", help="Inverse variance image of TMPL.")
@click.option("--sci-mask", metavar="FILE", help="Mask of SCI.")
@click.option("--tmpl-mask", metavar="FILE", help="Mask of TMPL.")
@click.option("--diff-mask", metavar="FILE", help="Mask of DIFF.")
@click.option("--bad-planes", metavar="A,B,…", callback=plane_names, help="Mask planes left out of statistics.")
@click.option(
    "--replace-planes", metavar="A,B,…", callback=plane_names, help="Mask planes replaced before filtering, or none."
)
@click.option(
    "--variance",
    type=click.Choice(["full", "estimate"]),
    default="full",
    show_default=True,
    help="How variance planes are propagated.",
)
@click.option("--pre-conv-kernel", metavar="FILE", help="The science image was convolved with this first.")
@click.option("--sci-kernel", metavar="FILE", help="The science image was convolved with this (cross-convolution).")
@click.option(
    "--sci-kernel-format",
    type=click.Choice(_KERNEL_FORMATS),
    help="Read the file of --pre-conv-kernel or --sci-kernel as this.",
)
@click.option("--score", is_flag=True, help="DIFF is a likelihood image; needs --pre-conv-kernel.")
@click.option("--inputs", metavar="FILE.toml", help="The images that were stacked on each side.")
@click.option("--psf", metavar="FILE", help="PSF of the input that was not convolved.")
@click.option(
    "--node-spacing", type=float, default=256.0, show_default=True, metavar="PX", help="Node spacing to begin with."
)
@click.option(
    "--tolerance", type=float, default=1e-3, show_default=True, metavar="F", help="Bound of the rms error / noise."
)
@click.option("--half-width", type=int, metavar="PX", help="Of the decorrelation kernel  [default: by the tolerance]")
@click.option("--max-gain", type=float, default=1e4, show_default=True, metavar="F", help="Limit of the filter's gain.")
@click.option(
    "--bad-fraction",
    type=float,
    default=0.01,
    show_default=True,
    metavar="F",
    help="Pixels are flagged where more of the kernel than this fell on replaced pixels.",
)
@click.option("--dq-bad", metavar="BITS", help="Bits that make a pixel bad in masks without names, as 1,4,16 or ~2.")
@click.option("--ext", metavar="EXT", help="HDU of SCI, TMPL and DIFF, and of the files that go with them.")
@click.option("--all-ext", is_flag=True, help="Process every exposure of DIFF, as CCDs of a mosaic, into one output.")
@click.option(
    "--layout",
    type=click.Choice(["lsst", "sci-err-dq", "flat"]),
    default="lsst",
    show_default=True,
    help="HDUs of the output: IMAGE, MASK, VARIANCE; SCI, ERR, DQ; or each plane in a file of its own.",
)
@click.option("--threads", type=int, metavar="N", help="Number of threads  [default: all cores]")
@config_option
@click.option("--overwrite", is_flag=True, help="Replace an existing output.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.option("-q", "--quiet", is_flag=True, help="Print nothing but errors.")
@click.option("-v", "--verbose", is_flag=True, help="Also print how the result was made.")
def run(sci: str, tmpl: str, diff: str, **given: Any) -> None:
    """Whiten the noise of the difference image DIFF of SCI and TMPL.

    FILE may be name.fits[EXT] everywhere; .fits.gz and .fits.fz are read and written.
    """
    from time import perf_counter

    start = perf_counter()
    # Our threads share the processors already; those of the linear algebra libraries would only be in their way.
    for library in ("OPENBLAS", "MKL", "OMP"):
        environ.setdefault(f"{library}_NUM_THREADS", "1")
    with loading():
        import diffim_decorr.pipeline  # noqa: F401  (what is needed for each exposure)
        from diffim_decorr.io.fits import split_spec
        from diffim_decorr.io.inputs import input_files
        from diffim_decorr.io.layouts import LAYOUTS
        from diffim_decorr.io.output import OutputFile, check_output, default_output
        from diffim_decorr.options import Options

    knobs = {name: given[name] for name in _KNOBS if given[name] is not None}
    if given["convolved"] != "auto":
        knobs["convolved"] = given["convolved"]
    options = Options(spatial=given["spatial"], **knobs)
    _check_usage(given)
    files = {"sci": sci, "tmpl": tmpl, "diff": diff, "kernel": given["kernel"]}
    files |= {name: given[name] for name in _FILES if given[name] is not None}
    inputs = [split_spec(name)[0] for name in files.values()]
    path = default_output(split_spec(diff)[0]) if given["output"] is None else given["output"]
    if given["inputs"] is not None:
        inputs += [split_spec(name)[0] for name in input_files(given["inputs"])]
    if "config" in (meta := click.get_current_context().meta):
        inputs.append(meta["config"])
    for output in dict.fromkeys(LAYOUTS[given["layout"]].paths(path).values()):
        check_output(output, inputs, given["overwrite"])
    if given["all_ext"]:
        _run_all(path, files, options, given, start)
        return
    if given["ext"] is not None:
        files = _at(files, given["ext"])
    plan, qa = _decorrelate(
        files,
        options,
        given,
        start,
        partial(OutputFile.create, path, overwrite=given["overwrite"], layout=given["layout"]),
    )
    _report(path, plan, qa, given)


def _check_usage(given: dict[str, Any]) -> None:
    if given["score"] and given["pre_conv_kernel"] is None:
        raise click.UsageError("--score needs --pre-conv-kernel")
    for one, other in (("sci_kernel", "pre_conv_kernel"), ("ext", "all_ext"), ("inputs", "all_ext")):
        if given[one] is not None and given[other]:
            raise click.UsageError(f"--{one.replace('_', '-')} and --{other.replace('_', '-')} exclude each other")


def _at(files: dict[str, str], extension: str) -> dict[str, str]:
    """The files of one exposure: the HDU of that name in the images, and in those of kernels and PSFs that have it."""
    from diffim_decorr.io.fits import split_spec
    from diffim_decorr.io.mosaic import at_extension

    def named(role: str, file: str) -> str:
        if role in ("sci", "tmpl", "diff"):
            return f"{file}[{extension}]" if split_spec(file)[1] is None else file
        return at_extension(file, extension) if role in ("kernel", "psf", "sci_kernel", "pre_conv_kernel") else file

    return {role: named(role, file) for role, file in files.items()}


def _decorrelate(
    files: dict[str, str],
    options: Options,
    given: dict[str, Any],
    start: float,
    create: Callable[[Plan, dict[str, str]], AbstractContextManager[OutputFile]],
) -> tuple[Plan, QualityFigures]:
    """Read one exposure and its companions, and write the result to the output that is created."""
    from time import perf_counter

    from diffim_decorr.errors import InputError
    from diffim_decorr.filtering import apply
    from diffim_decorr.io.exposures import read_exposure
    from diffim_decorr.io.inputs import read_inputs
    from diffim_decorr.io.kernels import read_kernel
    from diffim_decorr.io.psfs import read_psf
    from diffim_decorr.pipeline import measure, prepare

    starting = perf_counter() - start
    science, template = (
        read_exposure(
            files[side],
            **{name: files.get(f"{side}_{name}") for name in ("variance", "noise", "weight", "mask")},
            dq_bad=given["dq_bad"],
        )
        for side in ("sci", "tmpl")
    )
    difference = read_exposure(files["diff"], mask=files.get("diff_mask"), dq_bad=given["dq_bad"])
    if "DCVERS" in (difference.header or {}):
        raise InputError(f"{difference.name}: has been decorrelated already (it has a card DCVERS)")
    kernel = read_kernel(files["kernel"], difference.shape, difference.header, given["kernel_format"])
    psf = read_psf(files["psf"], difference.xy0) if "psf" in files else None
    science_file = files.get("sci_kernel") or files.get("pre_conv_kernel")
    science_kernel = None
    if science_file is not None:
        science_kernel = read_kernel(science_file, difference.shape, format=given["sci_kernel_format"])
    contributions = read_inputs(files["inputs"], difference.shape) if "inputs" in files else ()
    reading = perf_counter() - start - starting

    plan = prepare(
        science,
        template,
        difference,
        kernel,
        options,
        psf=psf,
        science_kernel=science_kernel,
        contributions=contributions,
    )
    plan.timings = {"start": starting, "read": reading, **plan.timings}
    plan.warnings += _unknown_planes(given, (science, template, difference))
    used = {card: files[role] for role, card in (_IMAGES | _FILES).items() if role in files}
    with create(plan, used) as output:
        with progress_on_terminal(given["quiet"]) as progress:
            apply(plan, output, progress)
        output.start_syncing()
        qa = measure(plan, output)
        output.finish(qa)
    plan.timings["total"] = perf_counter() - start
    return plan, qa


def _run_all(path: str, files: dict[str, str], options: Options, given: dict[str, Any], start: float) -> None:
    """Every exposure of the difference into one output; one that cannot be used does not stop the others."""
    from time import perf_counter

    from diffim_decorr.cli.report import figures
    from diffim_decorr.errors import InputError
    from diffim_decorr.io.fits import split_spec
    from diffim_decorr.io.mosaic import MosaicFile, exposures_in

    for role in ("sci", "tmpl", "diff"):
        if split_spec(files[role])[1] is not None:
            raise click.UsageError(f"--all-ext takes all HDUs, but {files[role]} names one")
    places = exposures_in(files["diff"])
    failures: dict[str, str] = {}
    summaries: list[dict[str, Any]] = []
    keywords = {"overwrite": given["overwrite"], "layout": given["layout"]}
    with MosaicFile.create(path, files["diff"], len(places), **keywords) as output:
        for extension, place in places.items():
            try:
                plan, qa = _decorrelate(
                    _at(files, extension), options, given, perf_counter(), partial(output.section, place=place)
                )
            except InputError as error:
                failures[extension] = str(error)
                say(f"decorr: error: {error}")
                continue
            if not given["quiet"]:
                for warning in plan.warnings:
                    say(f"decorr: warning: [{extension}] {warning}")
            summary = {"extension": extension, "version": place.number, **figures(path, plan, qa)}
            del summary["output"]
            summaries.append(summary)
        if not summaries:
            raise InputError(f"{path}: not written, for not one of {len(places)} HDUs could be used")
        output.finish(failures)
    _report_all(path, summaries, failures, perf_counter() - start, given)
    if failures:
        raise InputError(f"{path}: written without {', '.join(failures)}, {len(failures)} of {len(places)} HDUs")


_KNOBS = (
    "kernel_at", "svar", "tvar", "bad_planes", "replace_planes", "variance", "node_spacing", "tolerance",
    "max_gain", "half_width", "bad_fraction", "threads", "noise", "score",
)  # fmt: skip
# Files besides the three images and the kernel, and what they are called in the output's header.
_IMAGES = {"sci": "SCI", "tmpl": "TMPL", "diff": "DIFF", "kernel": "KERNEL"}
_FILES = {
    "sci_variance": "SCIVAR", "sci_noise": "SCISIG", "sci_weight": "SCIWGT", "sci_mask": "SCIMSK",
    "tmpl_variance": "TMPVAR", "tmpl_noise": "TMPSIG", "tmpl_weight": "TMPWGT", "tmpl_mask": "TMPMSK",
    "diff_mask": "DIFMSK", "psf": "PSF", "pre_conv_kernel": "PRECON", "sci_kernel": "SCIKRN", "inputs": "INPUTS",
}  # fmt: skip


def _unknown_planes(given: dict[str, Any], exposures: tuple[Exposure, ...]) -> list[str]:
    """Warn of mask planes that the user names and no mask has."""
    known = {name for exposure in exposures for name in exposure.mask_planes}
    return [
        f"--{option.replace('_', '-')}: no mask has a plane {name}"
        + (f"; there are {', '.join(sorted(known))}" if known else "; there are none at all")
        for option in ("bad_planes", "replace_planes")
        for name in given[option] or ()
        if name not in known
    ] + (
        ["--dq-bad: all masks have names for their bits, or there are none"]
        if given["dq_bad"] is not None and all(exposure.mask_planes != {"BAD": 0} for exposure in exposures)
        else []
    )


def _report(path: str, plan: Plan, qa: QualityFigures, given: dict[str, Any]) -> None:
    if given["quiet"] and not given["as_json"]:
        return
    from diffim_decorr.cli.report import figures, print_summary
    from diffim_decorr.io.layouts import LAYOUTS

    if not given["quiet"]:
        for warning in plan.warnings:
            click.echo(f"decorr: warning: {warning}", err=True)
    summary = figures(path, plan, qa)
    others = list(LAYOUTS[given["layout"]].paths(path).values())[1:]
    if path not in others:
        summary["files"] = [path, *others]
    if given["as_json"]:
        import json

        click.echo(json.dumps(summary, indent=2))
    else:
        print_summary(summary, given["verbose"])


def _report_all(
    path: str, summaries: list[dict[str, Any]], failures: dict[str, str], seconds: float, given: dict[str, Any]
) -> None:
    if given["as_json"]:
        import json

        failed = [{"extension": extension, "error": cause} for extension, cause in failures.items()]
        summary = {"output": path, "extensions": summaries, "failed": failed, "timings": {"total": round(seconds, 4)}}
        click.echo(json.dumps(summary, indent=2))
    elif not given["quiet"]:
        from diffim_decorr.cli.report import print_extensions

        print_extensions(path, summaries, seconds)
