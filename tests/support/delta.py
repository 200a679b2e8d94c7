"""Solutions of delta, written and evaluated from their formulas."""

from __future__ import annotations

from math import ceil, factorial, pi
from pathlib import Path
from typing import Any

import numpy as np
from numpy.polynomial.hermite import hermval

__all__ = ("DeltaSolution",)


class DeltaSolution:
    """Gauss-Hermite functions times thin-plate regression splines on a grid of knots, with random coefficients.

    Parameters
    ----------
    shape
        Of the images, (ny, nx).
    seed
        Of the coefficients.
    beta, n_max
        Scale and largest order of the functions.
    knots
        Number of knots along x and y.
    radius
        What delta was told; 0 leaves it to delta.
    direction
        Which image was convolved.
    """

    def __init__(
        self,
        shape: tuple[int, int],
        seed: int = 1,
        beta: float = 1.3,
        n_max: int = 3,
        knots: tuple[int, int] = (4, 3),
        radius: int = 0,
        direction: str = "reference",
    ) -> None:
        self.shape, self.beta, self.n_max, self.radius, self.direction = shape, beta, n_max, radius, direction
        ny, nx = shape
        self.knots = np.array(
            [(x, y) for y in np.linspace(0, ny - 1, knots[1]) for x in np.linspace(0, nx - 1, knots[0])]
        )
        self.half = radius or max(3, ceil(3 * beta * (n_max + 1) ** 0.5))
        rng = np.random.default_rng(seed)
        fields = rng.normal(0, 0.02, (len(self.functions) + 1, len(self.knots)))
        # The first function carries the flux, about 1; a constant is the last but two of a field's coefficients.
        fields[0, -3] += 1 / self.functions[0].sum()
        self.theta = fields.ravel()

    @property
    def orders(self) -> list[tuple[int, int]]:
        return [(total - j, j) for total in range(self.n_max + 1) for j in range(total + 1)]

    @property
    def functions(self) -> np.ndarray:
        """(n, h, w)"""
        t = np.arange(-self.half, self.half + 1) / self.beta

        def along(n: int) -> np.ndarray:
            norm = (2**n * factorial(n) * pi**0.5 * self.beta) ** -0.5
            return norm * hermval(t, np.eye(n + 1)[n]) * np.exp(-(t**2) / 2)

        return np.array([np.outer(along(j), along(i)) for i, j in self.orders])

    def fields(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """The coefficients (n, points) of the functions at positions."""
        centre = self.knots.mean(axis=0)
        scale = np.abs(self.knots - centre).max()
        knots = (self.knots - centre) / scale
        points = (np.stack([x, y], axis=1) - centre) / scale
        trend = np.column_stack([np.ones(len(knots)), knots])
        null = np.linalg.qr(trend, mode="complete")[0][:, 3:]
        r = np.hypot(*(points[:, None] - knots).transpose(2, 0, 1))
        green = r**2 * np.log(np.where(r > 0, r, 1.0))
        design = np.column_stack([green @ null, np.ones(len(points)), points])
        result: np.ndarray = (design @ self.theta.reshape(-1, len(knots)).T).T[:-1]
        return result

    def at(self, x: float, y: float) -> np.ndarray:
        """The kernel at a position, for convolution."""
        result: np.ndarray = np.tensordot(self.fields(np.array([x]), np.array([y]))[:, 0], self.functions, axes=1)
        return result

    def convolved(self, image: np.ndarray) -> np.ndarray:
        """Each function's convolution, weighted pixel by pixel."""
        from support.reference import convolved

        y, x = np.indices(image.shape)
        fields = self.fields(x.ravel(), y.ravel()).reshape(-1, *image.shape)
        result: np.ndarray = sum(
            field * convolved(image, function) for field, function in zip(fields, self.functions, strict=True)
        )
        return result

    def write(self, path: Path, leave_out: tuple[str, ...] = (), **changed: Any) -> Path:
        """The archive as delta saves it."""
        entries = {
            "beta": self.beta,
            "n_max": self.n_max,
            "radius": self.radius,
            "knots": self.knots,
            "theta": self.theta,
            "n_components": len(self.orders),
            "n_spatial": len(self.knots),
            "lam": 0.1,
            "component_sums": self.functions.sum(axis=(1, 2)),
            "direction": self.direction,
            "shape": np.asarray(self.shape),
            "reduced_chi2": 1.02,
            "stamp_x": np.empty(0, np.int32),
        } | changed
        np.savez(path, **{name: value for name, value in entries.items() if name not in leave_out})
        return path
