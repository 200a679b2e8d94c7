"""Judging a difference image, whoever made it."""

from __future__ import annotations

import math
import operator
import os
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from copy import copy
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from diffim_decorr._version import __version__
from diffim_decorr.declare import declared
from diffim_decorr.difference.matching import MatchingKernel
from diffim_decorr.difference.subtraction import subtraction_of
from diffim_decorr.errors import InputError, UsageError
from diffim_decorr.images.exposure import Exposure
from diffim_decorr.images.planes import ConstantPlane
from diffim_decorr.images.units import working_unit
from diffim_decorr.io.exposures import as_exposure, load_exposure
from diffim_decorr.io.hdus import split_spec
from diffim_decorr.io.kernels.registry import load_kernel
from diffim_decorr.io.psfs import read_psf
from diffim_decorr.io.psi import read_psi
from diffim_decorr.kernels.spatial import SpatialKernel
from diffim_decorr.noise.background import measured_variance
from diffim_decorr.noise.models import MODELS
from diffim_decorr.options import Options, QaOptions
from diffim_decorr.psi.stored import DecorrelationKernel
from diffim_decorr.qa.diagnosis import Model
from diffim_decorr.qa.score import EDGES, FIGURES, LAG, Score, score_of
from diffim_decorr.qa.verdict import verdict_of
from diffim_decorr.record import Measured, Record, Verdict
from diffim_decorr.threads import serial_blas

__all__ = ("SCHEMA", "Assessment", "Condition", "assess", "assess_file", "table_of")

Array = NDArray[Any]

#: Version of the form of `Assessment.tree`: what means something else gets a new number.
SCHEMA = 1
_OURS = "DCVERS"
# Pixels that a run computed from too few: what they have is no noise to be judged.
_SPOILT = ("NO_DATA", "EDGE", "DECORR_BAD")
_COMPARISONS = {">": operator.gt, ">=": operator.ge, "<": operator.lt, "<=": operator.le}


@dataclass(frozen=True, eq=False, repr=False)
class Assessment:
    """What was found of one image.

    Parameters
    ----------
    name
        The image.
    shape
        (ny, nx)
    made_by
        The version of decorr that made it; None if it was made by something else.
    score
        The figures, correlation function, spectrum and maps.
    verdict
        Whether the image can be used.
    warnings
        What a user should know besides.
    exposure, before, inputs
        What was looked at: the image, the difference before, science image and template.
    psi, kernel
        Decorrelation kernel and matching kernel, where they are known.
    """

    name: str
    shape: tuple[int, int]
    made_by: str | None
    score: Score
    verdict: Verdict
    warnings: tuple[str, ...] = ()
    exposure: Exposure | None = None
    before: Exposure | None = None
    inputs: tuple[Exposure, ...] = ()
    psi: DecorrelationKernel | None = None
    kernel: SpatialKernel | None = None

    def __repr__(self) -> str:
        return f"<Assessment of {self.name}: {self.verdict.status}>"

    @property
    def figures(self) -> dict[str, Measured]:
        """Every figure by its whole name, as ``block_std.8``."""
        return dict(self.score.flat())

    def tree(self) -> dict[str, Any]:
        """Everything as JSON has it; what was not measured is None."""
        score = self.score
        figures = {
            name: found._asdict() if isinstance(found, Measured) else {key: v._asdict() for key, v in found.items()}
            for name, found in score.figures.items()
        }
        correlation = {"lag": LAG, "rho": score.rho.tolist(), "error": _errors(score.pairs).tolist()}
        if score.rho_before is not None:
            correlation["rho_before"] = score.rho_before.tolist()
        spectrum, cells = score.spectrum, score.cells
        tree = {
            "schema": SCHEMA,
            "version": __version__,
            "image": self.name,
            "shape": list(self.shape),
            "made_by": self.made_by,
            "verdict": self.verdict.tree(),
            "figures": figures,
            "pixels": dict(score.pixels),
            "correlation": correlation,
            "spectrum": {
                "frequency": spectrum.frequency.tolist(),
                "power": spectrum.power.tolist(),
                "error": spectrum.error.tolist(),
                "model": None if spectrum.model is None else spectrum.model.tolist(),
            },
            "histogram": {"edges": EDGES.tolist(), "counts": score.histogram.tolist()},
            "cells": {name: value.tolist() for name, value in vars(cells).items()},
            "warnings": list(self.warnings),
        }
        known: dict[str, Any] = _known(tree)
        return known


def _errors(pairs: Array) -> Array:
    errors: Array = 1 / np.sqrt(np.maximum(pairs, 1.0))
    errors[LAG, LAG] = 0.0
    return errors


def _known(value: Any) -> Any:
    """JSON without numbers that are none."""
    if isinstance(value, dict):
        return {key: _known(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_known(item) for item in value]
    if isinstance(value, float | np.floating):
        return float(f"{value:.6g}") if math.isfinite(value) else None
    return int(value) if isinstance(value, np.integer) else value


@dataclass(frozen=True)
class Condition:
    """A limit for a figure, as ``max_abs_rho>0.05``.

    Parameters
    ----------
    name
        The whole name of a figure.
    comparison
        One of > >= < <=.
    limit
        The number.
    """

    name: str
    comparison: str
    limit: float

    @classmethod
    def of(cls, text: str) -> Condition:
        """What a text says.

        Raises
        ------
        UsageError
            If it is no condition, or of no figure.
        """
        parts = re.fullmatch(r"\s*([\w.]+)\s*(>=|<=|>|<)\s*(\S+)\s*", text)
        if parts is None:
            raise UsageError(f"--fail-if {text!r}: must be like 'max_abs_rho>0.05'")
        name, comparison, number = parts.groups()
        if name.split(".")[0] not in FIGURES:
            raise UsageError(f"--fail-if {text!r}: there is no figure {name!r}; there are {', '.join(FIGURES)}")
        try:
            limit = float(number)
        except ValueError:
            raise UsageError(f"--fail-if {text!r}: {number!r} is no number") from None
        return cls(name, comparison, limit)

    def met_by(self, figures: Mapping[str, float]) -> str:
        """In words how figures meet it, empty if they do not; a figure that was not measured meets any.

        Raises
        ------
        UsageError
            If there is no figure of that name, or several.
        """
        if self.name not in figures:
            scales = [name for name in figures if name.split(".")[0] == self.name.split(".")[0]]
            if scales and self.name not in FIGURES:
                raise UsageError(f"--fail-if: there is no figure {self.name!r}; there are {', '.join(scales)}")
            if scales:
                raise UsageError(f"--fail-if: {self.name} has several values: {', '.join(scales)}")
            return f"{self.name} was not measured"
        value = figures[self.name]
        if not math.isfinite(value):
            return f"{self.name} was not measured"
        if _COMPARISONS[self.comparison](value, self.limit):
            return f"{self.name} {value:.4g} {self.comparison} {self.limit:g}"
        return ""


def assess(
    image: Any,
    *,
    before: Any = None,
    science: Any = None,
    template: Any = None,
    kernel: MatchingKernel | SpatialKernel | str | os.PathLike[str] | None = None,
    psf: ArrayLike | SpatialKernel | os.PathLike[str] | None = None,
    psi: DecorrelationKernel | None = None,
    **options: Any,
) -> Assessment:
    """Judge the noise of a difference image, ours or not.

    Parameters
    ----------
    image
        An `Exposure`, an array (ny, nx), a `CCDData`, or the name of a file. If it has no variance plane, one is
        measured from its background, and figures in units of the noise say little.
    before
        The difference before it was decorrelated, likewise.
    science, template
        What it was made of: they show where sources are, and what is left of them.
    kernel
        The matching kernel, or the name of its file; with science image and template it says what the spectrum of a raw
        difference has to be.
    psf
        PSF of the image for the matched filter, or the name of its file; the image's own by default, or a Gaussian of
        1.5 pixels.
    psi
        The decorrelation kernel, for pictures.
    **options
        ``convolved``, ``bad_planes`` and ``threads``, as of `decorrelate`.

    Returns
    -------
    Assessment

    Raises
    ------
    InputError
        If something does not fit together.

    Notes
    -----
    What each figure is, what perfect noise gives, and how verdicts come about: docs/qa.md.
    """
    known = {"convolved", "bad_planes", "threads"}
    unknown = sorted(set(options) - known)
    if unknown:
        raise TypeError(f"there is no option {unknown[0]!r} of assess; there are {', '.join(sorted(known))}")
    settings = QaOptions(**options)
    exposures = [None if given is None else as_exposure(given, what) for given, what in (
        (image, "image"), (before, "difference"), (science, "science"), (template, "template"),
    )]  # fmt: skip
    assert exposures[0] is not None
    if isinstance(kernel, str | os.PathLike):
        kernel = load_kernel(kernel, exposures[0].shape, exposures[0].header)
    if isinstance(psf, str | os.PathLike):
        psf = read_psf(psf, exposures[0].xy0)
    return _assessed(exposures[0], settings, *exposures[1:], kernel=kernel, psf=psf, psi=psi)


def assess_file(path: str, options: QaOptions) -> Assessment:
    """Judge the image in a file, with the companions that the options name."""
    planes = {name: getattr(options, name) for name in ("variance", "noise", "weight", "mask")}
    image = load_exposure(path, **planes, dq_bad=options.dq_bad, is_difference=True)
    before = None if options.before is None else load_exposure(options.before, is_difference=True)
    science, template = (None if name is None else load_exposure(name) for name in (options.sci, options.tmpl))
    raw = image if before is None else before
    kernel = None if options.kernel is None else load_kernel(options.kernel, raw.shape, raw.header)
    psf = None if options.psf is None else read_psf(options.psf, image.xy0)
    psi = None
    if _OURS in (image.header or {}) and split_spec(path)[1] is None:
        with suppress(InputError):  # other layouts and companions have none
            psi = read_psi(path)
    return _assessed(image, options, before, science, template, kernel=kernel, psf=psf, psi=psi)


@serial_blas()
def _assessed(
    image: Exposure,
    options: QaOptions,
    before: Exposure | None,
    science: Exposure | None,
    template: Exposure | None,
    *,
    kernel: MatchingKernel | SpatialKernel | None,
    psf: ArrayLike | SpatialKernel | None,
    psi: DecorrelationKernel | None = None,
) -> Assessment:
    warnings = list(image.remarks)
    for other in (before, science, template):
        if other is not None and other.shape != image.shape:
            mine, its = (f"{e.shape[1]} x {e.shape[0]}" for e in (other, image))
            raise InputError(f"{other.name}: has {mine} pixels, but {image.name} has {its}")
    header: Mapping[str, Any] = image.header or {}
    ours = str(header[_OURS]) if _OURS in header else None if psi is None else __version__
    unit = working_unit([image])
    if unit != 1:
        # Figures are ratios; in this unit squares of pixels fit single precision.
        image = image.scaled(unit)
        before, science, template = (None if e is None else e.scaled(unit) for e in (before, science, template))
    if image.variance_plane is None:
        image = _with_variance(image, options.bad_planes)
        warnings.append(
            f"{image.name}: has no variance plane; the variance of its background is measured, and snr_std, its spread "
            "and the scatters say nothing about the variance (--variance, --noise, --weight)"
        )
    settings = Options(
        convolved=options.convolved,
        threads=options.threads,
        noise=_noise_of(header),
        background=_background_of(header),
        bad_planes=options.bad_planes,
    )
    raw = ours is None and before is None
    model = None
    # What noise the difference of a run had was judged by the run, which knew more of the inputs.
    if kernel is not None and science is not None and template is not None and ours is None:
        model = _model(science, template, image if before is None else before, kernel, settings, warnings)
    matching = kernel.kernel if isinstance(kernel, MatchingKernel) else kernel
    own = image.psf if psf is None else psf
    score = score_of(
        image,
        (*options.bad_planes, *_SPOILT),
        before=before,
        inputs=[source for source in (science, template) if source is not None],
        psf=own if own is None or isinstance(own, SpatialKernel) else np.asarray(own, float),
        model=model,
        white=model is None or not raw,
        threads=settings.workers,
    )
    verdict = verdict_of(score, settings, raw=raw)
    return Assessment(
        image.name,
        image.shape,
        ours,
        score,
        verdict,
        tuple(warnings),
        image,
        before,
        tuple(source for source in (science, template) if source is not None),
        psi,
        matching,
    )


def _noise_of(header: Mapping[str, Any]) -> Any:
    """How the noise was taken by the run that made an image."""
    return "measured" if header.get("DCNOISE") == "measured" else "white"


def _background_of(header: Mapping[str, Any]) -> int | None:
    """The cells of the background that was taken off by the run that made an image."""
    try:
        cells: int | None = declared(Options)["background"].checked(header.get("DCBKGPX"))
    except UsageError:  # of another program
        return None
    return cells


def _with_variance(image: Exposure, bad_planes: Sequence[str]) -> Exposure:
    """The image with the variance of its background in every pixel."""
    found = copy(image)
    found.variance_plane = ConstantPlane(measured_variance(image, bad_planes), image.shape)
    return found


def _model(
    science: Exposure,
    template: Exposure,
    difference: Exposure,
    kernel: MatchingKernel | SpatialKernel,
    options: Options,
    warnings: list[str],
) -> Model:
    record = Record((options,), {})
    spatial = replace(options, spatial=True, noise="white")
    subtraction = subtraction_of(science, template, difference, kernel, spatial)
    noise = MODELS["white"].of(subtraction, spatial, record)
    for remark in (*subtraction.remarks, *record.warnings):
        if str(remark) not in warnings:
            warnings.append(str(remark))
    return Model(subtraction, noise, spatial)


def table_of(assessments: Sequence[Assessment]) -> Any:
    """A table of all figures, a row for each image: an `astropy.table.Table`."""
    from astropy.table import Table

    names = dict.fromkeys(name for found in assessments for name in found.figures)
    nothing = Measured()
    columns: dict[str, Any] = {
        "image": [found.name for found in assessments],
        "verdict": [found.verdict.status for found in assessments],
        "reasons": ["; ".join(str(reason) for reason in found.verdict.reasons) for found in assessments],
    }
    for name in names:
        values = [found.figures.get(name, nothing) for found in assessments]
        columns[name] = np.array([value.value for value in values], float)
        if any(math.isfinite(value.error) for value in values):
            columns[f"{name}_expected"] = np.array([value.expected for value in values], float)
            columns[f"{name}_error"] = np.array([value.error for value in values], float)
    table = Table(columns)
    table.meta = {"schema": SCHEMA, "version": __version__}
    return table
