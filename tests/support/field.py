"""A difference with a kernel that varies over the field, and its exact decorrelation."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from diffim_decorr import Exposure, MatchingKernel, Result, decorrelate, read_kernel
from support.hotpants import Hotpants
from support.noise import exposures, noise_pair
from support.reference import brute_force, psi_of

__all__ = ("SEAM", "SHAPE", "Field")

Images = tuple[Exposure, Exposure, Exposure]

#: Wide enough for two columns of tiles, which meet at the seam.
SHAPE = (300, 900)
SEAM = 450


class Field:
    """A difference with a kernel that varies, and its exact decorrelation."""

    def __init__(self, hotpants: Hotpants, path: Path, svar: float, tvar: float, seed: int) -> None:
        self.hotpants, self.svar, self.tvar = hotpants, svar, tvar
        self.sigma = np.sqrt(svar + tvar)
        science, template = noise_pair(seed, hotpants.shape, svar, tvar)
        difference = hotpants.difference(science, template)
        self.kernel: MatchingKernel = read_kernel(hotpants.write(path, difference))
        self.images: Images = exposures(science, template, difference, svar, tvar)
        self._made: dict[str, Result] = {}

    def psi(self, x: float, y: float) -> np.ndarray:
        return psi_of(self.hotpants.sides(x, y), [self.svar, self.tvar], size=192)

    def decorrelated(self, **options: object) -> Result:
        options = {"spatial": True, "svar": self.svar, "tvar": self.tvar, **options}
        return decorrelate(*self.images, self.kernel, **options)

    def kept(self, **options: object) -> Result:
        """The same, made once."""
        name = str(options)
        if name not in self._made:
            self._made[name] = self.decorrelated(**options)
        return self._made[name]

    def errors(self, result: Result, positions: list[tuple[int, int]]) -> np.ndarray:
        """In units of the noise."""
        x, y = np.array(positions).T
        exact = brute_force(self.images[2].image.astype(float), positions, self.psi)
        return (result.exposure.image[y, x] - exact) / self.sigma

    def anywhere(self, seed: int, count: int) -> list[tuple[int, int]]:
        rng = np.random.default_rng(seed)
        ny, nx = self.hotpants.shape
        return list(zip(rng.integers(0, nx, count).tolist(), rng.integers(0, ny, count).tolist(), strict=True))
