"""Units in which variances do not fit single precision: images in erg/s/cm2/Hz, or in very small units."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from diffim_decorr import Contribution, Exposure, InputError, apply_psi, decorrelate
from diffim_decorr.images.units import working_unit
from support.command import OUT, refused, succeed, told
from support.files import INPUTS, LAYOUTS, WHERE, make_inputs, sound
from support.kernels import gaussian
from support.noise import noise_pair
from support.reference import convolved

KERNEL = gaussian(9, 1.4)
SHAPE = (120, 130)
SVAR, TVAR = 4.0, 2.25
SMALL, LARGE = 2.0**-82, 2.0**70  # 2e-25 and 1e21, whose squares single precision does not hold


def images(unit: float) -> list[np.ndarray]:
    science, template = noise_pair(3, SHAPE, SVAR, TVAR)
    science[50:54, 60:64] = -7.25 * 2**10  # a value for missing data
    pair = [(image * unit).astype("f4") for image in (science, template)]
    return [*pair, ((science - convolved(template, KERNEL)) * unit).astype("f4")]


def run(unit: float, variances: bool = True, **options: object):
    made = [
        Exposure(image, variance, missing_value=-7.25 * 2**10 * unit)
        for image, variance in zip(
            images(unit), (SVAR * unit**2, TVAR * unit**2, None) if variances else (None,) * 3, strict=True
        )
    ]
    return decorrelate(*made, KERNEL, **options)


@pytest.mark.parametrize("unit", [SMALL, LARGE])
@pytest.mark.parametrize(
    "options", [{}, {"spatial": True}, {"noise": "measured"}, {"variance": "estimate"}, {"variances": False}], ids=str
)
def test_the_unit_changes_nothing(unit: float, options: dict[str, object]) -> None:
    """Powers of two keep every digit."""
    usual, result = run(1.0, **options), run(unit, **options)
    assert result.exposure.image.dtype == np.float32
    np.testing.assert_array_equal(result.exposure.image / np.float32(unit), usual.exposure.image)
    np.testing.assert_allclose(result.exposure.variance / unit**2, usual.exposure.variance, rtol=1e-6)
    np.testing.assert_array_equal(result.exposure.mask, usual.exposure.mask)
    assert result.record.noise.svar / unit**2 == pytest.approx(usual.record.noise.svar, rel=1e-9)
    assert result.qa.snr_std == pytest.approx(usual.qa.snr_std, rel=1e-6)
    assert len(result.warnings) == len(usual.warnings)


@pytest.mark.parametrize("unit", [SMALL, LARGE])
def test_planes_arrays_and_figures_may_be_of_such_numbers(unit: float) -> None:
    """Planes in double precision; variances that are given; and the images of a stack."""
    usual = run(1.0)
    science, template, difference = images(unit)
    missing = -7.25 * 2**10 * unit
    planes = [np.full(SHAPE, v * unit**2) for v in (SVAR, TVAR)]
    inputs = [Exposure(i, v, missing_value=missing) for i, v in zip((science, template), planes, strict=True)]
    plain = [Exposure(i, missing_value=missing) for i in (science, template, difference)]
    stack = [
        Contribution("science", inputs[0]),
        *(Contribution("template", noise=(2 * TVAR) ** 0.5 * unit) for _ in range(2)),
    ]
    for result in (
        decorrelate(*inputs, plain[2], KERNEL),
        decorrelate(*plain, KERNEL, svar=SVAR * unit**2, tvar=TVAR * unit**2),
        decorrelate(*inputs, plain[2], KERNEL, contributions=stack),
    ):
        np.testing.assert_allclose(result.exposure.variance / unit**2, usual.exposure.variance, rtol=1e-4)
        assert result.record.noise.tvar / unit**2 == pytest.approx(TVAR, rel=1e-9)


def test_companions_of_such_images() -> None:
    usual, result = run(1.0), run(SMALL)
    for unit, own in ((1.0, usual), (SMALL, result)):
        same = apply_psi(Exposure(images(unit)[2], SVAR * unit**2), own.decorrelation_kernel)
        if unit == 1:
            expected = same
    np.testing.assert_array_equal(same.image / np.float32(SMALL), expected.image)
    np.testing.assert_allclose(same.variance / SMALL**2, expected.variance, rtol=1e-6)


@pytest.mark.parametrize("unit", [1e-40, 1e35])
def test_pixels_that_do_not_fit_themselves_are_refused(unit: float) -> None:
    made = [Exposure(np.random.default_rng(1).normal(size=SHAPE) * unit, name="sci.fits") for _ in range(3)]
    with pytest.raises(InputError, match=r"sci\.fits: its noise is of .*multiply"):
        decorrelate(*made, KERNEL)


def test_usual_units_are_left_alone() -> None:
    for unit in (1e-10, 1.0, 1e6):
        assert working_unit([Exposure(image) for image in images(unit)]) == 1
    assert working_unit([Exposure(np.ones(SHAPE))]) == 1


# Files


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The usual inputs in a unit of 1e-25, with standard deviations in single precision."""
    make_inputs(tmp_path)
    for name, sigma in (("sci", 2.0), ("tmpl", 1.5), ("diff", None)):
        with fits.open(tmp_path / f"{name}.fits") as hdus:
            image = next(hdu.data for hdu in hdus if hdu.data is not None)
            header = hdus[0].header if sigma is None else None
            fits.writeto(tmp_path / f"{name}.fits", image * np.float32(1e-25), header, overwrite=True)
            if sigma is not None:
                fits.writeto(tmp_path / f"{name}_sigma.fits", np.full(image.shape, sigma * 1e-25, "f4"))
    return tmp_path


NOISE = ("--sci-noise", "sci_sigma.fits", "--tmpl-noise", "tmpl_sigma.fits")


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("name", ["out.fits", "out.fits.fz", "out.fits.gz"])
def test_variances_are_written_as_they_are(folder: Path, layout: str, name: str) -> None:
    """In double precision, so that everything that reads FITS has them; standard deviations fit in single."""
    said = told(folder, "run", *INPUTS, *NOISE, "-o", name, "--layout", layout)
    assert said["noise"]["svar"] == pytest.approx(4e-50, rel=1e-6)
    assert said["warnings"] == []
    suffix, hdu = WHERE[layout][2]
    file = folder / name.replace("out", f"out{suffix}")
    ending = 1 if hdu == 0 and name.endswith(".fz") else hdu
    values = fits.getdata(file, ending)
    sigma = layout == "sci-err-dq"
    assert values.dtype.itemsize == (4 if sigma else 8)
    # Far from edges: what the kernel's sum makes of the two variances (the noise of large scales).
    total = np.median((values.astype(float) ** 2 if sigma else values)[25:-25, 25:-25])
    assert total == pytest.approx((2.0**2 + 1.5**2) * 1e-50, rel=1e-3)
    if not name.endswith(".fz"):
        assert fits.getval(folder / name, "DCSVAR") == pytest.approx(4e-50, rel=1e-6)
    sound(file)


def test_such_outputs_are_inputs(folder: Path) -> None:
    succeed(folder, "run", *INPUTS, *NOISE, *OUT)
    succeed(folder, "apply", "sci.fits", "--psi", "out.fits", "--noise", "sci_sigma.fits", "-o", "companion.fits")
    with fits.open(folder / "companion.fits") as hdus, fits.open(folder / "out.fits") as psi:
        # ψ² ⊗ V of a constant V
        square = (psi["PSI_BASIS"].data[0].astype(float) ** 2).sum()
        weight = psi["PSI_COEFFS"].data["VALUES"].ravel()[0]
        variance = np.median(hdus["VARIANCE"].data[25:-25, 25:-25])
    assert variance == pytest.approx(4e-50 * square * weight**2, rel=1e-3)


def test_a_plane_that_single_precision_made_zero_is_refused_with_the_remedy(folder: Path) -> None:
    with np.errstate(under="ignore"):
        fits.writeto(folder / "var.fits", np.full((80, 96), 4e-50).astype("f4"))
    refused(folder, ("sci.fits", "single precision"), "run", *INPUTS, "--sci-variance", "var.fits", *OUT)
