"""Kernels that are one image or array."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from diffim_decorr import InputError, MatchingKernel, read_kernel


def a_kernel(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(height * 100 + width).normal(0.3, 1.0, (height, width))


@pytest.mark.parametrize("shape", [(5, 7), (6, 6), (4, 9), (1, 1)])
def test_image_of_any_size(tmp_path: Path, shape: tuple[int, int]) -> None:
    image = a_kernel(*shape)
    fits.writeto(tmp_path / "k.fits", image)
    matching = read_kernel(tmp_path / "k.fits")
    assert (matching.format, matching.convolved, matching.normalized) == ("image", (None,), (None,))
    assert matching.kernel.is_constant
    np.testing.assert_array_equal(matching.kernel.at(12, 345), image)


@pytest.mark.parametrize("dtype", [">f4", "<f4", ">f8", "<f8", ">i2", ">i4", "u1", "u2"])
def test_image_of_any_type(tmp_path: Path, dtype: str) -> None:
    image = np.abs(100 * a_kernel(5, 5)).astype(dtype)
    fits.writeto(tmp_path / "k.fits", image)
    kernel = read_kernel(tmp_path / "k.fits").kernel.at(0, 0)
    assert kernel.dtype == np.dtype("=f8")
    np.testing.assert_array_equal(kernel, image)


def test_image_of_scaled_integers(tmp_path: Path) -> None:
    image = a_kernel(5, 5)
    hdu = fits.PrimaryHDU(image.copy())
    hdu.scale("int16", bscale=1e-4, bzero=0.5)
    hdu.writeto(tmp_path / "k.fits")
    np.testing.assert_allclose(read_kernel(tmp_path / "k.fits").kernel.at(0, 0), image, atol=6e-5)


def test_image_with_idle_axes_and_compressed_images(tmp_path: Path) -> None:
    image = a_kernel(5, 6)
    fits.writeto(tmp_path / "axes.fits", image[None, None])
    np.testing.assert_array_equal(read_kernel(tmp_path / "axes.fits").kernel.at(0, 0), image)
    fits.writeto(tmp_path / "k.fits.gz", image)
    np.testing.assert_array_equal(read_kernel(tmp_path / "k.fits.gz").kernel.at(0, 0), image)
    packed = fits.CompImageHDU(image.astype(np.float32), compression_type="GZIP_2", quantize_level=0)
    fits.HDUList([fits.PrimaryHDU(), packed]).writeto(tmp_path / "k.fits.fz")
    np.testing.assert_array_equal(read_kernel(tmp_path / "k.fits.fz").kernel.at(0, 0), image.astype(np.float32))


def test_image_in_a_chosen_hdu(tmp_path: Path) -> None:
    images = [a_kernel(3, width) for width in (3, 4, 5)]
    hdus = fits.HDUList([fits.PrimaryHDU(), *(fits.ImageHDU(image, name="KER") for image in images)])
    for version, hdu in enumerate(hdus[1:], 1):
        hdu.ver = version
    hdus.append(fits.ImageHDU(a_kernel(2, 2), name="OTHER"))
    path = tmp_path / "k.fits"
    hdus.writeto(path)
    for spec, image in [("", images[0]), ("[2]", images[1]), ("[KER,3]", images[2]), ("[other]", a_kernel(2, 2))]:
        np.testing.assert_array_equal(read_kernel(f"{path}{spec}").kernel.at(0, 0), image)
    assert read_kernel(f"{path}[KER,3]").name == f"{path}[KER,3]"
    with pytest.raises(InputError, match=re.escape(f"{path}: there is no HDU [NONE]")):
        read_kernel(f"{path}[NONE]")
    with pytest.raises(InputError, match=r"k\.fits\[0\]: holds no kernel"):
        read_kernel(f"{path}[0]")


@pytest.mark.parametrize(
    ("image", "cause"),
    [
        (np.array([[1.0, np.nan], [0.0, 1.0]]), "not finite"),
        (np.array([[1.0, -np.inf], [0.0, 1.0]]), "not finite"),
        (np.zeros((5, 5)), "nothing but zeros"),
        (np.ones(5), "2-D image, not an array of 1 dimension$"),
        (np.ones((0, 5)), "no pixels"),
        (np.ones((3, 1002)), "1002 x 3 pixels look like an image"),
        (np.ones((2, 3, 3)), "cube of kernels needs a table|2-D image, not an array of 3 dimensions"),
    ],
)
def test_images_that_are_no_kernels(tmp_path: Path, image: np.ndarray, cause: str) -> None:
    path = tmp_path / "k.fits"
    fits.writeto(path, image)
    with pytest.raises(InputError, match=cause) as caught:
        read_kernel(path)
    assert str(caught.value).startswith(f"{path}: ")
    fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(image, name="KER")]).writeto(path, overwrite=True)
    with pytest.raises(InputError, match=cause) as caught:
        read_kernel(path)
    assert str(caught.value).startswith(f"{path}[KER]: ")
    with pytest.raises(InputError, match=cause) as caught:
        MatchingKernel.from_array(image, "my kernel")
    assert str(caught.value).startswith("my kernel: ")


def test_array() -> None:
    image = a_kernel(4, 5)
    matching = MatchingKernel.from_array(image.astype(">f4"))
    assert isinstance(matching, MatchingKernel)
    assert matching.kernel.basis.dtype == np.dtype("=f8")
    np.testing.assert_array_equal(matching.kernel.at(3, 4), image.astype("f4"))
    assert MatchingKernel.from_array([[0, 1], [2, 3]]).kernel.sum_at(0, 0) == 6.0
    for other in (np.ones((3, 3), complex), np.full((3, 3), "a")):
        with pytest.raises(InputError, match="real numbers"):
            MatchingKernel.from_array(other)
