"""Matching kernels as plain images."""

from __future__ import annotations

from diffim_decorr.difference.matching import MatchingKernel
from diffim_decorr.difference.programs import falls_off_like_a_psf, program_of, remedy_for_psf
from diffim_decorr.errors import InputError
from diffim_decorr.io.kernels.source import Format, Source

__all__ = ("FORMAT",)


def _sniff(source: Source) -> bool:
    return source.with_pixels() is not None


def _read(source: Source) -> MatchingKernel:
    matching = MatchingKernel.from_array(*source.pixels())
    program = program_of(source.header)
    # What was evaluated by `decorr kernel at` is a matching kernel, whatever it looks like.
    evaluated = "DCKFORM" in source.with_pixels().header
    if program and not source.asked and not evaluated and falls_off_like_a_psf(matching.kernel.basis[0]):
        raise InputError(
            f"{matching.name}: looks like a PSF, being nowhere negative and falling off from its middle, but the "
            f"difference was made by {program}, whose kernels have negative lobes; {remedy_for_psf(program)} (if it is "
            "the matching kernel all the same, --kernel-format image says so)"
        )
    return matching


FORMAT = Format("image", "a kernel image", _sniff, _read)
