"""How objects of the package behave: short in print, pickled, written, accepted or refused by name."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import dask.array
import numpy as np
import pytest
from astropy.io import fits
from astropy.nddata import CCDData

from diffim_decorr import (
    Box,
    Contribution,
    DecorrWarning,
    Exposure,
    InputError,
    MatchingKernel,
    Options,
    Result,
    SpatialKernel,
    UsageError,
    apply_psi,
    decorrelate,
    read_exposure,
    read_kernel,
    read_psi,
    write_grid_kernel,
)
from diffim_decorr.kernels.coefficients import PolynomialCoefficients
from support.command import succeed
from support.files import INPUTS, make_inputs
from support.kernels import gaussian
from support.noise import noise_images
from support.regions import in_regions

SHAPE = 90, 110
KERNEL = gaussian(11, 1.4)


@pytest.fixture(scope="module")
def images() -> tuple[Exposure, Exposure, Exposure]:
    return noise_images(16, SHAPE, KERNEL, 1.0, 2.0)


@pytest.fixture(scope="module")
def result(images: tuple[Exposure, Exposure, Exposure]) -> Result:
    return decorrelate(*images, KERNEL, spatial=True)


def _varying() -> SpatialKernel:
    values, powers = np.array([[1.0, 0.0], [0.1, 0.3]]), np.array([(0, 0), (1, 0)])
    coefficients = PolynomialCoefficients(values, powers, (55.0, 45.0), (55.0, 45.0))
    return SpatialKernel(np.array([KERNEL, gaussian(11, 2.0) - KERNEL]), coefficients, Box(0, 0, 110, 90))


# Print


def test_objects_are_short_in_print(images: tuple[Exposure, Exposure, Exposure], result: Result) -> None:
    objects: list[object] = [
        result, result.exposure, result.psi, result.qa, result.record, result.decorrelation_kernel, images[0],
        MatchingKernel.from_array(KERNEL), _varying(), Options(), Contribution("science", images[0]),
        in_regions((Box(0, 0, 50, 90), KERNEL), (Box(50, 0, 110, 90), KERNEL)), _varying().coefficients,
    ]  # fmt: skip
    for thing in objects:
        assert len(repr(thing)) < 300, type(thing)
    page = result._repr_html_()
    assert "max_abs_rho" in page
    assert page.startswith("<table>")
    assert len(page) < 3000


def test_objects_with_arrays_are_themselves_only(result: Result) -> None:
    """Their arrays have no truth value that could be asked for."""
    for thing in (result, result.psi, result.qa, MatchingKernel.from_array(KERNEL), result.psi.coefficients):
        assert thing == thing
        assert (thing == pickle.loads(pickle.dumps(thing))) is False


# Other processes


def test_results_can_be_sent(result: Result) -> None:
    back = pickle.loads(pickle.dumps(result))
    for plane in ("image", "mask", "variance"):
        np.testing.assert_array_equal(getattr(back.exposure, plane), getattr(result.exposure, plane))
    np.testing.assert_array_equal(back.psi.at(7, 60), result.psi.at(7, 60))
    assert back.record.tree() == result.record.tree()


@pytest.mark.parametrize("ending", [".fits", ".fits.gz", ".fits.fz"])
def test_exposures_of_files_can_be_sent(tmp_path: Path, ending: str) -> None:
    make_inputs(tmp_path)
    with fits.open(tmp_path / "sci.fits") as hdus:
        if ending.endswith("fz"):
            hdus = fits.HDUList([hdus[0], *(fits.CompImageHDU(h.data, h.header, quantize_level=0) for h in hdus[1:4])])
        hdus.writeto(tmp_path / f"other{ending}")
    exposure = read_exposure(tmp_path / f"other{ending}")
    exposure.image_plane.read(Box(0, 0, 5, 5))  # mapped or unpacked before it is sent
    back = pickle.loads(pickle.dumps(exposure))
    for plane in ("image", "mask", "variance"):
        np.testing.assert_array_equal(getattr(back, plane), getattr(exposure, plane))
    assert back.mask_planes == exposure.mask_planes
    assert repr(back.header) == repr(exposure.header)


def _kernels(folder: Path) -> dict[str, SpatialKernel]:
    x, y = (axis.ravel() for axis in np.meshgrid([0.0, 109.0], [0.0, 89.0]))
    write_grid_kernel(folder / "grid.fits", [gaussian(11, s) for s in (1.0, 1.3, 1.6, 1.9)], x, y)
    write_grid_kernel(folder / "odd.fits", [gaussian(11, s) for s in (1.0, 1.3, 1.6)], [0, 109, 50], [0, 10, 89])
    return {
        "constant": SpatialKernel.constant(KERNEL),
        "polynomials": _varying(),
        "grid": read_kernel(folder / "grid.fits").kernel,
        "scattered": read_kernel(folder / "odd.fits").kernel,
        "regions": in_regions((Box(0, 0, 50, 90), KERNEL), (Box(50, 0, 110, 90), gaussian(11, 2.0))).kernel,
    }


@pytest.mark.parametrize("name", ["constant", "polynomials", "grid", "scattered", "regions"])
def test_kernels_can_be_sent_and_cut_out(tmp_path: Path, name: str) -> None:
    """Positions in a cut-out are counted from its first pixel."""
    kernel = _kernels(tmp_path)[name]
    box = Box(30, 20, 100, 80)
    for back in (kernel, pickle.loads(pickle.dumps(kernel))):
        cut = back.cutout(box)
        assert cut.field == Box(0, 0, 70, 60)
        for x, y in ((0, 0), (19, 3), (20, 3), (69, 59)):
            np.testing.assert_allclose(cut.at(x, y), kernel.at(x + 30, y + 20), atol=1e-12)
        with pytest.raises(InputError, match="outside the field"):
            cut.at(70, 10)


def test_cutouts_beyond_the_field_are_refused() -> None:
    for box in (Box(-1, 0, 50, 50), Box(50, 50, 111, 90), Box(5, 5, 5, 9)):
        with pytest.raises(InputError, match="has no pixels within the field"):
            _varying().cutout(box)
    regions = in_regions((Box(0, 0, 20, 90), KERNEL), (Box(90, 0, 110, 90), KERNEL))
    with pytest.raises(InputError, match="no region within"):
        regions.cutout(Box(30, 0, 80, 90))
    assert len(regions.cutout(Box(10, 0, 80, 90)).convolved) == 1


def test_a_cutout_comes_out_as_the_whole_does(images: tuple[Exposure, Exposure, Exposure]) -> None:
    """Far from its edges: the same images, the same kernel."""
    options: dict[str, Any] = {"spatial": True, "svar": 1.0, "tvar": 2.0, "tolerance": 1e-5}
    whole = decorrelate(*images, _varying(), **options)
    box = Box(10, 5, 105, 85)
    parts = [Exposure(e.image[box.slices], 1.0) for e in images]
    part = decorrelate(*parts, MatchingKernel(_varying(), parent_frame=False).cutout(box), **options)
    inner = np.s_[30:-30, 30:-30]
    np.testing.assert_allclose(part.exposure.image[inner], whole.exposure.image[box.slices][inner], atol=1e-3 * 3**0.5)


# Files


def test_a_result_writes_what_the_command_writes(tmp_path: Path) -> None:
    make_inputs(tmp_path)
    names = [str(tmp_path / f"{name}.fits") for name in ("sci", "tmpl", "diff")]
    line = (*names, "--kernel", tmp_path / "kernel.fits", "--psf", tmp_path / "psf.fits", "--spatial")
    succeed(tmp_path, "run", *line, "-q", "-o", "command.fits")
    result = decorrelate(*names, tmp_path / "kernel.fits", psf=tmp_path / "psf.fits", spatial=True)
    result.write(tmp_path / "api.fits")
    with fits.open(tmp_path / "command.fits") as command, fits.open(tmp_path / "api.fits", checksum=True) as api:
        assert [hdu.name for hdu in api] == [hdu.name for hdu in command]
        for one, other in zip(command, api, strict=True):
            assert (one.data is None and other.data is None) or one.data.tobytes() == other.data.tobytes(), one.name
        cards = {key for key in api[0].header if key.startswith("DC") and key != "DCDATE"}
        assert {"DCRHO1", "DCTOLER", "DCHWIDTH", "DCSVAR", "DCKFORM"} <= cards
        for card in cards - {"DCSCI", "DCTMPL", "DCDIFF"}:  # which name the HDU here
            assert api[0].header[card] == command[0].header[card], card
    # The masks of all three inputs are in the output's.
    difference = read_exposure(names[2], mask=tmp_path / "api.fits")
    for psi in (read_psi(tmp_path / "api.fits"), result.decorrelation_kernel):
        np.testing.assert_array_equal(apply_psi(difference, psi).image, result.exposure.image)
    with pytest.raises(UsageError, match="--overwrite replaces it"):
        result.write(tmp_path / "api.fits")
    result.write(tmp_path / "api.fits", overwrite=True)


# What is accepted


def test_arrays_files_and_ccddata_are_exposures(tmp_path: Path, images: tuple[Exposure, Exposure, Exposure]) -> None:
    options: dict[str, Any] = {"svar": 1.0, "tvar": 2.0, "variance": "estimate"}
    arrays = [exposure.image for exposure in images]
    expected = decorrelate(*arrays, KERNEL, **options).exposure.image
    for k, array in enumerate(arrays):
        fits.writeto(tmp_path / f"{k}.fits", array)
    fits.writeto(tmp_path / "kernel.fits", KERNEL)
    files = [str(tmp_path / "0.fits"), tmp_path / "1.fits", tmp_path / "2.fits"]
    chunks = [dask.array.from_array(array, chunks=40) for array in arrays]
    for given in (files, [CCDData(array, unit="adu") for array in arrays], chunks):
        image = decorrelate(*given, tmp_path / "kernel.fits", **options).exposure.image
        np.testing.assert_array_equal(image, expected)


@pytest.mark.parametrize(("given", "kind"), [(None, "NoneType"), ([[1.0]], "list"), (3.0, "float")])
def test_what_is_no_exposure_is_refused_by_name(
    images: tuple[Exposure, Exposure, Exposure], given: Any, kind: str
) -> None:
    with pytest.raises(InputError, match=f"template: must be an Exposure, an array, a CCDData .* not {kind}"):
        decorrelate(images[0], given, images[2], KERNEL)


def test_a_difference_that_is_white_already_is_refused(tmp_path: Path, folder: Path) -> None:
    """From Python as by the command."""
    succeed(folder, "run", *INPUTS, "-q", "-o", "out.fits")
    names = [folder / f"{name}.fits" for name in ("sci", "tmpl", "out")]
    with pytest.raises(InputError, match="has been decorrelated already"):
        decorrelate(*names, folder / "kernel.fits")
    with pytest.raises(InputError, match="has been decorrelated already"):
        apply_psi(folder / "out.fits", folder / "out.fits")


# Warnings and errors


def test_what_a_run_says_is_a_warning(images: tuple[Exposure, Exposure, Exposure]) -> None:
    with pytest.warns(DecorrWarning, match="no mask has a plane GHOST") as caught:
        result = decorrelate(*images, KERNEL, bad_planes="GHOST")
    assert [str(warning.message) for warning in caught] == result.warnings
    assert caught[0].filename == __file__


def test_positions_outside_the_field_are_errors(result: Result) -> None:
    assert result.psi.at(109.4, 0).shape == result.psi.shape
    for x, y in ((109.5, 3), (-0.6, 3), (3, 90), (float("nan"), 3)):
        with pytest.raises(InputError, match="position"):
            result.psi.at(x, y)
