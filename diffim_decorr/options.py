"""The knobs of a run, checked once."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass, field
from typing import Literal

from diffim_decorr.errors import InputError
from diffim_decorr.masks import BAD_PLANES, REPLACED_PLANES
from diffim_decorr.matching import Side

__all__ = ("Options", "available_threads")


def available_threads() -> int:
    """The number of processors that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@dataclass(frozen=True)
class Options:
    """How a difference is to be decorrelated.

    Parameters
    ----------
    spatial
        Whether the decorrelation kernel ψ varies over the field.
    kernel_at
        Position (x, y) at which the matching kernel is taken for a constant ψ, 0-based pixels; None for the centre.
    convolved
        Which image was convolved; None for what the kernel says, else the template.
    noise
        "white", or "measured" on source-free pixels of each image.
    score
        The difference is pre-convolved, and to become a likelihood image.
    svar, tvar
        Background variances of science and template image instead of measured ones, in the images' unit squared.
    bad_planes
        Mask planes left out of statistics.
    replace_planes
        Mask planes whose pixels are replaced before filtering.
    variance
        "full" propagation of the variance planes, or the "estimate" as their weighted sum.
    node_spacing
        Distance of the nodes at which ψ is computed to begin with, in pixels.
    tolerance
        Bound of the rms error in units of the noise.
    half_width
        Of ψ in pixels; None for what the tolerance needs.
    max_gain
        Limit of ψ̂(k) relative to ψ̂(0).
    bad_fraction
        Output pixels are flagged where more than this fraction of Σ|ψ| fell on replaced pixels or outside the image.
    threads
        Number of threads.
    """

    spatial: bool = False
    kernel_at: tuple[float, float] | None = None
    convolved: Side | None = None
    noise: Literal["white", "measured"] = "white"
    score: bool = False
    svar: float | None = None
    tvar: float | None = None
    bad_planes: tuple[str, ...] = BAD_PLANES
    replace_planes: tuple[str, ...] = REPLACED_PLANES
    variance: Literal["full", "estimate"] = "full"
    node_spacing: float = 256.0
    tolerance: float = 1e-3
    half_width: int | None = None
    max_gain: float = 1e4
    bad_fraction: float = 0.01
    threads: int = field(default_factory=available_threads)

    def __post_init__(self) -> None:
        for name, low, high in (
            ("svar", 0.0, math.inf),
            ("tvar", 0.0, math.inf),
            ("node_spacing", 8.0, math.inf),
            ("tolerance", 1e-7, 0.1),
            ("half_width", 1, 250),
            ("max_gain", 1.0, 1e12),
            ("bad_fraction", 0.0, 1.0),
            ("threads", 1, 4096),
        ):
            value = getattr(self, name)
            if value is not None and not (low <= value <= high and math.isfinite(value)):
                limits = f"at least {low:g}" if high == math.inf else f"from {low:g} to {high:g}"
                raise InputError(f"{name} must be a number {limits}, not {value}")
        if self.svar is not None and self.tvar is not None and not self.svar + self.tvar > 0:
            raise InputError("svar and tvar cannot both be 0: there is no noise to decorrelate")
        if self.convolved not in (None, "template", "science"):
            raise InputError(f"convolved must be template or science, not {self.convolved}")
        if self.noise not in ("white", "measured"):
            raise InputError(f"noise must be white or measured, not {self.noise}")
        if self.variance not in ("full", "estimate"):
            raise InputError(f"variance must be full or estimate, not {self.variance}")
        if self.spatial and self.kernel_at is not None:
            raise InputError("kernel_at is for a constant decorrelation kernel; it has no meaning with spatial")
