"""The run, for arrays and for files: read, noise, ψ, convolve, flag, measure, write."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import replace
from functools import partial
from typing import Any, Protocol, TypeVar, Unpack

from numpy.typing import ArrayLike, NDArray

from diffim_decorr._keywords import OptionKeywords
from diffim_decorr.crowding import settled_whitening
from diffim_decorr.declare import Declared
from diffim_decorr.difference.contributions import Contribution
from diffim_decorr.difference.matching import MatchingKernel
from diffim_decorr.difference.subtraction import Subtraction, refuse_second_time, subtraction_of
from diffim_decorr.engine.job import Job, oversized_remark
from diffim_decorr.engine.schedule import convolve_image
from diffim_decorr.engine.sinks import MemorySink, Sink, in_unit
from diffim_decorr.engine.spread import Spread, spread_over
from diffim_decorr.errors import InputError, UsageError
from diffim_decorr.images.exposure import Exposure
from diffim_decorr.io.atomic import check_output
from diffim_decorr.io.exposures import as_exposure, load_exposure
from diffim_decorr.io.extensions import at_extension, exposures_in, psf_of
from diffim_decorr.io.fingerprint import Watch, fingerprint, modified
from diffim_decorr.io.hdus import split_spec
from diffim_decorr.io.kernels.registry import as_kernel, kernel_inside, load_kernel
from diffim_decorr.io.output.file import OutputFile
from diffim_decorr.io.output.layouts import output_path, output_paths
from diffim_decorr.io.output.mosaic import MosaicFile
from diffim_decorr.io.output.product import Product
from diffim_decorr.io.psfs import read_psf, said_to_be_psf
from diffim_decorr.io.stacks import input_files, read_inputs
from diffim_decorr.io.warps import read_warp
from diffim_decorr.kernels.psf import PSF_TOLERANCE, composed_psf
from diffim_decorr.kernels.spatial import SpatialKernel
from diffim_decorr.noise.mesh import without_background
from diffim_decorr.noise.photons import with_photon_noise
from diffim_decorr.noise.warp_factor import without_warp_factor
from diffim_decorr.options import InputOptions, Options, OutputOptions
from diffim_decorr.qa.diagnosis import Model
from diffim_decorr.qa.figures import QualityFigures, measure_quality
from diffim_decorr.qa.verdict import verdict_on
from diffim_decorr.record import Progress, Record
from diffim_decorr.result import Result
from diffim_decorr.threads import serial_blas

__all__ = ("at_exposure", "decorrelate", "decorrelate_files", "decorrelate_mosaic", "files_read")

Array = NDArray[Any]
ExposureLike = Exposure | ArrayLike | str | os.PathLike[str]
KernelLike = MatchingKernel | SpatialKernel | ArrayLike | str | os.PathLike[str]


def decorrelate(
    science: ExposureLike,
    template: ExposureLike,
    difference: ExposureLike,
    kernel: KernelLike,
    *,
    psf: ArrayLike | SpatialKernel | str | os.PathLike[str] | None = None,
    science_kernel: KernelLike | None = None,
    contributions: Sequence[Contribution] = (),
    science_noise_images: Sequence[ExposureLike] = (),
    template_noise_images: Sequence[ExposureLike] = (),
    progress: Progress | None = None,
    **options: Unpack[OptionKeywords],
) -> Result:
    """Whiten the noise of a difference image.

    Parameters
    ----------
    science, template, difference
        The images, all of one shape (ny, nx): exposures, arrays, CCDData objects, or names of files. They are not
        modified.
    kernel
        The matching kernel: as read by `read_kernel`, a spatial kernel, one 2-D image, or the name of a file.
    psf
        PSF of the image that was not convolved, instead of the one that its exposure has.
    science_kernel
        What the science image was convolved with, by pre-convolution or cross-convolution.
    contributions
        The images that were stacked on either side, if the difference is one of stacks.
    science_noise_images, template_noise_images
        Images of pure noise that went through the same resampling as the science image, or the template, one or several
        realisations: its noise is measured on these.
    progress
        Called with a stage of the run (``read``, ``noise``, ``psi``, ``filter``, ``qa``, ``write``), how many of its
        steps are done, and of how many: 0 of 0 when it begins.
    **options
        Fields of `Options`, named as on the command line: ``spatial``, ``svar``, ``tolerance``, …

    Returns
    -------
    Result
        The corrected exposure, the decorrelation kernel, and quality figures.

    Warns
    -----
    DecorrWarning
        For each of the result's warnings.

    Raises
    ------
    InputError
        If the inputs do not fit together or cannot be used.
    UsageError
        If the value of an option cannot be used.
    TypeError
        If there is no such option.

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
    start = time.perf_counter()
    checked = Options.of(options)
    record = Record((checked,), progress=progress)
    watch = Watch(
        os.fspath(given)
        for given in (science, template, difference, kernel, psf)
        if isinstance(given, str | os.PathLike)
    )
    with record.timed("read"):
        images = {
            role: as_exposure(given, role)
            for role, given in (("science", science), ("template", template), ("difference", difference))
        }
        record.inputs = {role: exposure.name for role, exposure in images.items()}
        whole = images["difference"]
        subtraction = subtraction_of(
            **images,
            kernel=as_kernel(kernel, whole.shape, whole.header),
            options=checked,
            psf=read_psf(psf, whole.xy0) if isinstance(psf, str | os.PathLike) else psf,
            science_kernel=None if science_kernel is None else as_kernel(science_kernel, whole.shape),
            contributions=contributions,
            realisations=(
                [as_exposure(image, "science noise image") for image in science_noise_images],
                [as_exposure(image, "template noise image") for image in template_noise_images],
            ),
        )

    @contextmanager
    def in_memory(product: Product) -> Iterator[_Memory]:
        yield _Memory(product)

    memory = _run(subtraction, checked, record, in_memory, watch)
    record.timings["total"] = time.perf_counter() - start
    record.issue(stacklevel=2)
    assert memory.product.psi is not None
    assert isinstance(record.quality, QualityFigures)
    return Result(memory.exposure(whole.name), memory.product.psi, record.quality, record, memory.product)


def decorrelate_files(
    science: str,
    template: str,
    difference: str,
    inputs: InputOptions,
    options: Options,
    output: OutputOptions,
    *,
    others: Sequence[Declared] = (),
    command: str = "",
    guarded: Sequence[str] = (),
    psf_needed: bool = False,
    scheduler: str | None = None,
    progress: Progress | None = None,
) -> tuple[str, Record]:
    """Whiten the noise of a difference image in a file, and write the result to another.

    Parameters
    ----------
    science, template, difference
        The files, ``name.fits[EXT]`` where the HDU matters.
    inputs, options, output
        What else is read, how the noise is whitened, and what is written.
    others
        Options to be recorded besides.
    command
        The command line, to be recorded.
    guarded
        Files that must not be overwritten, besides all that are read.
    psf_needed
        Whether the result is of no use without its PSF.
    scheduler
        Of a Dask cluster that is to work on the tiles, its address or the file that it has written about itself; the
        result is the same.
    progress
        As in `decorrelate`.

    Returns
    -------
    path, record
        Where the result is, and how it was made.

    Raises
    ------
    InputError
        If an input cannot be used.
    UsageError
        If the output cannot be written there, or options exclude each other.
    OSError
        Naming the output, if it cannot be written to its end.
    """
    files = {"science": science, "template": template, "difference": difference}
    path = _checked_output(files, inputs, options, output, guarded)
    if inputs.ext is not None:
        files, inputs = at_exposure(files, inputs, inputs.ext)
    create = partial(
        OutputFile.create,
        path,
        overwrite=output.overwrite,
        layout=output.layout,
        with_background=output.write_background,
    )
    with ExitStack() as stack:
        spread = None if scheduler is None else stack.enter_context(spread_over(scheduler))
        record = _run_files(files, inputs, options, (output, *others), create, progress, command, psf_needed, spread)
    return path, record


def decorrelate_mosaic(
    science: str,
    template: str,
    difference: str,
    inputs: InputOptions,
    options: Options,
    output: OutputOptions,
    *,
    others: Sequence[Declared] = (),
    command: str = "",
    guarded: Sequence[str] = (),
    progress: Progress | None = None,
    told: Callable[[str, int, Record | InputError], None] = lambda *_: None,
) -> tuple[str, dict[str, str], int]:
    """Whiten the noise of every exposure of a difference, as of a mosaic of CCDs, into one file.

    An exposure that cannot be used does not stop the others; see `decorrelate_files` for the parameters.

    Parameters
    ----------
    told
        Called after each exposure with its HDU, its number, and how it was made or why it was not.

    Returns
    -------
    path, failures, count
        Where the result is, why which exposures could not be used, and how many there are.

    Raises
    ------
    InputError
        If not one of them can be used.
    """
    files = {"science": science, "template": template, "difference": difference}
    path = _checked_output(files, inputs, options, output, guarded)
    for file in files.values():
        if split_spec(file)[1] is not None:
            raise UsageError(f"--all-ext takes all HDUs, but {file} names one")
    places = exposures_in(difference)
    failures: dict[str, str] = {}
    with MosaicFile.create(path, difference, overwrite=output.overwrite, layout=output.layout) as mosaic:
        for extension, place in places.items():
            try:
                own = at_exposure(files, inputs, extension)
                section = partial(mosaic.section, place=place, with_background=output.write_background)
                record = _run_files(*own, options, (output, *others), section, progress, command)
            except InputError as error:
                failures[extension] = str(error)
                told(extension, place.number, error)
            else:
                told(extension, place.number, record)
        if len(failures) == len(places):
            raise InputError(f"{path}: not written, for not one of {len(places)} HDUs could be used")
        mosaic.finish(failures)
    return path, failures, len(places)


class _Output(Sink, Protocol):
    """Where a result goes, with all that belongs to it."""

    def start_syncing(self) -> None:
        """No more pixels will come."""

    def finish(self, psf: Array | SpatialKernel | None) -> None:
        """Everything is known; the PSF is that of the result."""


class _Memory(MemorySink):
    """Keeps a result, with all that belongs to it."""

    def __init__(self, product: Product) -> None:
        super().__init__(product.shape, product.wide)
        self.product = product
        self.psf: Array | SpatialKernel | None = None

    def start_syncing(self) -> None:
        """There is no disk."""

    def finish(self, psf: Array | SpatialKernel | None) -> None:
        self.psf = psf

    def exposure(self, name: str) -> Exposure:
        """The result as an exposure."""
        header = self.product.header
        return Exposure(
            self.image,
            self.variance,
            self.mask,
            mask_planes=self.product.mask_planes,
            header=None if header is None else header.copy(),
            psf=self.psf,
            xy0=self.product.xy0,
            name=f"decorrelated {name}",
        )


_OutputType = TypeVar("_OutputType", bound=_Output)


@serial_blas()
def _run(
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
    product = Product(
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
        record.begin("write")
        source = subtraction.point_source
        composed = composed_psf((*source, whitening.decorrelation.psi), job.shape) if source else None
        if composed is not None and composed.error > PSF_TOLERANCE:
            record.warn(
                f"the PSF of the result is right to {composed.error:.1e} of its peak only between the positions of its "
                "grid: the decorrelation kernel is wide and varies strongly; for photometry, evaluate PSI at the pixels"
            )
        watch.check()
        output.finish(None if composed is None else composed.psf)
    return output


def _psf_input(subtraction: Subtraction, psi: SpatialKernel) -> Array | SpatialKernel | None:
    """PSF before ψ, where with a ψ that varies it tells more than what becomes of it at some positions."""
    source = subtraction.point_source
    if not source or psi.is_constant:
        return None
    return composed_psf((*source, SpatialKernel.identity()), subtraction.shape).psf


def _run_files(
    files: dict[str, str],
    inputs: InputOptions,
    options: Options,
    others: Sequence[Declared],
    create: Callable[[Product], AbstractContextManager[OutputFile]],
    progress: Progress | None,
    command: str,
    psf_needed: bool = False,
    spread: Spread | None = None,
) -> Record:
    """Read one exposure and its companions, and write the result to the output that is created."""
    start = time.perf_counter()
    record = Record((inputs, options, *others), files, command=command, progress=progress)
    watch = Watch(files_read(files, inputs))
    with record.timed("read"):
        subtraction = _read(files, inputs, options)
        if psf_needed and not subtraction.point_source:
            raise InputError(
                f"{files['difference']}: the PSF of the result is not known, without which there is no S/N of point "
                "sources (--psf FILE gives that of the input that was not convolved)"
            )
        if spread is not None:
            images = (subtraction.science, subtraction.template, subtraction.difference)
            spread.check(p for e in images for p in (e.image_plane, e.mask_plane, e.variance_plane))
        named = files_read(files, inputs)
        record.prints = {name: fingerprint(split_spec(name)[0]) for name in named}
        record.modified = {name: modified(split_spec(name)[0]) for name in named}
    _run(subtraction, options, record, create, watch, convolve_image if spread is None else spread.convolve_image)
    record.timings["total"] = time.perf_counter() - start
    return record


def _read(files: dict[str, str], inputs: InputOptions, options: Options) -> Subtraction:
    """The subtraction that files and options describe."""
    science, template = (
        load_exposure(
            files[role],
            **{name: getattr(inputs, f"{side}_{name}") for name in ("variance", "noise", "weight", "mask")},
            dq_bad=inputs.dq_bad,
        )
        for role, side in (("science", "sci"), ("template", "tmpl"))
    )
    science, template = (
        exposure.with_warps([read_warp(warp, exposure) for warp in warps]) if warps else exposure
        for exposure, warps in ((science, inputs.sci_warp), (template, inputs.tmpl_warp))
    )
    difference = load_exposure(files["difference"], mask=inputs.diff_mask, dq_bad=inputs.dq_bad, is_difference=True)
    refuse_second_time(difference)
    if inputs.dq_bad is not None and all(e.mask_planes != {"BAD": 0} for e in (science, template, difference)):
        difference.remarks += ("--dq-bad: all masks have names for their bits, or there are none",)
    shape, header = difference.shape, difference.header
    if inputs.kernel is None:
        kernel = kernel_inside(files["difference"], shape, header)
    else:
        kernel = load_kernel(inputs.kernel, shape, header, inputs.kernel_format)
        _refuse_psf(inputs)
    science_file = inputs.sci_kernel or inputs.pre_conv_kernel
    science_kernel = None
    if science_file is not None:
        science_kernel = load_kernel(science_file, difference.shape, format=inputs.sci_kernel_format)
    psf = None
    if inputs.psf is not None:
        psf = read_psf(psf_of(inputs.psf, (files["difference"], files["science"], files["template"])), difference.xy0)
    contributions = [] if inputs.inputs is None else read_inputs(inputs.inputs, difference.shape)
    warped = [c.name for c in contributions if c.exposure is not None and c.exposure.warps]
    if warped and options.noise != "local":
        raise UsageError(f"{warped[0]}: warp has a meaning with --noise local only")
    return subtraction_of(
        science,
        template,
        difference,
        kernel,
        options,
        psf=psf,
        science_kernel=science_kernel,
        contributions=contributions,
        realisations=(
            [load_exposure(file) for file in inputs.sci_noise_image or ()],
            [load_exposure(file) for file in inputs.tmpl_noise_image or ()],
        ),
    )


def _refuse_psf(inputs: InputOptions) -> None:
    """Refuse a PSF for the matching kernel, unless an image was convolved with it on purpose."""
    crossed = inputs.sci_kernel is not None or inputs.pre_conv_kernel is not None
    if inputs.kernel is None or crossed or inputs.kernel_format is not None:
        return
    said = said_to_be_psf(inputs.kernel)
    if said is not None:
        raise InputError(
            f"{inputs.kernel}: is a PSF by its card {said}, not a matching kernel: give the kernel that the matching "
            "program wrote, and this with --psf (if the template was convolved with it, --kernel-format image says so)"
        )


def _checked_output(
    files: dict[str, str], inputs: InputOptions, options: Options, output: OutputOptions, guarded: Sequence[str]
) -> str:
    """Where the output goes, before anything is read that takes time."""
    if options.score and inputs.pre_conv_kernel is None:
        raise UsageError("--score needs --pre-conv-kernel")
    if output.write_background and options.background is None:
        raise UsageError("--write-background needs --background, without which no background is taken off")
    for side in ("sci", "tmpl"):
        if getattr(inputs, f"{side}_warp") and options.noise != "local":
            raise UsageError(f"--{side}-warp has a meaning with --noise local only")
        for kind in ("variance", "noise", "weight"):
            if getattr(options, f"{side}_gain") is not None and getattr(inputs, f"{side}_{kind}") is not None:
                raise UsageError(f"--{side}-gain and --{side}-{kind} exclude each other")
    read = files_read(files, inputs)
    path = output_path(output, files["difference"])
    for file in output_paths(path, output.layout):
        check_output(file, [*(split_spec(name)[0] for name in read), *guarded], output.overwrite)
    return path


def files_read(files: dict[str, str], inputs: InputOptions) -> list[str]:
    """The names of all files that a run reads, each once.

    Raises
    ------
    InputError
        If the list of images that were stacked cannot be read.
    """
    stacked = [] if inputs.inputs is None else input_files(inputs.inputs)
    return list(dict.fromkeys([*files.values(), *inputs.files, *stacked]))


def at_exposure(files: dict[str, str], inputs: InputOptions, extension: str) -> tuple[dict[str, str], InputOptions]:
    """The files of one exposure: the HDU of that name in the images, and in those of kernels that have it."""
    named = {role: f"{file}[{extension}]" if split_spec(file)[1] is None else file for role, file in files.items()}
    others = ("kernel", "sci_kernel", "pre_conv_kernel")
    given = {name: getattr(inputs, name) for name in others if getattr(inputs, name) is not None}
    own: dict[str, Any] = {name: at_extension(file, extension) for name, file in given.items()}
    for name in ("sci_noise_image", "tmpl_noise_image"):
        if getattr(inputs, name) is not None:
            own[name] = [at_extension(file, extension) for file in getattr(inputs, name)]
    for name in ("sci_warp", "tmpl_warp"):
        pairs = (warp.partition(":") for warp in getattr(inputs, name))
        own[name] = tuple(f"{kind}:{at_extension(native, extension)}" for kind, _, native in pairs)
    return named, replace(inputs, **own)
