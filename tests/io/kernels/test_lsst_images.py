"""Kernels inside the difference images of LSST's package of 2026."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits

from diffim_decorr import InputError, read_exposure, read_kernel
from support.command import refused, told
from support.data import LSST_IMAGES, needs_lsst_images
from support.files import has_plane, image_hdu
from support.kernels import gaussian
from support.lsst_images import SCHEMAS, write_file
from support.reference import autocorrelation

RNG = np.random.default_rng(11)
BASIS = RNG.normal(size=(3, 5, 6))
# (x0, x1, y0, y1) and orders[y, x] of each field; the last has bounds of its own.
WHOLE = (100, 140, 20, 51)
FIELDS = (
    (WHOLE, np.array([[1.5]])),
    (WHOLE, RNG.normal(size=(2, 4))),
    ((90, 137, 22, 60), RNG.normal(size=(3, 2))),
)


def field(bounds: tuple[int, int, int, int], orders: np.ndarray) -> dict[str, Any]:
    x0, x1, y0, y1 = bounds
    return {
        "schema_url": f"{SCHEMAS}/chebyshev_field-1.0.0",
        "bounds": {"y": {"start": y0, "stop": y1}, "x": {"start": x0, "stop": x1}},
        "coefficients": {"data": orders.tolist(), "datatype": "float64"},
        "field_type": "CHEBYSHEV",
    }


def kernel_node(**changed: Any) -> dict[str, Any]:
    return {
        "schema_version": "1.0.0",
        "min_read_version": 1,
        "schema_url": f"{SCHEMAS}/image_basis_convolution_kernel-1.0.0",
        "basis": {"data": BASIS.tolist(), "datatype": "float64"},
        "spatial": [field(*one) for one in FIELDS],
        "center_y": 2,
        "center_x": 2,
    } | changed


def write(path: Path, kernel: Any, *hdus: Any, **top: Any) -> Path:
    tree = {"schema_version": "1.2.0", "min_read_version": 1, "kernel": kernel} | top
    return write_file(path, tree, *hdus, model="difference_image-1.2.0")


def correlated(x: float, y: float) -> np.ndarray:
    """The kernel for correlation, from the polynomials' definition: a field's edges are those of its outer pixels."""
    total = np.zeros(BASIS.shape[1:])
    for image, ((x0, x1, y0, y1), orders) in zip(BASIS, FIELDS, strict=True):
        u, v = (2 * (t - low + 0.5) / (high - low) - 1 for t, low, high in ((x, x0, x1), (y, y0, y1)))
        along_y, along_x = (np.cos(np.arange(n) * np.arccos(t)) for n, t in zip(orders.shape, (v, u), strict=True))
        total += (along_y @ orders @ along_x) * image
    return total


@pytest.mark.parametrize("version", ["1.0.0", "1.2.0", "1.19.3"])
@pytest.mark.parametrize("stored", ["in the tree", "in an HDU", "in one of a later version"])
def test_kernel_is_what_its_polynomials_say(path: Path, version: str, stored: str) -> None:
    """In the parent frame, turned round for convolution, of whatever minor version."""
    hdus = []
    kernel = kernel_node(schema_version=version, unheard_of=[1])
    if stored != "in the tree":
        later = stored == "in one of a later version"
        kernel["basis"] = {"source": "fits:KERNEL/BASIS" + (",2" if later else ""), "shape": BASIS.shape}
        hdus = [image_hdu(0 * BASIS, "KERNEL/BASIS"), image_hdu(BASIS, "KERNEL/BASIS", 2)] if later else []
        hdus = hdus or [fits.CompImageHDU(BASIS, name="KERNEL/BASIS", compression_type="GZIP_2", quantize_level=0)]
    matching = read_kernel(write(path, kernel, *hdus, schema_version=version))
    assert matching.format == "lsst-images"
    assert matching.parent_frame
    assert (matching.convolved, matching.normalized) == ((None,), (None,))
    assert str(matching.field) == "x from 100 to 136 and y from 22 to 50"
    for x, y in [(100, 22), (136, 50), (118.25, 31.75)]:
        image = matching.kernel.at(x, y)
        # Six columns about the third, turned round, are six about the fourth: the centre is at w // 2.
        np.testing.assert_allclose(image, correlated(x, y)[::-1, ::-1], atol=1e-13)
    assert image.shape == (5, 6)


def test_kernel_about_any_centre(path: Path) -> None:
    """The pixel of the centre is that of no shift, wherever it lies in the basis images."""
    image = read_kernel(write(path, kernel_node(center_x=5, center_y=1))).kernel.at(120, 40)
    height, width = image.shape
    expected = correlated(120, 40)
    for dy in range(-1, 4):
        for dx in range(-5, 1):
            assert image[height // 2 - dy, width // 2 - dx] == pytest.approx(expected[1 + dy, 5 + dx], abs=1e-13)
    assert np.count_nonzero(np.abs(image) > 1e-9) == expected.size


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        (
            {"min_read_version": 2},
            r"of schema image_basis_convolution_kernel 1\.0\.0; only versions 1\.x",
        ),
        ({"schema_version": "2.0.0"}, r"the kernel is of schema image_basis_convolution_kernel 2\.0\.0; only"),
        ({"schema_url": f"{SCHEMAS}/pca_kernel-1.0.0"}, "the kernel is a pca_kernel, of which only image_basis"),
        ({"basis": None}, "the kernel's basis: is in None, which is no HDU"),
        ({"basis": {"source": "fits:NONE"}}, "the kernel's basis: is in 'fits:NONE', which is no HDU"),
        ({"basis": {"data": [[1.0, 2.0]]}}, "the kernel's basis: has 2 axes instead of 3"),
        ({"basis": {"data": [[[1.0]], [1.0]]}}, "the kernel's basis: is no array of numbers"),
        ({"basis": {"data": [[[float("nan")]]] * 3}}, "the kernel's basis: holds numbers that are not finite"),
        ({"basis": {"data": (0 * BASIS).tolist()}}, "the kernel holds nothing but zeros"),
        ({"basis": {"data": np.ones((3, 1, 1002)).tolist()}}, "has 3 basis images of 1002 x 1 pixels"),
        ({"center_x": 6}, r"the centre \(6, 2\) of the kernel lies outside of its 6 x 5 pixels"),
        ({"center_y": None}, r"the centre \(2, None\) of the kernel"),
        ({"spatial": [field(*FIELDS[0])]}, "has 3 basis images, but not as many fields"),
        ({"spatial": [1, 2, 3]}, "a field of the kernel is no tree"),
        ({"spatial": [{"schema_url": f"{SCHEMAS}/spline_field-1.0.0"}] * 3}, "a field of the kernel is a spline_field"),
        ({"spatial": [{**field(*FIELDS[0]), "min_read_version": 2}] * 3}, r"of schema chebyshev_field 1\.0\.0; only"),
        ({"spatial": [{**field(*FIELDS[0]), "bounds": {"region": []}}] * 3}, "no rectangle of pixels"),
        ({"spatial": [field((5, 5, 0, 9), np.eye(1))] * 3}, "no rectangle of pixels"),
        ({"spatial": [field(WHOLE, np.zeros((22, 1)))] * 3}, "has 22 x 1 coefficients"),
        ({"spatial": [field(WHOLE, np.full((1, 1), np.inf))] * 3}, "coefficients of a field .* not finite"),
        (
            {"spatial": [field(b, np.eye(1)) for b in ((0, 5, 0, 5), (5, 9, 0, 5), (0, 5, 0, 5))]},
            "the fields of the kernel have no pixel in common",
        ),
    ],
)
def test_kernels_that_cannot_be_read(path: Path, changed: dict[str, Any], says: str) -> None:
    with pytest.raises(InputError, match=says) as caught:
        read_kernel(write(path, kernel_node(**changed)))
    assert str(caught.value).startswith(str(path))


def test_files_without_a_kernel(path: Path, tmp_path: Path) -> None:
    """They must not pass for an image of a kernel."""
    with pytest.raises(InputError, match=r"image\.fits: its tree holds no matching kernel; give the kernel"):
        read_kernel(write(path, None))
    with pytest.raises(InputError, match=r"image\.fits\[JSON\]: the kernel is no tree"):
        read_kernel(write(path, [1]))
    fits.writeto(tmp_path / "plain.fits", gaussian(9, 1.0))
    with pytest.raises(InputError, match=r"plain\.fits: was not written by lsst\.images"):
        read_kernel(tmp_path / "plain.fits", format="lsst-images")
    with pytest.raises(InputError, match=r"is of schema version 2\.0\.0; only versions 1\.x"):
        read_kernel(write(path, kernel_node(), schema_version="2.0.0"))


INPUTS = [str(LSST_IMAGES / f"{name}.fits") for name in ("science", "template", "difference")]


@needs_lsst_images
def test_kernel_of_a_file_that_the_package_wrote() -> None:
    """Its own kernel images, at three positions of the parent frame."""
    matching = read_kernel(INPUTS[2])
    with fits.open(LSST_IMAGES / "kernel_truth.fits") as hdus:
        assert len(hdus) == 4
        for hdu in hdus[1:]:
            image = matching.at(hdu.header["X"], hdu.header["Y"])[::-1, ::-1]
            np.testing.assert_allclose(image, hdu.data, atol=1e-12 * hdu.data.max())


@needs_lsst_images
@pytest.mark.parametrize("kernel", [(), ("--kernel", INPUTS[2])])
def test_difference_with_its_kernel_inside(tmp_path: Path, kernel: tuple[str, ...]) -> None:
    """White without a word; a transient is not replaced, missing pixels are flagged."""
    said = told(tmp_path, "run", *INPUTS, *kernel, "--spatial", "-o", "out.fits")
    assert said["warnings"] == []
    assert said["verdict"]["status"] == "ok"
    result = read_exposure(tmp_path / "out.fits")
    missing, transient = has_plane(result, "NO_DATA"), has_plane(result, "DETECTED")
    assert missing.sum() == 120
    assert transient[140, 150]
    assert not (transient & (has_plane(result, "DECORR_BAD") | has_plane(result, "DECORR_FILLED"))).any()
    use = ~(missing | transient | has_plane(result, "DECORR_BAD"))
    rho = autocorrelation(result.image / np.sqrt(result.variance), use)
    rho[5, 5] = 0
    assert np.abs(rho).max() < 4.5 / np.sqrt(use.sum())


@needs_lsst_images
def test_a_difference_that_has_no_kernel(tmp_path: Path) -> None:
    line = ("run", *INPUTS[:2], INPUTS[0])
    refused(tmp_path, "its tree holds no matching kernel; give the kernel in a file of its own", *line, "-o", "o.fits")
