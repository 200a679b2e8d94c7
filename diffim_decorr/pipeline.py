"""The way of every difference, whatever it comes from and wherever it goes: noise, ψ, convolve, flag, measure."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, Protocol, TypeVar

from numpy.typing import NDArray

from diffim_decorr.crowding import settled_whitening
from diffim_decorr.difference.subtraction import Subtraction
from diffim_decorr.engine.job import Job, oversized_remark
from diffim_decorr.engine.schedule import convolve_image
from diffim_decorr.engine.sinks import Sink, in_unit
from diffim_decorr.images.mesh import Mesh
from diffim_decorr.io.fingerprint import Watch
from diffim_decorr.io.output.product import Product
from diffim_decorr.kernels.psf import PSF_TOLERANCE, composed_psf
from diffim_decorr.kernels.spatial import SpatialKernel
from diffim_decorr.noise.mesh import without_background
from diffim_decorr.noise.photons import with_photon_noise
from diffim_decorr.noise.warp_factor import without_warp_factor
from diffim_decorr.options import Options
from diffim_decorr.qa.diagnosis import Model
from diffim_decorr.qa.figures import measure_quality
from diffim_decorr.qa.verdict import verdict_on
from diffim_decorr.record import Record
from diffim_decorr.threads import serial_blas
from diffim_decorr.whiten import Whitening

__all__ = ("Output", "run_pipeline")

Array = NDArray[Any]


class Output(Sink, Protocol):
    """Where a result goes, with all that belongs to it."""

    def start_syncing(self) -> None:
        """No more pixels will come."""

    def finish(self, psf: Array | SpatialKernel | None) -> None:
        """Everything is known; the PSF is that of the result."""


_OutputType = TypeVar("_OutputType", bound=Output)


@serial_blas()
def run_pipeline(
    subtraction: Subtraction,
    options: Options,
    record: Record,
    create: Callable[[Product], AbstractContextManager[_OutputType]],
    watch: Watch,
    convolve: Callable[[Job, Sink, Callable[[int, int], None] | None], None] = convolve_image,
) -> _OutputType:
    """The way of every difference, whatever it comes from, wherever it goes, and whoever works on its tiles."""
    for remark in subtraction.remarks:
        record.warn(remark)
    record.kernel = subtraction.figures(options)
    subtraction = subtraction.in_working_unit()
    subtraction = without_warp_factor(subtraction, options, record)
    if options.sci_gain is not None or options.tmpl_gain is not None:
        with record.timed("noise"):
            subtraction = with_photon_noise(subtraction, options, record)
    background = None
    if options.background is not None:
        with record.timed("noise"):
            subtraction, background = without_background(subtraction, options.background, options, record)
    whitening = settled_whitening(subtraction, options, record)
    job = whitening.job
    product = _product(subtraction, whitening, background, record)
    with create(product) as output:
        sink = in_unit(output, subtraction.unit)
        with record.timed("filter"):
            convolve(job, sink, record.steps("filter"))
        output.start_syncing()
        images = (subtraction.difference, subtraction.science, subtraction.template)
        for image, oversized in zip(images, job.signs, strict=True):
            if oversized.is_set():
                record.warn(oversized_remark(image.name))
        with record.timed("qa"):
            _judge(subtraction, whitening, sink, options, record)
        record.begin("write")
        psf = _psf(subtraction, whitening.decorrelation.psi, record)
        watch.check()
        output.finish(psf)
    return output


def _product(subtraction: Subtraction, whitening: Whitening, background: Mesh | None, record: Record) -> Product:
    """What is known of the result before any of its pixels."""
    job = whitening.job
    return Product(
        job.shape,
        subtraction.difference.header,
        job.masks.planes,
        subtraction.difference.xy0,
        True,
        record,
        "noise decorrelated",
        whitening.decorrelation.psi,
        tuple(part.halo for part in job.parts),
        tuple(part.error for part in job.parts),
        subtraction.unit != 1,
        _psf_input(subtraction, whitening.decorrelation.psi),
        background=None if background is None else background.scaled(1 / subtraction.unit),
        calibration=None if whitening.calibration is None else whitening.calibration.map,
    )


def _judge(subtraction: Subtraction, whitening: Whitening, sink: Sink, options: Options, record: Record) -> None:
    """Measure the quality figures of a result, and what they amount to."""
    job = whitening.job
    quality, evidence = measure_quality(
        job.shape,
        subtraction.science.image_plane,
        subtraction.template.image_plane,
        job.image,
        sink.read,
        job.masks.bits({*options.bad_planes, *options.replace_planes, "NO_DATA", "EDGE", "DECORR_BAD"}),
        options.workers,
        None if options.score else Model(subtraction, whitening.noise, options, whitening.crowded),
        whitening.held_back,
    )
    record.quality = quality
    record.judge(verdict_on(quality, evidence, options, more=whitening.doubts))


def _psf(subtraction: Subtraction, psi: SpatialKernel, record: Record) -> Array | SpatialKernel | None:
    """PSF of the result, if it is known."""
    source = subtraction.point_source
    composed = composed_psf((*source, psi), subtraction.shape) if source else None
    if composed is not None and composed.error > PSF_TOLERANCE:
        record.warn(
            f"the PSF of the result is right to {composed.error:.1e} of its peak only between the positions of its "
            "grid: the decorrelation kernel is wide and varies strongly; for photometry, evaluate PSI at the pixels"
        )
    return None if composed is None else composed.psf


def _psf_input(subtraction: Subtraction, psi: SpatialKernel) -> Array | SpatialKernel | None:
    """PSF before ψ, where with a ψ that varies it tells more than what becomes of it at some positions."""
    source = subtraction.point_source
    if not source or psi.is_constant:
        return None
    return composed_psf((*source, SpatialKernel.identity()), subtraction.shape).psf
