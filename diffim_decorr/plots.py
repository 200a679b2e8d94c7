"""Pictures of kernels over the field. Needs matplotlib (the extra "plot")."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import SymLogNorm
from matplotlib.figure import Figure
from numpy.typing import NDArray

__all__ = ("draw_kernels", "endings")

Array = NDArray[Any]

# Of the peak: what is smaller than this is drawn on a linear scale.
_LINEAR = 0.01
_SIDE = 3.4  # inches for each mosaic, at least


def endings() -> list[str]:
    """Of the names of files that pictures can be written to."""
    return sorted(FigureCanvasAgg(Figure()).get_supported_filetypes())


def draw_kernels(
    path: str, panels: Sequence[tuple[str, Array]], x: Array, y: Array, title: str, ending: str = "png"
) -> None:
    """Draw kernels at positions on a grid, one mosaic for each of several kernels.

    Parameters
    ----------
    path
        The file to write.
    panels
        For each mosaic a title, and images (len(y), len(x), h, w).
    x, y
        The positions, increasing.
    title
        Of the whole.
    ending
        The kind of file, one of `endings`.
    """
    figure = Figure(figsize=(len(panels) * 2 * _SIDE, 1.9 * _SIDE), layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(title)
    for axis, (heading, images) in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
        height, width = images.shape[2] + 1, images.shape[3] + 1
        mosaic = np.full((len(y) * height, len(x) * width), np.nan)
        limit = float(np.abs(images).max())
        for j in range(len(y)):
            for i in range(len(x)):
                mosaic[j * height : (j + 1) * height - 1, i * width : (i + 1) * width - 1] = images[j, i]
        norm = SymLogNorm(linthresh=_LINEAR * limit, vmin=-limit, vmax=limit)
        shown = axis.imshow(mosaic, origin="lower", cmap="RdBu_r", norm=norm, interpolation="nearest")
        axis.set(
            title=f"{heading}, {images.shape[3]} x {images.shape[2]} pixels",
            xlabel="x of the field [pixel]",
            ylabel="y of the field [pixel]",
            xticks=[(i + 0.5) * width - 1 for i in range(len(x))],
            yticks=[(j + 0.5) * height - 1 for j in range(len(y))],
            xticklabels=[f"{position:g}" for position in x],
            yticklabels=[f"{position:g}" for position in y],
        )
        for j in range(len(y)):
            for i in range(len(x)):
                axis.text(
                    i * width, j * height, f"peak {images[j, i].max():.3f}\nsum {images[j, i].sum():.4f}", fontsize=7
                )
        figure.colorbar(shown, ax=axis, shrink=0.8, pad=0.02)
    figure.savefig(path, dpi=120, format=ending)
