"""Kernels in archives of the LSST stack, written here by the rules of that format."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from numpy.polynomial.chebyshev import chebval

from diffim_decorr import InputError, read_kernel
from support.command import succeed
from support.files import make_inputs
from support.lsst import KERNEL, Archive


def correlated_at(image: np.ndarray, kernel: np.ndarray, centre: tuple[int, int], x: int, y: int) -> float:
    """One pixel of what afw's convolve makes: the kernel laid over the image, its centre (x, y) on that pixel."""
    height, width = kernel.shape
    x0, y0 = x - centre[0], y - centre[1]
    return float((image[y0 : y0 + height, x0 : x0 + width] * kernel).sum())


def convolved_at(image: np.ndarray, kernel: np.ndarray, x: int, y: int) -> float:
    """One pixel of the true convolution with a kernel whose centre is at (h // 2, w // 2)."""
    height, width = kernel.shape
    total = 0.0
    for row in range(height):
        for column in range(width):
            total += kernel[row, column] * image[y - (row - height // 2), x - (column - width // 2)]
    return total


RNG = np.random.default_rng(17)
IMAGE = RNG.normal(size=(30, 40))
PARTS = RNG.normal(size=(3, 3, 5))


@pytest.mark.parametrize(
    ("shape", "centre"),
    [((5, 7), None), ((4, 6), None), ((4, 6), (3, 2)), ((6, 5), (0, 5)), ((7, 7), (5, 1)), ((1, 1), None)],
)
def test_fixed_kernel_is_applied_by_correlation(
    tmp_path: Path, shape: tuple[int, int], centre: tuple[int, int] | None
) -> None:
    kernel = np.random.default_rng(3).normal(size=shape)
    archive = Archive()
    archive.fixed(kernel, centre)
    matching = read_kernel(archive.write(tmp_path / "k.fits"))
    assert (matching.format, matching.convolved, matching.normalized) == ("lsst", (None,), (None,))
    assert matching.kernel.is_constant
    used = ((shape[1] - 1) // 2, (shape[0] - 1) // 2) if centre is None else centre
    mine = convolved_at(IMAGE, matching.kernel.at(0, 0), 20, 15)
    assert mine == pytest.approx(correlated_at(IMAGE, kernel, used, 20, 15), rel=1e-13)


def polynomial(coefficients: list[float], x: float, y: float) -> float:
    c = coefficients
    return c[0] + c[1] * x + c[2] * y + c[3] * x**2 + c[4] * x * y + c[5] * y**2


def chebyshev(coefficients: list[float], x: float, y: float) -> float:
    """Of x and y already scaled to -1 … 1."""
    c = coefficients
    t = [[chebval(z, np.eye(4)[k]) for k in range(4)] for z in (x, y)]
    terms = [(0, 0), (1, 0), (0, 1), (2, 0), (1, 1), (0, 2), (3, 0), (2, 1), (1, 2), (0, 3)]
    return sum(value * t[0][i] * t[1][j] for value, (i, j) in zip(c, terms, strict=True))


def parts_of(archive: Archive) -> list[Callable[[], int]]:
    return [lambda image=image: archive.fixed(image) for image in PARTS]


def test_combination_with_polynomials_in_the_parent_frame(tmp_path: Path) -> None:
    coefficients = [[1.0, 2e-3, -1e-3, 3e-6, 2e-6, -4e-6], [0.5, 0, 0, 0, 0, 0], [0.1, -1e-3, 0, 0, 1e-6, 0]]
    archive = Archive()
    archive.combination(parts_of(archive), [lambda c=c: archive.polynomial(c) for c in coefficients])
    matching = read_kernel(archive.write(tmp_path / "k.fits"))
    assert matching.parent_frame
    for x, y in [(0, 0), (1000, 300), (4071.0, 2034.5)]:
        expected = sum(polynomial(c, x, y) * part for c, part in zip(coefficients, PARTS, strict=True))
        mine = convolved_at(IMAGE, matching.kernel.at(x, y), 20, 15)
        assert mine == pytest.approx(correlated_at(IMAGE, expected, (2, 1), 20, 15), rel=1e-12)


def test_combination_with_chebyshev_functions(tmp_path: Path) -> None:
    coefficients = np.random.default_rng(4).normal(size=(2, 10)).tolist()
    low, high = (100.0, -50.0), (2147.0, 4046.0)
    archive = Archive()
    archive.combination(
        parts_of(archive)[:2],
        [lambda c=c: archive.chebyshev(c, low, high) for c in coefficients],
    )
    matching = read_kernel(archive.write(tmp_path / "k.fits"))
    for x, y in [(100, -50), (1500, 800), (2147, 4046)]:
        scaled = 2 * (x - low[0]) / (high[0] - low[0]) - 1, 2 * (y - low[1]) / (high[1] - low[1]) - 1
        expected = sum(chebyshev(c, *scaled) * part for c, part in zip(coefficients, PARTS[:2], strict=True))
        np.testing.assert_allclose(matching.kernel.at(x, y)[::-1, ::-1], expected, rtol=0, atol=1e-12)


def test_functions_of_different_kinds_and_ranges(tmp_path: Path) -> None:
    cheby = np.random.default_rng(5).normal(size=10).tolist()
    powers = [0.3, 1e-3, -2e-3, 1e-6, 3e-6, 2e-6]
    archive = Archive()
    archive.combination(
        parts_of(archive),
        [
            lambda: archive.chebyshev(cheby, (0.0, 0.0), (1000.0, 2000.0)),
            lambda: archive.chebyshev(cheby, (-500.0, 10.0), (1500.0, 1010.0)),
            lambda: archive.polynomial(powers),
        ],
    )
    kernel = read_kernel(archive.write(tmp_path / "k.fits")).kernel
    for x, y in [(0, 10), (400, 900)]:
        values = (
            chebyshev(cheby, x / 500 - 1, y / 1000 - 1),
            chebyshev(cheby, (x - 500) / 1000, (y - 510) / 500),
            polynomial(powers, x, y),
        )
        expected = np.tensordot(values, PARTS, axes=1)
        np.testing.assert_allclose(kernel.at(x, y)[::-1, ::-1], expected, rtol=0, atol=1e-11)


def test_combination_that_does_not_vary_and_delta_functions(tmp_path: Path) -> None:
    archive = Archive()
    pixels = [(0, 0), (4, 1), (2, 2)]
    archive.combination(
        [lambda p=p: archive.delta(5, 3, *p) for p in pixels],
        amplitudes=[0.5, -0.25, 2.0],
    )
    kernel = read_kernel(archive.write(tmp_path / "k.fits")).kernel
    expected = np.zeros((3, 5))
    expected[0, 0], expected[1, 4], expected[2, 2] = 0.5, -0.25, 2.0
    np.testing.assert_array_equal(kernel.at(7, 8), expected[::-1, ::-1])
    assert kernel.is_constant


def test_one_pixel_and_one_part(tmp_path: Path) -> None:
    """Arrays of one element are columns of scalars."""
    archive = Archive()
    archive.combination([lambda: archive.fixed(np.array([[3.0]]))], [lambda: archive.polynomial([2.0])], size=(1, 1))
    assert read_kernel(archive.write(tmp_path / "k.fits")).kernel.at(1, 2) == 6.0


def test_points_of_tables_of_version_0(tmp_path: Path) -> None:
    archive = Archive(version=0)
    schema = (("dimensions", "2J", "Point"), ("center", "2J", "Point"), ("image", "6D", "Array"))
    values = {"dimensions": [3, 2], "center": [1, 0], "image": np.arange(6.0)}
    archive.put("FixedKernel", schema, lambda: values)
    kernel = read_kernel(archive.write(tmp_path / "k.fits")).kernel
    np.testing.assert_array_equal(kernel.at(0, 0), np.arange(6.0).reshape(2, 3)[::-1, ::-1])


@pytest.mark.parametrize("kind", ["KernelPsf", "PcaPsf"])
def test_kernel_within_an_exposure(tmp_path: Path, kind: str) -> None:
    """Beside images, other objects and the kernel of a PSF there is one matching kernel."""
    archive = Archive()
    archive.put("SkyWcs", (("wcs", "4B", "Array"),), lambda: {"wcs": [1, 2, 3, 4]})
    psf = (("averagePosition_x", "1D", "Scalar"), ("averagePosition_y", "1D", "Scalar"), ("kernel", "1J", "Scalar"))
    archive.put("DoubleGaussianPsf", (("width", "1J", "Scalar"),), lambda: {"width": 3})
    archive.put(
        kind,
        psf,
        lambda: {"averagePosition_x": 0.0, "averagePosition_y": 0.0, "kernel": archive.fixed(np.ones((3, 5)))},
    )
    image = fits.ImageHDU(np.zeros((30, 40), "f4"), name="IMAGE")
    path = archive.write(tmp_path / "psf.fits", image)
    with pytest.raises(InputError, match=r"psf\.fits\[ARCHIVE_INDEX\]: the only kernel .* is that of a PSF"):
        read_kernel(path)
    archive.fixed(PARTS[0])
    path = archive.write(tmp_path / "both.fits", image)
    for spec in ("", "[2]", "[ARCHIVE_INDEX]"):
        matching = read_kernel(f"{path}{spec}")
        assert matching.name == f"{path}[ARCHIVE_INDEX]"
        np.testing.assert_array_equal(matching.kernel.at(0, 0), PARTS[0][::-1, ::-1])
    # An object that was saved without rows, and an archive without kernels before this one.
    archive.index.append((40, -1, -1, -1, 0, "CoaddPsf", ""))
    other = Archive()
    other.put("SkyWcs", (("wcs", "4B", "Array"),), lambda: {"wcs": [1, 2, 3, 4]})
    assert read_kernel(archive.write(tmp_path / "two.fits", *other.hdus())).format == "lsst"
    archive.fixed(PARTS[1])
    with pytest.raises(InputError, match=r"several kernels \(FixedKernel 5, FixedKernel 6\); one is needed"):
        read_kernel(archive.write(tmp_path / "three.fits"))


def test_the_command_takes_an_archive(tmp_path: Path) -> None:
    """The whitened image is that of the same kernel as an image, turned round."""
    make_inputs(tmp_path)
    kernel = np.random.default_rng(9).random((5, 5)) / 12
    fits.writeto(tmp_path / "image.fits", kernel[::-1, ::-1])
    archive = Archive()
    archive.fixed(kernel)
    archive.write(tmp_path / "lsst.fits")
    for name in ("image", "lsst"):
        succeed(
            tmp_path, "run", "sci.fits", "tmpl.fits", "diff.fits", "-k", f"{name}.fits", "-o", f"{name}_out.fits",
            "--kernel-format", name,
        )  # fmt: skip
    one, other = (fits.getdata(tmp_path / f"{name}_out.fits", "IMAGE") for name in ("image", "lsst"))
    np.testing.assert_array_equal(one, other)


def broken(kind: str) -> Archive:
    archive = Archive()
    kernel = np.ones((3, 5))
    if kind == "analytic":
        archive.put("AnalyticKernel", KERNEL, lambda: archive.shape(3, 3, (1, 1)))
    elif kind == "zeros":
        archive.fixed(0 * kernel)
    elif kind == "nan":
        archive.fixed(kernel * np.nan)
    elif kind == "centre":
        archive.fixed(kernel, (5, 1))
    elif kind == "size":
        schema = (*KERNEL, ("image", "15D", "Array"))
        archive.put("FixedKernel", schema, lambda: archive.shape(3, 3, (1, 1)) | {"image": kernel.ravel()})
    elif kind == "huge":
        schema = (*KERNEL, ("image", "15D", "Array"))
        archive.put("FixedKernel", schema, lambda: archive.shape(3000, 3, (1, 1)) | {"image": kernel.ravel()})
    elif kind == "words":
        schema = (*KERNEL, ("image", "9A", "Array"))
        archive.put("FixedKernel", schema, lambda: archive.shape(3, 3, (1, 1)) | {"image": "0 1 2 3 4"})
    elif kind == "no image":
        archive.put("FixedKernel", KERNEL, lambda: archive.shape(3, 3, (1, 1)))
    elif kind == "pixel":
        archive.combination([lambda: archive.delta(5, 3, 5, 0)], amplitudes=[1.0])
    elif kind == "sizes":
        archive.combination([lambda: archive.fixed(kernel), lambda: archive.fixed(kernel.T)], amplitudes=[1.0, 1.0])
    elif kind == "missing part":
        archive.combination([lambda: 9], amplitudes=[1.0])
    elif kind == "no function":
        archive.combination([lambda: archive.fixed(kernel)], [lambda: 0])
    elif kind == "count":
        archive.combination([lambda: archive.fixed(kernel)] * 2, [lambda: archive.polynomial([1.0])])
    elif kind == "gaussian":
        schema = (("sigma1", "1D", "Scalar"),)
        archive.combination(
            [lambda: archive.fixed(kernel)],
            [lambda: archive.put("GaussianFunction2D", schema, lambda: {"sigma1": 1.0})],
        )
    elif kind == "degree":
        archive.combination([lambda: archive.fixed(kernel)], [lambda: archive.polynomial([1.0, 2.0])])
    elif kind == "range":
        archive.combination(
            [lambda: archive.fixed(kernel)], [lambda: archive.chebyshev([1.0], (0.0, 0.0), (10.0, 0.0))]
        )
    elif kind == "table":
        archive.fixed(kernel)
        archive.index[0] = (1, 7, 0, 0, 1, "FixedKernel", "")
    elif kind == "row":
        archive.fixed(kernel)
        archive.index[0] = (1, 1, 0, 4, 1, "FixedKernel", "")
    return archive


@pytest.mark.parametrize(
    ("kind", "cause"),
    [
        ("analytic", "AnalyticKernel 1 is not understood; what is understood: FixedKernel, LinearCombinationKernel"),
        ("zeros", "nothing but zeros"),
        ("nan", "column image of FixedKernel 1 is not finite"),
        ("centre", r"the centre \(5, 1\) of FixedKernel 1 lies outside"),
        ("size", "FixedKernel 1 has 15 numbers in column image instead of 9"),
        ("huge", "3000 x 3 pixels"),
        ("words", "column image of FixedKernel 1 holds no plain numbers"),
        ("no image", "FixedKernel 1 has no column image"),
        ("pixel", r"the pixel \(5, 0\) of DeltaFunctionKernel 2 lies outside"),
        ("sizes", "different sizes or centres"),
        ("missing part", "lacks the object 9"),
        ("no function", "lacks the object 0"),
        ("count", "has 1 numbers in column spatialfunctions instead of 2"),
        ("gaussian", "GaussianFunction2D 2 is not understood"),
        ("degree", "has 2 coefficients, of no degree"),
        ("range", r"ranges from \[0\.0, 0\.0\] to \[10\.0, 0\.0\]"),
        ("table", "lies in table 7, which is none"),
        ("row", "lies in row 4 of 1"),
    ],
)
def test_broken_archives(tmp_path: Path, kind: str, cause: str) -> None:
    path = broken(kind).write(tmp_path / "k.fits")
    with pytest.raises(InputError, match=cause) as caught:
        read_kernel(path)
    assert str(caught.value).startswith(f"{path}[ARCHIVE_INDEX]: ")


def test_archives_without_a_kernel(tmp_path: Path) -> None:
    archive = Archive()
    archive.put("SkyWcs", (("wcs", "4B", "Array"),), lambda: {"wcs": [1, 2, 3, 4]})
    path = archive.write(tmp_path / "k.fits")
    with pytest.raises(InputError, match=r"k\.fits: holds no kernel of a known format"):
        read_kernel(path)
    with pytest.raises(InputError, match="the archive holds no kernel"):
        read_kernel(path, format="lsst")
    with pytest.raises(InputError, match=r"k\.fits: holds no archive of LSST objects"):
        read_kernel(f"{path}[0]", format="lsst")
    archive.fixed(PARTS[0])
    path = archive.write(tmp_path / "short.fits")
    fits.setval(path, "AR_NCAT", value=9, ext=1)
    with pytest.raises(InputError, match="AR_NCAT is 9"):
        read_kernel(path)
