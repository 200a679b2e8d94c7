"""Decorrelate a difference from Python: look at the figures, at the kernel in two places, and draw them.

    python examples/api.py SCI TMPL DIFF KERNEL [--psf FILE] [--figure FILE]

Needs matplotlib (the extra "plot") for the figure only.
"""

from __future__ import annotations

import argparse
import sys

import numpy as np

from diffim_decorr import InputError, Result, decorrelate, read_exposure, read_kernel, read_psf


def main() -> int:
    parser = argparse.ArgumentParser(description="Decorrelate a difference from Python.")
    for name in ("science", "template", "difference", "kernel"):
        parser.add_argument(name)
    parser.add_argument("--psf", help="PSF image of the input that was not convolved")
    parser.add_argument("--figure", default="psi.png", help="where the drawing goes")
    arguments = parser.parse_args()

    try:
        science, template, difference = (
            read_exposure(path) for path in (arguments.science, arguments.template, arguments.difference)
        )
        # The difference's header has what kernel files of HOTPANTS (-oki) and SFFT lack.
        kernel = read_kernel(arguments.kernel, difference.shape, difference.header)
        psf = read_psf(arguments.psf) if arguments.psf else None
        result = decorrelate(science, template, difference, kernel, spatial=True, psf=psf)
    except InputError as error:
        print(f"api.py: {error}", file=sys.stderr)
        return 3

    for warning in result.warnings:
        print(f"warning: {warning}")
    qa = result.qa
    print(f"noise correlation: {qa.max_abs_rho_before:.4f} before, {qa.max_abs_rho_after:.4f} after")
    print(f"image / sqrt(variance): {qa.snr_std:.4f} on {qa.pixels_used} source-free pixels")

    # The mask is an integer array, and its planes have names.
    exposure = result.exposure
    flagged = sum(1 << exposure.mask_planes[name] for name in ("NO_DATA", "EDGE", "DECORR_BAD"))
    usable = (exposure.mask & flagged) == 0
    print(f"usable pixels: {usable.mean():.1%}; median noise {np.sqrt(np.median(exposure.variance[usable])):.4g}")
    if isinstance(exposure.psf, np.ndarray):
        print(f"PSF: {exposure.psf.shape[1]} x {exposure.psf.shape[0]} pixels, sum {exposure.psf.sum():.6f}")
    elif exposure.psf is not None:
        print(f"PSF: varies, {len(exposure.psf.basis)} basis images")

    ny, nx = exposure.shape
    for x, y in positions(nx, ny):
        psi = result.psi.at(x, y)  # an image of odd size, its centre in the middle
        noise = np.sqrt((psi**2).sum())
        print(f"psi at ({x:g}, {y:g}): sum {psi.sum():.6f}, peak {psi.max():.4f}, sqrt of sum of squares {noise:.4f}")

    draw(result, arguments.figure)
    print(f"figure: {arguments.figure}")
    return 0


def positions(nx: int, ny: int) -> list[tuple[float, float]]:
    return [(nx // 10, ny // 10), (nx - 1 - nx // 10, ny - 1 - ny // 10)]


def draw(result: Result, path: str) -> None:
    """Cuts through ψ in two places, and the noise correlation before and after."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9.5, 3.8), layout="constrained")
    left, right = figure.subplots(1, 2)
    ny, nx = result.exposure.shape
    half = result.psi.shape[0] // 2
    for x, y in positions(nx, ny):
        cut = np.abs(result.psi.at(x, y)[half])
        left.semilogy(np.arange(-half, half + 1), cut, ".-", label=f"at ({x:g}, {y:g})")
    left.set(xlabel="x [pixel]", ylabel="|ψ| through its centre", title="decorrelation kernel")
    left.legend()
    for rho, label in ((result.qa.rho_before, "before"), (result.qa.rho_after, "after")):
        centre = rho.shape[0] // 2
        right.plot(np.arange(1, centre + 1), rho[centre, centre + 1 :], "o-", label=label)
    right.axhline(0, color="0.7", linewidth=0.8)
    right.set(xlabel="lag along x [pixel]", ylabel="correlation", title="noise of the difference")
    right.legend()
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    sys.exit(main())
