"""What to simulate: the options of `diffim_decorr.simulate`, checked."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, inf, isfinite
from typing import Literal

from diffim_decorr.errors import InputError

__all__ = ("SimulationOptions",)


@dataclass(frozen=True)
class SimulationOptions:
    """What to simulate. Fluxes are in counts, lengths in pixels.

    Parameters
    ----------
    size
        (ny, nx), or one number for a square.
    seed
        Of the random numbers. Sources, kernel, noise and defects have independent streams.
    svar, tvar
        Background variances of the science and the template image, in counts².
    depth_step
        Factor by which ``tvar`` changes at the middle column; the right half has ``depth_step * tvar``.
    gain
        Electrons per count, for the Poisson noise of sources; infinity for none.
    psf
        Profile of the sharper image.
    fwhm
        Full width at half maximum of that profile.
    kernel_sigma
        Typical width of the matching kernel, the sigma of a Gaussian.
    kernel_width
        Odd number of pixels along each side of the kernel image.
    kernel_order
        Degree of the polynomials with which it varies over the field.
    kernel_variation
        Relative amplitude with which its width varies, 0 for a constant kernel. Ellipticity (up to a quarter of it)
        and centroid (up to half of it, in pixels) vary as well.
    kernel_sum
        Its sum, which is the flux scale of the blurred image over that of the sharp one.
    convolved
        The image that the kernel was applied to, which is the sharper one. The difference is
        ``science - K * template``, or ``(K * science - template) / sum(K)``.
    stars
        Number of stars; None for ``density``.
    density
        Stars per megapixel.
    flux_range
        Least and greatest flux of a star in the sharper image, drawn from N(>F) proportional to F^-0.6.
    variables
        Number of stars whose flux differs; None for one in fifty.
    transients
        Number of sources that only the science image has; None for 20 per megapixel, or none without stars.
    masks
        Whether there are defects: saturated stars, cosmic rays, bad columns, missing corners. Sources are always
        flagged as DETECTED.
    saturation
        Counts at which pixels saturate.
    """

    size: tuple[int, int] | int = 1024
    seed: int = 1
    svar: float = 100.0
    tvar: float = 50.0
    depth_step: float = 1.0
    gain: float = 2.0
    psf: Literal["gaussian", "moffat"] = "gaussian"
    fwhm: float = 3.0
    kernel_sigma: float = 1.5
    kernel_width: int = 21
    kernel_order: int = 2
    kernel_variation: float = 0.2
    kernel_sum: float = 1.0
    convolved: Literal["template", "science"] = "template"
    stars: int | None = None
    density: float = 500.0
    flux_range: tuple[float, float] = (200.0, 1e6)
    variables: int | None = None
    transients: int | None = None
    masks: bool = True
    saturation: float = 2e4

    def __post_init__(self) -> None:
        ny, nx = self.shape
        width, wide = self.kernel_width, self.kernel_sigma * (1 + self.kernel_variation)
        _require(16 <= ny <= 32768 and 16 <= nx <= 32768, f"image size {ny} x {nx} is not within 16 and 32768 pixels")
        _require(width >= 3 and width % 2 == 1, f"kernel width {width} is not an odd number of at least 3 pixels")
        _require(2 * width <= min(ny, nx), f"kernel width {width} is more than half of the image size {ny} x {nx}")
        _require(0 <= self.kernel_order <= 6, f"kernel order {self.kernel_order} is not within 0 and 6")
        _require(0 <= self.kernel_variation <= 0.9, f"kernel variation {self.kernel_variation} is not within 0 and 0.9")
        _require(wide * 4 <= width, f"kernel width {width} is too small for a Gaussian of sigma {wide:.3g} pixels")
        _require(1 <= self.fwhm <= 50, f"seeing FWHM {self.fwhm} is not within 1 and 50 pixels")
        for name in ("svar", "tvar", "depth_step", "kernel_sigma", "kernel_sum", "saturation"):
            value = getattr(self, name)
            _require(isfinite(value) and value > 0, f"{name} is {value}, but must be positive")
        _require(self.gain > 0, f"gain is {self.gain}, but must be positive")
        _require(0 < self.flux_range[0] < self.flux_range[1] < inf, f"flux range {self.flux_range} is not increasing")
        for name in ("seed", "stars", "density", "variables", "transients"):
            value = getattr(self, name)
            _require(value is None or 0 <= value < inf, f"{name} is {value}, but must not be negative")
        _require(self.counts[1] <= self.counts[0], f"{self.counts[1]} of {self.counts[0]} stars cannot be variable")

    @property
    def shape(self) -> tuple[int, int]:
        """Image size (ny, nx)."""
        return (self.size, self.size) if isinstance(self.size, int) else self.size

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
        raise InputError(f"simulation: {message}")
