"""Flux of a point source, and its variance, at every pixel of a tile.

``Σ R D/V / Σ R²/V`` with ``R(u) = Σₙ cₙ(x₀ + u) (Bₙ ⊗ φ)(u)`` is made of correlations with images that do not depend on
the place: ``Σₙ (Bₙ ⊗ φ) ⋆ (cₙ D/V)``, and ``Σₙₘ (Bₙ ⊗ φ)(Bₘ ⊗ φ) ⋆ (cₙ cₘ / V)``. Over one tile few of them are enough.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diffim_decorr.detect.point_source import PointSource, combined
from diffim_decorr.engine.convolve import GROUPS, KERNEL_BYTES, TileConvolver
from diffim_decorr.engine.tiles import FieldTiling
from diffim_decorr.engine.window import Windows
from diffim_decorr.engine.workspace import Workspace
from diffim_decorr.geometry import Box, divided
from diffim_decorr.images.absent import Fill, absent
from diffim_decorr.images.planes import Plane
from diffim_decorr.images.union import MaskUnion
from diffim_decorr.kernels.bank import KernelBank
from diffim_decorr.kernels.coefficients import Coefficients, PolynomialCoefficients
from diffim_decorr.kernels.pairs import PairCoefficients, pair_images
from diffim_decorr.noise.plane_level import PlaneLevel

__all__ = ("LOW_WEIGHT", "MapJob", "TileMaps")

Array = NDArray[Any]

#: Mask plane of pixels at which too little of the PSF lies on pixels with a weight.
LOW_WEIGHT = "LOW_WEIGHT"

# What may be left out of R and of R², relative to their norms, and positions along each axis of a tile, besides those
# that functions of position have themselves, at which it is looked at what that is.
_ERROR, _ERROR_OF_SQUARE, _PLACES = 1e-5, 1e-5, 9
# Transforms in single precision have errors of 1e-7 of the largest value. With larger ones than these, in units of the
# noise and of the background's weight, tiles are transformed in double precision.
_BRIGHT, _HEAVY = 300.0, 30.0
# Share of the PSF's weight below which nothing is known of the flux.
_NOTHING = 1e-3
_ROWS = 128
# S/N of so many pixels, evenly spaced, are kept.
_SAMPLE = 1_000_000
# Images in memory at a time, more than there mostly are, and the part of them that is in double precision.
_IMAGES, _PRECISE = 8, 1.25
_ONE = PolynomialCoefficients.constant([1.0])


@dataclass(frozen=True, eq=False)
class MapJob:
    """An image in which sources are looked for, and what goes with it.

    Parameters
    ----------
    image
        The image, (ny, nx).
    fills
        Values that stand for no data, besides what is not finite.
    variance, level
        Its variance plane, and which of its values can be believed.
    masks
        Its mask; the plane `LOW_WEIGHT` among them.
    unusable
        Mask planes whose pixels have no weight.
    source
        What a point source becomes in it.
    least_weight
        Share of the PSF's weight on pixels that have some, below which a pixel is flagged.
    """

    image: Plane
    fills: tuple[Fill, ...]
    variance: Plane
    level: PlaneLevel
    masks: MaskUnion
    unusable: tuple[str, ...]
    source: PointSource
    least_weight: float

    @property
    def shape(self) -> tuple[int, int]:
        """(ny, nx)"""
        return self.image.shape


@dataclass(frozen=True, eq=False)
class _Terms:
    """What R is made of around a tile, in those rectangles in which ψ is the same functions of position.

    Parameters
    ----------
    areas
        The rectangles.
    images
        E (r, s, h, w) of ``R = Σ_rs c_r(pixel) a_s(source) E_rs``.
    of_pixel, of_source
        The functions c and a.
    """

    areas: list[Box]
    images: Array
    of_pixel: Coefficients
    of_source: Coefficients

    def squared(self, tile: Box) -> _Terms:
        """The same of R², for sources in a tile."""
        images, error = pair_images(self.images), _ERROR_OF_SQUARE
        images, of_pixel = _fewest(images, PairCoefficients.of(self.of_pixel), _around(self.areas), error)
        turned, of_source = _fewest(images.swapaxes(0, 1), PairCoefficients.of(self.of_source), tile, error)
        return _Terms(self.areas, turned.swapaxes(0, 1), of_pixel, of_source)


class TileMaps:
    """What is done to each tile; safe to call from several threads.

    With an image's pixels replaced by flux, mask and variance of the flux.
    """

    def __init__(self, job: MapJob) -> None:
        self._job, source = job, job.source
        self.tiling = FieldTiling(job.shape, [source.whole], [source.reach])
        self._tiling = self.tiling.tiling(0)
        self._workspace = Workspace()
        self._windows = Windows(self._tiling, job.shape, self._workspace)
        self._boxes = [box for box, _ in source.parts]
        self._unusable = job.masks.bits(job.unusable)
        self._low = job.masks.bits([LOW_WEIGHT])
        ny, nx = job.shape
        self._step = max(1, int(np.ceil((ny * nx / _SAMPLE) ** 0.5)))
        self._samples: dict[tuple[int, int], Array] = {}
        self._always: tuple[TileConvolver, TileConvolver] | None = None
        if source.is_constant:
            terms = next(self._terms(source.whole, source.whole))
            self._always = self._convolver(terms), self._convolver(terms.squared(source.whole))
        height, width = self._tiling.fft_shape
        self.bytes_each = int(_PRECISE * 4 * height * width * (4 + 2 * _IMAGES + GROUPS)) + KERNEL_BYTES
        self.bytes_kept = source.psf.basis.nbytes + 2 * sum(psi.basis.nbytes for _, psi in source.parts)

    def sample(self) -> tuple[Array, int]:
        """S/N of pixels that are not flagged, all over the image, and in how many rows and columns there is one."""
        found = [self._samples[key] for key in sorted(self._samples)]
        return np.concatenate(found) if found else np.zeros(0), self._step

    def held(self, row: list[tuple[Box, int | None]]) -> list[Any]:
        """As `Plane.held`, for all that is read for a row of tiles."""
        inside = self._windows.inside(row[0][0])
        return [plane.held(inside.y0, inside.y1) for plane in (self._job.image, self._job.variance, self._job.masks)]

    def __call__(self, tile: Box, part: int | None, image: Array, mask: Array, variance: Array) -> None:
        """Put flux, mask and the variance of the flux into arrays of the tile's shape."""
        inside, own = self._windows.inside(tile), self._windows.own(tile)
        weighted, pixels = self._windows.array("image", tile)
        weights, weight = self._windows.array("weights", tile)
        self._job.image.read_into(inside, pixels)
        bits = self._job.masks.set_bits(inside)
        self._weigh(inside, pixels, bits, weight)
        terms = list(self._terms(tile, inside))
        flux = self._correlated(tile, inside, terms, weighted, _BRIGHT / self._job.level.level**0.5)
        squares = terms if self._always else [own.squared(tile) for own in terms]
        information = self._correlated(tile, inside, squares, weights, _HEAVY / self._job.level.level, 1)
        mask[...] = 0 if bits is None else bits[own]
        share = self._share(tile, inside, weight)
        with np.errstate(divide="ignore", invalid="ignore"):
            variance[...] = 1 / information
            image[...] = flux / information
        if share is not None:
            nothing = ~(share > _NOTHING)
            image[nothing], variance[nothing] = np.nan, np.inf
            mask[share < self._job.least_weight] |= self._low
        some = (slice(-tile.y0 % self._step, None, self._step), slice(-tile.x0 % self._step, None, self._step))
        good = (mask[some] & (self._low | self._unusable)) == 0
        self._samples[tile.y0, tile.x0] = (image[some] / np.sqrt(variance[some]))[good]

    def _weigh(self, inside: Box, pixels: Array, bits: Array | None, weight: Array) -> None:
        """Make weights 1/V of variances, and weighted pixels of pixels; both are 0 where there is no information."""
        self._job.variance.read_into(inside, weight)
        usable = self._job.level.known(weight)
        missing = absent(pixels, self._job.fills)
        if missing is not None:
            usable &= ~missing
        if bits is not None and self._unusable:
            usable &= (bits & self._unusable) == 0
        weight[~usable] = np.inf
        np.divide(1, weight, out=weight)
        pixels[~usable] = 0
        np.multiply(pixels, weight, out=pixels)

    def _terms(self, tile: Box, inside: Box) -> Iterator[_Terms]:
        """What R is made of for sources in a tile, given what is seen of the image for it."""
        areas: dict[int, list[Box]] = {}
        for band in divided(inside, self._boxes):
            for piece, part in band:
                if part is not None:
                    areas.setdefault(part, []).append(piece)
        source = self._job.source
        psfs, of_source = _fewest(source.psf.basis, source.psf.coefficients, tile, _ERROR)
        for part, pieces in areas.items():
            psi = source.parts[part][1]
            images = combined(psi.basis, psfs, source.reach)
            yield _Terms(pieces, *_fewest(images, psi.coefficients, _around(pieces), _ERROR), of_source)

    def _convolver(self, terms: _Terms) -> TileConvolver:
        """What correlates with the images."""
        turned = np.ascontiguousarray(terms.images[..., ::-1, ::-1])
        return TileConvolver(KernelBank(turned, terms.of_source), self._tiling, self._workspace)

    def _correlated(
        self, tile: Box, inside: Box, terms: Sequence[_Terms], plane: Array, bright: float, which: int = 0
    ) -> Array:
        """The sum of all correlations with a plane (transform's shape), at the tile's pixels.

        From the value `bright` on double precision is needed; `which` is the number of what is always the same.
        """
        result = np.zeros(tile.shape)
        precise = float(np.abs(plane).max()) > bright
        for own in terms:
            convolver = self._convolver(own) if self._always is None else self._always[which]
            images = self._images(tile, inside, own, plane)
            result += convolver(convolver.local(tile), [i.astype(np.float64) for i in images] if precise else images)
        return result

    def _images(self, tile: Box, inside: Box, terms: _Terms, plane: Array) -> list[Array]:
        """A plane (transform's shape) times each function of the pixel, where these hold."""
        if terms.of_pixel.is_constant and terms.areas == [inside]:
            return [plane]
        window = tile.grown(self._tiling.halo)
        found = [self._windows.array(f"term{k}", tile)[0] for k in range(terms.of_pixel.count)]
        for image in found:
            image[...] = 0
        for area in terms.areas:
            for first in range(area.y0, area.y1, _ROWS):
                rows = Box(area.x0, first, area.x1, min(first + _ROWS, area.y1))
                index = rows.shifted(-window.x0, -window.y0).slices
                values = terms.of_pixel.grid(np.arange(rows.x0, rows.x1), np.arange(rows.y0, rows.y1))
                for image, factor in zip(found, values, strict=True):
                    np.multiply(plane[index], factor, out=image[index], casting="same_kind")
        return found

    def _share(self, tile: Box, inside: Box, weight: Array) -> Array | None:
        """Share of the PSF's weight on pixels that have some; None if all have."""
        if weight.all() and inside == tile.grown(self._tiling.halo):
            return None
        padded, pixels = self._windows.array("known", tile)
        pixels[...] = weight > 0
        x, y = _middle(tile)
        square = self._job.source.near(float(x[0]), float(y[0])) ** 2
        bank = KernelBank(np.ascontiguousarray(square[None, None, ::-1, ::-1]) / square.sum(), _ONE)
        convolver = TileConvolver(bank, self._tiling, self._workspace)
        return convolver(convolver.local(tile), [padded]).copy()


def _fewest(images: Array, coefficients: Coefficients, box: Box, error: float) -> tuple[Array, Coefficients]:
    """Images (n, …) times functions of position within a box, made of as few as it takes there.

    Parameters
    ----------
    images, coefficients
        What is summed.
    box
        The pixels at which it is.
    error
        Norm of what may be left out anywhere, relative to that of the whole.
    """
    if coefficients.is_constant:
        return np.tensordot(coefficients.at(*_middle(box))[:, 0], images, axes=1)[None], _ONE
    x, y = (
        coefficients.places(first, end, _PLACES, axis)
        for first, end, axis in ((box.x0, box.x1, "x"), (box.y0, box.y1, "y"))
    )
    amounts = coefficients.grid(x, y).reshape(len(images), -1).astype(float)
    # In an orthonormal basis of the images the sums at these places are few and small numbers.
    basis, triangle = np.linalg.qr(images.reshape(len(images), -1).T)
    sums = amounts.T @ triangle.T
    modes = np.linalg.svd(sums, full_matrices=False)[2]
    powers = (sums @ modes.T) ** 2
    left = powers[:, ::-1].cumsum(axis=1)[:, ::-1].max(axis=0)
    modes = modes[: max(1, int(np.count_nonzero(left > error**2 * powers.sum(axis=1).mean())))]
    # Their functions are of the order of 1.
    sizes = np.sqrt(powers[:, : len(modes)].mean(axis=0))[:, None]
    few = (sizes * modes @ basis.T).reshape(-1, *images.shape[1:])
    return few, coefficients.combined(modes / sizes @ triangle)


def _middle(box: Box) -> tuple[Array, Array]:
    """x and y (1,) of the middle of a box."""
    return np.array([(box.x0 + box.x1 - 1) / 2]), np.array([(box.y0 + box.y1 - 1) / 2])


def _around(boxes: Sequence[Box]) -> Box:
    """The least box with all of them in it."""
    return Box(
        min(box.x0 for box in boxes),
        min(box.y0 for box in boxes),
        max(box.x1 for box in boxes),
        max(box.y1 for box in boxes),
    )
