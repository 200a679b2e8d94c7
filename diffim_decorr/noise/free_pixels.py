"""Source-free pixels anywhere in a field, for what is measured on the result where the inputs' noise was not."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diffim_decorr.geometry import Box
from diffim_decorr.images.exposure import Exposure
from diffim_decorr.images.union import MaskUnion
from diffim_decorr.noise.chosen import ChosenPixels, flattened, valid_pixels
from diffim_decorr.noise.correlation import quick_median
from diffim_decorr.noise.halves import Halves
from diffim_decorr.noise.robust import is_coarse
from diffim_decorr.noise.sources import SOURCE_REACH, mask_sources, smoothed, typical
from diffim_decorr.noise.windows import ENOUGH, MOST_WINDOWS, WINDOWS_AT_ONCE, sample_boxes

__all__ = ("FreePixels",)

Array = NDArray[Any]


class FreePixels:
    """Where none of several images shows a source, and no mask or missing data are.

    Parameters
    ----------
    exposures
        Images of one shape.
    masks, bad_bits
        Their masks, and the bits of pixels that are left out.
    threads
        Number of threads.
    """

    def __init__(self, exposures: Sequence[Exposure], masks: MaskUnion, bad_bits: np.int32, threads: int) -> None:
        self._exposures, self._masks, self._bits, self._threads = exposures, masks, bad_bits, threads
        boxes = sample_boxes(exposures[0].shape)[:WINDOWS_AT_ONCE]
        # What stands out is judged by the scatter of a sample: a window may be full of sources.
        with ThreadPoolExecutor(threads) as pool:
            found = list(pool.map(self._scatters, boxes))
        self._sigmas = [typical([scatters[k] for scatters, _ in found]) for k in range(len(exposures))]
        #: Whether pixels of an image have so few values that quantiles do not fit.
        self.coarse = any(coarse for _, coarse in found)

    def __call__(self, box: Box) -> Array:
        """Which pixels (h, w) of a box can be used."""
        seen = box.grown(SOURCE_REACH).clipped(self._exposures[0].shape)
        valid, images = self._read(seen)
        use = valid.copy()
        for image, sigma in zip(images, self._sigmas, strict=True):
            mask_sources(use, smoothed(image), sigma)
        return use[box.shifted(-seen.x0, -seen.y0).slices]

    def sample(self, halves: Halves) -> ChosenPixels:
        """Those of the half that is calibrated on, in windows over the field, as many as it takes."""
        boxes = sample_boxes(self._exposures[0].shape)[:MOST_WINDOWS]
        use: list[Array] = []
        with ThreadPoolExecutor(self._threads) as pool:
            for start in range(0, len(boxes), WINDOWS_AT_ONCE):
                batch = boxes[start : start + WINDOWS_AT_ONCE]
                use += pool.map(lambda box: self(box) & halves.calibrated(box), batch)
                if sum(int(own.sum()) for own in use) >= ENOUGH // 2:
                    break
        return ChosenPixels(boxes[: len(use)], use, self._threads, self.coarse)

    def _read(self, box: Box) -> tuple[Array, list[Array]]:
        """Pixels with data that are not masked, and the images, their level taken off, 0 elsewhere."""
        valid, images = valid_pixels(box, self._exposures, ())
        bits = self._masks.set_bits(box)
        if bits is not None:
            valid &= (bits & self._bits) == 0
        return valid, flattened(valid, images)

    def _scatters(self, box: Box) -> tuple[list[float], bool]:
        valid, images = self._read(box)
        scatters = [1.4826 * quick_median(np.abs(smoothed(image)[valid])) for image in images]
        return scatters, bool(valid.any()) and any(is_coarse(image[valid]) for image in images)
