"""Solutions of SFFT: what they say, and what is wrong with them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits

from diffim_decorr import InputError, read_kernel
from support.command import succeed
from support.sfft import write_solution


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
        succeed(tmp_path, *line)
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
    with pytest.raises(InputError, match=r"k\.fits: holds no solution of SFFT.*L0, L1, DK, FPQ"):
        read_kernel(tmp_path / "k.fits", format="sfft")


def test_solutions_before_2022_do_not_say_the_size_of_the_image(tmp_path: Path) -> None:
    """It is then the difference's."""
    new = read_kernel(write_solution(tmp_path / "new.fits"), (40, 60))
    old = write_solution(tmp_path / "old.fits")
    with fits.open(old, mode="update") as hdus:
        del hdus[0].header["N0"], hdus[0].header["N1"]
    np.testing.assert_array_equal(read_kernel(old, (40, 60)).at(10, 20), new.at(10, 20))
    with pytest.raises(InputError, match=r"SFFT's solution lacks the cards N0 and N1"):
        read_kernel(old)
