"""The background is taken off a difference, and nothing else is."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from scipy.ndimage import gaussian_filter

from diffim_decorr import Exposure, InputError, Result, UsageError, decorrelate
from support.command import refused, told
from support.files import INPUTS, make_inputs, sound
from support.kernels import gaussian
from support.noise import noise_pair
from support.reference import convolved

SHAPE = (320, 400)
KERNEL = gaussian(11, 1.2)
Y, X = np.indices(SHAPE)
#: A gradient, and waves of 130 pixels.
BACKGROUND = 3 + 0.01 * X - 0.005 * Y + np.sin(2 * np.pi * X / 130) * np.cos(2 * np.pi * Y / 160)


def made(added: np.ndarray | float = 0.0, seed: int = 4, **options: object) -> Result:
    """A difference with something added to it."""
    science, template = noise_pair(seed, SHAPE, 1.0, 1.0)
    difference = science - convolved(template, KERNEL) + added
    inputs = [Exposure(image, 1.0, name=name) for image, name in ((science, "science"), (template, "template"))]
    options = {"background": 32, "threads": 1, **options}
    return decorrelate(*inputs, Exposure(difference, name="difference"), KERNEL, **options)


@pytest.fixture(scope="module")
def plain() -> Result:
    """The same without a background, and none taken off."""
    return made(background=None)


def test_the_background_is_found() -> None:
    result = made(BACKGROUND)
    assert result.background is not None
    error = result.background - BACKGROUND
    # A mean over 32 pixels squared of noise that ψ makes white, of variance 1 + 1, is right to 1.4/32. Waves of 130 and
    # 160 pixels, whose rms is 1/2, lose (π 32/130)²/6 + (π 32/160)²/6 to the means, half as much to cubics.
    assert error.std() < np.hypot(1.4 / 32, 0.5 * 1.6 * (0.100 + 0.066))
    assert abs(error.mean()) < 4 * (2 / error.size) ** 0.5
    record = result.record.background
    assert record is not None
    assert record.level == pytest.approx(np.median(BACKGROUND), abs=0.1)
    assert record.interpolated == 0
    assert record.cells == (10, 12)


def test_the_result_is_that_without_a_background(plain: Result) -> None:
    """But for what the mesh takes off of the noise itself, and what it does not follow of the background."""
    result = made(BACKGROUND)
    both = result.exposure.image - plain.exposure.image
    inside = np.s_[20:-20, 20:-20]
    assert np.std(both[inside]) < np.hypot(1.4 / 32, 0.5 * 1.6 * (0.100 + 0.066))
    assert result.qa.max_abs_rho_after < 4.5 / np.sqrt(result.qa.pixels_used)
    assert result.verdict.status == "ok"
    assert result.warnings == []
    # Left in, it is seen.
    assert made(BACKGROUND, background=None).verdict.status == "fail"


def test_a_background_does_not_depend_on_threads() -> None:
    one, other = made(BACKGROUND), made(BACKGROUND, threads=3)
    np.testing.assert_array_equal(one.exposure.image, other.exposure.image)


def test_sources_are_not_taken_off(plain: Result) -> None:
    """Point sources of all brightnesses keep their flux, to what a mean over cells has of the faintest."""
    points = np.zeros(SHAPE)
    points[40:300:60, 30:380:50] = 10 ** np.linspace(1, 5, 35).reshape(5, 7)
    sources = gaussian_filter(points, 1.5)
    lost = made(sources).background
    assert lost is not None
    nothing = made().background
    # 4 σ of an ideal measurement are 4 · 1.4 · sqrt(4π) 1.5 = 30 in all, over 1024 pixels. Brighter ones are masked,
    # and with them up to half of the noise of a cell.
    assert np.abs(lost - nothing).max() < 30 / 32**2 + 4 * 1.4 / 32
    assert abs((lost - nothing).mean()) < 30 / 32**2


def test_sources_larger_than_a_cell_are_told() -> None:
    blob = 0.6 * np.exp(-0.5 * ((Y - 150) ** 2 + (X - 200) ** 2) / 20.0**2)
    said = made(4 * blob, background=16).warnings
    assert any("--background 16 stands out from the cells around" in text for text in said)


def test_cells_that_are_masked_have_what_is_around() -> None:
    science, template = noise_pair(5, SHAPE, 1.0, 1.0)
    added = np.full(SHAPE, 7.0)
    added[100:220, 100:260] = 1e4
    mask = np.zeros(SHAPE, np.int32)
    mask[96:224, 96:264] = 1
    difference = Exposure(
        science - convolved(template, KERNEL) + added, mask=mask, mask_planes={"DETECTED": 0}, name="difference"
    )
    inputs = [Exposure(image, 1.0) for image in (science, template)]
    result = decorrelate(*inputs, difference, KERNEL, background=32, threads=1)
    assert result.background is not None
    np.testing.assert_allclose(result.background[100:220, 100:260], 7, atol=0.2)
    record = result.record.background
    assert record is not None
    assert 0.1 < record.interpolated < 0.2


def test_missing_data_stay_missing() -> None:
    """Fill values are no data whatever is taken off."""
    science, template = noise_pair(6, SHAPE, 1.0, 1.0)
    difference = science - convolved(template, KERNEL) + 50
    difference[100:140, 50:90] = 1e-30
    difference[200:250, 300:340] = 0
    difference[10, 10] = np.nan
    inputs = [Exposure(image, 1.0) for image in (science, template)]
    results = [
        decorrelate(*inputs, Exposure(difference, missing_value=1e-30), KERNEL, background=size, threads=1)
        for size in (None, 32)
    ]
    images = [result.exposure.image for result in results]
    np.testing.assert_array_equal(*(np.isnan(image) for image in images))
    masks = [result.exposure.mask for result in results]
    np.testing.assert_array_equal(*masks)
    assert np.nanmedian(images[1]) == pytest.approx(0, abs=0.02)


def test_nothing_to_measure_it_from() -> None:
    science, template = noise_pair(6, SHAPE, 1.0, 1.0)
    mask = np.ones(SHAPE, np.int32)
    difference = Exposure(science - template, mask=mask, mask_planes={"DETECTED": 0}, name="difference")
    inputs = [Exposure(image, 1.0) for image in (science, template)]
    with pytest.raises(InputError, match=r"^difference: no cell of 32 pixels .* --background, check --bad-planes"):
        decorrelate(*inputs, difference, KERNEL, background=32, svar=1.0, tvar=1.0)


def test_mostly_masked_is_told() -> None:
    science, template = noise_pair(6, SHAPE, 1.0, 1.0)
    mask = np.ones(SHAPE, np.int32)
    mask[:, :130] = 0
    difference = Exposure(
        science - convolved(template, KERNEL), mask=mask, mask_planes={"DETECTED": 0}, name="difference"
    )
    inputs = [Exposure(image, 1.0) for image in (science, template)]
    result = decorrelate(*inputs, difference, KERNEL, background=32, threads=1)
    assert any("of the cells of --background 32 have too few pixels" in text for text in result.warnings)


def test_cells_larger_than_the_image_are_told(plain: Result) -> None:
    result = made(5.0, background=5000)
    assert any("--background 5000: the image has 400 x 320 pixels, so that one level" in w for w in result.warnings)
    inside = np.s_[20:-20, 20:-20]
    both = (result.exposure.image - plain.exposure.image)[inside]
    assert np.ptp(both) < 1e-4
    assert abs(both.mean()) < 4 * (2 / X.size) ** 0.5


def test_small_cells_do_not_pass_for_noise_that_is_wrong() -> None:
    """Means over blocks as large as cells scatter too little, as they should."""
    result = made(BACKGROUND, background=16)
    assert result.qa.block_std["16"].value < 0.6
    assert result.verdict.status == "ok"


def test_units_are_those_of_the_difference() -> None:
    """Pixels so small that they are worked on in another unit."""
    science, template = noise_pair(4, SHAPE, 1.0, 1.0)
    difference = science - convolved(template, KERNEL) + BACKGROUND
    plain = made(BACKGROUND).background
    unit = 1e-20
    inputs = [Exposure(image * unit, unit**2) for image in (science, template)]
    result = decorrelate(*inputs, Exposure(difference * unit), KERNEL, background=32, threads=1)
    np.testing.assert_allclose(result.background / unit, plain, atol=1e-4)
    assert result.record.background.level == pytest.approx(3 * unit, rel=1)


# Of the command, and of files


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Inputs, to whose difference a gradient is added."""
    folder = tmp_path_factory.mktemp("background")
    make_inputs(folder, (150, 180))
    with fits.open(folder / "diff.fits", mode="update") as hdus:
        hdus[0].data += (10 + 0.05 * np.arange(180)).astype("f4")
    return folder


@pytest.mark.parametrize("layout", ["lsst", "sci-err-dq", "flat"])
def test_the_background_is_stored_on_request(folder: Path, layout: str) -> None:
    line = ("run", *INPUTS, "--background", 32, "--write-background", "--layout", layout)
    said = told(folder, *line, "-o", f"{layout}.fits")
    assert said["background"]["cells"] == [5, 6]
    path = folder / (f"{layout}_psi.fits" if layout == "flat" else f"{layout}.fits")
    sound(path)
    with fits.open(path) as hdus:
        stored = hdus["BACKGROUND"]
        expected = np.broadcast_to(10 + 0.05 * np.arange(180), (150, 180))
        np.testing.assert_allclose(stored.data, expected, atol=0.6)
        assert stored.header["BUNIT"] == "adu"
        assert stored.header["CTYPE1"] == "RA---TAN"
    header = fits.getheader(folder / f"{layout}.fits")
    assert (header["DCBKGPX"], header["DCOWBKG"]) == (32, True)
    assert header["DCBKGLEV"] == pytest.approx(14.5, abs=0.6)


@pytest.mark.parametrize("ending", [".fits.fz", ".fits.gz"])
def test_a_compressed_output_has_it_too(folder: Path, ending: str) -> None:
    told(folder, "run", *INPUTS, "--background", 32, "--write-background", "-o", f"packed{ending}")
    told(folder, "run", *INPUTS, "--background", 32, "-o", f"without{ending}")
    with fits.open(folder / f"packed{ending}") as hdus, fits.open(folder / f"without{ending}") as others:
        assert hdus["BACKGROUND"].data.shape == (150, 180)
        assert "BACKGROUND" not in others


def test_none_is_a_value(folder: Path) -> None:
    said = told(folder, "run", *INPUTS, "--background", "none", "-o", "none.fits")
    assert said["options"]["background"] is None
    assert "background" not in said
    (folder / "none.toml").write_text('background = "none"\nthreads = 1\n')
    said = told(folder, "run", *INPUTS, "--config", "none.toml", "-o", "none2.fits")
    assert said["options"]["background"] is None


def test_a_run_with_a_background_is_made_again(folder: Path) -> None:
    told(folder, "run", *INPUTS, "--background", 40, "--write-background", "-o", "first.fits")
    told(folder, "rerun", "first.fits", "-o", "second.fits")
    with fits.open(folder / "first.fits") as one, fits.open(folder / "second.fits") as other:
        for name in ("IMAGE", "BACKGROUND"):
            np.testing.assert_array_equal(one[name].data, other[name].data)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--background", "12"), "must be a whole number from 16 to 100000, not 12"),
        (("--background", "many"), "'many' is not a valid integer"),
        (("--write-background",), "--write-background needs --background"),
    ],
)
def test_what_cannot_be(folder: Path, options: tuple[str, ...], says: str) -> None:
    refused(folder, says, "run", *INPUTS, *options, "-o", "refused.fits", status=2)


def test_what_was_not_taken_off_is_not_written(tmp_path: Path, plain: Result) -> None:
    assert plain.background is None
    with pytest.raises(UsageError, match=r"^write_background: no background was taken off"):
        plain.write(tmp_path / "out.fits", write_background=True)
    result = made(BACKGROUND)
    result.write(tmp_path / "out.fits", write_background=True)
    np.testing.assert_allclose(fits.getdata(tmp_path / "out.fits", "BACKGROUND"), result.background, rtol=1e-6)
