"""The page on detection."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

import numpy as np
from counts import NEAR, Tally
from fields import SPACING
from filters import CELL
from markup import table

__all__ = ("counted", "negative", "written")

_PAGE = """\
# Does it serve detection?

Written by `make detection` (`python benchmarks/detection/run.py`, which took {minutes:.0f} min), {date}.

Whitening a difference does not add information. What it should do: an ordinary detection code, which takes the noise
for white and the variance plane for true, then finds as many false sources as its threshold promises, measures fluxes
with true errors, and misses none that it could have found.

## How it was measured

- **Images.** {count} simulated pairs of {size}² pixels for each kind of noise, with stars in both images and masked
  pixels; the matching kernel is a Gaussian of σ = 1.4 pixels, the PSF of the difference one of 1.9 pixels. And the real
  pair of NIRCam images of Abell 2744, where it is at hand, the median of its difference taken off.
- **Methods.** *raw*: the difference as it is, with the naive variance plane, which has the variance of each pixel and
  nothing of their covariances (for HOTPANTS' difference its own noise image). *white*: `decorr run`. *measured*:
  `decorr run --noise measured`. Each with its PSF; with `decorr` that is the `PSF` of the output.
- **Detection.** A matched filter, S/N = Σ φ D/V / sqrt(Σ φ²/V), φ the PSF and V the variance plane. Where φ varies it
  is taken at the middle of tiles of 128 pixels. A peak is a pixel that is larger than its eight neighbours.
- **False peaks.** Peaks beyond 4 and 5 σ on either side, away from the sources of both images and from masked and
  flagged pixels. *Expected* is the number, of each sign, in white Gaussian noise that was filtered with the same PSF:
  P(z > t) times the probability that z is then larger than its neighbours, whose joint distribution follows from the
  PSF's autocorrelation.
- **Scatter** on the same pixels, from median deviations, 1 if the variance plane is right: *matched scatter* of the S/N
  after the matched filter; *blocks*, of means over 8 × 8 pixels, over what independent pixels have; *cells*, relative
  spread of the scatter of pixels over cells of {cell} pixels, beyond its statistical error, 0 if it is right
  everywhere.
- **True sources.** Point sources on a jittered grid of {spacing} pixels were injected into the science image and the
  difference, and everything was run again. Their fluxes are 4, 5, 6 and 8 times the error that a matched filter has in
  the *measured* result, the same fluxes for all methods. *Flux* is the mean of measured over injected flux, at the
  known position, and its standard error; *scatter* the standard deviation of (measured − injected) / error, which
  should be 1. *Found* is the fraction with an S/N above the threshold within {near} pixels, for sources of 5 and of
  6 σ. An ideal measurement at the source's own pixel finds 50 % and 84 %; the largest of the pixels near finds a few
  per cent more.
- **Equal false alarms.** Who finds more false sources also finds more true ones. So the threshold is also set to where
  the false peaks are as many as they should be: it is 5/4 of the S/N above which there are as many false peaks as
  expected above 4 σ. Completeness at that threshold compares what the images hold.

## Figures

{counts}## Sources injected into real differences

Of the same pair, and of one of simulated stars with photon noise that HOTPANTS has subtracted with a kernel of order
2: the maps of [`decorr snr`](snr.md), which follow PSF and ψ to every pixel, a matched filter on the raw difference
with naive variances, and one on the S/N of pixels that SFFT has published for the pair. Sources are of 4, 5, 6 and 8
times the error of the last method of each table; *flux* is the median of measured over injected flux, what was there
before taken off. To the published S/N sources were added as the ψ of SFFT's solution for white noise makes them, for
the kernel that it was made with is not published. Peaks and expected ones are of both signs. The images of Abell 2744
were resampled, both of them: what whitens white noise does not whiten theirs.

{injection}## Fluxes at steps of the depth

{fields} fields of {side}² pixels: the template's variance has a step every 256 columns, of factors up to 4; kernel and
PSF vary, 1 in 10⁴ pixels is bad, `decorr run --spatial` has its default tolerance. Sources of 0 to 1000 σ, injected
into science image and difference, are within 10 pixels of a step or farther away, and at least 24 pixels from each
other. (measured − injected) / `FLUX_ERR` at the pixel of the source:

{steps}
## What this says

- **The threshold means what it says**, where the model of the noise is right: with white inputs for the plain command,
  with correlated ones for `--noise measured`, whose estimate of the noise has an error of its own: 2 % of σ change the
  number of peaks above 4 σ by a third. The raw difference has far too many false peaks, and with correlated
  inputs so has the formula for white noise. In the real image positive peaks come down to what noise has as its
  background is taken off in smaller cells. Negative ones stay: the template has an excess at most of their places, and
  the science image next to none. What has faded is not told apart from artefacts of the template here.
- **Errors of fluxes are true** where the scatter is 1. Fluxes themselves do not depend on the method, for every filter
  here keeps them.
- **Little is gained where little was lost.** With a template that is much deeper than the science image the convolved
  noise hardly counts: the raw difference is nearly white, and everything about it nearly right.
- **Sensitivity is gained where the noise has much structure.** At equal false alarms a matched filter on the raw
  difference finds nearly as many sources as one on the whitened difference in these simulations: over the
  frequencies that the PSF passes, smooth kernels leave the noise nearly flat. There decorrelation spares one the
  calibration of the threshold, by field and by place in the field, and no more. In the real pair it is more than that.
- Completeness at 5 σ of a method with too many false peaks is high for the same reason as its false peaks are many.
"""

_NEGATIVE = """\
Negative peaks beyond 4 σ with a background of 64 pixels taken off, and what is at their places: S/N of a point source
in the template and in the science image, in units of its scatter there, and by how many σ a single pixel of the
template nearby stands out of its eight neighbours. Where the template has a source and the science image has
none, something has faded or the template has an artefact; a single pixel is a defect or a cosmic ray.

{listed}
"""

_HEADINGS = (
    "method",
    "peaks > 4 σ",
    "< -4 σ",
    "expected",
    "> 5 σ",
    "< -5 σ",
    "expected",
    "matched scatter",
    "blocks",
    "cells",
    "flux",
    "scatter",
    "found at 5 σ: 5 σ sources",
    "6 σ sources",
    "threshold for equal false alarms",
    "found at it: 5 σ sources",
    "6 σ sources",
)


def counted(name: str, tallies: dict[str, Tally]) -> str:
    """A section on what was found in fields of one kind."""
    tally = tallies["raw"]
    about = f"{tally.pixels / 1e6:.2f} million pixels without sources, {len(tally.ratios)} sources injected."
    rows = []
    for method, tally in tallies.items():
        ratios, honest = np.array(tally.ratios), tally.honest_threshold()
        cells = [method]
        for found, expected in zip(tally.found.T, tally.expected, strict=True):
            cells += [*map(str, found), f"{expected:.1f}"]
        cells += [f"{np.mean(tally.matched):.3f}", f"{np.mean(tally.blocks):.3f}", f"{np.mean(tally.cells):.1%}"]
        cells.append(f"{ratios.mean():.3f} ± {ratios.std() / np.sqrt(len(ratios)):.3f}")
        cells.append(f"{np.std(tally.pulls):.3f}")
        for threshold in (5.0, honest):
            cells += [f"{honest:.2f}"] * (threshold == honest)
            cells += [f"{tally.completeness(strength, threshold):.0%}" for strength in (5.0, 6.0)]
        rows.append(cells)
    return f"### {name[0].upper()}{name[1:]}\n\n{about}\n\n{table(_HEADINGS, rows)}\n"


def negative(rows: Sequence[Sequence[str]]) -> str:
    """What is at the places of negative peaks."""
    headings = ("x", "y", "S/N", "template", "science image", "single pixel of the template")
    return _NEGATIVE.format(listed=table(headings, rows))


def written(numbers: Mapping[str, float], texts: Mapping[str, str]) -> str:
    """The page, of its parts and how they were made."""
    known = {"date": time.strftime("%Y-%m-%d"), "spacing": SPACING, "near": NEAR, "cell": CELL}
    return _PAGE.format(**known, **numbers, **texts)
