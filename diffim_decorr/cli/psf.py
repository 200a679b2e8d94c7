"""``decorr psf``: a PSF at one position, as an image."""

from __future__ import annotations

import click

__all__ = ("psf",)


@click.command(context_settings={"ignore_unknown_options": True})  # negative positions
@click.argument("file", metavar="FILE")
@click.argument("x", type=float)
@click.argument("y", type=float)
@click.option("-o", "--output", required=True, metavar="FILE", help="The image to write.")
@click.option("--overwrite", is_flag=True, help="Replace an existing output.")
def psf(file: str, x: float, y: float, output: str, overwrite: bool) -> None:
    """Write the PSF of FILE at X Y as an image with a sum of 1.

    FILE is what decorr run has written, or whatever its --psf takes. X and Y are 0-based pixels, in the parent frame if
    the file has one.
    """
    import numpy as np
    from astropy.io import fits

    from diffim_decorr.errors import InputError
    from diffim_decorr.io.fits import split_spec
    from diffim_decorr.io.output import check_output
    from diffim_decorr.io.psfs import read_psf
    from diffim_decorr.io.whole import whole_file

    if not (np.isfinite(x) and np.isfinite(y)):
        raise InputError(f"{x:g} {y:g} is no position")
    check_output(output, [split_spec(file)[0]], overwrite)
    found = read_psf(file)
    image = found if isinstance(found, np.ndarray) else found.at(x, y)
    header = fits.Header(
        [
            ("PSFFILE", "".join(c if " " <= c <= "~" else "?" for c in file), "where the PSF is from"),
            ("PSFX", x, "[pixel] where it was taken, 0-based"),
            ("PSFY", y, "[pixel]"),
        ]
    )
    with whole_file(output, overwrite) as temporary:
        fits.PrimaryHDU(image.astype(np.float32), header).writeto(temporary, overwrite=True, checksum=True)
