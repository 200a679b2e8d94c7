"""HDUs of an output as bytes: images and tables."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

from diffim_decorr.geometry import Box
from diffim_decorr.io.checksum import set_checksum
from diffim_decorr.io.structure import BLOCK
from diffim_decorr.kernels.coefficients import Coefficients
from diffim_decorr.kernels.grid import GridCoefficients
from diffim_decorr.kernels.piecewise import PiecewiseCoefficients
from diffim_decorr.kernels.spatial import SpatialKernel
from diffim_decorr.qa.figures import QualityFigures

__all__ = (
    "coefficient_table",
    "image_hdu",
    "psf_hdus",
    "qa_hdu",
)

Array = NDArray[Any]


def psf_hdus(
    psf: Array | SpatialKernel, xy0: tuple[int, int], version: int | None = None, name: str = "PSF"
) -> Iterator[bytes]:
    """PSF, an image or a cube, and PSF_POSITIONS in the latter case."""
    if isinstance(psf, SpatialKernel):
        yield image_hdu(name, psf.basis.astype(np.float32), version=version)
        yield _position_table(name, psf.coefficients, xy0, version)
    else:
        yield image_hdu(name, psf, version=version)


def image_hdu(name: str, pixels: Array, header: fits.Header | None = None, version: int | None = None) -> bytes:
    with io.BytesIO() as buffer:
        primary = fits.PrimaryHDU()
        fits.HDUList([primary, fits.ImageHDU(pixels, header, name, ver=version)]).writeto(buffer, checksum=True)
        return buffer.getvalue()[len(primary.header.tostring()) :]


def qa_hdu(quality: QualityFigures, version: int | None = None) -> bytes:
    """QA: the noise correlation functions of the difference, of this image, and of the inputs."""
    names = ("before", "after", "science", "template")
    rho = np.array([getattr(quality, f"rho_{name}") for name in names], dtype=np.float32)
    return image_hdu("QA", rho, _qa_header(), version)


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


def coefficient_table(
    coefficients: Coefficients,
    shape: tuple[int, int],
    margins: Sequence[int],
    simplified: Sequence[float],
    version: int | None = None,
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
        # Of the tiles: with the same ones the same pixels come out, bit for bit.
        ("MARGIN", "pixel", [np.int32(margin) for margin in margins or (0,) * len(grids)]),
        ("TILEERR", "", [np.float64(error) for error in simplified or (0.0,) * len(grids)]),
        ("KNOTS_X", "pixel", _same_length([grid.x for grid in grids])),
        ("KNOTS_Y", "pixel", _same_length([grid.y for grid in grids])),
        ("VALUES", "", _same_length([grid.values.ravel() for grid in grids])),
    ]
    comments = (
        "VALUES: (basis image, knot along y, knot along x), x fastest, NBASIS NY NX of them;",
        "polynomials of degree ORDER through the nearest knots; 0-based pixels, X0 <= x < X1",
    )
    cards = {"NBASIS": coefficients.count, "FIELDNX": shape[1], "FIELDNY": shape[0]}
    return _table("PSI_COEFFS", columns, cards, comments, version)


def _position_table(psf: str, grid: Coefficients, xy0: tuple[int, int], version: int | None = None) -> bytes:
    """PSF_POSITIONS: where in the parent frame each image of the cube PSF holds."""
    knots = _as_grid(grid)
    y, x = np.meshgrid(knots.y + xy0[1], knots.x + xy0[0], indexing="ij")
    columns: list[tuple[str, str, list[Any]]] = [
        (name, "pixel", list(np.ravel(positions))) for name, positions in (("X", x), ("Y", y))
    ]
    comments = (f"position of each image of {psf}, bilinear between them; 0-based pixels of the parent frame",)
    return _table(f"{psf}_POSITIONS", columns, {}, comments, version)


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
    data += bytes(-len(data) % BLOCK)
    return set_checksum(header, int(np.frombuffer(data, dtype=">u4").sum(dtype=np.uint64))) + data


def _as_grid(coefficients: Coefficients) -> GridCoefficients:
    if isinstance(coefficients, GridCoefficients):
        return coefficients
    if not coefficients.is_constant:
        raise TypeError("the coefficients of a decorrelation kernel are constant or on a grid")
    return GridCoefficients(coefficients.at(np.zeros(1), np.zeros(1))[:, :, None], np.zeros(1), np.zeros(1))
