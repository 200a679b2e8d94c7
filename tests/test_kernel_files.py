"""Kernel files: what they say, and what is wrong with them."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits
from diffim_decorr.io.hotpants import is_hotpants, read_hotpants
from diffim_decorr.matching import MatchingKernel
from diffim_decorr.spatial import Box, PiecewiseCoefficients, PolynomialCoefficients

from diffim_decorr.errors import DecorrWarning, InputError
from diffim_decorr.io.kernels import kernel_from_array, read_kernel, write_grid_kernel

JWST = Path(__file__).resolve().parents[2] / "shared" / "data" / "jwst_a2744"
needs_jwst = pytest.mark.skipif(not JWST.is_dir(), reason="the data folder shared/data/jwst_a2744 is absent")

EXTNAME = "Convolution Kernel Information"


# HOTPANTS' own results


def hotpants_convolved(image: np.ndarray, kernel: Callable[[int, int], np.ndarray], width: int) -> np.ndarray:
    """Convolve as HOTPANTS does: in cells of one kernel width, each with the kernel at its centre."""
    half = width // 2
    ny, nx = image.shape
    result = np.full(image.shape, np.nan)
    for y in range(half, ny - half, width):
        for x in range(half, nx - half, width):
            y1, x1 = min(y + width, ny - half), min(x + width, nx - half)
            patch = image[y - half : y1 + half, x - half : x1 + half]
            windows = np.lib.stride_tricks.sliding_window_view(patch, (width, width))
            result[y:y1, x:x1] = np.tensordot(windows, kernel(x + half, y + half)[::-1, ::-1])
    return result


def background(vector: np.ndarray, first: int, order: int, shape: tuple[int, int]) -> np.ndarray:
    """The background that HOTPANTS adds to the convolved image."""
    ny, nx = shape
    v, u = np.mgrid[:ny, :nx].astype(float)
    u, v = (u - nx / 2) / (nx / 2), (v - ny / 2) / (ny / 2)
    powers = [(a, b) for a in range(order + 1) for b in range(order - a + 1)]
    return sum(vector[first + k] * u**a * v**b for k, (a, b) in enumerate(powers))


@needs_jwst
@pytest.mark.parametrize(
    ("file", "convolved", "frames"),
    [
        ("hotpants_diff.fits", "tmpl.fits", [Box(0, 0, 900, 900)]),
        (
            "hotpants_diff_2x2_science_convolved.fits",
            "sci.fits",
            [Box(0, 0, 486, 486), Box(413, 0, 900, 486), Box(0, 413, 486, 900), Box(413, 413, 900, 900)],
        ),
    ],
)
def test_hotpants_own_convolved_image_is_reproduced(file: str, convolved: str, frames: list[Box]) -> None:
    matching = read_kernel(JWST / file)
    with fits.open(JWST / file) as hdus:
        expected = hdus[1].data.astype(float)
        columns = [hdus[-1].data.field(k) for k in range(len(frames))]
        order, background_order = hdus[-1].header["CKORDER"], hdus[-1].header["BGORDER"]
    image = fits.getdata(JWST / convolved).astype(float)
    coefficients = matching.kernel.coefficients
    whole = Box(0, 0, 900, 900)
    pieces = coefficients.pieces if isinstance(coefficients, PiecewiseCoefficients) else ((whole, coefficients),)
    first = 2 + (len(matching.kernel.basis) - 1) * (order + 1) * (order + 2) // 2

    mine = np.full(image.shape, np.nan)
    for (box, piece), frame, column in zip(pieces, frames, columns, strict=True):

        def kernel(x: int, y: int, piece: Any = piece, frame: Box = frame) -> np.ndarray:
            at = piece.at(np.array([frame.x0 + x]), np.array([frame.y0 + y]))[:, 0]
            return np.tensordot(at, matching.kernel.basis, axes=1)

        region = hotpants_convolved(image[frame.slices], kernel, matching.kernel.shape[0])
        region += background(column, first, background_order, frame.shape)
        # Where regions overlap, HOTPANTS' later one overwrites the earlier one.
        inner = box.shifted(-frame.x0, -frame.y0).slices
        mine[box.slices] = region[inner]

    known = np.isfinite(mine)
    assert known.mean() > 0.9
    scale = np.abs(expected[known]).max()
    assert np.abs(mine - expected)[known].max() < 1e-7 * scale
    # The differences are not divided by the kernel sum in either file, and nor are the convolved images.
    assert matching.normalized == (False,) * len(frames)


@needs_jwst
def test_what_hotpants_files_say() -> None:
    one = read_kernel(JWST / "hotpants_diff.fits")
    assert (one.format, one.parent_frame, one.convolved) == ("hotpants", False, ("template",))
    assert isinstance(one.kernel.coefficients, PolynomialCoefficients)
    assert one.kernel.boxes == ()
    four = read_kernel(JWST / "hotpants_diff_2x2_science_convolved.fits", (900, 900))
    assert four.convolved == ("science",) * 4
    assert four.kernel.boxes == (
        Box(0, 0, 450, 450),
        Box(449, 0, 900, 450),
        Box(0, 449, 450, 900),
        Box(449, 449, 900, 900),
    )
    header = fits.getheader(JWST / "hotpants_diff_2x2_science_convolved.fits")
    for k, (x, y) in enumerate([(30, 40), (700, 20), (3, 800), (880, 870)]):
        assert four.kernel.sum_at(x, y) == pytest.approx(float(header[f"KSUM{k:02d}"]), abs=5.1e-5)
    assert read_kernel(f"{JWST / 'hotpants_diff.fits'}[{EXTNAME}]").format == "hotpants"
    assert read_kernel(f"{JWST / 'hotpants_diff.fits'}[3]").format == "hotpants"
    with pytest.raises(InputError, match="no HDU"):
        read_kernel(f"{JWST / 'hotpants_diff.fits'}[9]")


# HOTPANTS tables made from the rules of the format

GAUSSIANS = ((3, 0.7), (2, 1.6))
WIDTH, ORDER = 7, 2
# 10 basis images of the first Gaussian, 6 of the second; 6 spatial terms; 3 of the background; the unused number.
ROWS = 2 + 15 * 6 + 3
COMMAND = "hotpants -inim s.fits -tmplim t.fits -r 3 -nrx 2 -nry 1 -nsx 2 -nsy 2 -rss 5 -tl -1 -hki"
DIFFCMD = fits.Header({"DIFFCMD": COMMAND})
TWO_REGIONS = {"REGION00": "[1:100,1:120]", "REGION01": "[100:200,1:120]"}
MIXED = {"CONVOL00": "TEMPLATE", "CONVOL01": "IMAGE"}
PRIMARY = {**TWO_REGIONS, **MIXED, "PHOTNORM": "i", "KERINFO": True}
# By hand: stamps of min(200/2/2, 120/1/2) - 7 = 43 pixels, so that regions grow by 21 within the image.
FRAMES = ((0, 0, 121, 120), (78, 0, 122, 120))


def vectors(regions: int) -> list[np.ndarray]:
    generator = np.random.default_rng(7)
    result = [generator.normal(0.0, 0.1, ROWS) for _ in range(regions)]
    for k, vector in enumerate(result):
        vector[0], vector[1] = 0.0, 2.0 + k
    return result


def write_hotpants(
    path: Path,
    columns: list[np.ndarray],
    primary: dict[str, Any] | None = None,
    table: dict[str, Any] | None = None,
    command: str | None = COMMAND,
    shape: tuple[int, int] | None = (120, 200),
) -> Path:
    """Write a file as HOTPANTS does; cards that are None are left out."""
    first = fits.PrimaryHDU(None if shape is None else np.zeros(shape, np.float32))
    primary = PRIMARY if primary is None else primary
    if command is not None:
        primary = {**primary, "DIFFCMD": command}
    first.header.update({key: value for key, value in primary.items() if value is not None})
    second = fits.BinTableHDU.from_columns(
        [fits.Column(f"Region{k}", "D", array=column) for k, column in enumerate(columns)], name=EXTNAME
    )
    cards = {"NGAUSS": len(GAUSSIANS), "FWKERN": WIDTH, "CKORDER": ORDER, "BGORDER": 1}
    for k, (degree, sigma) in enumerate(GAUSSIANS):
        cards |= {f"DGAUSS{k + 1}": degree, f"SGAUSS{k + 1}": sigma}
    second.header.update({key: value for key, value in (cards | (table or {})).items() if value is not None})
    fits.HDUList([first, second]).writeto(path)
    return path


def reference_kernel(vector: np.ndarray, frame: tuple[int, int, int, int], x: float, y: float) -> np.ndarray:
    """HOTPANTS' kernel at a position, element by element."""
    left, bottom, width, height = frame
    xf = (x - left - width / 2) / (width / 2)
    yf = (y - bottom - height / 2) / (height / 2)
    half = WIDTH // 2

    def function(sigma: float, power: int, t: int) -> float:
        return math.exp(-(t**2) / (2 * sigma**2)) * t**power

    kernel = np.zeros((WIDTH, WIDTH))
    position = 2
    first = None
    for degree, sigma in GAUSSIANS:
        for i in range(degree + 1):
            for j in range(degree - i + 1):
                even = i % 2 == 0 and j % 2 == 0
                sum_x = sum(function(sigma, i, t) for t in range(-half, half + 1)) if even else 1.0
                sum_y = sum(function(sigma, j, t) for t in range(-half, half + 1)) if even else 1.0
                image = np.zeros((WIDTH, WIDTH))
                for v in range(WIDTH):
                    for u in range(WIDTH):
                        image[v, u] = function(sigma, i, u - half) / sum_x * function(sigma, j, v - half) / sum_y
                if first is None:
                    first = image
                    kernel += vector[1] * image
                    continue
                if even:
                    image = image - first
                factor = 0.0
                for a in range(ORDER + 1):
                    for b in range(ORDER - a + 1):
                        factor += vector[position] * xf**a * yf**b
                        position += 1
                kernel += factor * image
    return kernel


def assert_same(actual: np.ndarray, expected: np.ndarray) -> None:
    # HOTPANTS' Gaussians are of single precision.
    np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-6 * np.abs(expected).max())


def test_hotpants_regions_are_evaluated_as_the_format_says(tmp_path: Path) -> None:
    columns = vectors(2)
    matching = read_kernel(write_hotpants(tmp_path / "k.fits", columns))
    assert matching.kernel.boxes == (Box(0, 0, 100, 120), Box(99, 0, 200, 120))
    for x, y in [(0, 0), (50, 17), (98, 119)]:
        assert_same(matching.kernel.at(x, y), reference_kernel(columns[0], FRAMES[0], x, y))
    # The column that both regions have is the later one's.
    for x, y in [(99, 60), (150, 3), (199, 119)]:
        assert_same(matching.kernel.at(x, y), reference_kernel(columns[1], FRAMES[1], x, y))


def test_hotpants_sides_change_roles_from_region_to_region(tmp_path: Path) -> None:
    columns = vectors(2)
    matching = read_kernel(write_hotpants(tmp_path / "k.fits", columns))
    assert matching.convolved == ("template", "science")
    # Brought to the image's system: divided by the kernel sum where the image was convolved.
    assert matching.normalized == (False, True)
    science, template = matching.sides()
    delta = np.zeros((WIDTH, WIDTH))
    delta[3, 3] = 1.0
    assert_same(science.at(20, 50), delta)
    assert_same(template.at(20, 50), reference_kernel(columns[0], FRAMES[0], 20, 50))
    assert_same(science.at(150, 50), reference_kernel(columns[1], FRAMES[1], 150, 50) / 3.0)
    assert_same(template.at(150, 50), delta / 3.0)


@pytest.mark.parametrize(
    ("photnorm", "normalized"), [("t", (True, False)), ("i", (False, True)), ("u", (False, False))]
)
def test_hotpants_normalisation(tmp_path: Path, photnorm: str, normalized: tuple[bool, bool]) -> None:
    path = write_hotpants(tmp_path / "k.fits", vectors(2), PRIMARY | {"PHOTNORM": photnorm})
    assert read_kernel(path).normalized == normalized


@pytest.mark.parametrize(
    ("command", "regions", "frames"),
    [
        # More stamps than fit (200/2/10 - 7 = 3 < 11): 11 + 7 = 18, made odd, is 17.
        (COMMAND.replace("-nsx 2 -nsy 2", ""), None, ((0, 0, 108, 120), (91, 0, 109, 120))),
        # The default half-width of a substamp is 15: 31 + 7 = 38, made odd, is 37.
        (COMMAND.replace("-nsx 2 -nsy 2 -rss 5", ""), None, ((0, 0, 118, 120), (81, 0, 119, 120))),
        # HOTPANTS does not tell upper from lower case. min(200/2/1, 120/1/2) - 7 = 53.
        (COMMAND.replace("-nsx 2", "-NSX 1"), None, ((0, 0, 126, 120), (73, 0, 127, 120))),
        # Part of the image: nothing grows beyond it, and stamps are measured on the whole image all the same.
        (
            COMMAND + " -gd 10 190 20 100",
            ("[11:95,21:100]", "[105:190,21:100]"),
            ((10, 20, 106, 80), (83, 20, 107, 80)),
        ),
        # Regions from a file: -nrx and -nry are 1. min(200/1/2, 120/1/2) - 7 = 53.
        (
            COMMAND.replace("-nrx 2 -nry 1", "-rf regions.txt"),
            ("[21:100,11:110]", "[90:180,1:80]"),
            ((0, 0, 126, 120), (63, 0, 137, 106)),
        ),
    ],
)
def test_hotpants_buffered_regions(
    tmp_path: Path,
    command: str,
    regions: tuple[str, str] | None,
    frames: tuple[tuple[int, int, int, int], ...],
) -> None:
    columns = vectors(2)
    primary = PRIMARY | (dict(zip(TWO_REGIONS, regions, strict=True)) if regions else {})
    matching = read_kernel(write_hotpants(tmp_path / "k.fits", columns, primary, command=command))
    for x, k in [(60, 0), (150, 1)]:
        assert_same(matching.kernel.at(x, 41), reference_kernel(columns[k], frames[k], x, 41))


def test_hotpants_single_region_of_part_of_the_image(tmp_path: Path) -> None:
    (column,) = vectors(1)
    primary = {"REGION00": "[11:190,21:100]", "CONVOL00": "IMAGE", "PHOTNORM": "t"}
    matching = read_kernel(
        write_hotpants(tmp_path / "gd.fits", [column], primary, command="hotpants -gd 10 190 20 100")
    )
    assert matching.kernel.boxes == (Box(10, 20, 190, 100),)
    assert_same(matching.kernel.at(30, 40), reference_kernel(column, (10, 20, 180, 80), 30, 40))
    assert not matching.kernel.at(9, 40).any()
    # From a region file it grows by half a kernel width.
    matching = read_kernel(write_hotpants(tmp_path / "rf.fits", [column], primary, command="hotpants -rf r.txt"))
    assert_same(matching.kernel.at(30, 40), reference_kernel(column, (7, 17, 186, 86), 30, 40))


def test_hotpants_kernel_in_a_file_of_its_own(tmp_path: Path) -> None:
    columns = vectors(2)
    primary = PRIMARY | {"PHOTNORM": None}
    path = write_hotpants(tmp_path / "k.fits", columns, primary, {"PHOTNORM": "i"}, command=None, shape=None)
    assert read_kernel(path, (120, 200), DIFFCMD).normalized == (False, True)
    assert_same(read_kernel(path, None, DIFFCMD).kernel.at(150, 50), reference_kernel(columns[1], FRAMES[1], 150, 50))
    # The file has no DIFFCMD, so the default number of stamps is all there is to go by.
    with pytest.warns(DecorrWarning, match=r"k\.fits.*without the card DIFFCMD"):
        matching = read_kernel(path, (120, 200))
    assert_same(matching.kernel.at(150, 50), reference_kernel(columns[1], (81, 0, 119, 120), 150, 50))


def test_hotpants_single_region_in_a_file_of_its_own_needs_no_command(tmp_path: Path) -> None:
    (column,) = vectors(1)
    primary = {"REGION00": "[1:200,1:120]", "CONVOL00": "TEMPLATE"}
    path = write_hotpants(tmp_path / "k.fits", [column], primary, {"PHOTNORM": "t"}, command=None, shape=None)
    matching = read_kernel(path)
    assert matching.kernel.boxes == ()
    assert matching.normalized == (True,)
    assert_same(matching.kernel.at(30, 40), reference_kernel(column, (0, 0, 200, 120), 30, 40))
    # Of a larger difference the kernel covers a part.
    assert read_kernel(path, (150, 200)).kernel.boxes == (Box(0, 0, 200, 120),)


def test_hotpants_region_without_a_kernel_is_left_out(tmp_path: Path) -> None:
    columns = vectors(2)
    primary = PRIMARY | {"REGION00": None, "CONVOL00": None}
    path = write_hotpants(tmp_path / "k.fits", [np.zeros(ROWS), columns[1]], primary)
    with pytest.warns(DecorrWarning, match=r"k\.fits.*no kernel in region 0"):
        matching = read_kernel(path)
    assert matching.kernel.boxes == (Box(99, 0, 200, 120),)
    assert matching.convolved == ("science",)
    assert_same(matching.kernel.at(150, 50), reference_kernel(columns[1], FRAMES[1], 150, 50))


def test_hotpants_cards_copied_from_the_science_image_do_not_count(tmp_path: Path) -> None:
    old = PRIMARY | {"REGION00": "[1:9,1:9]", "CONVOL01": "TEMPLATE", "PHOTNORM": "t"}
    path = write_hotpants(tmp_path / "k.fits", vectors(2), old, command="hotpants -nsx 1 -nsy 1")
    with fits.open(path, mode="update") as hdus:
        for key, value in (PRIMARY | {"DIFFCMD": COMMAND}).items():
            hdus[0].header.append((key, value), end=True)
    matching = read_kernel(path)
    assert matching.kernel.boxes == (Box(0, 0, 100, 120), Box(99, 0, 200, 120))
    assert (matching.convolved, matching.normalized) == (("template", "science"), (False, True))
    assert_same(matching.kernel.at(150, 50), reference_kernel(vectors(2)[1], FRAMES[1], 150, 50))


def test_hotpants_tables_are_recognised(tmp_path: Path) -> None:
    with fits.open(write_hotpants(tmp_path / "k.fits", vectors(2))) as hdus:
        assert is_hotpants(hdus)
        assert not is_hotpants(hdus[:1])
        assert read_hotpants(hdus, "k.fits").name == f"k.fits[{hdus[1].name}]"


def with_value(column: int, row: int, value: float) -> list[np.ndarray]:
    columns = vectors(2)
    columns[column][row] = value
    return columns


@pytest.mark.parametrize(
    ("columns", "primary", "table", "cause"),
    [
        ([np.zeros(ROWS)] * 2, {}, {}, r"nothing but zeros.*-hki and -oki"),
        ([np.zeros(ROWS)] * 2, {"KERFILE": "other.fits"}, {"NGAUSS": None}, r"nothing but zeros.*\(other\.fits\)"),
        ([vectors(1)[0], np.zeros(ROWS)], {}, {}, r"column 2.*region 1.*nothing but zeros"),
        (with_value(1, 1, np.nan), {}, {}, "not finite"),
        (with_value(0, 91, np.inf), {}, {}, "not finite"),
        ([v[:91] for v in vectors(2)], {}, {}, r"has 91 rows.*16 basis images of spatial order 2 need 92"),
        (vectors(1), {}, {}, r"has 1 column, .*REGION00, REGION01"),
        (vectors(3), {}, {}, r"has 3 columns, .*REGION00, REGION01"),
        (vectors(2), {}, {"NGAUSS": None}, "NGAUSS is missing"),
        (vectors(2), {}, {"NGAUSS": 0}, "NGAUSS is 0"),
        (vectors(2), {}, {"NGAUSS": 3}, "DGAUSS3 is missing"),
        (vectors(2), {}, {"NGAUSS": 10**6}, "NGAUSS is 1000000"),
        (vectors(2), {}, {"DGAUSS2": -1}, "DGAUSS2 is -1"),
        (vectors(2), {}, {"DGAUSS2": 2.5}, r"DGAUSS2 is 2\.5"),
        (vectors(2), {}, {"DGAUSS2": 500}, "DGAUSS2 is 500"),
        (vectors(2), {}, {"SGAUSS1": None}, "SGAUSS1 is missing"),
        (vectors(2), {}, {"SGAUSS1": 0.0}, r"SGAUSS1 is 0\.0"),
        (vectors(2), {}, {"SGAUSS1": -0.7}, r"SGAUSS1 is -0\.7"),
        (vectors(2), {}, {"SGAUSS1": "wide"}, "SGAUSS1 is 'wide'"),
        (vectors(2), {}, {"SGAUSS1": 0.02}, "does not fit"),
        (vectors(2), {}, {"FWKERN": None}, "FWKERN is missing"),
        (vectors(2), {}, {"FWKERN": 8}, "FWKERN is 8, .* odd"),
        (vectors(2), {}, {"FWKERN": 0}, "FWKERN is 0"),
        (vectors(2), {}, {"FWKERN": -7}, "FWKERN is -7"),
        (vectors(2), {}, {"FWKERN": 100001}, "FWKERN is 100001"),
        (vectors(2), {}, {"FWKERN": 1}, "does not fit"),
        (vectors(2), {}, {"CKORDER": None}, "CKORDER is missing"),
        (vectors(2), {}, {"CKORDER": -1}, "CKORDER is -1"),
        (vectors(2), {}, {"CKORDER": True}, "CKORDER is True"),
        (vectors(2), {"REGION00": "1:100,1:120"}, {}, "REGION00 is '1:100,1:120'"),
        (vectors(2), {"REGION00": "[100:1,1:120]"}, {}, r"REGION00 is '\[100:1,1:120\]'"),
        (vectors(2), {"REGION00": "[0:100,1:120]"}, {}, r"REGION00 is '\[0:100,1:120\]'"),
        (vectors(2), {"REGION01": "[100:201,1:120]"}, {}, "REGION01 reaches beyond the image of 200 x 120"),
        (vectors(2), {"REGION00": None}, {}, "has the cards REGION01"),
        (vectors(2), {"REGION00": None, "REGION01": None}, {}, "no HDU of the file has the card REGION00"),
        (vectors(2), {"CONVOL01": "BOTH"}, {}, "CONVOL01 is 'BOTH'"),
        (vectors(2), {"CONVOL01": None}, {}, "CONVOL01, .* is missing"),
        (vectors(2), {"PHOTNORM": "x"}, {}, "PHOTNORM is 'x'"),
        (vectors(2), {"PHOTNORM": None}, {}, "PHOTNORM, .* is missing"),
        (vectors(2), {"DIFFCMD": "hotpants -nsx"}, {}, "DIFFCMD has -nsx"),
        (vectors(2), {"DIFFCMD": "hotpants -nsx ten"}, {}, "DIFFCMD has -nsx ten"),
        (vectors(2), {"DIFFCMD": "hotpants -nsx 0"}, {}, "-nsx 0"),
        (vectors(2), {"DIFFCMD": "hotpants -gd 1 2"}, {}, "DIFFCMD has -gd 1 2"),
    ],
)
def test_broken_hotpants_tables(
    tmp_path: Path, columns: list[np.ndarray], primary: dict[str, Any], table: dict[str, Any], cause: str
) -> None:
    command = None if "DIFFCMD" in primary else COMMAND
    path = write_hotpants(tmp_path / "broken.fits", columns, PRIMARY | primary, table, command)
    with pytest.raises(InputError, match=cause) as caught:
        read_kernel(path)
    message = str(caught.value)
    assert message.startswith(str(path))
    assert re.match(r".*broken\.fits\[.+\]: ", message)
    assert "\n" not in message


def test_hotpants_columns_of_something_else(tmp_path: Path) -> None:
    table = fits.BinTableHDU.from_columns([fits.Column("Region0", "8A", array=["a", "b"])], name=EXTNAME)
    fits.HDUList([fits.PrimaryHDU(), table]).writeto(tmp_path / "text.fits")
    with pytest.raises(InputError, match=r"column 1 .* plain numbers"):
        read_kernel(tmp_path / "text.fits")
    table = fits.BinTableHDU.from_columns([fits.Column("Region0", "D", array=[])], name=EXTNAME)
    fits.HDUList([fits.PrimaryHDU(), table]).writeto(tmp_path / "empty.fits")
    with pytest.raises(InputError, match="table is empty"):
        read_kernel(tmp_path / "empty.fits")


@pytest.mark.parametrize(
    ("cards", "cause"), [({}, "with -hki or -oki"), ({"KERFILE": "other.fits"}, r"written to other\.fits")]
)
def test_a_hotpants_difference_without_its_kernel_is_no_kernel(
    tmp_path: Path, cards: dict[str, str], cause: str
) -> None:
    hdu = fits.PrimaryHDU(np.ones((50, 50), np.float32))
    hdu.header.update({"KERINFO": False} | cards)
    hdu.writeto(tmp_path / "d.fits")
    with pytest.raises(InputError, match=cause):
        read_kernel(tmp_path / "d.fits")


# Kernel images


def a_kernel(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(height * 100 + width).normal(0.3, 1.0, (height, width))


@pytest.mark.parametrize("shape", [(5, 7), (6, 6), (4, 9), (1, 1)])
def test_image_of_any_size(tmp_path: Path, shape: tuple[int, int]) -> None:
    image = a_kernel(*shape)
    fits.writeto(tmp_path / "k.fits", image)
    matching = read_kernel(tmp_path / "k.fits")
    assert (matching.format, matching.convolved, matching.normalized) == ("image", (None,), (None,))
    assert matching.kernel.is_constant
    np.testing.assert_array_equal(matching.kernel.at(12, 345), image)


@pytest.mark.parametrize("dtype", [">f4", "<f4", ">f8", "<f8", ">i2", ">i4", "u1", "u2"])
def test_image_of_any_type(tmp_path: Path, dtype: str) -> None:
    image = np.abs(100 * a_kernel(5, 5)).astype(dtype)
    fits.writeto(tmp_path / "k.fits", image)
    kernel = read_kernel(tmp_path / "k.fits").kernel.at(0, 0)
    assert kernel.dtype == np.dtype("=f8")
    np.testing.assert_array_equal(kernel, image)


def test_image_of_scaled_integers(tmp_path: Path) -> None:
    image = a_kernel(5, 5)
    hdu = fits.PrimaryHDU(image.copy())
    hdu.scale("int16", bscale=1e-4, bzero=0.5)
    hdu.writeto(tmp_path / "k.fits")
    np.testing.assert_allclose(read_kernel(tmp_path / "k.fits").kernel.at(0, 0), image, atol=6e-5)


def test_image_with_idle_axes_and_compressed_images(tmp_path: Path) -> None:
    image = a_kernel(5, 6)
    fits.writeto(tmp_path / "axes.fits", image[None, None])
    np.testing.assert_array_equal(read_kernel(tmp_path / "axes.fits").kernel.at(0, 0), image)
    fits.writeto(tmp_path / "k.fits.gz", image)
    np.testing.assert_array_equal(read_kernel(tmp_path / "k.fits.gz").kernel.at(0, 0), image)
    packed = fits.CompImageHDU(image.astype(np.float32), compression_type="GZIP_2", quantize_level=0)
    fits.HDUList([fits.PrimaryHDU(), packed]).writeto(tmp_path / "k.fits.fz")
    np.testing.assert_array_equal(read_kernel(tmp_path / "k.fits.fz").kernel.at(0, 0), image.astype(np.float32))


def test_image_in_a_chosen_hdu(tmp_path: Path) -> None:
    images = [a_kernel(3, width) for width in (3, 4, 5)]
    hdus = fits.HDUList([fits.PrimaryHDU(), *(fits.ImageHDU(image, name="KER") for image in images)])
    for version, hdu in enumerate(hdus[1:], 1):
        hdu.ver = version
    hdus.append(fits.ImageHDU(a_kernel(2, 2), name="OTHER"))
    path = tmp_path / "k.fits"
    hdus.writeto(path)
    for spec, image in [("", images[0]), ("[2]", images[1]), ("[KER,3]", images[2]), ("[other]", a_kernel(2, 2))]:
        np.testing.assert_array_equal(read_kernel(f"{path}{spec}").kernel.at(0, 0), image)
    assert read_kernel(f"{path}[KER,3]").name == f"{path}[KER,3]"
    with pytest.raises(InputError, match=re.escape(f"{path}: there is no HDU [NONE]")):
        read_kernel(f"{path}[NONE]")
    with pytest.raises(InputError, match=r"k\.fits\[0\]: holds no kernel"):
        read_kernel(f"{path}[0]")


@pytest.mark.parametrize(
    ("image", "cause"),
    [
        (np.array([[1.0, np.nan], [0.0, 1.0]]), "not finite"),
        (np.array([[1.0, -np.inf], [0.0, 1.0]]), "not finite"),
        (np.zeros((5, 5)), "nothing but zeros"),
        (np.ones(5), "2-D image, not an array of 1 dimension$"),
        (np.ones((0, 5)), "no pixels"),
        (np.ones((3, 1002)), "1002 x 3 pixels look like an image"),
        (np.ones((2, 3, 3)), "cube of kernels needs a table|2-D image, not an array of 3 dimensions"),
    ],
)
def test_images_that_are_no_kernels(tmp_path: Path, image: np.ndarray, cause: str) -> None:
    path = tmp_path / "k.fits"
    fits.writeto(path, image)
    with pytest.raises(InputError, match=cause) as caught:
        read_kernel(path)
    assert str(caught.value).startswith(f"{path}: ")
    fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(image, name="KER")]).writeto(path, overwrite=True)
    with pytest.raises(InputError, match=cause) as caught:
        read_kernel(path)
    assert str(caught.value).startswith(f"{path}[KER]: ")
    with pytest.raises(InputError, match=cause) as caught:
        kernel_from_array(image, "my kernel")
    assert str(caught.value).startswith("my kernel: ")


def test_array() -> None:
    image = a_kernel(4, 5)
    matching = kernel_from_array(image.astype(">f4"))
    assert isinstance(matching, MatchingKernel)
    assert matching.kernel.basis.dtype == np.dtype("=f8")
    np.testing.assert_array_equal(matching.kernel.at(3, 4), image.astype("f4"))
    assert kernel_from_array([[0, 1], [2, 3]]).kernel.sum_at(0, 0) == 6.0
    for other in (np.ones((3, 3), complex), np.full((3, 3), "a")):
        with pytest.raises(InputError, match="real numbers"):
            kernel_from_array(other)


def test_files_that_hold_no_kernel(tmp_path: Path) -> None:
    fits.PrimaryHDU().writeto(tmp_path / "bare.fits")
    with pytest.raises(InputError, match=r"bare\.fits: holds no kernel of a known format.*HOTPANTS.*cube.*image"):
        read_kernel(tmp_path / "bare.fits")
    with pytest.raises(InputError, match=r"none\.fits: no such file"):
        read_kernel(tmp_path / "none.fits[1]")
    (tmp_path / "k.fits").write_text("hello")
    with pytest.raises(InputError, match=r"k\.fits: not a FITS file"):
        read_kernel(tmp_path / "k.fits")


# Grids of kernels


def a_grid(generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    x, y = (axis.ravel() for axis in np.meshgrid([10.0, 50.0, 100.0], [20.0, 60.5]))
    order = generator.permutation(6)
    return generator.normal(size=(6, 5, 4)), x[order], y[order]


def test_grid_is_bilinear_between_its_positions(tmp_path: Path) -> None:
    cube, x, y = a_grid(np.random.default_rng(5))
    write_grid_kernel(tmp_path / "grid.fits", cube, x, y)
    matching = read_kernel(tmp_path / "grid.fits")
    assert (matching.format, matching.parent_frame) == ("grid", True)
    assert matching.kernel.basis.dtype == np.float64
    by_position = {(a, b): image for a, b, image in zip(x, y, cube, strict=True)}
    for (a, b), image in by_position.items():
        np.testing.assert_allclose(matching.kernel.at(a, b), image, atol=1e-14)
    # A quarter of the way from 50 to 100, two thirds of the way from 20 to 60.5.
    expected = (
        0.75 / 3 * by_position[50.0, 20.0]
        + 0.25 / 3 * by_position[100.0, 20.0]
        + 1.5 / 3 * by_position[50.0, 60.5]
        + 0.5 / 3 * by_position[100.0, 60.5]
    )
    np.testing.assert_allclose(matching.kernel.at(62.5, 47.0), expected, atol=1e-14)
    # Outside, the outermost kernel holds.
    np.testing.assert_allclose(matching.kernel.at(-5, 0), by_position[10.0, 20.0], atol=1e-14)


def test_grid_along_one_axis_and_of_one_kernel(tmp_path: Path) -> None:
    cube = a_grid(np.random.default_rng(6))[0]
    write_grid_kernel(tmp_path / "line.fits", cube[:2], [10, 30], [7, 7])
    np.testing.assert_allclose(read_kernel(tmp_path / "line.fits").kernel.at(15, 99), 0.75 * cube[0] + 0.25 * cube[1])
    write_grid_kernel(tmp_path / "one.fits", cube[:1], [10], [7])
    one = read_kernel(tmp_path / "one.fits")
    assert one.format == "grid"
    assert one.kernel.is_constant
    np.testing.assert_array_equal(one.kernel.at(500, 500), cube[0])


def test_grid_of_any_type_and_layout(tmp_path: Path) -> None:
    cube, x, y = a_grid(np.random.default_rng(7))
    table = fits.BinTableHDU.from_columns(
        [fits.Column("ID", "J", array=np.arange(6)), fits.Column("y", "E", array=y), fits.Column("x", "I", array=x)]
    )
    fits.HDUList([fits.PrimaryHDU(cube.astype(">f4")), table]).writeto(tmp_path / "grid.fits")
    for spec in ("", "[0]"):
        matching = read_kernel(f"{tmp_path / 'grid.fits'}{spec}")
        np.testing.assert_allclose(matching.kernel.at(x[2], y[2]), cube[2], rtol=1e-6)


def test_written_grid_has_valid_checksums(tmp_path: Path) -> None:
    path = tmp_path / "grid.fits"
    cube, x, y = a_grid(np.random.default_rng(8))
    write_grid_kernel(path, cube, x, y)
    with fits.open(path, checksum=True) as hdus:
        assert [hdu.name for hdu in hdus] == ["PRIMARY", "KERNEL", "POSITIONS"]
        assert all("CHECKSUM" in hdu.header and "DATASUM" in hdu.header for hdu in hdus)
        hdus.verify("exception")
        np.testing.assert_array_equal(hdus["KERNEL"].data, cube)
    before = path.read_bytes()
    with pytest.raises(InputError, match=r"grid\.fits: the file exists"):
        write_grid_kernel(path, 2 * cube, x, y)
    assert path.read_bytes() == before
    write_grid_kernel(path, 2 * cube, x, y, overwrite=True)
    np.testing.assert_allclose(read_kernel(path).kernel.at(x[0], y[0]), 2 * cube[0])
    with pytest.raises(InputError, match="cannot be written"):
        write_grid_kernel(tmp_path / "none" / "grid.fits", cube, x, y)


@pytest.mark.parametrize(
    ("cube", "x", "y", "cause"),
    [
        (np.ones((4, 3, 3)), [0, 1, 0, 0], [0, 0, 1, 1], "same position"),
        (np.ones((3, 3, 3)), [0, 1, 2], [0, 1, 2], "lie on one line"),
        (np.ones((3, 3, 3)), [0, 1e4, 2e4], [0, 10000, 20000.001], "lie on one line"),
        (np.ones((2, 3, 3)), [0, 1], [0, 1], "lie on one line"),
        (np.ones((2, 3, 3)), [5, 5], [5, 5], "same position"),
        (np.ones((2, 3, 3)), [0, np.nan], [0, 0], "position .* not finite"),
        (np.ones((2, 3, 3)), [0, 1, 2], [0, 0, 0], "cube of 2 kernels, but 3 positions"),
        (np.stack([np.ones((3, 3)), np.zeros((3, 3))]), [0, 1], [0, 0], "nothing but zeros"),
        (np.stack([np.ones((3, 3)), np.full((3, 3), np.nan)]), [0, 1], [0, 0], "not finite"),
        (np.ones((2, 1, 1002)), [0, 1], [0, 0], "look like an image"),
        (np.ones((2, 2, 3, 3)), [0, 1], [0, 0], "not an array of 4 dimensions"),
        (np.ones((2, 0, 3)), [0, 1], [0, 0], "no pixels"),
    ],
)
def test_grids_that_are_none(tmp_path: Path, cube: np.ndarray, x: list[float], y: list[float], cause: str) -> None:
    path = tmp_path / "grid.fits"
    with pytest.raises(InputError, match=cause):
        write_grid_kernel(path, cube, x, y)
    assert not path.exists()
    columns = [fits.Column(name, "D", array=values) for name, values in (("X", x), ("Y", y))]
    fits.HDUList([fits.PrimaryHDU(cube), fits.BinTableHDU.from_columns(columns)]).writeto(path)
    with pytest.raises(InputError, match=cause) as caught:
        read_kernel(path)
    assert str(caught.value).startswith(f"{path}[0]: ")


def test_grid_positions_of_something_else(tmp_path: Path) -> None:
    columns = [fits.Column("X", "4A", array=["a", "b"]), fits.Column("Y", "D", array=[0.0, 1.0])]
    table = fits.BinTableHDU.from_columns(columns, name="POSITIONS")
    fits.HDUList([fits.PrimaryHDU(np.ones((2, 3, 3))), table]).writeto(tmp_path / "grid.fits")
    with pytest.raises(InputError, match=r"grid\.fits\[POSITIONS\]: column X is not a column of plain numbers"):
        read_kernel(tmp_path / "grid.fits")
