"""ψ at nodes, and which of them are enough. No image of ψ is needed for that: see `span`."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diffim_decorr.geometry import Box
from diffim_decorr.psi.interpolate import places_between, values_between
from diffim_decorr.psi.nodes import Nodes, probes_of
from diffim_decorr.psi.span import Span, quadrature_of
from diffim_decorr.psi.support import Support

__all__ = ("MODES", "Trial", "Wanted", "settled", "trial_of")

Array = NDArray[Any]

#: Share of the tolerance that modes may leave out.
MODES = 0.6
# Share of it that places may leave of ψ at any other, before more of them are taken.
_LEFT = 0.4
# How many nodes along an axis are enough to begin with.
_MOST_NODES = 9
_USUAL_SPACING = 256.0
_MOST_RATIOS = 24
_SMALLEST_SPACING = 8.0
# Nodes in a period of the noise's correlation to begin with, and at most; and how many there may be in all.
_PER_PERIOD, _MOST_PER_PERIOD, _MOST_LOCAL_NODES = 3.0, 4.0, 300_000
# With which power of the nodes' distance the error falls at least, and by what factor they come closer at a time.
_ORDER = 4
_LEAST_STEP, _LARGEST_STEP = 1.25, 3.0
# How many frequencies are looked at to begin with, and how many at least for each place that ψ is made of.
_FREQUENCIES, _FEWEST_PER_PLACE = 1024, 7
# The same for local noise, whose nodes are many and need not be that accurate.
_LOCAL_FREQUENCIES = 320


@dataclass(frozen=True, eq=False)
class Wanted:
    """What ψ is to be like, and what it may take.

    Parameters
    ----------
    tolerance
        Bound of the rms error.
    node_spacing
        Distance of nodes in pixels to begin with.
    levels
        Of the variance planes.
    places
        At how many places there may be images of ψ.
    threads
        Number of threads.
    constant
        Whether the kernels and the noise's correlation are the same all over.
    period
        The shortest in pixels with which the noise's correlation varies.
    """

    tolerance: float
    node_spacing: float
    levels: Array
    places: int
    threads: int
    constant: bool = False
    period: float = math.inf


@dataclass(frozen=True, eq=False)
class Trial:
    """What is known of ψ at nodes.

    Parameters
    ----------
    span
        Places of which ψ is made.
    nodes, amounts
        The nodes, and how much (k, n) of each mode of the span ψ is there.
    span_error, field_error, ratio_error
        From what places of the span leave of ψ, and from interpolation over the field and over the noise ratio.
    """

    span: Span
    nodes: Nodes
    amounts: Array
    span_error: float
    field_error: float
    ratio_error: float

    @property
    def error(self) -> float:
        return math.hypot(self.span_error, self.field_error, self.ratio_error)


def settled(support: Support, box: Box, ratios: Array, allowed: float, wanted: Wanted) -> Trial:
    """ψ at nodes that are close enough.

    Parameters
    ----------
    support
        The sampler, and the unit of errors.
    box
        The part of the field.
    ratios
        Nodes over the logarithm of the noise ratio to begin with.
    allowed
        Bound of the rms error.
    wanted
        What ψ is to be like.
    """
    coarsest = max(box.shape) / (_MOST_NODES - 1)
    usual = wanted.node_spacing >= _USUAL_SPACING
    spacing = max(wanted.node_spacing, coarsest) if usual else wanted.node_spacing
    spacing = min(spacing, wanted.period / _PER_PERIOD)
    affordable = math.sqrt(math.prod(box.shape) * len(ratios) / _MOST_LOCAL_NODES)
    smallest = min(_SMALLEST_SPACING, max(wanted.period / _MOST_PER_PERIOD, affordable))
    probes = probes_of(box, np.unique(ratios[[0, -1]]), wanted.constant, wanted.period)
    x, y, log_ratio = (values[:: len(probes.log_ratio) + 1] for values in probes.positions)
    count, closer, span = _FREQUENCIES if math.isinf(wanted.period) else _LOCAL_FREQUENCIES, 1.0, None
    while True:
        if span is None:
            span = Span.empty(quadrature_of(support, (x, y, log_ratio), count, wanted.levels, wanted.tolerance))
        nodes = probes_of(box, ratios, True) if wanted.constant else Nodes.over(box, spacing, ratios, closer)
        trial = trial_of(span, nodes, support.norm, wanted)
        span = trial.span
        if _FEWEST_PER_PLACE * span.count > count and count < support.sampler.frequencies:
            # So many amounts cannot be told from so few frequencies.
            count, span = 2 * count, None
            continue
        # More nodes do nothing for what the modes leave out.
        modes = math.hypot(MODES * wanted.tolerance, trial.span_error)
        if math.hypot(modes, trial.field_error, trial.ratio_error) <= allowed or modes > allowed:
            return trial
        if trial.ratio_error > trial.field_error and len(ratios) < _MOST_RATIOS:
            ratios = np.linspace(ratios[0], ratios[-1], min(len(ratios) + 3, _MOST_RATIOS))
        elif nodes.spacing > smallest:
            left = math.sqrt(max(allowed**2 - modes**2 - trial.ratio_error**2, (0.1 * allowed) ** 2))
            closer *= min(max((trial.field_error / left) ** (1 / _ORDER), _LEAST_STEP), _LARGEST_STEP)
        else:
            return trial


def trial_of(span: Span, nodes: Nodes, norm: float, wanted: Wanted) -> Trial:
    """ψ at nodes, made of the places of a span and of as many more as that takes.

    Parameters
    ----------
    span
        The places so far.
    nodes
        The nodes.
    norm
        The unit of errors.
    wanted
        What ψ is to be like.
    """
    between = {over: places_between(nodes, over) for over in ("field", "ratio")}
    chosen = [places for places in (nodes.positions, *between.values()) if places is not None]
    x, y, log_ratio = (np.concatenate(parts) for parts in zip(*chosen, strict=True))
    limit = _LEFT * wanted.tolerance * norm
    if not span.count:
        # Nothing is known yet: any places will do, spread over all.
        anyhow = np.random.default_rng(0).random(len(x))
        span = span.extended((x, y, log_ratio), anyhow, limit, wanted.places, wanted.threads)
    while True:
        found = span.amounts((x, y, log_ratio), wanted.threads)
        before = span.count
        if found.left_of_all.max() > limit and before < wanted.places:
            span = span.extended((x, y, log_ratio), found.left_of_all, limit, wanted.places, wanted.threads)
        if span.count == before:
            break
    values, errors, start = found.values[: nodes.count], dict.fromkeys(between, 0.0), nodes.count
    for over, places in between.items():
        if places is not None:
            exact = found.values[start : (start := start + len(places[0]))]
            off = (values_between(values, nodes, places) - exact) @ span.own
            errors[over] = math.sqrt((off**2).sum(axis=1).mean()) / norm
    left = math.sqrt(float(nodes.areas @ found.left[: nodes.count] ** 2) / nodes.count) / norm
    return Trial(span, nodes, values, left, errors["field"], errors["ratio"])
