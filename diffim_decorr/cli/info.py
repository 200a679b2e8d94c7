"""``decorr info``: what a file holds, and what would be used of it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import click

from diffim_decorr.cli.commands import Command, argument
from diffim_decorr.cli.common import loading, say, warn
from diffim_decorr.cli.options import chosen, options_of
from diffim_decorr.errors import InputError
from diffim_decorr.options import CommandOptions

__all__ = ("info",)


@click.command(
    cls=Command,
    page="formats.md",
    examples=[
        ("decorr info sci.fits tmpl.fits diff.fits", "before a run: are the planes and the kernel found?"),
        ("decorr info 'mosaic.fits[SCI,2]'", "one exposure of several"),
        ("decorr info diff_decorr.fits --json", "for a script"),
    ],
)
@argument(
    "files",
    "FILE...",
    "Images, kernels, PSFs, outputs, tables; name.fits[EXT] chooses an HDU.",
    nargs=-1,
    required=True,
)
@options_of(CommandOptions, "json", "verbose")
def info(files: tuple[str, ...], **given: Any) -> None:
    """Show what FILE holds as the other commands read it, and what they would use of it."""
    command = chosen(CommandOptions, given)
    with loading():
        from diffim_decorr._version import __version__
        from diffim_decorr.cli.summary import print_json, print_rows
        from diffim_decorr.contents import contents_of
        from diffim_decorr.summary import SCHEMA

    found: list[dict[str, Any]] = []
    broken: list[str] = []
    for file in files:
        try:
            found.append(contents_of(file))
        except InputError as error:
            if len(files) == 1:
                raise
            say(f"decorr: error: {error}")
            broken.append(str(error))
    if command.json:
        print_json({"schema": SCHEMA, "version": __version__, "files": found, "failed": broken})
    else:
        for number, contents in enumerate(found):
            if number:
                click.echo()
            print_rows([*_rows(contents, command.verbose)])
            for remark in contents["remarks"]:
                warn(remark)
    if broken:
        raise InputError(f"{len(broken)} of {len(files)} files could not be read")


def _rows(contents: dict[str, Any], verbose: bool) -> Iterator[tuple[str, str]]:
    """Labels and values on one file."""
    yield "file", contents["file"]
    yield "what", _what(contents)
    if verbose:
        for hdu in contents.get("hdus", ()):
            name = f" {hdu['name']}" + (f",{hdu['version']}" if hdu["version"] > 1 else "") if hdu["name"] else ""
            size = f", {_size(hdu['shape'])}" if hdu["shape"] else ""
            yield f"HDU {hdu['number']}{name}", f"{hdu['holds']}{size}"
    if "exposure" in contents:
        yield from _exposure_rows(contents["exposure"])
    if "exposures" in contents:
        places = contents["exposures"]
        yield "exposures", f"{len(places)}: {', '.join(places[:8])}{', …' if len(places) > 8 else ''}"
    if "kernel" in contents:
        kernel = contents["kernel"]
        convolved = " and ".join(kernel["convolved"]) or "not said, taken for template"
        yield "kernel", f"{kernel['format']}, {kernel['width']} x {kernel['height']} pixels, {kernel['over_the_field']}"
        yield "image convolved", convolved
    if "psf" in contents:
        yield "PSF", _psf(contents["psf"])
    if "psi" in contents:
        psi = contents["psi"]
        form = f"{'spatial' if psi['varies'] else 'constant'}, half width {psi['half_width']}, {psi['modes']} modes"
        yield "decorrelation kernel", form
    for use in contents["use"]:
        yield f"for {use['for']}", use["used"]


def _what(contents: dict[str, Any]) -> str:
    words = {
        "exposure": "an exposure",
        "mosaic": "several exposures",
        "result": "an output of decorr run",
        "kernel": "a matching kernel",
        "psf": "a PSF",
        "plane": "a mask or a plane of noise, no exposure",
        "table": "a table of positions",
        "nothing": "nothing that decorr reads",
    }
    verdict = contents.get("verdict")
    reasons = f": {'; '.join(verdict['reasons'])}" if verdict and verdict["reasons"] else ""
    return words[contents["kind"]] + (f", verdict {verdict['status']}{reasons}" if verdict else "")


def _exposure_rows(exposure: dict[str, Any]) -> Iterator[tuple[str, str]]:
    yield "layout", exposure["layout"]
    unit = exposure["unit"] or "no unit"
    yield "image", f"{exposure['image']}, {_size(exposure['shape'])} pixels, {unit}"
    noise = exposure["noise"]
    yield "noise", "none; the variance would be measured" if noise is None else f"{noise['plane']}, as {noise['as']}"
    yield "mask", exposure["mask"] or "none"
    for plane in exposure["planes"]:
        use = [word for word, so in (("left out of statistics", plane["bad"]), ("replaced", plane["replaced"])) if so]
        yield f"  {plane['name']}", ", ".join([f"{plane['pixels']} pixels", *use])
    if exposure["psf"] is not None:
        yield "PSF", _psf(exposure["psf"])
    sky = exposure["sky"]
    if sky is not None:
        yield "sky", f"{sky['ra']:.6f} {sky['dec']:+.6f}, {sky['pixel_arcsec']:.4g} arcsec a pixel"
    if exposure["xy0"] != [0, 0]:
        yield "first pixel", f"x {exposure['xy0'][0]}, y {exposure['xy0'][1]} of the parent frame"


def _psf(psf: dict[str, Any]) -> str:
    width = "" if psf["fwhm"] is None else f", FWHM {psf['fwhm']:.3g}"
    return f"{psf['width']} x {psf['height']} pixels{width}{', varies over the field' if psf['varies'] else ''}"


def _size(shape: list[int]) -> str:
    return " x ".join(str(length) for length in reversed(shape))
