"""Every option of runs and of applying their kernels, declared once. Imports no numpy: `decorr --help` needs this file.

To add one, add a field here: `declare` says what follows from it. What a simulation can be told is in
`simulate.options`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from diffim_decorr.declare import Declared, again, declared, documented, option
from diffim_decorr.errors import OptionError
from diffim_decorr.threads import LIBRARIES, available_threads

__all__ = (
    "BAD_PLANES",
    "REPLACED_PLANES",
    "SIDES",
    "UNUSABLE_PLANES",
    "WARP",
    "ApplyOptions",
    "CalibrateName",
    "CommandOptions",
    "InputOptions",
    "KernelFormat",
    "KernelOptions",
    "LayoutName",
    "MeasureOptions",
    "NoiseModelName",
    "Options",
    "OutputOptions",
    "QaOptions",
    "Side",
    "SnrOptions",
)

Side = Literal["template", "science"]
SIDES: tuple[Side, Side] = ("science", "template")
KernelFormat = Literal["delta", "hotpants", "sfft", "lsst", "lsst-images", "table", "grid", "image"]
LayoutName = Literal["lsst", "sci-err-dq", "flat"]
NoiseModelName = Literal["white", "measured", "local"]
CalibrateName = Literal["none", "global", "local"]

#: What is said of a resampling: its kind, and a file.
WARP = "KIND:NATIVE"
_WARP = r"(bilinear|lanczos3|lanczos4|cubic|drizzle,(\d+\.?\d*|\.\d+)):.+"
_WARP_FORM = f"{WARP}, with a KIND of bilinear, lanczos3, lanczos4, cubic or drizzle,PIXFRAC, and a FITS file"

# Left out of statistics, as in LSST's DecorrelateALKernelConfig.ignoreMaskPlanes.
BAD_PLANES = ("INTRP", "EDGE", "DETECTED", "SAT", "CR", "BAD", "NO_DATA", "DETECTED_NEGATIVE")
# Replaced by the background before filtering, so that they do not ring over their neighbours.
REPLACED_PLANES = ("NO_DATA", "SAT", "CR", "BAD")
# Planes of a result whose pixels tell nothing of the sky. Those that say that there is something (DETECTED) are not
# among them.
UNUSABLE_PLANES = ("NO_DATA", "SAT", "CR", "BAD", "EDGE", "DECORR_BAD", "DECORR_FILLED")


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


@documented
@dataclass(frozen=True, repr=False)
class InputOptions(Declared):
    """What a run reads besides the three images, and how. The cards are those of files that are given."""

    kernel: str | None = option(
        None,
        "Matching kernel: of HOTPANTS, SFFT, LSST or delta, a table, a grid or an image.",
        unset="the one inside DIFF (HOTPANTS -hki, lsst.images)",
        short="-k",
        metavar="FILE",
        card="DCKERNEL",
        section="Matching kernel",
    )
    kernel_format: KernelFormat | None = option(
        None,
        "Read the kernel file as this.",
        unset="by what is in it",
        card="DCOKFORM",
        comment="kernel format asked for",
        section="Matching kernel",
    )
    sci_variance: str | None = option(None, "Variance image of SCI.", metavar="FILE", card="DCSCIVAR", section="Images")
    sci_noise: str | None = option(
        None, "Standard deviation image of SCI.", metavar="FILE", card="DCSCISIG", section="Images"
    )
    sci_weight: str | None = option(
        None, "Inverse variance image of SCI.", metavar="FILE", card="DCSCIWGT", section="Images"
    )
    tmpl_variance: str | None = option(
        None, "Variance image of TMPL.", metavar="FILE", card="DCTMPVAR", section="Images"
    )
    tmpl_noise: str | None = option(
        None, "Standard deviation image of TMPL.", metavar="FILE", card="DCTMPSIG", section="Images"
    )
    tmpl_weight: str | None = option(
        None, "Inverse variance image of TMPL.", metavar="FILE", card="DCTMPWGT", section="Images"
    )
    sci_mask: str | None = option(None, "Mask of SCI.", metavar="FILE", card="DCSCIMSK", section="Images")
    tmpl_mask: str | None = option(None, "Mask of TMPL.", metavar="FILE", card="DCTMPMSK", section="Images")
    diff_mask: str | None = option(None, "Mask of DIFF.", metavar="FILE", card="DCDIFMSK", section="Images")
    sci_noise_image: tuple[str, ...] | None = option(
        None,
        "Pure noise that was resampled like SCI, one or several realisations: its noise is measured on these.",
        metavar="FILE[,FILE…]",
        card="DCSCINIM",
        section="Noise",
    )
    tmpl_noise_image: tuple[str, ...] | None = option(
        None, "The same of TMPL.", metavar="FILE[,FILE…]", card="DCTMPNIM", section="Noise"
    )
    pre_conv_kernel: str | None = option(
        None,
        "The science image was convolved with this first.",
        metavar="FILE",
        card="DCPRECON",
        section="Matching kernel",
    )
    sci_kernel: str | None = option(
        None,
        "The science image was convolved with this (cross-convolution).",
        metavar="FILE",
        card="DCSCIKRN",
        section="Matching kernel",
    )
    sci_kernel_format: KernelFormat | None = option(
        None,
        "Read the file of --pre-conv-kernel or --sci-kernel as this.",
        unset="by what is in it",
        card="DCOSKFRM",
        comment="format of that kernel asked for",
        section="Matching kernel",
    )
    inputs: str | None = option(
        None, "The images that were stacked on each side.", metavar="FILE.toml", card="DCINPUTS", section="Images"
    )
    sci_warp: tuple[str, ...] = option(
        (),
        "How SCI was resampled, for --noise local: KIND is bilinear, lanczos3, lanczos4, cubic or drizzle,PIXFRAC, and "
        "NATIVE a file with the WCS of the pixels before; of a coadd repeated for each image.",
        repeated=True,
        pattern=_WARP,
        form=_WARP_FORM,
        metavar=WARP,
        card="DCSWARP",
        comment="how the science image was resampled",
        section="Noise",
    )
    tmpl_warp: tuple[str, ...] = option(
        (),
        "The same of TMPL.",
        repeated=True,
        pattern=_WARP,
        form=_WARP_FORM,
        metavar=WARP,
        card="DCTWARP",
        comment="how the template was resampled",
        section="Noise",
    )
    psf: str | None = option(
        None,
        "PSF of the input that was not convolved: an image, a grid, or a PSFEx model.",
        metavar="FILE",
        unset="the input's, if it has one",
        card="DCPSF",
        section="Images",
    )
    dq_bad: str | None = option(
        None,
        "Bits that make a pixel bad in masks without names, as 1,4,16 or ~2.",
        pattern=r"[\s(]*~?[\s(]*\d+(\s*[,+]\s*\d+)*[\s)]*",
        form="a selection of bits such as 1,4,16 or ~2",
        metavar="BITS",
        unset="by the survey",
        card="DCODQBAD",
        comment="bits that make a pixel bad",
        section="Images",
    )
    ext: str | None = option(
        None,
        "HDU of SCI, TMPL and DIFF, and of the files that go with them.",
        metavar="EXT",
        unset="by the layout",
        card="DCOEXT",
        comment="HDU asked for",
        section="Images",
    )
    all_ext: bool = option(
        False,
        "Process every exposure of DIFF, as CCDs of a mosaic, into one output.",
        card="DCOALLEX",
        comment="every exposure asked for",
        section="Images",
    )

    @property
    def files(self) -> list[str]:
        """The names of all files that are given."""
        known = declared(InputOptions).items()
        given = [(option.kind, getattr(self, name)) for name, option in known if option.names_file]
        listed = (value if kind == "files" else (value,) for kind, value in given if value is not None)
        natives = [warp.partition(":")[2] for warp in (*self.sci_warp, *self.tmpl_warp)]
        return [*(file for files in listed for file in files), *natives]

    def check(self) -> None:
        for one, other in (
            ("sci_kernel", "pre_conv_kernel"),
            ("ext", "all_ext"),
            ("inputs", "all_ext"),
            ("inputs", "sci_warp"),
            ("inputs", "tmpl_warp"),
            ("sci_noise_image", "inputs"),
            ("tmpl_noise_image", "inputs"),
            ("sci_noise_image", "sci_warp"),
            ("tmpl_noise_image", "tmpl_warp"),
        ):
            if getattr(self, one) is not None and getattr(self, other):
                raise OptionError(f"{{{one}}} and {{{other}}} exclude each other")


@documented
@dataclass(frozen=True, repr=False)
class OutputOptions(Declared):
    """Where the result goes, and in which form."""

    output: str | None = option(
        None,
        "The output.",
        short="-o",
        metavar="OUT",
        unset="DIFF's name with _decorr before its ending",
        section="Output",
        writes=True,
    )
    layout: LayoutName = option(
        "lsst",
        "HDUs of the output: IMAGE, MASK, VARIANCE; SCI, ERR, DQ; or each plane in a file of its own.",
        card="DCOLAYOU",
        comment="layout of the output",
        section="Output",
    )
    write_background: bool = option(
        False,
        "Store the background that --background has taken off.",
        card="DCOWBKG",
        comment="background to be stored",
        section="Output",
    )
    overwrite: bool = option(False, "Replace an existing output.", section="Output")
    skip_existing: bool = option(
        False, "Do nothing where the output exists already; the status is 0.", section="Output"
    )

    def check(self) -> None:
        if self.overwrite and self.skip_existing:
            raise OptionError("{overwrite} and {skip_existing} exclude each other")


@documented
@dataclass(frozen=True, repr=False)
class CommandOptions(Declared):
    """What a command tells its user. Nothing of the result depends on these."""

    json: bool = option(False, "Print one JSON object.", section="Messages")
    quiet: bool = option(False, "Print nothing but errors.", short="-q", section="Messages")
    verbose: bool = option(False, "Also print how the result was made.", short="-v", section="Messages")
    strict: bool = option(
        False, "End with status 4 if the verdict is fail; the output is written all the same.", section="Quality"
    )
    plot: str | None = option(
        None,
        "Also draw what was found of the result on one page, as PNG, PDF or SVG.",
        metavar="PICTURE",
        section="Quality",
        writes=True,
    )
    report: str | None = option(
        None,
        "Also write a page with figures and pictures of the result.",
        metavar="PAGE.html",
        section="Quality",
        writes=True,
    )
    snr: str | None = option(
        None,
        "Also write maps of flux, error and S/N of point sources, as decorr snr does.",
        metavar="MAPS.fits",
        section="Output",
        writes=True,
    )
    scheduler: str | None = option(
        None,
        "Have the cluster of this Dask scheduler work on the tiles of the image, by its address or the file that it "
        "has written; needs the extra batch.",
        metavar="tcp://HOST:PORT|FILE",
        unset="on this machine",
        section="Threads and memory",
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
