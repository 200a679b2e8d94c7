"""The decorrelation kernel over the field, and the kernels that propagate variance and missing pixels through it.

The decorrelation kernel ψ is not linear in the matching kernel, but it is as smooth: it is computed at nodes over the
field (and over the noise ratio), its samples are compressed by a singular value decomposition, and the coefficients
interpolated. The variance kernels ``(ψ ⊗ κ_i)²`` are treated likewise, jointly for all inputs.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diffim_decorr.convolution import FilterBank
from diffim_decorr.errors import InputError
from diffim_decorr.noise import NoiseField
from diffim_decorr.spatial import (
    Box,
    Coefficients,
    GridCoefficients,
    PiecewiseCoefficients,
    PolynomialCoefficients,
    SpatialKernel,
    lagrange_weights,
)
from diffim_decorr.whitening import (
    centred_crop,
    good_size,
    inverse,
    kernel_transform,
    noise_power,
    score_filter,
    tail,
    tail_peak,
    whitening_filter,
)

__all__ = ("Decorrelation", "Recipe", "build_decorrelation", "variation")

Array = NDArray[Any]

_LARGEST_GRID = 512
_SMALLEST_RESIDUAL = 0.5
_SMALLEST_POWER = 2e-3  # of a measured noise spectrum, relative to its largest value
# Shares of the tolerance. What is cut off ψ is the same everywhere and shows next to bright pixels: its sum gets
# little, and any single pixel so little that stars of a million σ leave no trace.
_TAIL, _TAIL_PEAK, _MODES = 0.01, 1e-5, 0.6
# For a ψ that amplifies strongly (Σ|ψ| above _SHARP), or for noise that is known from measurement only, what counts is
# the energy that is cut off.
_SHARP_TAIL, _SHARP = 0.3, 10.0
_VARIANCE_TOLERANCE = 1e-3
_SUM_WEIGHT = 20.0
# Degree of the interpolation between nodes, and how many of them are enough to begin with or to find the modes.
_DEGREE = 7
_MOST_NODES = 9
_USUAL_SPACING = 256.0
_MOST_SAMPLES = 600
# Of more nodes than these ψ's samples are not kept: the modes are known by then.
_MOST_KEPT = 4000
_MOST_RATIOS = 24
_SMALLEST_SPACING = 8.0
_FEWEST_INTERVALS = 4
# Frequencies of all nodes that are worked on at once, few enough to stay in the cache of one core.
_AT_ONCE = 1 << 15


@dataclass(frozen=True)
class Decorrelation:
    """ψ and what goes with it.

    Parameters
    ----------
    psi
        The decorrelation kernel.
    variance
        Kernels of the variance planes, one basis for each input.
    footprint
        The absolute value of ψ, normalised to a sum of 1: how much each pixel matters to its neighbours.
    energy_lost
        The largest fraction of Σψ² that was cut off.
    frequencies_limited
        The largest fraction of frequencies at which the gain was limited.
    node_spacing
        Largest distance of neighbouring nodes in pixels; 0 for a constant kernel.
    mode_error, field_error, ratio_error
        Estimated rms errors from compression and from interpolation over the field and over the noise ratio, in units
        of the noise.
    """

    psi: SpatialKernel
    variance: FilterBank
    footprint: SpatialKernel
    energy_lost: float
    frequencies_limited: float
    node_spacing: float = 0.0
    mode_error: float = 0.0
    field_error: float = 0.0
    ratio_error: float = 0.0

    @property
    def half_width(self) -> int:
        return self.psi.shape[0] // 2

    @property
    def modes(self) -> int:
        return len(self.psi.basis)

    @property
    def error(self) -> float:
        """Estimated rms error in units of the noise."""
        return math.hypot(self.mode_error, self.field_error, self.ratio_error)


@dataclass(frozen=True)
class Recipe:
    """What ψ is to do, besides what the noise says.

    Parameters
    ----------
    score
        Make the difference, which was pre-convolved, a likelihood image instead of whitening it.
    max_gain
        Limit of ψ̂(k) relative to ψ̂(0).
    residual
        Correlation function (2 l + 1, 2 l + 1) that a first ψ left in the difference, to be whitened as well.
    half_width
        Of ψ in pixels; None for what the tolerance needs.
    """

    score: bool = False
    max_gain: float = 1e4
    residual: Array | None = None
    half_width: int | None = None


class _Sampler:
    """Computes ψ and the variance kernels at positions and noise ratios."""

    def __init__(self, inputs: Sequence[SpatialKernel], noise: NoiseField, recipe: Recipe, size: int) -> None:
        self.inputs = inputs
        self.size = size
        self.batch = max(1, _AT_ONCE // (size * (size // 2 + 1)))
        self._noise = noise
        self._recipe = recipe
        self._spectra = [kernel_transform(kernel.basis, (size, size)) for kernel in inputs]
        self._untouched = [kernel.is_constant and np.array_equal(kernel.at(0, 0), [[1.0]]) for kernel in inputs]
        self._correlations = [None if rho is None else self._spectrum(rho) for rho in noise.correlations]
        self._second, self._second_gain = self._residual_filter()

    def _spectrum(self, rho: Array) -> Array:
        """Power spectrum of noise with a measured correlation function, which need not be exactly positive."""
        spectrum = kernel_transform(rho, (self.size, self.size)).real
        # A floor that sets in smoothly: a sharp one would make ψ ring.
        floor = _SMALLEST_POWER * spectrum.max()
        floored: Array = (spectrum + np.hypot(spectrum, 2 * floor)) / 2
        return floored

    def _residual_filter(self) -> tuple[Array | None, float]:
        """The filter for what a first ψ left, and by how much it changes the variance beyond what the model says."""
        if self._recipe.residual is None:
            return None, 1.0
        # A first ψ leaves little to do but where its gain was limited, and there no noise is to be had.
        spectrum = np.maximum(self._spectrum(self._recipe.residual), _SMALLEST_RESIDUAL)
        second = np.sqrt(spectrum[0, 0] / spectrum)
        # The noise has the variance spectrum(0) after this filter; for white noise it would be the mean of its square.
        return second, float(spectrum[0, 0] / self._mean(second**2))

    def _mean(self, half: Array) -> Array:
        """Mean over all frequencies of real, symmetric spectra (..., N, N // 2 + 1)."""
        weights = np.full(half.shape[-1], 2.0)
        weights[[0, -1]] = 1.0
        mean: Array = (half * weights).sum(axis=(-2, -1)) / self.size**2
        return mean

    def filters(self, x: Array, y: Array, log_ratio: Array) -> tuple[Array, list[Array], float]:
        """ψ̂ and the inputs' κ̂ (k, N, N // 2 + 1), and the fraction of frequencies limited."""
        variances = self._noise.relative(log_ratio)
        transforms = [
            _weighted(kernel.coefficients.at(x, y), spectrum)
            for kernel, spectrum in zip(self.inputs, self._spectra, strict=True)
        ]
        powers = noise_power(transforms, variances, self._correlations)
        power = powers.sum(axis=0)
        if not np.all(power[:, 0, 0] > 0):
            raise InputError("the difference has no noise at zero frequency: the kernel sums to zero")
        limited = 0.0
        if self._recipe.score:
            science = [side == "science" for side in self._noise.sides]
            # The PSF's part, without the correlation of the noise, which belongs in the denominator only.
            own = noise_power(transforms, variances, [None] * len(transforms))[science].sum(axis=0)
            psi = score_filter(power, own, variances[science].sum(axis=0))
        else:
            psi, limited = whitening_filter(power, self._recipe.max_gain)
        if self._second is not None:
            psi *= self._second
        return psi, transforms, limited

    def psi(self, x: Array, y: Array, log_ratio: Array) -> tuple[Array, float]:
        """Periodic images (k, N, N) of ψ, and the fraction of frequencies limited."""
        psi, _, limited = self.filters(x, y, log_ratio)
        return inverse(psi.astype(complex), self.size), limited

    def all(self, x: Array, y: Array, log_ratio: Array) -> tuple[Array, Array, float]:
        """Periodic images of ψ (k, N, N) and of the variance kernels (inputs, k, N, N)."""
        psi, transforms, limited = self.filters(x, y, log_ratio)
        image = inverse(psi.astype(complex), self.size)
        squares = []
        for transform, untouched, correlation in zip(transforms, self._untouched, self._correlations, strict=True):
            if untouched and correlation is None:
                squares.append(image**2 * self._second_gain)
                continue
            whole = psi * transform
            if correlation is not None:
                # Correlated noise is white noise after the filter whose square is its spectrum: with that in it, the
                # sum of the kernel's square is the true gain.
                whole *= np.sqrt(correlation)
            square = inverse(whole, self.size) ** 2
            squares.append(square * self._second_gain)
        return image, np.array(squares), limited


def _weighted(amounts: Array, spectra: Array) -> Array:
    """Sums (k, …) of complex spectra (n, …) with real amounts (n, k)."""
    parts = spectra.reshape(len(spectra), -1).view(np.float64)
    return (amounts.T @ parts).view(np.complex128).reshape(-1, *spectra.shape[1:])


@dataclass(frozen=True)
class _Nodes:
    """Nodes over one box of the field and over the noise ratio."""

    box: Box
    x: Array
    y: Array
    log_ratio: Array

    @classmethod
    def over(cls, box: Box, spacing: float, log_ratio: Array, level: int = 0) -> _Nodes:
        """Nodes that are not farther apart than a spacing, halved as many times as the level says."""

        def axis(first: int, end: int) -> Array:
            # However short an axis is, the kernel may go through all its range along it.
            intervals = max(_FEWEST_INTERVALS, int(np.ceil((end - 1 - first) / spacing))) << level
            return np.linspace(first, end - 1, min(intervals + 1, end - first))

        return cls(box, axis(box.x0, box.x1), axis(box.y0, box.y1), log_ratio)

    @property
    def positions(self) -> tuple[Array, Array, Array]:
        y, x, r = np.meshgrid(self.y, self.x, self.log_ratio, indexing="ij")
        return x.ravel(), y.ravel(), r.ravel()

    @property
    def shape(self) -> tuple[int, int, int]:
        return len(self.y), len(self.x), len(self.log_ratio)

    @property
    def areas(self) -> Array:
        """How much of the field each node stands for, 1 on average (k)."""
        along = [np.ones(n) for n in self.shape]
        for weights in along[:2]:
            if len(weights) > 1:
                weights[[0, -1]] = 0.5
        areas: Array = np.multiply.outer(np.multiply.outer(along[0], along[1]), along[2]).ravel()
        areas *= len(areas) / areas.sum()
        return areas


@dataclass(frozen=True)
class _Support:
    """The sampler, the half-widths of ψ and of the variance kernels, the energy lost, and whether ψ sharpens much.

    Errors of ψ are in units of `norm`.
    """

    sampler: _Sampler
    half_width: int
    reach: int
    energy_lost: float
    sharpening: bool
    norm: float


def build_decorrelation(
    inputs: Sequence[SpatialKernel],
    noise: NoiseField,
    shape: tuple[int, int],
    *,
    at: tuple[float, float] | None = None,
    tolerance: float = 1e-3,
    node_spacing: float = 256.0,
    recipe: Recipe | None = None,
    threads: int = 1,
) -> Decorrelation:
    """Compute the decorrelation kernel of a difference ``D = Σ_i κ_i ⊗ I_i``.

    Parameters
    ----------
    inputs
        Kernel of each image I_i, the identity for one that was not convolved.
    noise
        Noise of each image.
    shape
        Of the image, (ny, nx).
    at
        Position (x, y) at which the kernels are taken for a constant ψ; None for one that varies over the field.
    tolerance
        Bound of the rms error in units of the noise.
    node_spacing
        Distance of nodes in pixels to begin with; it is halved until the tolerance is met. The usual 256 pixels stand
        for an eighth of the field where that is more.
    recipe
        What ψ is to do, whitening by default.
    threads
        Number of threads.

    Returns
    -------
    Decorrelation

    Raises
    ------
    InputError
        If the kernels sum to zero.

    References
    ----------
    Reiss & Lupton, DMTN-021, eq. 2; DMTN-061 (spatial variation); Kovacs, DMTN-179, section 5 (variance).
    """
    recipe = recipe or Recipe()
    boxes = _boxes(inputs, shape)
    ratio_nodes = _ratio_nodes(noise, tolerance)
    if at is not None:
        inputs = [kernel.frozen(*at) for kernel in inputs]
        ratio_nodes = np.array([noise.mean_log_ratio])
        boxes = (Box(0, 0, shape[1], shape[0]),)
    constant = all(kernel.is_constant for kernel in inputs) and len(boxes) == 1
    probes = [_probes(box, ratio_nodes[[0, -1]], constant) for box in boxes]
    support = _supports(inputs, noise, recipe, probes, tolerance)
    if constant and len(ratio_nodes) == 1:
        return _constant(support, ratio_nodes)
    extent = max(max(box.shape) for box in boxes)
    spacing = max(node_spacing, extent / (_MOST_NODES - 1)) if node_spacing >= _USUAL_SPACING else node_spacing
    level = 0
    trial = None
    while True:
        if constant:
            nodes = [_probes(box, ratio_nodes, constant) for box in boxes]
        else:
            nodes = [_Nodes.over(box, spacing, ratio_nodes, level) for box in boxes]
        if trial is None or sum(math.prod(part.shape) for part in nodes) <= _MOST_KEPT:
            sampled = nodes
            trial = _psi_from_nodes(support, nodes, tolerance, threads)
        else:
            trial = _interpolated_further(support, trial, nodes, threads)
        # More nodes do nothing for modes that were found at fewer.
        if trial.error <= tolerance or trial.mode_error > tolerance:
            break
        if trial.ratio_error > trial.field_error and len(ratio_nodes) < _MOST_RATIOS:
            low, high = ratio_nodes[0], ratio_nodes[-1]
            ratio_nodes = np.linspace(low, high, min(len(ratio_nodes) + 3, _MOST_RATIOS))
        elif extent / (_FEWEST_INTERVALS << level) >= _SMALLEST_SPACING and not constant:
            level += 1
        else:
            break
    gaps = [float(np.diff(axis).max()) for part in nodes for axis in (part.x, part.y) if len(axis) > 1]
    return Decorrelation(
        SpatialKernel(trial.basis, _coefficients(trial.weights, nodes, noise)),
        _variance_bank(trial, sampled, noise),
        _footprint(trial, sampled, noise),
        support.energy_lost,
        trial.limited,
        max(gaps, default=0.0),
        trial.mode_error,
        trial.field_error,
        trial.ratio_error,
    )


def variation(
    inputs: Sequence[SpatialKernel],
    noise: NoiseField,
    shape: tuple[int, int],
    decorrelation: Decorrelation,
    recipe: Recipe,
) -> float:
    """By how much ψ would vary over the field: the largest rms difference from a constant ψ, in units of the noise."""
    # ψ may be narrower than what it is made from.
    correlations = [rho.shape[0] for rho in (recipe.residual, *noise.correlations) if rho is not None]
    widest = max(*decorrelation.psi.shape, *correlations, *(max(kernel.shape) for kernel in inputs))
    sampler = _Sampler(inputs, noise, recipe, good_size(2 * widest))
    largest = 0.0
    for box in _boxes(inputs, shape):
        y, x = (a.ravel() for a in np.meshgrid(*(np.linspace(*e, 5) for e in _extents(box)), indexing="ij"))
        ratio = np.full(len(x), noise.mean_log_ratio)
        if noise.log_ratio is not None:
            ratio = noise.log_ratio.at(x, y)[0]
        psi, _, _ = sampler.filters(x, y, ratio)
        own = kernel_transform(decorrelation.psi.basis, (sampler.size, sampler.size))
        # ψ̂ is the inverse of the noise's amplitude, so that the ratio of two of them is the error's amplitude.
        largest = max(largest, float(np.sqrt(np.mean(np.abs(own / psi - 1) ** 2, axis=(1, 2))).max()))
    return largest


def _boxes(inputs: Sequence[SpatialKernel], shape: tuple[int, int]) -> tuple[Box, ...]:
    """The rectangles within which all kernels are smooth."""
    return next((kernel.boxes for kernel in inputs if kernel.boxes), (Box(0, 0, shape[1], shape[0]),))


def _probes(box: Box, log_ratio: Array, constant: bool) -> _Nodes:
    """Corners, edges and centre of a box, where ψ may be widest."""
    y, x = (np.unique([first, (first + last) / 2, last]) for first, last in _extents(box))
    return _Nodes(box, x[:1], y[:1], log_ratio) if constant else _Nodes(box, x, y, log_ratio)


def _extents(box: Box) -> tuple[tuple[int, int], tuple[int, int]]:
    return (box.y0, box.y1 - 1), (box.x0, box.x1 - 1)


def _ratio_nodes(noise: NoiseField, tolerance: float) -> Array:
    if noise.log_ratio is None:
        return np.array([noise.mean_log_ratio])
    low, high = float(noise.log_ratio.values.min()), float(noise.log_ratio.values.max())
    if high - low < 0.1 * tolerance:
        return np.array([(low + high) / 2])
    # The filter is smooth in the logarithm; the error of the interpolation is measured later.
    return np.linspace(low, high, 2 if high - low < 0.05 else 3 + int(2 * (high - low)))


def _supports(
    inputs: Sequence[SpatialKernel], noise: NoiseField, recipe: Recipe, probes: list[_Nodes], tolerance: float
) -> _Support:
    """A grid on which ψ does not wrap, and the half-widths of ψ and of the variance kernels."""
    x, y, r = _all_positions(probes)
    kernels = max(max(kernel.shape) for kernel in inputs)
    size = good_size(max(64, 2 * kernels, 4 * (recipe.half_width or 0)))
    while True:
        sampler = _Sampler(inputs, noise, recipe, size)
        lost_energy, lost_psi, lost_peak, lost_squares = np.zeros((4, size // 2))
        for k in range(0, len(x), sampler.batch):
            batch = slice(k, k + sampler.batch)
            psi, squares, _ = sampler.all(x[batch], y[batch], r[batch])
            lost_energy = np.maximum(lost_energy, _relative_tail(psi**2))
            lost_psi = np.maximum(lost_psi, tail(np.abs(psi)).max(axis=0))
            lost_peak = np.maximum(lost_peak, tail_peak(np.abs(psi)).max(axis=0))
            for square in squares:
                lost_squares = np.maximum(lost_squares, _relative_tail(square))
        sharpening = _is_sharpening(noise, recipe, float(lost_psi[0]))
        if sharpening:
            lost, allowed = lost_energy, (_SHARP_TAIL * tolerance) ** 2
        else:
            # Renormalised to Σψ = 1, what is left is wrong by the sum of what was cut off.
            lost = np.maximum(lost_psi / _TAIL, lost_peak / _TAIL_PEAK)
            allowed = tolerance
        half_width = recipe.half_width or _first_below(lost, allowed)
        reach = _first_below(lost_squares, 0.1 * min(tolerance, _VARIANCE_TOLERANCE))
        # Beyond three eighths of the grid the tails of neighbouring periods would add up: they fall exponentially, so
        # that there, where what is left is negligible already, the next period adds next to nothing.
        if 8 * max(half_width, reach) <= 3 * size or 2 * size > max(_LARGEST_GRID, 3 * kernels):
            # Where ψ amplifies there is little noise: errors count relative to ψ.
            norm = float(np.sqrt(np.max(np.sum(psi**2, axis=(1, 2))))) if sharpening else 1.0
            return _Support(sampler, half_width, reach, float(lost_energy[half_width]), sharpening, norm)
        size *= 2


def _is_sharpening(noise: NoiseField, recipe: Recipe, total: float) -> bool:
    """Whether ψ amplifies much more than it keeps, so that a bound relative to Σψ = 1 would ask for too much of it."""
    measured = recipe.residual is not None or any(rho is not None for rho in noise.correlations)
    return measured or total > _SHARP


def _first_below(values: Array, limit: float) -> int:
    """The first half-width, at least 1, at which values that fall with it are not above a limit; the last if none."""
    below = np.flatnonzero(values[1:] <= limit)
    return int(below[0]) + 1 if len(below) else len(values) - 1


def _relative_tail(images: Array) -> Array:
    relative: Array = (tail(images) / images.sum(axis=(1, 2))[:, None]).max(axis=0)
    return relative


def _constant(support: _Support, ratio: Array) -> Decorrelation:
    zero = np.zeros(1)
    psi, squares, limited = support.sampler.all(zero, zero, ratio)
    psi, squares = _normalised(psi, support.half_width, support.sharpening), _kept_sum(squares, support.reach)
    one = PolynomialCoefficients.constant([1.0])
    footprint = np.abs(psi) / np.abs(psi).sum()
    return Decorrelation(
        SpatialKernel(psi, one), FilterBank(squares, one), SpatialKernel(footprint, one), support.energy_lost, limited
    )


def _normalised(psi: Array, half_width: int, sharpening: bool) -> Array:
    """ψ cut to its support, with Σψ = 1.

    What is missing is usually made up for by a factor. Where ψ sharpens, its sum is small beside it, and a factor would
    change all of it: there it is spread over the support.
    """
    cut = centred_crop(psi, half_width)
    total = cut.sum(axis=(-2, -1), keepdims=True)
    normalised: Array = cut + (1 - total) / (cut.shape[-2] * cut.shape[-1]) if sharpening else cut / total
    return normalised


def _kept_sum(squares: Array, reach: int) -> Array:
    cut = centred_crop(squares, reach)
    kept: Array = cut * (squares.sum(axis=(-2, -1), keepdims=True) / cut.sum(axis=(-2, -1), keepdims=True))
    return kept


@dataclass(frozen=True)
class _Trial:
    """ψ from one choice of nodes.

    Samples (k, s, s), those of the variance kernels (inputs, k, r, r), modes (n, s, s) of ψ, their weights (k, n) at
    the nodes, errors. There may be more nodes with weights than with samples.
    """

    samples: Array
    squares: Array
    modes: Array
    basis: Array
    weights: Array
    limited: float
    mode_error: float
    field_error: float = 0.0
    ratio_error: float = 0.0

    @property
    def error(self) -> float:
        return math.hypot(self.mode_error, self.field_error, self.ratio_error)


def _psi_from_nodes(support: _Support, nodes: list[_Nodes], tolerance: float, threads: int) -> _Trial:
    x, y, r = _all_positions(nodes)

    def work(part: slice) -> tuple[Array, Array, float]:
        psi, squares, limited = support.sampler.all(x[part], y[part], r[part])
        psi = _normalised(psi, support.half_width, support.sharpening)
        return psi, _kept_sum(squares, support.reach), limited

    batch = support.sampler.batch
    with ThreadPoolExecutor(threads) as pool:
        parts = list(pool.map(work, (slice(start, start + batch) for start in range(0, len(x), batch))))
    samples = np.concatenate([psi for psi, _, _ in parts])
    squares = np.concatenate([some for _, some, _ in parts], axis=1)
    limited = max(part for _, _, part in parts)
    flat = _flattened(samples)
    modes, amounts, residual = _compressed(flat, _all_areas(nodes), _MODES * tolerance * support.norm)
    basis = modes[:, :-1].reshape(-1, *samples.shape[1:])
    trial = _Trial(samples, squares, modes, basis, _scaled(amounts, basis), limited, residual / support.norm)
    return _with_errors(support, trial, nodes)


def _interpolated_further(support: _Support, trial: _Trial, nodes: list[_Nodes], threads: int) -> _Trial:
    """The same modes with weights at more nodes."""
    x, y, r = _all_positions(nodes)

    def work(part: slice) -> tuple[Array, Array, float]:
        psi, limited = support.sampler.psi(x[part], y[part], r[part])
        flat = _flattened(_normalised(psi, support.half_width, support.sharpening))
        amounts = flat @ trial.modes.T
        return amounts, (flat**2).sum(axis=1) - (amounts**2).sum(axis=1), limited

    batch = support.sampler.batch
    with ThreadPoolExecutor(threads) as pool:
        parts = list(pool.map(work, (slice(start, start + batch) for start in range(0, len(x), batch))))
    amounts = np.concatenate([some for some, _, _ in parts])
    left = np.concatenate([some for _, some, _ in parts])
    residual = math.sqrt(max(float(_all_areas(nodes) @ left) / len(left), 0.0))
    limited = max(part for _, _, part in parts)
    weights = _scaled(amounts, trial.basis)
    return _with_errors(
        support, replace(trial, weights=weights, limited=limited, mode_error=residual / support.norm), nodes
    )


def _flattened(samples: Array) -> Array:
    """Samples of ψ as rows, with their sum, 1, in a last column.

    That takes part in the compression with some weight, so that the modes hold it nearly and little has to be done for
    it to hold exactly, at nodes and in between.
    """
    return np.hstack([samples.reshape(len(samples), -1), np.full((len(samples), 1), _SUM_WEIGHT)])


def _scaled(amounts: Array, basis: Array) -> Array:
    """Weights of the modes with which Σψ = 1."""
    weights: Array = amounts / (amounts @ basis.sum(axis=(1, 2)))[:, None]
    return weights


def _with_errors(support: _Support, trial: _Trial, nodes: list[_Nodes]) -> _Trial:
    field, ratio = (
        _interpolation_error(support, trial.basis, trial.weights, nodes, over) / support.norm
        for over in ("field", "ratio")
    )
    return replace(trial, field_error=field, ratio_error=ratio)


def _footprint(trial: _Trial, nodes: list[_Nodes], noise: NoiseField) -> SpatialKernel:
    absolute = np.abs(trial.samples).reshape(len(trial.samples), -1)
    absolute /= absolute.sum(axis=1, keepdims=True)
    modes, shares, _ = _compressed(absolute, _all_areas(nodes), 1e-3)
    shares = shares / (shares @ modes.sum(axis=1))[:, None]
    return SpatialKernel(modes.reshape(-1, *trial.samples.shape[1:]), _coefficients(shares, nodes, noise))


def _variance_bank(trial: _Trial, nodes: list[_Nodes], noise: NoiseField) -> FilterBank:
    """The variance kernels; all inputs share the coefficient functions."""
    squares = trial.squares.swapaxes(0, 1)
    # What counts is the error of the sum over inputs, so that each weighs as much as its noise does.
    levels = np.array(noise.variances)
    levels = (levels / levels.sum()).clip(1e-9)[:, None, None]
    weighted = squares * levels
    total = weighted.sum() / len(squares)
    stacked = (weighted / total).reshape(len(squares), -1)
    # Variance planes are smooth in most places: there only the kernels' sums matter, and they matter more.
    sums = _SUM_WEIGHT * (weighted / total).sum(axis=(2, 3))
    modes, amounts, _ = _compressed(np.hstack([stacked, sums]), _all_areas(nodes), _VARIANCE_TOLERANCE)
    images = modes[:, : stacked.shape[1]].reshape(-1, *squares.shape[1:]) * (total / levels)
    return FilterBank(np.ascontiguousarray(images.swapaxes(0, 1)), _coefficients(amounts, nodes, noise))


def _all_positions(nodes: list[_Nodes]) -> tuple[Array, Array, Array]:
    x, y, r = (np.concatenate(parts) for parts in zip(*(part.positions for part in nodes), strict=True))
    return x, y, r


def _all_areas(nodes: list[_Nodes]) -> Array:
    return np.concatenate([part.areas for part in nodes])


def _compressed(samples: Array, areas: Array, tolerance: float) -> tuple[Array, Array, float]:
    """The fewest orthonormal modes (n, p) of samples (k, p), and their amounts (k, n), for a given rms error.

    Parameters
    ----------
    samples
        What is to be compressed.
    areas
        How much each sample counts (k), 1 on average.
    tolerance
        Bound of the rms error.

    Returns
    -------
    modes, amounts, error
        The error is the root mean square over samples of the norm of what is left, and at most `tolerance`; of the
        worst sample it is at most three times that.
    """
    # Of many samples some are enough to find the modes; all of them are looked at for what is left.
    picked = np.unique(np.linspace(0, len(samples) - 1, min(len(samples), _MOST_SAMPLES)).astype(int))
    some = samples[picked] * np.sqrt(areas[picked])[:, None]
    _, vectors = np.linalg.eigh(some @ some.T)
    modes = vectors[:, ::-1].T @ some
    norms = np.linalg.norm(modes, axis=1)
    kept = max(1, int(np.count_nonzero(norms > 1e-9 * norms[0])))
    modes = modes[:kept] / norms[:kept, None]
    amounts = samples @ modes.T
    left = np.maximum((samples**2).sum(axis=1)[:, None] - (amounts**2).cumsum(axis=1), 0)
    errors = np.sqrt(areas @ left / len(left))
    fits = (errors <= tolerance) & (np.sqrt(left.max(axis=0)) <= 3 * tolerance)
    count = int(np.argmax(fits)) + 1 if fits.any() else kept
    return modes[:count], amounts[:, :count], float(errors[count - 1])


def _coefficients(weights: Array, nodes: list[_Nodes], noise: NoiseField) -> Coefficients:
    """Coefficient functions from their values (k, n) at nodes."""
    pieces: list[tuple[Box, Coefficients]] = []
    start = 0
    for part in nodes:
        count = int(np.prod(part.shape))
        values = weights[start : start + count].T.reshape(-1, *part.shape)
        start += count
        if len(part.log_ratio) == 1:
            smooth = GridCoefficients(values[..., 0].astype(np.float32), part.x, part.y, order=_DEGREE)
            pieces.append((part.box, smooth))
        else:
            pieces.append((part.box, _with_ratio(values, part, noise)))
    return pieces[0][1] if len(pieces) == 1 else PiecewiseCoefficients(tuple(pieces))


def _with_ratio(values: Array, part: _Nodes, noise: NoiseField) -> GridCoefficients:
    """Coefficients on the grid of the noise ratio, from values (n, gy, gx, gr) at nodes."""
    ratio = noise.log_ratio
    if ratio is None:
        raise TypeError("several noise ratios need a map of them")
    x, y = _knots(ratio.x, part.box.x0, part.box.x1), _knots(ratio.y, part.box.y0, part.box.y1)
    local = ratio.grid(x, y)[0]
    first, weights = lagrange_weights(part.log_ratio, local.ravel(), _DEGREE)
    result = np.zeros((len(values), local.size))
    for k in range(len(part.log_ratio)):
        spatial = GridCoefficients(values[..., k], part.x, part.y, order=_DEGREE).grid(x, y).reshape(len(values), -1)
        for j in range(weights.shape[1]):
            chosen = first + j == k
            result[:, chosen] += weights[chosen, j] * spatial[:, chosen]
    return GridCoefficients(result.reshape(-1, *local.shape).astype(np.float32), x, y, order=1)


def _knots(knots: Array, first: int, end: int) -> Array:
    """The knots inside a box, and the box's own edges."""
    inside = knots[(knots > first) & (knots < end - 1)]
    return np.unique(np.concatenate([[first], inside, [end - 1]]).astype(float))


def _interpolation_error(support: _Support, basis: Array, weights: Array, nodes: list[_Nodes], over: str) -> float:
    """Rms difference of interpolated and exact ψ between nodes of the field or of the noise ratio."""
    rng = np.random.default_rng(0)
    start, errors = 0, []
    for part in nodes:
        count = int(np.prod(part.shape))
        values = weights[start : start + count].T.reshape(-1, *part.shape)
        start += count
        between = (over == "field", over == "field", over == "ratio")
        axes = (part.x, part.y, part.log_ratio)
        if all(len(axis) == 1 for axis, chosen in zip(axes, between, strict=True) if chosen):
            continue
        x, y, r = (_picked(axis, u, chosen) for axis, u, chosen in zip(axes, rng.random((3, 24)), between, strict=True))
        exact, _ = support.sampler.psi(x, y, r)
        exact = _normalised(exact, support.half_width, support.sharpening)
        wx, wy, wr = (lagrange_weights(axis, p, _DEGREE) for axis, p in ((part.x, x), (part.y, y), (part.log_ratio, r)))
        amounts = np.zeros((len(values), len(x)))
        for i in range(wx[1].shape[1]):
            for j in range(wy[1].shape[1]):
                for k in range(wr[1].shape[1]):
                    factor = wx[1][:, i] * wy[1][:, j] * wr[1][:, k]
                    amounts += factor * values[:, wy[0] + j, wx[0] + i, wr[0] + k]
        # What lies outside the modes is counted already. The best amounts are those of least squares.
        design = basis.reshape(len(basis), -1)
        best = np.linalg.solve(design @ design.T, design @ exact.reshape(len(exact), -1).T)
        errors.append((((amounts - best).T @ design) ** 2).sum(axis=1))
    return float(np.sqrt(np.mean(np.concatenate(errors)))) if errors else 0.0


def _picked(axis: Array, u: Array, between: bool) -> Array:
    """Randomly chosen nodes of an axis, or the middles of its intervals, where interpolation is worst."""
    if not between or len(axis) == 1:
        nodes: Array = axis[(u * len(axis)).astype(int)]
        return nodes
    cell = (u * (len(axis) - 1)).astype(int)
    result: Array = (axis[cell] + axis[cell + 1]) / 2
    return result
