"""The images that a difference is made of: ``D = Σ_i s_i κ_i ⊗ I_i``, each with its kernel, scale and noise.

The ordinary difference of a science image and a matched template is the case of two; stacks have one contribution for
each image that was combined.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from diffim_decorr.difference.matching import MatchingKernel
from diffim_decorr.errors import InputError
from diffim_decorr.images.exposure import Exposure
from diffim_decorr.kernels.compose import composed
from diffim_decorr.kernels.spatial import SpatialKernel
from diffim_decorr.options import Side

__all__ = ("Contribution", "total_kernels", "weights_of")


@dataclass(frozen=True, eq=False, repr=False)
class Contribution:
    """One image's part in a difference.

    Parameters
    ----------
    side
        The side that it is on.
    exposure
        The image itself, with its variance plane; needed if the noise is to be measured.
    noise
        Standard deviation of its background noise, instead of what the exposure says.
    weight
        Its weight in the stack of its side; 1 over their number by default.
    kernel
        The kernel that it was convolved with before it was stacked; None if it was not.
    name
        For messages.
    realisations
        Images of pure noise that went through the same resampling as the image, on which its noise is measured.
    """

    side: Side
    exposure: Exposure | None = None
    noise: float | None = None
    weight: float | None = None
    kernel: MatchingKernel | SpatialKernel | None = None
    name: str = "image"
    realisations: tuple[Exposure, ...] = ()

    def __repr__(self) -> str:
        return f"<Contribution {self.name}: on the {self.side} side>"

    def __post_init__(self) -> None:
        if self.side not in ("science", "template"):
            raise InputError(f"{self.name}: the side must be science or template, not {self.side!r}")
        if self.exposure is None and self.noise is None:
            raise InputError(f"{self.name}: needs a file or a noise figure")
        if self.noise is not None and not 0 <= self.noise < float("inf"):
            raise InputError(f"{self.name}: the noise must be a number of at least 0, not {self.noise}")
        if self.weight is not None and not 0 < abs(self.weight) < float("inf"):
            raise InputError(f"{self.name}: the weight must be a number other than 0, not {self.weight}")


def weights_of(contributions: Sequence[Contribution]) -> tuple[float, ...]:
    """The weight of each image in the stack of its side."""
    return tuple(
        1 / sum(other.side == c.side for other in contributions) if c.weight is None else c.weight
        for c in contributions
    )


def total_kernels(
    contributions: Sequence[Contribution], sides: tuple[SpatialKernel, SpatialKernel]
) -> tuple[SpatialKernel, ...]:
    """Each contribution's kernel in the difference: its own, its weight, and that of its side."""
    kernels = []
    for contribution, weight in zip(contributions, weights_of(contributions), strict=True):
        kernel = sides[0 if contribution.side == "science" else 1]
        own = contribution.kernel.kernel if isinstance(contribution.kernel, MatchingKernel) else contribution.kernel
        if own is not None:
            kernel = composed(kernel, own)
        kernels.append(kernel.scaled(weight))
    return tuple(kernels)
