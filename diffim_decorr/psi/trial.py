"""ψ at one choice of nodes, and whether they are enough. No image of ψ is needed for that: see `span`."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diffim_decorr.psi.interpolate import places_between, values_between
from diffim_decorr.psi.nodes import Nodes, Places
from diffim_decorr.psi.span import Span

__all__ = ("MODES", "Trial", "trial_of")

Array = NDArray[Any]

#: Share of the tolerance that modes may leave out.
MODES = 0.6
# Share of it that places may leave of ψ at any other, before more of them are taken.
_LEFT = 0.4


@dataclass(frozen=True, eq=False)
class Trial:
    """What is known of ψ at nodes.

    Parameters
    ----------
    span
        Places of which ψ is made.
    nodes, amounts
        The nodes, and how much (k, n) of each mode of the span ψ is there.
    mode_error, field_error, ratio_error
        From what ψ is not made of, and from interpolation over the field and over the noise ratio.
    """

    span: Span
    nodes: Nodes
    amounts: Array
    mode_error: float
    field_error: float
    ratio_error: float

    @property
    def error(self) -> float:
        return math.hypot(self.mode_error, self.field_error, self.ratio_error)


def trial_of(span: Span, nodes: Nodes, tolerance: float, norm: float, most: int, threads: int) -> Trial:
    """ψ at nodes, of places that may become more.

    Parameters
    ----------
    span
        Places of which ψ is made.
    nodes
        The nodes.
    tolerance, norm
        Bound of the rms error, and the unit that it is in.
    most
        Number of places that there may be.
    threads
        Number of threads.
    """
    between = {over: places_between(nodes, over) for over in ("field", "ratio")}
    chosen = [places for places in (nodes.positions, *between.values()) if places is not None]
    everywhere: Places = tuple(np.concatenate(parts) for parts in zip(*chosen, strict=True))  # type: ignore[assignment]
    limit = _LEFT * tolerance * norm
    if not span.count:
        span = span.extended(nodes.positions, np.full(nodes.count, np.inf), limit, most, threads)
    while True:
        found = span.amounts(everywhere, threads)
        if found.left_of_all.max() <= limit or span.count >= most:
            break
        before = span.count
        span = span.extended(everywhere, found.left_of_all, limit, most, threads)
        if span.count == before:
            break
    values = found.values[: nodes.count]
    left = found.left[: nodes.count]
    errors, start = dict.fromkeys(between, 0.0), nodes.count
    for over, places in between.items():
        if places is not None:
            exact = found.values[start : (start := start + len(places[0]))]
            off = (values_between(values, nodes, places) - exact) @ span.own
            errors[over] = math.sqrt((off**2).sum(axis=1).mean()) / norm
    unexplained = math.sqrt(float(nodes.areas @ left**2) / nodes.count) / norm
    return Trial(span, nodes, values, math.hypot(MODES * tolerance, unexplained), errors["field"], errors["ratio"])
