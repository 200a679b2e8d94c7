"""Flux, error and S/N of a point source at every pixel of a decorrelated difference.

In white noise of variance V the flux of a source at x₀ is ``Σ R D/V / Σ R²/V``, R being what a source of flux 1 becomes
in the image, and its variance ``1 / Σ R²/V``: no other linear estimate has less.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from diffim_decorr._version import __version__
from diffim_decorr.detect.difference import Difference, read_difference
from diffim_decorr.detect.peaks import Read, find_peaks, peak_table
from diffim_decorr.detect.photometry import Photometer
from diffim_decorr.detect.point_source import PointSource
from diffim_decorr.detect.science import nearest_source
from diffim_decorr.detect.tile_maps import LOW_WEIGHT, MapJob, TileMaps
from diffim_decorr.engine.schedule import work_on_tiles
from diffim_decorr.engine.sinks import MemorySink, Sink, in_unit
from diffim_decorr.errors import UsageError
from diffim_decorr.images.exposure import Exposure
from diffim_decorr.images.union import MaskUnion
from diffim_decorr.images.units import working_unit
from diffim_decorr.io.atomic import check_output
from diffim_decorr.io.exposures import as_exposure, load_exposure
from diffim_decorr.io.hdus import split_spec
from diffim_decorr.io.output.file import OutputFile
from diffim_decorr.io.output.layouts import MAPS, default_output
from diffim_decorr.io.output.product import Product
from diffim_decorr.io.tables import check_table_name, write_table
from diffim_decorr.kernels.spatial import SpatialKernel
from diffim_decorr.noise.plane_level import plane_level
from diffim_decorr.noise.robust import median
from diffim_decorr.options import Options, SnrOptions
from diffim_decorr.qa.peaks import expected_peaks
from diffim_decorr.record import Figures, Measured, Progress, Record, figure
from diffim_decorr.threads import LIBRARIES, serial_blas

if TYPE_CHECKING:
    from astropy.io.fits import Header
    from astropy.table import Table

__all__ = ("MapFigures", "SnrMaps", "snr_file", "snr_maps")

Array = NDArray[Any]

_ROWS = 512
# Median and scatter of the S/N from which on they are worth a warning, besides five times their errors.
_LEVEL, _SCATTER = 0.1, 0.05
_LATER = 4  # figures that are known last
_DONE = "flux of point sources measured"


@dataclass(frozen=True)
class MapFigures(Figures):
    """Maps of the flux of point sources."""

    psf: str = figure("DCMKIND", "PSF that was used")
    reach: int = figure("DCMREACH", "[pixel] half width of a point source")
    snr_std: Measured = figure("DCMSTD", "robust std of the S/N map", default=Measured())
    snr_median: Measured = figure("DCMMED", "median of the S/N map", default=Measured())
    pixels: int = figure("DCMNPIX", "pixels that these were measured on", default=0)
    peaks: int | None = figure(default=None)
    peaks_of_noise: float | None = figure(default=None)


@dataclass(frozen=True, eq=False, repr=False)
class SnrMaps:
    """Flux of a point source at every pixel, were there one, with its error and significance.

    Parameters
    ----------
    flux, flux_err
        In the unit of the image times a pixel (ny, nx), float32; NaN and infinite where nothing is known.
    snr
        Their ratio, in units of the noise.
    mask, mask_planes
        The image's mask, and the plane LOW_WEIGHT where little of the PSF lies on usable pixels; bits of the planes.
    header
        That of the image.
    record
        How they were made; its `quality` has the figures.
    source
        What a point source becomes in the image.
    """

    flux: Array
    flux_err: Array
    snr: Array
    mask: Array
    mask_planes: dict[str, int]
    header: Header | None
    record: Record
    source: PointSource
    _product: Product
    _difference: Difference
    _options: SnrOptions

    def __repr__(self) -> str:
        ny, nx = self.flux.shape
        return f"<SnrMaps: {nx} x {ny} pixels, {self.source.origin}>"

    @property
    def warnings(self) -> list[str]:
        """What a user should know of the maps."""
        return self.record.warnings

    def peaks(self, threshold: float = 5.0, science: Exposure | ArrayLike | str | None = None) -> Table:
        """Peaks of the S/N beyond a threshold, of either sign: an `astropy.table.Table`, the most significant first.

        Parameters
        ----------
        threshold
            Least S/N.
        science
            The science image, if the distances to its nearest sources are wanted.
        """
        options = SnrOptions(**{**self._options.changed(), "psf": None, "fwhm": None, "peaks": float(threshold)})
        planes = self.flux, self.mask, self.flux_err.astype(np.float64) ** 2
        given = None if science is None else as_exposure(science, "science")
        return _peaks(
            self._difference,
            self.source,
            options,
            lambda box: (planes[0][box.slices], planes[1][box.slices], planes[2][box.slices]),
            1 << self.mask_planes[LOW_WEIGHT],
            given,
        )

    def write(self, path: str | os.PathLike[str], *, overwrite: bool = False) -> None:
        """Write the file that the command writes: FLUX, FLUX_ERR, SNR, MASK.

        Raises
        ------
        UsageError
            If there is a file already, or none can be written there.
        """
        path = os.fspath(path)
        check_output(path, [], overwrite)
        with OutputFile.create(path, self._product, overwrite=overwrite, layout=MAPS) as output:
            for y0 in range(0, len(self.flux), _ROWS):
                rows = slice(y0, y0 + _ROWS)
                variance = self.flux_err[rows].astype(np.float64) ** 2
                output.write(y0, self.flux[rows].copy(), self.mask[rows].copy(), variance)
            output.finish(None)


@serial_blas()
def snr_maps(
    image: Exposure | str | os.PathLike[str],
    *,
    psf: ArrayLike | SpatialKernel | str | os.PathLike[str] | None = None,
    psi: SpatialKernel | None = None,
    psf_input: Array | SpatialKernel | None = None,
    progress: Progress | None = None,
    **options: Any,
) -> SnrMaps:
    """Measure the flux of a point source at every pixel of an image with white noise.

    Parameters
    ----------
    image
        An image (ny, nx) with its variance, as a run's result or its file. It is not modified.
    psf
        PSF of the input that was not convolved, an image, a kernel that varies, or the name of a file; of an image
        without ψ, its own. Without it, that of the image.
    psi
        The decorrelation kernel of the run; a file has its own.
    psf_input
        PSF before ψ, taken if none is given.
    progress
        As in `decorrelate`.
    **options
        Fields of `SnrOptions`: ``fwhm``, ``unusable_planes``, ``least_weight``, ``threads``, …

    Returns
    -------
    SnrMaps
        Flux, error, S/N and mask.

    Raises
    ------
    InputError
        If the image has no variance or PSF, is a score image, or cannot be read.
    UsageError
        If the value of an option cannot be used.

    References
    ----------
    Zackay, Ofek & Gal-Yam 2016, ApJ 830, 27 (matched filter of a difference with white noise); Kovacs, DMTN-179.

    Examples
    --------
    >>> import numpy as np
    >>> from diffim_decorr import Exposure, snr_maps
    >>> image = np.random.default_rng(1).normal(size=(200, 200)).astype("f4")
    >>> image[100, 80] += 50
    >>> maps = snr_maps(Exposure(image, variance=1.0), fwhm=0.5)
    >>> np.unravel_index(np.argmax(maps.snr), maps.snr.shape)
    (np.int64(100), np.int64(80))
    """
    if isinstance(psf, os.PathLike):
        psf = os.fspath(psf)
    if isinstance(psf, str):
        options["psf"] = psf
    settings = SnrOptions(**options)
    if settings.peaks is not None:
        raise UsageError("peaks are found in the maps: snr_maps(…).peaks(5.0)")
    if isinstance(image, Exposure):
        if settings.files.keys() - {"psf"}:
            raise UsageError("files of planes go with the name of an image: an Exposure has its own")
        difference = Difference(image, psi, psf_input)
        difference.check()
    else:
        difference = read_difference(os.fspath(image), settings)
    exposure = difference.exposure
    record = Record((settings,), {"image": exposure.name}, progress=progress)
    source = difference.point_source(psf, settings.fwhm)
    job, unit = _job(difference, source, settings, record)
    sink = MemorySink(job.shape, wide=unit != 1)
    _measure(job, in_unit(sink, unit), settings, record)
    flux_err = np.sqrt(sink.variance).astype(np.float32)
    with np.errstate(invalid="ignore"):
        snr = sink.image / flux_err
    header = None if exposure.header is None else exposure.header.copy()
    product = _product(exposure, job, record, unit)
    record.issue(stacklevel=3)
    planes = dict(job.masks.planes)
    return SnrMaps(sink.image, flux_err, snr, sink.mask, planes, header, record, source, product, difference, settings)


@serial_blas()
def snr_file(
    image: str,
    options: SnrOptions,
    *,
    output: str,
    overwrite: bool = False,
    guarded: Sequence[str] = (),
    progress: Progress | None = None,
) -> Record:
    """Measure the flux of a point source at every pixel of an image in a file, and write the maps to another.

    Parameters
    ----------
    image
        The file.
    options
        How that is done.
    output, overwrite
        The file to write, and whether one that is there may be replaced.
    guarded
        Files that must not be overwritten, besides all that are read.
    progress
        As in `decorrelate`.

    Returns
    -------
    record
        How they were made.
    """
    start = time.perf_counter()
    read = [split_spec(name)[0] for name in (image, *options.files.values())]
    check_output(output, [*read, *guarded], overwrite)
    table = table_of(output, options)
    if table is not None:
        check_table_name(table)
        check_output(table, [output, *read, *guarded], overwrite)
    record = Record((options,), {"image": image}, progress=progress)
    with record.timed("read"):
        difference = read_difference(image, options)
        source = difference.point_source(options.psf, options.fwhm)
        job, unit = _job(difference, source, options, record)
        science = None if options.sci is None else load_exposure(options.sci)
    product = _product(difference.exposure, job, record, unit)
    with OutputFile.create(output, product, overwrite=overwrite, layout=MAPS) as file:
        usable = _measure(job, in_unit(file, unit), options, record)
        if table is not None:
            found = _peaks(difference, source, options, file.read, 1 << job.masks.planes[LOW_WEIGHT], science)
            noise = 2 * usable * expected_peaks(source.near(*_middle(source)), options.peaks or 0.0)
            assert isinstance(record.quality, MapFigures)
            record.quality = replace(record.quality, peaks=len(found), peaks_of_noise=noise)
            write_table(table, found, overwrite)
        record.begin("write")
        file.finish(None)
    record.timings["total"] = time.perf_counter() - start
    return record


def table_of(output: str, options: SnrOptions) -> str | None:
    """The table of peaks that goes with maps, if one is wanted."""
    if options.peaks is None or options.table is not None:
        return options.table
    return re.sub(r"(\.fits?)?(\.gz|\.fz)?$", "", default_output(output, "_peaks"), flags=re.IGNORECASE) + ".ecsv"


def _peaks(
    difference: Difference, source: PointSource, options: SnrOptions, read: Read, low: int, science: Exposure | None
) -> Table:
    """The table of peaks, given flux, mask and variance."""
    assert options.peaks is not None
    exposure = difference.exposure
    level = plane_level(exposure, options.unusable_planes)
    nearest = None
    if science is not None:
        threads, memory = _means(options)
        nearest = nearest_source(science, source, options.unusable_planes, threads, memory)
    found = find_peaks(read, exposure.shape, options.peaks, low)
    table = peak_table(found, Photometer(exposure, source, level, options.unusable_planes), exposure.header, nearest)
    table.meta = {"image": exposure.name, "psf": source.origin, "threshold": options.peaks, "decorr": __version__}
    return table


def _means(options: SnrOptions) -> tuple[int, int]:
    """Threads and bytes to work with."""
    return Options(threads=options.threads).workers, int(1e6 * options.max_memory) - LIBRARIES


def _job(difference: Difference, source: PointSource, options: SnrOptions, record: Record) -> tuple[MapJob, float]:
    """What is to be done, in a unit that the pixels are multiplied with."""
    exposure = difference.exposure
    for remark in difference.remarks(source):
        record.warn(remark)
    unit = working_unit((exposure,))
    if unit != 1:
        exposure = exposure.scaled(unit)
    assert exposure.variance_plane is not None
    masks = MaskUnion.of((exposure,), (LOW_WEIGHT,))
    unknown = [name for name in options.unusable_planes if name not in masks.planes]
    if options.unusable_planes != SnrOptions().unusable_planes and unknown:
        record.warn(f"{exposure.name}: has no mask plane {', '.join(unknown)}")
    job = MapJob(
        image=exposure.image_plane,
        fills=exposure.fills,
        variance=exposure.variance_plane,
        level=plane_level(exposure, options.unusable_planes),
        masks=masks,
        unusable=options.unusable_planes,
        source=source,
        least_weight=options.least_weight,
    )
    record.quality = MapFigures(source.origin, source.reach)
    return job, unit


def _product(exposure: Exposure, job: MapJob, record: Record, unit: float) -> Product:
    return Product(
        job.shape, exposure.header, job.masks.planes, exposure.xy0, True, record, _DONE, wide=unit != 1, later=_LATER
    )


def _measure(job: MapJob, sink: Sink, options: SnrOptions, record: Record) -> int:
    """Make the maps; how many of their pixels, about, are not flagged."""
    work = TileMaps(job)
    with record.timed("filter"):
        work_on_tiles(work, sink, *_means(options), record.steps("filter"))
    snr, step = work.sample()
    snr = snr[np.isfinite(snr)]
    if not len(snr):
        record.warn("not one pixel has enough of the PSF's weight on usable pixels: all of them are flagged")
        return 0
    level = median(snr)
    scatter = 1.4826 * median(np.abs(snr - np.float32(level)))
    # Neighbours have the correlation that the PSF gives them.
    independent = len(snr) * min(1.0, step**2 / _correlated_pixels(job.source))
    errors = 1.17 / independent**0.5, 1.25 / independent**0.5
    record.quality = MapFigures(
        job.source.origin,
        job.source.reach,
        Measured(scatter, 1.0, errors[0]),
        Measured(level, 0.0, errors[1]),
        len(snr),
    )
    if abs(level) > max(_LEVEL, 5 * errors[1]):
        record.warn(
            f"the median of the S/N is {level:.2f}, not 0: the image has a background, which shifts fluxes and S/N; "
            "subtract it"
        )
    if abs(scatter - 1) > max(_SCATTER, 5 * errors[0]):
        record.warn(
            f"the scatter of the S/N is {scatter:.3f}, not 1: the noise is not white, or the variance plane not its "
            "variance (decorr qa tells), or there are sources everywhere"
        )
    return len(snr) * step**2


def _middle(source: PointSource) -> tuple[float, float]:
    """The middle of the field."""
    return (source.shape[1] - 1) / 2, (source.shape[0] - 1) / 2


def _correlated_pixels(source: PointSource) -> float:
    """The number of pixels with the S/N of which that of one is correlated, Σ ρ²."""
    from diffim_decorr.fft import forward

    image = source.near(*_middle(source))
    side = 2 * len(image)
    power = np.abs(forward(np.pad(image, (0, side - len(image))))) ** 2
    twice = np.full(power.shape[1], 2.0)
    twice[[0, -1]] = 1
    return float(side**2 * (power**2 @ twice).sum() / (power @ twice).sum() ** 2)
