"""``decorr psf``: a PSF at one position, as an image."""

from __future__ import annotations

from typing import Any

import click

from diffim_decorr.cli.commands import Command, argument, option
from diffim_decorr.cli.options import chosen, options_of
from diffim_decorr.errors import UsageError
from diffim_decorr.options import OutputOptions

__all__ = ("psf",)


@click.command(
    cls=Command,
    negative=True,
    page="kernels.md",
    examples=[
        ("decorr psf diff_decorr.fits 512 300 -o psf.fits", "the PSF of a result"),
        ("decorr psf 'diff_decorr.fits[PSF_INPUT]' 512 300 -o before.fits", "that before ψ"),
        ("decorr psf sci.psf 10 20 -o psf.fits", "a model of PSFEx"),
    ],
)
@argument("file", "FILE", "What decorr run has written, or whatever its --psf takes.")
@argument("x", "X", "0-based pixel, in the parent frame if the file has one.", type=float, completed="")
@argument("y", "Y", "Likewise.", type=float, completed="")
@option("-o", "--output", section="Output", path=True, required=True, metavar="FILE", help="The image to write.")
@options_of(OutputOptions, "overwrite")
def psf(file: str, x: float, y: float, output: str, **given: Any) -> None:
    """Write the PSF of FILE at X Y as an image with a sum of 1.

    Of a PSF that varies, positions outside the field are refused.
    """
    import numpy as np

    from diffim_decorr.io.atomic import check_output
    from diffim_decorr.io.hdus import split_spec
    from diffim_decorr.io.output.stamps import write_psf_image
    from diffim_decorr.io.psfs import is_response, read_psf

    options = chosen(OutputOptions, given)
    if not (np.isfinite(x) and np.isfinite(y)):
        raise UsageError(f"{x:g} {y:g} is no position")
    check_output(output, [split_spec(file)[0]], options.overwrite)
    found = read_psf(file)
    if not isinstance(found, np.ndarray):
        found.check_inside(np.array([x]), np.array([y]), file)
    image = found if isinstance(found, np.ndarray) else found.at(x, y)
    write_psf_image(output, image, file, (x, y), is_response(file), options.overwrite)
