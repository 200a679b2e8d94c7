"""Convolving companion images of a difference with the ψ that a run made.

The image goes the way of a difference that consists of this one image: the same tiles, the same precision, the same
treatment of missing pixels. Thus a run's own difference becomes the run's own result, bit for bit.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from diffim_decorr.contributions import Contribution
from diffim_decorr.convolution import FilterBank, composed
from diffim_decorr.decorrelation import Decorrelation, Recipe
from diffim_decorr.errors import InputError
from diffim_decorr.exposure import Exposure
from diffim_decorr.filtering import MemorySink, Progress, apply
from diffim_decorr.masks import REPLACED_PLANES, MaskUnion
from diffim_decorr.matching import MatchingKernel
from diffim_decorr.noise import NoiseField, background_variance
from diffim_decorr.options import Options, available_threads
from diffim_decorr.plan import Plan, PlaneNoise
from diffim_decorr.planes import ConstantPlane
from diffim_decorr.spatial import Box, GridCoefficients, PiecewiseCoefficients, SpatialKernel

__all__ = ("DecorrelationKernel", "apply_psi", "apply_psi_at", "companion_plan")

Array = NDArray[Any]

# What modes of ψ² and |ψ| may leave out, relative to the whole; and how many samples are enough to find the modes.
_MODES = 1e-3
_MOST_SAMPLES = 400
_BATCH = 1 << 22  # pixels


@dataclass(frozen=True)
class DecorrelationKernel:
    """ψ as a run stored it, with what it takes to do the same to another image.

    Parameters
    ----------
    kernel
        ψ.
    shape
        Of the image that it was made for, (ny, nx).
    variance
        Background variance of that image, which says what pixels are bright; 0 if it is not known.
    margin
        Margin of the tiles in the run.
    replace_planes
        Mask planes that were replaced.
    bad_fraction
        Share of Σ|ψ| on replaced pixels, or outside the image, above which a pixel was flagged.
    xy0
        Position of the first pixel in the parent frame of an LSST exposure.
    name
        Where it was read from, for messages.
    """

    kernel: SpatialKernel
    shape: tuple[int, int]
    variance: float = 0.0
    margin: int = 0
    replace_planes: tuple[str, ...] = REPLACED_PLANES
    bad_fraction: float = 0.01
    xy0: tuple[int, int] = (0, 0)
    name: str = "psi"

    @property
    def half_width(self) -> int:
        return self.kernel.shape[0] // 2

    @property
    def is_constant(self) -> bool:
        return self.kernel.is_constant

    def at(self, x: float, y: float) -> Array:
        """ψ at a position of the field, an image (h, h).

        Raises
        ------
        InputError
            If the position lies outside the field, or where the run had no matching kernel.
        """
        ny, nx = self.shape
        if not (-0.5 <= x < nx - 0.5 and -0.5 <= y < ny - 0.5):
            raise InputError(f"{self.name}: position {x:g} {y:g} lies outside the field of {nx} x {ny} pixels")
        psi = self.kernel.at(x, y)
        if not psi.any():
            raise InputError(f"{self.name}: there was no matching kernel at position {x:g} {y:g}")
        return psi


def apply_psi(
    exposure: Exposure,
    psi: DecorrelationKernel,
    *,
    replace_planes: Sequence[str] | None = None,
    bad_fraction: float | None = None,
    threads: int | None = None,
    progress: Progress | None = None,
) -> Exposure:
    """Convolve an image with the decorrelation kernel of a run.

    Parameters
    ----------
    exposure
        The image (ny, nx), with its variance and mask planes where it has them. It is not modified.
    psi
        The kernel, from `read_psi`.
    replace_planes, bad_fraction
        As in `decorrelate`; what the run had by default.
    threads
        Number of threads, all cores by default.
    progress
        Called with the number of tiles done and the number of all.

    Returns
    -------
    Exposure
        Image, mask, variance ``ψ² ⊗ V`` (the image's noise taken for white) if V is known, and PSF ``φ ⊗ ψ`` likewise.

    Raises
    ------
    InputError
        If the image has not the size of the field that ψ varies over.

    References
    ----------
    Kovacs, DMTN-179, section 5 (variance).

    Examples
    --------
    >>> import numpy as np
    >>> from diffim_decorr import Exposure, SpatialKernel
    >>> smooth = SpatialKernel.constant(np.full((3, 3), 1 / 9))
    >>> image = np.zeros((20, 30), "f4")
    >>> image[10, 10] = 9
    >>> result = apply_psi(Exposure(image, variance=1.0), DecorrelationKernel(smooth, (20, 30)))
    >>> round(float(result.image[9, 11]), 5), round(float(result.variance[9, 11]), 5)
    (1.0, 0.11111)
    """
    plan = companion_plan(exposure, psi, replace_planes, bad_fraction, threads)
    sink = MemorySink(plan.shape)
    apply(plan, sink, progress)
    return Exposure(
        sink.image,
        None if exposure.variance_plane is None else sink.variance,
        sink.mask,
        mask_planes=plan.masks.planes,
        header=None if exposure.header is None else exposure.header.copy(),
        psf=plan.psf,
        xy0=exposure.xy0,
        name=f"{exposure.name} convolved with {psi.name}",
    )


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


def companion_plan(
    exposure: Exposure,
    psi: DecorrelationKernel,
    replace_planes: Sequence[str] | None = None,
    bad_fraction: float | None = None,
    threads: int | None = None,
) -> Plan:
    """The plan of a difference that is this one image, its ψ given; see `apply_psi` for the parameters."""
    if not psi.is_constant:
        _check_field(exposure, psi)
    known = exposure.variance_plane is not None
    options = Options(
        spatial=not psi.is_constant,
        replace_planes=tuple(psi.replace_planes if replace_planes is None else replace_planes),
        bad_fraction=psi.bad_fraction if bad_fraction is None else bad_fraction,
        variance="full" if known else "estimate",
        threads=available_threads() if threads is None else threads,
    )
    if exposure.variance_plane is not None:
        plane = PlaneNoise(exposure.variance_plane, 1.0, background_variance(exposure, options.bad_planes))
    else:  # what comes of it is of no interest
        plane = PlaneNoise(ConstantPlane(1.0, exposure.shape), 1.0, 1.0)
    squares = _mapped(psi.kernel, np.square) if known else SpatialKernel.identity()
    # Tiles have the margin of the run's, however little this variance kernel needs.
    padding = max(psi.margin - squares.shape[0] // 2, 0)
    bases = np.pad(squares.basis, ((0, 0), (padding, padding), (padding, padding)))[None]
    point_source = () if exposure.psf is None else (_spatial(exposure.psf),)
    return Plan(
        exposure,
        exposure,
        exposure,
        MatchingKernel(psi.kernel, format="psi", name=psi.name),
        options,
        (Contribution("science", exposure, name=exposure.name),),
        [SpatialKernel.identity()],
        [plane],
        NoiseField((psi.variance,), ("science",), None, (None,)),
        Recipe(),
        Decorrelation(
            psi.kernel,
            FilterBank(bases, squares.coefficients),
            _mapped(psi.kernel, _shares),
            energy_lost=0.0,
            frequencies_limited=0.0,
        ),
        MaskUnion.of((exposure,)),
        point_source,
    )


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


def _spatial(psf: Array | SpatialKernel) -> SpatialKernel:
    return psf if isinstance(psf, SpatialKernel) else SpatialKernel.constant(psf)


def _shares(images: Array) -> Array:
    """Absolute values of images (k, p), divided by their sums."""
    absolute = np.abs(images)
    shares: Array = absolute / absolute.sum(axis=1, keepdims=True)
    return shares


def _mapped(kernel: SpatialKernel, function: Callable[[Array], Array]) -> SpatialKernel:
    """A function of a kernel, such as its square: computed at the kernel's knots, compressed, interpolated likewise.

    Parameters
    ----------
    kernel
        A constant kernel, or one whose coefficients are on grids.
    function
        Of images (k, p), returning as many of as many pixels.

    Returns
    -------
    SpatialKernel
        Its sum at the knots is exact, the rms error of its pixels a thousandth of their norm.
    """
    flat = kernel.basis.reshape(len(kernel.basis), -1)
    if kernel.is_constant:
        image = function(kernel.coefficients.at(np.zeros(1), np.zeros(1)).T @ flat)[0]
        return SpatialKernel.constant(image.reshape(kernel.shape))
    pieces = _grids(kernel)
    knots = np.concatenate([grid.values.reshape(len(flat), -1).T for _, grid in pieces])
    some = knots[np.unique(np.linspace(0, len(knots) - 1, min(len(knots), _MOST_SAMPLES)).astype(int))]
    samples = function(some @ flat)
    # The eigenvectors of the much smaller matrix of their products, instead of a singular value decomposition.
    powers, vectors = np.linalg.eigh(samples @ samples.T)
    left_out = np.sqrt(np.maximum(powers, 0).cumsum()[::-1] / powers.sum())
    modes = vectors[:, ::-1].T[: max(1, int(np.count_nonzero(left_out > _MODES)))] @ samples
    modes /= np.linalg.norm(modes, axis=1)[:, None]
    # All that is wanted of the many knots is good to single precision.
    flat, modes, knots = (array.astype(np.float32) for array in (flat, modes, knots))
    sums = modes.sum(axis=1)
    values = np.empty((len(modes), len(knots)), dtype=np.float32)
    step = max(1, _BATCH // flat.shape[1])
    for start in range(0, len(knots), step):
        batch = slice(start, start + step)
        images = function(knots[batch] @ flat)
        part = images @ modes.T
        values[:, batch] = (part * (images.sum(axis=1) / (part @ sums))[:, None]).T
    mapped: list[tuple[Box, GridCoefficients]] = []
    for box, grid in pieces:
        count = len(grid.x) * len(grid.y)
        own = values[:, :count].reshape(-1, len(grid.y), len(grid.x))
        mapped.append((box, GridCoefficients(own, grid.x, grid.y, grid.order)))
        values = values[:, count:]
    whole = not kernel.boxes
    coefficients = mapped[0][1] if whole else PiecewiseCoefficients(tuple(mapped))
    return SpatialKernel(modes.astype(float).reshape(-1, *kernel.shape), coefficients)


def _grids(kernel: SpatialKernel) -> list[tuple[Box, GridCoefficients]]:
    """The parts of the field, and the coefficients in each; one part of no extent if there is only one."""
    coefficients = kernel.coefficients
    pieces = (
        coefficients.pieces if isinstance(coefficients, PiecewiseCoefficients) else ((Box(0, 0, 0, 0), coefficients),)
    )
    grids = [(box, piece) for box, piece in pieces if isinstance(piece, GridCoefficients)]
    if len(grids) < len(pieces):
        raise TypeError("the coefficients of a decorrelation kernel are constant or on a grid")
    return grids
