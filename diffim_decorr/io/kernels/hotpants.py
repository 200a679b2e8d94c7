"""Matching kernels as HOTPANTS writes them (options ``-hki`` and ``-oki``).

The kernel is that of Alard & Lupton (1998, ApJ 503, 325) with the spatial variation of Alard (2000, A&AS 144, 363): a
sum of Gaussians times polynomials whose coefficients are polynomials in the position. The layout of the table and the
conventions below are those of HOTPANTS (Becker 2015, ascl:1504.004).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

from diffim_decorr.difference.matching import MatchingKernel
from diffim_decorr.errors import InputError
from diffim_decorr.geometry import Box
from diffim_decorr.io.hdus import damaged, hdu_label, is_image
from diffim_decorr.io.headers import integer_card, last_card
from diffim_decorr.io.kernels.source import Format, Source
from diffim_decorr.kernels.coefficients import Coefficients, PolynomialCoefficients
from diffim_decorr.kernels.piecewise import PiecewiseCoefficients
from diffim_decorr.kernels.spatial import SpatialKernel
from diffim_decorr.options import Side

__all__ = ("FORMAT", "is_hotpants", "read_hotpants")

Array = NDArray[Any]

_TABLE = "convolution kernel information"
_SIDES: dict[str, Side] = {"TEMPLATE": "template", "IMAGE": "science"}
# PHOTNORM names the photometric system of the difference: it was divided by the kernel sum if that is the system of
# the image that was convolved.
_SYSTEMS: dict[str, Side | None] = {"t": "template", "i": "science", "u": None}
_LARGEST_KERNEL = 1001
_SMALLEST_SIGMA = 0.01
_DEFAULT_STAMPS = 10
_DEFAULT_SUBSTAMP_HALF_WIDTH = 15


def is_hotpants(hdus: Sequence[Any]) -> bool:
    """Whether there is a HOTPANTS kernel table among the HDUs."""
    return any(_is_table(hdu) for hdu in hdus)


def read_hotpants(
    hdus: fits.HDUList, name: str, image_shape: tuple[int, int] | None = None, header: fits.Header | None = None
) -> MatchingKernel:
    """Read the kernel table of a HOTPANTS difference (``-hki``) or of a kernel file (``-oki``).

    Parameters
    ----------
    hdus
        The open file.
    name
        Its name, for messages.
    image_shape
        Shape (ny, nx) of the difference. Without it, that of the file's own image, or what the regions cover.
    header
        The difference's header, for the cards that a kernel file lacks: DIFFCMD, HOTPANTS' command line, which matters
        for several regions; and where only the table was kept, those of the regions.

    Returns
    -------
    MatchingKernel
        With one rectangle for each region that HOTPANTS wrote; none if a single region covers the image.

    Raises
    ------
    InputError
        If there is no kernel table, or it cannot be used.

    Notes
    -----
    HOTPANTS applies the kernel in cells of FWKERN pixels, each with the kernel at its centre. What is returned is the
    smooth kernel behind that.
    """
    tables = [hdu for hdu in hdus if _is_table(hdu)]
    written = next((hdu.header["KERFILE"] for hdu in hdus if "KERFILE" in hdu.header), None)
    if not tables:
        elsewhere = f"; its kernel was written to {written}" if written else "; run HOTPANTS with -hki or -oki"
        raise InputError(f"{name}: holds no HOTPANTS kernel table{elsewhere}")
    table = tables[-1]
    where = hdu_label(name, hdus, table)
    columns = _columns(table, where, written)
    with damaged(where):
        basis = _basis(table.header, where)
        order = integer_card(table.header, "CKORDER", 0, 20, where)
        holder = next((hdu for hdu in hdus if _region_numbers(hdu.header)), None)
        if holder is not None:
            origin, label = _completed(holder.header, header), hdu_label(name, hdus, holder)
        elif header is not None and _region_numbers(header):
            origin, label = header, "the difference"
        else:
            raise InputError(
                f"{where}: neither the file nor the difference has the card REGION00, which says where the kernel "
                "holds; copy REGIONnn, CONVOLnn, PHOTNORM and DIFFCMD from HOTPANTS' difference to its header (for "
                "decorr kernel, --image DIFF names that)"
            )
        remarks: list[str] = []
        regions = _regions(origin, columns, where, label, remarks)
        convolved = tuple(_side(origin, number, label) for number in regions)
        system = _system(table.header, origin, where)
        command = next(
            (
                str(last_card(cards, "DIFFCMD"))
                for cards in (header, origin)
                if cards is not None and "DIFFCMD" in cards
            ),
            None,
        )

    if image_shape is None:
        image_shape = _image_shape(holder, regions.values())
    for number, box in regions.items():
        if box.clipped(image_shape) != box:
            raise InputError(
                f"{label}: REGION{number:02d} reaches beyond the image of {image_shape[1]} x {image_shape[0]} pixels: "
                "this is the kernel of another image"
            )
    options = None if command is None else _options(command)
    if options is not None and not _complete(options, len(columns)):
        remarks.append(
            f"{label}: the command line in DIFFCMD is cut off ({command!r}), as some builds of HOTPANTS write it; "
            "correct the card, or -nsx and -nsy are taken for the default"
        )
        options = None
    buffered = _buffered(regions, len(columns), image_shape, basis.shape[1], options, where, remarks)
    pieces = tuple(
        (box, _polynomials(columns[number], len(basis), order, grown, where))
        for (number, box), grown in zip(regions.items(), buffered, strict=True)
    )
    ny, nx = image_shape
    whole = len(pieces) == 1 and pieces[0][0] == Box(0, 0, nx, ny)
    coefficients: Coefficients = pieces[0][1] if whole else PiecewiseCoefficients(pieces)
    return MatchingKernel(
        kernel=SpatialKernel(basis, coefficients, Box(0, 0, nx, ny)),
        format="hotpants",
        convolved=convolved,
        normalized=tuple(side == system for side in convolved),
        parent_frame=False,
        name=where,
        remarks=tuple(remarks),
    )


def _is_table(hdu: Any) -> bool:
    if not isinstance(hdu, fits.BinTableHDU):
        return False
    names = (str(hdu.header.get(key, "")).strip().casefold() for key in ("EXTNAME", "OBJECT"))
    return _TABLE in names or all(key in hdu.header for key in ("NGAUSS", "FWKERN", "CKORDER"))


def _columns(table: Any, where: str, written: str | None) -> list[Array]:
    """The coefficient vectors, one for each region; ``written`` is the file that -oki wrote, for the message."""
    with damaged(where):
        columns = [np.asarray(table.data.field(k)) for k in range(len(table.columns))]
    if not columns or not len(columns[0]):
        raise InputError(f"{where}: the kernel table is empty")
    for k, column in enumerate(columns):
        if column.ndim != 1 or column.dtype.kind not in "fiu":
            raise InputError(f"{where}: column {k + 1} of the kernel table is not a column of plain numbers")
    if not any(column.any() for column in columns):
        raise InputError(
            f"{where}: the kernel table holds nothing but zeros, as HOTPANTS leaves it when both -hki and -oki are "
            "given, or when it found no stamp to fit a kernel to (below -il and -tl, 0 if they are not given, pixels "
            f"are bad to it); use the file that -oki wrote{f' ({written})' if written else ''}, or run it again"
        )
    return [column.astype(np.float64) for column in columns]


def _basis(header: fits.Header, where: str) -> Array:
    """The basis images (n, FWKERN, FWKERN), in the order of the coefficients."""
    count = integer_card(header, "NGAUSS", 1, 100, where)
    width = integer_card(header, "FWKERN", 1, _LARGEST_KERNEL, where)
    if width % 2 == 0:
        raise InputError(f"{where}: FWKERN is {width}, but the width of a HOTPANTS kernel is odd")
    x = np.arange(width) - width // 2.0
    images: list[Array] = []
    for number in range(1, count + 1):
        degree = integer_card(header, f"DGAUSS{number}", 0, 20, where)
        if f"SGAUSS{number}" not in header:
            raise InputError(f"{where}: the card SGAUSS{number} is missing")
        sigma = last_card(header, f"SGAUSS{number}")
        if isinstance(sigma, bool) or not isinstance(sigma, int | float) or not _SMALLEST_SIGMA <= sigma < np.inf:
            raise InputError(
                f"{where}: SGAUSS{number} is {sigma!r}, not the width of a Gaussian (kernels made with -pca cannot be "
                "read: their basis images are not in the file)"
            )
        # HOTPANTS keeps 1 / (2 S^2) in single precision.
        envelope = np.exp(-(x**2) * float(np.float32(1 / (2 * float(sigma) ** 2))))
        for i in range(degree + 1):
            for j in range(degree - i + 1):
                along_x, along_y = envelope * x**i, envelope * x**j
                # Even functions have sum 1 and then, but for the first, 0: the first one alone carries the flux.
                even = i % 2 == 0 and j % 2 == 0
                if even:
                    totals = along_x.sum(), along_y.sum()
                    if not all(totals):
                        raise InputError(
                            f"{where}: a Gaussian of width SGAUSS{number} = {sigma} and degree {degree} does not fit "
                            f"on pixels"
                        )
                    along_x, along_y = along_x / totals[0], along_y / totals[1]
                image = np.outer(along_y, along_x)
                images.append(image - images[0] if even and images else image)
    return np.array(images)


def _polynomials(vector: Array, count: int, order: int, frame: Box, where: str) -> PolynomialCoefficients:
    """The coefficient functions of one region.

    Parameters
    ----------
    vector
        The region's column: one unused number, the first basis image's constant coefficient, and for every other one
        a block of (order + 1)(order + 2) / 2 numbers; what follows is the background.
    count
        The number of basis images.
    order
        The degree of the polynomials.
    frame
        The buffered region: its left edge is at -1 and its right edge at 1, in HOTPANTS' sense.
    """
    powers = np.array([(a, b) for a in range(order + 1) for b in range(order - a + 1)])
    needed = 2 + (count - 1) * len(powers)
    if len(vector) < needed:
        raise InputError(
            f"{where}: the kernel table has {len(vector)} rows, but {count} basis images of spatial order {order} "
            f"need {needed}"
        )
    values = np.zeros((count, len(powers)))
    values[0, 0] = vector[1]
    values[1:] = vector[2:needed].reshape(count - 1, len(powers))
    height, width = frame.shape
    half = (width / 2, height / 2)
    return PolynomialCoefficients(values, powers, (frame.x0 + half[0], frame.y0 + half[1]), half)


def _region_numbers(header: fits.Header) -> list[int]:
    return sorted({int(key[6:]) for key in header if re.fullmatch(r"REGION\d{2,}", key)})


def _regions(header: fits.Header, columns: list[Array], where: str, label: str, remarks: list[str]) -> dict[int, Box]:
    """The regions that HOTPANTS wrote, by their number; remarks takes what is to be said of those that it did not.

    NREGION is no help, being wrong where the regions came from a file (``-rf``).
    """
    numbers = _region_numbers(header)
    # A region in which HOTPANTS found nothing to fit is skipped: it has no cards, and zeros in the table.
    failed = [k for k, column in enumerate(columns) if k not in numbers and not column.any()]
    if sorted(numbers + failed) != list(range(len(columns))):
        raise InputError(
            f"{where}: the kernel table has {len(columns)} column{'s' * (len(columns) > 1)}, one for each region, but "
            f"{label} has the cards {', '.join(f'REGION{k:02d}' for k in numbers)}"
        )
    lost = [k for k in numbers if not np.isfinite(columns[k]).all()]
    if len(lost) == len(numbers):
        raise InputError(f"{where}: the kernel table holds numbers that are not finite, in every region")
    numbers = [k for k in numbers if k not in lost]
    if lost:
        remarks.append(
            f"{where}: the kernel of region{'s' * (len(lost) > 1)} {', '.join(map(str, lost))} is not finite; nothing "
            "is computed there"
        )
    for k in numbers:
        if not columns[k].any():
            raise InputError(f"{where}: column {k + 1} of the kernel table, of region {k}, holds nothing but zeros")
    if failed:
        remarks.append(
            f"{where}: HOTPANTS found no kernel in region{'s' * (len(failed) > 1)} "
            f"{', '.join(map(str, failed))}; there is no difference there"
        )
    regions = {}
    for k in numbers:
        text = str(last_card(header, f"REGION{k:02d}"))
        match = re.fullmatch(r"\s*\[\s*(\d+)\s*:\s*(\d+)\s*,\s*(\d+)\s*:\s*(\d+)\s*\]\s*", text)
        x0, x1, y0, y1 = map(int, match.groups()) if match else (0, 0, 0, 0)
        if not (1 <= x0 <= x1 and 1 <= y0 <= y1):
            raise InputError(f"{label}: REGION{k:02d} is {text!r}, not '[x0:x1,y0:y1]' with pixels counted from 1")
        regions[k] = Box(x0 - 1, y0 - 1, x1, y1)
    return regions


def _completed(own: fits.Header, difference: fits.Header | None) -> fits.Header:
    """The cards of a kernel file, and those that it lacks from a difference of the same regions."""
    numbers = _region_numbers(own)
    if difference is None or any(own[key] != difference.get(key) for key in (f"REGION{k:02d}" for k in numbers)):
        return own
    wanted = ["PHOTNORM", *(f"CONVOL{k:02d}" for k in numbers)]
    missing = [(key, last_card(difference, key)) for key in wanted if key in difference and key not in own]
    completed = own.copy()
    completed.update(missing)
    return completed


def _side(header: fits.Header, number: int, label: str) -> Side:
    key = f"CONVOL{number:02d}"
    if key not in header:
        raise InputError(f"{label}: the card {key}, which says what was convolved, is missing")
    text = str(last_card(header, key)).strip()
    if text not in _SIDES:
        raise InputError(f"{label}: {key} is {text!r}, neither TEMPLATE nor IMAGE")
    return _SIDES[text]


def _system(table: fits.Header, origin: fits.Header, where: str) -> Side | None:
    """The image to whose photometric system the difference was brought (-oki writes the card to the table's header)."""
    header = table if "PHOTNORM" in table else origin
    if "PHOTNORM" not in header:
        raise InputError(f"{where}: the card PHOTNORM, which says how the difference was scaled, is missing")
    text = str(last_card(header, "PHOTNORM")).strip()
    if text[:1] not in _SYSTEMS:
        raise InputError(f"{where}: PHOTNORM is {text!r}, none of t, i and u")
    return _SYSTEMS[text[:1]]


def _image_shape(origin: Any, regions: Any) -> tuple[int, int]:
    if origin is not None and is_image(origin):
        return int(origin.shape[-2]), int(origin.shape[-1])
    return max(box.y1 for box in regions), max(box.x1 for box in regions)


def _options(command: str) -> dict[str, list[str]]:
    """The options of a HOTPANTS command line, in lower case as HOTPANTS does not tell, and the words after each."""
    options: dict[str, list[str]] = {}
    words: list[str] = []
    for word in command.split():
        if re.fullmatch(r"-[A-Za-z]+", word):
            words = options[word[1:].lower()] = []
        else:
            words.append(word)
    return options


def _complete(options: dict[str, list[str]], regions: int) -> bool:
    """Whether a command line can be the one that made so many regions."""
    counts = [options.get(f"nr{axis}", ["1"])[:1] for axis in "xy"]
    made = int(counts[0][0]) * int(counts[1][0]) if all(c and c[0].isdigit() for c in counts) else regions
    return made == regions or "rf" in options or "rkw" in options


def _numbers(options: dict[str, list[str]], option: str, defaults: tuple[int, ...], where: str) -> tuple[int, ...]:
    """The whole numbers after an option."""
    words = options.get(option, list(map(str, defaults)))[: len(defaults)]
    if len(words) < len(defaults) or not all(word.isdigit() for word in words):
        raise InputError(f"{where}: the card DIFFCMD has -{option} {' '.join(words)}, which is not understood")
    return tuple(map(int, words))


def _buffered(
    regions: dict[int, Box],
    count: int,
    image_shape: tuple[int, int],
    kernel_width: int,
    options: dict[str, list[str]] | None,
    where: str,
    remarks: list[str],
) -> list[Box]:
    """The regions as HOTPANTS grows them to let neighbours overlap; positions are relative to these.

    Parameters
    ----------
    regions
        Those with a kernel.
    count
        The number of regions asked for.
    image_shape
        Of the difference.
    kernel_width
        FWKERN.
    options
        What HOTPANTS was run with, if known.
    where
        The file and HDU, for messages.
    remarks
        Takes what is to be said.
    """
    if count > 1 and options is None:
        remarks.append(
            f"{where}: without the card DIFFCMD (copy it from the difference) HOTPANTS' -nsx and -nsy are taken to be "
            f"{_DEFAULT_STAMPS}, on which the kernels of several regions depend"
        )
    boxes = list(regions.values())
    if options is None:
        columns, rows = len({box.x0 for box in boxes}), len({box.y0 for box in boxes})
        options = {"nrx": [str(columns)], "nry": [str(rows)]}
    ny, nx = image_shape
    left, right, bottom, top = _numbers(options, "gd", (0, 0, 0, 0), where)
    if "rf" in options or "rkw" in options or len(regions) < count:
        # A limit of 0 is none.
        frame = Box(left, bottom, min(nx, right or nx), min(ny, top or ny))
    else:
        # HOTPANTS' own regions cover all that it worked on: the image, less what -gd left out and, of two images of
        # different sizes, what only the larger one has.
        x1, y1 = max(box.x1 for box in boxes), max(box.y1 for box in boxes)
        frame = Box(min(box.x0 for box in boxes), min(box.y0 for box in boxes), x1, y1)
    if count == 1:
        margin = kernel_width // 2
    else:
        size = (nx, ny) if "gd" in options else (frame.x1, frame.y1)
        margin = _stamp_width(size, kernel_width, options, where) // 2
    grown = [box.grown(margin) for box in boxes]
    return [Box(max(b.x0, frame.x0), max(b.y0, frame.y0), min(b.x1, frame.x1), min(b.y1, frame.y1)) for b in grown]


def _stamp_width(size: tuple[int, int], kernel_width: int, options: dict[str, list[str]], where: str) -> int:
    """The width of HOTPANTS' stamps, by half of which it grows each of several regions."""
    widths = []
    for length, axis in zip(size, "xy", strict=True):
        (regions,) = _numbers(options, f"nr{axis}", (1,), where)
        (stamps,) = _numbers(options, f"ns{axis}", (_DEFAULT_STAMPS,), where)
        if not regions or not stamps:
            raise InputError(f"{where}: the card DIFFCMD has -nr{axis} or -ns{axis} 0")
        widths.append(length // regions // stamps)
    width = min(widths) - kernel_width
    width -= width % 2 == 0
    (half,) = _numbers(options, "rss", (_DEFAULT_SUBSTAMP_HALF_WIDTH,), where)
    if width < 2 * half + 1:
        # More stamps were asked for than fit.
        width = 2 * half + 1 + kernel_width
        width -= width % 2 == 0
    return width


def _sniff(source: Source) -> bool:
    # A HOTPANTS difference without a kernel table must not pass for a kernel image, so it is recognised all the same.
    return is_hotpants(source.named) or (source.hdu is None and "KERINFO" in source.hdus[0].header)


def _read(source: Source) -> MatchingKernel:
    return read_hotpants(source.hdus, source.path, source.image_shape, source.header)


FORMAT = Format("hotpants", "a HOTPANTS kernel table (-hki or -oki)", _sniff, _read)
