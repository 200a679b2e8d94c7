"""Matching kernels as SFFT writes them (``FITS_Solution``).

The kernel is that of Hu et al. (2022, ApJ 936, 157): a delta-function basis, modified so that all but its central
element have no flux, with coefficients that are polynomials or B-splines in the position. The layout and the
conventions below are those of SFFT 1.7.

SFFT multiplies the image with each function of the position before it convolves: its kernel at a position is what the
light of a source there goes through.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

from diffim_decorr.difference.matching import MatchingKernel
from diffim_decorr.errors import InputError
from diffim_decorr.geometry import Box
from diffim_decorr.io.hdus import hdu_label, read_array, shape_of
from diffim_decorr.io.headers import integer_card, last_card
from diffim_decorr.io.kernels.source import Format
from diffim_decorr.kernels.coefficients import (
    Coefficients,
    JoinedCoefficients,
    PolynomialCoefficients,
    powers_of_degree,
)
from diffim_decorr.kernels.spatial import SpatialKernel
from diffim_decorr.kernels.tensor import Axis, PolynomialAxis, SplineAxis, TensorCoefficients
from diffim_decorr.options import Side

__all__ = ("FORMAT", "is_sfft", "read_sfft")

Array = NDArray[Any]

_CARDS = ("L0", "L1", "DK", "FPQ")
_SIDES: dict[str, Side] = {"REF": "template", "SCI": "science"}
_LARGEST_KERNEL = 1001
_LARGEST_IMAGE = 1_000_000
_LARGEST_DEGREE = 10


def is_sfft(hdus: Sequence[Any]) -> bool:
    """Whether there is a solution of SFFT among the HDUs."""
    return any(_is_solution(hdu) for hdu in hdus)


def read_sfft(
    hdus: fits.HDUList,
    among: Sequence[Any],
    name: str,
    image_shape: tuple[int, int] | None = None,
    header: fits.Header | None = None,
) -> MatchingKernel:
    """Read a solution of SFFT, polynomials or B-splines.

    Parameters
    ----------
    hdus
        The open file.
    among
        The HDUs of it to look into.
    name
        The file's name, for messages.
    image_shape
        Shape (ny, nx) of the difference, which must be the solution's; for solutions that do not say theirs.
    header
        Header of SFFT's difference. Its card CONVD says which image was convolved; solutions with polynomials lack it.

    Raises
    ------
    InputError
        If there is no solution, or it cannot be used.
    """
    solution = next((hdu for hdu in among if _is_solution(hdu)), None)
    if solution is None:
        raise InputError(f"{name}: holds no solution of SFFT, an array with the cards {', '.join(_CARDS)}")
    where = hdu_label(name, hdus, solution)
    cards = solution.header
    if "N0" in cards or "N1" in cards:
        nx, ny = (integer_card(cards, key, 1, _LARGEST_IMAGE, where) for key in ("N0", "N1"))
    elif image_shape is not None:  # of versions before 2022
        ny, nx = image_shape
    else:
        raise InputError(f"{where}: SFFT's solution lacks the cards N0 and N1, the size of the image: add them")
    if image_shape not in (None, (ny, nx)):
        raise InputError(
            f"{where}: solution for images of {nx} x {ny} pixels, but the difference has "
            f"{image_shape[1]} x {image_shape[0]}"
        )
    width, height = (integer_card(cards, key, 1, _LARGEST_KERNEL, where) for key in ("L0", "L1"))
    if width % 2 == 0 or height % 2 == 0:
        raise InputError(f"{where}: a kernel of {width} x {height} pixels, but the sides of SFFT's kernels are odd")
    axes, terms = _functions(cards, "K", (nx, ny), where)
    vector = read_array(hdus, solution, where).reshape(-1)
    background = integer_card(cards, "FPQ", 0, len(vector), where)
    needed = len(terms) * width * height
    if len(vector) - background != needed:
        raise InputError(
            f"{where}: the solution has {len(vector) - background} coefficients of the kernel, but {len(terms)} "
            f"functions and {width} x {height} pixels need {needed}"
        )
    coefficients = vector[:needed].reshape(len(terms), width, height) / (nx * ny)
    if not np.isfinite(coefficients).all():
        raise InputError(f"{where}: the solution holds numbers that are not finite")
    if not coefficients.any():
        raise InputError(f"{where}: the solution holds nothing but zeros")
    # From [x, y] to [y, x]. The central element is the flux; the others are differences of two pixels.
    pixels = coefficients.transpose(0, 2, 1).copy()
    centre = height // 2, width // 2
    flux = pixels[:, *centre].copy()
    pixels[:, *centre] -= pixels.sum(axis=(1, 2))
    field = Box(0, 0, nx, ny)
    if _separate_scaling(cards):
        scaling_axes, scaling_terms = _functions(cards, "S", (nx, ny), where)
        if len(scaling_terms) > len(terms):
            raise InputError(f"{where}: the flux has {len(scaling_terms)} functions, the kernel only {len(terms)}")
        scaling = np.zeros((len(scaling_terms), *pixels.shape[1:]))
        scaling[:, *centre] = flux[: len(scaling_terms)]
        families = [(axes, terms), (scaling_axes, scaling_terms)]
        kernel = SpatialKernel(np.concatenate([pixels, scaling]), _coefficients(families, (nx, ny)), field)
    else:
        pixels[:, *centre] += flux
        kernel = SpatialKernel(pixels, _coefficients([(axes, terms)], (nx, ny)), field)
    return MatchingKernel(
        kernel=kernel,
        format="sfft",
        convolved=(_side(cards, header, where),),
        normalized=(False,),
        parent_frame=False,
        name=where,
    )


def _is_solution(hdu: Any) -> bool:
    return bool(shape_of(hdu)) and all(key in hdu.header for key in _CARDS)


def _side(solution: fits.Header, difference: fits.Header | None, where: str) -> Side | None:
    """Which image was convolved, if the solution or the difference says so."""
    for header in (solution, difference):
        if header is not None and "CONVD" in header:
            text = str(last_card(header, "CONVD")).strip()
            if text not in _SIDES:
                raise InputError(f"{where}: CONVD is {text!r}, neither REF nor SCI")
            return _SIDES[text]
    return None


def _separate_scaling(header: fits.Header) -> bool:
    """Whether the kernel sum has functions of its own: a constant one is among those of the kernel already."""
    return str(header.get("SEPSCA", "")).strip() == "True" and header.get("SSPDEG", 0) != 0


def _functions(header: fits.Header, family: str, size: tuple[int, int], where: str) -> tuple[tuple[Axis, Axis], Array]:
    """The functions along each axis, and which of them belong to each coefficient (terms, 2).

    Parameters
    ----------
    header
        Cards of the solution.
    family
        K, the kernel, or S, its sum.
    size
        Of the images, (nx, ny).
    where
        The file and HDU, for messages.
    """
    kind = str(header.get(f"{family}SPTYPE", "Polynomial")).strip()
    degree = integer_card(header, "DK" if family == "K" else "SSPDEG", 0, _LARGEST_DEGREE, where)
    nx, ny = size
    if kind == "Polynomial":
        return (PolynomialAxis(degree, nx), PolynomialAxis(degree, ny)), powers_of_degree(degree)
    if kind != "B-Spline":
        raise InputError(f"{where}: {family}SPTYPE is {kind!r}, neither Polynomial nor B-Spline")
    along_x, along_y = (
        SplineAxis(degree, length, _knots(header, f"{family}IK{axis}", length, where))
        for axis, length in (("X", nx), ("Y", ny))
    )
    return (along_x, along_y), np.array([(i, j) for i in range(along_x.count) for j in range(along_y.count)])


def _knots(header: fits.Header, key: str, length: int, where: str) -> tuple[float, ...]:
    """The inner knots along one axis."""
    count = integer_card(header, f"N{key}", 0, _LARGEST_IMAGE, where)
    knots: list[float] = []
    for k in range(count):
        knot = last_card(header, f"{key}{k}") if f"{key}{k}" in header else None
        if isinstance(knot, bool) or not isinstance(knot, int | float) or not 0.5 < knot < length + 0.5:
            raise InputError(f"{where}: {key}{k} is {knot!r}, not a position within the image")
        knots.append(float(knot))
    if any(right <= left for left, right in pairwise(knots)):
        raise InputError(f"{where}: the knots {key}0, {key}1, … do not increase")
    return tuple(knots)


def _coefficients(families: list[tuple[tuple[Axis, Axis], Array]], size: tuple[int, int]) -> Coefficients:
    """The functions of all families, one after the other."""
    if all(isinstance(axis, PolynomialAxis) for axes, _ in families for axis in axes):
        powers = np.concatenate([terms for _, terms in families])
        return PolynomialCoefficients(np.eye(len(powers)), powers, origin=(-1.0, -1.0), scale=size)
    return JoinedCoefficients(tuple(TensorCoefficients(*axes, terms) for axes, terms in families))


FORMAT = Format(
    "sfft",
    "a solution of SFFT",
    lambda source: is_sfft(source.named),
    lambda source: read_sfft(source.hdus, source.named, source.path, source.image_shape, source.header),
)
