"""``decorr kernel``: show, evaluate, draw and convert kernels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from diffim_decorr.matching import MatchingKernel
    from diffim_decorr.spatial import Box

__all__ = ("kernel",)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def kernel() -> None:
    """Show, evaluate, draw and convert matching kernels, and the decorrelation kernel in the output of a run.

    FILE is a kernel file of any format, or an output of decorr run. Positions are 0-based pixels.
    """


def _of_image(command: Callable[..., Any]) -> Callable[..., Any]:
    """The option that tells for which image a kernel is."""
    return click.option(
        "--image",
        metavar="FILE",
        help="The difference that it is the kernel of, where the kernel file does not tell its size.",
    )(command)


def _of_noise(command: Callable[..., Any]) -> Callable[..., Any]:
    """Options about the images' noise."""
    for option in (
        click.option(
            "--convolved",
            type=click.Choice(["auto", "template", "science"]),
            default="auto",
            show_default=True,
            help="Which image was convolved; auto: what the kernel file says, else the template.",
        ),
        click.option("--tvar", type=float, default=1.0, show_default=True, help="Background variance of the template."),
        click.option("--svar", type=float, default=1.0, show_default=True, help="That of the science image."),
    ):
        command = option(command)
    return command


_overwrite = click.option("--overwrite", is_flag=True, help="Replace an existing output.")


@kernel.command()
@click.argument("file", metavar="FILE")
@_of_image
@_of_noise
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def show(file: str, image: str | None, svar: float, tvar: float, convolved: str, as_json: bool) -> None:
    """Print what a kernel is like at the corners and the centre of the field.

    max_abs_rho is the largest noise correlation that it causes between pixels of the raw difference, for inputs with
    white noise of these variances.
    """
    from dataclasses import asdict

    from diffim_decorr.inspection import figures_at, order_of, sum_range

    loaded = _load(file, image)
    matching, field = loaded.matching, loaded.field
    variances, side = _noise(svar, tvar), _side(convolved)
    if field is None and matching.kernel.is_constant:
        places = {"everywhere": (0.0, 0.0)}
        many = list(places.values())
    else:
        box = loaded.needed_field()
        places = _places(box)
        many = [(x, y) for x in _spread(box.x0, box.x1, 9) for y in _spread(box.y0, box.y1, 9)]
    figures = {place: figures_at(matching, x, y, variances, side) for place, (x, y) in places.items()}
    low, high = sum_range(matching.kernel, many)
    height, width = matching.kernel.shape
    sides = [] if matching.format == "psi" else sorted({str(c or "") for c in matching.convolved})
    summary = {
        "file": file,
        "format": matching.format,
        "width": width,
        "height": height,
        "basis_images": len(matching.kernel.basis),
        "order": order_of(matching.kernel),
        "field": None if field is None else [field.x0, field.y0, field.x1, field.y1],
        "convolved": [side or None for side in sides],
        "sum": {"min": low, "max": high},
        "svar": svar,
        "tvar": tvar,
        "positions": [{"place": place, **asdict(figure)} for place, figure in figures.items()],
    }
    if as_json:
        import json

        click.echo(json.dumps(summary, indent=2))
    else:
        _print(summary)


@kernel.command()
@click.argument("file", metavar="FILE")
@click.argument("x", type=float)
@click.argument("y", type=float)
@click.option("-o", "--output", required=True, metavar="OUT", help="FITS image to write.")
@_of_image
@_overwrite
def at(file: str, x: float, y: float, output: str, image: str | None, overwrite: bool) -> None:
    """Write the kernel at the position X Y of the field, 0-based pixels, as an image."""
    from diffim_decorr.errors import InputError
    from diffim_decorr.io.stamps import write_kernel_image

    _check_output(output, file, image, overwrite)
    loaded = _load(file, image)
    field = loaded.field
    if field is not None and not (field.x0 - 0.5 <= x < field.x1 - 0.5 and field.y0 - 0.5 <= y < field.y1 - 0.5):
        raise InputError(
            f"{loaded.matching.name}: position {x:g} {y:g} lies outside the field, x from {field.x0} to {field.x1 - 1} "
            f"and y from {field.y0} to {field.y1 - 1}"
        )
    pixels = loaded.matching.kernel.at(x, y)
    if not pixels.any():
        raise InputError(f"{loaded.matching.name}: has no kernel at position {x:g} {y:g}")
    write_kernel_image(output, pixels, file, loaded.matching.format, (x, y), overwrite)


@kernel.command()
@click.argument("file", metavar="FILE")
@click.option("-o", "--output", required=True, metavar="OUT", help="Picture to write, such as kernel.png.")
@_of_image
@_of_noise
@_overwrite
def plot(
    file: str,
    output: str,
    image: str | None,
    svar: float,
    tvar: float,
    convolved: str,
    overwrite: bool,
) -> None:
    """Draw the kernel, and the decorrelation kernel for white noise of these variances, over the field.

    Needs matplotlib, which the extra "plot" installs.
    """
    try:
        from diffim_decorr.drawing import draw_kernels, endings
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] != "matplotlib":
            raise
        raise click.ClickException("matplotlib is missing; pip install 'diffim-decorr[plot]' installs it") from error
    import numpy as np

    from diffim_decorr.errors import InputError
    from diffim_decorr.io.whole import whole_file

    ending = output.rpartition(".")[2].lower()
    if ending not in endings():
        raise InputError(f"{output}: a picture must be one of {', '.join(endings())}")
    _check_output(output, file, image, overwrite)
    loaded = _load(file, image)
    matching, variances, side = loaded.matching, _noise(svar, tvar), _side(convolved)
    if loaded.field is None and matching.kernel.is_constant:
        x, y = [0.0], [0.0]
    else:
        field = loaded.needed_field()
        x, y = _spread(field.x0, field.x1, 3), _spread(field.y0, field.y1, 3)
    title = file
    if matching.format == "psi":
        panels = [("decorrelation kernel", _sampled(matching, x, y))]
    else:
        from diffim_decorr.inspection import decorrelation_at

        psi = decorrelation_at(matching, [(px, py) for py in y for px in x], variances, side)
        panels = [
            ("matching kernel", _sampled(matching, x, y)),
            ("decorrelation kernel", psi.reshape(len(y), len(x), *psi.shape[1:])),
        ]
        title += f", white noise of variance {svar:g} (science), {tvar:g} (template)"
    with whole_file(output, overwrite) as temporary:
        draw_kernels(temporary, panels, np.array(x), np.array(y), title, ending)


def _write_grid(loaded: _Loaded, path: str, tolerance: float) -> tuple[str, list[str]]:
    """Images on a grid; what to say about it, and what to warn of."""
    from diffim_decorr.gridding import bilinear_grid
    from diffim_decorr.io.kernels import write_grid_kernel

    matching = loaded.matching
    # One image is the same everywhere, whatever the position that goes with it.
    constant = loaded.field is None and matching.kernel.is_constant
    field = loaded.corner() if constant else loaded.needed_field()
    images, x, y, error = bilinear_grid(matching.kernel, field, tolerance, matching.name)
    dx, dy = (0, 0) if matching.parent_frame else loaded.xy0
    write_grid_kernel(path, images, x + dx, y + dy, overwrite=True)
    return f"{len(images)} images, bilinear in between to {error:.1e} of the peak", loaded.lost()


def _write_table(loaded: _Loaded, path: str, _tolerance: float) -> tuple[str, list[str]]:
    """The pixels' polynomials, exactly."""
    from diffim_decorr.io.kernels import write_kernel_table

    write_kernel_table(path, loaded.matching, overwrite=True)
    height, width = loaded.matching.kernel.shape
    return f"{width} x {height} pixels, each a polynomial in the position", []


# What a kernel can be converted to: writers that take what was loaded, a path and a tolerance, and say what they did.
_TARGETS: dict[str, Callable[[_Loaded, str, float], tuple[str, list[str]]]] = {
    "grid": _write_grid,
    "table": _write_table,
}


@kernel.command()
@click.argument("file", metavar="FILE")
@click.option("-o", "--output", required=True, metavar="OUT", help="Kernel file to write.")
@click.option("--to", "target", type=click.Choice(list(_TARGETS)), default="grid", show_default=True, help="Format.")
@click.option(
    "--tolerance",
    type=click.FloatRange(1e-9, 0.1),
    default=1e-4,
    show_default=True,
    metavar="F",
    help="Largest error of any pixel of a grid anywhere in the field, relative to the kernel's peak.",
)
@_of_image
@_overwrite
def convert(file: str, output: str, target: str, tolerance: float, image: str | None, overwrite: bool) -> None:
    """Write a kernel in another format.

    grid: images on a grid of positions, as dense as the tolerance needs. table: pixels and their polynomials in the
    position, exactly, for kernels that have such.
    """
    from diffim_decorr.io.whole import whole_file

    _check_output(output, file, image, overwrite)
    loaded = _load(file, image)
    with whole_file(output, overwrite) as temporary:
        said, remarks = _TARGETS[target](loaded, temporary, tolerance)
    click.echo(f"{output}: {said}")
    for remark in remarks:
        click.echo(f"decorr: warning: {remark}", err=True)


@dataclass(frozen=True)
class _Loaded:
    """A kernel, and the field that it is for, where that is known."""

    matching: MatchingKernel
    field: Box | None
    xy0: tuple[int, int] = (0, 0)

    def needed_field(self) -> Box:
        from diffim_decorr.errors import InputError

        if self.field is None:
            raise InputError(
                f"{self.matching.name}: does not tell the size of the field that the kernel varies over; --image, the "
                "difference that it is the kernel of, does"
            )
        return self.field

    def corner(self) -> Box:
        from diffim_decorr.spatial import Box

        return Box(0, 0, 1, 1)

    def lost(self) -> list[str]:
        """What a grid of images cannot say."""
        if self.matching.format == "psi":
            return []
        remarks = []
        science = self.matching.convolved[0] == "science"
        if science:
            remarks.append("the file does not say that the science image was convolved: use --convolved science")
        # Without a word a difference counts as divided by the kernel sum where the science image was convolved.
        divided = self.matching.normalized[0]
        if divided is not None and divided != science:
            remarks.append(
                f"the file does not say that the difference was {'' if divided else 'not '}divided by the kernel sum: "
                "the variance plane of a run with it is off by the square of the sum"
            )
        return remarks


def _load(file: str, image: str | None) -> _Loaded:
    """Read a kernel, or the decorrelation kernel of a run, with the field that it is for."""
    from diffim_decorr.inspection import field_of
    from diffim_decorr.io.exposures import read_exposure
    from diffim_decorr.io.kernels import read_kernel
    from diffim_decorr.io.psi import holds_psi, read_psi
    from diffim_decorr.matching import MatchingKernel
    from diffim_decorr.spatial import Box

    if holds_psi(file):
        psi = read_psi(file)
        matching = MatchingKernel(psi.kernel, format="psi", parent_frame=False, name=psi.name)
        return _Loaded(matching, Box(0, 0, psi.shape[1], psi.shape[0]), psi.xy0)
    if image is None:
        matching = read_kernel(file)
        return _Loaded(matching, field_of(matching))
    exposure = read_exposure(image)
    matching = read_kernel(file, exposure.shape, exposure.header)
    x0, y0 = exposure.xy0 if matching.parent_frame else (0, 0)
    ny, nx = exposure.shape
    return _Loaded(matching, Box(x0, y0, x0 + nx, y0 + ny), exposure.xy0)


def _noise(svar: float, tvar: float) -> tuple[float, float]:
    from math import isfinite

    for name, value in (("--svar", svar), ("--tvar", tvar)):
        if not (value >= 0 and isfinite(value)):
            raise click.UsageError(f"{name} must be a number that is 0 or more, not {value:g}")
    if not svar + tvar > 0:
        raise click.UsageError("--svar and --tvar cannot both be 0: there is no noise")
    return svar, tvar


def _side(convolved: str) -> Any:
    return None if convolved == "auto" else convolved


def _check_output(output: str, file: str, image: str | None, overwrite: bool) -> None:
    from diffim_decorr.io.fits import split_spec
    from diffim_decorr.io.output import check_output

    check_output(output, [split_spec(name)[0] for name in (file, image) if name is not None], overwrite)


def _spread(first: int, end: int, count: int) -> list[float]:
    """Positions from the first pixel to the last."""
    return [first + (end - 1 - first) * k / (count - 1) for k in range(count)] if end - first > 1 else [float(first)]


def _places(field: Box) -> dict[str, tuple[float, float]]:
    left, right, bottom, top = field.x0, field.x1 - 1, field.y0, field.y1 - 1
    return {
        "centre": ((left + right) / 2, (bottom + top) / 2),
        "lower left": (left, bottom),
        "lower right": (right, bottom),
        "upper left": (left, top),
        "upper right": (right, top),
    }


def _sampled(matching: MatchingKernel, x: list[float], y: list[float]) -> NDArray[Any]:
    import numpy as np

    images = [[matching.kernel.at(px, py) for px in x] for py in y]
    return np.array(images)


def _print(summary: dict[str, Any]) -> None:
    field, low, high = summary["field"], summary["sum"]["min"], summary["sum"]["max"]
    is_psi = summary["format"] == "psi"
    rows = [
        ("kernel", summary["file"]),
        ("format", "decorrelation kernel of a run" if is_psi else summary["format"]),
        ("size", f"{summary['width']} x {summary['height']} pixels, {summary['basis_images']} basis images"),
        ("over the field", summary["order"]),
    ]
    if field is not None:
        rows.append(("field", f"x {field[0]} to {field[2] - 1}, y {field[1]} to {field[3] - 1}"))
    if not is_psi:
        sides = [side or "not said (template)" for side in summary["convolved"]]
        rows += [
            ("image convolved", ", ".join(sides)),
            ("noise assumed", f"white, variance {summary['svar']:g} (science), {summary['tvar']:g} (template)"),
        ]
    rows.append(("sum", f"{low:.6g}" if high - low < 1e-9 * abs(high) else f"{low:.6g} to {high:.6g}"))
    for label, value in rows:
        click.echo(f"{label:<17}{value}")
    last = "" if is_psi else "  max_abs_rho"
    click.echo(f"\n{'position':<12}{'x':>8}{'y':>8}{'sum':>10}{'peak':>10}{'FWHM':>8}{'ellipt.':>9}{last}")
    for row in summary["positions"]:
        shape = row["shape"]
        text = f"{row['place']:<12}{row['x']:>8g}{row['y']:>8g}{row['sum']:>10.5f}{row['peak']:>10.5f}"
        if shape is None:
            text += f"{'–':>8}{'–':>9}"
        else:
            text += f"{shape['fwhm']:>8.3f}{shape['ellipticity']:>9.3f}"
        rho = row["max_abs_rho"]
        click.echo(text + ("" if is_psi else f"{'–' if rho is None else format(rho, '.4f'):>13}"))
