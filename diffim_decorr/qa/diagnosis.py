"""What would explain a difference whose noise is not what its inputs and kernel make it.

The power spectrum of the difference on source-free pixels is compared with the model's,
``P_D(k) = V_S |κ_S(k)|² + V_T |κ_T(k)|²``, and with that of the likeliest mistakes by Whittle's likelihood; and its
covariance with either input tells whether it was made of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diffim_decorr.difference.subtraction import Subtraction
from diffim_decorr.geometry import Box
from diffim_decorr.noise.local_correlation import LocalCorrelation
from diffim_decorr.noise.models import Noise
from diffim_decorr.noise.robust import median
from diffim_decorr.options import Options
from diffim_decorr.qa.products import Products
from diffim_decorr.qa.sample import Window
from diffim_decorr.qa.spectrum import LAG, Spectra, at_lags, autocovariance
from diffim_decorr.record import Measured

__all__ = ("Evidence", "Model", "WindowEvidence", "evidence_in", "gathered")

Array = NDArray[Any]

# An explanation is named if it leaves at most this share of the model's deviance, is likelier by this (ln L), and
# leaves the power of the difference within about 10 %, which is this per pixel.
_SHARE, _LIKELIER, _FITS = 0.3, 30.0, 0.0025
_AS_LIKELY = 1.5


@dataclass(frozen=True, eq=False)
class Model:
    """What a run supposes of its noise, at any place.

    Parameters
    ----------
    subtraction, noise, options
        As it had them.
    crowded
        Whether the pixels of the inputs have more of sources than of noise, and tell nothing of that.
    """

    subtraction: Subtraction
    noise: Noise
    options: Options
    crowded: bool = False

    @property
    def plain(self) -> bool:
        """Whether the difference is one of two images of which one was convolved."""
        contributions = self.subtraction.contributions
        return (
            [c.side for c in contributions] == ["science", "template"]
            and all(c.kernel is None for c in contributions)
            and min(max(kernel.shape) for kernel in self.subtraction.kernels) == 1
        )

    def variances(self, box: Box, use: Array) -> list[float]:
        """Background variance of each contribution within a window."""
        found = []
        for plane in self.noise.planes:
            values = plane.plane.read(box)[use]
            values = values[np.isfinite(values) & (values > 0)]
            # What was given counts, relative to the plane's own level.
            # The mean of all noise, but without what stands for no data.
            usual = values[values < 10 * median(values)] if values.size else values
            relative = float(np.mean(usual)) / plane.level if usual.size and plane.level else 1.0
            found.append(plane.variance * relative)
        return found

    def kernels(self, x: float, y: float) -> list[Array] | None:
        """What each contribution was convolved with at a place; None where there is no kernel."""
        boxes = self.subtraction.matching.kernel.boxes
        if boxes and not any(box.contains(x, y) for box in boxes):
            return None
        return [kernel.at(x, y) for kernel in self.subtraction.kernels]

    @cached_property
    def constant(self) -> _Covariances | None:
        """What kernels that are the same everywhere make of the noise; None if they vary."""
        place = self.subtraction.place_of_constant(self.options)
        kernels = None if place is None else self.kernels(*place)
        return None if kernels is None else _Covariances.of(kernels, self, None)

    def correlations(self, box: Box | None) -> list[Array | None]:
        """Of each contribution's noise, where that is not white: in a window, or for all of the field."""
        return [
            rho if not isinstance(rho, LocalCorrelation) else rho.usual if box is None else rho.mean_over(box)
            for rho in self.noise.field.correlations
        ]


@dataclass(frozen=True, eq=False)
class WindowEvidence:
    """What one window tells.

    Parameters
    ----------
    pairs, measured, expected
        As of `Spectra`.
    own
        Lagged products of science image and template.
    shares
        Of each of these two: its covariance with the difference along its kernel, what that is for all of it, and
        the statistical error squared.
    """

    pairs: Array
    measured: Array
    expected: dict[str, tuple[Array, ...]]
    own: tuple[Array, ...] = ()
    shares: tuple[tuple[float, float, float], ...] = ()


def evidence_in(window: Window, products: Products, model: Model) -> WindowEvidence | None:
    """What a window says of the difference's noise; None where there is no kernel, or there are too few pixels."""
    use = window.use
    x, y = (window.box.x0 + window.box.x1 - 1) / 2, (window.box.y0 + window.box.y1 - 1) / 2
    local = model.kernels(x, y)
    if local is None or use.mean() < 0.02:
        return None
    assumed = model.constant or _Covariances.of(local, model, window.box)
    variances = model.variances(window.box, use)
    pairs, measured = products.pairs, products.before
    expected = {
        name: tuple(pairs * part for part in parts) for name, parts in _hypotheses(model, variances, assumed, local)
    }
    if not model.plain or model.crowded:
        return WindowEvidence(pairs, measured, expected)
    shares = []
    number = pairs[LAG, LAG]
    for kernel, variance, product, power in zip(local, variances, products.crossed, products.inputs, strict=True):
        shape = at_lags(kernel)
        square, scatter = float(np.sum(shape**2)), float(power[LAG, LAG])
        # By the variance plane or by the image's own scatter, whichever is more: either may be far too small.
        whole = max(variance * number, scatter) * square
        shares.append((float(np.sum(product * shape)), whole, measured[LAG, LAG] * scatter / number * square))
    return WindowEvidence(pairs, measured, expected, products.inputs, tuple(shares))


@dataclass(frozen=True, eq=False)
class _Covariances:
    """Covariances (41, 41) of noise of variance 1 that was convolved with the kernels of one place.

    Parameters
    ----------
    supposed
        Of each contribution, its noise as the model has it.
    white
        Of each of two images, their noise white.
    mistaken
        The same of the one that was convolved with another kernel by mistake, by what was done to it.
    """

    supposed: tuple[Array, ...]
    white: tuple[Array, ...] = ()
    mistaken: Mapping[str, Array] = field(default_factory=dict)

    @classmethod
    def of(cls, kernels: Sequence[Array], model: Model, box: Box | None) -> _Covariances:
        correlations = model.correlations(box)
        supposed = tuple(autocovariance(*pair) for pair in zip(kernels, correlations, strict=True))
        if not model.plain:
            return cls(supposed)
        known = all(rho is None for rho in correlations)
        white = supposed if known else tuple(autocovariance(kernel) for kernel in kernels)
        kernel = kernels[_convolved(kernels)]
        mistaken = {"flipped": autocovariance(kernel[:, ::-1])}
        if kernel.shape[0] == kernel.shape[1]:
            mistaken["transposed"] = autocovariance(kernel.T)
        return cls(supposed, white, mistaken)


def _convolved(kernels: Sequence[Array]) -> int:
    """Which of two images was convolved."""
    return 0 if max(kernels[0].shape) > 1 else 1


def _hypotheses(
    model: Model, variances: Sequence[float], assumed: _Covariances, local: Sequence[Array]
) -> Iterator[tuple[str, tuple[Array, ...]]]:
    """Name and covariance, in parts, of each hypothesis; the first is the model."""
    parts = [v * shape for v, shape in zip(variances, assumed.supposed, strict=True)]
    yield "model", (np.sum(parts, axis=0),)
    if not model.plain:
        return
    yield "unit", (np.sum(parts, axis=0),)
    yield "ratio", tuple(parts)
    convolved = _convolved(local)
    delta, kernel = assumed.white[1 - convolved], assumed.white[convolved]
    of_one, of_other = variances[1 - convolved], variances[convolved]
    yield "other side", (of_other * delta + of_one * kernel,)
    yield "white", (delta,)
    yield "sigma", (of_one**2 * delta + of_other**2 * kernel,)
    yield "squared", (of_one**0.5 * delta + of_other**0.5 * kernel,)
    for name, shape in assumed.mistaken.items():
        yield name, (of_one * delta + of_other * shape,)
    if not model.options.spatial:
        yield "spatial", (of_one * delta + of_other * autocovariance(local[convolved]),)


#: Hypotheses whose parts have free amplitudes, and how many.
_FREE = {"ratio": 2, "white": 1, "unit": 1}


@dataclass(frozen=True, eq=False)
class Evidence:
    """What all windows tell.

    Parameters
    ----------
    spectra
        Of the difference.
    own
        Lagged products of science image and template.
    shares
        How much of either input is in the difference, 1 if it is made of them; NaN if that cannot be told.
    convolved
        Which input the model convolves.
    variances
        Background variances of the two sides as the model has them.
    measured
        Whether the model's noise was measured.
    """

    spectra: Spectra
    own: tuple[Array, ...]
    shares: tuple[Measured, ...]
    convolved: str
    variances: tuple[float, float]
    measured: bool

    @property
    def chi2(self) -> Measured:
        """How well the model fits."""
        return self.spectra.chi2(self.spectra.fitted("model")[0])

    def foreign(self) -> str:
        """Why the difference cannot be one of these inputs; empty if it can."""
        told = [share for share in self.shares if np.isfinite(share.value) and share.error < 0.05]
        if len(told) < 2:
            return ""
        science, template = (share.value for share in self.shares)
        if science < -0.25 and template < -0.25:
            return "sign"
        absent = [name for name, share in zip(("SCI", "TMPL"), self.shares, strict=True) if abs(share.value) < 0.15]
        return " and ".join(absent)

    def explanation(self) -> str:
        """What would explain the difference's noise far better than the model; empty if nothing on the list does."""
        deviances = {}
        fits = {}
        for name in self.spectra.expected:
            spectrum, fits[name] = self.spectra.fitted(name, free=name in _FREE)
            deviances[name] = self.spectra.deviance(spectrum)
        if self.own and not self.measured and min(own[LAG, LAG] for own in self.own) > 0:
            deviances["measured"] = self.spectra.deviance(self._of_measured_noise())
        ours = deviances.pop("model")
        enough = min(_SHARE * ours, ours - _LIKELIER, _FITS * self.spectra.pixels)
        candidates = {name: deviance for name, deviance in deviances.items() if deviance < enough}
        if not candidates:
            return ""
        # Of those that are about as likely, the one with the least freedom.
        best = _AS_LIKELY * min(candidates.values()) + _LIKELIER
        likely = [name for name, deviance in candidates.items() if deviance < best]
        name = min(likely, key=lambda name: (_FREE.get(name, 0), candidates[name]))
        return self._said(name, fits.get(name, ()))

    def _of_measured_noise(self) -> Array:
        """Spectrum of the difference if each input's noise is correlated as its own pixels are."""
        total = np.zeros(1)
        for own, part in zip(self.own, self.spectra.expected["ratio"], strict=True):
            power = self.spectra.power(own)
            total = total + self.spectra.power(part) * power / (own[LAG, LAG] / self.spectra.pixels)
        return total

    def _said(self, name: str, amplitudes: Sequence[float]) -> str:
        """A hypothesis in words, with its remedy."""
        other = "science" if self.convolved == "template" else "template"
        if name == "other side":
            if self.shares and self.shares[0].value < -4 * self.shares[0].error:
                return "its spectrum is that of SCI and TMPL swapped: exchange the two files"
            return f"its spectrum is that of a difference in which the {other} was convolved: --convolved {other}"
        if name == "unit":
            return (
                f"its power is {amplitudes[0]:.3g} times what the variances say, at all frequencies: check their unit "
                "and that of the difference"
            )
        if name == "ratio":
            svar, tvar = (a * v for a, v in zip(amplitudes, self.variances, strict=True))
            return (
                f"its spectrum fits the kernel with variances {amplitudes[0]:.3g} and {amplitudes[1]:.3g} times those "
                f"of the science image and the template: check their variance planes, or give --svar {svar:.4g} "
                f"--tvar {tvar:.4g}"
            )
        return {
            "white": "its noise is white already: it has been decorrelated, or nothing was convolved, and needs no run",
            "sigma": "the variance planes hold standard deviations: use --sci-noise and --tmpl-noise",
            "squared": "the variance planes hold squares of variances: check --sci-variance and --tmpl-variance",
            "flipped": "its spectrum is that of the kernel mirrored left to right: check --kernel-format",
            "transposed": "its spectrum is that of the kernel transposed: check --kernel-format",
            "measured": "the noise of the inputs is itself correlated: --noise measured",
            "spatial": "its spectrum follows the kernel over the field: --spatial",
        }[name]


def gathered(parts: Sequence[WindowEvidence | None], model: Model) -> Evidence | None:
    """The sum of what windows tell; None if there are none, or no noise in them."""
    told = [part for part in parts if part is not None]
    if not sum(part.measured[LAG, LAG] for part in told) > 0:
        return None
    names = told[0].expected
    spectra = Spectra(
        np.sum([part.pairs for part in told], axis=0),
        np.sum([part.measured for part in told], axis=0),
        {
            name: tuple(np.sum([part.expected[name][k] for part in told], axis=0) for k in range(len(names[name])))
            for name in names
        },
    )
    shares: list[Measured] = []
    own: tuple[Array, ...] = ()
    if told[0].shares:
        own = tuple(np.sum([part.own[k] for part in told], axis=0) for k in range(2))
        for sign, (product, whole, square) in zip((1, -1), np.sum([part.shares for part in told], axis=0), strict=True):
            shares.append(Measured(sign * product / whole, 1.0, square**0.5 / whole) if whole > 0 else Measured())
    sides = {model.options.convolved or side or "template" for side in model.subtraction.matching.convolved}
    convolved = sides.pop() if len(sides) == 1 else ""
    return Evidence(
        spectra, own, tuple(shares), convolved, (model.noise.svar, model.noise.tvar), model.options.noise == "measured"
    )
