"""``decorr kernel``: show, evaluate, draw and convert kernels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import click

from diffim_decorr.cli.commands import Group, argument, option
from diffim_decorr.cli.common import tell, warn
from diffim_decorr.cli.lines import print_line
from diffim_decorr.cli.options import chosen, options_of
from diffim_decorr.cli.pictures import ending_of, extra
from diffim_decorr.errors import InputError
from diffim_decorr.options import KernelOptions

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from diffim_decorr.difference.matching import MatchingKernel
    from diffim_decorr.geometry import Box

__all__ = ("kernel",)

_FILE = "A kernel file of any format, or an output of decorr run."


@click.group(
    cls=Group,
    page="kernels.md",
    examples=[
        ("decorr kernel show kernel.fits", "what it is like at the corners and the centre"),
        ("decorr kernel at diff.fits 512 300 -o kernel_at.fits", "that of HOTPANTS inside the difference, as an image"),
        ("decorr kernel convert FITS_Solution.fits -o kernel.fits", "any format as images on a grid"),
    ],
)
def kernel() -> None:
    """Show, evaluate, draw and convert matching kernels, and the decorrelation kernel in the output of a run.

    Positions are 0-based pixels, in the parent frame if the file or the image has one.
    """


@kernel.command(
    page="kernels.md",
    examples=[
        ("decorr kernel show kernel.fits", "of a matching kernel"),
        ("decorr kernel show diff_decorr.fits", "of the decorrelation kernel in a result"),
        ("decorr kernel show kernel.fits --image diff.fits --svar 60 --tvar 240 --json", "for this noise, as JSON"),
    ],
)
@argument("file", "FILE", _FILE)
@options_of(KernelOptions, "image", "svar", "tvar", "convolved", "json")
def show(file: str, **given: Any) -> None:
    """Print what a kernel is like at the corners and the centre of the field.

    max_abs_rho is the largest noise correlation that it causes between pixels of the raw difference, for inputs with
    white noise of these variances.
    """
    from dataclasses import asdict

    from diffim_decorr.qa.kernel_figures import figures_at, sum_range

    options = chosen(KernelOptions, given)
    loaded = _load(file, options.image)
    matching, field = loaded.matching, loaded.field
    variances, side = options.variances, options.convolved
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
        "order": matching.kernel.described,
        "field": None if field is None else [field.x0, field.y0, field.x1, field.y1],
        "convolved": [side or None for side in sides],
        "sum": {"min": low, "max": high},
        "svar": options.svar,
        "tvar": options.tvar,
        "positions": [{"place": place, **asdict(figure)} for place, figure in figures.items()],
    }
    if options.json:
        from diffim_decorr.cli.summary import print_json

        print_json(summary)
    else:
        _print(summary)


@kernel.command(
    negative=True,
    page="kernels.md",
    examples=[
        ("decorr kernel at kernel.fits 512 300 -o at.fits", "of a matching kernel"),
        ("decorr kernel at diff_decorr.fits 512 300 -o psi.fits", "the decorrelation kernel of a result"),
        (
            "decorr kernel at kernel.fits 512 300 --image diff.fits -o at.fits",
            "of a kernel that does not tell its field",
        ),
    ],
)
@argument("file", "FILE", _FILE)
@argument("x", "X", "0-based pixel.", type=float, completed="")
@argument("y", "Y", "Likewise.", type=float, completed="")
@option("-o", "--output", section="Output", path=True, required=True, metavar="OUT", help="FITS image to write.")
@options_of(KernelOptions, "image", "overwrite")
def at(file: str, x: float, y: float, output: str, **given: Any) -> None:
    """Write the kernel at the position X Y of the field as an image."""
    import numpy as np

    from diffim_decorr.io.output.stamps import write_kernel_image

    options = chosen(KernelOptions, given)
    _check_output(output, file, options)
    loaded = _load(file, options.image)
    matching = replace(loaded.matching, kernel=replace(loaded.matching.kernel, field=loaded.field))
    matching.kernel.check_inside(np.array([x]), np.array([y]), matching.name)
    write_kernel_image(output, matching.at(x, y), file, matching.format, (x, y), options.overwrite)


@kernel.command(
    page="kernels.md",
    examples=[
        ("decorr kernel plot kernel.fits -o kernel.png", "both kernels over the field"),
        ("decorr kernel plot kernel.fits --svar 60 --tvar 240 -o kernel.pdf", "for this noise"),
        ("decorr kernel plot diff_decorr.fits -o psi.svg", "the decorrelation kernel of a result"),
    ],
)
@argument("file", "FILE", _FILE)
@option(
    "-o",
    "--output",
    section="Output",
    path=True,
    required=True,
    metavar="OUT",
    help="Picture to write, such as kernel.png.",
)
@options_of(KernelOptions, "image", "svar", "tvar", "convolved", "overwrite")
def plot(file: str, output: str, **given: Any) -> None:
    """Draw the kernel, and the decorrelation kernel for white noise of these variances, over the field.

    Needs matplotlib, which the extra "plot" installs.
    """
    with extra("plot"):
        from diffim_decorr.plots import draw_kernels
    import numpy as np

    from diffim_decorr.io.atomic import whole_file

    options = chosen(KernelOptions, given)
    ending = ending_of(output)
    _check_output(output, file, options)
    loaded = _load(file, options.image)
    matching = loaded.matching
    if loaded.field is None and matching.kernel.is_constant:
        x, y = [0.0], [0.0]
    else:
        field = loaded.needed_field()
        x, y = _spread(field.x0, field.x1, 3), _spread(field.y0, field.y1, 3)
    title = file
    if matching.format == "psi":
        panels = [("decorrelation kernel", _sampled(matching, x, y))]
    else:
        from diffim_decorr.qa.kernel_figures import decorrelation_at

        positions = [(px, py) for py in y for px in x]
        psi = decorrelation_at(matching, positions, options.variances, options.convolved)
        panels = [
            ("matching kernel", _sampled(matching, x, y)),
            ("decorrelation kernel", psi.reshape(len(y), len(x), *psi.shape[1:])),
        ]
        title += f", white noise of variance {options.svar:g} (science), {options.tvar:g} (template)"
    with whole_file(output, options.overwrite) as temporary:
        draw_kernels(temporary, panels, np.array(x), np.array(y), title, ending)


def _write_grid(loaded: _Loaded, path: str, tolerance: float) -> tuple[str, list[str]]:
    """Images on a grid; what to say about it, and what to warn of."""
    from diffim_decorr.io.kernels.grid import write_grid_kernel
    from diffim_decorr.kernels.gridding import bilinear_grid

    matching = loaded.matching
    # One image is the same everywhere, whatever the position that goes with it.
    constant = loaded.field is None and matching.kernel.is_constant
    field = loaded.corner() if constant else loaded.needed_field()
    images, x, y, error = bilinear_grid(matching.kernel, field, tolerance, matching.name)
    write_grid_kernel(path, images, x, y, overwrite=True)
    return f"{len(images)} images, bilinear in between to {error:.1e} of the peak", loaded.lost()


def _write_table(loaded: _Loaded, path: str, _tolerance: float) -> tuple[str, list[str]]:
    """The pixels' polynomials, exactly."""
    from diffim_decorr.io.kernels.table import write_kernel_table

    write_kernel_table(path, loaded.matching, overwrite=True)
    height, width = loaded.matching.kernel.shape
    return f"{width} x {height} pixels, each a polynomial in the position", []


# What a kernel can be converted to: writers that take what was loaded, a path and a tolerance, and say what they did.
_TARGETS: dict[str, Callable[[_Loaded, str, float], tuple[str, list[str]]]] = {
    "grid": _write_grid,
    "table": _write_table,
}


@kernel.command(
    page="kernels.md",
    examples=[
        ("decorr kernel convert FITS_Solution.fits -o kernel.fits", "SFFT's solution as images on a grid"),
        ("decorr kernel convert diff.fits --to table -o kernel.fits", "HOTPANTS' kernel as a table, without loss"),
        ("decorr kernel convert kernel.fits --image diff.fits --tolerance 1e-6 -o grid.fits", "to a better accuracy"),
    ],
)
@argument("file", "FILE", _FILE)
@option("-o", "--output", section="Output", path=True, required=True, metavar="OUT", help="Kernel file to write.")
@options_of(KernelOptions, "to", "tolerance", "image", "overwrite")
def convert(file: str, output: str, **given: Any) -> None:
    """Write a kernel in another format.

    grid: images on a grid of positions, as dense as the tolerance needs. table: pixels and their polynomials in the
    position, exactly, for kernels that have such.
    """
    from diffim_decorr.io.atomic import whole_file

    options = chosen(KernelOptions, given)
    _check_output(output, file, options)
    loaded = _load(file, options.image)
    with whole_file(output, options.overwrite) as temporary:
        said, remarks = _TARGETS[options.to](loaded, temporary, options.tolerance)
    for remark in remarks:
        warn(remark)
    with tell(output):
        print_line(f"{output}: {said}")


@dataclass(frozen=True, eq=False)
class _Loaded:
    """A kernel, and the field that it is for, where that is known: in the parent frame, where there is one."""

    matching: MatchingKernel
    field: Box | None

    def needed_field(self) -> Box:
        if self.field is None:
            raise InputError(
                f"{self.matching.name}: does not tell the size of the field that the kernel varies over; --image, the "
                "difference that it is the kernel of, does"
            )
        return self.field

    def corner(self) -> Box:
        from diffim_decorr.geometry import Box

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
    from diffim_decorr.difference.matching import MatchingKernel
    from diffim_decorr.io.exposures import load_exposure
    from diffim_decorr.io.kernels.registry import load_kernel
    from diffim_decorr.io.psi import holds_psi, read_psi
    from diffim_decorr.qa.kernel_figures import field_of

    if holds_psi(file):
        psi = read_psi(file)
        matching = MatchingKernel(psi.kernel, "psi", parent_frame=False, name=psi.name)
        xy0, field = psi.xy0, psi.kernel.field
    elif image is None:
        matching = load_kernel(file)
        xy0, field = (0, 0), field_of(matching)
    else:
        exposure = load_exposure(image)
        matching = load_kernel(file, exposure.shape, exposure.header)
        xy0, field = exposure.xy0, field_of(matching, exposure.shape)
    for remark in matching.remarks:
        warn(remark)
    if xy0 != (0, 0):
        field = None if field is None else field.shifted(*xy0)
        if not matching.parent_frame:
            matching = replace(matching, kernel=matching.kernel.shifted(*xy0), parent_frame=True)
    return _Loaded(matching, field)


def _check_output(output: str, file: str, options: KernelOptions) -> None:
    from diffim_decorr.io.atomic import check_output
    from diffim_decorr.io.hdus import split_spec

    read = [split_spec(name)[0] for name in (file, options.image) if name is not None]
    check_output(output, read, options.overwrite)


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

    all_x, all_y = (positions.ravel() for positions in np.meshgrid(x, y))
    return matching.kernel.sample(all_x, all_y).reshape(len(y), len(x), *matching.kernel.shape)


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
        print_line(f"{label:<17}{value}")
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
        print_line(text + ("" if is_psi else f"{'–' if rho is None else format(rho, '.4f'):>13}"))
