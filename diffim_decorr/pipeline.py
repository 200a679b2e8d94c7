"""The run: estimate noise, build ψ, convolve, flag, measure."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from diffim_decorr.convolution import FilterBank, TileConvolver, Tiling, Workspace, convolve
from diffim_decorr.decorrelation import Decorrelation, build_decorrelation, variation
from diffim_decorr.errors import InputError
from diffim_decorr.exposure import Exposure
from diffim_decorr.masks import EdgeLoss, MaskUnion
from diffim_decorr.matching import MatchingKernel
from diffim_decorr.noise import NoiseField, background_variance, local_noise, measured_variance
from diffim_decorr.options import Options
from diffim_decorr.planes import ConstantPlane, Plane
from diffim_decorr.qa import QualityFigures, measure_quality
from diffim_decorr.spatial import Box, SpatialKernel

__all__ = ("MemorySink", "Plan", "Result", "Sink", "apply", "decorrelate", "prepare")

Array = NDArray[Any]
Progress = Callable[[int, int], None]

# Transforms in single precision have errors of 1e-7 of the brightest pixel; tiles with brighter ones than this, in
# units of the noise (of the median for variances), are transformed in double precision.
_BRIGHT = 300.0
_BRIGHT_VARIANCE = 1e4
# A constant ψ is worth a warning where it is wrong by more than this, in units of the noise; so is correlation of the
# input noise, and correlation of what comes out.
_NOTABLE_VARIATION = 0.02
_NOTABLE_CORRELATION = 0.02


class Sink(Protocol):
    """Where the result goes, rows of pixels at a time, in any order and from several threads."""

    def write(self, y0: int, image: Array, mask: Array, variance: Array) -> None:
        """Take rows from y0 on: float32, int32, float32; the arrays may be overwritten."""

    def read(self, box: Box) -> tuple[Array, Array, Array]:
        """Image, mask and variance within a box that has been written."""


class MemorySink:
    """Keeps the result in memory."""

    def __init__(self, shape: tuple[int, int]) -> None:
        self.image = np.empty(shape, dtype=np.float32)
        self.mask = np.empty(shape, dtype=np.int32)
        self.variance = np.empty(shape, dtype=np.float32)

    def write(self, y0: int, image: Array, mask: Array, variance: Array) -> None:
        rows = slice(y0, y0 + len(image))
        self.image[rows], self.mask[rows], self.variance[rows] = image, mask, variance

    def read(self, box: Box) -> tuple[Array, Array, Array]:
        return self.image[box.slices], self.mask[box.slices], self.variance[box.slices]


@dataclass
class Plan:
    """All that is known before the first pixel is filtered.

    Parameters
    ----------
    science, template, difference
        The inputs.
    kernel
        The matching kernel, in the pixel coordinates of the arrays.
    options
        The knobs.
    noise
        Background variances.
    decorrelation
        ψ and its companions.
    masks
        The union of the inputs' masks.
    variances
        Variance planes of science and template image.
    psf
        The corrected PSF: an image (h, w), a `SpatialKernel` if it varies, None if the PSF is not known.
    timings
        Seconds by stage.
    warnings
        What the user should know.
    """

    science: Exposure
    template: Exposure
    difference: Exposure
    kernel: MatchingKernel
    options: Options
    noise: NoiseField
    decorrelation: Decorrelation
    masks: MaskUnion
    variances: tuple[Plane, Plane]
    psf: Array | SpatialKernel | None
    timings: dict[str, float] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)

    @property
    def shape(self) -> tuple[int, int]:
        return self.difference.shape


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
    plan = prepare(science, template, difference, kernel, Options(**options), psf=psf)
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
) -> Plan:
    """Check the inputs, estimate the noise and build ψ; see `decorrelate` for the parameters."""
    timings: dict[str, float] = {}
    warnings: list[str] = []
    matching = _placed(kernel, difference)
    _check_shapes(science, template, difference, matching, options)
    with _timed(timings, "noise"):
        noise, variances = _noise(science, template, options, warnings)
    inputs = matching.sides(options.convolved)
    ny, nx = difference.shape
    at = None if options.spatial else options.kernel_at or ((nx - 1) / 2, (ny - 1) / 2)
    with _timed(timings, "psi"):
        decorrelation = build_decorrelation(
            inputs,
            noise,
            difference.shape,
            at=at,
            tolerance=options.tolerance,
            node_spacing=options.node_spacing,
            max_gain=options.max_gain,
            threads=options.threads,
        )
        if options.spatial:
            if decorrelation.error > options.tolerance:
                warnings.append(
                    f"the decorrelation kernel is accurate to {decorrelation.error:.1e} of the noise only, not to the "
                    f"tolerance of {options.tolerance:.0e}: the matching kernel varies within few pixels"
                )
        else:
            varies = variation(inputs, noise, difference.shape, decorrelation)
            if varies > _NOTABLE_VARIATION:
                warnings.append(
                    f"the decorrelation kernel varies over the field by up to {varies:.1%} of the noise; "
                    "--spatial follows it"
                )
        if decorrelation.frequencies_limited:
            warnings.append(
                f"the gain was limited to {options.max_gain:g} "
                f"at {decorrelation.frequencies_limited:.2%} of frequencies"
            )
        corrected = _corrected_psf(science, template, matching, options, psf, decorrelation.psi)
    return Plan(
        science,
        template,
        difference,
        matching,
        options,
        noise,
        decorrelation,
        MaskUnion.of((difference, science, template)),
        variances,
        corrected,
        timings,
        warnings,
    )


def apply(plan: Plan, sink: Sink, progress: Progress | None = None) -> None:
    """Filter the difference, propagate variance and mask, tile by tile."""
    with _timed(plan.timings, "filter"):
        work = _TileWork(plan)
        tiles = list(work.tiling)
        rows = _Rows(work.tiling)
        lock = threading.Lock()
        done = 0

        def process(tile: Box) -> None:
            nonlocal done
            with lock:
                arrays = rows.arrays(tile)
            work(tile, *(array[:, tile.x0 : tile.x1] for array in arrays))
            with lock:
                complete = rows.complete(tile)
                done += 1
                if progress is not None:
                    progress(done, len(tiles))
            if complete:
                sink.write(tile.y0, *arrays)
                with lock:
                    rows.release(tile)

        with ThreadPoolExecutor(plan.options.threads) as pool:
            futures = [pool.submit(process, tile) for tile in tiles]
            try:
                for future in futures:
                    future.result()
            except BaseException:
                for future in futures:
                    future.cancel()
                raise


def measure(plan: Plan, sink: Sink) -> QualityFigures:
    """Measure the quality figures of a result, and note what its user should know of them."""
    with _timed(plan.timings, "qa"):
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
            ("science", _nearest(qa.rho_science)),
            ("template", _nearest(qa.rho_template)),
        )
        if rho > _NOTABLE_CORRELATION + floor
    }
    if qa.max_abs_rho_after > _NOTABLE_CORRELATION + floor and correlated:
        listed = " and ".join(f"{name} {rho:.2f}" for name, rho in correlated.items())
        plan.warnings.append(
            f"the noise of the inputs is itself correlated (neighbouring pixels: {listed}), so that "
            f"max_abs_rho {qa.max_abs_rho_after:.3f} is left; --noise measured takes this into account"
        )
    return qa


def _nearest(rho: Array) -> float:
    centre = rho.shape[0] // 2
    return float(max(rho[centre, centre + 1], rho[centre + 1, centre]))


class _Rows:
    """Pixels of rows of tiles, kept until all tiles of a row are done; not safe without a lock."""

    def __init__(self, tiling: Tiling) -> None:
        self._width = tiling.shape[1]
        self._left = {y0: len(tiling.columns) for y0, _ in tiling.rows}
        self._arrays: dict[int, tuple[Array, Array, Array]] = {}
        self._free: list[tuple[Array, Array, Array]] = []

    def arrays(self, tile: Box) -> tuple[Array, Array, Array]:
        """Image, mask and variance of a tile's row."""
        if tile.y0 not in self._arrays:
            shape = (tile.shape[0], self._width)
            fitting = next((k for k, free in enumerate(self._free) if free[0].shape == shape), None)
            if fitting is not None:
                self._arrays[tile.y0] = self._free.pop(fitting)
            else:
                image, variance = (np.empty(shape, dtype=np.float32) for _ in range(2))
                self._arrays[tile.y0] = (image, np.empty(shape, dtype=np.int32), variance)
        return self._arrays[tile.y0]

    def complete(self, tile: Box) -> bool:
        """Note that a tile is done; whether its row is."""
        self._left[tile.y0] -= 1
        return self._left[tile.y0] == 0

    def release(self, tile: Box) -> None:
        """Let a row's arrays be used again."""
        self._free.append(self._arrays.pop(tile.y0))


class _TileWork:
    """What is done to each tile; safe to call from several threads."""

    def __init__(self, plan: Plan) -> None:
        psi, variance, footprint = (
            plan.decorrelation.psi,
            plan.decorrelation.variance,
            plan.decorrelation.footprint,
        )
        self._plan = plan
        self.tiling = Tiling(plan.shape, max(max(psi.shape) // 2, variance.reach))
        self._workspace = Workspace()
        self._filter = TileConvolver(FilterBank.of(psi), self.tiling, self._workspace)
        self._propagate = TileConvolver(variance, self.tiling, self._workspace)
        self._spread = TileConvolver(FilterBank.of(footprint), self.tiling, self._workspace)
        self._edge_loss = EdgeLoss(footprint, plan.shape)
        self._gains = variance.bases.sum(axis=(2, 3))
        self._levels = (plan.noise.science, plan.noise.template)
        self._noise = float(np.sqrt(sum(self._levels)))
        self._bits = {name: plan.masks.bits([name]) for name in plan.masks.planes}
        self._replace_bits = plan.masks.bits(plan.options.replace_planes)
        for convolver in (self._filter, self._propagate, self._spread):
            convolver.prepare()

    def __call__(self, tile: Box, image: Array, mask: Array, variance: Array) -> None:
        """Put the result's pixels into arrays of the tile's shape."""
        plan = self._plan
        window = tile.grown(self.tiling.halo)
        inside = window.clipped(plan.shape)
        own = tile.shifted(-inside.x0, -inside.y0).slices
        padded, pixels = self._buffer("image", window, inside)
        plan.difference.image_plane.read_into(inside, pixels)
        missing = ~np.isfinite(pixels)
        if plan.difference.missing_value is not None:
            missing |= pixels == np.float32(plan.difference.missing_value)
        bits = plan.masks.read(inside)
        replaced = missing | ((bits & self._replace_bits) != 0)
        hole = missing[own]
        holes = bool(hole.any())
        lost = pixels[own][hole] if holes else None
        spoiled = bool(replaced.any())
        if spoiled:
            pixels[replaced] = 0
        image[...] = self._filter(tile, self._precise([padded], self._noise * _BRIGHT))
        variance[...] = self._variance(tile, window, inside, replaced if spoiled else None)
        mask[...] = bits[own]
        self._flag(tile, window, inside, mask, replaced if spoiled else None)
        if lost is not None:
            image[hole] = np.where(np.isfinite(lost), np.nan, lost)
            variance[hole] = np.nan
            mask[hole] |= self._bits["NO_DATA"]

    def _buffer(self, name: str, window: Box, inside: Box) -> tuple[Array, Array]:
        """An array of the transforms' shape for a tile's window, zero outside the image, and the part inside."""
        padded = self._workspace.array(name, self.tiling.fft_shape, np.float32)
        ny, nx = window.shape
        if inside == window:
            padded[ny:] = 0
            padded[:, nx:] = 0
        else:
            padded[...] = 0
        return padded, padded[inside.shifted(-window.x0, -window.y0).slices]

    def _precise(self, images: list[Array], bright: float) -> list[Array]:
        """The images, in double precision where one of them has pixels that single precision is not enough for."""
        if all(-bright <= float(image.min()) and float(image.max()) <= bright for image in images):
            return images
        return [image.astype(np.float64) for image in images]

    def _variance(self, tile: Box, window: Box, inside: Box, replaced: Array | None) -> Array:
        if self._plan.options.variance == "estimate":
            return self._estimated_variance(tile)
        padded, holes = [], []
        own = tile.shifted(-inside.x0, -inside.y0).slices
        for k, (plane, level) in enumerate(zip(self._plan.variances, self._levels, strict=True)):
            array, pixels = self._buffer(f"variance{k}", window, inside)
            plane.read_into(inside, pixels)
            hole = _fill_unknown(pixels, level)
            if hole is not None:
                holes.append(hole[own])
            if replaced is not None:
                pixels[replaced] = 0
            padded.append(array)
        result = self._propagate(tile, self._precise(padded, _BRIGHT_VARIANCE * max(self._levels)))
        # Rounding may leave tiny negative values where all pixels around are replaced.
        np.maximum(result, 0, out=result)
        for hole in holes:
            result[hole] = np.nan
        return result

    def _estimated_variance(self, tile: Box) -> Array:
        x, y = np.arange(tile.x0, tile.x1), np.arange(tile.y0, tile.y1)
        gains = np.tensordot(self._gains, self._propagate.bank.coefficients.grid(x, y), axes=1)
        result: Array = np.zeros(tile.shape)
        for plane, level, gain in zip(self._plan.variances, self._levels, gains, strict=True):
            variance = plane.read(tile).astype(np.float64)
            hole = _fill_unknown(variance, level)
            if hole is not None:
                variance[hole] = np.nan
            result += gain * variance
        return result

    def _flag(self, tile: Box, window: Box, inside: Box, mask: Array, replaced: Array | None) -> None:
        limit = self._plan.options.bad_fraction
        outside = self._edge_loss(tile)
        edge = None if outside is None else outside > limit
        if edge is not None:
            mask[edge] |= self._bits["EDGE"]
        if replaced is not None:
            padded, pixels = self._buffer("replaced", window, inside)
            pixels[...] = replaced
            fraction = self._spread(tile, [padded])
            bad = fraction > limit
            if outside is not None and edge is not None:
                bad |= (fraction + outside > limit) & ~edge
            mask[bad] |= self._bits["DECORR_BAD"]


def _fill_unknown(variance: Array, level: float) -> Array | None:
    """Put the background's variance where there is none; tell where it is not finite, if anywhere."""
    # Comparisons with NaN are false, so that one pass finds all that is usual.
    known = (variance > 0) & (variance < np.inf)
    if known.all():
        return None
    hole = ~np.isfinite(variance)
    # An unknown variance is most likely that of the background.
    variance[~known] = level
    return hole if hole.any() else None


def _placed(kernel: MatchingKernel | SpatialKernel | ArrayLike, difference: Exposure) -> MatchingKernel:
    """The matching kernel in the pixel coordinates of the arrays."""
    if isinstance(kernel, SpatialKernel):
        kernel = MatchingKernel(kernel)
    elif not isinstance(kernel, MatchingKernel):
        from diffim_decorr.io.kernels import kernel_from_array

        kernel = kernel_from_array(np.asarray(kernel))
    if not kernel.parent_frame or difference.xy0 == (0, 0):
        return kernel
    moved = kernel.kernel.shifted(-difference.xy0[0], -difference.xy0[1])
    return MatchingKernel(moved, kernel.format, kernel.convolved, kernel.normalized, False, kernel.name)


def _check_shapes(
    science: Exposure, template: Exposure, difference: Exposure, kernel: MatchingKernel, options: Options
) -> None:
    ny, nx = difference.shape
    for exposure in (science, template):
        if exposure.shape != difference.shape:
            mine, its = (f"{e.shape[1]} x {e.shape[0]}" for e in (exposure, difference))
            raise InputError(f"{exposure.name}: has {mine} pixels, but the difference {difference.name} has {its}")
        if (0, 0) not in (exposure.xy0, difference.xy0) and exposure.xy0 != difference.xy0:
            raise InputError(
                f"{exposure.name}: begins at {exposure.xy0} of its parent frame, but the difference "
                f"{difference.name} at {difference.xy0}"
            )
    height, width = kernel.kernel.shape
    if height > ny or width > nx:
        raise InputError(f"{kernel.name}: the kernel has {width} x {height} pixels, more than the image's {nx} x {ny}")
    if options.kernel_at is not None:
        x, y = options.kernel_at
        if not (-0.5 <= x < nx - 0.5 and -0.5 <= y < ny - 0.5):
            raise InputError(f"kernel_at {x:g} {y:g} lies outside the image of {nx} x {ny} pixels")


def _noise(
    science: Exposure, template: Exposure, options: Options, warnings: list[str]
) -> tuple[NoiseField, tuple[Plane, Plane]]:
    means, planes = [], []
    for exposure, given, option in ((science, options.svar, "--svar"), (template, options.tvar, "--tvar")):
        plane = exposure.variance_plane
        if given is not None:
            mean = given
        elif plane is not None:
            mean = background_variance(exposure, options.bad_planes)
        else:
            mean = measured_variance(exposure, options.bad_planes)
            warnings.append(
                f"{exposure.name}: has no variance plane; a constant variance of {mean:.6g} was measured from its "
                f"background ({option} or a variance, noise or weight file would replace it)"
            )
        means.append(mean)
        planes.append(ConstantPlane(mean, exposure.shape) if plane is None else plane)
    log_ratio = None
    if options.spatial and options.svar is None and options.tvar is None:
        log_ratio = local_noise(science, template, (means[0], means[1]), options.bad_planes)
    return NoiseField(means[0], means[1], log_ratio), (planes[0], planes[1])


def _corrected_psf(
    science: Exposure,
    template: Exposure,
    matching: MatchingKernel,
    options: Options,
    given: ArrayLike | SpatialKernel | None,
    psi: SpatialKernel,
) -> Array | SpatialKernel | None:
    """PSF of the image that was not convolved, convolved with ψ; as large as both together, with its sum kept."""
    sides = {options.convolved or side or "template" for side in matching.convolved}
    if given is None and len(sides) == 1:
        given = template.psf if sides == {"science"} else science.psf
    if given is None:
        return None
    psf = given if isinstance(given, SpatialKernel) else SpatialKernel.constant(given)
    if not psf.is_constant and not psi.is_constant:
        raise InputError(
            "a PSF that varies needs a constant decorrelation kernel; give its image at the centre instead"
        )
    (height, width), margin = psf.shape, psi.shape[0] // 2
    if psf.is_constant:
        image, varying = psf.at(0.0, 0.0), psi
    else:
        image, varying = psi.at(0.0, 0.0), psf
        height, width, margin = (*psi.shape, max(psf.shape) // 2)
    padded = np.zeros((height + 2 * margin, width + 2 * margin))
    padded[margin : margin + height, margin : margin + width] = image
    basis = np.array([convolve(padded, SpatialKernel.constant(mode)) for mode in varying.basis])
    corrected = SpatialKernel(basis, varying.coefficients)
    return corrected.at(0.0, 0.0) if corrected.is_constant else corrected


@contextmanager
def _timed(timings: dict[str, float], stage: str) -> Iterator[None]:
    start = time.perf_counter()
    yield
    timings[stage] = timings.get(stage, 0.0) + time.perf_counter() - start
