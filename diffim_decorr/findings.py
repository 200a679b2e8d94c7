"""What the header of an output says of how well it came out."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from astropy.io import fits

from diffim_decorr.io.hdus import open_fits

__all__ = ("FIGURE_CARDS", "Findings", "findings_in", "findings_of")

#: Figures of a run's output by the cards that record them, as `decorr qa` calls them.
FIGURE_CARDS = {
    "DCRHO0": "max_abs_rho_before",
    "DCRHO1": "max_abs_rho",
    "DCSNRSTD": "snr_std",
    "DCBLK4": "block_std.4",
    "DCBLK16": "block_std.16",
    "DCPSFSC": "psf_scatter",
    "DCCELL": "cell_spread",
    "DCSPECX2": "spectrum_chi2",
    "DCFLAG": "flagged",
}
_DATES = ("MJD-OBS", "DATE-OBS", "DATE-AVG", "DATE-BEG", "DCDATE")


@dataclass(frozen=True)
class Findings:
    """How well an output came out.

    Parameters
    ----------
    status
        The verdict: ``ok``, ``check`` or ``fail``.
    reasons
        Why it is not ok.
    figures
        By name; what was not measured is not there.
    when
        Time of the exposure as a modified Julian date; NaN if that is not known.
    made
        When the output was made, UTC.
    warnings
        What the run said.
    """

    status: str
    reasons: tuple[str, ...] = ()
    figures: Mapping[str, float] = field(default_factory=dict)
    when: float = math.nan
    made: str = ""
    warnings: tuple[str, ...] = ()


def findings_of(path: str) -> Findings | None:
    """What an output says, the worst of its exposures if it holds several; None of other files.

    Raises
    ------
    InputError
        If the file cannot be read.
    """
    with open_fits(path) as hdus:
        primary = hdus[0].header
        found = [findings_in(hdu.header) for hdu in hdus] if "DCNEXT" in primary else [findings_in(primary)]
        judged = [one for one in found if one is not None]
        return max(judged, key=lambda one: ("ok", "check", "fail").index(one.status), default=None)


def findings_in(header: fits.Header) -> Findings | None:
    """What a header says; None if it is not that of an output."""
    if header.get("DCVERDCT") not in ("ok", "check", "fail"):
        return None
    values = {name: header.get(card) for card, name in FIGURE_CARDS.items()}
    return Findings(
        str(header["DCVERDCT"]),
        tuple(_numbered(header, "DCWHY")),
        {name: float(value) for name, value in values.items() if isinstance(value, int | float)},
        _when(header),
        str(header.get("DCDATE", "")),
        tuple(_numbered(header, "DCWARN")),
    )


def _numbered(header: fits.Header, card: str) -> Iterator[str]:
    for k in range(1, 100):
        if f"{card}{k}" not in header:
            return
        yield str(header[f"{card}{k}"])


def _when(header: fits.Header) -> float:
    for card in _DATES:
        value = header.get(card)
        if isinstance(value, int | float) and not isinstance(value, bool):
            return float(value)
        if isinstance(value, str) and value:
            from astropy.time import Time  # which takes longer to import than most headers to read

            try:
                return float(Time(value).mjd)
            except ValueError:
                continue
    return math.nan
