"""Reading an image that is to be scored, and what shows where its sources are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diffim_decorr.geometry import Box
from diffim_decorr.images.exposure import Exposure
from diffim_decorr.images.masks import any_of
from diffim_decorr.noise.robust import level_of, median
from diffim_decorr.noise.sources import mask_sources, smoothed, typical
from diffim_decorr.qa.sample import Window

__all__ = ("Pixels",)

Array = NDArray[Any]

# Sources begin here and not at 4 σ, as those of `mask_sources` do: so few peaks of noise are taken for sources that the
# correlation which that brings about is not seen.
_SOURCES = 4.6 / 4.0
# Peaks are counted near whatever may be a peak of the inputs' own noise, which the difference has as well.
_NO_NOISE = 10.0 / 4.0
# An image that is its own source mask keeps what stands out less than 6 σ, not 4: that is to be counted.
_OWN = 6.0 / 4.0


class Pixels:
    """Pixels of an image and of what goes with it, window by window.

    Parameters
    ----------
    exposure
        The image, with a variance plane.
    bad_planes
        Mask planes that are left out.
    before
        The difference before it was decorrelated, if that is known.
    inputs
        Science image and template, or the former, or none.
    """

    def __init__(
        self, exposure: Exposure, bad_planes: Sequence[str], before: Exposure | None, inputs: Sequence[Exposure]
    ) -> None:
        self.exposure, self.before, self.inputs = exposure, before, inputs
        self._bad_planes = bad_planes
        self._sigmas: list[float] = []

    def read(self, box: Box) -> tuple[Array, Array, Array, Array | None]:
        """Image, variance, which pixels are good, and the mask, in a box."""
        assert self.exposure.variance_plane is not None
        image = self.exposure.image_plane.read(box).astype(np.float32)
        variance = self.exposure.variance_plane.read(box).astype(np.float32)
        use = np.isfinite(variance) & (variance > 0)
        missing = self.exposure.absent(image)
        if missing is not None:
            use &= ~missing
        mask = None
        if self.exposure.mask_plane is not None:
            mask = self.exposure.mask_plane.read(box)
            use &= ~any_of(mask, self.exposure.mask_planes, self._bad_planes)
        return image, variance, use, mask

    def window(self, box: Box) -> Window:
        """A window, its sources still in it."""
        image, variance, use, _ = self.read(box)
        flagged = 1 - float(use.mean())
        before = image if self.before is None else self.before.image_plane.read(box).astype(np.float32)
        missing = None if self.before is None else self.before.absent(before)
        if missing is not None:
            use &= ~missing
        flat, smooth, scatter = [], [], []
        for source in self.inputs:
            pixels = source.image_plane.read(box).astype(np.float32)
            good = np.isfinite(pixels) & use
            flat.append(np.where(good, pixels - np.float32(level_of(pixels[good])), np.float32(0)))
            smooth.append(smoothed(flat[-1]))
            scatter.append(_robust(smooth[-1][good]))
        if not self.inputs:
            snr = np.where(use, image - np.float32(level_of(image[use])), 0) / np.sqrt(np.where(use, variance, 1))
            smooth.append(smoothed(snr.astype(np.float32)))
            scatter.append(_robust(smooth[-1][use]))
        return Window(box, before, image, variance, tuple(flat), use, flagged, tuple(smooth), tuple(scatter))

    def searched(self, window: Window) -> Array:
        """Where peaks are counted: good pixels away from what is a source of the inputs without any doubt."""
        use = self.read(window.box)[2]
        for smooth, sigma in zip(window.smooth, self._sigmas, strict=False):
            mask_sources(use, smooth, sigma * _NO_NOISE)
        return use

    def mask_sources(self, windows: Sequence[Window]) -> None:
        """Leave out pixels near sources of the inputs, or near what stands far out of the image itself."""
        self._sigmas = []
        for k in range(max(1, len(self.inputs))):
            sigma = typical([window.scatter[k] for window in windows])
            self._sigmas += [sigma] if self.inputs else []
            for window in windows:
                mask_sources(window.use, window.smooth[k], sigma * (_SOURCES if self.inputs else _OWN))


def _robust(values: Array) -> float:
    return 1.4826 * median(np.abs(values)) if values.size else np.nan
