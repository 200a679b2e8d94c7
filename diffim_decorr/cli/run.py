"""``decorr run``: the main job."""

from __future__ import annotations

from contextlib import nullcontext
from os import environ
from typing import TYPE_CHECKING, Any

import click

from diffim_decorr.cli.config import config_option

if TYPE_CHECKING:
    from diffim_decorr.exposure import Exposure
    from diffim_decorr.plan import Plan
    from diffim_decorr.qa import QualityFigures

__all__ = ("run",)


_KERNEL_FORMATS = ("hotpants", "sfft", "lsst", "table", "grid", "image")


def _planes(_ctx: click.Context, _param: click.Parameter, value: str | None) -> tuple[str, ...] | None:
    if value is None:
        return None
    if value.strip().lower() == "none":
        return ()
    return tuple(name.strip().upper() for name in value.split(",") if name.strip())


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
@click.option("--bad-planes", metavar="A,B,…", callback=_planes, help="Mask planes left out of statistics.")
@click.option(
    "--replace-planes", metavar="A,B,…", callback=_planes, help="Mask planes replaced before filtering, or none."
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
@click.option("--psf", metavar="FILE", help="PSF image of the input that was not convolved.")
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
    from diffim_decorr.errors import InputError
    from diffim_decorr.filtering import apply
    from diffim_decorr.io.exposures import read_exposure, read_psf
    from diffim_decorr.io.fits import split_spec
    from diffim_decorr.io.inputs import input_files, read_inputs
    from diffim_decorr.io.kernels import read_kernel
    from diffim_decorr.io.output import OutputFile, check_output, default_output
    from diffim_decorr.options import Options
    from diffim_decorr.pipeline import measure, prepare

    starting = perf_counter() - start
    knobs = {name: given[name] for name in _KNOBS if given[name] is not None}
    if given["convolved"] != "auto":
        knobs["convolved"] = given["convolved"]
    options = Options(spatial=given["spatial"], **knobs)
    if given["score"] and given["pre_conv_kernel"] is None:
        raise click.UsageError("--score needs --pre-conv-kernel")
    if given["sci_kernel"] is not None and given["pre_conv_kernel"] is not None:
        raise click.UsageError("--sci-kernel and --pre-conv-kernel exclude each other")
    science_file = given["sci_kernel"] or given["pre_conv_kernel"]
    companions = [given[name] for name in _FILES if given[name] is not None]
    inputs = [split_spec(name)[0] for name in (sci, tmpl, diff, given["kernel"], *companions)]
    path = default_output(split_spec(diff)[0]) if given["output"] is None else given["output"]
    if given["inputs"] is not None:
        inputs += [split_spec(name)[0] for name in input_files(given["inputs"])]
    if "config" in (meta := click.get_current_context().meta):
        inputs.append(meta["config"])
    check_output(path, inputs, given["overwrite"])
    science, template = (
        read_exposure(
            file,
            variance=given[f"{side}_variance"],
            noise=given[f"{side}_noise"],
            weight=given[f"{side}_weight"],
            mask=given[f"{side}_mask"],
        )
        for side, file in (("sci", sci), ("tmpl", tmpl))
    )
    difference = read_exposure(diff, mask=given["diff_mask"])
    if "DCVERS" in (difference.header or {}):
        raise InputError(f"{difference.name}: has been decorrelated already (it has a card DCVERS)")
    kernel = read_kernel(given["kernel"], difference.shape, difference.header, given["kernel_format"])
    psf = None if given["psf"] is None else read_psf(given["psf"])
    science_kernel = None
    if science_file is not None:
        science_kernel = read_kernel(science_file, difference.shape, format=given["sci_kernel_format"])
    contributions = () if given["inputs"] is None else read_inputs(given["inputs"], difference.shape)
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
    used = {"SCI": sci, "TMPL": tmpl, "DIFF": diff, "KERNEL": given["kernel"]}
    used |= {card: given[name] for name, card in _FILES.items() if given[name] is not None}
    with OutputFile.create(path, plan, used, overwrite=given["overwrite"]) as output:
        with _progress(given["quiet"]) as progress:
            apply(plan, output, progress)
        output.start_syncing()
        qa = measure(plan, output)
        output.finish(qa)
    plan.timings["total"] = perf_counter() - start
    _report(path, plan, qa, given)


_KNOBS = (
    "kernel_at", "svar", "tvar", "bad_planes", "replace_planes", "variance", "node_spacing", "tolerance",
    "max_gain", "half_width", "bad_fraction", "threads", "noise", "score",
)  # fmt: skip
# Files besides the three images and the kernel, and what they are called in the output's header.
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
    ]


def _progress(quiet: bool) -> Any:
    """A progress bar on standard error, if that is a terminal."""
    from sys import stderr

    if quiet or not stderr.isatty():
        return nullcontext(None)
    from diffim_decorr.cli.report import progress_bar

    return progress_bar()


def _report(path: str, plan: Plan, qa: QualityFigures, given: dict[str, Any]) -> None:
    if given["quiet"] and not given["as_json"]:
        return
    from diffim_decorr.cli.report import figures, print_summary

    if not given["quiet"]:
        for warning in plan.warnings:
            click.echo(f"decorr: warning: {warning}", err=True)
    summary = figures(path, plan, qa)
    if given["as_json"]:
        import json

        click.echo(json.dumps(summary, indent=2))
    else:
        print_summary(summary, given["verbose"])
