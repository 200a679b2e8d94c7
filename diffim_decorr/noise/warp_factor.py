"""Variances of a template that make up for its resampling, brought back to those of its pixels.

Resampling with weights w leaves white noise the variance Σw² V in each pixel, and what is missing as correlation of
neighbours. A pipeline that wants the noise over large areas to be right multiplies the plane by 1/Σw², 1.25 for a
Lanczos kernel of order 3. Where the correlation is measured, or known, it would be counted twice; and pixels scatter
less than such a plane says in any case.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diffim_decorr.difference.subtraction import Subtraction
from diffim_decorr.images.planes import DerivedPlane
from diffim_decorr.options import Options
from diffim_decorr.record import Record

__all__ = ("without_warp_factor",)

Array = NDArray[Any]


def without_warp_factor(subtraction: Subtraction, options: Options, record: Record) -> Subtraction:
    """A subtraction whose template has the variances of its pixels; what the user should know goes to the record."""
    factor, template = options.template_warp_factor, subtraction.template
    if factor == 1:
        return subtraction
    plane = template.variance_plane
    idle = _idle(subtraction, options)
    if idle or plane is None:
        record.warn(f"--template-warp-factor has no effect: {idle}")
        return subtraction
    new = template.with_variance(DerivedPlane(plane, partial(_divided, factor)))
    contributions = tuple(replace(c, exposure=new) if c.exposure is template else c for c in subtraction.contributions)
    return replace(subtraction, template=new, contributions=contributions)


def _idle(subtraction: Subtraction, options: Options) -> str:
    """Why the variances of the template's plane do not matter; nothing if they do."""
    template = subtraction.template
    if all(c.exposure is not template for c in subtraction.contributions):
        return "the images of a stack have variances of their own"
    if options.tmpl_gain is not None:
        return "the variance of the template is that of its photons (--tmpl-gain)"
    if template.variance_plane is None:
        return f"{template.name} has no variance plane"
    return ""


def _divided(factor: float, variance: Array) -> Array:
    result: Array = variance / np.asarray(factor, variance.dtype if variance.dtype.kind == "f" else np.float64)
    return result
