"""What is done with results, and with kernels by themselves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from diffim_decorr.declare import Declared, again, documented, option
from diffim_decorr.errors import OptionError
from diffim_decorr.options.inputs import InputOptions
from diffim_decorr.options.names import (
    UNUSABLE_PLANES,
    Side,
)
from diffim_decorr.options.output import CommandOptions, OutputOptions
from diffim_decorr.options.work import Options

__all__ = (
    "ApplyOptions",
    "KernelOptions",
    "MeasureOptions",
    "QaOptions",
    "SnrOptions",
)


@documented
@dataclass(frozen=True, repr=False)
class ApplyOptions(Declared):
    """How a companion image is to be convolved with the kernel of a run."""

    psi: str = option(
        None,
        "Output of decorr run, which holds the kernel.",
        required=True,
        metavar="FILE",
        card="DCPSI",
        section="Decorrelation kernel",
    )
    at: tuple[float, float] | None = option(
        None,
        "IMAGE is a small one, of a PSF or a source: take the kernel at this position, 0-based pixels, in the parent "
        "frame if the run's image has one.",
        metavar="X Y",
        unset="all over the field",
        card="DCAT",
        comment="[pixel] position in the field, 0-based",
        section="Decorrelation kernel",
    )
    variance: str | None = option(None, "Variance image of IMAGE.", metavar="FILE", card="DCIMGVAR", section="Images")
    noise: str | None = option(
        None, "Standard deviation image of IMAGE.", metavar="FILE", card="DCIMGSIG", section="Images"
    )
    weight: str | None = option(
        None, "Inverse variance image of IMAGE.", metavar="FILE", card="DCIMGWGT", section="Images"
    )
    mask: str | None = option(
        None,
        "Mask of IMAGE; the run's output for what the run replaced.",
        metavar="FILE",
        card="DCIMGMSK",
        section="Images",
    )
    psf: str | None = option(
        None, "PSF image of IMAGE; the corrected PSF is written.", metavar="FILE", card="DCIMGPSF", section="Images"
    )
    replace_planes: tuple[str, ...] | None = again(Options, "replace_planes", default=None, unset="the run's")
    bad_fraction: float | None = again(Options, "bad_fraction", default=None, unset="the run's")
    threads: int | None = again(Options, "threads")

    @property
    def files(self) -> dict[str, str]:
        """The names of the files that go with the image."""
        named = ("variance", "noise", "weight", "mask", "psf")
        return {name: getattr(self, name) for name in named if getattr(self, name) is not None}

    #: Those that are about an image of the field, and have no meaning for a small one.
    field_only: ClassVar[tuple[str, ...]] = (
        "variance", "noise", "weight", "mask", "psf", "replace_planes", "bad_fraction",
    )  # fmt: skip

    def check(self) -> None:
        meaningless = [name for name in self.field_only if getattr(self, name) is not None]
        if self.at is not None and meaningless:
            raise OptionError(f"{{at}} is for an image by itself; {{{meaningless[0]}}} has no meaning with it")


@documented
@dataclass(frozen=True, repr=False)
class QaOptions(Declared):
    """What is known of an image whose noise is to be judged, besides the image."""

    variance: str | None = option(None, "Variance image of IMAGE.", metavar="FILE", section="Images")
    noise: str | None = option(None, "Standard deviation image of IMAGE.", metavar="FILE", section="Images")
    weight: str | None = option(None, "Inverse variance image of IMAGE.", metavar="FILE", section="Images")
    mask: str | None = option(None, "Mask of IMAGE.", metavar="FILE", section="Images")
    psf: str | None = option(None, "PSF of IMAGE, for the matched filter.", metavar="FILE", section="Images")
    before: str | None = option(None, "The difference before it was decorrelated.", metavar="FILE", section="Images")
    sci: str | None = option(
        None, "The science image: where sources are, and what is left of them.", metavar="FILE", section="Images"
    )
    tmpl: str | None = option(None, "The template: where sources are.", metavar="FILE", section="Images")
    kernel: str | None = option(
        None,
        "The matching kernel: what the power spectrum of the difference has to be; needs --sci and --tmpl.",
        metavar="FILE",
        section="Images",
    )
    convolved: Side | None = again(Options, "convolved", card="", comment="")
    bad_planes: tuple[str, ...] = again(Options, "bad_planes", card="", comment="")
    dq_bad: str | None = again(InputOptions, "dq_bad", card="", comment="")
    threads: int | None = again(Options, "threads", card="", comment="")

    @property
    def files(self) -> dict[str, str]:
        """The files that go with one image, by the name of their option."""
        named = ("variance", "noise", "weight", "mask", "psf", "before", "sci", "tmpl", "kernel")
        return {name: getattr(self, name) for name in named if getattr(self, name) is not None}

    def check(self) -> None:
        if self.kernel is not None and (self.sci is None or self.tmpl is None):
            raise OptionError("{kernel} needs {sci} and {tmpl}")
        if self.tmpl is not None and self.sci is None:
            raise OptionError("{tmpl} needs {sci}")


@documented
@dataclass(frozen=True, repr=False)
class SnrOptions(Declared):
    """How the flux of a point source is measured at every pixel."""

    psf: str | None = option(
        None,
        "PSF of the input that was not convolved, as for decorr run; of an image without a decorrelation kernel, its "
        "own. An image, a grid, or a PSFEx model.",
        metavar="FILE",
        unset="the one in the file",
        card="DCMPSF",
        comment="PSF asked for",
        section="Point source",
    )
    fwhm: float | None = option(
        None,
        "Take a Gaussian of this FWHM for that PSF.",
        low=0.5,
        high=100,
        metavar="PX",
        card="DCMFWHM",
        comment="[pixel] FWHM of a Gaussian for the PSF",
        section="Point source",
    )
    variance: str | None = option(None, "Variance image of IMAGE.", metavar="FILE", card="DCMVAR", section="Images")
    noise: str | None = option(
        None, "Standard deviation image of IMAGE.", metavar="FILE", card="DCMSIG", section="Images"
    )
    weight: str | None = option(
        None, "Inverse variance image of IMAGE.", metavar="FILE", card="DCMWGT", section="Images"
    )
    mask: str | None = option(None, "Mask of IMAGE.", metavar="FILE", card="DCMMASK", section="Images")
    unusable_planes: tuple[str, ...] = option(
        UNUSABLE_PLANES,
        "Mask planes whose pixels have no weight, or none.",
        metavar="A,B,…",
        card="DCMUNUSE",
        comment="planes without weight",
        section="Missing pixels",
    )
    least_weight: float = option(
        0.5,
        "Pixels are flagged where less than this share of the PSF's weight fell on pixels that have some.",
        low=0,
        high=1,
        metavar="F",
        card="DCMLEAST",
        comment="share of the PSF's weight that does not flag",
        section="Missing pixels",
    )
    peaks: float | None = option(
        None,
        "Also write a table of the peaks of the S/N beyond so many σ, of either sign.",
        low=2,
        high=1000,
        metavar="N",
        card="DCMPEAKS",
        comment="S/N beyond which peaks are listed",
        section="Peaks",
    )
    table: str | None = option(
        None,
        "The table of peaks: .ecsv, .csv, .fits, .vot or .xml.",
        metavar="TABLE",
        unset="the output's name with _peaks.ecsv for its ending",
        section="Peaks",
        writes=True,
    )
    sci: str | None = option(
        None,
        "The science image: peaks tell how far from its nearest source they are.",
        metavar="FILE",
        card="DCMSCI",
        section="Peaks",
    )
    threads: int | None = again(Options, "threads", card="", comment="")
    max_memory: float = again(Options, "max_memory", card="", comment="")

    @property
    def files(self) -> dict[str, str]:
        """The names of the files that go with the image."""
        named = ("psf", "variance", "noise", "weight", "mask", "sci")
        return {name: getattr(self, name) for name in named if getattr(self, name) is not None}

    def check(self) -> None:
        if self.psf is not None and self.fwhm is not None:
            raise OptionError("{psf} and {fwhm} exclude each other")
        for name in ("table", "sci"):
            if getattr(self, name) is not None and self.peaks is None:
                raise OptionError(f"{{{name}}} has no meaning without {{peaks}}")


@documented
@dataclass(frozen=True, repr=False)
class MeasureOptions(Declared):
    """How fluxes are measured at given positions."""

    psf: str | None = again(SnrOptions, "psf", card="", comment="")
    fwhm: float | None = again(SnrOptions, "fwhm", card="", comment="")
    frame: Literal["sky", "pixel"] | None = option(
        None,
        "Take the positions on the sky, or those in pixels, of a table that has both.",
        unset="auto",
        section="Fluxes",
    )
    apertures: str | None = option(
        None,
        "Also sum the pixels in circles of these radii.",
        metavar="R,R,…",
        pattern=r"\s*\d+(\.\d*)?\s*(,\s*\d+(\.\d*)?\s*)*",
        form="radii in pixels with commas between them, as 3,5.5",
        section="Fluxes",
    )
    limit: float = option(
        3.0, "S/N below which an upper limit is given, and its size in σ.", positive=True, metavar="N", section="Fluxes"
    )
    unusable_planes: tuple[str, ...] = again(SnrOptions, "unusable_planes", card="", comment="")
    least_weight: float = again(SnrOptions, "least_weight", card="", comment="")

    @property
    def files(self) -> dict[str, str]:
        """The names of the files that go with each image."""
        return {} if self.psf is None else {"psf": self.psf}

    @property
    def radii(self) -> tuple[float, ...]:
        """Of the apertures."""
        return tuple(float(radius) for radius in (self.apertures or "").split(",") if radius.strip())

    def check(self) -> None:
        if self.psf is not None and self.fwhm is not None:
            raise OptionError("{psf} and {fwhm} exclude each other")
        if not all(0 < radius <= 100 for radius in self.radii):
            raise OptionError("{apertures} must be radii from 0 to 100 pixels")


@documented
@dataclass(frozen=True, repr=False)
class KernelOptions(Declared):
    """For which image and noise a kernel is looked at."""

    image: str | None = option(
        None,
        "The difference that it is the kernel of, where the kernel file does not tell its size.",
        metavar="FILE",
        section="Images",
    )
    svar: float = option(1.0, "Background variance of the science image.", low=0, metavar="F", section="Noise")
    tvar: float = option(1.0, "That of the template.", low=0, metavar="F", section="Noise")
    convolved: Side | None = again(Options, "convolved")
    to: Literal["grid", "table"] = option("grid", "Format of the new file.", section="Output")
    tolerance: float = option(
        1e-4,
        "Largest error of any pixel of a grid anywhere in the field, relative to the kernel's peak.",
        low=1e-9,
        high=0.1,
        metavar="F",
        section="Output",
    )
    overwrite: bool = again(OutputOptions, "overwrite")
    json: bool = again(CommandOptions, "json")

    def check(self) -> None:
        if not self.svar + self.tvar > 0:
            raise OptionError("{svar} and {tvar} cannot both be 0: there is no noise")

    @property
    def variances(self) -> tuple[float, float]:
        """Of the science image and of the template."""
        return self.svar, self.tvar
