"""The run: estimate noise, build ψ, convolve, flag, measure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from diffim_decorr.contributions import Contribution
from diffim_decorr.correlation import SourceFreeWindows, correlation_function
from diffim_decorr.exposure import Exposure
from diffim_decorr.filtering import MemorySink, Progress, Sink, TileWork, apply, tiling_of
from diffim_decorr.matching import MatchingKernel
from diffim_decorr.options import Options
from diffim_decorr.plan import Plan, calibrated, make_plan, with_residual
from diffim_decorr.qa import QualityFigures, max_abs_rho, measure_quality
from diffim_decorr.spatial import Box, SpatialKernel

__all__ = ("Result", "decorrelate", "measure", "prepare")

Array = NDArray[Any]

# Correlation of the inputs' noise, or of what comes out, that is worth a warning.
_NOTABLE_CORRELATION = 0.02
# What a first ψ left is whitened as well if it stands out of its statistical error by this factor.
_SIGNIFICANT = 5.0


@dataclass(frozen=True)
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
    plan
        How it was made.
    """

    exposure: Exposure
    psi: SpatialKernel
    qa: QualityFigures
    plan: Plan

    @property
    def warnings(self) -> list[str]:
        return self.plan.warnings

    @property
    def timings(self) -> dict[str, float]:
        return self.plan.timings


def decorrelate(
    science: Exposure,
    template: Exposure,
    difference: Exposure,
    kernel: MatchingKernel | SpatialKernel | ArrayLike,
    *,
    psf: ArrayLike | SpatialKernel | None = None,
    science_kernel: MatchingKernel | SpatialKernel | ArrayLike | None = None,
    contributions: Sequence[Contribution] = (),
    progress: Progress | None = None,
    **options: Any,
) -> Result:
    """Whiten the noise of a difference image.

    Parameters
    ----------
    science, template, difference
        The images, all of one shape (ny, nx). They are not modified.
    kernel
        The matching kernel: as read by `read_kernel`, a spatial kernel, or one 2-D image.
    psf
        PSF of the image that was not convolved, instead of the one that its exposure has.
    science_kernel
        What the science image was convolved with, by pre-convolution or cross-convolution.
    contributions
        The images that were stacked on either side, if the difference is one of stacks.
    progress
        Called with the number of tiles done and the number of all.
    **options
        Fields of `Options`, named as on the command line: ``spatial``, ``svar``, ``tolerance``, …

    Returns
    -------
    Result
        The corrected exposure, the decorrelation kernel, and quality figures.

    Raises
    ------
    InputError
        If the inputs do not fit together or cannot be used.

    References
    ----------
    Alard & Lupton 1998, ApJ 503, 325; Reiss & Lupton, DMTN-021; Kovacs, DMTN-179.

    Examples
    --------
    >>> import numpy as np
    >>> from diffim_decorr import Exposure, decorrelate
    >>> noise = np.random.default_rng(1).normal(size=(2, 300, 300))
    >>> kernel = np.full((3, 3), 1 / 9)
    >>> from scipy.signal import fftconvolve
    >>> difference = noise[0] - fftconvolve(noise[1], kernel, "same")
    >>> result = decorrelate(Exposure(noise[0], 1.0), Exposure(noise[1], 1.0), Exposure(difference), kernel)
    >>> bool(result.qa.max_abs_rho_before > 0.09 > 0.03 > result.qa.max_abs_rho_after)
    True
    """
    plan = prepare(
        science,
        template,
        difference,
        kernel,
        Options(**options),
        psf=psf,
        science_kernel=science_kernel,
        contributions=contributions,
    )
    sink = MemorySink(plan.shape)
    apply(plan, sink, progress)
    qa = measure(plan, sink)
    exposure = Exposure(
        sink.image,
        sink.variance,
        sink.mask,
        mask_planes=plan.masks.planes,
        header=None if difference.header is None else difference.header.copy(),
        psf=plan.psf,
        xy0=difference.xy0,
        name=f"decorrelated {difference.name}",
    )
    return Result(exposure, plan.decorrelation.psi, qa, plan)


def prepare(
    science: Exposure,
    template: Exposure,
    difference: Exposure,
    kernel: MatchingKernel | SpatialKernel | ArrayLike,
    options: Options,
    *,
    psf: ArrayLike | SpatialKernel | None = None,
    science_kernel: MatchingKernel | SpatialKernel | ArrayLike | None = None,
    contributions: Sequence[Contribution] = (),
) -> Plan:
    """Check the inputs, estimate the noise and build ψ; see `decorrelate` for the parameters."""
    plan, windows = make_plan(
        science,
        template,
        difference,
        kernel,
        options,
        psf=psf,
        science_kernel=science_kernel,
        contributions=contributions,
    )
    if windows is not None and not options.score:
        residual = _residual(plan, windows)
        if residual is not None:
            plan = with_residual(plan, residual)
        plan = calibrated(plan, _snr_scatter(plan, windows) ** 2)
    return plan


def _residual(plan: Plan, windows: SourceFreeWindows) -> Array | None:
    """The correlation function that ψ leaves in the difference, if it is significant."""
    with plan.timed("noise"):
        work = TileWork(plan, tiling_of(plan, windows.boxes[0].shape))
        covariance = windows.covariance(lambda box: work.pixels(box)[0])
        rho, variance, _ = correlation_function(covariance, windows.pixels)
    if not variance > 0 or max_abs_rho(rho) < _SIGNIFICANT / np.sqrt(windows.pixels):
        return None
    return rho


def _snr_scatter(plan: Plan, windows: SourceFreeWindows) -> float:
    """Robust standard deviation of the decorrelated difference in units of the root of its variance plane."""
    with plan.timed("noise"):
        work = TileWork(plan, tiling_of(plan, windows.boxes[0].shape))

        def snr(box: Box) -> Array:
            image, variance = work.pixels(box)
            usable = np.isfinite(image) & (variance > 0)
            return np.where(usable, image, np.nan) / np.sqrt(np.where(usable, variance, 1))

        return windows.scatter(snr)


def measure(plan: Plan, sink: Sink) -> QualityFigures:
    """Measure the quality figures of a result, and note what its user should know of them."""
    with plan.timed("qa"):
        planes = {*plan.options.bad_planes, *plan.options.replace_planes, "NO_DATA", "EDGE", "DECORR_BAD"}
        qa = measure_quality(
            plan.shape,
            plan.science.image_plane,
            plan.template.image_plane,
            plan.difference.image_plane,
            sink.read,
            plan.masks.bits(planes),
            plan.options.threads,
        )
    if not np.isfinite(qa.max_abs_rho_after):
        plan.warnings.append(f"only {qa.pixels_used} source-free pixels: the quality figures could not be measured")
        return qa
    floor = 5 / np.sqrt(qa.pixels_used)
    correlated = {
        name: rho
        for name, rho in (
            ("science", max_abs_rho(qa.rho_science)),
            ("template", max_abs_rho(qa.rho_template)),
        )
        if rho > _NOTABLE_CORRELATION + floor
    }
    if plan.options.score:
        return qa
    if plan.options.noise == "measured":
        if qa.max_abs_rho_after > _NOTABLE_CORRELATION + floor:
            plan.warnings.append(
                f"max_abs_rho {qa.max_abs_rho_after:.3f} is left although the noise was measured: at some frequencies "
                "there is next to none, or its correlation varies over the field, or the inputs show structure besides "
                "noise"
            )
        return qa
    if qa.max_abs_rho_after > _NOTABLE_CORRELATION + floor and correlated:
        listed = " and ".join(f"{name} {rho:.2f}" for name, rho in correlated.items())
        plan.warnings.append(
            f"the noise of the inputs is itself correlated (by up to: {listed}), so that "
            f"max_abs_rho {qa.max_abs_rho_after:.3f} is left; --noise measured takes this into account"
        )
    return qa
