"""The noise of an image from realisations of it: images of pure noise that went through the same resampling.

There are no sources in the way, so that every pixel with data counts, in crowded fields as well.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from diffim_decorr.errors import InputError
from diffim_decorr.geometry import Box
from diffim_decorr.images.exposure import Exposure
from diffim_decorr.images.masks import any_of
from diffim_decorr.noise.background import measured_variance
from diffim_decorr.noise.chosen import covariance_of, products_of, residuals_of, robust_scatter
from diffim_decorr.noise.correlation import correlation_function
from diffim_decorr.noise.measured import MeasuredNoise
from diffim_decorr.noise.plane_level import PlaneLevel
from diffim_decorr.noise.windows import ENOUGH, MOST_WINDOWS, sample_boxes
from diffim_decorr.options import Options
from diffim_decorr.record import Record

__all__ = ("realised_noise", "realised_pixels")

Array = NDArray[Any]

_FEWEST = 3000
# Of a million pixels of Gaussian noise 0.002 are beyond so many σ.
_BEYOND, _MOST_BEYOND, _FEW = 6.0, 1e-5, 3
# What is left of faint sources adds to the scatter of an image, and may double it in a crowded field; nothing makes it
# less than that of its noise.
_TOO_MUCH, _TOO_LITTLE = 1.3, 0.4


class _Window(NamedTuple):
    """What a window of a realisation tells: lagged products, pairs of pixels, pixels in units of the noise where the
    variance plane has its background's value."""

    products: tuple[Array, Array]
    residuals: Array


def realised_noise(
    images: Sequence[Exposure],
    own: Exposure,
    level: PlaneLevel | None,
    options: Options,
    record: Record,
    unit: float = 1.0,
) -> MeasuredNoise:
    """Variance and correlation function of the noise of an image, from realisations.

    Parameters
    ----------
    images
        The realisations, of the image's shape.
    own
        The image.
    level
        Background value of its variance plane, at which the variance is measured; None if it has none.
    options
        Which masks matter, and the number of threads.
    record
        Takes what speaks against their being realisations of the image's noise.
    unit
        By what the pixels have been multiplied, for messages.

    Raises
    ------
    InputError
        If one of them has no noise, or too few pixels with data.
    """
    parts: list[_Window] = []
    with ThreadPoolExecutor(options.workers) as pool:
        for image in images:
            found = list(pool.map(lambda box, image=image: _window(image, own, level, options, box), _boxes(own.shape)))
            residuals = np.concatenate([part.residuals for part in found])
            if len(residuals) < _FEWEST:
                raise InputError(
                    f"{image.name}: has only {len(residuals)} pixels with data, too few to measure the noise from; "
                    "leave the noise image out"
                )
            if not residuals.any():
                raise InputError(
                    f"{image.name}: all its pixels have one value: there is no noise in it; a noise image is a "
                    "realisation of pure noise, not a plane of variances or standard deviations"
                )
            doubt = _is_spoilt(image, residuals)
            if doubt:
                record.warn(doubt)
            parts += found
    covariance = covariance_of([part.products for part in parts])
    residuals = np.concatenate([part.residuals for part in parts])
    correlation, variance, plateau = correlation_function(covariance, len(residuals))
    robust = robust_scatter(residuals) ** 2 - plateau * variance
    if not (variance > 0 and robust > 0):
        raise InputError(
            f"{images[0].name}: is no image of noise: its pixels are correlated as much far apart as near each other"
        )
    noise = MeasuredNoise(robust, correlation, plateau, len(residuals), "noise images")
    doubt = _does_not_fit(images[0], noise, own, options, unit)
    if doubt:
        record.warn(doubt)
    return noise


def _boxes(shape: tuple[int, int]) -> list[Box]:
    """Windows spread over the field, as many as it takes."""
    boxes = sample_boxes(shape)
    ny, nx = boxes[0].shape
    return boxes[: min(MOST_WINDOWS, -(-ENOUGH // (ny * nx)))]


def realised_pixels(
    images: Sequence[Exposure], own: Exposure, level: PlaneLevel | None, options: Options
) -> Iterator[tuple[Box, Array, Array]]:
    """Windows of realisations: boxes, pixels in units of the root of the image's variance plane, and which are used.

    The parameters are those of `realised_noise`.
    """
    for box in sample_boxes(own.shape)[:MOST_WINDOWS]:
        for image in images:
            yield box, *_pixels(image, own, level, options, box)


def _window(image: Exposure, own: Exposure, level: PlaneLevel | None, options: Options, box: Box) -> _Window:
    pixels, use = _pixels(image, own, level, options, box)
    return _Window(products_of(pixels, use), residuals_of(pixels, use))


def _pixels(
    image: Exposure, own: Exposure, level: PlaneLevel | None, options: Options, box: Box
) -> tuple[Array, Array]:
    """Pixels of a realisation within a box, and which of them are used."""
    pixels: Array = image.image_plane.read(box).astype(np.float32)
    use = np.isfinite(pixels)
    for exposure in (image, own):
        missing = exposure.absent(pixels if exposure is image else exposure.image_plane.read(box).astype(np.float32))
        if missing is not None:
            use &= ~missing
        if exposure.mask_plane is not None:
            # What shows sources in the image does not in its noise.
            planes = [plane for plane in options.bad_planes if not plane.startswith("DETECTED")]
            use &= ~any_of(exposure.mask_plane.read(box), exposure.mask_planes, planes)
    if level is not None and own.variance_plane is not None:
        variance = own.variance_plane.read(box)
        known = level.known(variance)
        use &= known
        pixels = pixels / np.sqrt(np.where(known, variance, level.level) / level.level, dtype=np.float32)
    return pixels, use


def _is_spoilt(image: Exposure, residuals: Array) -> str | None:
    """What is to be said of an image of noise (k,) that has something else in it."""
    beyond = int(np.count_nonzero(np.abs(residuals) > _BEYOND * robust_scatter(residuals)))
    if beyond <= max(_MOST_BEYOND * len(residuals), _FEW):
        return None
    return (
        f"{image.name}: {beyond} of {len(residuals)} pixels lie beyond {_BEYOND:g} sigma, where noise has none: a "
        "noise image is a realisation of pure noise, without sources and defects"
    )


def _does_not_fit(image: Exposure, noise: MeasuredNoise, own: Exposure, options: Options, unit: float) -> str | None:
    """What is to be said of noise that is not as much as its image has."""
    try:
        scatter = measured_variance(own, options.bad_planes)
    except InputError:  # of nothing but sources
        return None
    if _TOO_LITTLE < noise.variance / scatter < _TOO_MUCH:
        return None
    return (
        f"{image.name}: its noise has a variance of {noise.variance / unit**2:.4g}, but the background of "
        f"{own.name} one of {scatter / unit**2:.4g}: check that it is a realisation of the noise of that image, in "
        "its unit, and went through the same resampling"
    )
