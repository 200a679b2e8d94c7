"""Inputs that contradict the roles they were given are told; what only looks different is not."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits

from diffim_decorr import Exposure, InputError, decorrelate
from support.command import OUT, refused, succeed
from support.files import INPUTS, SHAPE, has_plane
from support.kernels import gaussian
from support.noise import white

PIXEL = 0.2 / 3600
WCS: dict[str, Any] = {
    "CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRPIX1": 48.5, "CRPIX2": 40.5, "CRVAL1": 150.1, "CRVAL2": 2.2,
    "CUNIT1": "deg", "CUNIT2": "deg", "CD1_1": -PIXEL, "CD1_2": 0.0, "CD2_1": 0.0, "CD2_2": PIXEL, "RADESYS": "ICRS",
}  # fmt: skip
NAMES = ("sci", "tmpl", "diff")


def cards(folder: Path, name: str, **changed: Any) -> None:
    """Put cards into an image's header; None takes one out."""
    with fits.open(folder / f"{name}.fits", mode="update") as hdus:
        header = hdus[0 if name == "diff" else "IMAGE"].header
        for key, value in changed.items():
            if value is None:
                header.remove(key, ignore_missing=True)
            else:
                header[key] = value


def warnings(folder: Path, *more: object) -> list[str]:
    """What the command warns of."""
    lines = succeed(folder, "run", *INPUTS, *OUT, "--overwrite", *more).stderr.splitlines()
    assert all(line.startswith("decorr: warning: ") for line in lines)
    return [line.removeprefix("decorr: warning: ") for line in lines]


# Names of files


@pytest.mark.parametrize(
    ("science", "template", "names"),
    [
        ("TARGET", "TEMPLATE", ("tmpl.fits", "sci.fits")),
        ("NAME_SCI", "NAME_REF", ("/night/3/tmpl.fits.fz[1]", "../sci.fits.gz")),
        ("TARGET", "TEMPLATE", ("tmpl.fits", "elsewhere.fits")),
        ("SCIIMG", "REFIMG", ("x.fits", "sci.fits[IMAGE]")),
    ],
)
def test_files_that_are_swapped_by_the_difference(
    folder: Path, science: str, template: str, names: tuple[str, str]
) -> None:
    cards(folder, "diff", **{science: names[0], template: names[1]})
    (warning,) = warnings(folder, "--kernel-format", "image")
    assert warning.startswith("diff.fits: by its card ")
    assert "are files swapped? The order is SCI TMPL DIFF" in warning


@pytest.mark.parametrize(
    ("science", "template"),
    [
        ("sci.fits", "tmpl.fits"),
        ("/data/night/sci.fits.fz", "./tmpl.fits[0]"),
        ("SFFT/sci.fits+1", "C:\\data\\tmpl.fits"),
        ("M31", "none"),
        ("sci_aligned.fits", "sci_template.fits"),
        ("another.fits", "one.fits"),
        (7, True),
        ("", ""),
    ],
)
def test_files_that_are_not(folder: Path, science: Any, template: Any) -> None:
    """Folders, endings and HDUs do not count, nor does what names other files or none."""
    cards(folder, "diff", TARGET=science, TEMPLATE=template, NAME_SCI=science, NAME_REF=template)
    # A kernel without negative lobes is not what SFFT writes; it is the one all the same.
    assert warnings(folder, "--kernel-format", "image") == []


def test_files_of_one_name_in_several_folders(folder: Path) -> None:
    for name in ("sci", "tmpl"):
        (folder / name).mkdir()
        shutil.move(folder / f"{name}.fits", folder / name / "image.fits")
    cards(folder, "diff", TARGET="image.fits", TEMPLATE="image.fits")
    done = succeed(folder, "run", "sci/image.fits", "tmpl/image.fits", *INPUTS[2:], *OUT)
    assert done.stderr == ""


def test_a_difference_given_as_the_science_image(folder: Path) -> None:
    cards(folder, "sci", TARGET="diff.fits", TEMPLATE="tmpl.fits")
    (warning,) = warnings(folder)
    assert warning.startswith(
        "sci.fits[IMAGE]: is itself made of diff by its card TARGET, but was given as the science"
    )


# Places on the sky


def on_sky(folder: Path, **of_template: Any) -> None:
    for name in NAMES:
        cards(folder, name, **dict.fromkeys(("CD1_1", "CD1_2", "CD2_1", "CD2_2")))
        cards(folder, name, **WCS)
    cards(folder, "tmpl", **of_template)


APART: dict[str, tuple[dict[str, Any], str]] = {
    "shifted": ({"CRPIX1": 51.5}, "3 pixels"),
    "by more than a pixel": ({"CRPIX1": 49.6, "CRPIX2": 39.4}, "1.56 pixels"),
    "another pointing": ({"CRVAL1": 152.1}, "3.6e+04 pixels"),
    "turned": ({"CD1_1": PIXEL, "CD2_2": -PIXEL}, "pixels"),
    "other pixels": ({"CD1_1": -2 * PIXEL, "CD2_2": 2 * PIXEL}, "pixels"),
}


@pytest.mark.parametrize("case", APART)
def test_images_of_different_places(folder: Path, case: str) -> None:
    changed, says = APART[case]
    on_sky(folder, **changed)
    (warning,) = warnings(folder)
    assert warning.startswith("tmpl.fits[IMAGE]: lies ")
    assert f"{says} away from the difference diff.fits by its WCS" in warning
    assert "give the template that was aligned and subtracted" in warning


def test_the_science_image_tells_where_the_difference_does_not(folder: Path) -> None:
    on_sky(folder, CRPIX2=50.5)
    cards(folder, "diff", CTYPE1=None, CTYPE2=None)
    (warning,) = warnings(folder)
    assert "lies 10 pixels away from the science sci.fits[IMAGE] by its WCS" in warning


ALIKE: dict[str, dict[str, Any]] = {
    "the same": {},
    "a fit of its own": {"CRPIX1": 48.9, "CD1_1": -PIXEL * 1.001, "CD1_2": 1e-3 * PIXEL},
    "the form of CDELT": {
        **dict.fromkeys(("CD1_1", "CD1_2", "CD2_1", "CD2_2")), "CDELT1": -PIXEL, "CDELT2": PIXEL, "PC1_1": 1.0,
        "PC2_2": 1.0,
    },
    "another reference pixel": {"CRPIX1": 50.5, "CRVAL1": 150.1 - 2 * PIXEL / np.cos(np.radians(2.2))},
    "another system of about the same": {"RADESYS": "FK5", "EQUINOX": 2000.0},
    "galactic": {"CTYPE1": "GLON-TAN", "CTYPE2": "GLAT-TAN"},
    "of 1950": {"RADESYS": "FK4", "EQUINOX": 1950.0},
    "a small distortion": {"CTYPE1": "RA---TAN-SIP", "CTYPE2": "DEC--TAN-SIP", "A_ORDER": 2, "B_ORDER": 2,
                           "A_2_0": 1e-5, "B_0_2": 1e-5},
    "a distortion that is not announced": {"A_ORDER": 2, "B_ORDER": 2, "A_2_0": 1e-5, "B_0_2": 1e-5},
    "none": {"CTYPE1": None, "CTYPE2": None},
    "half of one": {"CTYPE2": None, "CD2_2": None},
    "not of the sky": {"CTYPE1": "LINEAR", "CTYPE2": "LINEAR", "CUNIT1": "pixel", "CUNIT2": "pixel", "RADESYS": None},
    "singular": {"CD1_1": 0.0, "CD2_2": 0.0},
    "no numbers": {"CRVAL1": "150.1 deg"},
    "unknown projection": {"CTYPE1": "RA---XYZ", "CTYPE2": "DEC--XYZ"},
    "lookup tables of another HDU": {"CPDIS1": "LOOKUP", "CPDIS2": "LOOKUP", "DP1": "EXTVER: 1.0"},
}  # fmt: skip


@pytest.mark.parametrize("case", ALIKE)
def test_the_same_place_in_other_words(folder: Path, case: str) -> None:
    """Nor is anything said where one of the headers does not tell."""
    on_sky(folder, **ALIKE[case])
    done = succeed(folder, "run", *INPUTS, *OUT, "--json")
    assert done.stderr == ""
    assert done.stdout.startswith("{")


# Units


@pytest.mark.parametrize(
    ("science", "template", "difference", "named"),
    [
        ("electron", "adu", "adu", "sci"),
        ("adu", "electron", "adu", "tmpl"),
        ("adu", "adu", "MJy/sr", "sci"),
        ("Jy", "mJy", "Jy", "tmpl"),
        ("adu/s", "adu", None, "tmpl"),
    ],
)
def test_units_that_contradict(folder: Path, science: str, template: str, difference: str | None, named: str) -> None:
    for name, unit in zip(NAMES, (science, template, difference), strict=True):
        cards(folder, name, BUNIT=unit)
    found = warnings(folder)
    assert found[0].startswith(f"{named}.fits[IMAGE]: its unit (BUNIT) is ")
    assert len(found) == 1 + (difference == "MJy/sr")


@pytest.mark.parametrize(
    ("science", "template", "difference"),
    [
        ("adu", "adu", "adu"),
        ("ADU", "counts", "DN"),
        ("electron", "e-", "electrons"),
        ("MJy/sr", "MJy sr-1", "MJy / sr"),
        ("uJy", "10**-6 Jy", "uJy"),
        (None, "electron", None),
        ("adu", None, "adu"),
        ("furlong", "adu", "adu"),
        ("", "  ", "adu"),
    ],
)
def test_units_that_do_not(folder: Path, science: str | None, template: str | None, difference: str | None) -> None:
    for name, unit in zip(NAMES, (science, template, difference), strict=True):
        cards(folder, name, BUNIT=unit)
    assert warnings(folder) == []


def test_a_kernel_converts_the_unit_of_the_template(folder: Path) -> None:
    """The template has a thousand times larger numbers, and the kernel a sum of a thousandth."""
    cards(folder, "diff", BUNIT="Jy")
    cards(folder, "sci", BUNIT="Jy")
    cards(folder, "tmpl", BUNIT="mJy")
    with fits.open(folder / "tmpl.fits", mode="update") as hdus:
        hdus["IMAGE"].data *= 1000
        hdus["VARIANCE"].data *= 1e6
    with fits.open(folder / "kernel.fits", mode="update") as hdus:
        hdus[0].data /= 1000
    assert warnings(folder) == []


# Pixels


def pixels(folder: Path, name: str, values: Any) -> None:
    with fits.open(folder / f"{name}.fits", mode="update") as hdus:
        data = hdus[0 if name == "diff" else "IMAGE"].data
        data[...] = values(data) if callable(values) else values


@pytest.mark.parametrize("value", [0.0, 100.0, -3.5])
def test_a_constant_difference(folder: Path, value: float) -> None:
    pixels(folder, "diff", lambda data: np.where(np.isfinite(data), value, np.nan))
    refused(folder, (f"diff.fits: all pixels of the difference have the value {value:g}", "there is no noise in it"),
            "run", *INPUTS, *OUT)  # fmt: skip


def test_a_difference_of_two_values_is_not_constant(folder: Path) -> None:
    """However late the other one comes; what is wrong with it the verdict says."""

    def almost(data: np.ndarray) -> np.ndarray:
        constant = np.zeros_like(data)
        constant[-1, -1] = 1
        return constant

    pixels(folder, "diff", almost)
    succeed(folder, "run", *INPUTS, *OUT)


@pytest.mark.parametrize("name", NAMES)
def test_no_data_at_all(folder: Path, name: str) -> None:
    pixels(folder, name, np.nan)
    refused(folder, (f"{name}.fits", "not one pixel of the image holds data"), "run", *INPUTS, *OUT)


@pytest.mark.parametrize(
    ("images", "says"),
    [
        (
            ("sci.fits", "tmpl.fits", "sci.fits"),
            "the difference has the same pixels as the science image sci.fits[IMAGE]",
        ),
        (("sci.fits", "tmpl.fits", "tmpl.fits"), "the difference has the same pixels as the template image"),
        (("sci.fits", "sci.fits", "diff.fits"), "the template has the same pixels as the science image"),
        (("copy.fits", "tmpl.fits", "sci.fits"), "the difference has the same pixels as the science image copy.fits"),
    ],
)
def test_one_image_in_two_roles(folder: Path, images: tuple[str, ...], says: str) -> None:
    """Whatever the files are called, and whatever else is in them."""
    fits.writeto(folder / "copy.fits", fits.getdata(folder / "sci.fits", "IMAGE").astype(">f8"))
    line = ("run", *images, *INPUTS[3:], "--svar", "4", *OUT)
    refused(folder, (says, "give three images, SCI TMPL DIFF in this order"), *line)


def test_images_of_arrays_are_looked_at_as_well() -> None:
    rng = np.random.default_rng(8)
    science, template = white(rng, SHAPE), white(rng, SHAPE)
    with pytest.raises(InputError, match="the difference has the same pixels as the science image"):
        decorrelate(science, template, science.copy(), gaussian(9, 1.4))
    with pytest.raises(InputError, match="all pixels of the difference have the value 0"):
        decorrelate(science, template, np.zeros(SHAPE), gaussian(9, 1.4))
    with pytest.raises(InputError, match="not one pixel of the difference holds data"):
        decorrelate(Exposure(science, 1.0), Exposure(template, 1.0), np.full(SHAPE, np.nan), gaussian(9, 1.4))


@pytest.mark.parametrize(("name", "value"), list(zip(NAMES, [1e35, -3e38, 1e31], strict=True)))
def test_values_that_no_pixel_has(folder: Path, name: str, value: float) -> None:
    """They count as missing, and nothing of them is left around them."""
    clean = succeed(folder, "run", *INPUTS, "-o", "clean.fits")
    assert clean.stderr == ""
    where = (60, 30)
    with fits.open(folder / f"{name}.fits", mode="update") as hdus:
        hdus[0 if name == "diff" else "IMAGE"].data[where] = value
    (warning,) = warnings(folder)
    assert warning.startswith(f"{name}.fits")
    assert "has pixels beyond 1e+30" in warning
    with fits.open(folder / "out.fits") as hdus, fits.open(folder / "clean.fits") as expected:
        image, mask = hdus["IMAGE"].data, hdus["MASK"]
        assert np.isnan(image[where])
        assert has_plane(mask, "NO_DATA")[where]
        unflagged = ~(has_plane(mask, "DECORR_BAD") | has_plane(mask, "NO_DATA"))
        unflagged &= ~has_plane(expected["MASK"], "NO_DATA")
        difference = np.abs(image - expected["IMAGE"].data)[unflagged]
    assert difference.max() < 0.2 * (2.0**2 + 1.5**2) ** 0.5
    assert np.mean(difference > 1e-3) < 0.2


def test_values_that_are_huge_for_the_noise(folder: Path) -> None:
    """In units in which the noise is small the largest number may be as well."""
    with fits.open(folder / "diff.fits", mode="update") as hdus:
        hdus[0].data[60, 30] = 1e14
    (warning,) = warnings(folder)
    assert warning.startswith("diff.fits: has pixels beyond 1e+30, or 1e+12 times the noise")


def test_bright_stars_are_no_such_values(folder: Path) -> None:
    with fits.open(folder / "diff.fits", mode="update") as hdus:
        hdus[0].data[60, 30] = 1e8
    assert not any("pixels beyond" in warning for warning in warnings(folder))


# Planes of noise


def sky() -> np.ndarray:
    """Noise about zero, and a star."""
    values = white(np.random.default_rng(9), SHAPE, 2.0**2)
    values[10:14, 10:14] += 500
    return values.astype("f4")


@pytest.mark.parametrize("side", ["sci", "tmpl"])
@pytest.mark.parametrize("option", ["variance", "noise", "weight"])
def test_an_image_of_the_sky_given_for_noise(folder: Path, side: str, option: str) -> None:
    fits.writeto(folder / "sky.fits", sky())
    fits.writeto(folder / "copy.fits", fits.getdata(folder / f"{side}.fits", "IMAGE"))
    for file, says in (
        ("sky.fits", "of its pixels are negative, as in an image of the sky"),
        ("copy.fits", f"has the same pixels as the image {side}.fits[IMAGE]"),
    ):
        refused(folder, (f"{file}: ", says, f"{option} image", "inverse variances (weight)"),
                "run", *INPUTS, f"--{side}-{option}", file, *OUT)  # fmt: skip


def test_the_image_on_its_pedestal_given_for_noise(folder: Path) -> None:
    """Nothing is negative there."""
    pixels(folder, "sci", lambda data: data + 1000)
    fits.writeto(folder / "copy.fits", fits.getdata(folder / "sci.fits", "IMAGE"))
    refused(folder, "copy.fits: has the same pixels as the image sci.fits[IMAGE], and so is not its variance image",
            "run", *INPUTS, "--sci-variance", "copy.fits", *OUT)  # fmt: skip


def test_companions_of_apply_are_looked_at_as_well(psi_runs: Path, tmp_path: Path) -> None:
    with fits.open(psi_runs / "sci.fits") as hdus:
        shape = hdus["IMAGE"].data.shape
    fits.writeto(tmp_path / "sky.fits", white(np.random.default_rng(9), shape).astype("f4"))
    line = ("apply", psi_runs / "sci.fits", "--psi", psi_runs / "step.fits", "--noise", "sky.fits", "-o", "o.fits")
    refused(tmp_path, "sky.fits: 49% of its pixels are negative", *line)


def plane_of(option: str) -> np.ndarray:
    return np.full(SHAPE, {"variance": 4.0, "noise": 2.0, "weight": 0.25}[option], "f4")


@pytest.mark.parametrize("option", ["variance", "noise", "weight"])
@pytest.mark.parametrize("marked", [-1.0, -1e30, 0.0, np.nan, "rounded", "few"])
def test_what_marks_missing_data_is_no_scatter(folder: Path, option: str, marked: Any) -> None:
    """A value of its own, small numbers of either sign in the place of 0, a few pixels beside others that overshoot."""
    plane = plane_of(option)
    rng = np.random.default_rng(10)
    area = np.s_[:, 80:]
    if marked == "rounded":
        plane[area] = 1e-4 * plane[0, 0] * rng.normal(size=plane[area].shape)
    elif marked == "few":
        plane[:5, :6] = -rng.random((5, 6))
    else:
        plane[area] = marked
    fits.writeto(folder / "plane.fits", plane)
    assert "of its pixels are negative" not in "".join(warnings(folder, f"--sci-{option}", "plane.fits"))


@pytest.mark.parametrize("name", ["VARIANCE", "ERR", "IVAR"])
def test_negative_numbers_in_a_plane_of_the_file_itself(folder: Path, name: str) -> None:
    with fits.open(folder / "sci.fits", mode="update") as hdus:
        plane = {"VARIANCE": 4.0, "ERR": 2.0, "IVAR": 0.25}[name] * np.ones(SHAPE, "f4")
        plane[:, :12] = -np.random.default_rng(11).random((SHAPE[0], 12)) - 1
        hdus["VARIANCE"].data[...] = plane
        hdus["VARIANCE"].header["EXTNAME"] = name
    found = [warning for warning in warnings(folder) if "negative" in warning]
    assert len(found) == 1
    assert found[0].startswith("sci.fits")
    assert " 12.5% of the pixels that hold data have no variance that can be believed" in found[0]


def test_a_companion_file_of_several_images_lists_them(folder: Path) -> None:
    planes = [fits.ImageHDU(plane_of("variance"), name=name) for name in ("ONE", "TWO")]
    fits.HDUList([fits.PrimaryHDU(), *planes]).writeto(folder / "planes.fits")
    for option in ("--sci-variance", "--tmpl-noise", "--sci-weight", "--diff-mask"):
        refused(folder, ("planes.fits: none of its 2 images", "[1] ONE, [2] TWO", "planes.fits[HDU] names one"),
                "run", *INPUTS, option, "planes.fits", *OUT)  # fmt: skip
