"""Files of several exposures, such as the CCDs of a mosaic camera: which there are, and one output for all of them."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from astropy.io import fits

from diffim_decorr._version import __version__
from diffim_decorr.errors import InputError
from diffim_decorr.io.checksum import set_checksum
from diffim_decorr.io.drafts import Draft
from diffim_decorr.io.fits import is_image, open_fits, split_spec
from diffim_decorr.io.layouts import LAYOUTS, Layout, Place
from diffim_decorr.io.output import OutputFile, empty_primary, open_drafts, without_pixels
from diffim_decorr.plan import Plan

__all__ = ("MosaicFile", "at_extension", "exposures_in", "has_extension")

# What the HDUs of an image's companions are called.
_COMPANIONS = {"MASK", "VARIANCE", "ERR", "DQ", "WHT", "CON", "AREA", "PSF", "PSI_BASIS", "QA"}
_COMPANIONS |= {"VAR_POISSON", "VAR_RNOISE", "VAR_FLAT"}
_LONGEST_CAUSE = 300


def exposures_in(spec: str | os.PathLike[str]) -> dict[str, Place]:
    """The exposures of a file.

    Parameters
    ----------
    spec
        The file.

    Returns
    -------
    places
        By what is to be put between brackets: ``NAME``, ``NAME,VERSION``, or the number of an HDU without a name. These
        are the HDUs called IMAGE, or else SCI, or else all 2-D images that are no companions by their names; the first
        HDU is not among them if there are others.

    Raises
    ------
    InputError
        If the file cannot be read or has no image.
    """
    path, extension = split_spec(spec)
    if extension is not None:
        raise InputError(f"{path}[{extension}]: all HDUs are asked for, and one of them")
    with open_fits(path) as hdus:
        images = [(k, hdu) for k, hdu in enumerate(hdus) if is_image(hdu)]
        for name in ("IMAGE", "SCI"):
            if any(hdu.name == name for _, hdu in images):
                images = [(k, hdu) for k, hdu in images if hdu.name == name]
                break
        else:
            images = [(k, hdu) for k, hdu in images if hdu.name not in _COMPANIONS]
        if len(images) > 1:
            images = [(k, hdu) for k, hdu in images if k > 0]
        found = [("" if hdu.name == "PRIMARY" else str(hdu.name), int(hdu.ver), k) for k, hdu in images]
    if not found:
        raise InputError(f"{path}: no HDU holds a 2-D image")
    times = Counter((name, version) for name, version, _ in found)
    places = {}
    for number, (name, version, k) in enumerate(found, 1):
        if not name or times[name, version] > 1:
            places[str(k)] = Place(number, name or str(k), version)
        else:
            places[name if version == 1 else f"{name},{version}"] = Place(number, name, version)
    return places


def has_extension(path: str, extension: str) -> bool:
    """Whether a file has an HDU of that name (and version), numbers not counting."""
    name, _, version = extension.partition(",")
    wanted = int(version) if version.strip().isdigit() else 1
    with open_fits(path) as hdus:
        return any(hdu.name == name.strip().upper() and hdu.ver == wanted for hdu in hdus)


def at_extension(spec: str, extension: str) -> str:
    """What belongs to an exposure in a file of kernels or PSFs: the HDU of its name, or the file if that has none."""
    path, own = split_spec(spec)
    return f"{path}[{extension}]" if own is None and has_extension(path, extension) else spec


class MosaicFile:
    """One output for several exposures, each with HDUs of its own.

    Use `create`, which puts it in its place at the end or removes it if anything fails.
    """

    def __init__(self, drafts: Mapping[str, Draft], layout: Layout, primary: fits.Header, count: int) -> None:
        self._drafts = drafts
        self._layout = layout
        self._primary = primary
        # Room for what is known at the end: how many exposures there are, and why some are not.
        self._room = len(self._header({}, 0).tostring()) + 80 * count * (2 + _LONGEST_CAUSE // 60)
        drafts["IMAGE"].claim(self._room)
        self._room = drafts["IMAGE"].end
        for draft in {id(d): d for d in drafts.values() if d is not drafts["IMAGE"]}.values():
            draft.append(empty_primary())
        self._written = 0

    @classmethod
    @contextmanager
    def create(cls, path: str, difference: str, count: int, *, overwrite: bool, layout: str) -> Iterator[MosaicFile]:
        """Write a file beside its place, and move it there once all went well.

        Parameters
        ----------
        path
            Its place.
        difference
            The file whose primary header is kept.
        count
            How many exposures there may be.
        overwrite
            Whether a file that is there may be replaced.
        layout
            One of `LAYOUTS`.

        Raises
        ------
        InputError
            If nothing can be written there, or another file has appeared there in the meantime.
        OSError
            Naming the output, if it cannot be written to its end.
        """
        with open_fits(difference) as hdus:
            primary = without_pixels(hdus[0].header.copy(strip=True))
        with open_drafts(path, layout, overwrite=overwrite) as by_role:
            yield cls(by_role, LAYOUTS[layout], primary, count)

    @contextmanager
    def section(self, plan: Plan, inputs: dict[str, str], place: Place) -> Iterator[OutputFile]:
        """The HDUs of one exposure, which vanish if anything fails."""
        ends = [(draft, draft.end) for draft in self._drafts.values()]
        try:
            yield OutputFile(self._drafts, plan, inputs, self._layout, place)
            self._written += 1
        except BaseException:
            for draft, end in ends:
                draft.cut(end)
            raise

    def finish(self, failures: dict[str, str]) -> None:
        """Write the primary header, with the reasons by exposure why some are missing."""
        header = self._header(failures, self._written)
        blank = (self._room - len(header.tostring(padding=False)) - 2 * 80) // 80
        for _ in range(max(blank, 0)):
            header.append("", bottom=True)
        self._drafts["IMAGE"].put(0, set_checksum(header, 0))

    def _header(self, failures: dict[str, str], written: int) -> fits.Header:
        header = self._primary.copy()
        cards: list[tuple[str, Any, str]] = [
            ("DCVERS", __version__, "version of decorr"),
            ("DCDATE", datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S"), "[UTC] time of decorrelation"),
            ("DCNEXT", written, "number of exposures in this file"),
        ]
        for k, (extension, cause) in enumerate(failures.items(), 1):
            text = f"{extension}: {cause}"[:_LONGEST_CAUSE]
            cards.append((f"DCFAIL{k}", "".join(c if " " <= c <= "~" else "?" for c in text), ""))
        header.append(("LONGSTRN", "OGIP 1.0", "long string values are continued"), bottom=True)
        for card in cards:
            header.append(card, bottom=True)
        header.add_history(f"noise decorrelated by decorr {__version__}")
        return header
