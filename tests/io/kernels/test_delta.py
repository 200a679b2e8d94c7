"""Solutions of delta."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits

from diffim_decorr import InputError, decorrelate, read_kernel
from support.command import refused, succeed, told
from support.delta import DeltaSolution
from support.files import INPUTS, image_hdu, write_hdus
from support.noise import exposures, noise_pair

SHAPE = (70, 90)


@pytest.mark.parametrize(("knots", "n_max", "radius"), [((4, 3), 3, 0), ((5, 5), 6, 9), ((3, 3), 0, 0), ((2, 2), 2, 4)])
def test_kernel_is_what_the_formula_says(tmp_path: Path, knots: tuple[int, int], n_max: int, radius: int) -> None:
    """Everywhere in the field, beyond the knots' spacing and on it, whether delta chose the size or was told."""
    solution = DeltaSolution(SHAPE, 3, 1.4, n_max, knots, radius)
    matching = read_kernel(solution.write(tmp_path / "solution.npz"))
    assert (matching.format, matching.convolved, matching.normalized) == ("delta", ("template",), (False,))
    assert not matching.parent_frame
    assert str(matching.field) == "x from 0 to 89 and y from 0 to 69"
    for x, y in [(0, 0), (89, 69), (44.5, 34.5), (13.25, 60.5)]:
        expected = solution.at(x, y)
        np.testing.assert_allclose(matching.kernel.at(x, y), expected, atol=1e-10 * np.abs(expected).max())


def test_knots_in_any_place(tmp_path: Path) -> None:
    """What is orthogonal to planes can be spanned in many ways; theta refers to one of them."""
    solution = DeltaSolution(SHAPE, 5)
    solution.knots = np.random.default_rng(8).uniform(0, 70, (9, 2))
    solution.theta = solution.theta[: 9 * (len(solution.orders) + 1)]
    kernel = read_kernel(solution.write(tmp_path / "solution.npz")).kernel
    np.testing.assert_allclose(kernel.at(20, 30.5), solution.at(20, 30.5), atol=1e-10)


@pytest.mark.parametrize("direction", ["reference", "science"])
def test_difference_of_delta_is_white_afterwards(tmp_path: Path, direction: str) -> None:
    """The difference is not divided by the kernel sum, whichever image was convolved; its sign is SCI - TMPL."""
    shape = (220, 260)
    solution = DeltaSolution(shape, 4, 1.2, 2, direction=direction)
    variances = (4.0, 1.0) if direction == "science" else (1.0, 4.0)
    science, template = noise_pair(17, shape, *variances)
    if direction == "science":
        difference = solution.convolved(science) - template
    else:
        difference = science - solution.convolved(template)
    kernel = read_kernel(solution.write(tmp_path / "solution.npz"))
    result = decorrelate(*exposures(science, template, difference, *variances), kernel, spatial=True)
    assert result.qa.max_abs_rho_before > 0.05
    assert result.qa.max_abs_rho_after < 4.5 / np.sqrt(result.qa.pixels_used)
    assert result.qa.snr_std == pytest.approx(1, abs=0.01)
    assert result.record.kernel.convolved == {"reference": "template"}.get(direction, direction)


BROKEN: list[tuple[dict[str, Any], str]] = [
    ({"leave_out": ("theta", "shape")}, "holds no solution of delta, having no theta, shape"),
    ({"direction": "both"}, "its direction is 'both', neither reference nor science"),
    ({"shape": np.array([1.0, 2.0])}, "its shape is .* not the height and width"),
    ({"shape": np.array([0, 9])}, "its shape is 0 x 9, not the height and width"),
    ({"knots": np.eye(2)}, r"its knots, of shape \(2, 2\), are not three positions"),
    ({"knots": np.full((12, 2), np.nan)}, "its knots holds numbers that are not finite"),
    ({"knots": np.array([["a", "b"]] * 12)}, "its knots are no numbers"),
    ({"knots": np.arange(24.0).reshape(12, 2)}, "its 12 knots lie on one line"),
    ({"theta": np.ones(17)}, "has 17 coefficients in theta, but 10 components and a background on 12 knots need 132"),
    ({"theta": np.zeros(132)}, "holds nothing but zeros"),
    ({"theta": np.full(132, np.inf)}, "its theta holds numbers that are not finite"),
    ({"beta": -1.0}, "beta -1 and n_max 3 make no Gauss-Hermite functions"),
    ({"beta": np.ones(2)}, "are no single numbers"),
    ({"n_max": 99}, "beta 1.3 and n_max 99 make no"),
    ({"radius": 501}, "radius 501 looks like an image"),
    ({"radius": 3}, "its component_sums are not those of .* radius 3: it was saved by a version of delta that is not"),
    ({"component_sums": np.ones(3)}, "its component_sums are not those"),
    ({"knots": np.array([{}] * 24, dtype=object).reshape(12, 2)}, "is no archive of numpy .* that could be read"),
]


@pytest.mark.parametrize(("changed", "says"), BROKEN)
def test_archives_that_cannot_be_used(tmp_path: Path, changed: dict[str, Any], says: str) -> None:
    path = DeltaSolution(SHAPE).write(tmp_path / "solution.npz", **changed)
    with pytest.raises(InputError, match=says) as caught:
        read_kernel(path)
    assert str(caught.value).startswith(str(path))


def test_functions_that_rounding_decides_on(tmp_path: Path) -> None:
    """The second pivot of the decomposition vanishes: either sign of it would be as good."""
    # x - mean of the second one is that of the first over 1 + the root of their number.
    knots = np.array([[-3.0, 0], [-1, 3], [3, 1], [1, -4]])
    path = DeltaSolution(SHAPE).write(tmp_path / "solution.npz", knots=knots, theta=np.ones(44))
    with pytest.raises(InputError, match=r"rounding decides .*evaluate it with delta, and write it with write_grid"):
        read_kernel(path)


def test_damaged_archives_and_other_files(tmp_path: Path) -> None:
    path = DeltaSolution(SHAPE).write(tmp_path / "solution.npz")
    path.write_bytes(path.read_bytes()[:3000])
    with pytest.raises(InputError, match=r"solution\.npz: is no archive of numpy \(\.npz\) that could be read"):
        read_kernel(path)
    content = DeltaSolution(SHAPE).write(tmp_path / "solution.npz").read_bytes()
    # Of the first entry, in the directory at the end: the version that is needed, flags (encrypted), and the packing.
    for offset, value in ((6, 190), (8, 1), (10, 77)):
        begin = content.index(b"PK\x01\x02") + offset
        path.write_bytes(content[:begin] + bytes([value]) + content[begin + 1 :])
        with pytest.raises(InputError, match=r"solution\.npz: is no archive of numpy \(\.npz\) that could be read"):
            read_kernel(path)
    with zipfile.ZipFile(tmp_path / "kernel.zip", "w") as archive:
        archive.writestr("kernel.fits", b"SIMPLE")
    with pytest.raises(InputError, match=r"kernel\.zip: is compressed by zip"):
        read_kernel(tmp_path / "kernel.zip")
    fits.writeto(tmp_path / "kernel.fits", np.eye(3))
    with pytest.raises(InputError, match=r"kernel\.fits: is no archive of numpy"):
        read_kernel(tmp_path / "kernel.fits", format="delta")
    path = DeltaSolution(SHAPE).write(tmp_path / "solution.npz")
    for name in ("hotpants", "sfft", "lsst", "lsst-images", "table", "grid", "image"):
        with pytest.raises(InputError, match=r"solution\.npz: "):
            read_kernel(path, format=name)
    with pytest.raises(InputError, match=r"solution\.npz: there is no HDU \[1\]"):
        read_kernel(f"{path}[1]")


def test_archives_that_are_larger_unpacked(tmp_path: Path) -> None:
    with zipfile.ZipFile(DeltaSolution(SHAPE).write(tmp_path / "solution.npz", ("theta",)), "a", 8) as archive:
        archive.writestr("theta.npy", bytes(200_000_000))
    with pytest.raises(InputError, match=r"takes 200 MB, which is too much for a solution"):
        read_kernel(tmp_path / "solution.npz")


def test_commands(folder: Path) -> None:
    """Whatever takes a kernel takes it, of one exposure or of several."""
    line = ("run", "sci.fits", "tmpl.fits", "diff.fits", "--kernel", "solution.npz")
    DeltaSolution((80, 96)).write(folder / "solution.npz")
    said = told(folder, *line, "-o", "out.fits")
    assert said["kernel"]["format"] == "delta"
    pixels = fits.getdata(folder / "diff.fits")
    write_hdus(folder / "diff.fits", image_hdu(pixels, "IMAGE"))
    succeed(folder, *line, "--ext", "IMAGE", "-o", "ext.fits")
    assert "format           delta" in succeed(folder, "kernel", "show", "solution.npz").stdout
    succeed(folder, "kernel", "at", "solution.npz", "3", "4", "-o", "at.fits")
    np.testing.assert_allclose(fits.getdata(folder / "at.fits"), DeltaSolution((80, 96)).at(3, 4), atol=1e-9)
    DeltaSolution((80, 97)).write(folder / "other.npz")
    says = "other.npz: solution for images of 97 x 80 pixels, but the difference has 96 x 80"
    refused(folder, says, *line[:-1], "other.npz", "-o", "another.fits")


@pytest.mark.parametrize("decorrelated", [True, False])
def test_difference_that_delta_has_decorrelated(folder: Path, decorrelated: bool) -> None:
    """Its files say whether that was asked for."""
    pixels, first = fits.getdata(folder / "diff.fits"), {"DLTBETA": 1.3, "DLTDECOR": decorrelated}
    write_hdus(folder / "diff.fits", image_hdu(pixels, "DIFFERENCE"), image_hdu(pixels, "SCORE"), **first)
    warnings = told(folder, "run", *INPUTS, "-o", "out.fits")["warnings"]
    said = ["decorrelated already by delta (card DLTDECOR)" in text for text in warnings]
    assert any(said) == decorrelated
    assert not any("left out" in text for text in warnings)
