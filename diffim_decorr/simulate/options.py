"""What to simulate: every option of simulations, declared once."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil
from typing import ClassVar, Literal

from diffim_decorr.declare import Declared, documented, option
from diffim_decorr.errors import UsageError

__all__ = ("SimulationOptions",)


@documented
@dataclass(frozen=True, repr=False)
class SimulationOptions(Declared):
    """What to simulate. Fluxes are in counts, lengths in pixels.

    Sources, kernel, noise and defects have independent streams of random numbers. Ellipticity (up to a quarter of
    ``kernel_variation``) and centroid (up to half of it, in pixels) of the kernel vary as well as its width. The
    difference is ``science - K * template``, or ``(K * science - template) / sum(K)``.
    """

    about: ClassVar[str] = "option of simulations"

    size: tuple[int, int] | int = option(
        (1024, 1024), "Image size.", low=16, high=32768, metavar="N|NYxNX", section="Images"
    )
    seed: int = option(1, "Of the random numbers.", low=0, metavar="N", section="Images")
    svar: float = option(100.0, "Science background variance [counts²].", positive=True, metavar="F", section="Images")
    tvar: float = option(50.0, "Template background variance [counts²].", positive=True, metavar="F", section="Images")
    depth_step: float = option(
        1.0,
        "Factor by which the template variance changes at the middle column.",
        positive=True,
        metavar="F",
        section="Images",
    )
    gain: float = option(
        2.0,
        "Electrons per count, for the Poisson noise of sources; inf for none.",
        positive=True,
        infinite=True,
        metavar="F",
        section="Images",
    )
    psf: Literal["gaussian", "moffat"] = option("gaussian", "Profile of the sharper image.", section="PSF and kernel")
    fwhm: float = option(
        3.0, "Seeing of the sharper image [pixels].", low=1, high=50, metavar="PX", section="PSF and kernel"
    )
    kernel_sigma: float = option(
        1.5, "Typical width of the kernel, a sigma [pixels].", positive=True, metavar="PX", section="PSF and kernel"
    )
    kernel_width: int = option(21, "Odd size of its image [pixels].", low=3, metavar="PX", section="PSF and kernel")
    kernel_order: int = option(
        2, "Degree of its spatial polynomials.", low=0, high=6, metavar="N", section="PSF and kernel"
    )
    kernel_variation: float = option(
        0.2,
        "Relative amplitude with which its width varies over the field.",
        low=0,
        high=0.9,
        metavar="F",
        section="PSF and kernel",
    )
    kernel_sum: float = option(
        1.0, "Its sum, the photometric scale.", positive=True, metavar="F", section="PSF and kernel"
    )
    convolved: Literal["template", "science"] = option(
        "template", "The image that is convolved, which is the sharper one.", section="PSF and kernel"
    )
    stars: int | None = option(
        None, "Number of stars, 0 for noise only.", low=0, metavar="N", unset="by --density", section="Sources"
    )
    density: float = option(500.0, "Stars per million pixels.", low=0, metavar="F", section="Sources")
    flux_range: tuple[float, float] = option(
        (200.0, 1e6),
        "Least and greatest flux of a star, drawn from N(>F) proportional to F^-0.6.",
        metavar="F F",
        section="Sources",
    )
    variables: int | None = option(
        None, "Stars whose flux differs.", low=0, metavar="N", unset="one in fifty", section="Sources"
    )
    transients: int | None = option(
        None,
        "Sources in the science image alone.",
        low=0,
        metavar="N",
        unset="20 per million pixels; none without stars",
        section="Sources",
    )
    masks: bool = option(
        True,
        "Saturated stars, cosmic rays, bad columns and missing corners, or none of these. Sources are always flagged.",
        flags="--masks/--no-masks",
        section="Images",
    )
    saturation: float = option(2e4, "Where pixels saturate [counts].", positive=True, metavar="F", section="Images")
    kernel_format: Literal["hotpants", "grid"] = option(
        "hotpants", "Form of the kernel file and the difference.", section="Output"
    )

    def check(self) -> None:
        ny, nx = self.shape
        width, wide = self.kernel_width, self.kernel_sigma * (1 + self.kernel_variation)
        _require(width % 2 == 1, f"kernel width {width} is not odd")
        _require(2 * width <= min(ny, nx), f"kernel width {width} is more than half of the image size {ny} x {nx}")
        _require(wide * 4 <= width, f"kernel width {width} is too small for a Gaussian of sigma {wide:.3g} pixels")
        _require(0 < self.flux_range[0] < self.flux_range[1], f"flux range {self.flux_range} is not increasing")
        _require(self.counts[1] <= self.counts[0], f"{self.counts[1]} of {self.counts[0]} stars cannot be variable")

    @property
    def shape(self) -> tuple[int, int]:
        """Image size (ny, nx)."""
        assert not isinstance(self.size, int)
        return self.size

    @property
    def counts(self) -> tuple[int, int, int]:
        """Numbers of stars, of variables among them, and of transients."""
        megapixels = self.shape[0] * self.shape[1] / 1e6
        stars = round(self.density * megapixels) if self.stars is None else self.stars
        variables = stars // 50 if self.variables is None else self.variables
        transients = (ceil(20 * megapixels) if stars else 0) if self.transients is None else self.transients
        return stars, variables, transients


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise UsageError(f"simulation: {message}")
