"""Sources of the science image, to tell how near a peak of the difference is to one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from diffim_decorr.detect.peaks import find_peaks
from diffim_decorr.detect.point_source import PointSource
from diffim_decorr.detect.tile_maps import LOW_WEIGHT, MapJob, TileMaps
from diffim_decorr.engine.schedule import work_on_tiles
from diffim_decorr.errors import InputError
from diffim_decorr.geometry import Box
from diffim_decorr.images.background import LocalBackground, local_background
from diffim_decorr.images.exposure import Exposure
from diffim_decorr.images.planes import ConstantPlane, Plane
from diffim_decorr.images.union import MaskUnion
from diffim_decorr.images.units import working_unit
from diffim_decorr.kernels.spatial import SpatialKernel
from diffim_decorr.noise.background import measured_variance
from diffim_decorr.noise.plane_level import plane_level
from diffim_decorr.options import BAD_PLANES

__all__ = ("nearest_source",)

Array = NDArray[Any]

_THRESHOLD = 5.0  # σ of a source


def nearest_source(
    science: Exposure, source: PointSource, unusable: tuple[str, ...], threads: int, memory: int
) -> Callable[[Array, Array], Array]:
    """Gives the distance of positions to the nearest source of the science image, in pixels.

    Sources are peaks of its matched filter above 5 σ, the local background taken off; NaN where there are none.

    Raises
    ------
    InputError
        If it has not the size of the difference.
    """
    if science.shape != source.shape:
        mine, its = (f"{s[1]} x {s[0]}" for s in (science.shape, source.shape))
        raise InputError(f"{science.name}: has {mine} pixels, but the difference has {its}")
    unit = working_unit((science,))
    science = science if unit == 1 else science.scaled(unit)
    if science.variance_plane is None:
        science = science.with_variance(ConstantPlane(measured_variance(science, BAD_PLANES), science.shape))
    assert science.variance_plane is not None
    level = plane_level(science, unusable)
    job = MapJob(
        image=_Flat(science, local_background(science, level.level**0.5)),
        fills=(),
        variance=science.variance_plane,
        level=level,
        masks=MaskUnion.of((science,), (LOW_WEIGHT,)),
        unusable=unusable,
        source=PointSource(source.shape, source.psf, SpatialKernel.identity(), source.origin),
        least_weight=0.0,
    )
    sink = _Positions()
    work_on_tiles(TileMaps(job), sink, threads, memory)
    return sink.nearest


@final
@dataclass(frozen=True)
class _Flat(Plane):
    """An image without its background, NaN where it has no data."""

    exposure: Exposure
    background: LocalBackground

    @property
    def shape(self) -> tuple[int, int]:
        return self.exposure.shape

    def read(self, box: Box) -> Array:
        pixels = self.exposure.image_plane.read(box).astype(np.float32)
        missing = self.exposure.absent(pixels)
        flat: Array = pixels - np.float32(self.background.level)
        flat -= self.background.within(box)
        if missing is not None:
            flat[missing] = np.nan
        return flat

    def held(self, y0: int, y1: int) -> Any:
        return self.exposure.image_plane.held(y0, y1)


class _Positions:
    """Keeps the peaks of what is written; those where two rows of tiles meet may be there twice."""

    def __init__(self) -> None:
        self._found: dict[int, Array] = {}

    def rows(self, y0: int, y1: int) -> None:
        """Rows are to be written."""

    def write(self, y0: int, image: Array, mask: Array, variance: Array) -> None:
        def read(box: Box) -> tuple[Array, Array, Array]:
            return image[box.slices], mask[box.slices], variance[box.slices]

        peaks = find_peaks(read, (image.shape[0], image.shape[1]), _THRESHOLD)
        sources = peaks.snr > 0
        self._found[y0] = np.stack([peaks.x[sources], peaks.y[sources] + y0], axis=1)

    def read(self, box: Box) -> tuple[Array, Array, Array]:
        """Nothing but the peaks is kept."""
        raise NotImplementedError

    def nearest(self, x: Array, y: Array) -> Array:
        from scipy.spatial import KDTree

        places = np.concatenate([self._found[y0] for y0 in sorted(self._found)])
        if not len(places) or not len(x):
            return np.full(len(x), np.nan)
        return np.asarray(KDTree(places).query(np.stack([x, y], axis=1))[0])
