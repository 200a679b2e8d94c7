"""Running the real command on a small difference, for the tests of its input and output."""

from __future__ import annotations

import atexit
import functools
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits
from scipy.signal import fftconvolve

__all__ = ("COMMAND", "INPUTS", "PLANES", "SHAPE", "decorr", "listing", "make_inputs", "quickly", "write_exposure")

COMMAND = [sys.executable, "-m", "diffim_decorr"]
#: (ny, nx) of the images.
SHAPE = (80, 96)
PLANES = {"BAD": 0, "SAT": 1, "INTRP": 2, "CR": 3, "EDGE": 4, "DETECTED": 5, "NO_DATA": 8, "DETECTED_NEGATIVE": 6}
INPUTS = ("sci.fits", "tmpl.fits", "diff.fits", "--kernel", "kernel.fits")


# As in any shell, but that whatever warns is an error.
ENVIRONMENT = {**os.environ, "PYTHONWARNINGS": "error", "OPENBLAS_NUM_THREADS": "1"}

# Python takes longer to start and import than the command to refuse an input: this has done so once and forks.
_SERVER = """
import gc, json, os, signal, sys
import diffim_decorr.cli.run, diffim_decorr.io.exposures, diffim_decorr.io.kernels, diffim_decorr.io.output
import diffim_decorr.pipeline
from diffim_decorr.cli import main
gc.freeze()
for line in sys.stdin:
    child = os.fork()
    if child == 0:
        break
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
else:
    sys.exit()
job = json.loads(line)
signal.alarm(60)
os.chdir(job["folder"])
for number, name, flags in ((0, os.devnull, os.O_RDONLY), (1, job["out"], os.O_WRONLY), (2, job["err"], os.O_WRONLY)):
    os.dup2(os.open(name, flags), number)
sys.argv[:] = ["decorr", *job["args"]]
main()
"""


def decorr(folder: Path, *args: str | Path, **keywords: Any) -> subprocess.CompletedProcess[str]:
    """Run ``decorr ARGS`` in a folder."""
    keywords = {"env": ENVIRONMENT, "timeout": 60, "stdin": subprocess.DEVNULL, **keywords}
    return subprocess.run([*COMMAND, *map(str, args)], cwd=folder, capture_output=True, text=True, **keywords)


def quickly(folder: Path, *args: str | Path) -> subprocess.CompletedProcess[str]:
    """The same in a process that is forked off one that has imported everything already."""
    server = _server()
    with tempfile.NamedTemporaryFile("r") as out, tempfile.NamedTemporaryFile("r") as err:
        job = {"folder": str(folder), "args": list(map(str, args)), "out": out.name, "err": err.name}
        server.stdin.write(json.dumps(job) + "\n")
        server.stdin.flush()
        status = int(server.stdout.readline())
        return subprocess.CompletedProcess(job["args"], status, out.read(), err.read())


@functools.cache
def _server() -> subprocess.Popen[str]:
    server = subprocess.Popen(
        [sys.executable, "-c", _SERVER], env=ENVIRONMENT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )

    @atexit.register
    def stop() -> None:
        server.communicate()

    return server


def listing(folder: Path) -> dict[str, bytes | None]:
    """Every file in a folder with its content."""
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None
        for path in sorted(folder.rglob("*"))
    }


def write_exposure(path: Path, image: np.ndarray, mask: np.ndarray, variance: np.ndarray) -> None:
    """IMAGE, MASK and VARIANCE by name."""
    hdus = [fits.ImageHDU(p, name=n) for p, n in ((image, "IMAGE"), (mask, "MASK"), (variance, "VARIANCE"))]
    for name, bit in PLANES.items():
        hdus[1].header[f"MP_{name}" if len(name) <= 5 else f"HIERARCH MP_{name}"] = bit
    fits.HDUList([fits.PrimaryHDU(), *hdus]).writeto(path, overwrite=True)


def make_inputs(folder: Path, shape: tuple[int, int] = SHAPE) -> None:
    """A science image and a template of white noise, their difference, the kernel of it and PSFs."""
    rng = np.random.default_rng(7)
    science, template = (rng.normal(0, sigma, shape).astype("f4") for sigma in (2.0, 1.5))
    y, x = np.mgrid[-4:5, -4:5]
    kernel = np.exp(-0.5 * (x**2 + y**2) / 1.4**2)
    kernel /= kernel.sum()
    mask = np.zeros(shape, "i4")
    mask[20, 30:34] = 1 << PLANES["SAT"]
    mask[50:52, 60] = 1 << PLANES["CR"]
    for name, image, sigma in (("sci", science, 2.0), ("tmpl", template, 1.5)):
        write_exposure(folder / f"{name}.fits", image, mask, np.full(shape, sigma**2, "f4"))
    difference = science - fftconvolve(template, kernel, "same").astype("f4")
    difference[10, 12] = np.nan
    header = fits.Header(
        [
            ("OBJECT", "field 7", "what was observed"),
            ("BUNIT", "adu"),
            ("CTYPE1", "RA---TAN"),
            ("CTYPE2", "DEC--TAN"),
            ("CRPIX1", 48.5),
            ("CRPIX2", 40.5),
            ("CRVAL1", 150.1),
            ("CRVAL2", 2.2),
            ("CUNIT1", "deg"),
            ("CUNIT2", "deg"),
            ("CD1_1", -5.5e-5),
            ("CD1_2", 1e-6),
            ("CD2_1", 1e-6),
            ("CD2_2", 5.5e-5),
            ("RADESYS", "ICRS"),
            ("MJD-OBS", 60100.25, "[d] start of the exposure"),
            ("DATE-OBS", "2023-06-05T06:00:00"),
        ]
    )
    header.add_history("made for a test")
    fits.writeto(folder / "diff.fits", difference, header, overwrite=True)
    fits.writeto(folder / "kernel.fits", kernel, overwrite=True)
    psf = np.exp(-0.5 * (x**2 + y**2) / 1.6**2)
    fits.writeto(folder / "psf.fits", (psf / psf.sum()).astype("f4"), overwrite=True)
