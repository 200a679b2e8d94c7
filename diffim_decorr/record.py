"""What is known of a run: how it was asked for, what was found, how long it took, and what its user should know.

Figures are declared once, as fields of frozen dataclasses that say by which card of the header they are recorded.
Headers and JSON are made from that.
"""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from typing import Any, Literal, NamedTuple, Protocol

from diffim_decorr.declare import Declared, declared
from diffim_decorr.errors import DecorrWarning

__all__ = (
    "BackgroundFigures",
    "Figures",
    "ImageNoise",
    "MatchingFigures",
    "Measured",
    "NoiseFigures",
    "Progress",
    "PsiFigures",
    "Reason",
    "Record",
    "Stage",
    "Status",
    "StoredPsiFigures",
    "Verdict",
    "figure",
)

Status = Literal["ok", "check", "fail"]
Stage = Literal["read", "noise", "psi", "filter", "qa", "write"]


class Progress(Protocol):
    """Is told how far a run has come.

    When a stage begins, with 0 of 0 steps; after each step of a stage that has some, with how many of them are done.
    """

    def __call__(self, stage: Stage, done: int, total: int, /) -> None: ...


class Measured(NamedTuple):
    """A figure with what perfect noise would give, and the statistical error of that; NaN if it was not measured."""

    value: float = math.nan
    expected: float = math.nan
    error: float = math.nan


def figure(card: str = "", comment: str = "", **more: Any) -> Any:
    """A field of a dataclass of figures: the card that records it, with its comment."""
    return field(metadata={"card": card, "comment": comment}, **more)


class Figures:
    """Base of frozen dataclasses of figures."""

    def cards(self, number: int | None = None) -> Iterator[tuple[str, Any, str]]:
        """Keyword, value and comment of each figure that is known; `number` tells several of a kind apart."""
        ending = "" if number is None else str(number)
        for item in fields(self):  # type: ignore[arg-type]
            value, card = getattr(self, item.name), item.metadata.get("card")
            if not card or value is None:
                continue
            comment = item.metadata["comment"]
            if isinstance(value, Mapping):  # one figure at several scales
                for scale, (measured, _, _) in value.items():
                    yield card + scale.upper().replace("_", ""), measured, comment.format(scale.replace("_", " "))
            else:
                yield card + ending, value.value if isinstance(value, Measured) else value, comment.format(number)

    def tree(self) -> dict[str, Any]:
        """The figures by their names."""
        return {item.name: _tree(getattr(self, item.name)) for item in fields(self) if "card" in item.metadata}  # type: ignore[arg-type]


def _tree(value: Any) -> Any:
    """A figure as JSON has it."""
    if isinstance(value, Measured):
        return value._asdict()
    return {key: _tree(item) for key, item in value.items()} if isinstance(value, Mapping) else value


class Reason(NamedTuple):
    """Why a result is not simply good.

    Parameters
    ----------
    status
        How much it matters.
    figure
        What was measured, by its name in the JSON object.
    value, expected, limit
        Its value, that of perfect noise, and the one from which on it matters.
    text
        All that in a sentence.
    remedy
        What to do about it.
    """

    status: Status
    figure: str
    value: float
    expected: float
    limit: float
    text: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.text}: {self.remedy}"


@dataclass(frozen=True)
class Verdict:
    """Whether a result can be used: ``ok``, to be looked at (``check``), or wrong (``fail``).

    Parameters
    ----------
    reasons
        Why it is not ``ok``, the gravest first.
    explanation
        What would explain it, with the option that mends it; empty if nothing on the list does.
    """

    reasons: tuple[Reason, ...] = ()
    explanation: str = ""

    @property
    def status(self) -> Status:
        """The gravest of the reasons'."""
        found = {reason.status for reason in self.reasons}
        return "fail" if "fail" in found else "check" if found else "ok"

    def __str__(self) -> str:
        return "; ".join([self.status, *([self.explanation] if self.explanation else []), *map(str, self.reasons)])

    def tree(self) -> dict[str, Any]:
        """As JSON has it."""
        return {
            "status": self.status,
            "reasons": [reason._asdict() for reason in self.reasons],
            "explanation": self.explanation or None,
        }


@dataclass(frozen=True)
class MatchingFigures(Figures):
    """The matching kernel."""

    format: str = figure("DCKFORM", "format of the matching kernel")
    convolved: str = figure("DCCONV", "image that was convolved")
    at: tuple[float, float] | None = figure(default=None)


@dataclass(frozen=True)
class BackgroundFigures(Figures):
    """The background that was taken off the difference, in its unit."""

    level: float = figure("DCBKGLEV", "background taken off, median")
    spread: float = figure("DCBKGSTD", "its robust std over the field")
    interpolated: float = figure("DCBKGINT", "share of its cells without pixels of their own")
    cells: tuple[int, int] = figure()


@dataclass(frozen=True)
class ImageNoise(Figures):
    """The measured noise of one image."""

    name: str = figure()
    side: str = figure()
    variance: float = figure()
    variance_factor: float = figure("DCVFAC", "factor of variance plane {}")
    max_abs_rho: float = figure("DCCORR", "noise correlation of image {}")
    plateau: float = figure("DCPLAT", "plateau taken off image {}")
    pixels: int = figure("DCMPIX", "source-free pixels of image {}")
    phase_share: float | None = figure("DCPHASE", "of its warp's noise variation, image {}", default=None)
    measured_on: str = figure("DCMSRC", "what the noise of image {} is from", default="its pixels")
    varies: float | None = figure("DCNVAR", "rms over cells of covariance of image {}", default=None)


@dataclass(frozen=True)
class NoiseFigures(Figures):
    """The background noise of the inputs.

    Of a side that is a stack, that of the weighted mean.
    """

    svar: float = figure("DCSVAR", "background variance of the science image")
    tvar: float = figure("DCTVAR", "background variance of the template")
    science_given: bool = figure("DCSGIVEN", "science variance given, not measured")
    template_given: bool = figure("DCTGIVEN", "template variance given, not measured")
    model: str = "white"
    images: tuple[ImageNoise, ...] = ()
    calibration: float | None = figure("DCVCAL", "factor of the variance measured on the result", default=None)
    calibration_spread: float | None = figure("DCVCSPR", "its relative std over the field", default=None)
    residual_max_abs_rho: float | None = figure("DCRESID", "correlation left by the first filter", default=None)
    source: str | None = figure("DCNOISRC", "what the noise was measured on", default=None)
    unexplained: float | None = None
    trend: Measured | None = None

    def tree(self) -> dict[str, Any]:
        tree = {"svar": self.svar, "tvar": self.tvar, "model": self.model}
        if self.source is not None:
            tree |= {
                "source": self.source,
                "images": [image.tree() for image in self.images],
                "residual_max_abs_rho": self.residual_max_abs_rho,
            }
        if self.trend is not None:
            tree |= {"unexplained": self.unexplained, "trend": self.trend._asdict()}
        if self.images or self.calibration is not None:
            tree |= {"calibration": self.calibration, "calibration_spread": self.calibration_spread}
        return tree


@dataclass(frozen=True)
class PsiFigures(Figures):
    """The decorrelation kernel."""

    half_width: int = figure("DCHWIDTH", "[pixel] half width of psi")
    modes: int = figure("DCMODES", "basis images of psi")
    node_spacing: float | None = figure("DCNODES", "[pixel] node spacing used", default=None)
    energy_lost: float | None = figure("DCELOST", "energy of psi cut off", default=None)
    frequencies_limited: float | None = figure("DCLIMIT", "fraction of frequencies limited", default=None)
    error: float | None = figure("DCERROR", "estimated rms error / noise", default=None)


@dataclass(frozen=True)
class StoredPsiFigures(Figures):
    """A decorrelation kernel that a run stored."""

    mode: str = figure("DCMODE", "decorrelation kernel over the field")
    half_width: int = figure("DCHWIDTH", "[pixel] half width of psi")
    modes: int = figure("DCMODES", "basis images of psi")


#: Cards of the images that a result was made of.
_INPUT_CARDS = {"science": "DCSCI", "template": "DCTMPL", "difference": "DCDIFF", "image": "DCIMAGE"}


@dataclass(eq=False, repr=False)
class Record:
    """What is known of a run so far.

    Parameters
    ----------
    options
        How it was asked for.
    inputs
        Names of the science, template and difference image, or of the image that was convolved.
    kernel, background, noise, psi, quality
        What was found.
    verdict
        Whether the result can be used.
    timings
        Seconds by stage.
    warnings
        What its user should know.
    command
        The command line, if it was one.
    prints, modified
        Fingerprint of each file that is read, and when it was changed last, by its name.
    progress
        Is told how far the run has come.
    """

    options: tuple[Declared, ...] = ()
    inputs: Mapping[str, str] = field(default_factory=dict)
    kernel: MatchingFigures | None = None
    background: BackgroundFigures | None = None
    noise: NoiseFigures | None = None
    psi: PsiFigures | StoredPsiFigures | None = None
    quality: Figures | None = None
    verdict: Verdict | None = None
    timings: dict[str, float] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    command: str = ""
    prints: Mapping[str, str] = field(default_factory=dict)
    modified: Mapping[str, str] = field(default_factory=dict)
    progress: Progress | None = None

    def __repr__(self) -> str:
        return f"<Record: {len(self.warnings)} warnings, {self.timings.get('total', 0):.2f} s>"

    @property
    def input_cards(self) -> Iterator[tuple[str, str, str]]:
        """Keyword, value and comment of each image's name."""
        for role, name in self.inputs.items():
            yield _INPUT_CARDS[role], name, "input file"

    def tree(self) -> dict[str, Any]:
        """All of it as JSON has it; what could not be measured is None."""
        options = {name: getattr(own, name) for own in self.options for name in declared(type(own))}
        tree: dict[str, Any] = {"inputs": dict(self.inputs), "options": options}
        for name in ("kernel", "background", "noise", "psi"):
            figures = getattr(self, name)
            if figures is not None:
                tree[name] = figures.tree()
        if self.quality is not None:
            tree["qa"] = self.quality.tree()
        if self.verdict is not None:
            tree["verdict"] = self.verdict.tree()
        tree["timings"] = {stage: round(seconds, 4) for stage, seconds in self.timings.items()}
        tree["warnings"] = list(self.warnings)
        finite: dict[str, Any] = _finite(tree)
        return finite

    def begin(self, stage: Stage) -> None:
        """Tell that a stage begins."""
        if self.progress is not None:
            self.progress(stage, 0, 0)

    def steps(self, stage: Stage) -> Callable[[int, int], None] | None:
        """What is to be called after each step of a stage with how many are done, and of how many; None if nothing."""
        progress = self.progress
        return None if progress is None else lambda done, total: progress(stage, done, total)

    @contextmanager
    def timed(self, stage: Stage) -> Iterator[None]:
        """Tell that a stage begins, and add the time that is spent inside to its time."""
        self.begin(stage)
        start = time.perf_counter()
        yield
        self.timings[stage] = self.timings.get(stage, 0.0) + time.perf_counter() - start

    def warn(self, text: str) -> None:
        """Note what the user should know, once."""
        if text not in self.warnings:
            self.warnings.append(text)

    def judge(self, verdict: Verdict) -> None:
        """Note the verdict; its reasons are what the user should know."""
        self.verdict = verdict
        if verdict.explanation:
            self.warn(f"the noise of the difference is not what inputs and kernel make it; {verdict.explanation}")
        for reason in verdict.reasons:
            self.warn(str(reason))

    def issue(self, stacklevel: int) -> None:
        """Say all of it by Python's own way of warning, too."""
        for text in self.warnings:
            warnings.warn(text, DecorrWarning, stacklevel=stacklevel + 1)


def _finite(value: Any) -> Any:
    """A tree in which None stands for numbers that are none, which JSON does not know."""
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value
