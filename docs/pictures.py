"""The pictures of the documentation, drawn by running what they are about.

python docs/pictures.py FOLDER
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from numpy.typing import NDArray

from diffim_decorr import Result, decorrelate, read_exposure, read_kernel
from diffim_decorr.simulate.files import write_simulation
from diffim_decorr.simulate.options import SimulationOptions
from diffim_decorr.simulate.scene import simulate

mpl.use("Agg")
from matplotlib import pyplot as plt
from matplotlib.axes import Axes

__all__ = ("draw",)

Array = NDArray[Any]

# A good exposure against a template of much less depth: most of the noise comes from the image that was convolved.
_SCENE = SimulationOptions(size=512, svar=60.0, tvar=240.0, kernel_sigma=1.1, kernel_variation=0.4, transients=12)
_DETAIL = np.s_[180:276, 180:276]
# Legible on a white and on a dark page.
_STYLE = {"savefig.transparent": False, "figure.facecolor": "white", "font.size": 9, "savefig.dpi": 160}


def draw(folder: Path) -> None:
    """Draw all of them, unless they are there and newer than the package."""
    sources = [*Path(sys.modules["diffim_decorr"].__file__ or "").parent.rglob("*.py"), Path(__file__)]
    names = ("before_after.png", "correlation.png", "histogram.png", "kernel.png")
    newest = max(path.stat().st_mtime for path in sources)
    if all((folder / name).exists() and (folder / name).stat().st_mtime > newest for name in names):
        return
    folder.mkdir(parents=True, exist_ok=True)
    result, before = _result(folder / "scene")
    with plt.rc_context(_STYLE):
        for name, picture in zip(names, (_before_after, _correlation, _histogram, _kernel), strict=True):
            figure = picture(result, before)
            figure.savefig(folder / name, bbox_inches="tight")
            plt.close(figure)


def _result(folder: Path) -> tuple[Result, Array]:
    """A simulated difference, whitened; and as it was, in units of what its variance planes say its noise is."""
    write_simulation(simulate(_SCENE), folder, overwrite=True)
    science, template, difference = (read_exposure(str(folder / f"{n}.fits")) for n in ("sci", "tmpl", "diff"))
    kernel = read_kernel(str(folder / "kernel.fits"), difference.shape)
    return decorrelate(science, template, difference, kernel, spatial=True), np.asarray(difference.image)


def _before_after(result: Result, before: Array) -> Any:
    """A detail of the difference as it was and as it is, each in units of the scatter of its pixels."""
    figure, axes = plt.subplots(1, 2, figsize=(7.2, 3.7), layout="constrained")
    images = (before, np.asarray(result.exposure.image))
    for axis, image, name in zip(axes, images, ("the difference", "after decorr"), strict=True):
        scatter = 1.4826 * np.nanmedian(np.abs(image - np.nanmedian(image)))
        axis.imshow(image[_DETAIL] / scatter, cmap="gray", vmin=-4, vmax=4, origin="lower", interpolation="nearest")
        axis.set(title=name, xticks=[], yticks=[])
    return figure


def _correlation(result: Result, _before: Array) -> Any:
    """The correlation of the noise before and after."""
    figure, axes = plt.subplots(1, 2, figsize=(6.4, 3), layout="constrained")
    for axis, rho, name in zip(axes, (result.qa.rho_before, result.qa.rho_after), ("before", "after"), strict=True):
        reach = len(rho) // 2
        shown = np.where(np.arange(rho.size).reshape(rho.shape) == rho.size // 2, np.nan, rho)
        picture = axis.imshow(shown, cmap="RdBu_r", vmin=-0.4, vmax=0.4, extent=[-reach - 0.5, reach + 0.5] * 2)
        axis.set(title=f"{name}: up to {np.nanmax(np.abs(shown)):.3f}", xlabel="lag in x [pixels]")
    axes[0].set_ylabel("lag in y [pixels]")
    figure.colorbar(picture, ax=axes, label="correlation of two pixels", shrink=0.8)
    return figure


def _histogram(result: Result, before: Array) -> Any:
    """Pixels in units of the noise that the variance planes tell."""
    figure, axis = plt.subplots(figsize=(5.2, 3.2), layout="constrained")
    variance = np.asarray(result.exposure.variance)
    free = np.isfinite(variance) & (np.asarray(result.exposure.mask) == 0)
    edges = np.linspace(-6, 6, 97)
    _outline(axis, before[free] / np.sqrt(variance[free]), edges, "the difference", "tab:red")
    _outline(axis, result.exposure.image[free] / np.sqrt(variance[free]), edges, "after decorr", "tab:blue")
    middle = (edges[1:] + edges[:-1]) / 2
    axis.plot(middle, np.exp(-(middle**2) / 2) / np.sqrt(2 * np.pi), "k:", lw=1.2, label="what a variance of 1 means")
    axis.set(yscale="log", ylim=(1e-5, 1), xlabel="pixel / √variance", ylabel="share of pixels per σ")
    axis.legend(frameon=False, fontsize=8)
    return figure


def _outline(axis: Axes, values: Array, edges: Array, name: str, colour: str) -> None:
    axis.hist(values, edges, density=True, histtype="step", color=colour, label=name, lw=1.4)


def _kernel(result: Result, _before: Array) -> Any:
    """ψ in three places of the field."""
    ny, nx = result.exposure.shape
    figure, axes = plt.subplots(1, 3, figsize=(7.2, 2.7), layout="constrained")
    for axis, (x, y) in zip(axes, ((0, 0), (nx / 2, ny / 2), (nx - 1, ny - 1)), strict=True):
        psi = result.psi.at(x, y)
        middle = len(psi) // 2
        part = psi[middle - 8 : middle + 9, middle - 8 : middle + 9]
        picture = axis.imshow(part, cmap="RdBu_r", vmin=-0.3, vmax=0.3, origin="lower", extent=[-8.5, 8.5] * 2)
        axis.set(title=f"x = {x:.0f}, y = {y:.0f}", xlabel="pixels")
    figure.colorbar(picture, ax=axes, label="ψ", shrink=0.9)
    return figure


if __name__ == "__main__":
    draw(Path(sys.argv[1]))
