"""Decorrelate array files with one method; print its seconds, those of the processors, and with --judge what became of
the pixels, as a JSON object.

    python method.py METHOD FOLDER [--cutout SIZE] [--judge]

Imports, reading the arrays and a first small run are not in the time. `engine` is what pair.py runs, from this file of
either commit.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from data import SVAR, TVAR, Kernel, fluxes, max_abs_rho, shade, sources
from numpy.typing import NDArray
from peers import PEERS

Array = NDArray[Any]
Method = Callable[[Array, Array, Array, tuple[Array, Array], Kernel], tuple[Array, Array | None]]

# Enough around a pixel for a kernel of 51 pixels.
_PATCH = 26
# Pixels at the edges that are not asked for their correlation.
_MARGIN = 40


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
    parser.add_argument("--judge", action="store_true", help="say what became of the pixels, too")
    given = parser.parse_args()
    method = engine(given.method) if given.method.startswith("decorr") else peer(given.method)
    images = [np.load(given.folder / f"{name}.npy") for name in ("science", "template", "difference")]
    kernel = Kernel.load(given.folder / "kernel.npz")

    def run(window: tuple[slice, slice], difference: Array = images[2]) -> tuple[Array, Array | None, float, float]:
        """Image and variance of a window, the seconds of that, and those of the processors."""
        shading = np.broadcast_to(shade(images[2].shape[1]), images[2].shape)[window].astype(np.float32, order="C")
        variances = np.float32(SVAR) * shading, np.float32(TVAR) * shading
        science, template = (image[window] for image in images[:2])
        start, processors = time.perf_counter(), time.process_time()
        image, variance = method(science, template, difference[window], variances, kernel)
        return image, variance, time.perf_counter() - start, time.process_time() - processors

    run((slice(0, 128), slice(0, 128)))
    if given.judge and given.cutout:
        said = _judged_patches(run, given.folder)
    elif given.judge:
        said = _judged(run, given.folder, kernel, spatial="spatial" in given.method or "cells" in given.method)
    else:
        window = slice(0, given.cutout)
        image, _, seconds, processors = run((window, window))
        whole = images[2].size / image.size
        said = {"seconds": whole * seconds, "cpu": whole * processors}
    print(json.dumps(said))


def _judged(run: Callable[..., Any], folder: Path, kernel: Kernel, *, spatial: bool) -> dict[str, Any]:
    """Image and variance at the points, the correlation left, fluxes."""
    points, places = np.load(folder / "points.npy"), np.load(folder / "places.npy")
    everything = slice(None), slice(None)
    image, variance, _, _ = run(everything)
    said = {"image": image[points[:, 1], points[:, 0]].tolist(), "max_abs_rho": max_abs_rho(image, _MARGIN)}
    if variance is not None:
        said["variance"] = variance[points[:, 1], points[:, 0]].tolist()
    whitened, _, _, _ = run(everything, sources(image.shape, places))
    return {**said, "flux": fluxes(whitened, kernel, places, spatial=spatial).tolist()}


def _judged_patches(run: Callable[..., Any], folder: Path) -> dict[str, Any]:
    """The image at the points, from cut-outs about them."""
    points = np.load(folder / "points.npy").tolist()
    windows = [(slice(y - _PATCH, y + _PATCH + 1), slice(x - _PATCH, x + _PATCH + 1)) for x, y in points]
    return {"image": [float(run(window)[0][_PATCH, _PATCH]) for window in windows]}


if __name__ == "__main__":
    main()
