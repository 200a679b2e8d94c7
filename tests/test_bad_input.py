"""Whatever a user hands over that cannot be used ends in one clear line, and nothing is written or lost."""

from __future__ import annotations

import gzip
import os
import shutil
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits
from command import INPUTS, PLANES, SHAPE, decorr, listing, make_inputs, quickly, write_exposure

NY, NX = SHAPE
Args = tuple[str, ...]
Spoil = Callable[[Path], Args]
Runner = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("good")
    make_inputs(folder)
    return folder


@pytest.fixture
def folder(good: Path, tmp_path: Path) -> Path:
    shutil.copytree(good, tmp_path, dirs_exist_ok=True)
    return tmp_path


def refuse(folder: Path, args: Args, says: tuple[str, ...], run: Runner = quickly, status: int = 3) -> None:
    """A command ends in one line."""
    before = listing(folder)
    done = run(folder, "run", *args)
    assert done.returncode == status, done.stderr
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1, done.stderr
    assert done.stderr.startswith("decorr: error: ")
    for text in says:
        assert text in done.stderr
    assert listing(folder) == before


# What can be wrong with a file of images


def cut(count: int) -> Callable[[Path], None]:
    return lambda path: os.truncate(path, count)


def write(content: bytes) -> Callable[[Path], None]:
    return lambda path: (path.unlink(), path.write_bytes(content))[0]


def be_directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


def be_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def card(text: str, keyword: str) -> Callable[[Path], None]:
    """Replace the first card of a keyword by text."""

    def edit(path: Path) -> None:
        content = path.read_bytes()
        begin = content.index(keyword.ljust(8).encode() + b"=")
        path.write_bytes(content[:begin] + text.ljust(80).encode() + content[begin + 80 :])

    return edit


def gzipped(content: bytes) -> bytes:
    return gzip.compress(content, mtime=0)


def pixels(array: Any) -> Callable[[Path], None]:
    return lambda path: fits.writeto(path, np.asarray(array), overwrite=True)


def table(path: Path) -> None:
    fits.BinTableHDU.from_columns([fits.Column("A", "D", array=[1.0])]).writeto(path, overwrite=True)


FILES = {
    "missing": (Path.unlink, "no such file"),
    "dangling link": (lambda path: (path.unlink(), path.symlink_to("nowhere"))[0], "no such file"),
    "empty": (cut(0), "the file is empty"),
    "text": (write(b"not an image\n"), "not a FITS file"),
    "directory": (be_directory, "is a directory"),
    "pipe": (be_pipe, "is not a regular file"),
    "begins like FITS": (write(b"SIMPLE and nothing else"), "truncated"),
    "cut in the header": (cut(1000), "the header has no end"),
    "cut in the data": (cut(2880 + 5000), "truncated: the header declares an array of 96 x 80"),
    "huge axis": (card("NAXIS1  = 999999999999", "NAXIS1"), "truncated: the header declares an array of 999999999999"),
    "huge product": (card("NAXIS2  = 9223372036854775807", "NAXIS2"), "truncated"),
    "negative axis": (card("NAXIS1  = -96", "NAXIS1"), "NAXIS1 = -96 is negative"),
    "axis of letters": (card("NAXIS1  = 'wide'", "NAXIS1"), "NAXIS1 = 'wide' is not a whole number"),
    "no axis": (card("COMMENT", "NAXIS1"), "there is no card NAXIS1"),
    "too many axes": (card("NAXIS   = 1000", "NAXIS"), "NAXIS = 1000 is not from 0 to 999"),
    "strange pixels": (card("BITPIX  = 33", "BITPIX"), "BITPIX = 33"),
    "not gzip": (write(b"\x1f\x8b" + 100 * b"no"), "damaged"),
    "cut gzip": (write(gzipped(5000 * b"SIMPLE")[:-20]), "damaged"),
    "gzipped text": (write(gzipped(b"not an image\n")), "what is compressed in it is not a FITS file"),
    "one axis": (pixels(np.ones(50)), "no HDU holds a 2-D image"),
    "three axes": (pixels(np.ones((3, 8, 9))), "no HDU holds a 2-D image"),
    "no pixels": (lambda path: fits.PrimaryHDU().writeto(path, overwrite=True), "no HDU holds a 2-D image"),
    "a table": (table, "no HDU holds a 2-D image"),
    "all NaN": (pixels(np.full(SHAPE, np.nan)), "not one pixel of the image holds data"),
    "another shape": (pixels(np.ones((NY, NX - 1), "f4")), f"{NX - 1} x {NY}"),
}


@pytest.mark.parametrize("defect", FILES)
def test_difference(folder: Path, defect: str) -> None:
    spoil, says = FILES[defect]
    spoil(folder / "diff.fits")
    refuse(folder, INPUTS, ("diff.fits", says))


@pytest.mark.parametrize("defect", ["missing", "text", "cut gzip", "huge axis"])
def test_in_a_process_of_its_own(folder: Path, defect: str) -> None:
    spoil, says = FILES[defect]
    spoil(folder / "diff.fits")
    refuse(folder, INPUTS, ("diff.fits", says), run=decorr)


@pytest.mark.parametrize("defect", ["missing", "text", "cut in the data", "three axes", "all NaN", "another shape"])
@pytest.mark.parametrize("name", ["sci.fits", "tmpl.fits"])
def test_science_and_template(folder: Path, name: str, defect: str) -> None:
    spoil, says = FILES[defect]
    shutil.copy(folder / "diff.fits", folder / name)
    spoil(folder / name)
    refuse(folder, INPUTS, (name, says))


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may read everything")
def test_file_that_may_not_be_read(folder: Path) -> None:
    (folder / "sci.fits").chmod(0)
    refuse(folder, INPUTS, ("sci.fits", "cannot be read: Permission denied"))


# HDUs and their headers


def exposure(path: Path, **planes: np.ndarray) -> None:
    good = {"image": np.ones(SHAPE, "f4"), "mask": np.zeros(SHAPE, "i4"), "variance": np.ones(SHAPE, "f4")}
    write_exposure(path, **{**good, **planes})


def variance_of(value: float) -> Spoil:
    return lambda folder: (exposure(folder / "sci.fits", variance=np.full(SHAPE, value, "f4")), INPUTS)[1]


def all_masked(plane: str) -> Spoil:
    mask = np.full(SHAPE, 1 << PLANES[plane], "i4")
    return lambda folder: (exposure(folder / "sci.fits", mask=mask), INPUTS)[1]


def with_bit(value: Any) -> Spoil:
    return lambda folder: (fits.setval(folder / "sci.fits", "MP_BAD", value=value, extname="MASK"), INPUTS)[1]


def two_images(folder: Path) -> Args:
    fits.append(folder / "tmpl.fits", np.ones((5, 6)), fits.Header([("EXTNAME", "OTHER")]))
    return ("sci.fits", "tmpl.fits[OTHER]", *INPUTS[2:])


def companion_of_another_shape(name: str) -> Spoil:
    def spoil(folder: Path) -> Args:
        with fits.open(folder / "sci.fits", mode="update") as hdus:
            hdus[name].data = hdus[name].data[:-2]
        return INPUTS

    return spoil


def companion_without_image(folder: Path) -> Args:
    with fits.open(folder / "sci.fits", mode="update") as hdus:
        hdus["VARIANCE"] = fits.BinTableHDU.from_columns([fits.Column("A", "D", array=[1.0])], name="VARIANCE")
    return INPUTS


def raw_card(name: str, keyword: str, text: str) -> Spoil:
    return lambda folder: (card(text, keyword)(folder / name), INPUTS)[1]


def parent_frames(folder: Path) -> Args:
    for name, ext, x0 in (("sci.fits", 1, 100), ("diff.fits", 0, 200)):
        with fits.open(folder / name, mode="update") as hdus:
            hdus[ext].header.update({"CTYPE1A": "LINEAR", "CRVAL1A": x0, "CRPIX1A": 1})
    return INPUTS


def decorrelated(folder: Path) -> Args:
    fits.setval(folder / "diff.fits", "DCVERS", value="0.1.0")
    return INPUTS


def given(position: int, spec: str) -> Spoil:
    return lambda folder: (*INPUTS[:position], spec, *INPUTS[position + 1 :])


def scaled(folder: Path) -> Args:
    fits.writeto(folder / "diff.fits", np.ones(SHAPE, "i2"), overwrite=True)
    with fits.open(folder / "diff.fits", mode="update", do_not_scale_image_data=True) as hdus:
        hdus[0].header["BSCALE"] = "two"
    return INPUTS


def damaged_tiles(folder: Path) -> Args:
    image = np.random.default_rng(1).normal(size=SHAPE).astype("f4")
    fits.HDUList([fits.PrimaryHDU(), fits.CompImageHDU(image)]).writeto(folder / "sci.fits", overwrite=True)
    content = bytearray((folder / "sci.fits").read_bytes())
    content[2 * 2880 + 2880 :] = bytes(len(content) - 3 * 2880)
    (folder / "sci.fits").write_bytes(content)
    return INPUTS


HDUS: dict[str, tuple[Spoil, tuple[str, ...]]] = {
    "number": (given(0, "sci.fits[9]"), ("sci.fits: there is no HDU [9]", "the file has 0 PRIMARY, 1 IMAGE, 2 MASK")),
    "name": (given(1, "tmpl.fits[NONE]"), ("tmpl.fits: there is no HDU [NONE]",)),
    "version": (given(1, "tmpl.fits[IMAGE,2]"), ("tmpl.fits: there is no HDU [IMAGE,2]",)),
    "version of letters": (given(1, "tmpl.fits[IMAGE,two]"), ("the version after the comma",)),
    "empty name": (given(0, "sci.fits[ ]"), ("sci.fits[ ]: the brackets name no HDU",)),
    "primary without pixels": (given(0, "sci.fits[0]"), ("sci.fits[0]: holds no 2-D image",)),
    "kernel's number": (given(4, "kernel.fits[3]"), ("kernel.fits: there is no HDU [3]",)),
    "smaller image": (two_images, ("tmpl.fits[OTHER]", "6 x 5 pixels")),
    "variance of another shape": (companion_of_another_shape("VARIANCE"), ("sci.fits[VARIANCE]", "has 96 x 78 pixels")),
    "mask of another shape": (companion_of_another_shape("MASK"), ("sci.fits[MASK]", "has 96 x 78 pixels")),
    "variance that is a table": (companion_without_image, ("sci.fits[VARIANCE]: holds no 2-D image",)),
    "variance of 0": (variance_of(0.0), ("sci.fits[IMAGE]", "no pixel has a variance > 0")),
    "variance below 0": (variance_of(-1.0), ("sci.fits[IMAGE]", "no pixel has a variance > 0")),
    "variance of NaN": (variance_of(np.nan), ("sci.fits[IMAGE]", "no pixel has a variance > 0")),
    "all masked": (all_masked("SAT"), ("sci.fits[IMAGE]", "every pixel is masked")),
    "bit of a plane": (with_bit(32), ("sci.fits[MASK]", "MP_BAD = 32 is not a bit number")),
    "bit of letters": (with_bit("x"), ("sci.fits[MASK]", "MP_BAD = 'x' is not a bit number")),
    "bit that is true": (with_bit(True), ("sci.fits[MASK]", "MP_BAD = True is not a bit number")),
    "card without sense": (raw_card("sci.fits", "EXTNAME", "EXTNAME = IMAGE"), ("sci.fits", "damaged FITS file")),
    "scale of letters": (scaled, ("diff.fits", "BSCALE = 'two' is not a number")),
    "compressed tiles": (damaged_tiles, ("sci.fits[COMPRESSED_IMAGE]", "damaged FITS file")),
    "parent frame": (
        lambda folder: (
            fits.setval(folder / "diff.fits", "CTYPE1A", value="LINEAR"),
            fits.setval(folder / "diff.fits", "CRVAL1A", value="left"),
            INPUTS,
        )[2],
        ("diff.fits", "CRVAL1A = 'left'"),
    ),
    "parent frames that differ": (parent_frames, ("sci.fits[IMAGE]", "diff.fits")),
    "decorrelated already": (decorrelated, ("diff.fits", "has been decorrelated already")),
}


@pytest.mark.parametrize("defect", HDUS)
def test_hdu(folder: Path, defect: str) -> None:
    spoil, says = HDUS[defect]
    refuse(folder, spoil(folder), says)


# Kernels and PSFs


def hotpants(**cards: Any) -> Callable[[Path], None]:
    def make(path: Path) -> None:
        column = fits.Column("Region0", "D", array=cards.pop("vector", [0.0, 1.0, 0.0]))
        hdu = fits.BinTableHDU.from_columns([column], name="Convolution Kernel Information")
        values = {"NGAUSS": 1, "DGAUSS1": 0, "SGAUSS1": 1.5, "FWKERN": 9, "CKORDER": 0, "BGORDER": 0, **cards}
        hdu.header.update({key: value for key, value in values.items() if value is not None})
        primary = fits.PrimaryHDU()
        region = {"NREGION": 1, "REGION00": f"[1:{NX},1:{NY}]", "CONVOL00": "TEMPLATE", "KSUM00": 1.0, "PHOTNORM": "i"}
        primary.header.update(region)
        fits.HDUList([primary, hdu]).writeto(path, overwrite=True)

    return make


KERNELS = {
    "missing": (Path.unlink, "no such file"),
    "text": (write(b"1 2 1\n"), "not a FITS file"),
    "NaN": (pixels(np.full((5, 5), np.nan)), "not finite"),
    "one NaN": (pixels([[0, 1, 0], [1, np.nan, 1], [0, 1, 0]]), "not finite"),
    "zero": (pixels(np.zeros((5, 5))), "nothing but zeros"),
    "one axis": (pixels(np.ones(9)), "must be a 2-D image"),
    "an image": (pixels(np.ones((1200, 1200), "f4")), "look like an image"),
    "larger than the images": (pixels(np.ones((NY + 1, 5))), "more than the image"),
    "cube without positions": (pixels(np.ones((4, 5, 5))), "needs a table with their positions"),
    "a table": (table, "holds no kernel of a known format"),
    "HOTPANTS table of zeros": (hotpants(vector=[0.0, 0.0, 0.0]), "zero"),
    "HOTPANTS table without width": (hotpants(FWKERN=None), "FWKERN"),
    "HOTPANTS table that is short": (hotpants(CKORDER=3, DGAUSS1=4), "kernel.fits"),
    "HOTPANTS width of letters": (hotpants(FWKERN="wide"), "FWKERN"),
}


@pytest.mark.parametrize("defect", KERNELS)
def test_kernel(folder: Path, defect: str) -> None:
    spoil, says = KERNELS[defect]
    spoil(folder / "kernel.fits")
    refuse(folder, INPUTS, ("kernel.fits", says))


PSFS = {
    "a table": (table, "no HDU holds a 2-D image"),
    "missing": (Path.unlink, "no such file"),
    "NaN": (pixels(np.full((5, 5), np.nan)), "not finite"),
    "zero": (pixels(np.zeros((5, 5))), "sum of 0"),
    "negative": (pixels(-np.ones((5, 5))), "sum of -25"),
    "one axis": (pixels(np.ones(9)), "must be a 2-D image"),
    "a cube": (pixels(np.ones((3, 5, 5))), "a table with their positions"),
    "an image": (pixels(np.ones((1200, 1200), "f4")), "look like an image"),
}


@pytest.mark.parametrize("defect", PSFS)
def test_psf(folder: Path, defect: str) -> None:
    spoil, says = PSFS[defect]
    spoil(folder / "psf.fits")
    refuse(folder, (*INPUTS, "--psf", "psf.fits"), ("psf.fits", says))


def test_psf_in_an_hdu_without_image(folder: Path) -> None:
    table(folder / "psf.fits")
    refuse(folder, (*INPUTS, "--psf", "psf.fits[1]"), ("psf.fits[1]: holds no image",))


def test_psf_of_an_input(folder: Path) -> None:
    fits.append(folder / "sci.fits", np.zeros((5, 5)), fits.Header([("EXTNAME", "PSF")]))
    refuse(folder, INPUTS, ("sci.fits[PSF]", "sum of 0"))


# Files beside the images


@pytest.mark.parametrize("kind", ["variance", "noise", "weight", "mask"])
def test_plane_of_another_shape(folder: Path, kind: str) -> None:
    fits.writeto(folder / "plane.fits", np.ones((NY, NX + 3), "i2"))
    refuse(folder, (*INPUTS, f"--tmpl-{kind}", "plane.fits"), ("plane.fits: has 99 x 80 pixels", "tmpl.fits[IMAGE]"))


@pytest.mark.parametrize("kind", ["variance", "noise", "weight"])
def test_plane_without_noise(folder: Path, kind: str) -> None:
    fits.writeto(folder / "plane.fits", np.zeros(SHAPE, "f4"))
    refuse(folder, (*INPUTS, f"--sci-{kind}", "plane.fits"), ("sci.fits[IMAGE]", "no pixel has a variance > 0"))


@pytest.mark.parametrize("pair", [("variance", "noise"), ("variance", "weight"), ("noise", "weight")])
def test_two_planes_of_one_image(folder: Path, pair: tuple[str, str]) -> None:
    fits.writeto(folder / "plane.fits", np.ones(SHAPE, "f4"))
    options = [text for kind in pair for text in (f"--sci-{kind}", "plane.fits")]
    refuse(folder, (*INPUTS, *options), ("sci.fits", "only one of a variance, a noise and a weight image"))


@pytest.mark.parametrize("option", ["--sci-mask", "--diff-mask", "--tmpl-noise"])
def test_missing_plane(folder: Path, option: str) -> None:
    refuse(folder, (*INPUTS, option, "plane.fits"), ("plane.fits: no such file",))


# Options


OPTIONS: dict[Args, str] = {
    ("--svar", "-1"): "svar must be",
    ("--tvar", "nan"): "tvar must be",
    ("--svar", "inf"): "svar must be",
    ("--svar", "0", "--tvar", "0"): "svar and tvar cannot both be 0",
    ("--tolerance", "0"): "tolerance must be",
    ("--tolerance", "1"): "tolerance must be",
    ("--max-gain", "0.5"): "max_gain must be",
    ("--bad-fraction", "2"): "bad_fraction must be",
    ("--node-spacing", "0"): "node_spacing must be",
    ("--threads", "0"): "threads must be",
    ("--kernel-at", "-1", "5"): "lies outside the image",
    ("--kernel-at", "5", str(NY)): "lies outside the image",
    ("--kernel-at", "nan", "5"): "lies outside the image",
    ("--kernel-at", "5", "5", "--spatial"): "kernel_at",
}


@pytest.mark.parametrize("options", OPTIONS, ids=" ".join)
def test_value_of_an_option(folder: Path, options: Args) -> None:
    refuse(folder, (*INPUTS, *options), (OPTIONS[options],))


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (INPUTS[:3], "--kernel"),
        (INPUTS[:2], "DIFF"),
        ((*INPUTS, "surplus.fits"), "surplus.fits"),
        ((*INPUTS, "--no-such-option"), "--no-such-option"),
        ((*INPUTS, "--tolerance", "small"), "--tolerance"),
        ((*INPUTS, "--threads", "1.5"), "--threads"),
        ((*INPUTS, "--kernel-at", "5"), "--kernel-at"),
        ((*INPUTS, "--convolved", "both"), "--convolved"),
        ((*INPUTS, "--variance", "none"), "--variance"),
        ((*INPUTS, "--noise", "pink"), "--noise"),
    ],
)
def test_usage(folder: Path, args: Args, says: str) -> None:
    before = listing(folder)
    done = quickly(folder, "run", *args)
    assert done.returncode == 2
    assert done.stdout == ""
    assert says in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr
    assert listing(folder) == before


def test_no_such_command(tmp_path: Path) -> None:
    done = quickly(tmp_path, "fly")
    assert done.returncode == 2
    assert "No such command 'fly'" in done.stderr


@pytest.mark.parametrize("option", ["--bad-planes", "--replace-planes"])
def test_plane_that_no_mask_has_is_worth_a_warning(folder: Path, option: str) -> None:
    done = quickly(folder, "run", *INPUTS, option, "SAT,STREAK", "-o", "out.fits")
    assert done.returncode == 0
    warning = [line for line in done.stderr.splitlines() if option in line]
    assert len(warning) == 1
    assert warning[0].startswith(f"decorr: warning: {option}: no mask has a plane STREAK; there are BAD, CR")


# Option files


CONFIGS = {
    "not TOML": ("tolerance 1e-3", "options.toml: not a TOML file"),
    "not text": (b"\xff\xfe\x00", "options.toml: not a TOML file"),
    "unknown option": ("tolerence = 1e-3", "options.toml: there is no option 'tolerence'"),
    "itself": ("config = 'a.toml'", "options.toml: there is no option 'config'"),
    "string for number": ("tolerance = 'small'", "options.toml: tolerance = 'small' is not a number"),
    "true for number": ("tolerance = true", "options.toml: tolerance = True is not a number"),
    "fraction for whole number": ("threads = 1.5", "options.toml: threads = 1.5 is not a whole number"),
    "number for flag": ("spatial = 1", "options.toml: spatial = 1 is not true or false"),
    "one of two numbers": ("kernel-at = [3]", "options.toml: kernel-at = [3] is not a list of 2 numbers"),
    "number for string": ("bad-planes = 3", "options.toml: bad-planes = 3 is not a string or a list of strings"),
    "list for string": ("psf = ['a', 'b']", "options.toml: psf = ['a', 'b'] is not a string"),
    "numbers in a list": ("bad-planes = [3]", "options.toml: bad-planes = [3] is not a string or a list of strings"),
    "no choice": ("variance = 'none'", "options.toml: variance: 'none' is not one of"),
    "table": ("[run]\ntolerance = 1e-3", "options.toml: there is no option 'run'"),
    "table for a value": ("[tolerance]\na = 1", "options.toml: tolerance = a table is not a number"),
    "value out of range": ("tolerance = 0", "tolerance must be"),
}


@pytest.mark.parametrize("defect", CONFIGS)
def test_option_file(folder: Path, defect: str) -> None:
    content, says = CONFIGS[defect]
    (folder / "options.toml").write_bytes(content if isinstance(content, bytes) else content.encode())
    refuse(folder, (*INPUTS, "--config", "options.toml"), (says,))


def test_option_file_that_is_not_there(folder: Path) -> None:
    refuse(folder, (*INPUTS, "--config", "options.toml"), ("options.toml: cannot be read: No such file",))
    refuse(folder, (*INPUTS, "--config", "."), (".: cannot be read: Is a directory",))


# Outputs


def make_directory(folder: Path) -> Args:
    (folder / "out.fits").mkdir()
    return "-o", "out.fits"


def occupied(folder: Path) -> Args:
    (folder / "out.fits").write_text("precious")
    return "-o", "out.fits"


def occupied_default(folder: Path) -> Args:
    (folder / "diff_decorr.fits").write_text("precious")
    return ()


def link(maker: Callable[[Path, Path], None], target: str) -> Spoil:
    return lambda folder: (maker(folder / "out.fits", folder / target), ("-o", "out.fits", "--overwrite"))[1]


def pipe(folder: Path) -> Args:
    os.mkfifo(folder / "out.fits")
    return "-o", "out.fits", "--overwrite"


def stack(out: str) -> Spoil:
    def spoil(folder: Path) -> Args:
        shutil.copy(folder / "tmpl.fits", folder / "deep.fits")
        (folder / "stack.toml").write_text("[[science]]\nnoise = 2.0\n[[template]]\nfile = 'deep.fits[IMAGE]'\n")
        return "--inputs", "stack.toml", "-o", out, "--overwrite"

    return spoil


def always(*args: str) -> Spoil:
    return lambda folder: args


OUTPUTS: dict[str, tuple[Spoil, tuple[str, ...]]] = {
    "science": (always("-o", "sci.fits"), ("sci.fits: the output is the same file as the input sci.fits",)),
    "template": (always("-o", "tmpl.fits", "--overwrite"), ("tmpl.fits: the output is the same file as the input",)),
    "difference": (always("-o", "./diff.fits", "--overwrite"), ("diff.fits: the output is the same file",)),
    "kernel": (always("-o", "kernel.fits", "--overwrite"), ("kernel.fits: the output is the same file",)),
    "PSF": (always("--psf", "psf.fits", "-o", "psf.fits", "--overwrite"), ("psf.fits: the output is the same file",)),
    "kernel of the science image": (
        always("--pre-conv-kernel", "psf.fits", "-o", "psf.fits", "--overwrite"),
        ("psf.fits: the output is the same file",),
    ),
    "list of images": (stack("stack.toml"), ("stack.toml: the output is the same file as the input",)),
    "image of a list": (stack("deep.fits"), ("deep.fits: the output is the same file as the input",)),
    "option file": (
        lambda folder: (
            (folder / "my.toml").write_text("spatial = true"),
            ("--config", "my.toml", "-o", "my.toml", "--overwrite"),
        )[1],
        ("my.toml: the output is the same file as the input",),
    ),
    "symbolic link": (link(Path.symlink_to, "tmpl.fits"), ("out.fits: the output is the same file as the input",)),
    "hard link": (link(Path.hardlink_to, "kernel.fits"), ("out.fits: the output is the same file as the input",)),
    "exists": (occupied, ("out.fits: the output exists already; --overwrite replaces it",)),
    "default exists": (occupied_default, ("diff_decorr.fits: the output exists already",)),
    "dangling link": (
        lambda folder: ((folder / "out.fits").symlink_to("nowhere"), ("-o", "out.fits"))[1],
        ("out.fits: the output exists already",),
    ),
    "no directory": (always("-o", "none/out.fits"), ("none/out.fits: there is no directory",)),
    "below a file": (always("-o", "sci.fits/out.fits"), ("sci.fits/out.fits: there is no directory",)),
    "directory": (make_directory, ("out.fits: the output is a directory",)),
    "name of a directory": (always("-o", "out/"), ("out/: there is no directory",)),
    "empty": (always("-o", ""), ("the name of the output is empty",)),
    "pipe": (pipe, ("out.fits: the output exists and is not a regular file",)),
    "long name": (always("-o", 300 * "x"), ("File name too long",)),
    "nowhere": (always("-o", "/proc/out.fits"), ("/proc/out.fits", "cannot be written")),
}


@pytest.mark.parametrize("defect", OUTPUTS)
def test_output(folder: Path, defect: str) -> None:
    if defect == "nowhere" and not Path("/proc").is_dir():
        pytest.skip("there is no /proc")
    spoil, says = OUTPUTS[defect]
    refuse(folder, (*INPUTS, *spoil(folder)), says)


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may write everywhere")
def test_directory_that_may_not_be_written(folder: Path) -> None:
    closed = folder / "closed"
    closed.mkdir()
    closed.chmod(stat.S_IRUSR | stat.S_IXUSR)
    refuse(folder, (*INPUTS, "-o", "closed/out.fits"), ("closed/out.fits", "cannot be written to"))


def test_line_breaks_in_names_do_not_break_lines(folder: Path) -> None:
    refuse(folder, ("sci\n.fits", *INPUTS[1:]), ("sci\\n.fits: no such file",))
