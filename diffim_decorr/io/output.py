"""Writing the result: streamed rows of pixels, then ψ, the PSF and the quality figures, then the primary header.

Room for the planes is laid out before the first pixel is written; headers with figures of the result have some to grow.
"""

from __future__ import annotations

import io
import os
import re
import threading
from collections.abc import Container, Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

from diffim_decorr._version import __version__
from diffim_decorr.errors import InputError
from diffim_decorr.filtering import tiling_of
from diffim_decorr.io.checksum import add_words, fold, set_checksum
from diffim_decorr.io.drafts import Draft, drafts, exists_already
from diffim_decorr.io.fits import readable_cards
from diffim_decorr.io.layouts import LAYOUTS, Layout, Place, default_output
from diffim_decorr.plan import Plan
from diffim_decorr.planes import FilePlane
from diffim_decorr.qa import QualityFigures, max_abs_rho
from diffim_decorr.spatial import (
    Box,
    Coefficients,
    GridCoefficients,
    PiecewiseCoefficients,
    SpatialKernel,
)

__all__ = ("OutputFile", "check_output", "default_output", "empty_primary", "open_drafts", "without_pixels")

Array = NDArray[Any]

_BLOCK = 2880
_NO_PIXELS = (
    ("SIMPLE", True, "conforms to FITS standard"),
    ("BITPIX", 8, "array data type"),
    ("NAXIS", 0, "number of array dimensions"),
    ("EXTEND", True, ""),
)
_LONG_STRINGS = ("LONGSTRN", "OGIP 1.0", "long string values are continued")
# Room for cards that are not known before the pixels are written.
_SPARE_CARDS = 72
# Cards that place an image on the sky or in its parent frame, and so belong to each plane.
_WCS_CARD = re.compile(
    r"(WCSAXES|CTYPE\d|CRVAL\d|CRPIX\d|CDELT\d|CUNIT\d|CROTA\d|CD\d_\d|PC\d_\d|PV\d_\d+|PS\d_\d+|LONPOLE|LATPOLE|LTV\d|LTM\d_\d)[A-Z]?"
    r"|RADESYS[A-Z]?|EQUINOX[A-Z]?|EPOCH|(A|B|AP|BP)_(ORDER|\d+_\d+|DMAX)|WAT\d_\d+"
)
_AXIS_CARD = re.compile(
    r"(?:CTYPE|CRVAL|CRPIX|CDELT|CUNIT|CROTA|CNAME|CRDER|CSYER|PV|PS|LTV|WAT)(\d)(?:_\d+)?[A-Z]?"
    r"|(?:CD|PC|LTM)(\d)_(\d)[A-Z]?"
)
# Cards of the difference that would be wrong or misleading about the result, or refer to HDUs that it has not.
_DROPPED_CARD = re.compile(
    r"SIMPLE|XTENSION|BITPIX|NAXIS\d*|EXTEND|PCOUNT|GCOUNT|GROUPS|BSCALE|BZERO|BLANK|DATASUM|CHECKSUM|EXTNAME|EXTVER"
    r"|EXTLEVEL|EXTTYPE|INHERIT|MP_.*|MASKVAL|KERINFO|DATAMIN|DATAMAX|T(TYPE|FORM)\d+|TFIELDS|Z(IMAGE|CMPTYPE|BITPIX)"
    r"|DCWARN\d+|AR_HDU|WCS_ID|PSF_ID|(CPDIS|CPERR|CQDIS|CQERR|DP|DQ|D2IMDIS|D2IMERR|D2IM)\d.*|D2IMEXT|LONGSTRN"
)


def check_output(path: str, inputs: list[str], overwrite: bool) -> None:
    """Refuse an output that would destroy an input or another file, or cannot be written.

    Raises
    ------
    InputError
        Naming the output and the cause.
    """
    folder, name = os.path.split(path)
    folder = os.path.abspath(folder)
    if os.path.isdir(path):
        raise InputError(f"{path}: the output is a directory")
    if not os.path.isdir(folder):
        raise InputError(f"{path}: there is no directory {folder}")
    if not name:
        raise InputError(f"the name of the output is empty: {path!r}")
    if os.path.exists(path):
        for other in inputs:
            if os.path.exists(other) and os.path.samefile(path, other):
                raise InputError(f"{path}: the output is the same file as the input {other}")
        if not os.path.isfile(path):
            raise InputError(f"{path}: the output exists and is not a regular file")
    try:
        os.lstat(path)
    except FileNotFoundError:
        pass
    except OSError as error:
        raise InputError(f"{path}: the output cannot be written: {error.strerror}") from error
    else:
        if not overwrite:
            raise exists_already(path)
    if not os.access(folder, os.W_OK | os.X_OK):
        raise InputError(f"{path}: the directory {folder} cannot be written to")


class OutputFile:
    """Takes rows of pixels as they come, a `Sink`, and lays them out in one or several files.

    Use `create`, which puts the files in their places at the end or removes them if anything fails.

    Parameters
    ----------
    drafts
        The file that has the image, the mask, the variance and all else.
    plan
        What is going to be done.
    inputs
        Names of the input files by card.
    layout
        How the files are laid out.
    place
        Which exposure of several it is, None if it is the only one.
    """

    def __init__(
        self,
        drafts: Mapping[str, Draft],
        plan: Plan,
        inputs: dict[str, str],
        layout: Layout = LAYOUTS["lsst"],
        place: Place | None = None,
    ) -> None:
        self._drafts = drafts
        self._plan = plan
        self._inputs = inputs
        self._layout = layout
        self._place = place
        # Whether the header that says how the image was made is its own, or that of a primary HDU without pixels.
        self._leading = layout.separate or place is not None
        self._lock = threading.Lock()
        self._syncing: threading.Thread | None = None
        self._headers = {role: self._plane_header(role) for role in layout.names if role in self._planes()}
        self._sums = dict.fromkeys(self._headers, 0)
        self._room = len(self._lead(None).tostring()) + _SPARE_CARDS * 80
        self._room += -self._room % _BLOCK
        if not self._leading:
            self._lead_at = drafts["IMAGE"].claim(self._room)
        ny, nx = plan.shape
        self._offsets: dict[str, tuple[int, int]] = {}
        for role, header in self._headers.items():
            leading = self._leading and role == "IMAGE"
            head = drafts[role].claim(self._room if leading else len(set_checksum(header, 0)))
            if leading:
                self._lead_at = head
            self._offsets[role] = head, drafts[role].claim(4 * ny * nx)
        self._reserve()

    @classmethod
    @contextmanager
    def create(
        cls, path: str, plan: Plan, inputs: dict[str, str], *, overwrite: bool, layout: str = "lsst"
    ) -> Iterator[OutputFile]:
        """Write a file beside its place, and move it there once all went well.

        Parameters
        ----------
        path
            Its place.
        plan
            What is going to be done.
        inputs
            Names of the input files by card.
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
        with open_drafts(path, layout, overwrite=overwrite) as by_role:
            if LAYOUTS[layout].separate:
                by_role["PSI"].append(empty_primary())
            yield cls(by_role, plan, inputs, LAYOUTS[layout])

    @property
    def names(self) -> list[str]:
        """Of the planes of pixels."""
        return [self._layout.names[role] or role for role in self._headers]

    def _planes(self) -> dict[str, int]:
        """BITPIX of each plane of pixels that the file has."""
        return {"IMAGE": -32, "MASK": 32, "VARIANCE": -32}

    def _primary(self, qa: QualityFigures | None) -> fits.Header:
        return _primary(self._plan, self._provenance(qa), "noise decorrelated")

    def _provenance(self, qa: QualityFigures | None) -> list[fits.Card]:
        cards = _provenance(self._plan, qa, self._inputs)
        if self._place is not None:
            cards.append(_card("DCEXT", _shown(self._place), "HDU of the difference"))
        return cards

    def _companions(self, qa: QualityFigures | None) -> Iterator[bytes]:
        """The HDUs after the planes of pixels."""
        if qa is None:
            return iter(())
        provenance = [fits.Card(*_LONG_STRINGS), *self._provenance(qa)] if self._leading else []
        return _companions(self._plan, qa, None if self._place is None else self._place.number, provenance)

    def _structure(self, role: str) -> list[tuple[str, Any, str]]:
        """The first cards of the HDU of a plane."""
        ny, nx = self._plan.shape
        primary = self._layout.separate and self._place is None
        cards: list[tuple[str, Any, str]] = [
            ("SIMPLE", True, "conforms to FITS standard") if primary else ("XTENSION", "IMAGE", "Image extension"),
            ("BITPIX", self._planes()[role], "array data type"),
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
        if name == role:  # what LSST files tell their HDUs apart by
            cards.append(("EXTTYPE", role, "what the plane is"))
        return cards

    def _plane_header(self, role: str) -> fits.Header:
        header = fits.Header([fits.Card(*card) for card in self._structure(role)])
        for item in _wcs_cards(self._plan):
            header.append(item, bottom=True)
        unit = str((self._plan.difference.header or {}).get("BUNIT", "")).strip()
        if unit and len(unit) < 60 and role != "MASK":
            squared = role == "VARIANCE" and not self._layout.sigma
            header["BUNIT"] = f"({unit})**2" if squared else unit
        if role == "MASK":
            for name, bit in sorted(self._plan.masks.planes.items(), key=lambda item: item[1]):
                header[f"MP_{name}" if len(name) <= 5 else f"HIERARCH MP_{name}"] = bit
        return header

    def _lead(self, qa: QualityFigures | None) -> fits.Header:
        """The difference's header and how its noise was whitened, in a primary HDU without pixels or the image's."""
        header = self._primary(qa)
        if not self._leading:
            return header
        lead = fits.Header([fits.Card(*card) for card in self._structure("IMAGE")])
        for item in header.cards[4:]:  # but for SIMPLE, BITPIX, NAXIS and EXTEND
            lead.append(item, bottom=True)
        return lead

    def _reserve(self) -> None:
        for draft in set(self._drafts.values()):
            draft.reserve()

    def rows(self, _y0: int, _y1: int) -> None:
        """Rows are to be written."""

    def write(self, y0: int, image: Array, mask: Array, variance: Array) -> None:
        """Take rows of pixels, which are overwritten."""
        if self._layout.sigma:
            np.sqrt(variance, out=variance)
        for role, rows in (("IMAGE", image), ("MASK", mask), ("VARIANCE", variance)):
            if role not in self._headers:
                continue
            part = add_words(rows)
            with self._lock:
                self._sums[role] += part
            rows.byteswap(inplace=True)
            self._drafts[role].put(self._offsets[role][1] + 4 * y0 * self._plan.shape[1], rows.data.cast("B"))

    def start_syncing(self) -> None:
        """Let the pixels go to the disk while other work is done."""
        self._syncing = threading.Thread(target=self._sync)
        self._syncing.start()

    def _sync(self) -> None:
        for draft in set(self._drafts.values()):
            draft.sync()

    def read(self, box: Box) -> tuple[Array, Array, Array]:
        """Image, mask and variance within a box that has been written."""
        image, mask, variance = (
            FilePlane(self._drafts[role].temporary, self._offsets[role][1], self._plan.shape, np.dtype(kind)).read(box)
            for role, kind in (("IMAGE", ">f4"), ("MASK", ">i4"), ("VARIANCE", ">f4"))
        )
        return image, mask, np.square(variance) if self._layout.sigma else variance

    def finish(self, qa: QualityFigures | None) -> None:
        """Write everything but the pixels."""
        if self._syncing is not None:
            self._syncing.join()
        for role, header in self._headers.items():
            if not (self._leading and role == "IMAGE"):
                self._drafts[role].put(self._offsets[role][0], set_checksum(header, fold(self._sums[role])))
        for companion in self._companions(qa):
            self._drafts["PSI"].append(companion)
        header = self._lead(qa)
        blank = (self._room - len(header.tostring(padding=False)) - 2 * 80) // 80
        for _ in range(max(blank, 0)):
            header.append("", bottom=True)
        text = set_checksum(header, fold(self._sums["IMAGE"]) if self._leading else 0)
        if len(text) != self._room:
            raise RuntimeError("the header outgrew the room that was kept for it")
        self._drafts["IMAGE"].put(self._lead_at, text)


@contextmanager
def open_drafts(path: str, layout: str, *, overwrite: bool) -> Iterator[dict[str, Draft]]:
    """The files of an output by what they have."""
    paths = LAYOUTS[layout].paths(path)
    with drafts(list(dict.fromkeys(paths.values())), overwrite=overwrite) as by_path:
        yield {role: by_path[path] for role, path in paths.items()}


def empty_primary() -> bytes:
    """A primary HDU with nothing in it."""
    header = fits.Header([fits.Card(*card) for card in _NO_PIXELS])
    return set_checksum(header, 0)


def _shown(place: Place) -> str:
    return place.name if place.version == 1 else f"{place.name},{place.version}"


def _inherited(header: fits.Header | None) -> Iterator[fits.Card]:
    """The difference's cards, but for axes that the output has not."""
    for card in [] if header is None else readable_cards(header):
        axes = _AXIS_CARD.fullmatch(card.keyword)
        if card.keyword.startswith("WCSAXES"):
            yield fits.Card(card.keyword, 2, card.comment)
        elif card.keyword and (axes is None or set(axes.groups()) <= {"1", "2", None}):
            yield card


def _wcs_cards(plan: Plan) -> list[fits.Card]:
    return [card for card in _inherited(plan.difference.header) if _WCS_CARD.fullmatch(card.keyword)]


def _card(keyword: str, value: Any, comment: str) -> fits.Card:
    """A card, whose comment is left out where there is no room for it."""
    if isinstance(value, str):
        # What the standard (4.2.1.1) does not allow in a string, such as letters outside ASCII in names of files.
        value = "".join(c if " " <= c <= "~" else c.encode("unicode_escape").decode() for c in value)
    plain = fits.Card(keyword, value)
    return fits.Card(keyword, value, comment) if len(str(plain).rstrip()) + 3 + len(comment) <= 80 else plain


def without_pixels(inherited: fits.Header | None, own: Container[str] = ()) -> fits.Header:
    """A primary header without pixels, with the difference's cards but for those that will be its own."""
    header = fits.Header([fits.Card(*card) for card in _NO_PIXELS])
    for item in _inherited(inherited):
        if not _DROPPED_CARD.fullmatch(item.keyword) and item.keyword not in own:
            header.append(item, bottom=True)
    axes = {int(k[5]) for k in header if re.fullmatch(r"CTYPE\d", k)}
    if axes and "WCSAXES" not in header:
        # Without pixels of its own this HDU has to say how many axes its WCS has.
        first = next(k for k in header if _WCS_CARD.fullmatch(k))
        header.insert(first, ("WCSAXES", max(axes), "number of WCS axes"))
    return header


def _primary(plan: Plan, provenance: list[fits.Card], done: str) -> fits.Header:
    """The difference's header, and what was done to it."""
    header = without_pixels(plan.difference.header, {card.keyword for card in provenance})
    header.append(_LONG_STRINGS, bottom=True)
    for item in provenance:
        header.append(item, bottom=True)
    header.add_history(f"{done} by decorr {__version__}")
    return header


def _provenance(plan: Plan, qa: QualityFigures | None, inputs: dict[str, str]) -> list[fits.Card]:
    """How the noise was whitened, and how well."""
    options, noise, psi = plan.options, plan.noise, plan.decorrelation
    cards: list[tuple[str, Any, str]] = [
        ("DCVERS", __version__, "version of decorr"),
        ("DCDATE", datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S"), "[UTC] time of decorrelation"),
        *((f"DC{key}", name, "input file") for key, name in inputs.items()),
        ("DCKFORM", plan.kernel.format, "format of the matching kernel"),
        ("DCCONV", _sides(plan), "image that was convolved"),
        ("DCMODE", "spatial" if options.spatial else "constant", "decorrelation kernel over the field"),
        ("DCNOISE", options.noise, "noise model of the inputs"),
        ("DCSCORE", options.score, "likelihood image"),
        ("DCVPROP", options.variance, "propagation of the variance planes"),
        ("DCSVAR", noise.science, "background variance of the science image"),
        ("DCTVAR", noise.template, "background variance of the template"),
        ("DCSGIVEN", options.svar is not None, "science variance given, not measured"),
        ("DCTGIVEN", options.tvar is not None, "template variance given, not measured"),
        ("DCNSPACE", options.node_spacing, "[pixel] node spacing asked for"),
        ("DCTOLER", options.tolerance, "bound of the rms error / noise"),
        ("DCMXGAIN", options.max_gain, "limit of the filter's gain"),
        ("DCBADFRC", options.bad_fraction, "fraction of psi on bad pixels that flags"),
        ("DCBADPL", ",".join(options.bad_planes), "planes left out of statistics"),
        ("DCREPPL", ",".join(options.replace_planes) or "none", "planes replaced"),
        ("DCHWIDTH", psi.half_width, "[pixel] half width of psi"),
        ("DCMODES", psi.modes, "basis images of psi"),
        ("DCNODES", psi.node_spacing, "[pixel] node spacing used"),
        ("DCELOST", psi.energy_lost, "energy of psi cut off"),
        ("DCLIMIT", psi.frequencies_limited, "fraction of frequencies limited"),
        ("DCERROR", psi.error, "estimated rms error / noise"),
    ]
    for k, (contribution, plane) in enumerate(zip(plan.contributions, plan.planes, strict=True), 1):
        if plane.measured is not None:
            cards += [
                (f"DCVFAC{k}", plane.factor, f"factor of variance plane {k} ({contribution.side})"),
                (f"DCCORR{k}", max_abs_rho(plane.measured.correlation), f"noise correlation of image {k}"),
                (f"DCPLAT{k}", plane.measured.plateau, f"plateau taken off image {k}"),
                (f"DCMPIX{k}", plane.measured.pixels, f"source-free pixels of image {k}"),
            ]
    if options.noise == "measured":
        cards.append(("DCVCAL", plan.calibration, "factor of the variance measured on the result"))
    if plan.recipe.residual is not None:
        cards.append(("DCRESID", max_abs_rho(plan.recipe.residual), "correlation left by the first filter"))
    if options.kernel_at is not None:
        cards += [("DCKATX", options.kernel_at[0], "[pixel] kernel taken at x"), ("DCKATY", options.kernel_at[1], "y")]
    for key, name, comment in (
        ("DCRHO0", "max_abs_rho_before", "largest noise correlation, difference"),
        ("DCRHO1", "max_abs_rho_after", "largest noise correlation, this image"),
        ("DCSNRSTD", "snr_std", "robust std of image / sqrt(variance)"),
        ("DCNPIX", "pixels_used", "source-free pixels measured"),
    ):
        value = 0.0 if qa is None else getattr(qa, name)
        cards.append((key, value if np.isfinite(value) else "undefined", comment))
    cards += [(f"DCWARN{k}", warning, "") for k, warning in enumerate(plan.warnings, 1)]
    return [_card(*card) for card in cards]


def _sides(plan: Plan) -> str:
    sides = {plan.options.convolved or side or "template" for side in plan.kernel.convolved}
    return sides.pop() if len(sides) == 1 else "by region"


def _companions(
    plan: Plan, qa: QualityFigures, version: int | None = None, provenance: Iterable[fits.Card] = ()
) -> Iterator[bytes]:
    """PSI_BASIS, PSI_COEFFS, PSF and QA, with their EXTVER; the first says how ψ was made if nothing else does."""
    psi = plan.decorrelation.psi
    yield _image("PSI_BASIS", psi.basis, fits.Header(list(provenance)), version)
    yield _coefficient_table(psi.coefficients, plan.shape, tiling_of(plan).halo, version)
    if plan.psf is not None:
        yield from _psf_hdus(plan.psf, plan.difference.xy0, version)
    names = ("before", "after", "science", "template")
    rho = np.array([getattr(qa, f"rho_{name}") for name in names], dtype=np.float32)
    yield _image("QA", rho, _qa_header(), version)


def _psf_hdus(psf: Array | SpatialKernel, xy0: tuple[int, int], version: int | None = None) -> Iterator[bytes]:
    """PSF, an image or a cube, and PSF_POSITIONS in the latter case."""
    if isinstance(psf, SpatialKernel):
        yield _image("PSF", psf.basis.astype(np.float32), version=version)
        yield _position_table(psf.coefficients, xy0, version)
    else:
        yield _image("PSF", psf, version=version)


def _image(name: str, pixels: Array, header: fits.Header | None = None, version: int | None = None) -> bytes:
    with io.BytesIO() as buffer:
        primary = fits.PrimaryHDU()
        fits.HDUList([primary, fits.ImageHDU(pixels, header, name, ver=version)]).writeto(buffer, checksum=True)
        return buffer.getvalue()[len(primary.header.tostring()) :]


def _qa_header() -> fits.Header:
    header = fits.Header()
    header["PLANE1"] = ("before", "noise correlation of the difference")
    header["PLANE2"] = ("after", "noise correlation of this image")
    header["PLANE3"] = ("science", "noise correlation of the science image")
    header["PLANE4"] = ("template", "noise correlation of the template")
    header["CTYPE1"], header["CTYPE2"], header["CTYPE3"] = "LAG-X", "LAG-Y", "PLANE"
    header["CRPIX1"] = (6, "zero lag")
    header["CRPIX2"] = (6, "zero lag")
    header["CRPIX3"] = (1, "")
    header["CRVAL3"] = (1.0, "plane")
    header["CDELT1"], header["CDELT2"], header["CDELT3"] = 1.0, 1.0, 1.0
    header["CRVAL1"] = (0.0, "[pixel] lag along x")
    header["CRVAL2"] = (0.0, "[pixel] lag along y")
    return header


def _coefficient_table(
    coefficients: Coefficients, shape: tuple[int, int], margin: int, version: int | None = None
) -> bytes:
    """PSI_COEFFS: one row for each box of the field, with knots and the values of the n coefficient functions there."""
    whole = Box(0, 0, shape[1], shape[0])
    pieces = coefficients.pieces if isinstance(coefficients, PiecewiseCoefficients) else ((whole, coefficients),)
    grids = [_as_grid(piece) for _, piece in pieces]
    columns: list[tuple[str, str, list[Any]]] = [
        (name, "pixel", [np.int32(getattr(box, name.lower())) for box, _ in pieces])
        for name in ("X0", "Y0", "X1", "Y1")
    ]
    columns += [
        ("ORDER", "", [np.int32(grid.order) for grid in grids]),
        ("NX", "", [np.int32(len(grid.x)) for grid in grids]),
        ("NY", "", [np.int32(len(grid.y)) for grid in grids]),
        ("KNOTS_X", "pixel", _same_length([grid.x for grid in grids])),
        ("KNOTS_Y", "pixel", _same_length([grid.y for grid in grids])),
        ("VALUES", "", _same_length([grid.values.ravel() for grid in grids])),
    ]
    comments = (
        "VALUES: (basis image, knot along y, knot along x), x fastest, NBASIS NY NX of them;",
        "polynomials of degree ORDER through the nearest knots; 0-based pixels, X0 <= x < X1",
    )
    # The size of the field, and the margin of the tiles: with the same one the same pixels come out, bit for bit.
    cards = {"NBASIS": coefficients.count, "FIELDNX": shape[1], "FIELDNY": shape[0], "MARGIN": margin}
    return _table("PSI_COEFFS", columns, cards, comments, version)


def _position_table(grid: Coefficients, xy0: tuple[int, int], version: int | None = None) -> bytes:
    """PSF_POSITIONS: where in the parent frame each image of the cube PSF holds."""
    knots = _as_grid(grid)
    y, x = np.meshgrid(knots.y + xy0[1], knots.x + xy0[0], indexing="ij")
    columns: list[tuple[str, str, list[Any]]] = [
        (name, "pixel", list(np.ravel(positions))) for name, positions in (("X", x), ("Y", y))
    ]
    comments = ("position of each image of PSF, bilinear between them; 0-based pixels of the parent frame",)
    return _table("PSF_POSITIONS", columns, {}, comments, version)


def _same_length(arrays: list[Array]) -> list[Array]:
    # Rows of one length are read everywhere; shorter ones are filled up with zeros.
    longest = max(len(array) for array in arrays)
    return [np.pad(array.astype(np.float64), (0, longest - len(array))) for array in arrays]


def _table(
    name: str,
    columns: list[tuple[str, str, list[Any]]],
    cards: dict[str, int],
    comments: Iterable[str],
    version: int | None,
) -> bytes:
    """A binary table HDU of 32-bit integers and doubles; astropy's would take its time to load the Table machinery."""
    fields = [(title, values[0].dtype.newbyteorder(">"), values[0].shape) for title, _, values in columns]
    rows = np.zeros(len(columns[0][2]), dtype=np.dtype(fields))
    for title, _, values in columns:
        rows[title] = values
    header = fits.Header()
    for card in (
        ("XTENSION", "BINTABLE", "binary table extension"),
        ("BITPIX", 8, "array data type"),
        ("NAXIS", 2, "number of array dimensions"),
        ("NAXIS1", rows.dtype.itemsize, "bytes in a row"),
        ("NAXIS2", len(rows), "number of rows"),
        ("PCOUNT", 0, "number of group parameters"),
        ("GCOUNT", 1, "number of groups"),
        ("TFIELDS", len(columns), "number of columns"),
    ):
        header.append(card)
    for k, (title, unit, values) in enumerate(columns, 1):
        header[f"TTYPE{k}"] = title
        header[f"TFORM{k}"] = f"{values[0].size}{'J' if values[0].dtype.kind == 'i' else 'D'}"
        if unit:
            header[f"TUNIT{k}"] = unit
    header["EXTNAME"] = (name, "extension name")
    if version is not None:
        header["EXTVER"] = (version, "extension version")
    header.update(cards)
    for comment in comments:
        header.add_comment(comment)
    data = rows.tobytes()
    data += bytes(-len(data) % _BLOCK)
    return set_checksum(header, int(np.frombuffer(data, dtype=">u4").sum(dtype=np.uint64))) + data


def _as_grid(coefficients: Coefficients) -> GridCoefficients:
    if isinstance(coefficients, GridCoefficients):
        return coefficients
    if not coefficients.is_constant:
        raise TypeError("the coefficients of a decorrelation kernel are constant or on a grid")
    return GridCoefficients(coefficients.at(np.zeros(1), np.zeros(1))[:, :, None], np.zeros(1), np.zeros(1))
