"""What the HDUs of an output are called, and which file they are in."""

from __future__ import annotations

import re
from dataclasses import dataclass

from diffim_decorr.errors import InputError
from diffim_decorr.io.hdus import open_fits, split_spec
from diffim_decorr.options import LayoutName, OutputOptions

__all__ = ("LAYOUTS", "MAPS", "Layout", "default_output", "is_output", "layout_of", "output_path", "output_paths")

_ENDING = re.compile(r"(.*?)((?:\.fits?|\.fts)(?:\.gz|\.fz)?|\.[^./]*)?", flags=re.IGNORECASE | re.DOTALL)


@dataclass(frozen=True)
class Layout:
    """How an output is laid out.

    Parameters
    ----------
    names
        What the HDUs with the image, its mask, its variance, and their ratio (SNR) if that is wanted, are called, in
        their order.
    sigma
        Whether the last of these holds standard deviations.
    separate
        Whether each plane has a file of its own.
    """

    names: dict[str, str]
    sigma: bool = False
    separate: bool = False

    def paths(self, output: str) -> dict[str, str]:
        """The file with the image, the mask, the variance, and with all else (PSI)."""
        return {
            role: _inserted(output, f"_{role.lower()}") if self.separate and role != "IMAGE" else output
            for role in (*sorted(self.names), "PSI")
        }


LAYOUTS: dict[LayoutName, Layout] = {
    "lsst": Layout({"IMAGE": "IMAGE", "MASK": "MASK", "VARIANCE": "VARIANCE"}),
    "sci-err-dq": Layout({"IMAGE": "SCI", "VARIANCE": "ERR", "MASK": "DQ"}, sigma=True),
    "flat": Layout({"IMAGE": "", "MASK": "", "VARIANCE": ""}, separate=True),
}
#: Of maps of the flux of point sources.
MAPS = Layout({"IMAGE": "FLUX", "VARIANCE": "FLUX_ERR", "SNR": "SNR", "MASK": "MASK"}, sigma=True)


def layout_of(layout: LayoutName | Layout) -> Layout:
    """The layout that is meant."""
    return layout if isinstance(layout, Layout) else LAYOUTS[layout]


def output_paths(path: str, layout: LayoutName) -> list[str]:
    """The files that an output consists of, the one with the image first."""
    return list(dict.fromkeys(LAYOUTS[layout].paths(path).values()))


def output_path(options: OutputOptions, image: str) -> str:
    """The output, or the first file of it, that is made of an image."""
    return default_output(split_spec(image)[0]) if options.output is None else options.output


def is_output(path: str) -> bool:
    """Whether a file was written by this program."""
    try:
        with open_fits(path) as hdus:
            # Of a compressed image the first HDU is empty.
            return any("DCVERS" in hdu.header for hdu in hdus[:2])
    except InputError:
        return False


def default_output(difference: str, added: str = "_decorr") -> str:
    """The difference's name with a text before its ending, of which outputs are not written as bzip2."""
    return _inserted(re.sub(r"\.bz2$", "", difference, flags=re.IGNORECASE), added)


def _inserted(path: str, text: str) -> str:
    """A path with a text before its ending."""
    match = _ENDING.fullmatch(path)
    stem, ending = (path, "") if match is None else (match.group(1), match.group(2) or ".fits")
    return f"{stem}{text}{ending}"
