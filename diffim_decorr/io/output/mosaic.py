"""One output for several exposures."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from astropy.io import fits

from diffim_decorr._version import __version__
from diffim_decorr.io.atomic import Draft
from diffim_decorr.io.checksum import set_checksum
from diffim_decorr.io.extensions import Place
from diffim_decorr.io.hdus import open_fits
from diffim_decorr.io.output.cards import LONG_STRINGS, VERSION_CARD, empty_primary, without_pixels
from diffim_decorr.io.output.file import OutputFile, open_drafts
from diffim_decorr.io.output.layouts import LAYOUTS, Layout
from diffim_decorr.io.output.product import Product
from diffim_decorr.options import LayoutName

__all__ = ("MosaicFile",)

_LONGEST_CAUSE = 300


class MosaicFile:
    """One output for several exposures, each with HDUs of its own.

    Use `create`, which puts it in its place at the end or removes it if anything fails.
    """

    def __init__(self, drafts: Mapping[str, Draft], layout: Layout, primary: fits.Header) -> None:
        self._drafts = drafts
        self._layout = layout
        self._primary = primary
        self._room = len(set_checksum(self._header({}, 0), 0))
        drafts["IMAGE"].claim(self._room)
        for draft in {id(d): d for d in drafts.values() if d is not drafts["IMAGE"]}.values():
            draft.append(empty_primary())
        self._written = 0

    @classmethod
    @contextmanager
    def create(cls, path: str, difference: str, *, overwrite: bool, layout: LayoutName) -> Iterator[MosaicFile]:
        """Write a file beside its place, and move it there once all went well.

        Parameters
        ----------
        path
            Its place.
        difference
            The file whose primary header is kept.
        overwrite
            Whether a file that is there may be replaced.
        layout
            One of `LAYOUTS`.

        Raises
        ------
        UsageError
            If nothing can be written there, or another file has appeared there in the meantime.
        OSError
            Naming the output, if it cannot be written to its end.
        """
        with open_fits(difference) as hdus:
            primary = without_pixels(hdus[0].header.copy(strip=True))
        with open_drafts(path, layout, overwrite=overwrite) as by_role:
            yield cls(by_role, LAYOUTS[layout], primary)

    @contextmanager
    def section(self, product: Product, place: Place, with_background: bool = False) -> Iterator[OutputFile]:
        """The HDUs of one exposure, which vanish if anything fails."""
        ends = [(draft, draft.end) for draft in self._drafts.values()]
        try:
            output = OutputFile(self._drafts, product, self._layout, place, with_background)
            try:
                yield output
            finally:
                output.wait()
            self._written += 1
        except BaseException:
            for draft, end in ends:
                draft.cut(end)
            raise

    def finish(self, failures: dict[str, str]) -> None:
        """Write the primary header, with the reasons by exposure why some are missing."""
        text = set_checksum(self._header(failures, self._written), 0)
        if len(text) != self._room:
            self._drafts["IMAGE"].shift(self._room, len(text) - self._room)
        self._drafts["IMAGE"].put(0, text)

    def _header(self, failures: dict[str, str], written: int) -> fits.Header:
        header = self._primary.copy()
        cards: list[tuple[str, Any, str]] = [
            VERSION_CARD,
            ("DCDATE", datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S"), "[UTC] time of decorrelation"),
            ("DCNEXT", written, "number of exposures in this file"),
        ]
        for k, (extension, cause) in enumerate(failures.items(), 1):
            text = f"{extension}: {cause}"[:_LONGEST_CAUSE]
            cards.append((f"DCFAIL{k}", "".join(c if " " <= c <= "~" else "?" for c in text), ""))
        header.append(LONG_STRINGS, end=True)
        for card in cards:
            header.append(card, end=True)
        header.add_history(f"noise decorrelated by decorr {__version__}")
        return header
