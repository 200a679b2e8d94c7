"""Windows spread over the field, and their source-free pixels."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from diffim_decorr.errors import InputError
from diffim_decorr.geometry import Box
from diffim_decorr.images.absent import tie_step
from diffim_decorr.images.exposure import Exposure
from diffim_decorr.images.planes import Plane
from diffim_decorr.noise.chosen import (
    ChosenPixels,
    covariance_of,
    flattened,
    products_of,
    residuals_of,
    robust_scatter,
    valid_pixels,
)
from diffim_decorr.noise.correlation import correlation_function
from diffim_decorr.noise.likelihood import Likelihood
from diffim_decorr.noise.measured import MeasuredNoise
from diffim_decorr.noise.plane_level import PlaneLevel
from diffim_decorr.noise.robust import is_coarse, level_of, spread_ties
from diffim_decorr.noise.sources import mask_sources, smoothed, typical
from diffim_decorr.options import Side

__all__ = ("ENOUGH", "MOST_WINDOWS", "WINDOWS_AT_ONCE", "CrowdedError", "SourceFreeWindows", "sample_boxes")

Array = NDArray[Any]

# A million pixels tell correlations to 1e-3; more are not looked at where the image has more.
ENOUGH = 1_000_000
WINDOWS_AT_ONCE = 18
MOST_WINDOWS = 90
_WINDOW = 256
_FEWEST = 3000
# Faint extended sources show when smoothed more than point sources need. So low a threshold also takes the peaks of
# the noise, without which it would seem to have too little power on large scales: for an image's own noise those of the
# other side tell where sources are, and the image itself only from the second threshold on. For the difference, which
# has the noise of all of them, none of them tells before that.
_WIDE_SMOOTHING, _WIDE_THRESHOLD, _OWN_THRESHOLD = 4.0, 2.5, 4.0


def sample_boxes(shape: tuple[int, int]) -> list[Box]:
    """Windows in an order in which any number of them, from the first on, is spread over the field."""
    rows, columns = -(-shape[0] // _WINDOW), -(-shape[1] // _WINDOW)
    height, width = shape[0] // rows, shape[1] // columns
    order = np.argsort((np.arange(rows * columns) * 0.6180339887498949) % 1.0, kind="stable")
    boxes = []
    for index in order:
        row, column = divmod(int(index), columns)
        y, x = row * shape[0] // rows, column * shape[1] // columns
        boxes.append(Box(x, y, x + width, y + height))
    return boxes


class _Loaded(NamedTuple):
    """What shows where sources are in a window.

    Parameters
    ----------
    valid
        Pixels that have data and are not masked.
    smooth, scatters
        Each image smoothed on two scales, and how much that scatters.
    """

    valid: Array
    smooth: Sequence[tuple[Array, Array]]
    scatters: Sequence[tuple[float, float]]


class CrowdedError(InputError):
    """An image has too few pixels between its sources to measure its noise.

    Parameters
    ----------
    cause, remedy
        The halves of the message.
    pixels
        Source-free pixels.
    """

    def __init__(self, cause: str, pixels: int, remedy: str) -> None:
        super().__init__(f"{cause}; {remedy}")
        self.cause = cause
        self.pixels = pixels


class SourceFreeWindows(ChosenPixels):
    """Windows spread over the field, in which none of several images shows a source.

    There is a mask for the difference, and one for each image's own noise.

    Parameters
    ----------
    exposures
        Images of one shape, the first two of which are science image and template.
    bad_planes
        Mask planes that are left out.
    threads
        Number of threads.
    sides
        The side of each image: those of one side may be made of each other, and have noise in common. Without, all
        are of different ones.

    Raises
    ------
    CrowdedError
        If there are too few source-free pixels.
    """

    def __init__(
        self,
        exposures: Sequence[Exposure],
        bad_planes: Sequence[str],
        threads: int,
        sides: Sequence[Side] | None = None,
    ) -> None:
        self._exposures = exposures
        self._sides = list(range(len(exposures))) if sides is None else sides
        self._bad_planes = bad_planes
        super().__init__([], [], threads)
        self._own: list[list[Array]] = []
        # Pixels of each image in each window, until its noise is measured.
        self._read: list[list[Array]] = [[] for _ in exposures]
        self._select()
        self._check()
        self.coarse = self._is_coarse()

    def _select(self) -> None:
        boxes = sample_boxes(self._exposures[0].shape)[:MOST_WINDOWS]
        loaded: list[_Loaded] = []
        with ThreadPoolExecutor(self.threads) as pool:
            for start in range(0, len(boxes), WINDOWS_AT_ONCE):
                batch = boxes[start : start + WINDOWS_AT_ONCE]
                for window, images in pool.map(self._load, batch):
                    loaded.append(window)
                    for kept, image in zip(self._read, images, strict=True):
                        kept.append(image)
                self.boxes += batch
                # What stands out is judged by the scatter of the whole sample: a window may be full of sources.
                self.use, self._own = [], []
                narrow, wide = (
                    [typical([window.scatters[k][j] for window in loaded]) for k in range(len(self._exposures))]
                    for j in (0, 1)
                )
                for window in loaded:
                    use = window.valid.copy()
                    above = []
                    for smooth, *sigmas in zip(window.smooth, narrow, wide, strict=True):
                        mask_sources(use, smooth[0], sigmas[0])
                        above.append(np.abs(smooth[1]) / sigmas[1] if sigmas[1] > 0 else 0 * smooth[1])
                    self.use.append(use & _below(above, range(len(above))))
                    self._own.append(
                        [
                            use & _below(above, [k for k, other in enumerate(self._sides) if other == side])
                            for side in self._sides
                        ]
                    )
                if self.pixels >= ENOUGH:
                    return

    def _check(self) -> None:
        """Refuse too few pixels."""
        if self.pixels < _FEWEST:
            names = " and ".join(exposure.name for exposure in self._exposures[:2])
            cause = f"{names}: only {self.pixels} source-free pixels, too few to measure the noise correlation from"
            raise CrowdedError(cause, self.pixels, "use --noise white")

    def leave_out(self, sources: Likelihood) -> None:
        """Leave out for the difference what shows in an image whose noise has nothing to do with the difference's.

        Raises
        ------
        CrowdedError
            If too few pixels are left.
        """

        def seen(box: Box, use: Array) -> tuple[tuple[Array, Array] | None, tuple[float, float]]:
            valid, images = valid_pixels(box, self._exposures[:2], self._bad_planes)
            image = sources.image(box, *flattened(valid, images))
            if image is None or not use.any():
                return None, (np.nan, np.nan)
            return _smoothed(np.where(valid, image - level_of(image[use]), 0), use)

        with ThreadPoolExecutor(self.threads) as pool:
            pairs, scatters = zip(*pool.map(seen, self.boxes, self.use), strict=True)
            narrow, wide = (typical([scatter[j] for scatter in scatters]) for j in (0, 1))
            for use, pair in zip(self.use, pairs, strict=True):
                if pair is not None and wide > 0:
                    mask_sources(use, pair[0], narrow)
                    use &= np.abs(pair[1]) <= _WIDE_THRESHOLD * wide
        self._check()

    def _load(self, box: Box) -> tuple[_Loaded, list[Array]]:
        """What shows where sources are in a window, and the pixels of each image."""
        valid, images = valid_pixels(box, self._exposures, self._bad_planes)
        scales, scatters = zip(*(_smoothed(flat, valid) for flat in flattened(valid, images)), strict=True)
        return _Loaded(valid, scales, scatters), images

    def measure(
        self, exposure: Exposure, level: PlaneLevel | None = None, structure: Plane | None = None
    ) -> MeasuredNoise:
        """Variance and correlation function of the background noise of one of the images.

        Parameters
        ----------
        exposure
            The image.
        level
            Background value of its variance plane. With it the variance measured is the one that the noise has where
            the plane is at this level: the plane tells where there is more of it.
        structure
            By what the variance is larger or smaller at each pixel, besides.

        Raises
        ------
        InputError
            If the image has no noise; a `CrowdedError` if that cannot be told from structure.
        """

        number = self._number(exposure)
        step = 0.0 if self.coarse else self._step(exposure)
        images, self._read[number] = self._read[number], []

        def told(k: int) -> tuple[tuple[Array, Array], Array]:
            box, image = self.boxes[k], images[k] if images else exposure.image_plane.read(self.boxes[k])
            root = _root(exposure, level, structure, box)
            pixels = _scaled(image, root)
            products = products_of(pixels, self._own[k][number])
            if step:
                spread = spread_ties(image.ravel(), step).reshape(image.shape)
                pixels = _scaled(spread, root)
            return products, residuals_of(pixels, self._own[k][number])

        with ThreadPoolExecutor(self.threads) as pool:
            parts = list(pool.map(told, range(len(self.boxes))))
        covariance = covariance_of([products for products, _ in parts])
        correlation, variance, plateau = correlation_function(covariance, self.pixels)
        # What is left of faint sources makes tails. They are few in the correlation, but count much in the variance,
        # which is therefore taken from the middle of the distribution.
        # Of integers the median deviation is an integer as well, and could be wrong by 7 % for a scatter of 10.
        total = self.scatter_of([residuals for _, residuals in parts]) ** 2 - step**2 / 12
        if not total > 0:
            raise InputError(f"{exposure.name}: its background has no noise to measure; use --noise white")
        robust = total - plateau * variance
        if not (variance > 0 and robust > 0):
            cause = (
                f"{exposure.name}: its noise cannot be told from structure, whose correlation at large lags is as large"
            )
            remedy = "mask extended sources, subtract the background, or use --noise white"
            raise CrowdedError(cause, self.pixels, remedy)
        return MeasuredNoise(robust, correlation, plateau, self.pixels)

    def _number(self, exposure: Exposure) -> int:
        """Which of the images it is; its variances may be others."""
        return next(k for k, other in enumerate(self._exposures) if other.image_plane is exposure.image_plane)

    def scaled(
        self, exposure: Exposure, level: PlaneLevel | None = None, most: int = MOST_WINDOWS
    ) -> Iterator[tuple[Box, Array, Array]]:
        """Pixels of one of the images in some of the windows, as `measure` takes them, and which of them it uses."""
        number = self._number(exposure)
        for k, box in enumerate(self.boxes[:most]):
            pixels = _scaled(exposure.image_plane.read(box), _root(exposure, level, None, box))
            use = self._own[k][number] & np.isfinite(pixels)
            if use.any():
                yield box, np.where(use, pixels - np.float32(level_of(pixels[use])), np.float32(0)), use

    def _step(self, exposure: Exposure) -> float:
        """The step between the values that pixels of an image can have; 0 if there is none."""
        most = max(range(len(self.use)), key=lambda k: int(self.use[k].sum()))
        return tie_step(exposure.image_plane.read(self.boxes[most])[self.use[most]].astype(np.float32))

    def _is_coarse(self) -> bool:
        """Whether an image has pixels of so few values that quantiles do not fit; of it or of what is made of it."""
        most = max(range(len(self.use)), key=lambda k: int(self.use[k].sum()))
        box, use = self.boxes[most], self.use[most]
        return any(is_coarse(exposure.image_plane.read(box)[use]) for exposure in self._exposures)


def _smoothed(image: Array, use: Array) -> tuple[tuple[Array, Array], tuple[float, float]]:
    """An image smoothed on two scales, and how much that scatters on the pixels used."""
    narrow, wide = smoothed(image), smoothed(image, _WIDE_SMOOTHING)
    return (narrow, wide), (robust_scatter(narrow[use]), robust_scatter(wide[use]))


def _below(wide: list[Array], own: Collection[int]) -> Array:
    """Where none of several images, of which some may be the own, is above its threshold."""
    limits = [_OWN_THRESHOLD if k in own else _WIDE_THRESHOLD for k in range(len(wide))]
    below: Array = np.logical_and.reduce([image <= limit for image, limit in zip(wide, limits, strict=True)])
    return below


def _root(exposure: Exposure, level: PlaneLevel | None, structure: Plane | None, box: Box) -> Array | None:
    """Root of the variance in a box, in units of its level; None if nothing says that it is not 1 everywhere."""
    relative: Array | None = None
    if level is not None and exposure.variance_plane is not None:
        # What is brighter than the background has more noise, but the background itself is no noise.
        variance = exposure.variance_plane.read(box)
        relative = np.where(level.known(variance), variance, level.level) / level.level
    if structure is not None:
        own = structure.read(box)
        relative = own if relative is None else relative * own
    return None if relative is None else np.sqrt(relative, dtype=np.float32)


def _scaled(image: Array, root: Array | None) -> Array:
    """An image in single precision, and where its noise varies with its level taken off and divided by that."""
    image = image.astype(np.float32, copy=False)
    if root is None:
        return image
    finite = image[np.isfinite(image)]
    scaled: Array = (image - np.float32(level_of(finite) if finite.size else 0)) / root
    return scaled
