"""Pairs of exposures that sources are injected into, and simulated ones."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from filters import odd
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, maximum_filter
from scipy.signal import fftconvolve

from diffim_decorr import Exposure, Result, decorrelate

__all__ = ("SCENES", "SPACING", "Field", "Places", "gaussian", "places", "simulated")

Array = NDArray[Any]
#: y and x (n,) of pixels.
Places = tuple[Array, Array]

SPACING = 36


@dataclass
class Field:
    """A pair of exposures and what is needed to inject sources and to know where there are none.

    Parameters
    ----------
    science, template, difference
        Pixels (ny, nx).
    variances
        Variance planes of science and template.
    naive
        Of the difference: the variance of its pixels, without covariances.
    mask
        Pixels that are bad.
    free
        Pixels near which there is no source.
    kernel
        The matching kernel, of the template.
    psf
        Of the science image and of the difference, of sum 1.
    spatial
        Whether ψ is to vary.
    """

    science: Array
    template: Array
    difference: Array
    variances: tuple[Array, Array]
    naive: Array
    mask: Array
    free: Array
    kernel: Any
    psf: Array
    spatial: bool = False

    def with_sources(self, at: Places, fluxes: Array) -> Field:
        """The same field with point sources at pixels."""
        points = np.zeros(self.science.shape)
        points[at] = fluxes
        added = fftconvolve(points, odd(self.psf), "same")
        changed = {**vars(self), "science": self.science + added, "difference": self.difference + added}
        return Field(**changed)

    def whitened(self, **options: Any) -> Result:
        """What `decorr run` makes of it."""
        mask, planes = self.mask.astype("i4"), {"BAD": 0}
        science, template = (
            Exposure(image.astype("f4"), variance.astype("f4"), mask, mask_planes=planes, psf=psf, name=name)
            for image, variance, psf, name in (
                (self.science, self.variances[0], self.psf, "science"),
                (self.template, self.variances[1], None, "template"),
            )
        )
        difference = Exposure(self.difference.astype("f4"), name="difference")
        options = {"spatial": self.spatial, "convolved": "template", **options}
        return decorrelate(science, template, difference, self.kernel, **options)


def places(free: Array, rng: np.random.Generator) -> Places:
    """Free pixels on a jittered grid, at least half a spacing from each other."""
    found = []
    for y in range(SPACING, free.shape[0] - SPACING, SPACING):
        for x in range(SPACING, free.shape[1] - SPACING, SPACING):
            place = np.array([y, x]) + rng.integers(-SPACING // 4, SPACING // 4 + 1, 2)
            if free[tuple(place)]:
                found.append(place)
    y, x = np.array(found).T
    return y, x


def gaussian(width: int, sigma: float) -> Array:
    x = np.arange(width) - width // 2
    g = np.exp(-0.5 * (x / sigma) ** 2)
    return np.outer(g, g) / g.sum() ** 2


def _bilinear(dx: float, dy: float) -> Array:
    return np.outer([0, 1 - dy, dy], [0, 1 - dx, dx])


def _lanczos(dx: float, dy: float) -> Array:
    x = np.arange(-3, 4)
    along = [np.sinc(x - d) * np.sinc((x - d) / 3) * (np.abs(x - d) < 3) for d in (dy, dx)]
    return np.outer(*along)


_ONE = np.ones((1, 1))


def simulated(
    seed: int,
    size: int,
    tvar: float,
    resampling: tuple[Array, Array] = (_ONE, _ONE),
) -> Field:
    """Two exposures with stars and defects, the template sharper than the science image.

    Parameters
    ----------
    seed
        Of everything that is random.
    size
        Of the images in pixels.
    tvar
        Variance of the template's background; the science image's is 1.
    resampling
        Kernels that correlate the noise of science and template, which keeps its variance.
    """
    rng = np.random.default_rng(seed)
    stars = np.zeros((size, size))
    count = size * size // 8000
    stars[tuple(rng.integers(0, size, (2, count)))] = 10 ** rng.uniform(2, 4.5, count)
    kernel = gaussian(17, 1.4)
    sharp = gaussian_filter(stars, 1.3)
    noise = []
    for variance, by in zip((1.0, tvar), resampling, strict=True):
        by = by * np.sqrt(variance / (by**2).sum())
        noise.append(fftconvolve(rng.normal(size=(size, size)), by, "same"))
    convolved = fftconvolve(noise[1], kernel, "same")
    mask = rng.uniform(size=(size, size)) < 1e-4
    mask[:, size // 3] = True
    naive = 1.0 + tvar * (kernel**2).sum()
    return Field(
        noise[0] + fftconvolve(sharp, kernel, "same"),
        noise[1] + sharp,
        noise[0] - convolved,
        (np.ones((size, size)), np.full((size, size), tvar)),
        np.full((size, size), naive),
        mask,
        ~maximum_filter(stars > 0, 2 * 14 + 1),
        kernel,
        odd(fftconvolve(gaussian(31, 1.3), kernel, "same")),
    )


SCENES: dict[str, Callable[[int, int], Field]] = {
    "white noise, template as deep as the science image": lambda seed, size: simulated(seed, size, 1.0),
    "white noise, template ten times deeper": lambda seed, size: simulated(seed, size, 0.1),
    "correlated noise: Lanczos and bilinear resampling": lambda seed, size: simulated(
        seed, size, 1.0, (_lanczos(0.4, 0.3), _bilinear(0.35, 0.4))
    ),
    "correlated noise: Gaussian and drizzled": lambda seed, size: simulated(
        seed, size, 0.5, (gaussian(9, 0.65), np.outer([0.3, 1, 0.3], [0.3, 1, 0.3]))
    ),
}
