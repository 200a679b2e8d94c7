"""Writing the result: streamed rows of pixels, then ψ, the PSF and the quality figures, then the primary header.

The file is written beside its place, synced, and renamed, so that it appears whole or not at all.
"""

from __future__ import annotations

import errno
import gzip
import io
import os
import re
import shutil
import tempfile
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from typing import Any

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

from diffim_decorr._version import __version__
from diffim_decorr.errors import InputError
from diffim_decorr.filtering import tiling_of
from diffim_decorr.io.checksum import add_words, fold, set_checksum
from diffim_decorr.io.fits import readable_cards
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

__all__ = ("OutputFile", "check_output", "default_output")

Array = NDArray[Any]

_BLOCK = 2880
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


def default_output(difference: str) -> str:
    """The difference's name with ``_decorr`` before its ending."""
    match = re.fullmatch(
        r"(.*?)((?:\.fits?|\.fts)(?:\.gz|\.fz)?|\.[^./]*)?", difference, flags=re.IGNORECASE | re.DOTALL
    )
    stem, ending = (difference, "") if match is None else (match.group(1), match.group(2) or ".fits")
    return f"{stem}_decorr{ending}"


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
            raise _exists(path)
    if not os.access(folder, os.W_OK | os.X_OK):
        raise InputError(f"{path}: the directory {folder} cannot be written to")


def _exists(path: str) -> InputError:
    return InputError(f"{path}: the output exists already; --overwrite replaces it")


class OutputFile:
    """A file that takes rows of pixels as they come, a `Sink`.

    Use `create`, which puts the file in its place at the end or removes it if anything fails.
    """

    def __init__(self, file: Any, temporary: str, path: str, plan: Plan, inputs: dict[str, str]) -> None:
        self._file = file
        self._temporary = temporary
        self._path = path
        self._plan = plan
        self._inputs = inputs
        self._lock = threading.Lock()
        self._syncing: threading.Thread | None = None
        self._sums = {"IMAGE": 0, "MASK": 0, "VARIANCE": 0}
        wcs = _wcs_cards(plan)
        self._headers = {name: _plane_header(name, bitpix, plan, wcs) for name, bitpix in self._planes().items()}
        unit = str((plan.difference.header or {}).get("BUNIT", "")).strip()
        if unit and len(unit) < 60:
            for name, squared in (("IMAGE", unit), ("VARIANCE", f"({unit})**2")):
                if name in self._headers:
                    self._headers[name]["BUNIT"] = squared
        for name, bit in sorted(plan.masks.planes.items(), key=lambda item: item[1]):
            self._headers["MASK"][f"MP_{name}" if len(name) <= 5 else f"HIERARCH MP_{name}"] = bit
        self._room = len(self._primary(None).tostring()) + _SPARE_CARDS * 80
        self._room += -self._room % _BLOCK
        ny, nx = plan.shape
        position = self._room
        self._offsets: dict[str, tuple[int, int]] = {}
        for name, header in self._headers.items():
            begin = position + len(set_checksum(header, 0))
            self._offsets[name] = position, begin
            position = begin + 4 * ny * nx
            position += -position % _BLOCK
        self._end = position
        self._reserve()

    @classmethod
    @contextmanager
    def create(cls, path: str, plan: Plan, inputs: dict[str, str], *, overwrite: bool) -> Iterator[OutputFile]:
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

        Raises
        ------
        InputError
            If nothing can be written there, or another file has appeared there in the meantime.
        OSError
            Naming the output, if it cannot be written to its end.
        """
        folder = os.path.dirname(os.path.abspath(path))
        try:
            descriptor, temporary = tempfile.mkstemp(prefix=".decorr-", suffix=".part", dir=folder)
        except OSError as error:
            raise InputError(f"{path}: the output cannot be written: {error.strerror}") from error
        try:
            with os.fdopen(descriptor, "r+b") as file:
                with _naming(path):
                    output = cls(file, temporary, path, plan, inputs)
                yield output
                with _naming(path):
                    file.flush()
                    os.fsync(file.fileno())
            with _naming(path):
                if path.lower().endswith((".fz", ".gz")):
                    _pack(temporary, path)
                umask = os.umask(0)
                os.umask(umask)
                os.chmod(temporary, 0o666 & ~umask)
                _move(temporary, path, overwrite)
                _sync_folder(folder)
        finally:
            if os.path.exists(temporary):
                os.unlink(temporary)

    @property
    def names(self) -> list[str]:
        """Of the planes of pixels."""
        return list(self._headers)

    def _planes(self) -> dict[str, int]:
        """BITPIX of each plane of pixels that the file has."""
        return {"IMAGE": -32, "MASK": 32, "VARIANCE": -32}

    def _primary(self, qa: QualityFigures | None) -> fits.Header:
        return _primary(self._plan, _provenance(self._plan, qa, self._inputs), "noise decorrelated")

    def _companions(self, qa: QualityFigures | None) -> Iterator[bytes]:
        """The HDUs after the planes of pixels."""
        return iter(()) if qa is None else _companions(self._plan, qa)

    def _reserve(self) -> None:
        # Space that is missing is better missed now than at the end.
        try:
            os.posix_fallocate(self._file.fileno(), 0, self._end)
        except (AttributeError, OSError) as error:
            if isinstance(error, OSError) and error.errno not in (errno.EINVAL, errno.EOPNOTSUPP, errno.ENOSYS):
                raise
            self._file.truncate(self._end)

    def write(self, y0: int, image: Array, mask: Array, variance: Array) -> None:
        """Take rows of pixels, which are overwritten."""
        for name, rows in (("IMAGE", image), ("MASK", mask), ("VARIANCE", variance)):
            if name not in self._headers:
                continue
            part = add_words(rows)
            with self._lock:
                self._sums[name] += part
            rows.byteswap(inplace=True)
            self._put(self._offsets[name][1] + 4 * y0 * self._plan.shape[1], rows.data.cast("B"))

    def start_syncing(self) -> None:
        """Let the pixels go to the disk while other work is done."""
        self._syncing = threading.Thread(target=os.fsync, args=(self._file.fileno(),))
        self._syncing.start()

    def read(self, box: Box) -> tuple[Array, Array, Array]:
        """Image, mask and variance within a box that has been written."""
        image, mask, variance = (
            FilePlane(self._temporary, self._offsets[name][1], self._plan.shape, np.dtype(kind)).read(box)
            for name, kind in (("IMAGE", ">f4"), ("MASK", ">i4"), ("VARIANCE", ">f4"))
        )
        return image, mask, variance

    def finish(self, qa: QualityFigures | None) -> None:
        """Write everything but the pixels."""
        if self._syncing is not None:
            self._syncing.join()
        for name, header in self._headers.items():
            self._put(self._offsets[name][0], set_checksum(header, fold(self._sums[name])))
        position = self._end
        for companion in self._companions(qa):
            self._put(position, companion)
            position += len(companion)
        header = self._primary(qa)
        blank = (self._room - len(header.tostring(padding=False)) - 2 * 80) // 80
        for _ in range(max(blank, 0)):
            header.append("", bottom=True)
        text = set_checksum(header, 0)
        if len(text) != self._room:
            raise RuntimeError("the primary header outgrew the room that was kept for it")
        self._put(0, text)

    def _put(self, offset: int, data: bytes | memoryview) -> None:
        view = memoryview(data)
        with _naming(self._path):
            while view:
                count = os.pwrite(self._file.fileno(), view, offset)
                view, offset = view[count:], offset + count


@contextmanager
def _naming(path: str) -> Iterator[None]:
    """Have errors of the file system say which file they are about."""
    try:
        yield
    except OSError as error:
        raise OSError(error.errno or errno.EIO, error.strerror or str(error), path) from error


def _move(temporary: str, path: str, overwrite: bool) -> None:
    if overwrite:
        os.replace(temporary, path)
        return
    try:
        os.link(temporary, path)  # fails if there is something, where a rename would replace it
    except FileExistsError:
        raise _exists(path) from None
    except OSError:  # a file system without links
        if os.path.lexists(path):
            raise _exists(path) from None
        os.rename(temporary, path)


def _sync_folder(folder: str) -> None:
    """Have the new name outlive a power cut, where the file system can do that."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _pack(temporary: str, path: str) -> None:
    """Compress a finished file in place, without loss."""
    packed = temporary + ".packed"
    try:
        if path.lower().endswith(".gz"):
            with open(temporary, "rb") as plain, gzip.open(packed, "wb", compresslevel=4) as file:
                shutil.copyfileobj(plain, file, 1 << 20)
        else:
            with fits.open(temporary) as hdus:
                out = fits.HDUList([hdus[0]])
                for hdu in hdus[1:]:
                    if hdu.name in ("IMAGE", "VARIANCE"):
                        out.append(_compressed(hdu, "GZIP_2"))
                    elif hdu.name == "MASK":
                        out.append(_compressed(hdu, "RICE_1"))
                    else:
                        out.append(hdu)
                out.writeto(packed, checksum=True)
        with open(packed, "rb+") as file:
            os.fsync(file.fileno())
        os.replace(packed, temporary)
    finally:
        if os.path.exists(packed):
            os.unlink(packed)


def _compressed(hdu: Any, kind: str) -> fits.CompImageHDU:
    # A quantize level of 0 keeps floating-point pixels bit for bit.
    return fits.CompImageHDU(hdu.data, hdu.header, name=hdu.name, compression_type=kind, quantize_level=0)


def _inherited(plan: Plan) -> Iterator[fits.Card]:
    """The difference's cards, but for axes that the output has not."""
    for card in [] if plan.difference.header is None else readable_cards(plan.difference.header):
        axes = _AXIS_CARD.fullmatch(card.keyword)
        if card.keyword.startswith("WCSAXES"):
            yield fits.Card(card.keyword, 2, card.comment)
        elif card.keyword and (axes is None or set(axes.groups()) <= {"1", "2", None}):
            yield card


def _wcs_cards(plan: Plan) -> list[fits.Card]:
    return [card for card in _inherited(plan) if _WCS_CARD.fullmatch(card.keyword)]


def _card(keyword: str, value: Any, comment: str) -> fits.Card:
    """A card, whose comment is left out where there is no room for it."""
    if isinstance(value, str):
        # What the standard (4.2.1.1) does not allow in a string, such as letters outside ASCII in names of files.
        value = "".join(c if " " <= c <= "~" else c.encode("unicode_escape").decode() for c in value)
    plain = fits.Card(keyword, value)
    return fits.Card(keyword, value, comment) if len(str(plain).rstrip()) + 3 + len(comment) <= 80 else plain


def _plane_header(name: str, bitpix: int, plan: Plan, wcs: list[fits.Card]) -> fits.Header:
    ny, nx = plan.shape
    header = fits.Header()
    for card in (
        ("XTENSION", "IMAGE", "Image extension"),
        ("BITPIX", bitpix, "array data type"),
        ("NAXIS", 2, "number of array dimensions"),
        ("NAXIS1", nx),
        ("NAXIS2", ny),
        ("PCOUNT", 0, "number of parameters"),
        ("GCOUNT", 1, "number of groups"),
        ("EXTNAME", name, "extension name"),
        ("EXTTYPE", name, "what the plane is"),
    ):
        header.append(card)
    for item in wcs:
        header.append(item, bottom=True)
    return header


def _primary(plan: Plan, provenance: list[fits.Card], done: str) -> fits.Header:
    """The difference's header, and what was done to it."""
    header = fits.Header()
    for card in (
        ("SIMPLE", True, "conforms to FITS standard"),
        ("BITPIX", 8, "array data type"),
        ("NAXIS", 0, "number of array dimensions"),
        ("EXTEND", True),
    ):
        header.append(card)
    own = {card.keyword for card in provenance}
    for item in _inherited(plan):
        if not _DROPPED_CARD.fullmatch(item.keyword) and item.keyword not in own:
            header.append(item, bottom=True)
    axes = {int(k[5]) for k in header if re.fullmatch(r"CTYPE\d", k)}
    if axes and "WCSAXES" not in header:
        # Without pixels of its own this HDU has to say how many axes its WCS has.
        first = next(k for k in header if _WCS_CARD.fullmatch(k))
        header.insert(first, ("WCSAXES", max(axes), "number of WCS axes"))
    header.append(("LONGSTRN", "OGIP 1.0", "long string values are continued"), bottom=True)
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


def _companions(plan: Plan, qa: QualityFigures) -> Iterator[bytes]:
    """PSI_BASIS, PSI_COEFFS, PSF and QA."""
    psi = plan.decorrelation.psi
    yield _image("PSI_BASIS", psi.basis)
    yield _coefficient_table(psi.coefficients, plan.shape, tiling_of(plan).halo)
    if plan.psf is not None:
        yield from _psf_hdus(plan.psf, plan.difference.xy0)
    names = ("before", "after", "science", "template")
    yield _image("QA", np.array([getattr(qa, f"rho_{name}") for name in names], dtype=np.float32), _qa_header())


def _psf_hdus(psf: Array | SpatialKernel, xy0: tuple[int, int]) -> Iterator[bytes]:
    """PSF, an image or a cube, and PSF_POSITIONS in the latter case."""
    if isinstance(psf, SpatialKernel):
        yield _image("PSF", psf.basis.astype(np.float32))
        yield _position_table(psf.coefficients, xy0)
    else:
        yield _image("PSF", psf)


def _image(name: str, pixels: Array, header: fits.Header | None = None) -> bytes:
    with io.BytesIO() as buffer:
        primary = fits.PrimaryHDU()
        fits.HDUList([primary, fits.ImageHDU(pixels, header, name)]).writeto(buffer, checksum=True)
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


def _coefficient_table(coefficients: Coefficients, shape: tuple[int, int], margin: int) -> bytes:
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
    return _table("PSI_COEFFS", columns, cards, comments)


def _position_table(grid: Coefficients, xy0: tuple[int, int]) -> bytes:
    """PSF_POSITIONS: where in the parent frame each image of the cube PSF holds."""
    knots = _as_grid(grid)
    y, x = np.meshgrid(knots.y + xy0[1], knots.x + xy0[0], indexing="ij")
    columns: list[tuple[str, str, list[Any]]] = [
        (name, "pixel", list(np.ravel(positions))) for name, positions in (("X", x), ("Y", y))
    ]
    comments = ("position of each image of PSF, bilinear between them; 0-based pixels of the parent frame",)
    return _table("PSF_POSITIONS", columns, {}, comments)


def _same_length(arrays: list[Array]) -> list[Array]:
    # Rows of one length are read everywhere; shorter ones are filled up with zeros.
    longest = max(len(array) for array in arrays)
    return [np.pad(array.astype(np.float64), (0, longest - len(array))) for array in arrays]


def _table(
    name: str, columns: list[tuple[str, str, list[Any]]], cards: dict[str, int], comments: Iterable[str]
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
