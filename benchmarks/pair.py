"""Run the engine of one commit on array files; print its seconds and those of the processors as a JSON object.

    python pair.py TREE NAME FOLDER [--save FILE]

TREE has the packages and benchmarks of the commit, whose ``benchmarks/method.py`` knows how its engine is called:
``engine(NAME)`` there gives a function of science image, template, difference, variance planes and kernel. Both commits
of a pair are run by this file and timed by the same clock. Imports, reading the arrays and a first small run are not in
the time.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

import numpy as np


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("tree", type=Path)
    parser.add_argument("name")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--save", type=Path, metavar="FILE", help="keep image and variance")
    given = parser.parse_args()
    # In place of this file's own folder: nothing may come from the other commit.
    sys.path[:1] = [str(given.tree / "benchmarks"), str(given.tree)]
    import data
    import method

    run = method.engine(given.name)
    images = [np.load(given.folder / f"{name}.npy") for name in ("science", "template", "difference")]
    kernel = data.Kernel.load(given.folder / "kernel.npz")
    shading = np.broadcast_to(data.shade(images[2].shape[1]), images[2].shape).astype(np.float32, order="C")
    planes = [*images, *(np.float32(value) * shading for value in (data.SVAR, data.TVAR))]
    science, template, difference, *variances = (plane[:128, :128] for plane in planes)
    run(science, template, difference, tuple(variances), kernel)
    science, template, difference, *variances = planes
    start, processors = time.perf_counter(), time.process_time()
    image, variance = run(science, template, difference, tuple(variances), kernel)
    print(json.dumps({"seconds": time.perf_counter() - start, "cpu": time.process_time() - processors}))
    if given.save:
        np.savez(given.save, image=image, variance=variance)


if __name__ == "__main__":
    main()
