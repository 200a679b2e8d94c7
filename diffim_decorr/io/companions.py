"""Writing companion images that were convolved with ψ: like a run's output, without ψ and quality figures."""

from __future__ import annotations

from collections.abc import Iterator

from astropy.io import fits

from diffim_decorr.io.output import OutputFile, _card, _primary, _psf_hdus
from diffim_decorr.io.stamps import origin_cards
from diffim_decorr.qa import QualityFigures

__all__ = ("CompanionFile",)


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
            *origin_cards(self._inputs),
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
