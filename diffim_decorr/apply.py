"""Convolving companion images of a difference with the ψ that a run made.

The image goes the way of a difference that consists of this one image: the same tiles, the same precision, the same
treatment of missing pixels. Thus a run's own difference becomes the run's own result, bit for bit.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from diffim_decorr.difference.subtraction import refuse_second_time
from diffim_decorr.engine.job import Job, Part, VariancePlane, oversized_remark
from diffim_decorr.engine.schedule import convolve_image
from diffim_decorr.engine.sinks import MemorySink, in_unit
from diffim_decorr.errors import InputError
from diffim_decorr.geometry import Box
from diffim_decorr.images.background import local_background
from diffim_decorr.images.exposure import Exposure
from diffim_decorr.images.union import MaskUnion
from diffim_decorr.images.units import working_unit
from diffim_decorr.io.atomic import check_output
from diffim_decorr.io.exposures import as_exposure, load_exposure
from diffim_decorr.io.hdus import split_spec
from diffim_decorr.io.output.file import OutputFile
from diffim_decorr.io.output.layouts import default_output
from diffim_decorr.io.output.product import Product
from diffim_decorr.io.output.stamps import write_stamp
from diffim_decorr.io.psi import read_psi
from diffim_decorr.kernels.bank import KernelBank
from diffim_decorr.kernels.compose import composed
from diffim_decorr.kernels.compress import mapped
from diffim_decorr.kernels.piecewise import parts_of
from diffim_decorr.kernels.psf import composed_psf
from diffim_decorr.kernels.spatial import SpatialKernel
from diffim_decorr.noise.plane_level import plane_level
from diffim_decorr.options import BAD_PLANES, ApplyOptions, Options
from diffim_decorr.psi.stored import DecorrelationKernel
from diffim_decorr.record import Progress, Record, StoredPsiFigures
from diffim_decorr.threads import serial_blas

__all__ = ("apply_file", "apply_psi", "apply_psi_at")

Array = NDArray[Any]


@serial_blas()
def apply_psi(
    exposure: Exposure | ArrayLike | str | os.PathLike[str],
    psi: DecorrelationKernel | str | os.PathLike[str],
    *,
    replace_planes: Sequence[str] | str | None = None,
    bad_fraction: float | None = None,
    threads: int | None = None,
    progress: Progress | None = None,
) -> Exposure:
    """Convolve an image with the decorrelation kernel of a run.

    Parameters
    ----------
    exposure
        The image (ny, nx), with its variance and mask planes where it has them: an exposure, an array, a CCDData, or
        the name of a file. It is not modified.
    psi
        The kernel, from `read_psi`, or the name of the run's output.
    replace_planes, bad_fraction
        As in `decorrelate`; what the run had by default.
    threads
        Number of threads, all cores by default.
    progress
        As in `decorrelate`.

    Returns
    -------
    Exposure
        Image, mask, variance ``ψ² ⊗ V`` (the image's noise taken for white) if V is known, and PSF ``φ ⊗ ψ`` likewise.

    Raises
    ------
    InputError
        If the image has not the size of the field that ψ varies over, or was decorrelated already.

    References
    ----------
    Kovacs, DMTN-179, section 5 (variance).

    Examples
    --------
    >>> import numpy as np
    >>> from diffim_decorr import DecorrelationKernel, Exposure, SpatialKernel, apply_psi
    >>> smooth = SpatialKernel.constant(np.full((3, 3), 1 / 9))
    >>> image = np.zeros((20, 30), "f4")
    >>> image[10, 10] = 9
    >>> result = apply_psi(Exposure(image, variance=1.0), DecorrelationKernel(smooth, (20, 30)))
    >>> round(float(result.image[9, 11]), 5), round(float(result.variance[9, 11]), 5)
    (1.0, 0.11111)
    """
    image = as_exposure(exposure, "image")
    kernel = psi if isinstance(psi, DecorrelationKernel) else read_psi(psi)
    options = _with_the_runs(
        ApplyOptions(kernel.name, replace_planes=replace_planes, bad_fraction=bad_fraction, threads=threads),  # type: ignore[arg-type]
        kernel,
    )
    unit = working_unit((image,))
    job = _job(image, kernel, options, unit)
    sink = MemorySink(job.shape, unit != 1)
    convolve_image(job, in_unit(sink, unit), Record(progress=progress).steps("filter"))
    return Exposure(
        sink.image,
        sink.variance if job.variances else None,
        sink.mask,
        mask_planes=job.masks.planes,
        header=None if image.header is None else image.header.copy(),
        psf=_psf(image, kernel),
        xy0=image.xy0,
        name=f"{image.name} convolved with {kernel.name}",
    )


@serial_blas()
def apply_psi_at(image: ArrayLike, psi: DecorrelationKernel, x: float, y: float, name: str = "image") -> Array:
    """Convolve a small image, of a PSF or a source, with ψ at a position of the field.

    Parameters
    ----------
    image
        Pixels (h, w), with nothing around them.
    psi
        The kernel, from `read_psi`.
    x, y
        The position, 0-based pixels of the field.
    name
        What to call the image in messages.

    Returns
    -------
    result
        Pixels of the image grown on each side by the half width of ψ, so that nothing is lost; float64.

    Raises
    ------
    InputError
        If a pixel of the image is not finite, or the position lies outside the field.
    """
    pixels = np.asarray(image, dtype=float)
    if not np.isfinite(pixels).all():
        raise InputError(f"{name}: has pixels that are not finite, which an image by itself must not have")
    return composed(SpatialKernel.constant(pixels), SpatialKernel.constant(psi.at(x, y))).at(0.0, 0.0)


@serial_blas()
def apply_file(
    image: str,
    options: ApplyOptions,
    *,
    output: str | None = None,
    overwrite: bool = False,
    guarded: Sequence[str] = (),
    progress: Progress | None = None,
) -> tuple[str, list[str], Record]:
    """Convolve an image in a file with the kernel of a run, and write the result to another.

    Parameters
    ----------
    image
        The file.
    options
        With which kernel, and what goes with the image.
    output
        The file to write; the image's name with ``_decorr`` before its ending by default.
    overwrite
        Whether a file that is there may be replaced.
    guarded
        Files that must not be overwritten, besides all that are read.
    progress
        As in `decorrelate`.

    Returns
    -------
    path, hdus, record
        Where the result is, the names of its image planes, and how it was made.
    """
    start = time.perf_counter()
    read = [split_spec(name)[0] for name in (image, options.psi, *options.files.values())]
    path = default_output(read[0]) if output is None else output
    check_output(path, [*read, *guarded], overwrite)
    kernel = read_psi(options.psi)
    mode = "constant" if kernel.is_constant or options.at is not None else "spatial"
    companions: dict[str, Any] = {**options.files}
    exposure = load_exposure(image, **companions)
    refuse_second_time(exposure)
    stored = StoredPsiFigures(mode, kernel.half_width, len(kernel.kernel.basis))
    record = Record((options,), {"image": image}, psi=stored, progress=progress)
    record.warnings += exposure.remarks
    if options.at is not None:
        if kernel.xy0 != (0, 0) and not kernel.field.shifted(*kernel.xy0).contains(*options.at):
            ny, nx = kernel.shape
            raise InputError(
                f"{kernel.name}: position {options.at[0]:g} {options.at[1]:g} lies outside the field of {nx} x {ny} "
                f"pixels, which begins at {kernel.xy0} of its parent frame"
            )
        x, y = (position - origin for position, origin in zip(options.at, kernel.xy0, strict=True))
        pixels = apply_psi_at(exposure.image, kernel, x, y, name=exposure.name)
        write_stamp(path, pixels, exposure.header, kernel.half_width, record, overwrite)
        names = ["PRIMARY"]
    else:
        options = _with_the_runs(options, kernel)
        record.options = (options,)
        unit = working_unit((exposure,))
        job = _job(exposure, kernel, options, unit)
        product = Product(
            job.shape,
            exposure.header,
            job.masks.planes,
            exposure.xy0,
            bool(job.variances),
            record,
            "convolved with a decorrelation kernel",
            wide=unit != 1,
        )
        with OutputFile.create(path, product, overwrite=overwrite) as file:
            record.begin("filter")
            convolve_image(job, in_unit(file, unit), record.steps("filter"))
            record.begin("write")
            if job.oversized.is_set():
                record.warn(oversized_remark(exposure.name))
            file.finish(_psf(exposure, kernel))
        names = file.names
    record.timings["total"] = time.perf_counter() - start
    return path, names, record


def _with_the_runs(options: ApplyOptions, psi: DecorrelationKernel) -> ApplyOptions:
    """The options, with those of the run where nothing else was said."""
    return replace(
        options,
        replace_planes=psi.replace_planes if options.replace_planes is None else options.replace_planes,
        bad_fraction=psi.bad_fraction if options.bad_fraction is None else options.bad_fraction,
    )


def _job(exposure: Exposure, psi: DecorrelationKernel, options: ApplyOptions, unit: float) -> Job:
    """The job of a difference that is this one image, its ψ given, its pixels multiplied by a unit."""
    refuse_second_time(exposure)
    if unit != 1:
        exposure = exposure.scaled(unit)
    sigma = psi.variance**0.5 * unit
    if not psi.is_constant:
        _check_field(exposure, psi)
    plane = exposure.variance_plane
    variances = () if plane is None else (VariancePlane(plane, plane_level(exposure, BAD_PLANES)),)
    boxes = parts_of(psi.kernel, Box(0, 0, exposure.shape[1], exposure.shape[0]))
    none = (0,) * len(boxes)
    parts = [
        Part(
            box,
            kernel,
            mapped(kernel, _shares),
            KernelBank.of(mapped(kernel, np.square) if variances else SpatialKernel.identity()),
            margin=margin,
            error=error,
        )
        for (box, kernel), margin, error in zip(boxes, psi.margins or none, psi.simplified or none, strict=True)
    ]
    return Job(
        image=exposure.image_plane,
        fills=exposure.fills,
        regions=psi.kernel.boxes,
        masks=MaskUnion.of((exposure,)),
        # What else the run had replaced is told by the mask of its result.
        replaced=(*options.replace_planes, "DECORR_FILLED") if options.replace_planes else (),
        parts=tuple(parts),
        variances=variances,
        full=True,
        sigma=sigma,
        bad_fraction=Options.bad_fraction if options.bad_fraction is None else options.bad_fraction,
        threads=Options(threads=options.threads).workers,
        memory=Options().memory,
        background=local_background(exposure, sigma),
    )


def _psf(exposure: Exposure, psi: DecorrelationKernel) -> Array | SpatialKernel | None:
    """The corrected PSF, if that of the image is known."""
    if exposure.psf is None:
        return None
    own = exposure.psf if isinstance(exposure.psf, SpatialKernel) else SpatialKernel.constant(exposure.psf)
    return composed_psf((own, psi.kernel), exposure.shape).psf


def _check_field(exposure: Exposure, psi: DecorrelationKernel) -> None:
    if exposure.shape != psi.shape:
        mine, its = (f"{s[1]} x {s[0]}" for s in (exposure.shape, psi.shape))
        raise InputError(
            f"{exposure.name}: has {mine} pixels, but {psi.name} varies over a field of {its}; a small image is "
            "convolved with psi at one position (--at)"
        )
    if (0, 0) not in (exposure.xy0, psi.xy0) and exposure.xy0 != psi.xy0:
        raise InputError(
            f"{exposure.name}: begins at {exposure.xy0} of its parent frame, but the field of {psi.name} at {psi.xy0}"
        )


def _shares(images: Array) -> Array:
    """Absolute values of images (k, p), divided by their sums."""
    absolute = np.abs(images)
    shares: Array = absolute / absolute.sum(axis=1, keepdims=True)
    return shares
