"""Solutions of SFFT: its own differences come out, and what is wrong with a solution is said."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits
from command import decorr
from diffim_decorr.matching import MatchingKernel
from reference import brute_force
from scipy.signal import fftconvolve

from diffim_decorr import InputError, read_kernel

JWST = Path(__file__).resolve().parents[2] / "shared" / "data" / "jwst_a2744"
needs_jwst = pytest.mark.skipif(not JWST.is_dir(), reason="the data folder shared/data/jwst_a2744 is absent")
SFFT = Path(__file__).parent / "data" / "sfft"


def pixels(path: Path) -> np.ndarray:
    return np.nan_to_num(fits.getdata(path).astype(float))


def own_difference(matching: MatchingKernel, science: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """The difference that SFFT makes with a kernel, but for the background."""
    (side,) = matching.convolved
    image, sign = (science, 1.0) if side == "science" else (reference, -1.0)
    # It weights the image before it convolves.
    weights = matching.kernel.coefficients.grid(np.arange(image.shape[1]), np.arange(image.shape[0]))
    convolved = sum(fftconvolve(w * image, b, "same") for w, b in zip(weights, matching.kernel.basis, strict=True))
    return sign * convolved - sign * (reference if side == "science" else science)


def deviation(mine: np.ndarray, theirs: np.ndarray, margin: int) -> np.ndarray:
    """What is left of a constant background, away from the edges, where SFFT wraps around."""
    residual = (mine - theirs)[margin:-margin, margin:-margin]
    return residual - np.median(residual)


@needs_jwst
def test_difference_of_the_jwst_pair_is_reproduced() -> None:
    science, reference, theirs = (pixels(JWST / f"{name}.fits") for name in ("sci", "tmpl", "sfft_diff"))
    matching = read_kernel(JWST / "sfft_solution.fits", science.shape, fits.getheader(JWST / "sfft_diff.fits"))
    assert (matching.format, matching.convolved, matching.normalized) == ("sfft", ("template",), (False,))
    assert not matching.parent_frame
    sigma = np.sqrt(sum(np.nanmedian(pixels(JWST / f"{name}_noise.fits") ** 2) for name in ("sci", "tmpl")))
    # The difference is of single precision: half a unit in the last place of the brightest star is 2e-6 sigma.
    assert np.abs(deviation(own_difference(matching, science, reference), theirs, 20)).max() < 5e-6 * sigma


@pytest.mark.parametrize(
    ("name", "side", "count"),
    # Functions along x and y of the kernel, and those of its sum.
    [
        ("spline_spline", "template", 4 * 5 + 3 * 2),
        ("spline_poly", "science", 4 * 3 + 3),
        ("poly_poly", "template", 6 + 3),
    ],
)
def test_differences_of_bsplines_and_separate_scaling_are_reproduced(name: str, side: str, count: int) -> None:
    science, reference, theirs = (pixels(SFFT / f"{file}.fits.gz") for file in ("sci", "ref", f"{name}_diff"))
    matching = read_kernel(SFFT / f"{name}_solution.fits", science.shape)
    assert matching.convolved == (side,)
    assert len(matching.kernel.basis) == count
    mine = own_difference(matching, science, reference)
    assert np.abs(deviation(mine, theirs, 3)).max() < 1e-7 * np.abs(theirs).max()
    # The same in coordinates that begin elsewhere.
    moved = matching.kernel.shifted(30, -7)
    np.testing.assert_allclose(moved.at(41, 5), matching.kernel.at(11, 12), rtol=0, atol=1e-13)


def by_hand() -> Callable[[int, int], np.ndarray]:
    """The kernel of the JWST solution at 0-based pixels."""
    header, solution = fits.getheader(JWST / "sfft_solution.fits"), fits.getdata(JWST / "sfft_solution.fits")[0]
    planes = (solution[: -header["FPQ"]] / (900 * 900)).reshape(6, 15, 15)
    planes[:, 7, 7] = 2 * planes[:, 7, 7] - planes.sum(axis=(1, 2))
    powers = [(i, j) for i in range(3) for j in range(3 - i)]

    def kernel(x: int, y: int) -> np.ndarray:
        u, v = (x + 1) / 900, (y + 1) / 900
        return sum(plane * u**i * v**j for plane, (i, j) in zip(planes, powers, strict=True)).T

    return kernel


@needs_jwst
def test_whitened_jwst_difference_is_that_of_brute_force(tmp_path: Path) -> None:
    svar, tvar = (float(np.nanmedian(pixels(JWST / f"{name}_noise.fits") ** 2)) for name in ("sci", "tmpl"))
    files = [JWST / f"{name}.fits" for name in ("sci", "tmpl", "sfft_diff")]
    done = decorr(
        tmp_path, "run", *files, "--kernel", JWST / "sfft_solution.fits", "--spatial",
        "--svar", svar, "--tvar", tvar, "-o", "out.fits", "--json",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["mode"] == "spatial"
    result = fits.getdata(tmp_path / "out.fits", "IMAGE").astype(float)
    difference = pixels(JWST / "sfft_diff.fits")
    positions = [(int(x), int(y)) for x, y in np.random.default_rng(5).integers(60, 840, (60, 2))]

    kernel = by_hand()

    def psi(x: int, y: int) -> np.ndarray:
        padded = np.zeros((256, 256))
        padded[:15, :15] = kernel(x, y)
        power = svar + tvar * np.abs(np.fft.fft2(padded)) ** 2
        whole = np.fft.fftshift(np.fft.ifft2(np.sqrt(power[0, 0] / power)).real)
        return whole[68:189, 68:189]

    here = np.array([result[y, x] for x, y in positions])
    errors = (brute_force(difference, positions, psi) - here) / np.sqrt(svar + tvar)
    assert np.abs(errors).max() < 2e-3


def write_solution(path: Path, vector: np.ndarray | None = None, **cards: Any) -> Path:
    """A solution of degree 1 with a kernel of 3 x 5 pixels, for images of 60 x 40."""
    count = 3 * 3 * 5 + 1
    hdu = fits.PrimaryHDU((np.random.default_rng(2).normal(size=count) if vector is None else vector)[None])
    hdu.header.update({"N0": 60, "N1": 40, "L0": 3, "L1": 5, "DK": 1, "FPQ": 1})
    for key, value in cards.items():
        if value is None:
            del hdu.header[key]
        else:
            hdu.header[key] = value
    hdu.writeto(path)
    return path


def test_axes_of_the_solution(tmp_path: Path) -> None:
    vector = np.random.default_rng(2).normal(size=46) * 60 * 40
    kernel = read_kernel(write_solution(tmp_path / "s.fits", vector), (40, 60)).kernel
    assert kernel.shape == (5, 3)
    # The element at dx = 1, dy = -2 is the third along x and the first along y.
    element = vector[:-1].reshape(3, 3, 5)[:, 2, 0] / (60 * 40)
    x, y = 12.0, 33.0
    # The powers are 1, v, u.
    expected = element[0] + element[1] * (y + 1) / 40 + element[2] * (x + 1) / 60
    assert kernel.at(x, y)[0, 2] == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(
    ("own", "difference", "convolved"),
    [
        (None, None, None),
        (None, "REF", "template"),
        (None, "SCI", "science"),
        ("SCI", "REF", "science"),
    ],
)
def test_convd_of_the_solution_or_of_the_difference(
    tmp_path: Path, own: str | None, difference: str | None, convolved: str | None
) -> None:
    path = write_solution(tmp_path / "s.fits", **({} if own is None else {"CONVD": own}))
    header = None if difference is None else fits.Header({"CONVD": difference})
    assert read_kernel(path, (40, 60), header).convolved == (convolved,)


def test_command_takes_convd_from_the_difference(tmp_path: Path) -> None:
    rng = np.random.default_rng(8)
    for name in ("sci", "tmpl", "diff"):
        fits.writeto(tmp_path / f"{name}.fits", rng.normal(size=(40, 60)).astype("f4"))
    write_solution(tmp_path / "s.fits", np.abs(rng.normal(size=46)) * 60 * 40)
    line = ["run", "sci.fits", "tmpl.fits", "diff.fits", "-k", "s.fits", "--svar", 1, "--tvar", 1, "--overwrite"]
    cards = []
    for convd in ("REF", "SCI"):
        fits.setval(tmp_path / "diff.fits", "CONVD", value=convd)
        done = decorr(tmp_path, *line)
        assert done.returncode == 0, done.stderr
        cards.append(fits.getheader(tmp_path / "diff_decorr.fits")["DCCONV"])
    assert cards == ["template", "science"]


SPLINE = {"KSPTYPE": "B-Spline", "NKIKX": 0, "NKIKY": 0, "DK": 1}
SCALING = {"SEPSCA": "True", "SSPTYPE": "Polynomial", "SSPDEG": 1}


@pytest.mark.parametrize(
    ("vector", "cards", "cause"),
    [
        (None, {"N0": 61}, "solution for images of 61 x 40 pixels, but the difference has 60 x 40"),
        (None, {"N1": 0}, "N1 is 0"),
        (None, {"L0": 4}, "4 x 5 pixels, but the sides of SFFT's kernels are odd"),
        (None, {"L1": 1003}, "L1 is 1003"),
        (None, {"DK": 2}, "45 coefficients of the kernel, but 6 functions and 3 x 5 pixels need 90"),
        (None, {"DK": -1}, "DK is -1"),
        (None, {"FPQ": 47}, "FPQ is 47"),
        (np.zeros(46), {}, "nothing but zeros"),
        (np.full(46, np.nan), {}, "not finite"),
        (None, {"CONVD": "BOTH"}, "CONVD is 'BOTH'"),
        (None, {"KSPTYPE": "Spline"}, "KSPTYPE is 'Spline'"),
        (np.ones(61), SPLINE | {"NKIKX": None}, "NKIKX is missing"),
        (np.ones(91), SPLINE | {"NKIKX": 1}, "KIKX0 is None"),
        (np.ones(91), SPLINE | {"NKIKX": 1, "KIKX0": 60.5}, r"KIKX0 is 60\.5"),
        (np.ones(121), SPLINE | {"NKIKY": 2, "KIKY0": 20.0, "KIKY1": 20.0}, "KIKY0, KIKY1, … do not increase"),
        (None, SCALING | {"SSPTYPE": "None"}, "SSPTYPE is 'None'"),
        (None, SCALING | {"SSPDEG": 2}, "flux has 6 functions, the kernel only 3"),
        (None, SCALING | {"SSPDEG": "two"}, "SSPDEG is 'two'"),
    ],
)
def test_broken_solutions(tmp_path: Path, vector: np.ndarray | None, cards: dict[str, Any], cause: str) -> None:
    with_placeholders = {key: value for key, value in cards.items() if value is not None}
    path = write_solution(tmp_path / "s.fits", vector, **with_placeholders)
    with pytest.raises(InputError, match=cause) as caught:
        read_kernel(path, (40, 60))
    assert str(caught.value).startswith(f"{path}: ")


def test_solution_without_flux_functions_of_its_own(tmp_path: Path) -> None:
    """A constant kernel sum (SEPSCA with degree 0) needs nothing else than the kernel's own functions."""
    vector = np.random.default_rng(4).normal(size=46)
    plain = read_kernel(write_solution(tmp_path / "a.fits", vector)).kernel
    constant = read_kernel(write_solution(tmp_path / "b.fits", vector, SEPSCA="True", SSPDEG=0)).kernel
    np.testing.assert_array_equal(plain.at(7, 8), constant.at(7, 8))


def test_bsplines_of_no_inner_knots_are_polynomials(tmp_path: Path) -> None:
    """The kernel of B-splines is the polynomial one where both describe the same functions."""
    # 1, u and v as products of the two linear B-splines on each axis, with u from 0 to 1.
    rng = np.random.default_rng(6)
    corners = rng.normal(size=(2, 2, 3, 5)) * 60 * 40
    corners[1, 1] = corners[1, 0] + corners[0, 1] - corners[0, 0]
    spline = read_kernel(write_solution(tmp_path / "s.fits", np.append(corners.ravel(), 0.0), **SPLINE)).kernel
    # u = (x + 1) / 60 is 0.5 / 60 at the first end and 60.5 / 60 at the last.
    along_x, along_y = corners[1, 0] - corners[0, 0], corners[0, 1] - corners[0, 0]
    first = corners[0, 0] - along_x * 0.5 / 60 - along_y * 0.5 / 40
    vector = np.append(np.array([first, along_y, along_x]).ravel(), 0.0)
    polynomial = read_kernel(write_solution(tmp_path / "p.fits", vector)).kernel
    for x, y in [(5, 6), (30, 12), (55, 35)]:
        np.testing.assert_allclose(spline.at(x, y), polynomial.at(x, y), rtol=0, atol=1e-12)
    grid = spline.coefficients.grid(np.array([5, 30]), np.array([6, 12, 35]))
    np.testing.assert_allclose(np.tensordot(grid[:, 1, 1], spline.basis, axes=1), spline.at(30, 12), atol=1e-12)


def test_forced_format_of_something_else(tmp_path: Path) -> None:
    fits.writeto(tmp_path / "k.fits", np.ones((3, 3)))
    with pytest.raises(InputError, match=r"k\.fits: holds no solution of SFFT.*N0, N1, L0, L1, DK, FPQ"):
        read_kernel(tmp_path / "k.fits", format="sfft")
