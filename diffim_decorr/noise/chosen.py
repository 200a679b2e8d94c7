"""Pixels that were chosen in windows over the field, and what is measured on them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diffim_decorr.fft import inverse_near
from diffim_decorr.geometry import Box
from diffim_decorr.images.exposure import Exposure
from diffim_decorr.images.masks import any_of
from diffim_decorr.noise.correlation import lagged_products, on_grid, power_of, transforms
from diffim_decorr.noise.halves import Halves
from diffim_decorr.noise.robust import level_of, median, standard_deviation

__all__ = (
    "LAG",
    "ChosenPixels",
    "covariance_of",
    "flattened",
    "products_of",
    "residuals_of",
    "robust_scatter",
    "snr_of",
    "valid_pixels",
)

Array = NDArray[Any]

LAG = 20


class ChosenPixels:
    """Pixels that were chosen in windows over the field.

    Parameters
    ----------
    boxes
        The windows.
    use
        Which of the pixels of each.
    threads
        Number of threads.
    coarse
        Whether pixels have so few values that quantiles do not fit.
    """

    def __init__(self, boxes: list[Box], use: list[Array], threads: int, coarse: bool = False) -> None:
        self.boxes = boxes
        self.use = use
        self.threads = threads
        self.coarse = coarse

    @property
    def pixels(self) -> int:
        """How many they are."""
        return sum(int(use.sum()) for use in self.use)

    @property
    def fewest_pairs(self) -> int:
        """The pairs of them at the lag at which there are fewest, which tell errors: a checkerboard has few at some."""
        with ThreadPoolExecutor(self.threads) as pool:
            pairs = pool.map(lambda use: lagged_products(use[None].astype(np.float32), LAG), self.use)
            return int(np.sum(list(pairs), axis=0).min())

    def half(self, halves: Halves) -> ChosenPixels:
        """Those of the half that is calibrated on."""
        use = [own & halves.calibrated(box) for box, own in zip(self.boxes, self.use, strict=True)]
        return ChosenPixels(self.boxes, use, self.threads, self.coarse)

    def covariance(self, read: Callable[[Box], Array]) -> Array:
        """Masked autocovariance (41, 41) of an image that is read box by box, its level taken off window by window."""
        with ThreadPoolExecutor(self.threads) as pool:
            parts = list(pool.map(lambda box, use: products_of(read(box), use), self.boxes, self.use))
        return covariance_of(parts)

    def scatter(self, read: Callable[[Box], Array]) -> float:
        """Robust standard deviation of an image that is read box by box, its level taken off window by window."""
        with ThreadPoolExecutor(self.threads) as pool:
            residuals = list(pool.map(lambda box, use: residuals_of(read(box), use), self.boxes, self.use))
        return self.scatter_of(residuals)

    def scatter_of(self, residuals: Sequence[Array]) -> float:
        """Robust standard deviation of what `residuals_of` has of each window."""
        values = np.concatenate(residuals)
        if not values.size:
            return np.nan
        return standard_deviation(values, whole=True) if self.coarse else robust_scatter(values)


def products_of(pixels: Array, use: Array, lag: int = LAG) -> tuple[Array, Array]:
    """Lagged products of the pixels used that have a value, their level taken off, and the numbers of pairs."""
    use = use & np.isfinite(pixels)
    level = level_of(pixels[use]) if use.any() else 0.0
    both = np.stack([np.where(use, pixels - np.float32(level), np.float32(0)), use])
    products, pairs = inverse_near(power_of(transforms(both, lag)), on_grid(use.shape, lag)[1], lag)
    return products, pairs


def covariance_of(parts: Sequence[tuple[Array, Array]]) -> Array:
    """Autocovariance from the products and pairs of windows."""
    sums, counts = (np.sum(planes, axis=0) for planes in zip(*parts, strict=True))
    result: Array = sums / np.maximum(counts, 1.0)
    return result


def residuals_of(pixels: Array, use: Array) -> Array:
    """The pixels used that have a value, their level taken off."""
    values = pixels[use]
    values = values[np.isfinite(values)]
    residuals: Array = values - level_of(values) if values.size else values
    return residuals


def robust_scatter(values: Array) -> float:
    return 1.4826 * median(np.abs(values - median(values))) if values.size else np.nan


def snr_of(image: Array, variance: Array) -> Array:
    """An image (h, w) in units of its noise, NaN where that is not known."""
    usable = np.isfinite(image) & (variance > 0) & (variance < np.inf)
    # A level that is left in the image is no noise, and must not vary with the variance.
    level = np.float32(level_of(image[usable]) if usable.any() else 0)
    snr: Array = np.where(usable, image - level, np.nan) / np.sqrt(np.where(usable, variance, 1))
    return snr


def valid_pixels(box: Box, exposures: Sequence[Exposure], bad_planes: Sequence[str]) -> tuple[Array, list[Array]]:
    """Which pixels of a window have data in all of some images and are not masked, and the pixels of each."""
    valid = np.ones(box.shape, dtype=bool)
    images = []
    for exposure in exposures:
        image = exposure.image_plane.read(box).astype(np.float32, copy=False)
        missing = exposure.absent(image)
        if missing is not None:
            valid &= ~missing
        if exposure.mask_plane is not None:
            valid &= ~any_of(exposure.mask_plane.read(box), exposure.mask_planes, bad_planes)
        images.append(image)
    return valid, images


def flattened(valid: Array, images: Sequence[Array]) -> list[Array]:
    """Images (h, w), their levels taken off, 0 where they are not valid."""
    levels = [np.float32(level_of(image[valid])) if valid.any() else np.float32(0) for image in images]
    return [np.where(valid, image - level, np.float32(0)) for image, level in zip(images, levels, strict=True)]
