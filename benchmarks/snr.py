"""Time and memory of `decorr snr`, beside those of the run whose output it takes, for sizes of images.

python benchmarks/snr.py            prints the table of docs/snr.md; ARGS: --sizes 4096 8192 --rounds 3
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
from astropy.io import fits
from data import Kernel, write_fits
from measure import Sample, interleaved, ratio, spread
from plan import decorr_run, peak

_FWHM = 4.0
_HEADINGS = (
    "image", "ψ", "`decorr run` [s]", "MiB", "`decorr snr` [s]", "MiB", "time over that of the run",
    "with `--peaks 5` [s]", "MiB",
)  # fmt: skip


def measured(folder: Path, spatial: bool, rounds: int, decorr: str) -> dict[str, list[Sample]]:
    """Samples of the run, and of the maps of its output without and with a table of peaks."""
    psf, output, maps = folder / "psf.fits", folder / "white.fits", folder / "maps.fits"
    x = np.arange(25) - 12
    profile = np.exp(-4 * np.log(2) * (x / _FWHM) ** 2)
    fits.writeto(psf, np.outer(profile, profile).astype("f4"), overwrite=True)
    files = [folder / f"{name}.fits" for name in ("sci", "tmpl", "diff")]
    run = decorr_run(output, *files, "--psf", psf, *["--spatial"] * spatial, command=[decorr])
    snr = [decorr, "snr", output, "-o", maps, "--overwrite", "--json", "-q"]
    # The run comes before what takes its output.
    return interleaved({"run": run, "snr": snr, "peaks": [*snr, "--peaks", "5"]}, rounds, warm_up=rounds > 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=[4096, 8192, 16384])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--work", type=Path, help="where the images are put: 20 GB for 16384²")
    parser.add_argument("--decorr", default="decorr")
    given = parser.parse_args()
    print(f"| {' | '.join(_HEADINGS)} |\n|{' --- |' * len(_HEADINGS)}")
    for size in given.sizes:
        with tempfile.TemporaryDirectory(prefix="decorr-snr-", dir=given.work) as name:
            folder = Path(name)
            write_fits(folder, Kernel.random((size, size)))
            for spatial in (False, True):
                found = measured(folder, spatial, given.rounds, given.decorr)
                run, snr, peaks = (found[kind] for kind in ("run", "snr", "peaks"))
                cells = [f"{size}²", "varies" if spatial else "one"]
                for samples in (run, snr):
                    cells += [f"{spread([s.wall for s in samples]):.1f}", f"{peak(samples):.0f}"]
                cells.append(f"{ratio(snr, run, lambda sample: sample.wall):.2f}")
                cells += [f"{spread([s.wall for s in peaks]):.1f}", f"{peak(peaks):.0f}"]
                print(f"| {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
