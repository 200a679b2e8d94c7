"""Cards that place an image on the sky or in its parent frame."""

from __future__ import annotations

import re

__all__ = ("AXIS_CARD", "WCS_CARD")

# Cards that place an image on the sky or in its parent frame, and so belong to each plane.
WCS_CARD = re.compile(
    r"(WCSAXES|CTYPE\d|CRVAL\d|CRPIX\d|CDELT\d|CUNIT\d|CROTA\d|CD\d_\d|PC\d_\d|PV\d_\d+|PS\d_\d+|LONPOLE|LATPOLE|LTV\d|LTM\d_\d)[A-Z]?"
    r"|RADESYS[A-Z]?|EQUINOX[A-Z]?|EPOCH|(A|B|AP|BP)_(ORDER|\d+_\d+|DMAX)|WAT\d_\d+"
)
AXIS_CARD = re.compile(
    r"(?:CTYPE|CRVAL|CRPIX|CDELT|CUNIT|CROTA|CNAME|CRDER|CSYER|PV|PS|LTV|WAT)(\d)(?:_\d+)?[A-Z]?"
    r"|(?:CD|PC|LTM)(\d)_(\d)[A-Z]?"
)
