"""Decorrelate array files with one method and print its seconds and its pixels at the points, as a JSON object.

    python method.py METHOD FOLDER [--cutout SIZE]

Imports, reading the arrays and a first small run are not in the time.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from data import SVAR, TVAR, Kernel, shade
from numpy.typing import NDArray
from peers import PEERS

Array = NDArray[Any]
Method = Callable[[Array, Array, Array, tuple[Array, Array], Kernel], tuple[Array, Array | None]]

# Enough around a pixel for a kernel of 51 pixels.
_PATCH = 26


def engine(name: str) -> Method:
    """decorr's engine: ``decorr-MODE-VARIANCE-THREADS``, all cores for 0 threads."""
    _, mode, variance, threads = name.split("-")

    def method(
        science: Array, template: Array, difference: Array, variances: tuple[Array, Array], kernel: Kernel
    ) -> tuple[Array, Array | None]:
        from diffim_decorr import Exposure, Options, SpatialKernel
        from diffim_decorr.difference.subtraction import subtraction_of
        from diffim_decorr.engine.schedule import convolve_image
        from diffim_decorr.engine.sinks import MemorySink
        from diffim_decorr.kernels.coefficients import PolynomialCoefficients
        from diffim_decorr.record import Record
        from diffim_decorr.threads import serial_blas
        from diffim_decorr.whiten import whitening_of

        options = Options.of({"spatial": mode == "spatial", "variance": variance, "threads": int(threads) or None})
        half = (kernel.shape[1] / 2, kernel.shape[0] / 2)
        varying = PolynomialCoefficients(kernel.values, kernel.powers, half, half)
        with serial_blas():
            subtraction = subtraction_of(
                Exposure(science, variances[0]),
                Exposure(template, variances[1]),
                Exposure(difference),
                SpatialKernel(kernel.basis, varying),
                options,
            )
            sink = MemorySink(subtraction.shape)
            convolve_image(whitening_of(subtraction, options, Record((options,))).job, sink)
        return sink.image, sink.variance

    return method


def peer(name: str) -> Method:
    """One of the others, which do not need the inputs' images."""

    def method(
        _science: Array, _template: Array, difference: Array, variances: tuple[Array, Array], kernel: Kernel
    ) -> tuple[Array, Array | None]:
        return PEERS[name](difference, variances, kernel)

    return method


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("method")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--cutout", type=int, help="time a square cut-out, and say the time of all pixels")
    given = parser.parse_args()
    method = engine(given.method) if given.method.startswith("decorr") else peer(given.method)
    images = [np.load(given.folder / f"{name}.npy") for name in ("science", "template", "difference")]
    kernel = Kernel.load(given.folder / "kernel.npz")
    points = np.load(given.folder / "points.npy")

    def inputs(window: tuple[slice, slice]) -> tuple[Any, ...]:
        science, template, difference = (image[window] for image in images)
        shading = np.broadcast_to(shade(images[2].shape[1]), images[2].shape)[window].astype(np.float32)
        variances = tuple(np.float32(value) * shading for value in (SVAR, TVAR))
        return science, template, difference, variances, kernel

    side = given.cutout or max(images[2].shape)
    method(*inputs((slice(0, 128), slice(0, 128))))
    prepared = inputs((slice(0, side), slice(0, side)))
    start = time.perf_counter()
    image, variance = method(*prepared)
    seconds = (time.perf_counter() - start) * images[2].size / image.size
    if given.cutout:
        around = [(slice(y - _PATCH, y + _PATCH + 1), slice(x - _PATCH, x + _PATCH + 1)) for x, y in points.tolist()]
        values = [method(*inputs(window))[0][_PATCH, _PATCH] for window in around]
    else:
        values = image[points[:, 1], points[:, 0]]
    said: dict[str, Any] = {"seconds": seconds, "image": np.asarray(values, dtype=float).tolist()}
    if variance is not None:
        said["variance"] = np.asarray(variance[points[:, 1], points[:, 0]], dtype=float).tolist()
    print(json.dumps(said))


if __name__ == "__main__":
    main()
