"""The run, for arrays and for files: read, noise, ψ, convolve, flag, measure, write."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import partial
from typing import Any, Unpack

from numpy.typing import ArrayLike, NDArray

from diffim_decorr._keywords import OptionKeywords
from diffim_decorr.declare import Declared
from diffim_decorr.difference.contributions import Contribution
from diffim_decorr.difference.matching import MatchingKernel
from diffim_decorr.difference.subtraction import subtraction_of
from diffim_decorr.engine.schedule import convolve_image
from diffim_decorr.engine.sinks import MemorySink
from diffim_decorr.engine.spread import Spread, spread_over
from diffim_decorr.errors import InputError, UsageError
from diffim_decorr.images.exposure import Exposure
from diffim_decorr.io.exposures import as_exposure
from diffim_decorr.io.extensions import exposures_in
from diffim_decorr.io.fingerprint import Watch, fingerprint, modified
from diffim_decorr.io.hdus import split_spec
from diffim_decorr.io.kernels.registry import as_kernel
from diffim_decorr.io.output.file import OutputFile
from diffim_decorr.io.output.mosaic import MosaicFile
from diffim_decorr.io.output.product import Product
from diffim_decorr.io.psfs import read_psf
from diffim_decorr.kernels.spatial import SpatialKernel
from diffim_decorr.options import InputOptions, Options, OutputOptions
from diffim_decorr.pipeline import run_pipeline
from diffim_decorr.qa.figures import QualityFigures
from diffim_decorr.reading import at_exposure, checked_output, files_read, subtraction_from
from diffim_decorr.record import Progress, Record
from diffim_decorr.result import Result

__all__ = ("decorrelate", "decorrelate_files", "decorrelate_mosaic")

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

    memory = run_pipeline(subtraction, checked, record, in_memory, watch)
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
    path = checked_output(files, inputs, options, output, guarded)
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
    path = checked_output(files, inputs, options, output, guarded)
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
        subtraction = subtraction_from(files, inputs, options)
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
    convolve = convolve_image if spread is None else spread.convolve_image
    run_pipeline(subtraction, options, record, create, watch, convolve)
    record.timings["total"] = time.perf_counter() - start
    return record
