"""Every picture: of kernels over the field, and of what was found of an image. Needs matplotlib (the extra "plot").

Colours are told apart by everybody (Okabe & Ito 2008), and maps are perceptually uniform.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import SymLogNorm
from matplotlib.figure import Figure
from numpy.typing import NDArray

from diffim_decorr.geometry import Box
from diffim_decorr.images.exposure import Exposure
from diffim_decorr.kernels.spatial import SpatialKernel
from diffim_decorr.qa.score import EDGES

if TYPE_CHECKING:
    from diffim_decorr.assessment import Assessment

__all__ = (
    "COLOURS",
    "PANELS",
    "STYLE",
    "Panel",
    "draw_assessment",
    "draw_kernels",
    "draw_panel",
    "endings",
    "panels_of",
)

Array = NDArray[Any]

# Of the peak: what is smaller than this is drawn on a linear scale.
_LINEAR = 0.01
_SIDE = 3.4  # inches for each mosaic, at least
_COLUMN, _ACROSS, _DPI = 3.4, 3, 150
_PIXELS, _ZOOM, _REACH, _WIDTHS = 512, 160, 15, 12
COLOURS, _GREY = ("#0072B2", "#D55E00", "#009E73"), "#999999"
_SIGNED, _ONE_WAY = "RdBu_r", "cividis"
# Files that are made again are the same, byte for byte.
_NO_DATE: dict[str, dict[str, Any]] = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}
#: Of all pictures.
STYLE: Any = {
    "font.size": 8,
    "axes.titlesize": 9,
    "axes.linewidth": 0.6,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "lines.linewidth": 1.2,
    "legend.fontsize": 7,
    "legend.frameon": False,
    "svg.fonttype": "none",
    "svg.hashsalt": "decorr",
    "figure.facecolor": "white",
}


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


# Pictures of an assessment


@dataclass(frozen=True)
class Panel:
    """One picture.

    Parameters
    ----------
    name
        For file names and anchors.
    title
        Above it.
    wanted
        What an assessment must have for it.
    draw
        Draws it on axes.
    words
        What it shows, for those who cannot see it.
    """

    name: str
    title: str
    wanted: Callable[[Assessment], bool]
    draw: Callable[[Axes, Assessment], None]
    words: Callable[[Assessment], str]


def panels_of(assessment: Assessment) -> list[Panel]:
    """The pictures that there can be of an assessment, in their order."""
    return [panel for panel in PANELS if panel.wanted(assessment)]


def draw_panel(panel: Panel, assessment: Assessment, path: Any, ending: str) -> None:
    """One picture as a file, wide enough for a column."""
    with rc_context(STYLE):
        figure = Figure(figsize=(_COLUMN, 0.8 * _COLUMN), layout="constrained")
        FigureCanvasAgg(figure)
        panel.draw(figure.subplots(), assessment)
        figure.savefig(path, format=ending, dpi=_DPI, metadata=_NO_DATE.get(ending))


def draw_assessment(assessment: Assessment, path: Any = None, ending: str = "png") -> Figure:
    """All pictures on one page; written to a file if one is named."""
    panels = panels_of(assessment)
    rows = -(-len(panels) // _ACROSS)
    with rc_context(STYLE):
        figure = Figure(figsize=(_ACROSS * _COLUMN, rows * 0.8 * _COLUMN + 0.4), layout="constrained")
        FigureCanvasAgg(figure)
        figure.suptitle(f"{assessment.name}: {assessment.verdict.status}", fontsize=10)
        axes = figure.subplots(rows, _ACROSS, squeeze=False).ravel()
        for axis, panel in zip(axes, panels, strict=False):
            axis.set_title(panel.title)
            panel.draw(axis, assessment)
        for axis in axes[len(panels) :]:
            axis.set_axis_off()
        if path is not None:
            figure.savefig(path, format=ending, dpi=_DPI, metadata=_NO_DATE.get(ending))
    return figure


def _picture(axis: Axes, image: Array, label: str, **how: Any) -> None:
    shown = axis.imshow(image, origin="lower", interpolation="nearest", **how)
    bar = axis.figure.colorbar(shown, ax=axis, shrink=0.9, pad=0.02)
    bar.set_label(label)
    bar.outline.set_linewidth(0.5)


def _thumbnail(exposure: Exposure) -> tuple[Array, int]:
    """Every so many pixels of an image."""
    step = max(1, -(-max(exposure.shape) // _PIXELS))
    ny, nx = exposure.shape
    image = exposure.image_plane.read_every(Box(0, 0, nx, ny), (step, step)).astype(float)
    missing = exposure.absent(image.astype(np.float32))
    if missing is not None:
        image[missing] = np.nan
    return image, step


def _zoom(exposure: Exposure) -> Array:
    """The middle of an image, pixel by pixel: what noise looks like."""
    ny, nx = exposure.shape
    side = min(_ZOOM, ny, nx)
    y, x = (ny - side) // 2, (nx - side) // 2
    return exposure.image_plane.read(Box(x, y, x + side, y + side)).astype(float)


def _stretch(assessment: Assessment) -> float:
    """Three times the scatter of the image, which before and after share."""
    image = _thumbnail(_exposure(assessment))[0]
    finite = image[np.isfinite(image)]
    scatter = 1.4826 * float(np.median(np.abs(finite - np.median(finite)))) if finite.size else 1.0
    return 3 * scatter or 1.0


def _exposure(assessment: Assessment) -> Exposure:
    assert assessment.exposure is not None
    return assessment.exposure


def _draw_image(which: str, part: Callable[[Exposure], Any]) -> Callable[[Axes, Assessment], None]:
    def draw(axis: Axes, assessment: Assessment) -> None:
        exposure = _exposure(assessment) if which == "image" else assessment.before
        assert exposure is not None
        limit = _stretch(assessment)
        found = part(exposure)
        image, step = found if isinstance(found, tuple) else (found, 1)
        level = float(np.nanmedian(image[np.isfinite(image)])) if np.isfinite(image).any() else 0.0
        _picture(axis, image - level, "pixel value", cmap=_SIGNED, vmin=-limit, vmax=limit)
        axis.set(xlabel="x [pixel]" if step == 1 else f"x [{step} pixels]", ylabel="y")

    return draw


def _draw_rho(axis: Axes, assessment: Assessment) -> None:
    rho = assessment.score.rho.copy()
    middle = rho.shape[0] // 2
    rho[middle, middle] = np.nan
    limit = max(float(np.nanmax(np.abs(rho))), 1e-6) if np.isfinite(rho).any() else 1.0
    extent = (-middle - 0.5, middle + 0.5) * 2
    _picture(axis, rho, "correlation", cmap=_SIGNED, vmin=-limit, vmax=limit, extent=extent)
    axis.set(xlabel="lag in x [pixel]", ylabel="lag in y [pixel]")


def _draw_radial(axis: Axes, assessment: Assessment) -> None:
    score = assessment.score
    radius, mean, error = _rings(score.rho, score.pairs)
    axis.fill_between(radius, -2 * error, 2 * error, color=_GREY, alpha=0.4, lw=0, label="white noise, 2 σ")
    if score.rho_before is not None:
        axis.plot(radius, _rings(score.rho_before, score.pairs)[1], "s--", color=COLOURS[1], ms=3, label="before")
    axis.plot(radius, mean, "o-", color=COLOURS[0], ms=3, label="this image")
    axis.axhline(0, color="black", lw=0.5)
    curves = [mean] if score.rho_before is None else [mean, _rings(score.rho_before, score.pairs)[1]]
    if np.isfinite(mean).any() and np.nanmax(np.abs(curves)) > 0.02:
        axis.set_yscale("symlog", linthresh=max(float(np.median(error)) * 4, 1e-4))
    axis.set(xlabel="lag [pixel]", ylabel="mean correlation")
    axis.legend()


def _rings(rho: Array, pairs: Array) -> tuple[Array, Array, Array]:
    """Mean correlation at each radius, and its statistical error; opposite lags are one."""
    middle = rho.shape[0] // 2
    y, x = np.mgrid[-middle : middle + 1, -middle : middle + 1]
    radius = np.rint(np.hypot(x, y)).astype(int)
    rings = np.arange(1, middle + 1)
    mean = np.array([rho[radius == r].mean() for r in rings])
    error = np.array([np.sqrt(2 * np.sum(1 / np.maximum(pairs[radius == r], 1))) / (radius == r).sum() for r in rings])
    return rings.astype(float), mean, error


def _draw_spectrum(axis: Axes, assessment: Assessment) -> None:
    spectrum = assessment.score.spectrum
    axis.errorbar(
        spectrum.frequency, spectrum.power, 2 * spectrum.error, fmt="o", ms=3, color=COLOURS[0], label="measured, 2 σ"
    )
    if spectrum.model is not None:
        label = "white" if np.allclose(spectrum.model, 1) else "kernel and variances"
        axis.plot(spectrum.frequency, spectrum.model, "-", color=COLOURS[1], label=label)
    axis.set(xlabel="frequency [1/pixel]", ylabel="power / mean")
    axis.set_ylim(bottom=0)
    axis.legend()


def _draw_histogram(axis: Axes, assessment: Assessment) -> None:
    counts = assessment.score.histogram
    middles = (EDGES[1:] + EDGES[:-1]) / 2
    axis.stairs(np.maximum(counts, 0.5), EDGES, color=COLOURS[0], label="source-free pixels")
    gauss = counts.sum() * np.diff(EDGES) * np.exp(-0.5 * middles**2) / np.sqrt(2 * np.pi)
    axis.plot(middles, gauss, color=COLOURS[1], label="Gaussian of width 1")
    axis.set(yscale="log", xlabel="pixel / √variance", ylabel="pixels", ylim=(0.5, None))
    axis.legend()


def _draw_cells(name: str, label: str, centre: float) -> Callable[[Axes, Assessment], None]:
    def draw(axis: Axes, assessment: Assessment) -> None:
        values = getattr(assessment.score.cells, name)
        ny, nx = assessment.shape
        finite = values[np.isfinite(values)]
        limit = max(float(np.max(np.abs(finite - centre))), 1e-3) if finite.size else 1.0
        how: dict[str, Any] = {"cmap": _SIGNED, "vmin": centre - limit, "vmax": centre + limit}
        if name == "flagged":
            how = {"cmap": _ONE_WAY, "vmin": 0, "vmax": 1}
        _picture(axis, values, label, extent=(-0.5, nx - 0.5, -0.5, ny - 0.5), **how)
        axis.set(xlabel="x [pixel]", ylabel="y [pixel]")

    return draw


def _positions(shape: tuple[int, int], count: int) -> tuple[Array, Array]:
    """Positions (count², count²) on a grid over the field, row by row."""
    ny, nx = shape
    y, x = np.meshgrid(*((np.arange(count) + 0.5) * n / count - 0.5 for n in (ny, nx)), indexing="ij")
    return x.ravel(), y.ravel()


def _draw_mosaic(which: str) -> Callable[[Axes, Assessment], None]:
    def draw(axis: Axes, assessment: Assessment) -> None:
        psi = None if assessment.psi is None else assessment.psi.kernel
        kernel = assessment.kernel if which == "kernel" else psi
        assert kernel is not None
        images = kernel.sample(*_positions(assessment.shape, 3))
        reach = min(_REACH, images.shape[1] // 2)
        cy, cx = (n // 2 for n in images.shape[1:])
        cut = images[:, max(cy - reach, 0) : cy + reach + 1, max(cx - reach, 0) : cx + reach + 1]
        mosaic = np.pad(cut, [(0, 0), (0, 1), (0, 1)], constant_values=np.nan)
        height, width = mosaic.shape[1:]
        mosaic = mosaic.reshape(3, 3, height, width).swapaxes(1, 2).reshape(3 * height, 3 * width)
        limit = float(np.nanmax(np.abs(mosaic)))
        norm = SymLogNorm(linthresh=_LINEAR * limit, vmin=-limit, vmax=limit)
        _picture(axis, mosaic, "weight", cmap=_SIGNED, norm=norm)
        axis.set(xticks=[], yticks=[], xlabel=f"{images.shape[2]} x {images.shape[1]} pixels at 3 x 3 positions")

    return draw


def _draw_width(axis: Axes, assessment: Assessment) -> None:
    assert assessment.psi is not None
    ny, nx = assessment.shape
    images = np.abs(assessment.psi.kernel.sample(*_positions(assessment.shape, _WIDTHS)))
    y, x = (np.arange(n) - n // 2 for n in images.shape[1:])
    square = (images * np.add.outer(y**2, x**2)).sum(axis=(1, 2)) / np.maximum(images.sum(axis=(1, 2)), 1e-30)
    width = np.sqrt(square).reshape(_WIDTHS, _WIDTHS)
    _picture(axis, width, "rms radius [pixel]", cmap=_ONE_WAY, extent=(-0.5, nx - 0.5, -0.5, ny - 0.5))
    axis.set(xlabel="x [pixel]", ylabel="y [pixel]")


def _draw_psf(axis: Axes, assessment: Assessment) -> None:
    profiles = [("this image", _exposure(assessment).psf, COLOURS[0])]
    if assessment.inputs and assessment.inputs[0].psf is not None:
        profiles.append(("science image", assessment.inputs[0].psf, COLOURS[1]))
    ny, nx = assessment.shape
    for label, psf, colour in profiles:
        image = psf.at((nx - 1) / 2, (ny - 1) / 2) if isinstance(psf, SpatialKernel) else psf
        assert image is not None
        y, x = (np.arange(n) - n // 2 for n in image.shape)
        radius = np.hypot(*np.meshgrid(y, x, indexing="ij"))
        near = radius <= _REACH
        axis.plot(radius[near], image[near], ".", color=colour, ms=2, label=label)
    axis.axhline(0, color="black", lw=0.5)
    axis.set(xlabel="distance [pixel]", ylabel="PSF at the centre of the field")
    axis.legend()


def _ratio(assessment: Assessment) -> Array:
    """Variance of the template over that of the science image, in cells."""
    ny, nx = assessment.shape
    step = max(1, min(ny, nx) // 256)
    planes = [source.variance_plane for source in assessment.inputs[:2]]
    values = [p.read_every(Box(0, 0, nx, ny), (step, step)).astype(float) for p in planes if p is not None]
    with np.errstate(all="ignore"):
        ratio: Array = values[1] / values[0]
    ratio[~np.isfinite(ratio)] = np.nan
    return ratio


def _draw_ratio(axis: Axes, assessment: Assessment) -> None:
    ny, nx = assessment.shape
    ratio = _ratio(assessment)
    low, high = np.nanpercentile(ratio, [1, 99]) if np.isfinite(ratio).any() else (0, 1)
    extent = (-0.5, nx - 0.5, -0.5, ny - 0.5)
    _picture(axis, ratio, "variance, template / science", cmap=_ONE_WAY, vmin=low, vmax=high, extent=extent)
    axis.set(xlabel="x [pixel]", ylabel="y [pixel]")


def _said(assessment: Assessment, *names: str) -> str:
    """Figures in words."""
    figures = assessment.figures
    known = [(name, figures[name]) for name in names if name in figures and np.isfinite(figures[name].value)]
    return ", ".join(f"{name} {found.value:.4g}" for name, found in known) or "not measured"


def _range(name: str) -> Callable[[Assessment], str]:
    def words(assessment: Assessment) -> str:
        values = getattr(assessment.score.cells, name)
        if not np.isfinite(values).any():
            return "Map without a cell that could be measured"
        low, middle, high = np.nanpercentile(values, [0, 50, 100])
        return f"Map in cells of 64 pixels: from {low:.3g} to {high:.3g}, median {middle:.3g}"

    return words


def _always(_assessment: Assessment) -> bool:
    return True


#: Every picture, in the order in which they are shown.
PANELS = (
    Panel(
        "image", "Image", _always, _draw_image("image", _thumbnail), lambda a: f"The image, {a.shape[1]} x {a.shape[0]}"
    ),
    Panel(
        "before_zoom",
        "Before, centre",
        lambda a: a.before is not None,
        _draw_image("before", _zoom),
        lambda a: "Pixels in the middle of the difference before it was decorrelated",
    ),
    Panel(
        "image_zoom",
        "Image, centre",
        _always,
        _draw_image("image", _zoom),
        lambda a: "Pixels in the middle of the image, at the same stretch as before",
    ),
    Panel(
        "correlation",
        "Correlation of the noise",
        _always,
        _draw_rho,
        lambda a: "Correlation function to lag 20: " + _said(a, "max_abs_rho", "rho_1.x", "rho_1.y", "rho_1.diagonal"),
    ),
    Panel(
        "radial",
        "Correlation by distance",
        _always,
        _draw_radial,
        lambda a: "Mean correlation by distance: " + _said(a, "max_abs_rho", "rho_chi2", "rho_chi2_far"),
    ),
    Panel(
        "spectrum",
        "Power spectrum",
        _always,
        _draw_spectrum,
        lambda a: "Power of the noise by frequency: " + _said(a, "spectrum_chi2"),
    ),
    Panel(
        "histogram",
        "Pixels in units of the noise",
        _always,
        _draw_histogram,
        lambda a: "Histogram against a Gaussian: " + _said(a, "snr_std", "tails.above_5", "tails.below_5"),
    ),
    Panel("snr_std", "Scatter / variance plane", _always, _draw_cells("snr_std", "snr_std", 1.0), _range("snr_std")),
    Panel("rho_1", "Correlation of neighbours", _always, _draw_cells("rho_1", "ρ₁", 0.0), _range("rho_1")),
    Panel("flagged", "Flagged pixels", _always, _draw_cells("flagged", "share", 0.0), _range("flagged")),
    Panel(
        "ratio",
        "Ratio of the variances",
        lambda a: len(a.inputs) == 2 and all(source.variance_plane is not None for source in a.inputs),
        _draw_ratio,
        lambda a: f"Variance of the template over that of the science image, median {np.nanmedian(_ratio(a)):.3g}",
    ),
    Panel(
        "kernel",
        "Matching kernel",
        lambda a: a.kernel is not None,
        _draw_mosaic("kernel"),
        lambda a: "The matching kernel at three times three positions",
    ),
    Panel(
        "psi",
        "Decorrelation kernel",
        lambda a: a.psi is not None,
        _draw_mosaic("psi"),
        lambda a: "The decorrelation kernel at three times three positions",
    ),
    Panel(
        "psi_width",
        "Width of the decorrelation kernel",
        lambda a: a.psi is not None and not a.psi.is_constant,
        _draw_width,
        lambda a: "Root mean square radius of the decorrelation kernel over the field",
    ),
    Panel(
        "psf",
        "PSF",
        lambda a: a.exposure is not None and a.exposure.psf is not None,
        _draw_psf,
        lambda a: "The PSF at the centre of the field against the distance from its middle",
    ),
)
