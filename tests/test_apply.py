"""Companion images convolved with the ψ of a run, from Python and through the command."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from scipy.ndimage import maximum_filter

from diffim_decorr import (
    DecorrelationKernel,
    Exposure,
    InputError,
    SpatialKernel,
    apply_psi,
    apply_psi_at,
    read_exposure,
    read_kernel,
    read_psf,
    read_psi,
)
from support.command import succeed
from support.data import JWST, needs_jwst
from support.files import has_plane, write_exposure
from support.kernels import gaussian
from support.noise import PLANES
from support.psi_runs import CONFIGURATIONS, NX, NY, SHAPE
from support.reference import convolved, widened


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_own_difference_becomes_own_result(psi_runs: Path, tmp_path: Path, name: str) -> None:
    """Bit for bit, where the same pixels are replaced: the mask of the result says which."""
    out = tmp_path / "out.fits"
    # Without the flags that the succeed itself has set, to see whether they are set again.
    with fits.open(psi_runs / f"{name}.fits") as hdus:
        kept = hdus["MASK"].data
        for plane in ("EDGE", "DECORR_BAD"):
            bit = next(value for key, value in hdus["MASK"].header.items() if key.endswith(f"MP_{plane}"))
            kept = kept & ~np.int32(1 << bit)
        fits.writeto(tmp_path / "mask.fits", kept, hdus["MASK"].header)
    succeed(psi_runs, "apply", "diff.fits", "--psi", f"{name}.fits", "--mask", tmp_path / "mask.fits", "-o", out)
    with fits.open(psi_runs / f"{name}.fits") as expected, fits.open(out) as made:
        np.testing.assert_array_equal(made["IMAGE"].data, expected["IMAGE"].data)
        assert np.isnan(made["IMAGE"].data[10, 12])
        assert "VARIANCE" not in made
        for plane in (*PLANES, "DECORR_BAD"):
            found = has_plane(expected["MASK"], plane)
            assert found.any() == (plane not in ("INTRP", "BAD", "DETECTED", "DETECTED_NEGATIVE")), plane
            differ = has_plane(made["MASK"], plane) != found
            # Of ψ varying over the field |ψ| is known to a thousandth: a pixel at the limit may fall on either side.
            assert differ.mean() <= (0 if name in ("constant", "narrow") else 1e-3), plane


def test_brute_force(psi_runs: Path, tmp_path: Path) -> None:
    """ψ at each position, summed over the pixels around it, those in replaced planes left out."""
    out = tmp_path / "out.fits"
    succeed(psi_runs, "apply", "sci.fits", "--psi", "step.fits", "-o", out)
    psi = read_psi(psi_runs / "step.fits")
    with fits.open(psi_runs / "sci.fits") as hdus:
        lost = (hdus["MASK"].data & (1 << PLANES["SAT"] | 1 << PLANES["CR"])) != 0
        image, variance = (np.where(lost, 0, hdus[name].data.astype(float)) for name in ("IMAGE", "VARIANCE"))
    margin = psi.half_width
    # Of ψ a tile may leave out what five times the noise makes a thousandth of it of.
    left_out = 5 * max(psi.simplified) * psi.variance**0.5
    image, variance = (np.pad(plane, margin) for plane in (image, variance))
    rng = np.random.default_rng(4)
    x, y = rng.integers(0, NX, 150), rng.integers(0, NY, 150)
    # At the saturated pixels, and in the strip where the depth of the template changes.
    x[:5], y[:5] = np.arange(28, 33), 20
    x[5:15] = NX // 2 + np.arange(-5, 5)
    with fits.open(out) as hdus:
        for px, py in zip(x, y, strict=True):
            window = slice(py, py + 2 * margin + 1), slice(px, px + 2 * margin + 1)
            kernel = psi.at(px, py)[::-1, ::-1]
            assert hdus["IMAGE"].data[py, px] == pytest.approx(
                (kernel * image[window]).sum(), abs=left_out + 2e-6 * 2.0
            )
            expected = (kernel**2 * variance[window]).sum()
            in_step = abs(px - NX / 2) < 16
            # Errors are relative to ψ² as a whole, also where most of it falls on replaced pixels.
            whole = 4 * (kernel**2).sum()
            assert abs(hdus["VARIANCE"].data[py, px] - expected) <= (1e-2 if in_step else 1e-3) * whole


def test_variance_is_that_of_white_noise(psi_runs: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.fits"
    succeed(psi_runs, "apply", "sci.fits", "--psi", "spatial.fits", "-o", out)
    with fits.open(out) as hdus:
        clear = hdus["MASK"].data == 0
        snr = hdus["IMAGE"].data[clear] / np.sqrt(hdus["VARIANCE"].data[clear])
    # Pixels of ψ ⊗ white noise are correlated: their number counts for about Σψ² / Σ(ψ⋆ψ)² of it, more than a third.
    assert snr.std() == pytest.approx(1, abs=4 / np.sqrt(2 * clear.sum() / 3))


def test_companions_add_up(psi_runs: Path, tmp_path: Path) -> None:
    """The convolved science image less the convolved matched template is the decorrelated difference."""
    with fits.open(psi_runs / "sci.fits") as hdus:
        science = hdus["IMAGE"].data
    with fits.open(psi_runs / "diff.fits") as hdus:
        difference = hdus[0].data
        matched = science - difference
        matched[10, 12] = 0
        fits.writeto(tmp_path / "matched.fits", matched)
    for name in ("sci", "matched"):
        path = psi_runs / "sci.fits" if name == "sci" else tmp_path / "matched.fits"
        succeed(
            psi_runs,
            "apply",
            path,
            "--psi",
            "spatial.fits",
            "--mask",
            "spatial.fits",
            "-o",
            tmp_path / f"out_{name}.fits",
        )
    with fits.open(psi_runs / "spatial.fits") as hdus:
        expected = hdus["IMAGE"].data
    total = fits.getdata(tmp_path / "out_sci.fits", "IMAGE") - fits.getdata(tmp_path / "out_matched.fits", "IMAGE")
    known = np.isfinite(expected)
    psi = read_psi(psi_runs / "spatial.fits")
    # Of ψ a tile may leave out what five times the noise makes a thousandth of it of, in each of the three; and single
    # precision keeps 6e-8 of a star, in what is given and in what comes out.
    left_out = 5 * max(psi.simplified) * psi.variance**0.5
    assert left_out <= 1.001e-3 * psi.variance**0.5
    tolerance = 3 * left_out + 2e-7 * maximum_filter(np.abs(matched), 2 * psi.half_width + 1)
    assert (np.abs(total - expected) <= tolerance)[known].all()


def test_defects_are_flagged(psi_runs: Path, tmp_path: Path) -> None:
    """As in a succeed: what is missing stays missing, what is masked stays masked, and neighbours are told."""
    image, mask = np.random.default_rng(5).normal(size=SHAPE).astype("f4"), np.zeros(SHAPE, "i4")
    image[30, 100], image[60, 300] = np.nan, 1e6
    mask[60, 300] = 1 << PLANES["SAT"]
    mask[70, 600] = 1 << PLANES["DETECTED"]
    write_exposure(tmp_path / "image.fits", image, np.ones(SHAPE), mask)
    # Neighbours of a pixel have half a per cent of Σ|ψ|.
    succeed(tmp_path, "apply", "image.fits", "--psi", psi_runs / "spatial.fits", "--bad-fraction", "0.003")
    with fits.open(tmp_path / "image_decorr.fits") as hdus:
        result, variance, planes = (hdus[name].data for name in ("IMAGE", "VARIANCE", "MASK"))
        assert np.isnan(result).sum() == np.isnan(variance).sum() == 1
        assert np.isnan(result[30, 100])
        assert has_plane(hdus["MASK"], "NO_DATA").sum() == 1
        assert has_plane(hdus["MASK"], "NO_DATA")[30, 100]
        assert ((planes & mask) == mask).all()
        bad = has_plane(hdus["MASK"], "DECORR_BAD")
        assert bad[30, 101]
        assert bad[60, 301]
        assert not bad[70, 601]
        assert np.nanmax(np.abs(result)) < 20
        edge = has_plane(hdus["MASK"], "EDGE")
        assert edge[0].all()
        assert not edge[NY // 2, NX // 2]


def test_run_options_are_taken_over_and_overruled(psi_runs: Path, tmp_path: Path) -> None:
    succeed(psi_runs, "apply", "sci.fits", "--psi", "narrow.fits", "-o", tmp_path / "a.fits")
    succeed(psi_runs, "apply", "sci.fits", "--psi", "narrow.fits", "--replace-planes", "none", "--bad-fraction", "0.5",
        "-o", tmp_path / "b.fits")  # fmt: skip
    a, b = (fits.getheader(tmp_path / f"{name}.fits") for name in "ab")
    assert (a["DCREPPL"], a["DCBADFRC"]) == ("SAT", 0.03)
    assert (b["DCREPPL"], b["DCBADFRC"]) == ("none", 0.5)
    with fits.open(tmp_path / "a.fits") as first, fits.open(tmp_path / "b.fits") as second:
        assert has_plane(first["MASK"], "DECORR_BAD").any()
        assert not has_plane(second["MASK"], "DECORR_BAD").any()
        assert (first["IMAGE"].data[20, 28:36] != second["IMAGE"].data[20, 28:36]).all()


def test_any_size_with_a_constant_psi(psi_runs: Path, tmp_path: Path) -> None:
    image = np.random.default_rng(6).normal(size=(50, 60))
    fits.writeto(tmp_path / "cutout.fits", image)
    succeed(tmp_path, "apply", "cutout.fits", "--psi", psi_runs / "constant.fits", "-o", "out.fits")
    psi = read_psi(psi_runs / "constant.fits").at(0, 0)
    np.testing.assert_allclose(fits.getdata(tmp_path / "out.fits", "IMAGE"), convolved(image, psi), atol=3e-6)


def test_psf_goes_with_the_image(psi_runs: Path, tmp_path: Path) -> None:
    succeed(psi_runs, "apply", "sci.fits", "--psi", "spatial.fits", "--psf", "psf.fits", "-o", tmp_path / "out.fits")
    np.testing.assert_allclose(
        fits.getdata(tmp_path / "out.fits", "PSF"), fits.getdata(psi_runs / "spatial.fits", "PSF"), rtol=0, atol=1e-9
    )


def test_compressed_output_and_psi(psi_runs: Path, tmp_path: Path) -> None:
    succeed(
        psi_runs,
        "run",
        "sci.fits",
        "tmpl.fits",
        "diff.fits",
        *CONFIGURATIONS["spatial"],
        "-o",
        tmp_path / "run.fits.fz",
    )
    succeed(psi_runs, "apply", "diff.fits", "--psi", tmp_path / "run.fits.fz", "--mask", tmp_path / "run.fits.fz",
        "-o", tmp_path / "out.fits.fz")  # fmt: skip
    np.testing.assert_array_equal(
        fits.getdata(tmp_path / "out.fits.fz", "IMAGE"), fits.getdata(psi_runs / "spatial.fits", "IMAGE")
    )


def test_python_gives_the_same_pixels(psi_runs: Path, tmp_path: Path) -> None:
    succeed(psi_runs, "apply", "sci.fits", "--psi", "step.fits", "--threads", "1", "-o", tmp_path / "out.fits")
    result = apply_psi(read_exposure(psi_runs / "sci.fits"), read_psi(psi_runs / "step.fits"))
    with fits.open(tmp_path / "out.fits") as hdus:
        # To rounding, which the number of threads of the linear algebra library has a part in.
        np.testing.assert_allclose(result.image, hdus["IMAGE"].data, rtol=0, atol=1e-6 * 2.0)
        np.testing.assert_allclose(result.variance, hdus["VARIANCE"].data, rtol=1e-6)
        np.testing.assert_array_equal(result.mask, hdus["MASK"].data)


def test_inputs_are_not_modified(psi_runs: Path) -> None:
    image = np.random.default_rng(7).normal(size=SHAPE).astype("f4")
    image[5, 5] = np.nan
    before = image.copy()
    result = apply_psi(Exposure(image), read_psi(psi_runs / "spatial.fits"))
    np.testing.assert_array_equal(image, before)
    assert result.variance is None


def test_psf_that_varies_as_psi_does(psi_runs: Path) -> None:
    varying = read_kernel(psi_runs / "varying.fits").kernel
    psi = read_psi(psi_runs / "spatial.fits")
    result = apply_psi(Exposure(np.ones(SHAPE), psf=varying), psi)
    for x, y in ((0, 0), (17, 60), (NX - 1, NY - 1)):
        expected = convolved(widened(varying.at(x, y), result.psf.shape), psi.at(x, y))
        # What the grid of the result is as fine as, twice.
        np.testing.assert_allclose(result.psf.at(x, y), expected, atol=6e-4 * expected.max())
    result = apply_psi(Exposure(np.ones(SHAPE), psf=varying), read_psi(psi_runs / "constant.fits"))
    assert isinstance(result.psf, SpatialKernel)


@needs_jwst
def test_regions_of_a_hotpants_run(tmp_path: Path) -> None:
    name = "hotpants_diff_2x2_science_convolved.fits"
    succeed(tmp_path, "run", JWST / "sci.fits", JWST / "tmpl.fits", JWST / name, "--kernel", JWST / name, "--spatial",
        "--tolerance", "0.05", "-o", "run.fits")  # fmt: skip
    succeed(tmp_path, "apply", JWST / name, "--psi", "run.fits", "--mask", "run.fits", "-o", "out.fits")
    expected = fits.getdata(tmp_path / "run.fits", "IMAGE")
    assert np.isfinite(expected).sum() > 1e5
    np.testing.assert_array_equal(fits.getdata(tmp_path / "out.fits", "IMAGE"), expected)


# Small images at one position


def test_psf_at_a_position(psi_runs: Path, tmp_path: Path) -> None:
    """At the centre it is the PSF of the succeed; anywhere nothing is lost, and the WCS holds."""
    with fits.open(psi_runs / "psf.fits") as hdus:
        psf = hdus[0].data.astype(float)
    fits.writeto(tmp_path / "psf.fits", psf, fits.Header({"CRPIX1": 5.0, "CRPIX2": 5.0, "CTYPE1": "LINEAR"}))
    succeed(
        tmp_path,
        "apply",
        "psf.fits",
        "--psi",
        psi_runs / "spatial.fits",
        "--at",
        (NX - 1) / 2,
        (NY - 1) / 2,
        "-o",
        "c.fits",
    )
    centre = read_psf(psi_runs / "spatial.fits").at((NX - 1) / 2, (NY - 1) / 2)
    # The succeed has its PSF on a grid.
    np.testing.assert_allclose(fits.getdata(tmp_path / "c.fits"), centre * psf.sum(), atol=6e-4 * centre.max())
    succeed(
        tmp_path, "apply", "psf.fits", "--psi", psi_runs / "spatial.fits", "--at", 3, 80, "-o", "c.fits", "--overwrite"
    )
    kernel = read_psi(psi_runs / "spatial.fits")
    corner, header = fits.getdata(tmp_path / "c.fits", header=True)
    margin = kernel.half_width
    np.testing.assert_allclose(corner, convolved(np.pad(psf, margin), kernel.at(3, 80)), atol=1e-12)
    assert corner.sum() == pytest.approx(psf.sum(), rel=1e-6)
    assert (header["CRPIX1"], header["CRPIX2"]) == (5 + margin, 5 + margin)
    assert (header["DCATX"], header["DCATY"], header["DCIMAGE"]) == (3, 80, "psf.fits")


def test_even_sizes_keep_their_centre(psi_runs: Path) -> None:
    """The centre of a kernel or PSF is at index (h // 2, w // 2)."""
    psi = read_psi(psi_runs / "constant.fits")
    point = np.zeros((6, 8))
    point[3, 4] = 1
    result = apply_psi_at(point, psi, 5, 5)
    height, width = result.shape
    assert np.unravel_index(np.argmax(result), result.shape) == (height // 2, width // 2)


def test_frames_of_lsst(psi_runs: Path) -> None:
    psi = read_psi(psi_runs / "spatial.fits")
    moved = DecorrelationKernel(psi.kernel, psi.shape, xy0=(100, 200))
    apply_psi(Exposure(np.ones(SHAPE), xy0=(100, 200)), moved)
    with pytest.raises(InputError, match=r"begins at \(100, 201\) of its parent frame"):
        apply_psi(Exposure(np.ones(SHAPE), xy0=(100, 201)), moved)


@pytest.mark.parametrize("pixel", [0.0, 1.0])
def test_image_of_one_value_and_noise_that_is_not_known(pixel: float) -> None:
    """A psi without the variance of its run says nothing of what is bright: what is the same everywhere stays so."""
    psi = DecorrelationKernel(SpatialKernel.constant(gaussian(7, 1.0)), (60, 50))
    image = apply_psi(Exposure(np.full((60, 50), pixel, np.float32)), psi).image
    np.testing.assert_allclose(image[5:-5, 5:-5], pixel, rtol=1e-5)
