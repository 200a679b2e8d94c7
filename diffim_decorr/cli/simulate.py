"""``decorr simulate``: an exposure pair, its difference and kernel, with known truth."""

from __future__ import annotations

from typing import Any

import click

from diffim_decorr.cli.commands import Command, argument
from diffim_decorr.cli.lines import print_line
from diffim_decorr.cli.options import chosen, options_of
from diffim_decorr.options import CommandOptions, OutputOptions
from diffim_decorr.simulate.options import SimulationOptions

__all__ = ("simulate",)


@click.command(
    cls=Command,
    page="start/tutorial.md",
    examples=[
        ("decorr simulate night", "1024² pixels, with stars and a kernel in HOTPANTS' form"),
        (
            "decorr simulate night --size 512 --tvar 400 --kernel-sigma 1 --transients 10",
            "a deep image, ten transients",
        ),
        ("decorr simulate noise --stars 0 --kernel-format grid --seed 7", "pure noise, the kernel on a grid"),
    ],
)
@argument("outdir", "OUTDIR", "The folder to write to.", type=click.Path(file_okay=False), completed="dir")
@options_of(SimulationOptions)
@options_of(OutputOptions, "overwrite")
@options_of(CommandOptions, "json", "quiet")
def simulate(outdir: str, **given: Any) -> None:
    """Write a simulated exposure pair, its difference and kernel, and the truth about them, to OUTDIR.

    The sharper image is convolved with a kernel that varies over the field; what did not change between the two
    images subtracts to pure noise. Sky-subtracted images in counts; positions in truth.fits are 0-based pixels.
    """
    import shlex

    from diffim_decorr.cli.common import tell
    from diffim_decorr.simulate.files import check_output, write_simulation
    from diffim_decorr.simulate.scene import simulate as run

    options = chosen(SimulationOptions, given)
    output, command = chosen(OutputOptions, given), chosen(CommandOptions, given)
    check_output(outdir, output.overwrite)
    simulation = run(options)
    paths = write_simulation(simulation, outdir, overwrite=output.overwrite)

    files = {key: str(path) for key, path in paths.items()}
    inputs = shlex.join([files["science"], files["template"], files["difference"], "--kernel", files["kernel"]])
    following = f"decorr run {inputs}"
    # The HOTPANTS form says which image was convolved, a grid does not.
    if options.kernel_format == "grid" and options.convolved == "science":
        following += " --convolved science"
    following += " --spatial"
    with tell(outdir):
        if command.json:
            from dataclasses import asdict
            from math import isfinite

            from diffim_decorr.cli.summary import print_json

            values = asdict(options) | {"gain": options.gain if isfinite(options.gain) else None}
            print_json(
                {
                    "output": outdir,
                    "files": files,
                    "kernel_format": options.kernel_format,
                    "parameters": values,
                    "counts": dict(zip(("stars", "variables", "transients"), options.counts, strict=True)),
                    "white_variance": list(simulation.white_variance),
                    "next": following,
                }
            )
        elif not command.quiet:
            for key, file in files.items():
                print_line(f"{key.replace('_', ' '):<13} {file}")
            click.echo("\nNext:")
            print_line(f"  {following}")
