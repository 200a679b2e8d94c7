"""Writing companion images that were convolved with ψ: like a run's output, without ψ and quality figures."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from astropy.io import fits
from numpy.typing import NDArray

from diffim_decorr._version import __version__
from diffim_decorr.io.fits import readable_cards
from diffim_decorr.io.output import _DROPPED_CARD, OutputFile, _card, _primary, _psf_hdus
from diffim_decorr.io.whole import whole_file
from diffim_decorr.qa import QualityFigures

__all__ = ("CompanionFile", "write_stamp")


class CompanionFile(OutputFile):
    """A file that takes rows of pixels as they come, a `Sink`; the plan is that of `companion_plan`.

    It has a variance plane only if that of the image is known.
    """

    def _planes(self) -> dict[str, int]:
        known = self._plan.difference.variance_plane is not None
        return {name: bitpix for name, bitpix in super()._planes().items() if known or name != "VARIANCE"}

    def _primary(self, qa: QualityFigures | None) -> fits.Header:
        options, psi = self._plan.options, self._plan.decorrelation
        cards = [
            *_origin(self._inputs),
            ("DCMODE", "spatial" if options.spatial else "constant", "decorrelation kernel over the field"),
            ("DCHWIDTH", psi.half_width, "[pixel] half width of psi"),
            ("DCMODES", psi.modes, "basis images of psi"),
            ("DCBADFRC", options.bad_fraction, "fraction of psi on bad pixels that flags"),
            ("DCREPPL", ",".join(options.replace_planes) or "none", "planes replaced"),
        ]
        return _primary(self._plan, [_card(*card) for card in cards], "convolved with a decorrelation kernel")

    def _companions(self, qa: QualityFigures | None) -> Iterator[bytes]:
        psf = self._plan.psf
        if psf is not None:
            yield from _psf_hdus(psf, self._plan.difference.xy0)


def write_stamp(
    path: str,
    pixels: NDArray[Any],
    header: fits.Header | None,
    margin: int,
    inputs: dict[str, str],
    at: tuple[float, float],
    overwrite: bool,
) -> None:
    """Write a small image that was convolved at one position.

    Parameters
    ----------
    path
        The file to write.
    pixels
        The result (h, w).
    header
        Of the image that was convolved.
    margin
        By how many pixels it has grown on each side.
    inputs
        Names of the input files by card.
    at
        The position (x, y), 0-based.
    overwrite
        Whether a file that is there may be replaced.
    """
    result = fits.Header()
    for card in [] if header is None else readable_cards(header):
        if not _DROPPED_CARD.fullmatch(card.keyword):
            result.append(card, bottom=True)
    for keyword in [*result.keys()]:
        if keyword.startswith(("CRPIX1", "CRPIX2")) and isinstance(result[keyword], int | float):
            result[keyword] += margin
    where = [("DCATX", at[0], "[pixel] position in the field, 0-based"), ("DCATY", at[1], "[pixel]")]
    for item in [*_origin(inputs), *where]:
        result.append(_card(*item), bottom=True)
    result.add_history(f"convolved with a decorrelation kernel by decorr {__version__}")
    with whole_file(path, overwrite) as temporary:
        fits.PrimaryHDU(pixels, result).writeto(temporary, overwrite=True, checksum=True)


def _origin(inputs: dict[str, str]) -> list[tuple[str, Any, str]]:
    return [
        ("DCVERS", __version__, "version of decorr"),
        ("DCDATE", datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S"), "[UTC] time of convolution"),
        *((f"DC{key}", name, "input file") for key, name in inputs.items()),
    ]
