"""The difference image in which sources are looked for: from a file, with its ψ and what is known of its PSF."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from diffim_decorr.detect.point_source import PointSource, gaussian_psf
from diffim_decorr.errors import InputError
from diffim_decorr.images.exposure import Exposure
from diffim_decorr.io.exposures import load_exposure
from diffim_decorr.io.hdus import open_fits, pick, select_hdu, split_spec
from diffim_decorr.io.output.layouts import LAYOUTS
from diffim_decorr.io.psfs import is_response, psf_hdu, read_psf
from diffim_decorr.io.psi import read_psi
from diffim_decorr.kernels.spatial import SpatialKernel
from diffim_decorr.options import MeasureOptions, SnrOptions

__all__ = ("Difference", "read_difference")

Array = NDArray[Any]

# How far from the middle of its image the centroid of a PSF may be, in pixels, and how bright that at its borders,
# relative to the peak. Below a share of the peak nothing counts for the centroid.
_OFF_CENTRE, _CUT_OFF, _WINGS = 0.25, 0.01, 0.1
_NONE = (None, "none")


@dataclass(frozen=True, eq=False)
class Difference:
    """A difference image whose noise is white.

    Parameters
    ----------
    exposure
        Image, variance, mask, header, and the PSF of the image if it is known.
    psi
        What its PSF was convolved with.
    psf_input
        PSF before that.
    """

    exposure: Exposure
    psi: SpatialKernel | None = None
    psf_input: Array | SpatialKernel | None = None

    def check(self) -> None:
        """Refuse what the flux of point sources is not measured in."""
        exposure, header = self.exposure, self.exposure.header or {}
        if header.get("DCSCORE") is True:
            raise InputError(
                f"{exposure.name}: is a score image, which is correlated with the PSF already: its pixels over the "
                "roots of VARIANCE are the S/N"
            )
        if exposure.variance_plane is None:
            raise InputError(
                f"{exposure.name}: has no variance plane, without which there is no S/N: give one (variance, noise or "
                "weight)"
            )

    def point_source(self, psf: ArrayLike | SpatialKernel | str | None, fwhm: float | None) -> PointSource:
        """What a point source becomes in it, of a PSF that was given, by itself or by its name, or its own.

        Raises
        ------
        InputError
            If there is no PSF, or one that does not belong to the image.
        """
        exposure, psi = self.exposure, self.psi
        if fwhm is not None:
            self._refuse_what_came_first("fwhm")
            return PointSource.of(exposure.shape, gaussian_psf(fwhm), psi, f"Gaussian, FWHM {fwhm:g} pixels")
        if psf is not None:
            origin = "array"
            if isinstance(psf, str):
                origin = psf
                # What was written by this program is a PSF after ψ.
                psi = None if is_response(psf) else psi
                psf = read_psf(psf, exposure.xy0)
            if psi is not None:
                self._refuse_what_came_first("psf")
            return PointSource.of(exposure.shape, psf, psi, origin)
        if self.psf_input is not None and psi is not None:
            return PointSource.of(exposure.shape, self.psf_input, psi, "PSF_INPUT of the file, and psi")
        if exposure.psf is not None:
            return PointSource.of(exposure.shape, exposure.psf, None, "PSF of the file")
        why = f" ({exposure.psf_fault})" if exposure.psf_fault else ""
        raise InputError(f"{exposure.name}: has no PSF{why}: give one with --psf, or a Gaussian of some --fwhm for it")

    def _refuse_what_came_first(self, option: str) -> None:
        header = self.exposure.header or {}
        if self.psi is not None and not {header.get(card) for card in ("DCPRECON", "DCSCIKRN")} <= {*_NONE}:
            raise InputError(
                f"{self.exposure.name}: both of its inputs were convolved; --{option} is of one that was not (decorr "
                "run --psf makes the PSF of the result)"
            )

    def remarks(self, source: PointSource) -> Iterator[str]:
        """What a user should know of fluxes that are measured in it."""
        exposure, header = self.exposure, self.exposure.header or {}
        yield from exposure.remarks
        if self.psi is None and "DCVERS" not in header:
            yield (
                f"{exposure.name}: was not written by decorr run; its noise is taken for white, which that of a "
                "difference image is not before it is decorrelated (decorr qa tells)"
            )
        elif "DCPSI" in header:
            yield (
                f"{exposure.name}: was convolved with psi by decorr apply; its noise is white, and the errors true, "
                "only if it has the noise of the difference that psi was made for"
            )
        if header.get("DCVERDCT") == "fail":
            yield f"{exposure.name}: was judged bad by the run that made it (DCVERDCT is fail): S/N will not be either"
        yield from _doubts(source)


def _doubts(source: PointSource) -> Iterator[str]:
    """What is strange about a PSF."""
    ny, nx = source.shape
    place = np.array([(nx - 1) / 2]), np.array([(ny - 1) / 2])
    image = np.tensordot(source.psf.coefficients.at(*place)[:, 0], source.psf.basis, axes=1)
    peak = float(image.max())
    core = np.where(image > _WINGS * peak, image, 0)
    y, x = (np.arange(n) - n // 2 for n in image.shape)
    off = float(np.hypot(core.sum(axis=0) @ x, core.sum(axis=1) @ y) / core.sum())
    if off > _OFF_CENTRE:
        yield (
            f"the PSF ({source.origin}) is {off:.2f} pixels off the middle of its image, and positions of sources "
            "will be by as much: shift it, its centre belongs at pixel (w // 2, h // 2) counted from 0"
        )
    rim = np.concatenate([image[0], image[-1], image[:, 0], image[:, -1]])
    if np.median(rim) > _CUT_OFF * peak:
        yield (
            f"the PSF ({source.origin}) is cut off where it still has {np.median(rim) / peak:.1%} of its peak: fluxes "
            "are those within its image; give a larger one"
        )
    field = source.psf.field
    if field is not None and source.whole.within(field) != source.whole:
        yield f"the PSF ({source.origin}) is known for {field} only, and carried on beyond"


def read_difference(path: str, options: SnrOptions | MeasureOptions) -> Difference:
    """A difference image from a file, and what belongs to it.

    Raises
    ------
    InputError
        If it cannot be read, or is no image in which fluxes can be measured.
    """
    name, extension = split_spec(path)
    companions: dict[str, Any] = {key: value for key, value in options.files.items() if key not in ("psf", "sci")}
    with open_fits(name) as hdus:
        several = hdus[0].header.get("DCNEXT")
        if several is not None and extension is None:
            raise InputError(f"{name}: holds {several} exposures: name the one that is meant, as {name}[IMAGE,1]")
        version = 1 if extension is None else select_hdu(name, hdus, extension).ver
        flat = hdus[0].header.get("DCOLAYOU") == "flat" and pick(hdus, "EXTNAME", "IMAGE") is None
    psi_file = name
    if flat:  # of a layout with files of their own for all planes
        files = LAYOUTS["flat"].paths(name)
        psi_file = files["PSI"]
        if not {"variance", "noise", "weight"} & {*companions}:
            companions["variance"] = files["VARIANCE"]
        companions.setdefault("mask", files["MASK"])
        companions["psf"] = f"{psi_file}[PSF]" if _has(psi_file, "PSF", version) else None
    exposure = load_exposure(path, **companions, is_difference=True)
    psi, psf_input = None, None
    if _has(psi_file, "PSI_BASIS", version):
        stored = read_psi(f"{psi_file}[PSI_BASIS,{version}]")
        if stored.shape != exposure.shape:
            mine, its = (f"{s[1]} x {s[0]}" for s in (exposure.shape, stored.shape))
            raise InputError(f"{exposure.name}: has {mine} pixels, but {stored.name} is of a field of {its}")
        psi = stored.kernel
        with open_fits(psi_file) as hdus:
            hdu = pick(hdus, "EXTNAME", "PSF_INPUT", version)
            if hdu is not None:
                psf_input = psf_hdu(psi_file, hdus, hdu, exposure.xy0)
    found = Difference(exposure, psi, psf_input)
    found.check()
    return found


def _has(path: str, name: str, version: int) -> bool:
    with open_fits(path) as hdus:
        return pick(hdus, "EXTNAME", name, version) is not None
