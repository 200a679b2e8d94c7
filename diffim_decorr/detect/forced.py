"""Forced photometry: fluxes at positions of a table, in one image or many."""

from __future__ import annotations

import math
import os
import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from diffim_decorr._version import __version__
from diffim_decorr.detect.apertures import Apertures
from diffim_decorr.detect.difference import read_difference
from diffim_decorr.detect.photometry import Measurement, Photometer
from diffim_decorr.errors import DecorrWarning, InputError
from diffim_decorr.images.wcs import to_pixels, to_sky
from diffim_decorr.io.atomic import check_output
from diffim_decorr.io.hdus import split_spec
from diffim_decorr.io.tables import check_table_name, read_table, write_table
from diffim_decorr.noise.plane_level import plane_level
from diffim_decorr.options import MeasureOptions
from diffim_decorr.threads import serial_blas

if TYPE_CHECKING:
    from astropy.io.fits import Header
    from astropy.table import Table

__all__ = ("measure", "measure_files")

Array = NDArray[Any]

# Names of columns with positions, and what the first pixel is called in those in pixels.
_SKY = (
    ("ra", "dec"),
    ("raj2000", "dej2000"),
    ("ra_icrs", "de_icrs"),
    ("alpha_j2000", "delta_j2000"),
    ("alphawin_j2000", "deltawin_j2000"),
    ("coord_ra", "coord_dec"),
)
_PIXELS = (
    ("x", "y", 0),
    ("xcentroid", "ycentroid", 0),
    ("x_0", "y_0", 0),
    ("x_image", "y_image", 1),
    ("xwin_image", "ywin_image", 1),
)
_NAMES = ("id", "name", "source_id", "objid", "object_id", "number", "label", "source")


class _Positions(NamedTuple):
    """Positions of a table, on the sky (ICRS, degrees), in 0-based pixels, or both."""

    sky: tuple[Array, Array] | None
    pixels: tuple[Array, Array] | None


@serial_blas()
def measure(images: str | Sequence[str], positions: Table | str | os.PathLike[str], **options: Any) -> Table:
    """Measure fluxes of point sources at given positions of decorrelated differences.

    Parameters
    ----------
    images
        Outputs of `decorr run`, one or many.
    positions
        A table, or its file, with columns ``ra`` and ``dec`` (ICRS, degrees) or ``x`` and ``y`` (0-based pixels), or
        as catalogues call them.
    **options
        Fields of `MeasureOptions`: ``psf``, ``apertures``, ``limit``, …

    Returns
    -------
    Table
        An `astropy.table.Table` with a row for each position in each image.

    Raises
    ------
    InputError
        If something cannot be read, or the table has no positions for an image.

    References
    ----------
    Kovacs, DMTN-179 (variance of a decorrelated difference).
    """
    settings = MeasureOptions(**options)
    table = read_table(os.fspath(positions)) if isinstance(positions, str | os.PathLike) else positions
    said: list[str] = []
    result = _measured([images] if isinstance(images, str) else list(images), table, settings, said)
    for text in said:
        warnings.warn(text, DecorrWarning, stacklevel=3)
    return result


@serial_blas()
def measure_files(
    images: Sequence[str], positions: str, options: MeasureOptions, *, output: str, overwrite: bool = False
) -> tuple[Table, list[str]]:
    """The same from files into one; returns the table, and what its user should know."""
    check_table_name(output)
    read = [split_spec(name)[0] for name in (*images, positions, *([options.psf] if options.psf else []))]
    check_output(output, read, overwrite)
    said: list[str] = []
    table = _measured(images, read_table(positions), options, said)
    write_table(output, table, overwrite)
    return table, said


def _measured(images: Sequence[str], positions: Table, options: MeasureOptions, said: list[str]) -> Table:
    from astropy.table import Table, vstack

    places = _positions(positions, options)
    tables = [_in_image(image, positions, places, options, said) for image in images]
    table = tables[0] if len(tables) == 1 else vstack(tables, join_type="exact")
    assert isinstance(table, Table)
    table.meta = {"limit": options.limit, "decorr": __version__}
    return table


def _in_image(image: str, positions: Table, places: _Positions, options: MeasureOptions, said: list[str]) -> Table:
    from astropy.table import Table

    difference = read_difference(image, options)
    exposure = difference.exposure
    source = difference.point_source(options.psf, options.fwhm)
    said += [remark for remark in difference.remarks(source) if remark not in said]
    level = plane_level(exposure, options.unusable_planes)
    photometer = Photometer(exposure, source, level, options.unusable_planes)
    header = exposure.header
    found = None if places.sky is None else to_pixels(header, *places.sky)
    if found is None:
        if places.pixels is None:
            raise InputError(f"{exposure.name}: has no WCS that places {len(positions)} positions on the sky in it")
        found = places.pixels
    x, y = found
    ny, nx = exposure.shape
    inside = (x >= -0.5) & (x < nx - 0.5) & (y >= -0.5) & (y < ny - 0.5)
    fluxes = [photometer(a, b) if ok else Measurement() for a, b, ok in zip(x, y, inside, strict=True)]
    if not inside.any():
        said.append(f"{exposure.name}: not one of {len(x)} positions lies in it")
    table = Table()
    table["row"] = np.arange(len(x), dtype=np.int32)
    for name in positions.colnames:
        if name.lower() in _NAMES:
            table[name] = positions[name]
            break
    table["image"] = np.full(len(x), image)
    table["mjd"] = np.full(len(x), _mjd(header))
    table["x"], table["y"] = x, y
    sky = places.sky or (to_sky(header, x, y) if len(x) else None)
    table["ra"], table["dec"] = sky if sky is not None else np.full((2, len(x)), np.nan)
    table["flux"] = np.array([m.flux for m in fluxes], float)
    table["flux_err"] = np.array([m.flux_err for m in fluxes], float)
    snr = table["flux"] / table["flux_err"]
    table["snr"] = snr
    table["upper_limit"] = np.where(snr < options.limit, options.limit * table["flux_err"], np.nan)
    table["chi2"] = np.array([m.chi2 for m in fluxes], float)
    table["dof"] = np.array([max(m.pixels - 1, 0) for m in fluxes], np.int32)
    table["weight"] = np.array([m.weight for m in fluxes], float)
    flags = [
        _flags(photometer.names(m.bits), ok, m.weight, options.least_weight)
        for m, ok in zip(fluxes, inside, strict=True)
    ]
    table["flags"] = np.array(flags, "U")
    if options.apertures:
        apertures = Apertures(image, photometer, options.radii)
        for name, values in apertures.measured(x, y, inside).items():
            table[name] = values
    for name in ("x", "y"):
        table[name].unit = "pix"
    for name in ("ra", "dec"):
        table[name].unit = "deg"
    table["mjd"].unit = "d"
    for name, text in _MEANINGS.items():
        table[name].description = text
    return table


_MEANINGS = {
    "row": "of the table of positions, counted from 0",
    "mjd": "start of the exposure, as its header has it",
    "x": "0-based pixel of the array",
    "y": "0-based pixel of the array",
    "ra": "ICRS",
    "dec": "ICRS",
    "flux": "PSF flux",
    "upper_limit": "where S/N is below the limit, so many flux_err",
    "chi2": "of the PSF's shape, over usable pixels of its core",
    "weight": "share of the PSF's weight on usable pixels",
    "flags": "mask planes in the core; LOW_WEIGHT, OUTSIDE",
}


def _flags(names: str, inside: bool, weight: float, least: float) -> str:
    if not inside:
        return "OUTSIDE"
    return "|".join(filter(None, (names, "LOW_WEIGHT" if weight < least else "")))


def _positions(table: Table, options: MeasureOptions) -> _Positions:
    """The positions of a table.

    Raises
    ------
    InputError
        If it has none.
    """
    columns = {name.lower(): name for name in reversed(table.colnames)}
    sky = next((pair for pair in _SKY if {*pair} <= {*columns}), None)
    pixels = next((pair for pair in _PIXELS if {*pair[:2]} <= {*columns}), None)
    if options.frame == "pixel":
        sky = None
    if options.frame == "sky":
        pixels = None
    if sky is None and pixels is None:
        wanted = {"sky": "ra and dec", "pixel": "x and y"}.get(options.frame or "", "ra and dec, or x and y")
        raise InputError(
            f"the table of positions has no columns {wanted}; it has {', '.join(table.colnames) or 'none'}"
        )
    return _Positions(
        None if sky is None else _degrees(table, *(columns[name] for name in sky)),
        None if pixels is None else _numbers(table, *(columns[name] for name in pixels[:2]), offset=pixels[2]),
    )


def _numbers(table: Table, *names: str, offset: float = 0.0) -> tuple[Array, Array]:
    found = []
    for name in names:
        values = np.ma.filled(np.ma.asarray(table[name]), np.nan) if table[name].dtype.kind == "f" else table[name]
        if np.asarray(values).dtype.kind not in "fiu":
            raise InputError(f"the column {name} of the table of positions holds no numbers (degrees, or pixels)")
        found.append(np.asarray(values, float) - offset)
    return found[0], found[1]


def _degrees(table: Table, *names: str) -> tuple[Array, Array]:
    from astropy import units

    found = []
    for name, values in zip(names, _numbers(table, *names), strict=True):
        unit = table[name].unit
        try:
            found.append(values if unit is None else values * units.Unit(unit).to(units.deg))
        except (units.UnitConversionError, ValueError) as error:
            raise InputError(f"the column {name} of the table of positions is in {unit}, which is no angle") from error
    if np.nanmax(np.abs(found[1]), initial=0) > 90:
        raise InputError(f"the column {names[1]} of the table of positions has declinations beyond 90 degrees")
    return found[0], found[1]


def _mjd(header: Header | Mapping[str, Any] | None) -> float:
    """When an exposure began, if its header tells."""
    for card in ("MJD-OBS", "MJD_OBS", "MJD", "EXPMJD"):
        value = (header or {}).get(card)
        if isinstance(value, int | float) and not isinstance(value, bool):
            return float(value)
    date = (header or {}).get("DATE-OBS")
    if isinstance(date, str):
        from astropy.time import Time

        try:
            return float(Time(date).mjd)
        except ValueError:
            return math.nan
    return math.nan
