"""Simulate a pair of exposures with their difference, whiten its noise, and show what became of it.

    python examples/demo.py [OUTDIR] [--size N]

What `make demo` runs. Needs matplotlib and jinja2 (the extra "report").
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from astropy.io import fits
from rich.console import Console
from rich.table import Table
from scipy.ndimage import maximum_filter, uniform_filter

mpl.use("Agg")
from matplotlib import pyplot as plt

# A good exposure against a template of much less depth: most of the noise comes from the image that was convolved.
SIMULATION = ["--svar", "60", "--tvar", "240", "--kernel-sigma", "1.1", "--kernel-variation", "0.4", "--transients"]
APERTURE = 7


def main() -> int:
    parser = argparse.ArgumentParser(description="Simulate, decorrelate, draw.")
    parser.add_argument("outdir", nargs="?", default="demo", type=Path)
    parser.add_argument("--size", type=int, default=1024, help="of the images, in pixels")
    arguments = parser.parse_args()
    out = arguments.outdir
    sci, tmpl, diff, kernel, psf = (str(out / f"{name}.fits") for name in ("sci", "tmpl", "diff", "kernel", "sci_psf"))
    transients = str(max(arguments.size**2 // 20_000, 1))
    decorr("simulate", str(out), "--size", str(arguments.size), *SIMULATION, transients, "--overwrite", "--quiet")
    output, page = str(out / "diff_decorr.fits"), str(out / "diff_decorr.html")
    summary = json.loads(
        decorr("run", sci, tmpl, diff, "--kernel", kernel, "--psf", psf, "--spatial", "-o", output, "--overwrite",
               "--json", "--report", page)
    )  # fmt: skip
    with fits.open(diff) as before, fits.open(output) as after, fits.open(out / "truth.fits") as truth:
        report(summary, noise(before[0].data, after))
        draw(before[0].data, after, truth["TRUTH"].data, out / "demo.png")
    Console(highlight=False, soft_wrap=True).print(f"files and picture: {out}/, {out}/demo.png\nreport: {page}")
    return 0


def decorr(*arguments: str) -> str:
    """Run the command of this environment and return what it prints."""
    beside = Path(sys.executable).with_name("decorr")
    command = str(beside) if beside.exists() else shutil.which("decorr") or "decorr"
    done = subprocess.run([command, *arguments], stdout=subprocess.PIPE, text=True)
    if done.returncode:
        sys.exit(done.returncode)
    return done.stdout


def noise(before: np.ndarray, after: fits.HDUList) -> dict[str, Any]:
    """Scatter of pixels and of apertures where no mask bit is set."""
    clear = after["MASK"].data == 0
    apertures = ~maximum_filter(~clear, size=APERTURE)
    figures: dict[str, Any] = {"claimed": float(np.sqrt(np.median(after["VARIANCE"].data[clear])))}
    for name, image in (("before", before), ("after", after["IMAGE"].data)):
        image = np.where(clear, image, 0.0).astype(float)
        pixels = robust_std(image[clear])
        sums = uniform_filter(image, APERTURE) * APERTURE**2
        figures[name] = {"pixels": pixels, "apertures": robust_std(sums[apertures]) / (pixels * APERTURE)}
    return figures


def robust_std(values: np.ndarray) -> float:
    return float(1.4826 * np.median(np.abs(values - np.median(values))))


def report(summary: dict[str, Any], scatter: dict[str, Any]) -> None:
    qa = summary["qa"]
    before, after = scatter["before"], scatter["after"]
    table = Table(title="noise of the difference image", title_justify="left")
    table.add_column("")
    for heading in ("before", "after", "white noise"):
        table.add_column(heading, justify="right")
    rows = (
        ("largest correlation of pixels up to 5 apart", qa["max_abs_rho_before"], qa["max_abs_rho_after"], "0"),
        ("scatter of pixels, counts", before["pixels"], after["pixels"], f"{scatter['claimed']:.3f}"),
        (
            f"{APERTURE}x{APERTURE} apertures: scatter / pixels' prediction",
            before["apertures"],
            after["apertures"],
            "1",
        ),
        ("scatter / sqrt(variance plane)", before["pixels"] / scatter["claimed"], qa["snr_std"], "1"),
    )
    for label, first, second, ideal in rows:
        table.add_row(label, f"{first:.3f}", f"{second:.3f}", ideal)
    console = Console(highlight=False, soft_wrap=True)
    console.print(table)
    psi = summary["psi"]
    console.print(
        f"decorrelation kernel: {psi['modes']} basis images of {2 * psi['half_width'] + 1}² pixels; "
        f"{summary['timings']['total']:.2f} s; {qa['pixels_used']} source-free pixels measured"
    )


def draw(before: np.ndarray, after: fits.HDUList, truth: np.ndarray, path: Path) -> None:
    """The two images, their correlation functions, and the decorrelation kernel at the corners."""
    image, sigma = after["IMAGE"].data, float(np.sqrt(np.nanmedian(after["VARIANCE"].data)))
    window = around_transient(image.shape, truth, after["MASK"])
    figure, axes = plt.subplots(2, 3, figsize=(12.6, 7.9), layout="constrained")

    for axis, pixels, title in ((axes[0, 0], before, "difference"), (axes[0, 1], image, "decorrelated")):
        blank = np.where(np.isfinite(pixels) & (pixels != np.float32(1e-30)), pixels, np.nan)
        y, x = window
        extent = (x.start - 0.5, x.stop - 0.5, y.start - 0.5, y.stop - 0.5)
        shown = axis.imshow(blank[window], vmin=-3 * sigma, vmax=6 * sigma, cmap="gray", origin="lower", extent=extent)
        axis.set(title=f"{title}, same stretch", xlabel="x [pixel]", ylabel="y [pixel]")
    figure.colorbar(shown, ax=axes[0, :2], label="counts", shrink=0.85, pad=0.01)

    correlations = after["QA"].data[:2].astype(float)
    correlations[:, 5, 5] = np.nan
    limit = float(np.nanmax(np.abs(correlations)))
    palette = plt.get_cmap("RdBu_r").with_extremes(bad="0.6")
    for axis, rho, title in zip(axes[1, :2], correlations, ("before", "after"), strict=True):
        shown = axis.imshow(rho, vmin=-limit, vmax=limit, cmap=palette, origin="lower", extent=(-5.5, 5.5, -5.5, 5.5))
        largest = np.nanmax(np.abs(rho))
        axis.set(
            title=f"noise correlation {title}: at most {largest:.3f}", xlabel="lag x [pixel]", ylabel="lag y [pixel]"
        )
    figure.colorbar(shown, ax=axes[1, :2], label="correlation (1 at zero lag, not shown)", shrink=0.85, pad=0.01)

    ny, nx = image.shape
    lags = np.arange(6)
    axes[0, 2].axhline(0, color="0.7", linewidth=0.8)
    for rho, label, colour in zip(after["QA"].data[:2], ("before", "after"), ("tab:red", "tab:blue"), strict=True):
        along = (rho[5, 5:] + rho[5:, 5]) / 2
        axes[0, 2].plot(lags, along, "o-", color=colour, label=label, markersize=4)
    axes[0, 2].set(title="noise correlation along the axes", xlabel="lag [pixel]", ylabel="correlation")
    axes[0, 2].set_box_aspect(1)
    axes[0, 2].legend(frameon=False)

    half = 4
    corners = [[psi_at(after, x, y) for x in (0, nx - 1)] for y in (ny - 1, 0)]
    middle = corners[0][0].shape[0] // 2
    cut = slice(max(middle - half, 0), middle + half + 1)
    tiles = np.block([[np.pad(psi[cut, cut][::-1], 1, constant_values=np.nan) for psi in row] for row in corners])
    scale = mpl.colors.SymLogNorm(linthresh=0.01, vmin=-1, vmax=1)
    shown = axes[1, 2].imshow(tiles, norm=scale, cmap=palette.with_extremes(bad="white"))
    axes[1, 2].set(title="decorrelation kernel at the corners", xticks=[], yticks=[])
    size = len(tiles) // 2
    for k, psi in enumerate(psi for row in corners for psi in row):
        place = (size * (k % 2 + 0.5) - 0.5, size * (k // 2) + 1.1)
        label = f"peak {psi[middle, middle]:.2f}"
        axes[1, 2].text(*place, label, ha="center", va="top", fontsize=9)
    figure.colorbar(shown, ax=axes[1, 2], shrink=0.85, pad=0.02, ticks=[-1, -0.1, -0.01, 0, 0.01, 0.1, 1])
    figure.savefig(path, dpi=110)
    plt.close(figure)


def around_transient(shape: tuple[int, int], truth: np.ndarray, mask: Any) -> tuple[slice, slice]:
    """A window around a transient: the faintest of those with the fewest defects nearby."""
    half = min(48, min(shape) // 2 - 1)
    defects = sum(1 << mask.header[f"MP_{name}"] for name in ("SAT", "BAD", "CR", "NO_DATA"))
    sources = truth[truth["TRANSIENT"]]
    sources = sources[np.argsort(sources["FLUX_DIFFERENCE"])]
    best, fewest = (shape[1] // 2, shape[0] // 2), np.inf
    for x, y in zip(np.rint(sources["X"]).astype(int), np.rint(sources["Y"]).astype(int), strict=True):
        if half <= x < shape[1] - half and half <= y < shape[0] - half:
            window = mask.data[y - half : y + half + 1, x - half : x + half + 1]
            count = np.count_nonzero(window & defects)
            if count < fewest:
                best, fewest = (x, y), count
    return slice(best[1] - half, best[1] + half + 1), slice(best[0] - half, best[0] + half + 1)


def psi_at(hdus: fits.HDUList, x: float, y: float) -> np.ndarray:
    """The decorrelation kernel at a 0-based pixel position, from PSI_BASIS and PSI_COEFFS; see docs/output.md."""
    inside = [r for r in hdus["PSI_COEFFS"].data if r["X0"] <= x + 0.5 < r["X1"] and r["Y0"] <= y + 0.5 < r["Y1"]]
    row, basis = inside[-1], hdus["PSI_BASIS"].data
    values = np.ravel(row["VALUES"])[: len(basis) * row["NY"] * row["NX"]].reshape(len(basis), row["NY"], row["NX"])
    along_x, along_y = (
        weights(np.ravel(row[f"KNOTS_{a}"])[: row[f"N{a}"]], p, row["ORDER"]) for a, p in (("X", x), ("Y", y))
    )
    return np.tensordot(values @ along_x @ along_y, basis, axes=1)


def weights(knots: np.ndarray, position: float, order: int) -> np.ndarray:
    """How much each knot counts: the polynomial through the nearest order + 1 of them."""
    order = min(order, len(knots) - 1)
    position = np.clip(position, knots[0], knots[-1]) if order <= 1 else position
    first = np.searchsorted(knots, position, side="right") - 1 - (order - 1) // 2
    near = range(k := int(np.clip(first, 0, len(knots) - 1 - order)), k + order + 1)
    result = np.zeros(len(knots))
    for j in near:
        result[j] = np.prod([(position - knots[i]) / (knots[j] - knots[i]) for i in near if i != j])
    return result


if __name__ == "__main__":
    sys.exit(main())
