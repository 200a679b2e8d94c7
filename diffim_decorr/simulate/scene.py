"""A simulated exposure pair, its difference and the matching kernel, with everything about them known.

One scene is seen twice, once sharp and once through a matching kernel that varies over the field. The blurred image
is *defined* as the kernel applied to the sharp scene, ``(K * I)(x) = sum_n c_n(x) (B_n * I)(x)``, so whatever did not
change between the two images subtracts to pure noise. The kernel is a sum of Gaussians times polynomials as in Alard
& Lupton (1998, ApJ 503, 325) and Alard (2000, A&AS 144, 363), in the form that HOTPANTS writes to its files.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, log, pi, sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diffim_decorr.fft import forward, good_size, inverse
from diffim_decorr.kernels.coefficients import PolynomialCoefficients
from diffim_decorr.kernels.spatial import SpatialKernel
from diffim_decorr.simulate.options import SimulationOptions

__all__ = ("MASK_PLANES", "HotpantsKernel", "Simulation", "Truth", "convolve", "render", "simulate")

Array = NDArray[Any]

#: Bits of the mask planes that are used, numbered as LSST numbers them.
MASK_PLANES = {"BAD": 0, "SAT": 1, "CR": 3, "DETECTED": 5, "NO_DATA": 8}
_DEFECTS = sum(1 << MASK_PLANES[name] for name in ("BAD", "SAT", "CR", "NO_DATA"))
_MOFFAT_BETA = 3.5
_TILE = 512


@dataclass(frozen=True, eq=False)
class Truth:
    """The sources: arrays (k,) of 0-based positions in pixels, fluxes in counts, and flags."""

    x: Array
    y: Array
    flux_science: Array
    flux_template: Array
    flux_difference: Array
    variable: Array
    transient: Array


@dataclass(frozen=True, eq=False)
class HotpantsKernel:
    """A matching kernel in the terms of HOTPANTS (Becker 2015, ascl:1504.004), for one region that is the image.

    Parameters
    ----------
    sigmas, degrees
        Of the Gaussians: widths in pixels, and degrees of the polynomials they are multiplied with.
    width
        Pixels along each side.
    order
        Degree of the spatial polynomials.
    values
        Coefficients (n, terms) of the basis images; the first of them is constant over the field.
    """

    sigmas: tuple[float, ...]
    degrees: tuple[int, ...]
    width: int
    order: int
    values: Array

    @property
    def powers(self) -> Array:
        """Powers (terms, 2) of x and y in the spatial polynomials."""
        return np.array([(a, b) for a in range(self.order + 1) for b in range(self.order + 1 - a)])

    @property
    def vector(self) -> Array:
        """The solution as the file stores it, with its dummy first element and a background of zero."""
        vector = np.zeros(2 + self.values.size)
        vector[1] = self.values[0, 0]
        vector[2 : 2 + self.values[1:].size] = self.values[1:].ravel()
        return vector

    @property
    def basis(self) -> Array:
        """Basis images (n, width, width)."""
        u = np.arange(self.width) - self.width // 2
        images: list[Array] = []
        for sigma, degree in zip(self.sigmas, self.degrees, strict=True):
            # HOTPANTS keeps this factor in single precision.
            gauss = np.exp(-(u**2) * float(np.float32(0.5 / sigma**2)))
            for i in range(degree + 1):
                for j in range(degree + 1 - i):
                    along_x, along_y = gauss * u**i, gauss * u**j
                    if i % 2 == 0 and j % 2 == 0:
                        # All but the first basis image sum to zero, so the kernel sum is the same everywhere.
                        image = np.outer(along_y / along_y.sum(), along_x / along_x.sum())
                        images.append(image - images[0] if images else image)
                    else:
                        images.append(np.outer(along_y, along_x))
        return np.array(images)

    def spatial_kernel(self, shape: tuple[int, int]) -> SpatialKernel:
        """The kernel over an image of shape (ny, nx)."""
        half = (shape[1] / 2, shape[0] / 2)
        return SpatialKernel(self.basis, PolynomialCoefficients(self.values, self.powers, half, half))


@dataclass(frozen=True, eq=False)
class Simulation:
    """Images, kernel and truth of a simulated subtraction.

    Parameters
    ----------
    options
        What was asked for.
    science, template, difference
        Images (ny, nx), float32, in counts, with the sky subtracted. Missing pixels are NaN. In the difference these
        are the pixels for which the kernel reaches over the border or onto a defect of the convolved image, and
        those that the other image lacks; other defects of the other image are still in it.
    science_variance, template_variance
        Their true variances (ny, nx), float32, in counts².
    science_mask, template_mask
        Mask planes (ny, nx), int32, with the bits `MASK_PLANES`.
    science_psf, template_psf
        PSFs at the field centre, of odd size and sum 1.
    kernel
        The matching kernel.
    hotpants
        The same in the terms of HOTPANTS.
    truth
        The sources.
    """

    options: SimulationOptions
    science: Array
    template: Array
    difference: Array
    science_variance: Array
    template_variance: Array
    science_mask: Array
    template_mask: Array
    science_psf: Array
    template_psf: Array
    kernel: SpatialKernel
    hotpants: HotpantsKernel
    truth: Truth

    @property
    def white_variance(self) -> tuple[float, float]:
        """Background variance in counts² of the difference after whitening, left and right of the middle column.

        This is ``P_D(0)``, the noise power that a filter of sum 1 leaves at all frequencies (DMTN-021).
        """
        o, total = self.options, self.options.kernel_sum
        left, right = o.tvar, o.tvar * o.depth_step
        if o.convolved == "template":
            return o.svar + left * total**2, o.svar + right * total**2
        return o.svar + left / total**2, o.svar + right / total**2


def simulate(options: SimulationOptions) -> Simulation:
    """Simulate a science and a template image and their difference.

    Parameters
    ----------
    options
        What to simulate.

    Examples
    --------
    >>> simulation = simulate(SimulationOptions(size=64, stars=0, masks=False))
    >>> simulation.difference.shape
    (64, 64)
    """
    o, shape = options, options.shape
    seeds = np.random.SeedSequence(o.seed).spawn(5)
    for_sources, for_kernel, for_science, for_template, for_defects = map(np.random.default_rng, seeds)
    hotpants = _matching_kernel(o, for_kernel)
    kernel = hotpants.spatial_kernel(shape)
    x, y, flux, change, variable, transient = _sources(o, for_sources)

    # A margin of half a kernel width keeps the light that sources near the border throw beyond it.
    margin = o.kernel_width // 2
    padded = (shape[0] + 2 * margin, shape[1] + 2 * margin)
    before = render(padded, x + margin, y + margin, flux, o.fwhm, o.psf)
    changed = change != 0
    after = before + render(padded, x[changed] + margin, y[changed] + margin, change[changed], o.fwhm, o.psf)
    inner = slice(margin, margin + shape[0]), slice(margin, margin + shape[1])
    if o.convolved == "template":
        science_signal, template_signal = convolve(after, kernel), before[inner]
        fluxes = o.kernel_sum * (flux + change), flux, o.kernel_sum * change
    else:
        science_signal, template_signal = after[inner], convolve(before, kernel)
        fluxes = flux + change, o.kernel_sum * flux, change

    depth = np.where(np.arange(shape[1]) < shape[1] // 2, o.tvar, o.tvar * o.depth_step)
    science, science_variance, science_mask = _observe(science_signal, np.full(shape[1], o.svar), o, for_science)
    template, template_variance, template_mask = _observe(template_signal, depth, o, for_template)
    if o.masks:
        _spoil(science, science_mask, sqrt(o.svar), for_defects)
        corner = np.add.outer(np.arange(shape[0]), np.arange(shape[1])) < min(shape) // 8
        _lose(science, science_variance, science_mask, corner)
        _lose(template, template_variance, template_mask, corner[::-1, ::-1])

    if o.convolved == "template":
        difference = _subtract(science, template, template_mask, kernel, 1.0)
    else:
        difference = -_subtract(template, science, science_mask, kernel, o.kernel_sum)
    sharp, blurred = _psfs(o, kernel)
    science_psf, template_psf = (blurred, sharp) if o.convolved == "template" else (sharp, blurred)
    return Simulation(
        options=o,
        science=science,
        template=template,
        difference=difference,
        science_variance=science_variance,
        template_variance=template_variance,
        science_mask=science_mask,
        template_mask=template_mask,
        science_psf=science_psf,
        template_psf=template_psf,
        kernel=kernel,
        hotpants=hotpants,
        truth=Truth(x, y, *fluxes, variable, transient),
    )


def render(shape: tuple[int, int], x: Array, y: Array, flux: Array, fwhm: float, psf: str = "gaussian") -> Array:
    """An image of point sources, sampled at pixel centres.

    Parameters
    ----------
    shape
        Of the image, (ny, nx).
    x, y
        Positions (k,) in pixels.
    flux
        Fluxes (k,): each profile sums to its flux as long as all of it falls into the image.
    fwhm
        Full width at half maximum in pixels.
    psf
        "gaussian" or "moffat" (exponent 3.5), cut off at 2.5 and 6 FWHM.
    """
    ny, nx = shape
    radius = _radius(fwhm, psf)
    offsets = np.arange(-radius, radius + 1)
    image: Array = np.zeros(ny * nx)
    chunk = max(1, 2**21 // len(offsets) ** 2)
    for start in range(0, len(x), chunk):
        part = slice(start, start + chunk)
        columns = np.rint(x[part]).astype(int)[:, None] + offsets
        rows = np.rint(y[part]).astype(int)[:, None] + offsets
        across, up = (columns - x[part, None]) ** 2, (rows - y[part, None]) ** 2
        if psf == "gaussian":
            scale = -4 * log(2) / fwhm**2
            profiles = np.exp(scale * up)[:, :, None] * np.exp(scale * across)[:, None, :]
        else:
            scale = 4 * (2 ** (1 / _MOFFAT_BETA) - 1) / fwhm**2
            profiles = (1 + scale * (up[:, :, None] + across[:, None, :])) ** -_MOFFAT_BETA
        profiles *= (flux[part] / profiles.sum(axis=(1, 2)))[:, None, None]
        inside = ((rows >= 0) & (rows < ny))[:, :, None] & ((columns >= 0) & (columns < nx))[:, None, :]
        pixels = rows[:, :, None] * nx + columns[:, None, :]
        np.add.at(image, pixels[inside], profiles[inside])
    return image.reshape(shape)


def _radius(fwhm: float, psf: str) -> int:
    return ceil((2.5 if psf == "gaussian" else 6) * fwhm)


def _matching_kernel(o: SimulationOptions, rng: np.random.Generator) -> HotpantsKernel:
    """A blend of a narrow and a wide Gaussian whose share, ellipticity and centroid vary smoothly."""
    variation = o.kernel_variation if o.kernel_order else 0.0
    sigmas = tuple(round(o.kernel_sigma * scale, 6) for scale in (1 - variation, 1 + (variation or 0.5)))
    draft = HotpantsKernel(sigmas, (2, 0), o.kernel_width, o.kernel_order, np.zeros((0, 0)))
    polynomials = rng.uniform(-1, 1, (5, len(draft.powers)))
    polynomials[:, 0] = 0.0
    line = np.linspace(-1, 1, 33)
    peaks = np.abs(PolynomialCoefficients(polynomials, draft.powers).grid(line, line)).max(axis=(1, 2))
    share, stretch, shear, shift_x, shift_y = polynomials / np.where(peaks > 0, peaks, 1)[:, None]

    values = np.zeros((7, len(draft.powers)))
    values[0, 0] = 1.0
    if variation:
        # Basis images: G, y G, y² G, x G, x y G, x² G and the wide Gaussian; those with odd powers are not normalised.
        odd = 1 / (2 * pi * sigmas[0] ** 4)
        values[1], values[3] = variation / 2 * odd * shift_y, variation / 2 * odd * shift_x
        values[2], values[5] = -variation / 8 * stretch, variation / 8 * stretch
        values[4] = variation / 4 * odd * shear
        values[6] = share / 2
        values[6, 0] += 0.5
    return HotpantsKernel(sigmas, draft.degrees, o.kernel_width, o.kernel_order, values * o.kernel_sum)


def _sources(o: SimulationOptions, rng: np.random.Generator) -> tuple[Array, Array, Array, Array, Array, Array]:
    """Positions, fluxes before and their changes (both in counts of the sharper image), and two flags."""
    stars, variables, transients = o.counts
    ny, nx = o.shape
    total = stars + transients
    x, y = rng.uniform(0, nx - 1, total), rng.uniform(0, ny - 1, total)
    slope = -0.6
    low, high = (bound**slope for bound in o.flux_range)
    flux = np.zeros(total)
    flux[:stars] = (low + (high - low) * rng.uniform(size=stars)) ** (1 / slope)
    variable, transient = np.zeros(total, dtype=bool), np.arange(total) >= stars
    variable[rng.permutation(stars)[:variables]] = True
    change = np.zeros(total)
    change[variable] = flux[variable] * rng.uniform(0.2, 0.8, variables) * rng.choice([-1, 1], variables)
    # From about ten sigma to a few hundred.
    noise = sqrt(o.svar + o.tvar) * 2 * sqrt(pi) * sqrt((o.fwhm / 2.3548) ** 2 + o.kernel_sigma**2)
    change[stars:] = noise * 10 ** rng.uniform(1, 2.5, transients)
    return x, y, flux, change, variable, transient


def _observe(
    signal: Array, background: Array, o: SimulationOptions, rng: np.random.Generator
) -> tuple[Array, Array, Array]:
    """Image, variance and mask (ny, nx) of a signal over a sky whose variance (nx,) depends on the column."""
    variance = background + np.maximum(signal, 0) / o.gain
    image = (signal + np.sqrt(variance) * rng.standard_normal(signal.shape)).astype(np.float32)
    mask = np.where(signal > np.sqrt(background), 1 << MASK_PLANES["DETECTED"], 0).astype(np.int32)
    if o.masks:
        saturated = image >= o.saturation
        image[saturated] = o.saturation
        mask[saturated] |= 1 << MASK_PLANES["SAT"]
    return image, variance.astype(np.float32), mask


def _spoil(image: Array, mask: Array, sigma: float, rng: np.random.Generator) -> None:
    """Add cosmic-ray tracks and hot columns, in place."""
    ny, nx = image.shape
    count = ceil(ny * nx / 128**2)
    x, y, angle = rng.uniform(0, nx, count), rng.uniform(0, ny, count), rng.uniform(0, 2 * pi, count)
    length, charge = rng.integers(1, 13, count), sigma * 10 ** rng.uniform(1.3, 2.5, count)
    steps = np.arange(12)
    columns = np.floor(x[:, None] + steps * np.cos(angle)[:, None]).astype(int)
    rows = np.floor(y[:, None] + steps * np.sin(angle)[:, None]).astype(int)
    hit = (steps < length[:, None]) & (columns >= 0) & (columns < nx) & (rows >= 0) & (rows < ny)
    np.add.at(image, (rows[hit], columns[hit]), np.broadcast_to(charge[:, None], hit.shape)[hit])
    mask[rows[hit], columns[hit]] |= 1 << MASK_PLANES["CR"]
    bad = rng.integers(0, nx, ceil(nx / 512))
    image[:, bad] += 30 * sigma
    mask[:, bad] |= 1 << MASK_PLANES["BAD"]


def _lose(image: Array, variance: Array, mask: Array, lost: Array) -> None:
    image[lost] = variance[lost] = np.nan
    mask[lost] |= 1 << MASK_PLANES["NO_DATA"]


def _subtract(image: Array, convolved: Array, convolved_mask: Array, kernel: SpatialKernel, scale: float) -> Array:
    """``(image - kernel * convolved) / scale`` as float32, NaN where it is not known."""
    from scipy.ndimage import maximum_filter

    margin = kernel.shape[0] // 2
    difference = image - convolve(np.pad(np.nan_to_num(convolved, nan=0.0).astype(float), margin), kernel)
    # Beyond the border nothing is known, which reaches as far in as a defect reaches around itself.
    spoiled = np.pad((convolved_mask & _DEFECTS) != 0, margin, constant_values=True)
    reach = maximum_filter(spoiled.astype(np.uint8), size=kernel.shape, mode="nearest")
    difference[reach[margin:-margin, margin:-margin] > 0] = np.nan
    result: Array = (difference / scale).astype(np.float32)
    return result


def convolve(padded: Array, kernel: SpatialKernel) -> Array:
    """``sum_n c_n(x) (B_n * I)(x)`` where an image I with a margin of half a kernel width defines it, in tiles."""
    height, width = kernel.shape
    ny, nx = padded.shape[0] - height + 1, padded.shape[1] - width + 1
    size = [good_size(min(_TILE, n) + k - 1) for n, k in ((ny, height), (nx, width))]
    transfer = forward(_padded(kernel.basis, size))
    result = np.empty((ny, nx))
    for y0 in range(0, ny, _TILE):
        for x0 in range(0, nx, _TILE):
            y1, x1 = min(y0 + _TILE, ny), min(x0 + _TILE, nx)
            spectrum = forward(_padded(padded[y0 : y1 + height - 1, x0 : x1 + width - 1], size))
            tiles = inverse(transfer * spectrum, size[1])
            tiles = tiles[:, height - 1 : height - 1 + y1 - y0, width - 1 : width - 1 + x1 - x0]
            weights = kernel.coefficients.grid(np.arange(x0, x1), np.arange(y0, y1))
            result[y0:y1, x0:x1] = np.einsum("nyx,nyx->yx", weights, tiles)
    return result


def _padded(images: Array, size: Sequence[int]) -> Array:
    """Images (..., h, w) with zeros behind them, up to a size."""
    rows, columns = (total - own for total, own in zip(size, images.shape[-2:], strict=True))
    return np.pad(images, [(0, 0)] * (images.ndim - 2) + [(0, rows), (0, columns)])


def _psfs(o: SimulationOptions, kernel: SpatialKernel) -> tuple[Array, Array]:
    """The sharper and the blurred PSF at the field centre."""
    from scipy.signal import convolve

    radius = _radius(o.fwhm, o.psf)
    centre = np.array([float(radius)])
    sharp = render((2 * radius + 1, 2 * radius + 1), centre, centre, np.ones(1), o.fwhm, o.psf)
    ny, nx = o.shape
    blurred = convolve(sharp, kernel.at((nx - 1) / 2, (ny - 1) / 2), mode="full", method="direct")
    return sharp, blurred / blurred.sum()
