"""Matching kernels inside the difference images of LSST's package ``lsst.images``.

The tree of the file holds basis images, in the tree itself or in an HDU that it names, and for each of them a field of
Chebyshev polynomials, whose domain is a rectangle of pixels of the parent frame, its outer half pixels included.

As in the stack, kernels are applied by correlation; what is returned is turned round, for convolution.
"""

from __future__ import annotations

import re
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diffim_decorr.difference.matching import MatchingKernel
from diffim_decorr.errors import InputError
from diffim_decorr.geometry import Box
from diffim_decorr.io.hdus import hdu_label, pick, read_array
from diffim_decorr.io.kernels.lsst_common import Frame, as_one_family, chebyshev_powers, for_convolution
from diffim_decorr.io.kernels.source import Format, NoKernelError, Source
from diffim_decorr.io.lsst_images import check_schema, is_lsst_images, schema_of, tree_of
from diffim_decorr.kernels.spatial import SpatialKernel

__all__ = ("FORMAT",)

Array = NDArray[Any]

_LARGEST_KERNEL = 1001
_LARGEST_DEGREE = 20  # beyond it powers of coordinates lose what Chebyshev polynomials hold


def _sniff(source: Source) -> bool:
    # A file without a kernel must not pass for a kernel image, so it is recognised all the same.
    return source.hdu is None and is_lsst_images(source.hdus)


def _read(source: Source) -> MatchingKernel:
    path = source.path
    if not (source.hdus and is_lsst_images(source.hdus)):
        raise InputError(f"{path}: was not written by lsst.images (it lacks the card DATAMODL or the HDU JSON)")
    node = tree_of(path, source.hdus).get("kernel")
    if node is None:
        raise NoKernelError(f"{path}: its tree holds no matching kernel; give the kernel in a file of its own")
    name = f"{path}[JSON]"
    if not isinstance(node, dict):
        raise InputError(f"{name}: the kernel is no tree")
    check_schema(node, f"{name}: the kernel")
    if schema_of(node) != "image_basis_convolution_kernel":
        raise InputError(
            f"{name}: the kernel is a {schema_of(node) or 'model'}, of which only image_basis_convolution_kernel is "
            "understood"
        )
    basis = _numbers(source, node.get("basis"), 3, f"{name}: the kernel's basis")
    count, height, width = basis.shape
    if not (basis.size and max(height, width) <= _LARGEST_KERNEL):
        raise InputError(f"{name}: the kernel has {count} basis images of {width} x {height} pixels")
    if not basis.any():
        raise InputError(f"{name}: the kernel holds nothing but zeros")
    centre: tuple[Any, ...] = tuple(node.get(f"center_{axis}") for axis in "xy")
    for place, length in zip(centre, (width, height), strict=True):
        if not (isinstance(place, int) and 0 <= place < length):
            raise InputError(f"{name}: the centre {centre} of the kernel lies outside of its {width} x {height} pixels")
    fields = node.get("spatial")
    if not isinstance(fields, list) or len(fields) != count:
        raise InputError(f"{name}: the kernel has {count} basis images, but not as many fields in 'spatial'")
    tensors, frames, boxes = zip(*(_chebyshev(source, field, name) for field in fields), strict=True)
    domain = boxes[0]
    for box in boxes[1:]:
        domain = domain.within(box)
    if min(domain.shape) < 1:
        raise InputError(f"{name}: the fields of the kernel have no pixel in common")
    turned = np.array([for_convolution(image, centre) for image in basis])
    kernel = SpatialKernel(turned, as_one_family(tensors, frames), domain)
    return MatchingKernel(kernel, format="lsst-images", name=name)


def _chebyshev(source: Source, node: Any, name: str) -> tuple[Array, Frame, Box]:
    """Coefficients (powers of x, powers of y) of a field, origin and scale of x and y, and where it holds."""
    if not isinstance(node, dict):
        raise InputError(f"{name}: a field of the kernel is no tree")
    check_schema(node, f"{name}: a field of the kernel")
    if schema_of(node) != "chebyshev_field":
        raise InputError(
            f"{name}: a field of the kernel is a {schema_of(node) or 'model'}, of which only chebyshev_field is "
            "understood"
        )
    bounds: Any = node.get("bounds")
    try:
        x0, x1, y0, y1 = (bounds[axis][end] for axis in "xy" for end in ("start", "stop"))
    except (TypeError, KeyError):
        x0, x1, y0, y1 = (None,) * 4
    if not all(isinstance(end, int) for end in (x0, x1, y0, y1)) or not (x0 < x1 and y0 < y1):
        raise InputError(f"{name}: the bounds of a field of the kernel are no rectangle of pixels")
    # Rows are orders in y.
    orders = _numbers(source, node.get("coefficients"), 2, f"{name}: coefficients of a field of the kernel").T
    if not 0 < max(orders.shape) <= _LARGEST_DEGREE + 1:
        size = f"{orders.shape[1]} x {orders.shape[0]}"
        raise InputError(f"{name}: a field of the kernel has {size} coefficients, {_LARGEST_DEGREE + 1} each at most")
    along = [chebyshev_powers(size - 1) for size in orders.shape]
    frame = ((x0 + x1 - 1) / 2, (y0 + y1 - 1) / 2, (x1 - x0) / 2, (y1 - y0) / 2)
    return along[0] @ orders @ along[1].T, frame, Box(x0, y0, x1, y1)


def _numbers(source: Source, node: Any, axes: int, what: str) -> Array:
    """The finite numbers of an array in the tree, or in the HDU that the tree names."""
    node = node if isinstance(node, dict) else {}
    if "data" in node:
        try:
            array = np.array(node["data"], dtype=np.float64)
        except (TypeError, ValueError) as error:
            raise InputError(f"{what}: is no array of numbers") from error
    else:
        match = re.fullmatch(r"fits:([\w/-]+)(?:,(\d+))?", str(node.get("source")))
        hdu = match and pick(source.hdus, "EXTNAME", match.group(1).upper(), int(match.group(2) or 1))
        if not hdu:
            raise InputError(f"{what}: is in {node.get('source')!r}, which is no HDU of the file")
        array = read_array(source.hdus, hdu, hdu_label(source.path, source.hdus, hdu))
        if array.ndim == axes - 1:  # an axis of length 1 was left out
            array = array[None]
    if array.ndim != axes:
        raise InputError(f"{what}: has {array.ndim} axes instead of {axes}")
    if not np.isfinite(array).all():
        raise InputError(f"{what}: holds numbers that are not finite")
    return array


FORMAT = Format("lsst-images", "a difference image of lsst.images with its kernel", _sniff, _read)
