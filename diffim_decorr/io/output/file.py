"""Writing the result: streamed rows of pixels, then ψ, the PSF and the quality figures, then the primary header.

Room for the planes is laid out before the first pixel is written, behind headers as long as a good run's will be.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

from diffim_decorr.geometry import Box
from diffim_decorr.images.masks import plane_bits
from diffim_decorr.images.planes import FilePlane
from diffim_decorr.io.atomic import Draft, drafts
from diffim_decorr.io.checksum import add_words, fold, set_checksum
from diffim_decorr.io.extensions import Place
from diffim_decorr.io.output.cards import LONG_STRINGS, VERSION_CARD, card_of, empty_primary, unit_cards, wcs_cards
from diffim_decorr.io.output.hdus import coefficient_table, image_hdu, psf_hdus, qa_hdu
from diffim_decorr.io.output.layouts import Layout, layout_of
from diffim_decorr.io.output.product import Product
from diffim_decorr.io.output.provenance import primary_header, provenance_cards
from diffim_decorr.io.output.rows import write_image
from diffim_decorr.io.structure import BLOCK, DTYPES
from diffim_decorr.kernels.spatial import SpatialKernel
from diffim_decorr.options import UNUSABLE_PLANES, LayoutName
from diffim_decorr.qa.figures import QualityFigures

__all__ = ("OutputFile", "open_drafts")

Array = NDArray[Any]

# Cards of a good run that are not known before its pixels are written: figures of the quality, and the verdict. With
# more or fewer what comes after them is moved, for a header has no room to spare but in blank cards.
_LATER_CARDS = 21
_CHECKSUM_CARDS = 2
_BITPIX = {"IMAGE": -32, "MASK": 32, "VARIANCE": -32, "SNR": -32}


class OutputFile:
    """Takes rows of pixels as they come, a `Sink`, and lays them out in one or several files.

    Use `create`, which puts the files in their places at the end or removes them if anything fails.

    Parameters
    ----------
    drafts
        The file that has the image, the mask, the variance and all else.
    product
        What is going to be written.
    layout
        How the files are laid out.
    place
        Which exposure of several it is, None if it is the only one.
    with_background
        Whether the background that was taken off is stored.
    """

    def __init__(
        self,
        drafts: Mapping[str, Draft],
        product: Product,
        layout: Layout,
        place: Place | None = None,
        with_background: bool = False,
    ) -> None:
        self._drafts = drafts
        self._product = product
        self._layout = layout
        self._place = place
        self._background = product.background if with_background else None
        # Whether the header that says how the image was made is its own, or that of a primary HDU without pixels.
        self._leading = layout.separate or place is not None
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        self._unsynced = self._complete = False
        self._syncing: threading.Thread | None = None
        self._failed: OSError | None = None
        roles = [role for role in layout.names if role != "VARIANCE" or product.has_variance]
        # Standard deviations fit where variances do not.
        self._bitpix = {**_BITPIX, "VARIANCE": -64} if product.wide and not layout.sigma else _BITPIX
        self._headers = {role: self._plane_header(role) for role in roles}
        self._sums = dict.fromkeys(self._headers, 0)
        judged = product.psi is not None and product.record.quality is None
        later = _CHECKSUM_CARDS + (_LATER_CARDS if judged else product.later)
        self._room = len(self._lead().tostring(padding=False)) + later * 80
        self._room += -self._room % BLOCK
        if not self._leading:
            self._lead_at = drafts["IMAGE"].claim(self._room)
        ny, nx = product.shape
        self._offsets: dict[str, tuple[int, int]] = {}
        for role, header in self._headers.items():
            leading = self._leading and role == "IMAGE"
            head = drafts[role].claim(self._room if leading else len(set_checksum(header, 0)))
            if leading:
                self._lead_at = head
            self._offsets[role] = head, drafts[role].claim(abs(self._bitpix[role]) // 8 * ny * nx)
        for draft in set(drafts.values()):
            draft.reserve()

    @classmethod
    @contextmanager
    def create(
        cls,
        path: str,
        product: Product,
        *,
        overwrite: bool,
        layout: LayoutName | Layout = "lsst",
        with_background: bool = False,
    ) -> Iterator[OutputFile]:
        """Write a file beside its place, and move it there once all went well.

        Parameters
        ----------
        path
            Its place.
        product
            What is going to be written.
        overwrite
            Whether a file that is there may be replaced.
        layout
            One of `LAYOUTS`, or another.
        with_background
            Whether the background that was taken off is stored.

        Raises
        ------
        UsageError
            If nothing can be written there, or another file has appeared there in the meantime.
        OSError
            Naming the output, if it cannot be written to its end.
        """
        with open_drafts(path, layout, overwrite=overwrite) as by_role:
            if layout_of(layout).separate:
                by_role["PSI"].append(empty_primary())
            output = cls(by_role, product, layout_of(layout), with_background=with_background)
            try:
                yield output
            finally:
                output.wait()

    @property
    def names(self) -> list[str]:
        """Of the planes of pixels."""
        return [self._layout.names[role] or role for role in self._headers]

    def _provenance(self) -> list[fits.Card]:
        cards = provenance_cards(self._product.record)
        if self._place is not None:
            name, version = self._place.name, self._place.version
            cards.append(card_of("DCEXT", name if version == 1 else f"{name},{version}", "HDU of the difference"))
        return cards

    def _companions(self, psf: Array | SpatialKernel | None) -> Iterator[bytes]:
        """PSI_BASIS, PSI_COEFFS, PSF, PSF_INPUT and QA; the first says how ψ was made if nothing else does."""
        product, version = self._product, None if self._place is None else self._place.number
        if product.psi is not None:
            provenance = [fits.Card(*LONG_STRINGS), *self._provenance()] if self._leading else []
            yield image_hdu("PSI_BASIS", product.psi.basis, fits.Header(provenance), version)
            yield coefficient_table(
                product.psi.coefficients, product.shape, product.margins, product.simplified, version
            )
        if psf is not None:
            yield from psf_hdus(psf, product.xy0, version)
        if product.psf_input is not None:
            yield from psf_hdus(product.psf_input, product.xy0, version, "PSF_INPUT")
        if isinstance(product.record.quality, QualityFigures):
            yield qa_hdu(product.record.quality, version)

    def _structure(self, role: str) -> list[tuple[str, Any, str]]:
        """The first cards of the HDU of a plane."""
        ny, nx = self._product.shape
        primary = self._layout.separate and self._place is None
        cards: list[tuple[str, Any, str]] = [
            ("SIMPLE", True, "conforms to FITS standard") if primary else ("XTENSION", "IMAGE", "Image extension"),
            ("BITPIX", self._bitpix[role], "array data type"),
            ("NAXIS", 2, "number of array dimensions"),
            ("NAXIS1", nx, ""),
            ("NAXIS2", ny, ""),
        ]
        if primary:
            return [*cards, ("EXTEND", True, "")]
        cards += [("PCOUNT", 0, "number of parameters"), ("GCOUNT", 1, "number of groups")]
        place, name = self._place, self._layout.names[role]
        if place is not None:
            name, version = (name, place.number) if name else (place.name, place.version)
        if name:
            cards.append(("EXTNAME", name, "extension name"))
        if place is not None and name:
            cards.append(("EXTVER", version, "extension version"))
        if name == role != "SNR":  # what LSST files tell their HDUs apart by
            cards.append(("EXTTYPE", role, "what the plane is"))
        return cards

    def _plane_header(self, role: str) -> fits.Header:
        header = fits.Header([fits.Card(*card) for card in self._structure(role)])
        for item in wcs_cards(self._product.header):
            header.append(item, end=True)
        squared = role == "VARIANCE" and not self._layout.sigma
        if role not in ("MASK", "SNR"):
            header.extend(unit_cards(self._product.header, squared))
        if role == "VARIANCE":  # as CCDData.read looks for it
            header["UTYPE"] = ("VarianceUncertainty" if squared else "StdDevUncertainty", "kind of uncertainty")
        if role == "MASK":
            for name, bit in sorted(self._product.mask_planes.items(), key=lambda item: item[1]):
                header[f"MP_{name}" if len(name) <= 5 else f"HIERARCH MP_{name}"] = bit
            bits = np.uint32(plane_bits(self._product.mask_planes, UNUSABLE_PLANES)).view(np.int32)
            header["UNUSABLE"] = (int(bits), "bits of pixels that are of no use")
        if self._layout.separate:
            header["DCVERS"] = VERSION_CARD[1:]
        return header

    def _lead(self) -> fits.Header:
        """The difference's header and how its noise was whitened, in a primary HDU without pixels or the image's."""
        header = primary_header(self._product.header, self._provenance(), self._product.done)
        if not self._leading:
            return header
        lead = fits.Header([fits.Card(*card) for card in self._structure("IMAGE")])
        for item in header.cards[4:]:  # but for SIMPLE, BITPIX, NAXIS and EXTEND
            lead.append(item, end=True)
        return lead

    def rows(self, _y0: int, _y1: int) -> None:
        """Rows are to be written."""

    def write(self, y0: int, image: Array, mask: Array, variance: Array) -> None:
        """Take rows of pixels, which are overwritten."""
        if self._layout.sigma:
            variance = np.sqrt(variance, out=variance).astype(np.float32, copy=False)
        planes = [("IMAGE", image), ("MASK", mask), ("VARIANCE", variance)]
        if "SNR" in self._headers:
            with np.errstate(invalid="ignore"):
                planes.append(("SNR", image / variance))
        for role, rows in planes:
            if role not in self._headers:
                continue
            part = add_words(rows)
            with self._lock:
                self._sums[role] += part
            rows.byteswap(inplace=True)
            start = rows.itemsize * y0 * self._product.shape[1]
            self._drafts[role].put(self._offsets[role][1] + start, rows.data.cast("B"))
        with self._changed:
            self._unsynced = True
            self._changed.notify()
            if self._syncing is None and not self._complete:
                syncing = threading.Thread(target=self._sync)
                try:
                    syncing.start()
                except RuntimeError:  # there is no memory for it: all is synced at the end
                    self._complete = True
                else:
                    self._syncing = syncing

    def start_syncing(self) -> None:
        with self._changed:
            self._complete = True
            self._changed.notify()

    def _sync(self) -> None:
        """Have the pixels go to the disk while others are worked on, until all have come."""
        try:
            while True:
                with self._changed:
                    self._changed.wait_for(lambda: self._unsynced or self._complete)
                    if not self._unsynced:
                        return
                    self._unsynced = False
                for draft in set(self._drafts.values()):
                    draft.sync()
        except OSError as error:
            # What the system could not write it says but once: a later try would seem to succeed.
            self._failed = error
        except ValueError:
            # The run was ended in the meantime, and its files are closed.
            return

    def wait(self) -> None:
        """Until nothing is on its way to the disk."""
        self.start_syncing()
        if self._syncing is not None:
            self._syncing.join()

    def read(self, box: Box) -> tuple[Array, Array, Array]:
        """Image, mask and variance within a box that has been written."""
        image, mask, variance = (
            FilePlane(
                self._drafts[role].temporary,
                self._offsets[role][1],
                self._product.shape,
                np.dtype(DTYPES[self._bitpix[role]]),
            ).read(box)
            for role in ("IMAGE", "MASK", "VARIANCE")
        )
        if self._layout.sigma:
            variance = np.square(variance, dtype=np.float64 if self._product.wide else np.float32)
        return image, mask, variance

    def finish(self, psf: Array | SpatialKernel | None) -> None:
        """Write everything but the pixels.

        Parameters
        ----------
        psf
            That of the result, if it is known.
        """
        self.wait()
        if self._failed is not None:
            raise self._failed
        text = set_checksum(self._lead(), fold(self._sums["IMAGE"]) if self._leading else 0)
        self._make_room(len(text))
        self._drafts["IMAGE"].put(self._lead_at, text)
        for role, header in self._headers.items():
            if not (self._leading and role == "IMAGE"):
                self._drafts[role].put(self._offsets[role][0], set_checksum(header, fold(self._sums[role])))
        for companion in self._companions(psf):
            self._drafts["PSI"].append(companion)
        version = None if self._place is None else self._place.number
        if self._background is not None:
            write_image(self._drafts["PSI"], "BACKGROUND", self._background, self._product.header, version)
        if self._product.calibration is not None:
            write_image(
                self._drafts["PSI"], "CALIBRATION", self._product.calibration, self._product.header, version, unit=False
            )

    def _make_room(self, length: int) -> None:
        """Have the pixels begin where the header ends."""
        by = length - self._room
        if by:
            self._drafts["IMAGE"].shift(self._lead_at + self._room, by)
            for role, (head, data) in self._offsets.items():
                if self._drafts[role] is self._drafts["IMAGE"]:
                    self._offsets[role] = head + by * (head > self._lead_at), data + by
            self._room = length


@contextmanager
def open_drafts(path: str, layout: LayoutName | Layout, *, overwrite: bool) -> Iterator[dict[str, Draft]]:
    """The files of an output by what they have."""
    paths = layout_of(layout).paths(path)
    with drafts(list(dict.fromkeys(paths.values())), overwrite=overwrite) as by_path:
        yield {role: by_path[path] for role, path in paths.items()}
