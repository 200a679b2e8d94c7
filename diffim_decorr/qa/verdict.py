"""The verdict on a result: ok, check or fail, with the reasons.

Each limit is what matters in practice plus what chance may add: the error of the figure times the quantile at which
all figures together raise a false alarm in one run of 10⁴ (DCVERDCT says so in the header).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import numpy as np

from diffim_decorr.noise.correlation import max_abs_rho
from diffim_decorr.options import Options
from diffim_decorr.qa.diagnosis import Evidence
from diffim_decorr.qa.figures import QualityFigures
from diffim_decorr.record import Measured, Reason, Status, Verdict

if TYPE_CHECKING:
    from diffim_decorr.qa.score import Score

__all__ = ("verdict_of", "verdict_on")

# Of a Gaussian figure: beyond this once in 5 · 10⁶ on either side, so that the 20 of them share 10⁻⁴ between two sides
# of which a few are correlated. Of the largest of 60 correlations, once in 10⁵.
_CHANCE, _CHANCE_OF_RHO = 5.0, 5.2
# What matters in practice, from `check` and from `fail` on.
_RHO = 0.02, 0.1
_RISE = 0.01
_SNR = 0.05, 0.2
_BLOCKS = {"2": (0.06, 0.4), "4": (0.1, 0.6), "8": (0.15, 1.0), "16": (0.3, 2.0)}
_PSF = 0.1, 0.5
_PSF_WIDTH = 5  # of a square of as many pixels as its Gaussian counts
_PER_CELL = 4
_CELLS = 0.06, 0.3
_TAILS = {"4": 2e-4, "5": 1e-4}  # of all pixels
_FLAGGED = 0.9
_FAR = 0.01  # correlation at every lag from 6 to 20
_PEAKS = 0.5  # more of them than expected
_RESIDUAL = 0.02
_BACKGROUND = 0.1, 0.3  # level, and difference between borders, in units of the noise
_DECORRELATE = "decorrelate the difference as it was subtracted with decorr run, or take the correlation into account"
_BEYOND = {"4": 3.167124e-5, "5": 2.866516e-7}


def verdict_on(
    qa: QualityFigures,
    evidence: Evidence | None,
    options: Options,
    *,
    more: Iterable[Reason] = (),
    raw: bool = False,
) -> Verdict:
    """Judge a result by its figures, and say what would explain them.

    Parameters
    ----------
    qa, evidence, options
        The figures, what they say of the model of the noise, and how the result was made.
    more
        Reasons that other figures have given.
    raw
        Whether the image was not decorrelated by us.
    """
    if not np.isfinite(qa.snr_std):
        text = f"only {qa.pixels_used} source-free pixels: the quality figures could not be measured"
        reason = Reason("check", "pixels_used", qa.pixels_used, np.nan, 1000, text, "look at the image and its masks")
        return Verdict((reason,))
    found = list(_reasons(qa, evidence, options, raw))
    if raw and any(reason.figure == "max_abs_rho_after" for reason in found):
        # Of noise that nobody has whitened it says nothing more.
        found = [reason for reason in found if reason.figure.split(".")[0] not in ("block_std", "psf_scatter")]
    if _of_noise(found):
        # Noise that is not what it was taken for has peaks and wanders by itself.
        more = [reason for reason in more if reason.figure.split(".")[0] not in ("peaks", "rho_chi2_far")]
    found = sorted([*found, *more], key=lambda reason: reason.status != "fail")
    explanation = evidence.explanation() if evidence is not None and _of_noise(found) else ""
    if explanation:
        # The one that explains the noise explains why the inputs seem foreign, too.
        found = [reason for reason in found if reason.figure != "shares"] or found
    return Verdict(tuple(found), explanation)


def verdict_of(score: Score, options: Options, *, raw: bool) -> Verdict:
    """Judge any difference image by its score; see `verdict_on`."""
    return verdict_on(score.quality, score.evidence, options, more=_more(score), raw=raw)


def _more(score: Score) -> Iterator[Reason]:
    """Reasons that figures give which a run has not."""
    figures = dict(score.flat())
    far = figures["rho_chi2_far"]
    if np.isfinite(far.value):
        pairs = float(score.pairs.mean())
        limit = far.expected * (1 + _FAR**2 * pairs) + _CHANCE * far.error
        if far.value > limit:
            text = f"the noise is correlated over 6 to 20 pixels: rho_chi2_far {far.value:.0f} of {far.expected:.0f}"
            remedy = "subtract the background, and mask extended sources"
            yield Reason("check", "rho_chi2_far", far.value, far.expected, limit, text, remedy)
    for name in ("peaks.above_4", "peaks.below_4", "peaks.above_5", "peaks.below_5"):
        peaks = figures.get(name, Measured())
        limit = peaks.expected * (1 + _PEAKS) + _CHANCE * peaks.error + _CHANCE**2 / 2
        if peaks.value > limit:
            side, sigma = name.removeprefix("peaks.").split("_")
            sign = "+" if side == "above" else "-"
            text = f"{peaks.value:.0f} peaks beyond {sign}{sigma} sigma, where noise has {peaks.expected:.2g}"
            remedy = "look for residuals of the subtraction and defects; or these are real"
            yield Reason("check", name, peaks.value, peaks.expected, limit, text, remedy)
    residual = figures.get("residual", Measured())
    limit = _RESIDUAL + _CHANCE * residual.error
    if abs(residual.value) > limit:
        text = f"{residual.value:.1%} of the flux of the science image's sources is left"
        remedy = "check the photometric scale and the matching kernel"
        yield Reason("check", "residual", residual.value, 0.0, limit, text, remedy)
    for name, least in zip(("level", "gradient_x", "gradient_y"), (_BACKGROUND[0], *_BACKGROUND[1:] * 2), strict=True):
        found = figures.get(f"background.{name}", Measured())
        limit = least + _CHANCE * found.error
        if abs(found.value) > limit:
            text = f"the background has a {name.replace('_', ' in ')} of {found.value:+.2f} of the noise of a pixel"
            remedy = "subtract the background"
            yield Reason("check", f"background.{name}", found.value, 0.0, limit, text, remedy)


def _of_noise(reasons: list[Reason]) -> bool:
    return any(
        reason.figure.split(".")[0] not in ("flagged", "tails", "peaks", "residual", "background") for reason in reasons
    )


def _reasons(qa: QualityFigures, evidence: Evidence | None, options: Options, raw: bool) -> Iterator[Reason]:
    scale = list(_scale(qa))
    yield from scale or _tails(qa)
    if qa.flagged > _FLAGGED:
        text = f"{qa.flagged:.0%} of the pixels are flagged or without data"
        yield Reason("check", "flagged", qa.flagged, np.nan, _FLAGGED, text, "check the masks, and --bad-planes")
    if options.score:  # not white, and not meant to be
        return
    yield from _correlation(qa, options, raw)
    if qa.snr_std > 0:
        yield from _scatters(qa, options)
    if evidence is not None:
        yield from _foreign(evidence)


def _graded(excess: float, limits: tuple[float, float], chance: float) -> tuple[Status, float] | None:
    """How much an excess over the expectation matters, and its limit."""
    check, fail = (limit + chance for limit in limits)
    if not excess > check:
        return None
    return ("fail", fail) if excess > fail else ("check", check)


def _correlation(qa: QualityFigures, options: Options, raw: bool) -> Iterator[Reason]:
    before, after = qa.max_abs_rho_before, qa.max_abs_rho_after
    chance = _CHANCE_OF_RHO / np.sqrt(qa.pairs_used)
    remedy = _DECORRELATE if raw else _remedy_of_correlation(qa, options, _RHO[0] + chance)
    state = "is" if raw else "is left"
    expected = qa.rho_of_noise[0]
    graded = _graded(after, _RHO, chance)
    if graded:
        text = f"the noise {state} correlated: max_abs_rho {after:.3f}, of white noise {expected:.3f}"
        yield Reason(graded[0], "max_abs_rho_after", after, expected, graded[1], text, remedy)
        if after > before + _RISE + 1.5 * chance:
            text = f"the noise correlation rose: max_abs_rho {before:.3f} before, {after:.3f} after"
            yield Reason("fail", "max_abs_rho_after", after, expected, before + _RISE + 1.5 * chance, text, remedy)
    # A sum of squares that is not centred: of a correlation of 0.02 at every lag.
    chi2 = qa.rho_chi2
    limit = chi2.expected + _CHANCE * chi2.error + chi2.expected * _RHO[0] ** 2 * qa.pixels_used
    if not graded and chi2.value > limit:
        text = f"the noise {state} weakly correlated at many lags: rho_chi2 {chi2.value:.0f} of {chi2.expected:.0f}"
        yield Reason("check", "rho_chi2", chi2.value, chi2.expected, limit, text, remedy)


def _remedy_of_correlation(qa: QualityFigures, options: Options, limit: float) -> str:
    if options.noise == "measured":
        return (
            "at some frequencies there is next to no noise, or its correlation varies over the field, or the inputs "
            "show structure besides noise; check the kernel, and mask extended sources"
        )
    inputs = {"science": max_abs_rho(qa.rho_science), "template": max_abs_rho(qa.rho_template)}
    listed = " and ".join(f"{name} {rho:.2f}" for name, rho in inputs.items() if rho > limit)
    if listed:
        return (
            f"the noise of the inputs is itself correlated (by up to: {listed}); --noise measured takes this into "
            "account"
        )
    return "check that the kernel, --convolved and the variances are those of this difference"


def _scale(qa: QualityFigures) -> Iterator[Reason]:
    graded = _graded(abs(qa.snr_std - 1), _SNR, _CHANCE * qa.snr_error)
    if graded:
        text = f"noise and variance plane do not fit: snr_std {qa.snr_std:.3f}, not 1"
        remedy = "check the variance planes and their unit, and --svar, --tvar; --noise measured measures them"
        yield Reason(graded[0], "snr_std", qa.snr_std, 1.0, 1 + np.copysign(graded[1], qa.snr_std - 1), text, remedy)


def _scatters(qa: QualityFigures, options: Options) -> Iterator[Reason]:
    # Means over what is not small against its cells have lost some of their scatter to the background that was taken
    # off.
    flattened = np.inf if options.background is None else options.background / _PER_CELL
    # What the variance plane is wrong by at single pixels is said once.
    figures = [
        (f"block_std.{size}", f"means over {size} x {size} pixels", qa.block_std[size], limits)
        for size, limits in _BLOCKS.items()
    ]
    figures.append(("psf_scatter", "pixels after a matched filter", qa.psf_scatter, _PSF))
    for name, what, measured, limits in figures:
        value = measured.value / qa.snr_std
        width = int(name.partition(".")[2] or _PSF_WIDTH)
        if value < 1 and width > flattened:
            continue
        graded = _graded(abs(value - 1), limits, _CHANCE * measured.error)
        if graded:
            text = f"{what} scatter {value:.3f} times as much as pixels tell: the noise is correlated over a long range"
            remedy = "subtract the background, mask extended sources, or use --noise measured"
            yield Reason(graded[0], name, value, 1.0, 1 + np.copysign(graded[1], value - 1), text, remedy)
            break
    spread = qa.cell_spread
    graded = _graded(spread.value, _CELLS, _CHANCE * spread.error / 2)
    if graded:
        text = f"the noise scatters over cells of the field by {spread.value:.3f} of the variance plane's"
        remedy = "check the variance planes, or give --sci-variance and --tmpl-variance"
        yield Reason(graded[0], "cell_spread", spread.value, 0.0, graded[1], text, remedy)


def _tails(qa: QualityFigures) -> Iterator[Reason]:
    for sigma, share in _TAILS.items():
        for side in ("above", "below"):
            measured = qa.tails[f"{side}_{sigma}"]
            limit = share / _BEYOND[sigma] + _CHANCE * measured.error + _CHANCE**2 / 2 * measured.error**2
            if measured.value > limit:
                count = measured.value * qa.pixels_used * _BEYOND[sigma]
                sign = "+" if side == "above" else "-"
                normal = count / measured.value
                text = f"{count:.0f} source-free pixels lie beyond {sign}{sigma} sigma, where {normal:.2g} are expected"
                remedy = "check the masks for cosmic rays and defects, and the subtraction for residuals"
                yield Reason("check", f"tails.{side}_{sigma}", measured.value, 1.0, limit, text, remedy)


def _foreign(evidence: Evidence) -> Iterator[Reason]:
    foreign = evidence.foreign()
    if foreign == "sign":
        science = evidence.shares[0].value
        text = f"the noise of DIFF is correlated with that of SCI by {science:.2f}: it is TMPL - SCI, not SCI - TMPL"
        yield Reason("check", "shares", science, 1.0, 0.0, text, "give the difference with the other sign")
    elif foreign:
        least = min((share.value for share in evidence.shares), key=abs)
        text = f"the noise of DIFF is not correlated with that of {foreign} ({least:.2f} of what it has to be)"
        remedy = "check that the three images belong together, and --convolved"
        yield Reason("check", "shares", least, 1.0, 0.15, text, remedy)
