"""What is read besides the three images."""

from __future__ import annotations

from dataclasses import dataclass

from diffim_decorr.declare import Declared, declared, documented, option
from diffim_decorr.errors import OptionError
from diffim_decorr.options.names import (
    WARP,
    WARP_FORM,
    WARP_PATTERN,
    KernelFormat,
)

__all__ = ("InputOptions",)


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
        pattern=WARP_PATTERN,
        form=WARP_FORM,
        metavar=WARP,
        card="DCSWARP",
        comment="how the science image was resampled",
        section="Noise",
    )
    tmpl_warp: tuple[str, ...] = option(
        (),
        "The same of TMPL.",
        repeated=True,
        pattern=WARP_PATTERN,
        form=WARP_FORM,
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
