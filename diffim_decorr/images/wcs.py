"""Cards that place an image on the sky or in its parent frame, and how far apart they put two images."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from astropy.io.fits import Header

__all__ = ("AXIS_CARD", "WCS_CARD", "pixels_of", "separation", "to_pixels", "to_sky")

Array = NDArray[Any]

# Cards that place an image on the sky or in its parent frame, and so belong to each plane.
WCS_CARD = re.compile(
    r"(WCSAXES|CTYPE\d|CRVAL\d|CRPIX\d|CDELT\d|CUNIT\d|CROTA\d|CD\d_\d|PC\d_\d|PV\d_\d+|PS\d_\d+|LONPOLE|LATPOLE|LTV\d|LTM\d_\d)[A-Z]?"
    r"|RADESYS[A-Z]?|EQUINOX[A-Z]?|EPOCH|(A|B|AP|BP)_(ORDER|\d+_\d+|DMAX)|WAT\d_\d+"
)
AXIS_CARD = re.compile(
    r"(?:CTYPE|CRVAL|CRPIX|CDELT|CUNIT|CROTA|CNAME|CRDER|CSYER|PV|PS|LTV|WAT)(\d)(?:_\d+)?[A-Z]?"
    r"|(?:CD|PC|LTM)(\d)_(\d)[A-Z]?"
)
# Neither the parent frame nor the inverse of a distortion matters for a position on the sky.
_NOT_ON_SKY = re.compile(r"LT[VM].*|(AP|BP)_.*|(?!(A|B)_).*[A-Z]$")
_TEXT = re.compile(r"CTYPE|CUNIT|RADESYS|WAT")
_NO_LETTER = ("WCSAXES", "LONPOLE", "LATPOLE", "RADESYS", "EQUINOX", "EPOCH")


def separation(one: Header | None, other: Header | None, shape: tuple[int, int]) -> float | None:
    """How far apart on the sky two headers put the same pixels: the median over the field, in pixels.

    Parameters
    ----------
    one, other
        The headers; the first one tells the size of a pixel.
    shape
        (ny, nx)

    Returns
    -------
    pixels
        None if one of them says nothing of the sky, or they say it in different systems of coordinates.
    """
    mine, its = _sky_cards(one), _sky_cards(other)
    if not (mine and its):
        return None
    if mine == its:
        return 0.0
    with _silently():
        both = _alike(one, other)
        if both is None:
            return None
        here, there = both
        x, y = (axis.ravel() for axis in np.meshgrid(*(np.linspace(0, n - 1, 3) for n in shape[::-1])))
        begin = _directions(here, x, y)
        size = np.mean([_angles(begin, _directions(here, x + dx, y + dy)) for dx, dy in ((1, 0), (0, 1))], axis=0)
        distances = _angles(begin, _directions(there, x, y)) / size
    known = distances[np.isfinite(distances)]
    return float(np.median(known)) if known.size else None


def to_sky(header: Header | None, x: Array, y: Array) -> tuple[Array, Array] | None:
    """Right ascension and declination (ICRS, degrees) of 0-based pixels; None if the header does not tell."""
    from astropy.wcs.utils import wcs_to_celestial_frame

    with _silently():
        wcs = _usable(header)
        if wcs is None:
            return None
        from astropy.coordinates import SkyCoord

        world = wcs.all_pix2world(np.stack([x, y], axis=1), 0)
        frame = wcs_to_celestial_frame(wcs)
        sky = SkyCoord(world[:, wcs.wcs.lng], world[:, wcs.wcs.lat], unit="deg", frame=frame).icrs
        return np.asarray(sky.ra.deg), np.asarray(sky.dec.deg)


def to_pixels(header: Header | None, ra: Array, dec: Array) -> tuple[Array, Array] | None:
    """0-based pixels of right ascensions and declinations (ICRS, degrees), NaN where there are none; None if the header
    does not tell."""
    from astropy.wcs.utils import wcs_to_celestial_frame

    with _silently():
        wcs = _usable(header)
        if wcs is None:
            return None
        from astropy.coordinates import SkyCoord

        sky = SkyCoord(ra, dec, unit="deg", frame="icrs").transform_to(wcs_to_celestial_frame(wcs))
        world = np.empty((len(ra), 2))
        world[:, wcs.wcs.lng], world[:, wcs.wcs.lat] = sky.spherical.lon.deg, sky.spherical.lat.deg
        pixels = wcs.all_world2pix(world, 0, quiet=True)
        # On the other side of the sky a projection may have pixels, too.
        known = np.hypot(*(pixels - wcs.all_world2pix(wcs.all_pix2world(pixels, 0), 0, quiet=True)).T) < 1
        pixels[~known] = np.nan
        return pixels[:, 0], pixels[:, 1]


def _usable(header: Header | None) -> Any:
    """The WCS of a header; None if it has none that can be worked with."""
    if not _sky_cards(header):
        return None
    try:
        return _wcs(header)
    except Exception:  # whatever wcslib has to say of such cards
        return None


def pixels_of(one: Header | None, other: Header | None) -> Callable[[Array, Array], tuple[Array, Array]] | None:
    """Where the pixels (x, y) of one image lie among those of another: a function of both, 0-based.

    Returns
    -------
    function
        It gives NaN where a place has none. None if one of the headers says nothing of the sky, or they say it in
        different systems of coordinates.
    """
    if not (_sky_cards(one) and _sky_cards(other)):
        return None
    with _silently():
        both = _alike(one, other)
    if both is None:
        return None
    here, there = both

    def places(x: Array, y: Array) -> tuple[Array, Array]:
        with _silently():
            try:
                world = here.all_pix2world(np.stack([x, y], axis=1), 0)
                ordered = world if here.wcs.lng == there.wcs.lng else world[:, ::-1]
                u, v = there.all_world2pix(ordered, 0, tolerance=1e-6).T
            except Exception:  # of places that have none, or a distortion that has no inverse
                return np.full(x.shape, np.nan), np.full(x.shape, np.nan)
        return u, v

    return places


def _sky_cards(header: Header | None) -> dict[str, Any]:
    """The cards that place an image on the sky."""
    keys = () if header is None or "CTYPE1" not in header else header.keys()
    found = {key: header[key] for key in keys if header is not None and WCS_CARD.fullmatch(key)}
    found = {key: value for key, value in found.items() if key in _NO_LETTER or not _NOT_ON_SKY.fullmatch(key)}
    # What is no number where one should be would be taken for 0.
    damaged = any(isinstance(value, str) != bool(_TEXT.match(key)) for key, value in found.items())
    return {} if damaged else found


def _wcs(header: Header | None) -> Any:
    """That of the cards alone, if it is one of the sky: what other cards refer to may be in other HDUs."""
    from astropy.io.fits import Card
    from astropy.io.fits import Header as NewHeader
    from astropy.wcs import WCS

    cards = [
        Card(key, value) for key, value in _sky_cards(header).items() if not re.search(r"^WCSAXES|[A-Z][3-9](_|$)", key)
    ]
    wcs = WCS(NewHeader(cards), naxis=2)
    return wcs if wcs.has_celestial else None


def _alike(one: Header | None, other: Header | None) -> tuple[Any, Any] | None:
    """What two headers say of the sky; None if one cannot be used, or they say it in different systems."""
    try:
        here, there = (_wcs(header) for header in (one, other))
    except Exception:  # whatever wcslib has to say of such cards
        return None
    return None if here is None or there is None or _frame(here) != _frame(there) else (here, there)


def _frame(wcs: Any) -> tuple[str, str, float]:
    """The system of coordinates; that of J2000 has two names, which differ by less than a pixel."""
    system, equinox = str(wcs.wcs.radesys).strip(), float(wcs.wcs.equinox)
    if system in ("", "ICRS", "FK5") and not (np.isfinite(equinox) and equinox != 2000):
        return str(wcs.wcs.lngtyp), "J2000", 2000.0
    return str(wcs.wcs.lngtyp), system, equinox


def _directions(wcs: Any, x: Array, y: Array) -> Array:
    """Unit vectors (3, n)."""
    world = np.radians(wcs.all_pix2world(np.stack([x, y], axis=1), 0))
    longitude, latitude = world[:, wcs.wcs.lng], world[:, wcs.wcs.lat]
    return np.array([np.cos(latitude) * np.cos(longitude), np.cos(latitude) * np.sin(longitude), np.sin(latitude)])


def _angles(one: Array, other: Array) -> Array:
    angles: Array = 2 * np.arcsin(np.minimum(np.linalg.norm(one - other, axis=0) / 2, 1))
    return angles


@contextmanager
def _silently() -> Iterator[None]:
    """Neither warnings nor what astropy tells of distortions, on standard output."""
    from astropy import log

    level = log.level
    log.setLevel("ERROR")
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            yield
    finally:
        log.setLevel(level)
