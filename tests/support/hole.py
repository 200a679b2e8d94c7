"""A small difference of noise, its exact ψ, and an area of it to be spoilt."""

from __future__ import annotations

import numpy as np

from diffim_decorr import Exposure, Result, decorrelate
from support.kernels import IDENTITY, gaussian
from support.noise import PLANES, noise_pair
from support.reference import convolved, psi_of

__all__ = ("HOLE", "KERNEL", "PSI", "REACH", "SHAPE", "SQUARES", "SVAR", "TVAR", "bit", "images", "plane", "run")

SHAPE = (150, 170)
KERNEL = gaussian(15, (1.7, 1.3), angle=25)
SVAR, TVAR = 1.0, 2.0
PSI = psi_of([IDENTITY, KERNEL], [SVAR, TVAR], 128)
SQUARES = PSI**2, convolved(PSI, KERNEL) ** 2
# ψ is below 1e-5 of its sum farther out than this.
REACH = 30


def images(seed: int = 51) -> list[np.ndarray]:
    """Science, template and difference of nothing but noise, single precision."""
    science, template = noise_pair(seed, SHAPE, SVAR, TVAR)
    return [a.astype("f4") for a in (science, template, science - convolved(template, KERNEL))]


def run(difference: np.ndarray, masks: tuple[np.ndarray | None, ...] = (None, None, None), **options: object) -> Result:
    """Decorrelate a difference; masks are those of science, template and difference."""
    science, template, _ = images()
    made = [
        Exposure(image, variance, mask, mask_planes=None if mask is None else PLANES)
        for image, variance, mask in zip((science, template, difference), (SVAR, TVAR, None), masks, strict=True)
    ]
    return decorrelate(*made, KERNEL, **options)


def bit(result: Result, plane: str) -> np.ndarray:
    return (result.exposure.mask >> result.exposure.mask_planes[plane]) & 1 == 1


def plane(name: str, *slices: tuple[slice, slice]) -> np.ndarray:
    mask = np.zeros(SHAPE, "i4")
    for area in slices:
        mask[area] |= 1 << PLANES[name]
    return mask


HOLE = slice(70, 79), slice(80, 87)
