"""``decorr apply``: convolve companion images with the ψ that a run stored."""

from __future__ import annotations

from os import environ
from typing import TYPE_CHECKING, Any

import click

from diffim_decorr.cli.common import plane_names, progress_on_terminal
from diffim_decorr.cli.config import config_option

if TYPE_CHECKING:
    from diffim_decorr.companions import DecorrelationKernel

__all__ = ("apply",)

# Files that go with the image, and what they are called in the output's header.
_FILES = {"variance": "IMGVAR", "noise": "IMGSIG", "weight": "IMGWGT", "mask": "IMGMSK", "psf": "IMGPSF"}


@click.command()
@click.argument("image", metavar="IMAGE")
@click.option("--psi", required=True, metavar="FILE", help="Output of decorr run, which holds the kernel.")
@click.option("-o", "--output", metavar="FILE", help="Output  [default: IMAGE's name with _decorr before its ending]")
@click.option(
    "--at",
    nargs=2,
    type=float,
    metavar="X Y",
    help="IMAGE is a small one, of a PSF or a source: take the kernel at this position, 0-based pixels.",
)
@click.option("--variance", metavar="FILE", help="Variance image of IMAGE.")
@click.option("--noise", metavar="FILE", help="Standard deviation image of IMAGE.")
@click.option("--weight", metavar="FILE", help="Inverse variance image of IMAGE.")
@click.option("--mask", metavar="FILE", help="Mask of IMAGE; the run's output for what the run replaced.")
@click.option("--psf", metavar="FILE", help="PSF image of IMAGE; the corrected PSF is written.")
@click.option(
    "--replace-planes",
    metavar="A,B,…",
    callback=plane_names,
    help="Mask planes replaced before filtering, or none  [default: the run's]",
)
@click.option(
    "--bad-fraction",
    type=float,
    metavar="F",
    help="Pixels are flagged where more of the kernel than this fell on replaced pixels  [default: the run's]",
)
@click.option("--threads", type=int, metavar="N", help="Number of threads  [default: all cores]")
@config_option
@click.option("--overwrite", is_flag=True, help="Replace an existing output.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.option("-q", "--quiet", is_flag=True, help="Print nothing but errors.")
def apply(image: str, psi: str, at: tuple[float, float] | None, **given: Any) -> None:
    """Convolve IMAGE with the decorrelation kernel of a run, so that it goes with the run's result.

    The science image for its zero point, injected fakes, a matched template, or with --at a PSF.
    """
    from time import perf_counter

    start = perf_counter()
    for library in ("OPENBLAS", "MKL", "OMP"):
        environ.setdefault(f"{library}_NUM_THREADS", "1")
    from diffim_decorr.io.fits import split_spec
    from diffim_decorr.io.output import check_output, default_output
    from diffim_decorr.io.psi import read_psi

    if at is not None:
        meaningless = [name for name in (*_FILES, "replace_planes", "bad_fraction") if given[name] is not None]
        if meaningless:
            raise click.UsageError(
                f"--at is for an image by itself; --{meaningless[0].replace('_', '-')} has no meaning"
            )
    files = {name: given[name] for name in _FILES if given[name] is not None}
    inputs = [split_spec(name)[0] for name in (image, psi, *files.values())]
    if "config" in (meta := click.get_current_context().meta):
        inputs.append(meta["config"])
    path = default_output(split_spec(image)[0]) if given["output"] is None else given["output"]
    check_output(path, inputs, given["overwrite"])
    kernel = read_psi(psi)
    summary = {
        "output": path,
        "psi": {
            "file": psi,
            "mode": "constant" if kernel.is_constant or at is not None else "spatial",
            "half_width": kernel.half_width,
            "modes": len(kernel.kernel.basis),
        },
    }
    used = {"IMAGE": image, "PSI": psi, **{_FILES[name]: file for name, file in files.items()}}
    if at is None:
        summary |= _field(image, kernel, path, files, used, given)
    else:
        summary |= _stamp(image, kernel, path, at, used, given["overwrite"])
    summary["seconds"] = round(perf_counter() - start, 4)
    _report(summary, given)


def _field(
    image: str, psi: DecorrelationKernel, path: str, files: dict[str, str], used: dict[str, str], given: dict[str, Any]
) -> dict[str, Any]:
    """Convolve an image of the field."""
    from diffim_decorr.companions import companion_plan
    from diffim_decorr.filtering import apply as filter_tiles
    from diffim_decorr.io.companions import CompanionFile
    from diffim_decorr.io.exposures import read_exposure

    exposure = read_exposure(image, **files)
    _refuse_second_time(exposure)
    plan = companion_plan(exposure, psi, given["replace_planes"], given["bad_fraction"], given["threads"])
    with CompanionFile.create(path, plan, used, overwrite=given["overwrite"]) as output:
        with progress_on_terminal(given["quiet"]) as progress:
            filter_tiles(plan, output, progress)
        output.finish(None)
    return {"hdus": output.names, "warnings": plan.warnings}


def _stamp(
    image: str, psi: DecorrelationKernel, path: str, at: tuple[float, float], used: dict[str, str], overwrite: bool
) -> dict[str, Any]:
    """Convolve a small image at one position."""
    from diffim_decorr.companions import apply_psi_at
    from diffim_decorr.io.exposures import read_exposure
    from diffim_decorr.io.stamps import write_stamp

    exposure = read_exposure(image)
    _refuse_second_time(exposure)
    result = apply_psi_at(exposure.image, psi, *at, name=exposure.name)
    write_stamp(path, result, exposure.header, psi.half_width, used, at, overwrite)
    return {"hdus": ["PRIMARY"], "warnings": []}


def _refuse_second_time(exposure: Any) -> None:
    from diffim_decorr.errors import InputError

    if "DCVERS" in (exposure.header or {}):
        raise InputError(f"{exposure.name}: has been decorrelated already (it has a card DCVERS)")


def _report(summary: dict[str, Any], given: dict[str, Any]) -> None:
    if not given["quiet"]:
        for warning in summary["warnings"]:
            click.echo(f"decorr: warning: {warning}", err=True)
    if given["as_json"]:
        import json

        click.echo(json.dumps(summary, indent=2))
    elif not given["quiet"]:
        psi = summary["psi"]
        rows = (
            ("output", summary["output"]),
            ("HDUs", ", ".join(summary["hdus"])),
            ("decorrelation kernel", f"{psi['mode']}, half width {psi['half_width']}, {psi['modes']} modes"),
            ("seconds", f"{summary['seconds']:.2f}"),
        )
        for label, value in rows:
            click.echo(f"{label:<22}{value}")
