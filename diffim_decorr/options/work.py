"""How noise is whitened."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from diffim_decorr.declare import Declared, documented, option
from diffim_decorr.errors import OptionError
from diffim_decorr.options.names import (
    BAD_PLANES,
    REPLACED_PLANES,
    CalibrateName,
    NoiseModelName,
    Side,
)
from diffim_decorr.threads import LIBRARIES, available_threads

__all__ = ("Options",)


@documented
@dataclass(frozen=True, repr=False)
class Options(Declared):
    """How a difference is to be decorrelated."""

    spatial: bool = option(
        False,
        "Let the decorrelation kernel vary over the field, or use one for all of it.",
        flags="--spatial/--constant",
        card="DCMODE",
        comment="decorrelation kernel over the field",
        words=("constant", "spatial"),
        section="Whitening",
    )
    kernel_at: tuple[float, float] | None = option(
        None,
        "Where a constant kernel is taken, 0-based pixels of the image.",
        metavar="X Y",
        unset="centre",
        card="DCKAT",
        comment="[pixel] where a constant kernel was to be taken",
        section="Whitening",
    )
    convolved: Side | None = option(
        None,
        "Which image was convolved; auto: what the kernel file says, else the template.",
        unset="auto",
        card="DCOCONV",
        comment="image convolved, as asked for",
        section="Matching kernel",
    )
    noise: NoiseModelName = option(
        "white",
        "Take the inputs' noise for white, measure its correlation on source-free pixels, or let it vary over the "
        "field, as it is measured in cells or as resampling made it (--sci-warp, --tmpl-warp).",
        card="DCNOISE",
        comment="noise model of the inputs",
        section="Noise",
    )
    calibrate: CalibrateName | None = option(
        None,
        "Scale the variance to the scatter of the result: not at all, all over the field, or as it varies over the "
        "field; auto: all over the field where noise is measured, else not at all.",
        unset="auto",
        card="DCOVCAL",
        comment="calibration of the variance asked for",
        section="Noise",
    )
    score: bool = option(
        False,
        "DIFF is a likelihood image; needs --pre-conv-kernel.",
        card="DCSCORE",
        comment="likelihood image",
        section="Matching kernel",
    )
    svar: float | None = option(
        None,
        "Background variance of SCI, instead of measuring it.",
        low=0,
        metavar="F",
        unset="measured",
        card="DCOSVAR",
        comment="science background variance asked for",
        section="Noise",
    )
    tvar: float | None = option(
        None,
        "Background variance of TMPL, instead of measuring it.",
        low=0,
        metavar="F",
        unset="measured",
        card="DCOTVAR",
        comment="template background variance asked for",
        section="Noise",
    )
    sci_gain: float | None = option(
        None,
        "Gain of SCI, in electrons per unit of its pixels: its variance is that of the background, which is measured, "
        "and of the photons above it.",
        positive=True,
        metavar="G",
        card="DCOSGAIN",
        comment="science gain given",
        section="Noise",
    )
    sci_read_noise: float | None = option(
        None,
        "Read noise of SCI in electrons, if its sky is still in it: its variance is that of all photons and of this.",
        low=0,
        metavar="R",
        card="DCOSRDN",
        comment="[electron] science read noise given",
        section="Noise",
    )
    tmpl_gain: float | None = option(
        None,
        "The same of TMPL.",
        positive=True,
        metavar="G",
        card="DCOTGAIN",
        comment="template gain given",
        section="Noise",
    )
    tmpl_read_noise: float | None = option(
        None,
        "The same of TMPL.",
        low=0,
        metavar="R",
        card="DCOTRDN",
        comment="[electron] template read noise given",
        section="Noise",
    )
    background: int | None = option(
        None,
        "Take the background off DIFF before its noise is whitened: clipped means of what shows no source, in cells of "
        "so many pixels, several times as wide as the PSF.",
        low=16,
        high=100_000,
        metavar="none|PX",
        unset="none",
        card="DCBKGPX",
        comment="[pixel] cells of the background taken off",
        section="Images",
    )
    template_warp_factor: float = option(
        1.0,
        "By what the variances of TMPL were multiplied to make up for its resampling, 1/Σw², so that it is not counted "
        "twice.",
        low=1,
        high=100,
        metavar="F",
        card="DCTWARPF",
        comment="factor in the template's variances",
        section="Noise",
    )
    bad_planes: tuple[str, ...] = option(
        BAD_PLANES,
        "Mask planes left out of statistics, or none.",
        metavar="A,B,…",
        card="DCBADPL",
        comment="planes left out of statistics",
        section="Missing pixels",
    )
    replace_planes: tuple[str, ...] = option(
        REPLACED_PLANES,
        "Mask planes replaced before filtering, or none.",
        metavar="A,B,…",
        card="DCREPPL",
        comment="planes replaced",
        section="Missing pixels",
    )
    variance: Literal["full", "estimate"] = option(
        "full",
        "Convolve the variance planes, or take their weighted sum.",
        card="DCVPROP",
        comment="propagation of the variance planes",
        section="Whitening",
    )
    node_spacing: float = option(
        256.0,
        "Distance of the nodes at which ψ is computed to begin with, in pixels.",
        low=8,
        metavar="PX",
        card="DCNSPACE",
        comment="[pixel] node spacing asked for",
        section="Whitening",
    )
    tolerance: float = option(
        1e-3,
        "Bound of the rms error of ψ, in units of the noise.",
        low=1e-7,
        high=0.1,
        metavar="F",
        card="DCTOLER",
        comment="bound of the rms error / noise",
        section="Whitening",
    )
    half_width: int | None = option(
        None,
        "Half width of the decorrelation kernel, in pixels.",
        low=1,
        high=250,
        metavar="PX",
        unset="by the tolerance",
        card="DCOHWID",
        comment="[pixel] half width asked for",
        section="Whitening",
    )
    max_gain: float = option(
        1e4,
        "Limit of the filter's gain, relative to that at zero frequency.",
        low=1,
        high=1e12,
        metavar="F",
        card="DCMXGAIN",
        comment="limit of the filter's gain",
        section="Whitening",
    )
    bad_fraction: float = option(
        0.01,
        "Pixels are flagged where more of the kernel than this fell on replaced pixels or outside the image.",
        low=0,
        high=1,
        metavar="F",
        card="DCBADFRC",
        comment="fraction of psi on bad pixels that flags",
        section="Missing pixels",
    )
    threads: int | None = option(
        None,
        "Number of threads.",
        low=1,
        high=4096,
        metavar="N",
        unset="all cores",
        card="DCTHREAD",
        comment="threads asked for",
        section="Threads and memory",
    )
    max_memory: float = option(
        800.0,
        "Memory that a run may take, besides the rows of its inputs that it is at, and what it is to return.",
        low=300,
        high=1e7,
        metavar="MB",
        card="DCMAXMEM",
        comment="[Mbyte] memory that it may take",
        section="Threads and memory",
    )

    def check(self) -> None:
        if self.svar is not None and self.tvar is not None and not self.svar + self.tvar > 0:
            raise OptionError("{svar} and {tvar} cannot both be 0: there is no noise to decorrelate")
        if self.noise == "local" and not self.spatial:
            raise OptionError("{noise} local needs {spatial}: one kernel for all of the field cannot follow the noise")
        if self.spatial and self.kernel_at is not None:
            raise OptionError("{kernel_at} is for a constant decorrelation kernel; it has no meaning with {spatial}")
        if self.score and self.calibrate in ("global", "local"):
            raise OptionError("{calibrate} has no meaning with {score}: a likelihood image is not white")
        for side in ("sci", "tmpl"):
            if getattr(self, f"{side}_gain") is None and getattr(self, f"{side}_read_noise") is not None:
                raise OptionError(f"{{{side}_read_noise}} needs {{{side}_gain}}: pixels are not in electrons")

    @property
    def workers(self) -> int:
        """The number of threads to work with."""
        return self.threads or available_threads()

    @property
    def memory(self) -> int:
        """Bytes for the work, besides the interpreter and the libraries."""
        return int(1e6 * self.max_memory) - LIBRARIES
