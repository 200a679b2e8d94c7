"""Matching kernels as delta saves them (``KernelSolution.save``, an archive of numpy, ``.npz``).

The kernel is a sum of Gauss-Hermite functions (Refregier 2003, MNRAS 338, 35) up to a total order, each with a
coefficient that is a thin-plate regression spline of the position (Wood 2003, JRSS-B 65, 95): radial functions about
knots, without what planes do already, and a plane. The layout and the conventions below are those of delta 1.1
(tkillestein/delta, July 2026).
"""

from __future__ import annotations

import zlib
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from diffim_decorr.difference.matching import MatchingKernel
from diffim_decorr.errors import InputError
from diffim_decorr.geometry import Box
from diffim_decorr.io.hdus import is_numpy_archive
from diffim_decorr.io.kernels.source import Format, Source
from diffim_decorr.kernels.scattered import ScatteredCoefficients
from diffim_decorr.kernels.spatial import SpatialKernel
from diffim_decorr.options import Side

__all__ = ("FORMAT",)

Array = NDArray[Any]

# What numpy and the archive say of damage; NotImplementedError, of later versions of archives, is a RuntimeError.
_BROKEN = (
    BadZipFile, zlib.error, ValueError, EOFError, OSError, LookupError, AttributeError, TypeError, RuntimeError,
)  # fmt: skip
_LARGEST = 100_000_000  # bytes of what is read
_ENTRIES = ("beta", "n_max", "radius", "knots", "theta", "component_sums", "direction", "shape")
_SIDES: dict[str, Side] = {"reference": "template", "science": "science"}
_LARGEST_ORDER = 40
_LARGEST_RADIUS = 500
_LARGEST_IMAGE = 1_000_000
# Relative to the norm of a column, below which rounding decides on the sign of a reflection.
_UNDECIDED = 1e-9
# Width over length of a set of knots below which it is a line.
_THINNEST = 1e-6


def _read(source: Source) -> MatchingKernel:
    name = source.path
    saved = _entries(name)
    ny, nx = _shape(saved["shape"], name)
    if source.image_shape not in (None, (ny, nx)):
        height, width = source.image_shape
        raise InputError(
            f"{name}: solution for images of {nx} x {ny} pixels, but the difference has {width} x {height}"
        )
    direction = str(saved["direction"])
    if direction not in _SIDES:
        raise InputError(f"{name}: its direction is {direction!r}, neither reference nor science")
    basis = _basis(saved, name)
    knots = _finite(saved["knots"], name, "knots")
    if knots.ndim != 2 or knots.shape[1] != 2 or len(knots) < 3:
        raise InputError(f"{name}: its knots, of shape {knots.shape}, are not three positions or more")
    theta = _finite(saved["theta"], name, "theta")
    if theta.shape != ((len(basis) + 1) * len(knots),):
        raise InputError(
            f"{name}: has {theta.size} coefficients in theta, but {len(basis)} components and a background on "
            f"{len(knots)} knots need {(len(basis) + 1) * len(knots)}"
        )
    # What comes last is the background.
    coefficients = theta.reshape(-1, len(knots))[:-1]
    if not coefficients.any():
        raise InputError(f"{name}: the kernel holds nothing but zeros")
    # A field of this kind is the thin-plate spline through its values at the knots.
    values = coefficients @ _design_at_knots(knots, name).T
    return MatchingKernel(
        kernel=SpatialKernel(basis, ScatteredCoefficients(knots).combined(values), Box(0, 0, nx, ny)),
        format="delta",
        convolved=(_SIDES[direction],),
        normalized=(False,),
        parent_frame=False,
        name=name,
    )


def _entries(name: str) -> dict[str, Any]:
    try:
        # A file that numpy has opened itself it leaves open if it cannot read it.
        with open(name, "rb") as file, np.load(file, allow_pickle=False) as archive:
            missing = [entry for entry in _ENTRIES if entry not in archive]
            if missing:
                raise InputError(f"{name}: holds no solution of delta, having no {', '.join(missing)}")
            sizes = {info.filename.removesuffix(".npy"): info.file_size for info in archive.zip.infolist()}
            size = sum(sizes.get(entry, 0) for entry in _ENTRIES)
            if size > _LARGEST:  # unpacked, whatever it takes in the file
                raise InputError(f"{name}: takes {size * 1e-6:.0f} MB, which is too much for a solution of delta")
            return {entry: archive[entry] for entry in _ENTRIES}
    except InputError:
        raise
    except _BROKEN as error:
        cause = " ".join(str(error).split()) or type(error).__name__
        raise InputError(f"{name}: is no archive of numpy (.npz) that could be read ({cause})") from error


def _shape(saved: Any, name: str) -> tuple[int, int]:
    if np.shape(saved) != (2,) or np.asarray(saved).dtype.kind not in "iu":
        raise InputError(f"{name}: its shape is {saved!r}, not the height and width of an image")
    ny, nx = (int(length) for length in saved)
    if not (0 < ny <= _LARGEST_IMAGE and 0 < nx <= _LARGEST_IMAGE):
        raise InputError(f"{name}: its shape is {ny} x {nx}, not the height and width of an image")
    return ny, nx


def _finite(saved: Any, name: str, entry: str) -> Array:
    if np.asarray(saved).dtype.kind not in "iuf":
        raise InputError(f"{name}: its {entry} are no numbers")
    array = np.asarray(saved, dtype=np.float64)
    if not np.isfinite(array).all():
        raise InputError(f"{name}: its {entry} holds numbers that are not finite")
    return array


def _basis(saved: dict[str, Any], name: str) -> Array:
    """The Gauss-Hermite functions (n, h, w) by total order, and then by the order in y."""
    numbers = {entry: _finite(saved[entry], name, entry) for entry in ("beta", "n_max", "radius")}
    if any(number.ndim for number in numbers.values()):
        raise InputError(f"{name}: its beta, n_max and radius are no single numbers")
    beta, order, radius = float(numbers["beta"]), int(numbers["n_max"]), int(numbers["radius"])
    if not beta > 0 or not 0 <= order <= _LARGEST_ORDER:
        raise InputError(f"{name}: beta {beta:g} and n_max {order} make no Gauss-Hermite functions")
    if radius <= 0:  # delta chooses
        radius = max(3, int(np.ceil(min(3 * beta * np.sqrt(order + 1), 2 * _LARGEST_RADIUS))))
    if radius > _LARGEST_RADIUS:
        raise InputError(f"{name}: a kernel of radius {radius} looks like an image, not a kernel")
    t = np.arange(-radius, radius + 1) / beta
    along = [np.exp(-(t**2) / 2) / np.sqrt(beta * np.sqrt(np.pi))]
    for n in range(order):
        previous = along[n - 1] * np.sqrt(n / (n + 1)) if n else 0.0
        along.append(np.sqrt(2 / (n + 1)) * t * along[n] - previous)
    basis = np.array([np.outer(along[j], along[n - j]) for n in range(order + 1) for j in range(n + 1)])
    sums = _finite(saved["component_sums"], name, "component_sums")
    # They are redundant, and so tell whether the functions are those that the solution was found with.
    if sums.shape != (len(basis),) or not np.allclose(sums, basis.sum(axis=(1, 2)), rtol=0, atol=1e-6 * beta):
        raise InputError(
            f"{name}: its component_sums are not those of Gauss-Hermite functions of beta {beta:g}, n_max {order} and "
            f"radius {radius}: it was saved by a version of delta that is not understood"
        )
    return basis


def _design_at_knots(knots: Array, name: str) -> Array:
    """The functions (knot, function) that theta weights, at the knots: radial ones first, then 1, u and v."""
    centred = knots - knots.mean(axis=0)
    u, v = (centred / max(np.abs(centred).max(), 1e-12)).T
    plane = np.stack([np.ones(len(knots)), u, v], axis=1)
    square = (u[:, None] - u) ** 2 + (v[:, None] - v) ** 2
    with np.errstate(divide="ignore", invalid="ignore"):
        radial = np.where(square > 0, 0.5 * square * np.log(square), 0.0)
    return np.hstack([radial @ _without_planes(plane, name), plane])


def _without_planes(plane: Array, name: str) -> Array:
    """The last columns of Q in the QR decomposition of (k, 3) by Householder reflections, the way of LAPACK and Eigen.

    They span what is orthogonal to all planes; as coefficients refer to them, they have to be these very ones.
    """
    rest = plane.copy()
    reflectors = []
    spread = np.linalg.svd(plane, compute_uv=False)
    if spread[2] < _THINNEST * spread[0]:
        raise InputError(f"{name}: its {len(plane)} knots lie on one line")
    for k in range(3):
        column = rest[k:, k]
        norm = np.linalg.norm(column)
        if len(column) > 1 and abs(column[0]) < _UNDECIDED * np.linalg.norm(plane[:, k]):
            raise InputError(
                f"{name}: its knots lie such that rounding decides on the functions between them: the kernel cannot be "
                "told (evaluate it with delta, and write it with write_grid_kernel)"
            )
        reflector = np.zeros(len(rest))
        reflector[k:] = column
        # No component beside the first: there is nothing to reflect.
        if len(column) > 1 and np.any(column[1:]):
            reflector[k] += np.copysign(norm, column[0])
            reflector /= np.linalg.norm(reflector)
            reflectors.append(reflector)
            rest -= 2 * np.outer(reflector, reflector @ rest)
    result = np.eye(len(rest))[:, 3:]
    for reflector in reversed(reflectors):
        result = result - 2 * np.outer(reflector, reflector @ result)
    return result


FORMAT = Format("delta", "a solution of delta (.npz)", lambda source: is_numpy_archive(source.path), _read)
