"""Fluxes of point sources close to steps of the depth, and away from them, against what was injected."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from markup import table
from numpy.typing import NDArray
from scipy.signal import fftconvolve

from diffim_decorr import Exposure, SpatialKernel, decorrelate
from diffim_decorr.simulate.options import SimulationOptions
from diffim_decorr.simulate.scene import convolve, simulate

__all__ = ("Pulls", "at_steps", "pulls")

Array = NDArray[Any]

_WIDTH, _SPACING = 256, 26
#: Variance of the template from step to step; that of the science image is 1.
DEPTHS = (1.0, 2.0, 1.0, 0.5, 1.0, 4.0, 2.0, 1.0)
NEAR = 10
_BAD = 1e-4
_BANDS = ((0.0, 0.0), (0.0, 10.0), (10.0, 100.0), (100.0, 1e4))


@dataclass(frozen=True)
class Pulls:
    """What was measured of sources.

    Parameters
    ----------
    pull
        (measured − true) / error (n,).
    distance
        From the middle of the pixel to the next step, in pixels.
    strength
        True flux, in units of the error.
    """

    pull: Array
    distance: Array
    strength: Array

    def chosen(self, which: Array) -> Pulls:
        return Pulls(self.pull[which], self.distance[which], self.strength[which])


def pulls(seed: int, size: int) -> Pulls:
    """Sources of 0 to 1000 σ in a field whose template has a step every 256 columns.

    Kernel and PSF vary; 1 in 10⁴ pixels is bad. Columns of sources, 24 pixels and more from each other, are within 10
    pixels of a step or well between two, by turns.
    """
    shape = size, size
    scene = simulate(SimulationOptions(size=size, seed=seed, stars=0, masks=False, svar=1.0, tvar=1.0))
    kernel, rng = scene.kernel, np.random.default_rng(seed)
    variances = np.ones(shape), np.ones(shape) * np.resize(np.repeat(DEPTHS, _WIDTH), size)
    science, template = (rng.normal(size=shape) * variance**0.5 for variance in variances)
    psf = SpatialKernel(
        np.array([fftconvolve(image, scene.template_psf) for image in kernel.basis]), kernel.coefficients
    )
    x, y = _sources(size, rng)
    # In units of about the error of a flux.
    true = np.where(rng.random(len(x)) < 0.3, 0, 10 ** rng.uniform(0, 3, len(x))) * 10.0
    science += _rendered(shape, psf, x, y, true)
    template = template.astype("f4").astype(float)
    difference = science - convolve(np.pad(template, kernel.shape[0] // 2), kernel)
    bad = rng.random(shape) < _BAD
    science[bad] = difference[bad] = 1e4
    result = decorrelate(
        Exposure(science.astype("f4"), variances[0].astype("f4"), bad.astype("i4"), mask_planes={"BAD": 0}, psf=psf),
        Exposure(template.astype("f4"), variances[1].astype("f4")),
        Exposure(difference.astype("f4")),
        kernel,
        spatial=True,
        convolved="template",
    )
    maps = result.snr()
    use = (maps.mask[y, x] & (1 << maps.mask_planes["LOW_WEIGHT"])) == 0
    error = maps.flux_err[y, x]
    # Between columns k - 1 and k there is the place k - ½.
    step = np.round((x + 0.5) / _WIDTH) * _WIDTH - 0.5
    return Pulls((maps.flux[y, x] - true) / error, np.abs(x - step), true / error).chosen(use)


def _sources(size: int, rng: np.random.Generator) -> tuple[Array, Array]:
    """x and y of sources in columns at the steps, and between them."""
    rows = np.arange(40, size - 40, _SPACING)
    found = []
    for step in range(_WIDTH, size, _WIDTH):
        for middle, reach in ((step, NEAR), (step - _WIDTH // 2, _WIDTH // 2 - 3 * NEAR)):
            x = middle + rng.integers(-reach, reach, len(rows))
            found.append((x, rows + rng.integers(-1, 2, len(rows))))
    x, y = np.concatenate(found, axis=1)
    return x, y


def _rendered(shape: tuple[int, int], psf: SpatialKernel, x: Array, y: Array, fluxes: Array) -> Array:
    """Sources, each with the PSF of its place."""
    image, half = np.zeros(shape), psf.shape[0] // 2
    for column, row, flux in zip(x, y, fluxes, strict=True):
        window = np.s_[row - half : row + half + 1, column - half : column + half + 1]
        image[window] += flux * psf.at(column, row)
    return image


def at_steps(count: int, size: int) -> str:
    """The table of so many fields."""
    found = [pulls(seed, size) for seed in range(1, count + 1)]
    every = Pulls(*(np.concatenate([getattr(one, name) for one in found]) for name in vars(found[0])))
    near = every.distance <= NEAR
    rows = []
    for where, which in (("within 10 pixels of a step", near), ("farther away", ~near)):
        rows.append(_row(f"{where}, all", every.chosen(which)))
        rows += _by_strength(where, every.chosen(which))
    return table(("sources", "number", "mean", "standard deviation"), rows)


def _by_strength(where: str, of: Pulls) -> Iterable[tuple[str, ...]]:
    for low, high in _BANDS:
        inside = (of.strength > low) & (of.strength <= high) if high else of.strength == 0
        yield _row(f"{where}, of {f'{low:.0f} to {min(high, 1000):.0f} σ' if high else 'flux 0'}", of.chosen(inside))


def _row(name: str, of: Pulls) -> tuple[str, ...]:
    n = len(of.pull)
    mean, scatter = of.pull.mean(), of.pull.std()
    return name, str(n), f"{mean:.3f} ± {n**-0.5:.3f}", f"{scatter:.3f} ± {(2 * n) ** -0.5:.3f}"
