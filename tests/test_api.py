"""The Python API: what it offers, that the command line makes the same pixels, and what it says of bad input."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits
from reference import PLANES, convolved, exposures, gaussian, hotpants_kernel, noise_pair, run_command, write_exposure

import diffim_decorr
from diffim_decorr import (
    DecorrWarning,
    Exposure,
    InputError,
    MatchingKernel,
    Options,
    SpatialKernel,
    decorrelate,
    read_exposure,
    read_kernel,
)

SHAPE = (220, 240)
KERNEL = gaussian(15, 1.5, total=1.2)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Survey-like files: noise, a masked saturated star, missing pixels, a kernel that varies and one that does not."""
    folder = tmp_path_factory.mktemp("files")
    science, template = noise_pair(71, SHAPE, 1.0, 2.0)
    hotpants = hotpants_kernel(SHAPE, seed=71)
    difference = hotpants.difference(science, template)
    mask = np.zeros(SHAPE, "i4")
    mask[100:104, 80:84] = 1 << PLANES["SAT"]
    difference[100:104, 80:84] += 1e5
    difference[:, :9] = np.nan
    hotpants.write(folder / "diff.fits", difference)
    kernel, psf = folder / "kernel.fits", folder / "psf.fits"
    fits.writeto(kernel, KERNEL)
    fits.writeto(psf, gaussian(15, 1.3))
    return {
        "science": write_exposure(folder / "sci.fits", science, np.full(SHAPE, 1.0), mask),
        "template": write_exposure(folder / "tmpl.fits", template, np.full(SHAPE, 2.0)),
        "difference": folder / "diff.fits",
        "kernel": kernel,
        "psf": psf,
    }


# The same by either way

# Options of the command line and of `decorrelate`.
SAME: dict[str, tuple[list[Any], dict[str, Any]]] = {
    "defaults": ([], {}),
    "spatial": (["--spatial"], {"spatial": True}),
    "constant": (["--constant", "--kernel-at", 30, 40.5], {"spatial": False, "kernel_at": (30, 40.5)}),
    "variances": (["--svar", 1.1, "--tvar", 1.9], {"svar": 1.1, "tvar": 1.9}),
    "estimate": (["--variance", "estimate", "--spatial"], {"variance": "estimate", "spatial": True}),
    "science": (["--convolved", "science"], {"convolved": "science"}),
    "planes": (
        ["--bad-planes", "SAT,BAD", "--replace-planes", "none"],
        {"bad_planes": ("SAT", "BAD"), "replace_planes": ()},
    ),
    "knobs": (
        ["--spatial", "--tolerance", 1e-2, "--node-spacing", 64, "--max-gain", 50, "--bad-fraction", 0.1],
        {"spatial": True, "tolerance": 1e-2, "node_spacing": 64, "max_gain": 50, "bad_fraction": 0.1},
    ),
    "threads": (["--threads", 1], {"threads": 3}),
}


@pytest.mark.parametrize("name", SAME)
def test_the_command_line_makes_the_same_pixels(files: dict[str, Path], tmp_path: Path, name: str) -> None:
    words, options = SAME[name]
    inputs = [files[key] for key in ("science", "template", "difference")]
    output = tmp_path / "out.fits"
    said = run_command("run", *inputs, "-k", inputs[2], "--psf", files["psf"], *words, "-o", output, "--json")
    made = [read_exposure(path) for path in inputs]
    result = decorrelate(*made, read_kernel(inputs[2]), psf=fits.getdata(files["psf"]), **options)
    with fits.open(output) as hdus:
        for plane in ("image", "mask", "variance"):
            np.testing.assert_array_equal(hdus[plane.upper()].data, getattr(result.exposure, plane))
        for plane, bit in result.exposure.mask_planes.items():
            assert hdus["MASK"].header[f"MP_{plane}"] == bit
        basis = hdus["PSI_BASIS"].data
    assert basis.shape[-2:] == result.psi.shape
    assert said["warnings"] == result.warnings
    assert said["qa"]["pixels_used"] == result.qa.pixels_used
    assert said["qa"]["max_abs_rho_after"] == pytest.approx(result.qa.max_abs_rho_after, rel=1e-12)
    assert said["qa"]["snr_std"] == pytest.approx(result.qa.snr_std, rel=1e-12)


def test_twice_the_same(files: dict[str, Path]) -> None:
    inputs = [read_exposure(files[key]) for key in ("science", "template", "difference")]
    one, other = (decorrelate(*inputs, read_kernel(files["difference"]), spatial=True) for _ in range(2))
    for plane in ("image", "variance", "mask"):
        np.testing.assert_array_equal(getattr(one.exposure, plane), getattr(other.exposure, plane))


# What there is


def test_documented_names_can_be_imported() -> None:
    for name in diffim_decorr.__all__:
        assert getattr(diffim_decorr, name) is not None
        assert name in dir(diffim_decorr)
    for name in ("Exposure", "decorrelate", "read_exposure", "read_kernel", "__version__"):
        assert name in diffim_decorr.__all__
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = diffim_decorr.no_such_name
    assert issubclass(InputError, ValueError)
    assert issubclass(DecorrWarning, UserWarning)


def test_options_are_named_as_on_the_command_line() -> None:
    from diffim_decorr.cli.run import run

    command = {parameter.name for parameter in run.params}
    fields = set(inspect.signature(Options).parameters)
    # What is read from files there is given as exposures and arrays here, and there is nothing to print or to write.
    files = {"sci", "tmpl", "diff", "kernel", "psf", "pre_conv_kernel", "sci_kernel", "inputs", "dq_bad", "ext"}
    files |= {"kernel_format", "sci_kernel_format"}
    files |= {f"{side}_{plane}" for side in ("sci", "tmpl") for plane in ("variance", "noise", "weight", "mask")}
    written = {"output", "config", "overwrite", "as_json", "quiet", "verbose", "diff_mask", "layout", "all_ext"}
    assert command - files - written == fields


def test_a_result_has_what_is_documented(files: dict[str, Path]) -> None:
    inputs = [read_exposure(files[key]) for key in ("science", "template", "difference")]
    result = decorrelate(*inputs, read_kernel(files["difference"]), psf=gaussian(15, 1.3), spatial=True)
    exposure = result.exposure
    assert exposure.image.shape == exposure.variance.shape == exposure.mask.shape == SHAPE
    assert (exposure.image.dtype, exposure.variance.dtype, exposure.mask.dtype) == ("f4", "f4", "i4")
    assert {"SAT", "NO_DATA", "EDGE", "DECORR_BAD"} <= set(exposure.mask_planes)
    assert exposure.header["PHOTNORM"] == "i"
    assert isinstance(result.psi, SpatialKernel)
    assert result.psi.at(10, 20).sum() == pytest.approx(1, abs=1e-6)
    assert isinstance(exposure.psf, SpatialKernel)
    for figure in ("max_abs_rho_before", "max_abs_rho_after", "snr_std", "pixels_used"):
        assert np.isfinite(getattr(result.qa, figure))
    assert set(result.timings) >= {"noise", "psi", "filter", "qa"}


def test_progress_is_told() -> None:
    science, template = noise_pair(72, SHAPE, 1.0, 1.0)
    told: list[tuple[int, int]] = []
    decorrelate(
        *exposures(science, template, science - convolved(template, KERNEL), 1.0, 1.0),
        KERNEL,
        progress=lambda done, of: told.append((done, of)),
    )
    assert told
    assert told[-1][0] == told[-1][1]


def test_progress_that_raises_ends_the_run() -> None:
    science, template = noise_pair(72, SHAPE, 1.0, 1.0)
    images = exposures(science, template, science, 1.0, 1.0)

    def stop(_done: int, _of: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        decorrelate(*images, KERNEL, progress=stop)


@pytest.mark.parametrize("kind", ["array", "list", "spatial", "matching", "file"])
def test_kernels_of_any_kind(files: dict[str, Path], kind: str) -> None:
    kernels = {
        "array": KERNEL,
        "list": KERNEL.tolist(),
        "spatial": SpatialKernel.constant(KERNEL),
        "matching": MatchingKernel(SpatialKernel.constant(KERNEL)),
        "file": read_kernel(files["kernel"]),
    }
    science, template = noise_pair(73, (100, 110), 1.0, 1.0)
    images = exposures(science, template, science - convolved(template, KERNEL), 1.0, 1.0)
    expected = decorrelate(*images, KERNEL).exposure.image
    np.testing.assert_array_equal(decorrelate(*images, kernels[kind]).exposure.image, expected)


def test_exposures_say_what_they_are() -> None:
    exposure = Exposure(np.zeros((3, 4)), 2.0, mask_planes={"SAT": 1}, name="sky")
    assert repr(exposure) == "<Exposure sky: 4 x 3 pixels, mask planes ['SAT']>"
    assert exposure.shape == (3, 4)
    assert exposure.mask is None
    np.testing.assert_array_equal(exposure.variance, np.full((3, 4), 2.0))


def test_positions_of_a_kernel_are_in_the_parent_frame_of_a_cutout() -> None:
    """A cutout of an LSST exposure: the kernel's positions count from the parent's first pixel."""
    from diffim_decorr.spatial import PolynomialCoefficients

    coefficients = PolynomialCoefficients(
        np.array([[1.0, -1.0], [0.0, 1.0]]), np.array([[0, 0], [1, 0]]), (0.0, 0.0), (1000.0, 1.0)
    )
    kernel = SpatialKernel(np.array([gaussian(15, 1.2), gaussian(15, 2.0)]), coefficients)
    images = noise_pair(74, (120, 130), 1.0, 1.0)
    made = [Exposure(image, v, xy0=(400, 30)) for image, v in zip((*images, images[0]), (1, 1, None), strict=True)]
    psi = decorrelate(*made, kernel).psi.at(0, 0)
    here = SpatialKernel.constant(kernel.at(400 + 64.5, 30 + 59.5))
    expected = decorrelate(*[Exposure(e.image, e.variance) for e in made], here).psi.at(0, 0)
    np.testing.assert_allclose(psi, expected, atol=1e-7)


# Errors


def images(**changes: Any) -> dict[str, Any]:
    science, template = noise_pair(75, (90, 100), 1.0, 1.0)
    made: dict[str, Any] = {
        "science": Exposure(science, 1.0, name="science"),
        "template": Exposure(template, 1.0, name="template"),
        "difference": Exposure(science - template, name="difference"),
        "kernel": KERNEL,
    }
    return made | changes


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "tolerance": ({"tolerance": 0}, "tolerance"),
    "tolerance nan": ({"tolerance": np.nan}, "tolerance"),
    "max gain": ({"max_gain": 0.5}, "max_gain"),
    "bad fraction": ({"bad_fraction": 1.5}, "bad_fraction"),
    "threads": ({"threads": 0}, "threads"),
    "node spacing": ({"node_spacing": -1}, "node_spacing"),
    "variance": ({"variance": "none"}, "variance"),
    "convolved": ({"convolved": "both"}, "convolved"),
    "svar": ({"svar": -1.0}, "svar"),
    "no noise": ({"svar": 0.0, "tvar": 0.0}, "noise"),
    "kernel at": ({"kernel_at": (1000.0, 5.0)}, "kernel_at"),
    "kernel at in spatial mode": ({"kernel_at": (10.0, 5.0), "spatial": True}, "kernel_at"),
    "kernel of NaN": ({"kernel": np.full((5, 5), np.nan)}, "finite"),
    "kernel of zeros": ({"kernel": np.zeros((5, 5))}, "zeros"),
    "kernel of one dimension": ({"kernel": np.ones(5)}, "2-D"),
    "kernel of text": ({"kernel": np.array([["a"]])}, "numbers"),
    "kernel too large": ({"kernel": np.ones((95, 95))}, "95 x 95"),
    "kernel that sums to zero": ({"kernel": np.array([[1.0, -1.0]]), "svar": 0.0}, "zero"),
    "science kernel that sums to zero": ({"kernel": np.array([[1.0, -1.0]]), "convolved": "science"}, "sum"),
    "shapes": ({"template": Exposure(np.zeros((90, 99)), 1.0, name="template")}, "template.*99 x 90"),
    "no variance > 0": ({"science": Exposure(np.zeros((90, 100)), np.zeros((90, 100)), name="science")}, "science"),
    "no noise to measure": ({"science": Exposure(np.zeros((90, 100)), name="science")}, "science"),
    "parent frames": (
        {
            "science": Exposure(np.zeros((90, 100)), 1.0, xy0=(3, 4), name="science"),
            "difference": Exposure(np.zeros((90, 100)), xy0=(5, 4)),
        },
        "science.*parent",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_bad_input_is_told_in_one_line(name: str) -> None:
    changes, text = WRONG[name]
    given = images(**changes)
    positional = [given.pop(key) for key in ("science", "template", "difference", "kernel")]
    with pytest.raises(InputError, match=text) as error:
        decorrelate(*positional, **given)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 300


def test_an_unknown_option_is_a_type_error() -> None:
    given = images()
    with pytest.raises(TypeError, match="tolerence"):
        decorrelate(given["science"], given["template"], given["difference"], KERNEL, tolerence=1e-3)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"image": np.zeros(5)}, "image must be a 2-D array"),
        ({"image": np.zeros((0, 5))}, "image must be a 2-D array"),
        ({"image": np.array([["a"]])}, "not real numbers"),
        ({"image": np.zeros((3, 4), complex)}, "not real numbers"),
        ({"image": np.zeros((3, 4)), "variance": np.ones((4, 3))}, "3 x 4"),
        ({"image": np.zeros((3, 4)), "mask": np.zeros((3, 5), int)}, "mask plane has 5 x 3"),
        ({"image": np.zeros((3, 4)), "mask": np.zeros((3, 4))}, "mask"),
        ({"image": np.zeros((3, 4)), "mask_planes": {"SAT": 32}}, "SAT"),
    ],
)
def test_exposures_that_do_not_fit_together_are_refused(arguments: dict[str, Any], text: str) -> None:
    with pytest.raises(InputError, match=text) as error:
        Exposure(name="sky", **arguments)
    assert str(error.value).startswith("sky:")


def test_the_command_line_says_the_same_in_one_line(files: dict[str, Path], tmp_path: Path) -> None:
    inputs = [files[key] for key in ("science", "template", "difference")]
    done = run_command(
        "run", *inputs, "-k", files["kernel"], "--tolerance", 0, "-o", tmp_path / "out.fits", "--json", status=3
    )
    assert done["stdout"] == ""
    assert done["stderr"].count("\n") == 1
    assert "tolerance" in done["stderr"]
    assert not (tmp_path / "out.fits").exists()
