"""Inputs with anything wrong in them end well or in one clear line, in bounded time and memory."""

from __future__ import annotations

import os
import random
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits

from diffim_decorr import read_exposure, write_grid_kernel
from support.command import succeed
from support.delta import DeltaSolution
from support.files import make_inputs
from support.forks import Forks
from support.kernels import gaussian
from support.lsst import Archive
from support.mutations import mutated
from support.nights import write_csv
from support.psfs import psfex_file
from support.sfft import write_solution

pytestmark = pytest.mark.slow

#: How many cases there are; `make fuzz N=` tries more.
CASES = int(os.environ.get("DECORR_FUZZ", "40"))
_FIRST = int(os.environ.get("DECORR_FUZZ_FIRST", "0"))
_SEED = int(os.environ.get("DECORR_FUZZ_SEED", "1"))
_SECONDS, _MEGABYTES = 60, 2000
_STEP = 20  # cases of one test

_RUN = ("run", "sci.fits", "tmpl.fits", "diff.fits", "-q", "--overwrite", "-o", "new.fits")
#: What is spoilt, and with which command it is read.
INPUTS: list[tuple[str, tuple[str, ...]]] = [
    ("sci.fits", (*_RUN, "-k", "kernel.fits")),
    ("tmpl.fits", (*_RUN, "-k", "kernel.fits", "--spatial")),
    ("diff.fits", (*_RUN, "-k", "kernel.fits")),
    ("sci.fits", (*_RUN, "-k", "kernel.fits", "--noise", "measured")),
    ("packed.fits.fz", ("run", "packed.fits.fz", *_RUN[2:], "-k", "kernel.fits")),
    ("packed.fits.gz", ("run", "packed.fits.gz", *_RUN[2:], "-k", "kernel.fits")),
    ("kernel.fits", (*_RUN, "-k", "kernel.fits")),
    ("grid.fits", (*_RUN, "-k", "grid.fits", "--spatial")),
    ("hotpants.fits", (*_RUN, "-k", "hotpants.fits", "--spatial")),
    ("table.fits", (*_RUN, "-k", "table.fits", "--spatial")),
    ("sfft.fits", (*_RUN, "-k", "sfft.fits", "--spatial")),
    ("lsst.fits", (*_RUN, "-k", "lsst.fits", "--spatial")),
    ("delta.npz", (*_RUN, "-k", "delta.npz", "--spatial")),
    ("psf.fits", (*_RUN, "-k", "kernel.fits", "--psf", "psf.fits")),
    ("psfex.psf", (*_RUN, "-k", "kernel.fits", "--psf", "psfex.psf")),
    ("made.fits", ("apply", "sci.fits", "--psi", "made.fits", "-q", "--overwrite", "-o", "new.fits")),
    ("made.fits", ("qa", "made.fits", "-q")),
    ("made.fits", ("config", "made.fits")),
    ("made.fits", ("rerun", "made.fits", "-q", "--overwrite", "-o", "new.fits")),
    ("made.fits", ("report", "made.fits", "-q", "--overwrite", "-o", "new.html")),
    ("hotpants.fits", ("kernel", "show", "hotpants.fits", "--json")),
    ("delta.npz", ("kernel", "at", "delta.npz", "3", "4", "--overwrite", "-o", "new.fits")),
    ("lsst.fits", ("kernel", "convert", "lsst.fits", "--to", "table", "--overwrite", "-o", "new.fits")),
    ("grid.fits", ("kernel", "at", "grid.fits", "3", "4", "--overwrite", "-o", "new.fits")),
    (
        "table.fits",
        ("kernel", "convert", "table.fits", "--to", "grid", "--image", "diff.fits", "--overwrite", "-o", "new.fits"),
    ),
    ("psfex.psf", ("psf", "psfex.psf", "3", "4", "--overwrite", "-o", "new.fits")),
    ("config.toml", (*_RUN, "-k", "kernel.fits", "--config", "config.toml")),
    ("stack.toml", (*_RUN, "-k", "kernel.fits", "--inputs", "stack.toml")),
    ("night.csv", ("batch", "night.csv", "-q", "--emit", "sh")),
    ("night.ecsv", ("batch", "night.ecsv", "-q", "--emit", "make")),
    ("night.fits", ("batch", "night.fits", "-q", "--emit", "sh")),
]
_TEXTS = (".toml", ".csv", ".ecsv")


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All inputs, as they should be."""
    folder = tmp_path_factory.mktemp("good")
    make_inputs(folder)
    x, y = (axis.ravel() for axis in np.meshgrid([0.0, 95.0], [0.0, 79.0]))
    write_grid_kernel(folder / "grid.fits", [gaussian(9, s) for s in (1.2, 1.3, 1.4, 1.5)], x, y)
    succeed(folder, "simulate", "s", "--size", "80x96", "--kernel-format", "hotpants", "-q")
    os.rename(folder / "s/kernel.fits", folder / "hotpants.fits")
    succeed(folder, "kernel", "convert", "hotpants.fits", "--to", "table", "-o", "table.fits")
    psfex_file(
        folder / "psfex.psf", np.array([gaussian(15, 2.0), 0.01 * gaussian(15, 3.0), 0.01 * gaussian(15, 1.5)]), 1.0
    )
    rng = np.random.default_rng(3)
    elements = rng.normal(0, 0.01, (3, 7, 7)) * 80 * 96
    elements[0, 3, 3] += 80 * 96
    write_solution(folder / "sfft.fits", np.append(elements, 0.0), N0=96, N1=80, L0=7, L1=7)
    DeltaSolution((80, 96), n_max=1, knots=(2, 2)).write(folder / "delta.npz")
    archive = Archive()
    parts = [lambda sigma=sigma: archive.fixed(gaussian(7, sigma)) for sigma in (1.0, 1.5)]
    functions = [lambda c=c: archive.chebyshev(c, (0, 0), (95, 79)) for c in ([0.8, 0.1, 0.0], [0.2, -0.1, 0.05])]
    archive.combination(parts, functions, size=(7, 7))
    archive.write(folder / "lsst.fits")
    with fits.open(folder / "sci.fits") as hdus:
        hdus.writeto(folder / "packed.fits.gz")
        packed = [fits.CompImageHDU(h.data, h.header, quantize_level=0) for h in hdus[1:4]]
        fits.HDUList([hdus[0], *packed]).writeto(folder / "packed.fits.fz")
    succeed(folder, *_RUN, "-k", "grid.fits", "--spatial", "--psf", "psf.fits")
    os.rename(folder / "new.fits", folder / "made.fits")
    (folder / "config.toml").write_text(
        'spatial = true\ntolerance = 1e-4\nbad-planes = ["SAT", "CR"]\nkernel-format = "image"\n'
    )
    (folder / "stack.toml").write_text(
        '[[science]]\nfile = "sci.fits"\n[[template]]\nnoise = 1.5\nkernel = "kernel.fits"\n'
    )
    write_csv(folder / "night.csv", [{"science": "sci.fits", "template": "tmpl.fits", "difference": "diff.fits",
                                      "kernel": "kernel.fits", "spatial": "true", "svar": "4.0"}])  # fmt: skip
    from astropy.table import Table

    table = Table.read(folder / "night.csv", format="ascii.csv")
    table.write(folder / "night.ecsv")
    table.write(folder / "night.fits")
    return folder


@pytest.fixture(scope="module")
def folder(good: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of them, of which one is spoilt at a time."""
    return Path(shutil.copytree(good, tmp_path_factory.mktemp("spoilt"), dirs_exist_ok=True))


@pytest.fixture(scope="module")
def forks(folder: Path) -> Iterator[Forks]:
    running = Forks(folder, _SECONDS, _MEGABYTES)
    yield running
    running.stop()


@pytest.mark.parametrize("first", range(_FIRST, _FIRST + CASES, _STEP))
def test_whatever_is_wrong_with_an_input(good: Path, folder: Path, forks: Forks, first: int) -> None:
    wrong = []
    for case in range(first, min(first + _STEP, _FIRST + CASES)):
        rng = random.Random(1_000_003 * _SEED + case)
        name, args = INPUTS[case % len(INPUTS)]
        content = (good / name).read_bytes()
        how, spoilt = mutated(content, rng, name.endswith(_TEXTS))
        (folder / name).write_bytes(spoilt)
        for made in folder.glob("new.*"):
            made.unlink()
        said = _judged(forks.run(*args), folder, args)
        if said:
            wrong.append(f"{case}: {name} ({how}), {args[0]}: {said}")
        (folder / name).write_bytes(content)
    if wrong:
        pytest.fail("\n".join(wrong))


def _judged(done: tuple[int, str, str], folder: Path, args: tuple[str, ...]) -> str:
    """What is wrong with how a command ended; empty if nothing is."""
    status, _, err = done
    if status == -signal.SIGALRM:
        return f"took longer than {_SECONDS} s"
    if status not in (0, 2, 3, 4):
        return f"status {status}: {err.strip()[-300:]}"
    if "Traceback" in err or any(not c.isprintable() for c in err.replace("\n", "")):
        return f"says {err[-300:]!r}"
    left = [path.name for path in folder.iterdir() if ".part" in path.name]
    if left:
        return f"leaves {left}"
    new = folder / "new.fits"
    if status in (2, 3):
        if not err.strip():
            return "says nothing"
        return "there is an output" if new.exists() else ""
    if args[0] == "run" and new.exists():
        with fits.open(new) as hdus:
            mask, image, variance = (hdus[name].data for name in ("MASK", "IMAGE", "VARIANCE"))
            told = "DCWARN1" in hdus[0].header
            seen = mask == 0
            if not told and not np.isfinite(image[seen]).all():
                return "has pixels that are no numbers, and says nothing"
            doubtful = seen & ~(variance >= 0)
            doubtful |= seen & np.isinf(variance)
            if not told and (doubtful & ~_without_variance(folder, args)).any():
                return "has variances that are no numbers, and says nothing"
    return ""


def _without_variance(folder: Path, args: tuple[str, ...]) -> Any:
    """Where an input tells no variance: there the result has none either."""
    planes = [read_exposure(folder / name).variance for name in args[1:3]]
    return np.any([~(np.abs(plane) < 1e30) for plane in planes if plane is not None], axis=0)
