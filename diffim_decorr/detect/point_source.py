"""What a point source becomes in a decorrelated difference.

A convolution whose kernel varies takes the kernel of the pixel that is written: a source of shape φ at x₀ becomes
``R(u) = Σₙ cₙ(x₀ + u) (Bₙ ⊗ φ)(u)`` at the offset u, for basis images Bₙ of ψ and their coefficients cₙ. φ itself is
that of the place of the source.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from diffim_decorr.fft import good_size, inverse_window, kernel_transform
from diffim_decorr.geometry import Box
from diffim_decorr.kernels.compress import compact
from diffim_decorr.kernels.piecewise import parts_of
from diffim_decorr.kernels.spatial import SpatialKernel

__all__ = ("PointSource", "combined", "gaussian_psf")

Array = NDArray[Any]

# Of Σ R², what may be left out beyond the reach; positions along each axis of a part at which it is looked at.
_LEFT_OUT, _PLACES = 1e-9, 3
# Half width of a Gaussian, in units of its σ.
_WIDE = 5.5


@dataclass(frozen=True, eq=False)
class PointSource:
    """A point source of flux 1 in an image.

    Parameters
    ----------
    shape
        Of the image, (ny, nx).
    psf
        φ, taken where the source is.
    psi
        What it was convolved with, taken where the pixel is.
    origin
        Where φ comes from, for headers and messages.
    """

    shape: tuple[int, int]
    psf: SpatialKernel
    psi: SpatialKernel
    origin: str
    _kept: dict[int, tuple[tuple[int, int], Array]] = field(default_factory=dict)

    @classmethod
    def of(
        cls, shape: tuple[int, int], psf: ArrayLike | SpatialKernel, psi: SpatialKernel | None, origin: str
    ) -> PointSource:
        """That of a PSF, an image or one that varies, and of ψ, if it is not in the PSF already."""
        kernel = psf if isinstance(psf, SpatialKernel) else SpatialKernel.constant(psf)
        return cls(shape, _odd(compact(kernel)), SpatialKernel.identity() if psi is None else psi, origin)

    @property
    def whole(self) -> Box:
        return Box(0, 0, self.shape[1], self.shape[0])

    @cached_property
    def parts(self) -> list[tuple[Box, SpatialKernel]]:
        """The rectangles within which ψ is smooth, of which the last one counts where they overlap."""
        return parts_of(self.psi, self.whole)

    @property
    def is_constant(self) -> bool:
        return self.psf.is_constant and self.psi.is_constant

    @cached_property
    def reach(self) -> int:
        """How far from a source there is anything of it."""
        return max(_reach(image) for box, psi in self.parts for image in self._some(box, psi))

    def at(self, x: float, y: float) -> tuple[Array, int, int]:
        """What a source at a position, in pixels and parts of them, becomes.

        Returns
        -------
        image, x0, y0
            The image (2 reach + 1, 2 reach + 1), and the pixel in its middle.
        """
        x0, y0 = int(np.floor(x + 0.5)), int(np.floor(y + 0.5))
        number, psi = self._part_around(x0, y0)
        shape, spectra = self._spectra(number, psi)
        psf = np.tensordot(self.psf.coefficients.at(np.array([x]), np.array([y]))[:, 0], self.psf.basis, axes=1)
        phase = np.multiply.outer(_shift(shape[0], y - y0, shape[0]), _shift(shape[1], x - x0, shape[1] // 2 + 1))
        images = inverse_window(spectra * (kernel_transform(psf, shape) * phase), shape[1], self.reach)
        ny, nx = self.shape
        offsets = np.arange(-self.reach, self.reach + 1)
        # Of what is written outside the image nobody knows the kernel; it goes on as at the edge.
        amounts = psi.coefficients.grid(np.clip(x0 + offsets, 0, nx - 1), np.clip(y0 + offsets, 0, ny - 1))
        image: Array = np.einsum("nyx,nyx->yx", amounts, images)
        return image, x0, y0

    def _part_around(self, x: int, y: int) -> tuple[int, SpatialKernel]:
        """The number and ψ of the part that all around a pixel lies in; -1 and ψ as it is if it is not one alone."""
        around = Box(x, y, x + 1, y + 1).grown(self.reach).clipped(self.shape)
        touched = [k for k, (box, _) in enumerate(self.parts) if min(around.within(box).shape) > 0]
        if len(touched) == 1 and around.within(self.parts[touched[0]][0]) == around:
            return touched[0], self.parts[touched[0]][1]
        return -1, self.psi

    def _spectra(self, number: int, psi: SpatialKernel) -> tuple[tuple[int, int], Array]:
        """The size of a grid, and the transforms on it of the basis images of a part's ψ."""
        if number not in self._kept:
            height, width = (
                good_size(max(one + other, 2 * self.reach + 1))
                for one, other in zip(psi.shape, self.psf.shape, strict=True)
            )
            self._kept[number] = (height, width), kernel_transform(psi.basis, (height, width))
        return self._kept[number]

    def near(self, x: float, y: float) -> Array:
        """What a source at a position becomes, ψ taken there for all of it (2 reach + 1, 2 reach + 1)."""
        inside = [psi for box, psi in self.parts if box.contains(x, y)]
        psi = inside[-1] if inside else self.parts[0][1]
        place = np.array([x]), np.array([y])
        images = [np.tensordot(own.coefficients.at(*place), own.basis, axes=(0, 0)) for own in (psi, self.psf)]
        image: Array = combined(images[0], images[1], self.reach)[0, 0]
        return image

    def _some(self, box: Box, psi: SpatialKernel) -> Array:
        """What sources at some places of a part become, ψ taken where they are."""
        x, y = (
            np.unique(np.round(np.linspace(first, end - 1, 1 if self.is_constant else _PLACES)))
            for first, end in ((box.x0, box.x1), (box.y0, box.y1))
        )
        places = [positions.ravel() for positions in np.meshgrid(x, y)]
        psfs = np.tensordot(self.psf.coefficients.at(*places), self.psf.basis, axes=(0, 0))
        psis = np.tensordot(psi.coefficients.at(*places), psi.basis, axes=(0, 0))
        half = max(self.psf.shape) // 2 + max(psi.shape) // 2
        return np.array([combined(k[None], p[None], half)[0, 0] for k, p in zip(psis, psfs, strict=True)])


def combined(psis: Array, psfs: Array, reach: int) -> Array:
    """Images (r, h, w) convolved with each of others (s, a, b), as far as a reach from the middle: (r, s, n, n)."""
    height, width = (
        good_size(max(one + other, 2 * reach + 1)) for one, other in zip(psis.shape[1:], psfs.shape[1:], strict=True)
    )
    shape = height, width
    spectra = kernel_transform(psis, shape)[:, None] * kernel_transform(psfs, shape)
    images: Array = inverse_window(spectra, width, reach)
    return images


def _shift(size: int, by: float, count: int) -> Array:
    """The first so many factors with which the transform along an axis moves an image by a part of a pixel."""
    frequencies = np.fft.fftfreq(size)[:count]
    factors: Array = np.exp(-2j * np.pi * frequencies * by)
    # Of a wave that changes its sign from pixel to pixel only the even part is seen.
    factors[np.abs(frequencies) == 0.5] = np.cos(np.pi * by)
    return factors


def gaussian_psf(fwhm: float) -> Array:
    """A Gaussian PSF of a FWHM in pixels, with a sum of 1."""
    sigma = fwhm / (2 * np.sqrt(2 * np.log(2)))
    half = int(np.ceil(_WIDE * sigma))
    profile = np.exp(-0.5 * (np.arange(-half, half + 1) / sigma) ** 2)
    image: Array = np.outer(profile, profile) / profile.sum() ** 2
    return image


def _odd(kernel: SpatialKernel) -> SpatialKernel:
    """A kernel with a middle pixel, where its centre is, and nothing more around it than there is of it."""
    height, width = (n + 1 - n % 2 for n in kernel.shape)
    basis = np.zeros((len(kernel.basis), height, width))
    basis[:, : kernel.shape[0], : kernel.shape[1]] = kernel.basis
    return SpatialKernel(basis, kernel.coefficients, kernel.field)


def _reach(image: Array) -> int:
    """How far from the middle there is all of an image (n, n) but for what may be left out."""
    half = len(image) // 2
    radius = np.maximum(*np.abs(np.mgrid[-half : half + 1, -half : half + 1]))
    within = np.bincount(radius.ravel(), weights=(image**2).ravel()).cumsum()
    return int(np.argmax(within >= (1 - _LEFT_OUT) * within[-1]))
