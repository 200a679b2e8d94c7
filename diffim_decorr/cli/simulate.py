"""``decorr simulate``: an exposure pair, its difference and kernel, with known truth."""

from __future__ import annotations

from typing import Any

import click

__all__ = ("simulate",)


def _size(_ctx: click.Context, _param: click.Parameter, value: str) -> tuple[int, int]:
    parts = value.lower().split("x")
    if len(parts) > 2 or not all(part.strip().isdecimal() for part in parts):
        raise click.BadParameter(f"{value!r} is neither a number of pixels nor NYxNX.")
    return int(parts[0]), int(parts[-1])


@click.command()
@click.argument("outdir", type=click.Path(file_okay=False))
@click.option(
    "--size", metavar="N|NYxNX", callback=_size, default="1024", show_default=True, help="Image size [pixels]."
)
@click.option("--seed", type=int, default=1, show_default=True, help="Of the random numbers.")
@click.option("--svar", type=float, default=100.0, show_default=True, help="Science background variance [counts²].")
@click.option("--tvar", type=float, default=50.0, show_default=True, help="Template background variance [counts²].")
@click.option(
    "--depth-step",
    type=float,
    default=1.0,
    show_default=True,
    help="Factor by which the template variance changes at the middle column.",
)
@click.option(
    "--gain",
    type=float,
    default=2.0,
    show_default=True,
    help="Electrons per count, for the Poisson noise of sources; inf for none.",
)
@click.option(
    "--psf",
    type=click.Choice(["gaussian", "moffat"]),
    default="gaussian",
    show_default=True,
    help="Profile of the sharper image.",
)
@click.option("--fwhm", type=float, default=3.0, show_default=True, help="Seeing of the sharper image [pixels].")
@click.option(
    "--kernel-sigma", type=float, default=1.5, show_default=True, help="Typical width of the kernel, a sigma [pixels]."
)
@click.option("--kernel-width", type=int, default=21, show_default=True, help="Odd size of its image [pixels].")
@click.option("--kernel-order", type=int, default=2, show_default=True, help="Degree of its spatial polynomials.")
@click.option(
    "--kernel-variation",
    type=float,
    default=0.2,
    show_default=True,
    help="Relative amplitude with which its width varies over the field, 0 to 0.9.",
)
@click.option("--kernel-sum", type=float, default=1.0, show_default=True, help="Its sum, the photometric scale.")
@click.option(
    "--convolved",
    type=click.Choice(["template", "science"]),
    default="template",
    show_default=True,
    help="The image that is convolved, which is the sharper one.",
)
@click.option("--stars", type=int, help="Number of stars, 0 for noise only.  [default: by --density]")
@click.option("--density", type=float, default=500.0, show_default=True, help="Stars per million pixels.")
@click.option("--variables", type=int, help="Stars whose flux differs.  [default: one in fifty]")
@click.option(
    "--transients",
    type=int,
    help="Sources in the science image alone.  [default: 20 per million pixels; none without stars]",
)
@click.option(
    "--masks/--no-masks",
    default=True,
    show_default=True,
    help="Saturated stars, cosmic rays, bad columns and missing corners, or none of these.",
)
@click.option("--saturation", type=float, default=2e4, show_default=True, help="Where pixels saturate [counts].")
@click.option(
    "--kernel-format",
    type=click.Choice(["hotpants", "grid"]),
    default="hotpants",
    show_default=True,
    help="Form of the kernel file and the difference.",
)
@click.option("--overwrite", is_flag=True, help="Replace files that exist.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.option("-q", "--quiet", is_flag=True, help="Print nothing.")
def simulate(outdir: str, kernel_format: Any, overwrite: bool, as_json: bool, quiet: bool, **parameters: Any) -> None:
    """Write a simulated exposure pair, its difference and kernel, and the truth about them, to OUTDIR.

    The sharper image is convolved with a kernel that varies over the field; what did not change between the two
    images subtracts to pure noise. Sky-subtracted images in counts; positions in truth.fits are 0-based pixels.
    """
    import shlex

    from diffim_decorr.io.simulation import check_output, write_simulation
    from diffim_decorr.simulate import simulate as run
    from diffim_decorr.simulation_options import SimulationOptions

    options = SimulationOptions(**parameters)
    check_output(outdir, overwrite)
    simulation = run(options)
    paths = write_simulation(simulation, outdir, kernel_format, overwrite)

    files = {key: str(path) for key, path in paths.items()}
    inputs = shlex.join([files["science"], files["template"], files["difference"], "--kernel", files["kernel"]])
    command = f"decorr run {inputs}"
    # The HOTPANTS form says which image was convolved, a grid does not.
    if kernel_format == "grid" and options.convolved == "science":
        command += " --convolved science"
    command += " --spatial"
    if as_json:
        import json
        from dataclasses import asdict
        from math import isfinite

        values = asdict(options) | {"gain": options.gain if isfinite(options.gain) else None}
        report = {
            "output": outdir,
            "files": files,
            "kernel_format": kernel_format,
            "parameters": values,
            "counts": dict(zip(("stars", "variables", "transients"), options.counts, strict=True)),
            "white_variance": list(simulation.white_variance),
            "next": command,
        }
        click.echo(json.dumps(report))
    elif not quiet:
        for key, file in files.items():
            click.echo(f"{key.replace('_', ' '):<13} {file}")
        click.echo(f"\nNext:\n  {command}")
