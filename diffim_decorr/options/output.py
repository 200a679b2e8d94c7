"""Where results go, and what commands print."""

from __future__ import annotations

from dataclasses import dataclass

from diffim_decorr.declare import Declared, documented, option
from diffim_decorr.errors import OptionError
from diffim_decorr.options.names import (
    LayoutName,
)

__all__ = (
    "CommandOptions",
    "OutputOptions",
)


@documented
@dataclass(frozen=True, repr=False)
class OutputOptions(Declared):
    """Where the result goes, and in which form."""

    output: str | None = option(
        None,
        "The output.",
        short="-o",
        metavar="OUT",
        unset="DIFF's name with _decorr before its ending",
        section="Output",
        writes=True,
    )
    layout: LayoutName = option(
        "lsst",
        "HDUs of the output: IMAGE, MASK, VARIANCE; SCI, ERR, DQ; or each plane in a file of its own.",
        card="DCOLAYOU",
        comment="layout of the output",
        section="Output",
    )
    write_background: bool = option(
        False,
        "Store the background that --background has taken off.",
        card="DCOWBKG",
        comment="background to be stored",
        section="Output",
    )
    overwrite: bool = option(False, "Replace an existing output.", section="Output")
    skip_existing: bool = option(
        False, "Do nothing where the output exists already; the status is 0.", section="Output"
    )

    def check(self) -> None:
        if self.overwrite and self.skip_existing:
            raise OptionError("{overwrite} and {skip_existing} exclude each other")


@documented
@dataclass(frozen=True, repr=False)
class CommandOptions(Declared):
    """What a command tells its user. Nothing of the result depends on these."""

    json: bool = option(False, "Print one JSON object.", section="Messages")
    quiet: bool = option(False, "Print nothing but errors.", short="-q", section="Messages")
    verbose: bool = option(False, "Also print how the result was made.", short="-v", section="Messages")
    strict: bool = option(
        False, "End with status 4 if the verdict is fail; the output is written all the same.", section="Quality"
    )
    plot: str | None = option(
        None,
        "Also draw what was found of the result on one page, as PNG, PDF or SVG.",
        metavar="PICTURE",
        section="Quality",
        writes=True,
    )
    report: str | None = option(
        None,
        "Also write a page with figures and pictures of the result.",
        metavar="PAGE.html",
        section="Quality",
        writes=True,
    )
    snr: str | None = option(
        None,
        "Also write maps of flux, error and S/N of point sources, as decorr snr does.",
        metavar="MAPS.fits",
        section="Output",
        writes=True,
    )
    scheduler: str | None = option(
        None,
        "Have the cluster of this Dask scheduler work on the tiles of the image, by its address or the file that it "
        "has written; needs the extra batch.",
        metavar="tcp://HOST:PORT|FILE",
        unset="on this machine",
        section="Threads and memory",
    )
