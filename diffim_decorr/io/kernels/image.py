"""Matching kernels as plain images."""

from __future__ import annotations

from diffim_decorr.difference.matching import MatchingKernel
from diffim_decorr.io.kernels.source import Format, Source

__all__ = ("FORMAT",)


def _sniff(source: Source) -> bool:
    return source.with_pixels() is not None


def _read(source: Source) -> MatchingKernel:
    return MatchingKernel.from_array(*source.pixels())


FORMAT = Format("image", "a kernel image", _sniff, _read)
