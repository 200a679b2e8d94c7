"""HOTPANTS' kernel tables: what they say, and what is wrong with them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits

from diffim_decorr import DecorrWarning, InputError, read_kernel
from diffim_decorr.geometry import Box
from diffim_decorr.io.kernels.hotpants import is_hotpants, read_hotpants
from diffim_decorr.kernels.coefficients import PolynomialCoefficients
from support.command import refused, succeed
from support.data import JWST, needs_jwst
from support.hotpants import Hotpants, Region

EXTNAME = "Convolution Kernel Information"


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
    """HOTPANTS' kernel at a position; the frame of the region is (x0, y0, width, height)."""
    left, bottom, width, height = frame
    terms = (ORDER + 1) * (ORDER + 2) // 2
    coefficients = np.zeros((16, terms))
    coefficients[0, 0] = vector[1]
    coefficients[1:] = vector[2 : 2 + 15 * terms].reshape(15, terms)
    box = left, bottom, left + width, bottom + height
    whole = (0, 0, 10**6, 10**6)
    return Hotpants((120, 200), GAUSSIANS, WIDTH, ORDER, [Region(whole, box, coefficients)]).at(x, y)


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
        ([np.full(ROWS, np.nan)] * 2, {}, {}, "not finite"),
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
        (
            vectors(2),
            {"REGION00": None, "REGION01": None},
            {},
            "neither the file nor the difference has the card REGION00",
        ),
        (vectors(2), {"CONVOL01": "BOTH"}, {}, "CONVOL01 is 'BOTH'"),
        (vectors(2), {"CONVOL01": None}, {}, "CONVOL01, .* is missing"),
        (vectors(2), {"PHOTNORM": "x"}, {}, "PHOTNORM is 'x'"),
        (vectors(2), {"PHOTNORM": None}, {}, "PHOTNORM, .* is missing"),
        (vectors(2), {"DIFFCMD": "hotpants -nrx 2 -nsx"}, {}, "DIFFCMD has -nsx"),
        (vectors(2), {"DIFFCMD": "hotpants -nrx 2 -nsx ten"}, {}, "DIFFCMD has -nsx ten"),
        (vectors(2), {"DIFFCMD": "hotpants -nrx 2 -nsx 0"}, {}, "-nsx 0"),
        (vectors(2), {"DIFFCMD": "hotpants -nrx 2 -gd 1 2"}, {}, "DIFFCMD has -gd 1 2"),
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


# Files that lack something


def test_cards_of_a_table_that_was_kept_alone(tmp_path: Path) -> None:
    """As STDPipe keeps it: regions, sides and the command line are in the difference's header."""
    whole = read_kernel(write_hotpants(tmp_path / "whole.fits", vectors(2)), (120, 200))
    alone = write_hotpants(tmp_path / "alone.fits", vectors(2), {}, command=None, shape=None)
    header = fits.getheader(tmp_path / "whole.fits")
    kernel = read_kernel(alone, (120, 200), header)
    for x, y in ((20, 30), (150, 100)):
        np.testing.assert_array_equal(kernel.at(x, y), whole.at(x, y))
    assert kernel.convolved == ("template", "science")
    assert kernel.remarks == ()
    with pytest.raises(InputError, match="copy REGIONnn, CONVOLnn, PHOTNORM and DIFFCMD from HOTPANTS' difference"):
        read_kernel(alone, (120, 200))


@pytest.mark.parametrize("lost", ["PHOTNORM", "CONVOL01"])
def test_single_cards_are_those_of_the_difference(tmp_path: Path, lost: str) -> None:
    """Of the one with the same regions."""
    whole = write_hotpants(tmp_path / "whole.fits", vectors(2))
    partly = write_hotpants(tmp_path / "partly.fits", vectors(2), {**PRIMARY, lost: None})
    kernel = read_kernel(partly, (120, 200), fits.getheader(whole))
    assert (kernel.convolved, kernel.normalized) == (read_kernel(whole).convolved, read_kernel(whole).normalized)
    other = fits.getheader(whole)
    other["REGION01"] = "[101:200,1:120]"
    with pytest.raises(InputError, match=f"{lost}, .* is missing"):
        read_kernel(partly, (120, 200), other)


def test_a_region_whose_solution_is_not_finite_is_left_out(tmp_path: Path) -> None:
    columns = vectors(2)
    columns[0][3] = np.nan
    path = write_hotpants(tmp_path / "k.fits", columns)
    with pytest.warns(DecorrWarning, match="kernel of region 0 is not finite"):
        kernel = read_kernel(path, (120, 200))
    assert kernel.convolved == ("science",)
    assert kernel.kernel.boxes == (Box(99, 0, 200, 120),)
    with pytest.raises(InputError, match="has no kernel at position"):
        kernel.at(10, 10)
    columns[1][3] = np.inf
    with pytest.raises(InputError, match="not finite, in every region"):
        read_kernel(write_hotpants(tmp_path / "none.fits", columns), (120, 200))


@pytest.mark.parametrize("command", [" -hki", "s/t.fits -hki"])
def test_a_command_line_that_was_cut_off_is_not_believed(tmp_path: Path, command: str) -> None:
    """Only its end is left: it cannot be the one that made two regions."""
    with pytest.warns(DecorrWarning, match="DIFFCMD is cut off"):
        cut = read_kernel(write_hotpants(tmp_path / "cut.fits", vectors(2), command=command), (120, 200))
    with pytest.warns(DecorrWarning, match="without the card DIFFCMD"):
        without = read_kernel(write_hotpants(tmp_path / "without.fits", vectors(2), command=None), (120, 200))
    np.testing.assert_array_equal(cut.at(60, 60), without.at(60, 60))


def test_the_kernel_inside_the_difference_is_taken_without_being_named(folder: Path) -> None:
    with fits.open(folder / "diff.fits") as hdus:
        image, header = hdus[0].data, hdus[0].header
        ny, nx = image.shape
        header.update({"REGION00": f"[1:{nx},1:{ny}]", "CONVOL00": "TEMPLATE", "PHOTNORM": "i", "DIFFCMD": "x -hki"})
        table = fits.BinTableHDU.from_columns([fits.Column("Region0", "D", array=[0.0, 1.0, 0.0])], name=EXTNAME)
        table.header.update({"NGAUSS": 1, "DGAUSS1": 0, "SGAUSS1": 1.2, "FWKERN": 9, "CKORDER": 0, "BGORDER": 0})
        fits.HDUList([fits.PrimaryHDU(image, header), table]).writeto(folder / "hki.fits")
    images = ("sci.fits", "tmpl.fits", "hki.fits")
    succeed(folder, "run", *images, "-o", "one.fits")
    succeed(folder, "run", *images, "--kernel", "hki.fits", "-o", "two.fits")
    np.testing.assert_array_equal(fits.getdata(folder / "one.fits", 1), fits.getdata(folder / "two.fits", 1))
    assert fits.getheader(folder / "one.fits")["DCKFORM"] == "hotpants"
    named = ("run", "sci.fits", "tmpl.fits", "diff.fits", "-o", "three.fits")
    refused(folder, "diff.fits has no matching kernel inside", *named, status=2)
