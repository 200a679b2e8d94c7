"""Types of the keywords of `decorrelate`, for type checkers. Written by `make tables`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, TypedDict

__all__ = ("OptionKeywords",)


class OptionKeywords(TypedDict, total=False):
    """Fields of `Options`."""

    spatial: bool
    kernel_at: tuple[float, float] | None
    convolved: Literal["auto", "template", "science"] | None
    noise: Literal["white", "measured", "local"]
    calibrate: Literal["auto", "none", "global", "local"] | None
    score: bool
    svar: float | None
    tvar: float | None
    sci_gain: float | None
    sci_read_noise: float | None
    tmpl_gain: float | None
    tmpl_read_noise: float | None
    background: int | None
    template_warp_factor: float
    bad_planes: Sequence[str] | str
    replace_planes: Sequence[str] | str
    variance: Literal["full", "estimate"]
    node_spacing: float
    tolerance: float
    half_width: int | None
    max_gain: float
    bad_fraction: float
    threads: int | None
    max_memory: float
