"""HOTPANTS' own convolved images are made again from its kernels."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from astropy.io import fits

from diffim_decorr import read_kernel
from diffim_decorr.geometry import Box
from diffim_decorr.kernels.piecewise import PiecewiseCoefficients
from support.data import JWST, needs_jwst


def hotpants_convolved(image: np.ndarray, kernel: Callable[[int, int], np.ndarray], width: int) -> np.ndarray:
    """Convolve as HOTPANTS does: in cells of one kernel width, each with the kernel at its centre."""
    half = width // 2
    ny, nx = image.shape
    result = np.full(image.shape, np.nan)
    for y in range(half, ny - half, width):
        for x in range(half, nx - half, width):
            y1, x1 = min(y + width, ny - half), min(x + width, nx - half)
            patch = image[y - half : y1 + half, x - half : x1 + half]
            windows = np.lib.stride_tricks.sliding_window_view(patch, (width, width))
            result[y:y1, x:x1] = np.tensordot(windows, kernel(x + half, y + half)[::-1, ::-1])
    return result


def background(vector: np.ndarray, first: int, order: int, shape: tuple[int, int]) -> np.ndarray:
    """The background that HOTPANTS adds to the convolved image."""
    ny, nx = shape
    v, u = np.mgrid[:ny, :nx].astype(float)
    u, v = (u - nx / 2) / (nx / 2), (v - ny / 2) / (ny / 2)
    powers = [(a, b) for a in range(order + 1) for b in range(order - a + 1)]
    return sum(vector[first + k] * u**a * v**b for k, (a, b) in enumerate(powers))


@needs_jwst
@pytest.mark.parametrize(
    ("file", "convolved", "frames"),
    [
        ("hotpants_diff.fits", "tmpl.fits", [Box(0, 0, 900, 900)]),
        (
            "hotpants_diff_2x2_science_convolved.fits",
            "sci.fits",
            [Box(0, 0, 486, 486), Box(413, 0, 900, 486), Box(0, 413, 486, 900), Box(413, 413, 900, 900)],
        ),
    ],
)
def test_hotpants_own_convolved_image_is_reproduced(file: str, convolved: str, frames: list[Box]) -> None:
    matching = read_kernel(JWST / file)
    with fits.open(JWST / file) as hdus:
        expected = hdus[1].data.astype(float)
        columns = [hdus[-1].data.field(k) for k in range(len(frames))]
        order, background_order = hdus[-1].header["CKORDER"], hdus[-1].header["BGORDER"]
    image = fits.getdata(JWST / convolved).astype(float)
    coefficients = matching.kernel.coefficients
    whole = Box(0, 0, 900, 900)
    pieces = coefficients.pieces if isinstance(coefficients, PiecewiseCoefficients) else ((whole, coefficients),)
    first = 2 + (len(matching.kernel.basis) - 1) * (order + 1) * (order + 2) // 2

    mine = np.full(image.shape, np.nan)
    for (box, piece), frame, column in zip(pieces, frames, columns, strict=True):

        def kernel(x: int, y: int, piece: Any = piece, frame: Box = frame) -> np.ndarray:
            at = piece.at(np.array([frame.x0 + x]), np.array([frame.y0 + y]))[:, 0]
            return np.tensordot(at, matching.kernel.basis, axes=1)

        region = hotpants_convolved(image[frame.slices], kernel, matching.kernel.shape[0])
        region += background(column, first, background_order, frame.shape)
        # Where regions overlap, HOTPANTS' later one overwrites the earlier one.
        inner = box.shifted(-frame.x0, -frame.y0).slices
        mine[box.slices] = region[inner]

    known = np.isfinite(mine)
    assert known.mean() > 0.9
    scale = np.abs(expected[known]).max()
    assert np.abs(mine - expected)[known].max() < 1e-7 * scale
    # The differences are not divided by the kernel sum in either file, and nor are the convolved images.
    assert matching.normalized == (False,) * len(frames)
