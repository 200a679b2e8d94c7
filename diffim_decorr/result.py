"""What a run on arrays gives back."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from diffim_decorr.errors import InputError, UsageError
from diffim_decorr.geometry import Box
from diffim_decorr.images.exposure import Exposure
from diffim_decorr.io.atomic import check_output
from diffim_decorr.io.output.file import OutputFile
from diffim_decorr.io.output.layouts import output_paths
from diffim_decorr.io.output.product import Product
from diffim_decorr.kernels.spatial import SpatialKernel
from diffim_decorr.options import LayoutName, Options
from diffim_decorr.psi.stored import DecorrelationKernel
from diffim_decorr.qa.figures import QualityFigures
from diffim_decorr.record import Record, Verdict

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from diffim_decorr.assessment import Assessment
    from diffim_decorr.detect.maps import SnrMaps

__all__ = ("Result",)

Array = NDArray[Any]

_ROWS = 512  # of an array that are written at once


@dataclass(frozen=True, eq=False, repr=False)
class Result:
    """A decorrelated difference.

    Parameters
    ----------
    exposure
        Image, variance, mask, header and PSF.
    psi
        The decorrelation kernel.
    qa
        Quality figures.
    record
        How it was made: options, figures, timings, warnings.
    product
        What `write` writes besides the pixels.
    """

    exposure: Exposure
    psi: SpatialKernel
    qa: QualityFigures
    record: Record
    product: Product

    @property
    def verdict(self) -> Verdict:
        """Whether it can be used, and the reasons."""
        assert self.record.verdict is not None
        return self.record.verdict

    @property
    def warnings(self) -> list[str]:
        """What a user should know of the result."""
        return self.record.warnings

    @property
    def timings(self) -> dict[str, float]:
        """Seconds by stage."""
        return self.record.timings

    @property
    def decorrelation_kernel(self) -> DecorrelationKernel:
        """ψ with what it takes to do the same to another image, for `apply_psi`."""
        options = next(own for own in self.record.options if isinstance(own, Options))
        noise = self.record.noise
        return DecorrelationKernel(
            self.psi,
            self.product.shape,
            0.0 if noise is None else noise.svar + noise.tvar,
            self.product.margins,
            self.product.simplified,
            options.replace_planes,
            options.bad_fraction,
            self.product.xy0,
            self.exposure.name,
        )

    @property
    def background(self) -> Array | None:
        """What was taken off the difference, pixels (ny, nx) in its unit; None if nothing was."""
        mesh = self.product.background
        return None if mesh is None else mesh.within(Box(0, 0, mesh.shape[1], mesh.shape[0]))

    def __repr__(self) -> str:
        ny, nx = self.exposure.shape
        count = len(self.warnings)
        return (
            f"<Result: {nx} x {ny} pixels, max_abs_rho {self.qa.max_abs_rho_before:.4f} -> "
            f"{self.qa.max_abs_rho_after:.4f}, snr_std {self.qa.snr_std:.4f}, {count} warning{'s' * (count != 1)}>"
        )

    def _repr_html_(self) -> str:
        from html import escape

        ny, nx = self.exposure.shape
        rows = [
            ("image", f"{nx} x {ny} pixels"),
            ("decorrelation kernel", repr(self.psi)),
            ("max_abs_rho", f"{self.qa.max_abs_rho_before:.4f} before, {self.qa.max_abs_rho_after:.4f} after"),
            ("snr_std", f"{self.qa.snr_std:.4f}"),
            ("source-free pixels", str(self.qa.pixels_used)),
            *(("warning", warning) for warning in self.warnings),
        ]
        cells = "".join(f"<tr><th>{escape(label)}</th><td>{escape(value)}</td></tr>" for label, value in rows)
        return f"<table><caption>decorrelated difference</caption>{cells}</table>"

    def assess(self, **known: Any) -> Assessment:
        """Judge the result as `diffim_decorr.assess` does, with what it takes: the difference before, and so on."""
        from diffim_decorr.assessment import assess

        return assess(self.exposure, psi=self.decorrelation_kernel, **known)

    def snr(self, **options: Any) -> SnrMaps:
        """Measure the flux of a point source at every pixel, as `diffim_decorr.snr_maps` does, with what it takes.

        Raises
        ------
        InputError
            If the PSF is not known, or the difference is a score image.
        """
        from diffim_decorr.detect.maps import snr_maps

        if any(isinstance(own, Options) and own.score for own in self.record.options):
            raise InputError(
                f"{self.exposure.name}: is a score image, which is correlated with the PSF already: its pixels over "
                "the roots of the variance are the S/N"
            )
        return snr_maps(self.exposure, psi=self.psi, psf_input=self.product.psf_input, **options)

    def plot(self, path: str | os.PathLike[str] | None = None, **known: Any) -> Figure:
        """Draw what is found of the result on one page, a matplotlib figure; needs the extra "plot".

        Parameters
        ----------
        path
            A picture to write, of the kind that its ending says.
        **known
            What `assess` takes: the difference ``before``, and so on.
        """
        from diffim_decorr.plots import draw_assessment

        ending = "png" if path is None else os.fspath(path).rpartition(".")[2].lower()
        return draw_assessment(self.assess(**known), path, ending)

    def write(
        self,
        path: str | os.PathLike[str],
        *,
        overwrite: bool = False,
        layout: LayoutName = "lsst",
        write_background: bool = False,
    ) -> None:
        """Write the file that the command writes, with image, mask, variance, ψ, PSF and quality figures.

        Parameters
        ----------
        path
            The file; compressed if its name ends in .gz or .fz.
        overwrite
            Whether a file that is there may be replaced.
        layout
            "lsst" (IMAGE, MASK, VARIANCE), "sci-err-dq", or "flat" with a file for each plane.
        write_background
            Whether the background that was taken off is stored, too.

        Raises
        ------
        UsageError
            If there is a file already, or none can be written there, or no background was taken off.
        OSError
            Naming the output, if it cannot be written to its end.
        """
        path = os.fspath(path)
        if write_background and self.product.background is None:
            raise UsageError("write_background: no background was taken off; decorrelate(..., background=PX) does that")
        for file in output_paths(path, layout):
            check_output(file, [], overwrite)
        image, mask, variance = self.exposure.image, self.exposure.mask, self.exposure.variance
        assert mask is not None
        assert variance is not None
        create = OutputFile.create(
            path, self.product, overwrite=overwrite, layout=layout, with_background=write_background
        )
        with create as output:
            for y0 in range(0, len(image), _ROWS):
                output.write(y0, *(plane[y0 : y0 + _ROWS].copy() for plane in (image, mask, variance)))
            output.finish(self.exposure.psf)
