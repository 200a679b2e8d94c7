"""Images and kernels to measure with, and what each pixel of the result must be."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

__all__ = (
    "SVAR",
    "TVAR",
    "Kernel",
    "Truth",
    "centred",
    "fluxes",
    "max_abs_rho",
    "places_of_sources",
    "shade",
    "sources",
    "truth",
    "write_arrays",
    "write_fits",
    "write_kernel",
)

Array = NDArray[Any]

# Mean background variances.
SVAR, TVAR = 1.0, 2.0

_GAUSSIANS = ((4, 0.9), (2, 1.6), (2, 2.6))
_PLANES = ("BAD", "SAT", "INTRP", "CR", "EDGE")
_BAND = 256
# Of the source whose flux is measured: its width and its flux, and how far from its centre pixels are looked at.
_SEEING, _FLUX, _REACH = 1.5, 1000.0, 64
# How far apart sources are, by how much they are moved at random, and the first one's distance from the edges.
_SPACING, _JITTER, _MARGIN = 160, 10, 80
_LAGS = 5
_BLOCK = 2880


@dataclass(frozen=True)
class Kernel:
    """A matching kernel as HOTPANTS fits it: Gaussians times polynomials, with coefficients polynomial in x and y.

    Parameters
    ----------
    basis
        Images (n, width, width).
    values
        Coefficients (n, terms) of the spatial polynomials.
    order
        Their degree.
    sigmas
        Widths of the Gaussians in pixels.
    shape
        The image's (ny, nx).

    References
    ----------
    Alard & Lupton 1998, ApJ 503, 325; Becker 2015, ascl:1504.004.
    """

    basis: Array
    values: Array
    order: int
    sigmas: tuple[float, ...]
    shape: tuple[int, int]

    @classmethod
    def random(cls, shape: tuple[int, int], width: int = 21, order: int = 2, seed: int = 1) -> Kernel:
        """A kernel that varies notably over the field, its Gaussians as wide as its image allows."""
        rng = np.random.default_rng(seed)
        sigmas = tuple(sigma * width / 21 for _, sigma in _GAUSSIANS)
        basis = _basis(sigmas, width)
        terms = (order + 1) * (order + 2) // 2
        size = np.sqrt(np.abs(basis).sum(axis=(1, 2)))
        values = rng.normal(scale=0.02, size=(len(basis), terms)) / size[:, None]
        values[0] = 0
        values[0, 0] = 1.02
        # The plain Gaussian that is the widest: it sets how much noise is correlated, and how that varies.
        widest = len(basis) - 6
        values[widest] = 0
        values[widest, 0] = 0.45
        if order:
            values[widest, 1], values[widest, order + 1] = 0.2, -0.2
        return cls(basis, values, order, sigmas, shape)

    @property
    def powers(self) -> Array:
        """Powers (terms, 2) of x and y."""
        return np.array([(a, b) for a in range(self.order + 1) for b in range(self.order + 1 - a)])

    def coefficients(self, x: float, y: float) -> Array:
        """Coefficients (n,) of the basis images at a position."""
        half_y, half_x = self.shape[0] / 2, self.shape[1] / 2
        terms = ((x - half_x) / half_x) ** self.powers[:, 0] * ((y - half_y) / half_y) ** self.powers[:, 1]
        return self.values @ terms

    def at(self, x: float, y: float) -> Array:
        """The kernel's image at a position."""
        image: Array = np.tensordot(self.coefficients(x, y), self.basis, axes=1)
        return image

    @property
    def centre(self) -> Array:
        """The kernel's image in the middle of the field."""
        return self.at((self.shape[1] - 1) / 2, (self.shape[0] - 1) / 2)

    def save(self, path: Path) -> None:
        np.savez(path, basis=self.basis, values=self.values, order=self.order, sigmas=self.sigmas, shape=self.shape)

    @classmethod
    def load(cls, path: Path) -> Kernel:
        with np.load(path) as saved:
            ny, nx = saved["shape"].tolist()
            return cls(saved["basis"], saved["values"], int(saved["order"]), tuple(saved["sigmas"].tolist()), (ny, nx))


@dataclass(frozen=True)
class Truth:
    """Result pixels by brute force, and the noise they have.

    Parameters
    ----------
    image, variance
        The pixels and their variances.
    sigma
        Their noise.
    gain
        What a filter that leaves the pixels the noise they had multiplies fluxes with.
    """

    image: Array
    variance: Array
    sigma: Array
    gain: Array


def shade(width: int) -> Array:
    """What the variances in a row of so many pixels are multiplied with: no two neighbours have the same."""
    row = 1 + 0.2 * ((np.arange(width) + 0.5) / width - 0.5)
    return row.astype(np.float32).astype(float)


def truth(difference: Array, kernel: Kernel, points: Array, *, spatial: bool, size: int = 256) -> Truth:
    """The decorrelated image and its variance at points (k, 2) of x, y, by the definition of a convolution.

    The filter of each point is computed for its own position, on a grid of size x size pixels in double precision.

    References
    ----------
    Reiss & Lupton, DMTN-021, eq. 2; Kovacs, DMTN-179, section 5.
    """
    image, variance, sigma, gain = [], [], [], []
    half = size // 2 - 1
    padded = np.pad(difference.astype(float), half)
    # The squares are nowhere near as wide as the margin that points keep from the edges.
    shading = np.pad(shade(difference.shape[1]), half)
    for x, y in points.tolist():
        transform, power, spectrum = _filter(kernel, x, y, spatial=spatial, size=size)
        psi, convolved = (np.fft.irfft2(s, s=(size, size)) for s in (spectrum, spectrum * transform))
        psi_image = np.fft.fftshift(psi)[1:, 1:]
        window = padded[y : y + 2 * half + 1, x : x + 2 * half + 1]
        image.append((window * psi_image[::-1, ::-1]).sum())
        squares = np.fft.fftshift(SVAR * psi**2 + TVAR * convolved**2)[1:, 1:]
        variance.append((squares[::-1, ::-1] @ shading[x : x + 2 * half + 1]).sum())
        sigma.append(np.sqrt(power[0, 0]))
        kappa = np.fft.irfft2(transform, s=(size, size))
        gain.append(np.sqrt((SVAR + TVAR * (kappa**2).sum()) / power[0, 0]))
    return Truth(*map(np.array, (image, variance, sigma, gain)))


def places_of_sources(shape: tuple[int, int], count: int) -> Array:
    """Positions (k, 2) of x, y, at most so many, of sources that are well apart from each other and from the edges."""
    rng = np.random.default_rng(4)
    along_y, along_x = (np.arange(_MARGIN, size - _MARGIN + 1, _SPACING) for size in shape)
    grid = np.stack(np.meshgrid(along_x, along_y), axis=-1).reshape(-1, 2)
    chosen = rng.choice(grid, min(count, len(grid)), replace=False)
    return chosen + rng.integers(-_JITTER, _JITTER + 1, chosen.shape)


def sources(shape: tuple[int, int], places: Array) -> Array:
    """A difference without noise: a Gaussian source at each place."""
    image = np.zeros(shape, dtype=np.float32)
    profile = _FLUX * _source(2 * _REACH + 1)
    for x, y in places.tolist():
        image[y - _REACH : y + _REACH + 1, x - _REACH : x + _REACH + 1] += profile
    return image


def fluxes(whitened: Array, kernel: Kernel, places: Array, *, spatial: bool, size: int = 256) -> Array:
    """Fluxes (k,), fitted with the PSF that the whitened image should have there, over those that `sources` put in."""
    found = []
    source = np.fft.rfft2(centred(_source(2 * _REACH + 1), (size, size)))
    middle = slice(size // 2 - _REACH, size // 2 + _REACH + 1)
    for x, y in places.tolist():
        _, _, spectrum = _filter(kernel, x, y, spatial=spatial, size=size)
        psf = np.fft.fftshift(np.fft.irfft2(source * spectrum, s=(size, size)))[middle, middle]
        window = whitened[y - _REACH : y + _REACH + 1, x - _REACH : x + _REACH + 1]
        found.append((window * psf).sum() / (psf**2).sum() / _FLUX)
    return np.array(found)


def max_abs_rho(image: Array, margin: int) -> float:
    """The largest correlation of pixels up to 5 x 5 apart, those next to the edges left out."""
    inside = image[margin:-margin, margin:-margin].astype(float)
    inside -= np.median(inside)
    ny, nx = inside.shape
    shape = ny + _LAGS, nx + _LAGS
    sums = np.fft.irfft2(np.abs(np.fft.rfft2(inside, s=shape)) ** 2, s=shape)
    found = []
    for dy in range(_LAGS + 1):
        for dx in range(-_LAGS, _LAGS + 1):
            if (dy, dx) > (0, 0):
                found.append(sums[dy, dx] / ((ny - dy) * (nx - abs(dx))))
    return float(np.abs(found).max() / (sums[0, 0] / inside.size))


def _filter(kernel: Kernel, x: float, y: float, *, spatial: bool, size: int) -> tuple[Array, Array, Array]:
    """Transform of the kernel at a position, of the noise's power, and of ψ."""
    transform = np.fft.rfft2(centred(kernel.at(x, y) if spatial else kernel.centre, (size, size)))
    power = SVAR + TVAR * np.abs(transform) ** 2
    return transform, power, np.sqrt(power[0, 0] / power)


def _source(width: int) -> Array:
    x = np.arange(width) - width // 2
    gauss = np.exp(-0.5 * (x / _SEEING) ** 2)
    return np.outer(gauss, gauss) / gauss.sum() ** 2


def centred(kernel: Array, shape: tuple[int, int]) -> Array:
    """A kernel in an array of zeros, its centre at the origin."""
    height, width = kernel.shape
    grid = np.zeros(shape)
    grid[:height, :width] = kernel
    return np.roll(grid, (-(height // 2), -(width // 2)), axis=(0, 1))


def write_arrays(folder: Path, kernel: Kernel) -> Array:
    """Science, template and difference of white noise as array files; the difference is returned."""
    from diffim_decorr.engine.convolve import convolve
    from diffim_decorr.kernels.coefficients import PolynomialCoefficients
    from diffim_decorr.kernels.spatial import SpatialKernel

    rng = np.random.default_rng(0)
    ny, nx = kernel.shape
    science, template = (rng.normal(scale=v**0.5, size=kernel.shape) for v in (SVAR, TVAR))
    varying = PolynomialCoefficients(kernel.values, kernel.powers, (nx / 2, ny / 2), (nx / 2, ny / 2))
    difference = (science - convolve(template, SpatialKernel(kernel.basis, varying))).astype(np.float32)
    np.save(folder / "science.npy", science.astype(np.float32))
    np.save(folder / "template.npy", template.astype(np.float32))
    np.save(folder / "difference.npy", difference)
    kernel.save(folder / "kernel.npz")
    return difference


def write_fits(folder: Path, kernel: Kernel) -> tuple[Path, Path, Path]:
    """Science and template with mask and variance, and a difference with its kernel, band by band.

    The pixels are white noise, in the difference too: the work is the same for all pixels within some hundred sigma.
    Variances vary over the field; the same value all over would be less work.
    """
    from astropy.io import fits

    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    paths = folder / "sci.fits", folder / "tmpl.fits", folder / "diff.fits"
    ny, nx = kernel.shape

    def noise(scale: float) -> Iterator[Array]:
        for rows in _bands(ny):
            yield rng.standard_normal((rows, nx), dtype=np.float32) * np.float32(scale)

    def shaded(value: float) -> Iterator[Array]:
        for rows in _bands(ny):
            yield np.tile((value * shade(nx)).astype("f4"), (rows, 1))

    def clear() -> Iterator[Array]:
        for rows in _bands(ny):
            yield np.zeros((rows, nx), "i4")

    planes = [f"MP_{name:<5}= {bit}" for bit, name in enumerate(_PLANES)]
    for path, variance in zip(paths[:2], (SVAR, TVAR), strict=True):
        with path.open("wb") as file:
            file.write(fits.PrimaryHDU().header.tostring().encode())
            _write_image(file, _header(kernel.shape, -32, "IMAGE"), noise(variance**0.5))
            _write_image(file, _header(kernel.shape, 32, "MASK", planes), clear())
            _write_image(file, _header(kernel.shape, -32, "VARIANCE"), shaded(variance))
    with paths[2].open("wb") as file:
        _write_image(file, _primary(kernel, kernel.shape), noise((SVAR + TVAR * 0.3) ** 0.5))
        _write_table(file, kernel)
    return paths


def write_kernel(path: Path, kernel: Kernel) -> None:
    """A kernel in a file of its own."""
    with path.open("wb") as file:
        file.write(_primary(kernel, ()).tostring().encode())
        _write_table(file, kernel)


def _basis(sigmas: Iterable[float], width: int) -> Array:
    x = np.arange(width) - width // 2
    basis: list[Array] = []
    for (degree, _), sigma in zip(_GAUSSIANS, sigmas, strict=True):
        gauss = np.exp(-(x**2) / (2 * sigma**2))
        for i in range(degree + 1):
            for j in range(degree + 1 - i):
                along_x, along_y = gauss * x**i, gauss * x**j
                even = i % 2 == 0 and j % 2 == 0
                if even:
                    along_x, along_y = along_x / along_x.sum(), along_y / along_y.sum()
                image = np.outer(along_y, along_x)
                basis.append(image - basis[0] if even and basis else image)
    return np.array(basis)


def _primary(kernel: Kernel, shape: tuple[int, ...]) -> Any:
    """Primary header of a HOTPANTS difference, or of a file that has its kernel alone."""
    from astropy.io import fits

    header = fits.Header([("SIMPLE", True), ("BITPIX", -32), ("NAXIS", len(shape))])
    header.update({f"NAXIS{k}": size for k, size in enumerate(shape[::-1], 1)})
    ny, nx = kernel.shape
    header.update({"EXTEND": True, "NREGION": 1, "REGION00": f"[1:{nx},1:{ny}]", "CONVOL00": "TEMPLATE"})
    header.update({"KSUM00": float(kernel.values[0, 0]), "PHOTNORM": "i", "MASKVAL": 1e-30, "KERINFO": True})
    return header


def _write_table(file: BinaryIO, kernel: Kernel) -> None:
    """The kernel as HOTPANTS writes it."""
    from astropy.io import fits

    vector = np.concatenate([[0.0, kernel.values[0, 0]], kernel.values[1:].ravel(), [0.0]])
    column = fits.Column("Region0", "D", array=vector)
    header = fits.BinTableHDU.from_columns([column], name="Convolution Kernel Information").header
    header["NGAUSS"] = len(_GAUSSIANS)
    for number, ((degree, _), sigma) in enumerate(zip(_GAUSSIANS, kernel.sigmas, strict=True), 1):
        header[f"DGAUSS{number}"], header[f"SGAUSS{number}"] = degree, sigma
    header["FWKERN"], header["CKORDER"], header["BGORDER"] = kernel.basis.shape[1], kernel.order, 0
    file.write(header.tostring().encode())
    written = file.write(vector.astype(">f8").tobytes())
    file.write(b"\0" * (-written % _BLOCK))


def _bands(ny: int) -> Iterator[int]:
    for y in range(0, ny, _BAND):
        yield min(_BAND, ny - y)


def _header(shape: tuple[int, int], bitpix: int, name: str, cards: Iterable[str] = ()) -> Any:
    from astropy.io import fits

    header = fits.Header([("XTENSION", "IMAGE"), ("BITPIX", bitpix), ("NAXIS", 2)])
    header.update({"NAXIS1": shape[1], "NAXIS2": shape[0], "PCOUNT": 0, "GCOUNT": 1, "EXTNAME": name})
    for card in cards:
        header.append(fits.Card.fromstring(card))
    return header


def _write_image(file: BinaryIO, header: Any, bands: Iterable[Array]) -> None:
    file.write(header.tostring().encode())
    written = 0
    for band in bands:
        written += file.write(band.astype(band.dtype.newbyteorder(">")).tobytes())
    file.write(b"\0" * (-written % _BLOCK))
