"""What a file holds, as everything reads it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from diffim_decorr import InputError, write_grid_kernel
from diffim_decorr.contents import contents_of
from diffim_decorr.io.extensions import exposures_in
from support.files import SHAPE, image_hdu, write_hdus
from support.hotpants import hotpants_kernel
from support.kernels import gaussian
from support.psfs import gaussian_grid, psfex_file

NOISE = np.random.default_rng(1).normal(0, 2, (80, 96)).astype("f4")


def test_an_exposure_with_its_planes(inputs: Path) -> None:
    found = contents_of(inputs / "sci.fits")
    assert found["kind"] == "exposure"
    assert [hdu["name"] for hdu in found["hdus"]] == ["", "IMAGE", "MASK", "VARIANCE"]
    exposure = found["exposure"]
    assert exposure["shape"] == list(SHAPE)
    assert exposure["noise"] == {"plane": f"{inputs}/sci.fits[VARIANCE]", "as": "variance"}
    assert exposure["mask"] == f"{inputs}/sci.fits[MASK]"
    planes = {plane["name"]: plane for plane in exposure["planes"]}
    assert (planes["SAT"]["pixels"], planes["CR"]["pixels"]) == (4, 2)
    assert planes["SAT"]["bad"]
    assert planes["SAT"]["replaced"]
    assert not planes["DETECTED"]["replaced"]
    assert found["remarks"] == []
    assert found["use"][0]["for"] == "SCI, TMPL, DIFF"
    assert "variance" in found["use"][0]["used"]


def test_the_sky_and_the_unit(inputs: Path) -> None:
    exposure = contents_of(inputs / "diff.fits")["exposure"]
    assert exposure["unit"] == "adu"
    assert exposure["noise"] is exposure["mask"] is None
    # The reference pixel (48.5, 40.5), counted from 1, is the middle.
    assert exposure["sky"]["ra"] == pytest.approx(150.1, abs=1e-9)
    assert exposure["sky"]["dec"] == pytest.approx(2.2, abs=1e-9)
    assert exposure["sky"]["pixel_arcsec"] == pytest.approx(5.5e-5 * 3600, rel=1e-3)


def test_an_output(outputs: Path) -> None:
    found = contents_of(outputs / "made" / "spatial.fits")
    assert found["kind"] == "result"
    assert found["verdict"]["status"] in ("ok", "check", "fail")
    with fits.open(outputs / "made" / "spatial.fits") as hdus:
        modes, height, _ = hdus["PSI_BASIS"].data.shape if hdus["PSI_BASIS"].data.ndim == 3 else (1, *hdus[4].shape)
    assert (found["psi"]["modes"], found["psi"]["half_width"]) == (modes, height // 2)
    assert {use["for"] for use in found["use"]} == {"snr, measure, qa", "apply, kernel"}


def test_a_difference_with_its_kernel(tmp_path: Path) -> None:
    kernel = hotpants_kernel(SHAPE, seed=1)
    kernel.write(tmp_path / "diff.fits", NOISE)
    found = contents_of(tmp_path / "diff.fits")
    assert found["kind"] == "exposure"
    assert (found["kernel"]["format"], found["kernel"]["convolved"]) == ("hotpants", ["template"])
    assert {"for": "DIFF without -k", "used": "the kernel inside"} in found["use"]


def test_kernels_and_psfs_are_told_from_exposures(tmp_path: Path) -> None:
    lobed = gaussian(15, 1.4) - 0.2 * gaussian(15, 3.0)
    fits.writeto(tmp_path / "image.fits", lobed)
    fits.writeto(tmp_path / "psf.fits", gaussian(21, 2.0))
    fits.writeto(tmp_path / "wide.fits", gaussian(131, 4.0))
    fits.writeto(tmp_path / "cut.fits", NOISE[:48, :48])
    gaussian_grid(tmp_path / "psfs.fits")
    psfex_file(tmp_path / "model.psf", gaussian(25, 2.0)[None], 1.0)
    write_grid_kernel(tmp_path / "grid.fits", [lobed] * 4, [0, 95, 0, 95], [0, 0, 79, 79])
    kinds = {path.name: contents_of(path)["kind"] for path in tmp_path.iterdir()}
    assert kinds == {
        "image.fits": "kernel", "psf.fits": "psf", "wide.fits": "psf", "cut.fits": "exposure", "psfs.fits": "psf",
        "model.psf": "psf", "grid.fits": "kernel",
    }  # fmt: skip
    # Between a PSF and a kernel that is positive everywhere nothing decides but its user.
    doubtful = contents_of(tmp_path / "psf.fits")
    assert {use["for"] for use in doubtful["use"]} == {"--kernel", "--psf"}
    assert "looks like a PSF" in doubtful["remarks"][0]
    assert doubtful["psf"]["fwhm"] == pytest.approx(2.0 * 2.3548, rel=0.02)
    assert contents_of(tmp_path / "grid.fits")["kernel"]["field"] is not None


def test_several_exposures(tmp_path: Path) -> None:
    hdus = [image_hdu(NOISE + k, "SCI", k) for k in (1, 2, 3)]
    path = write_hdus(tmp_path / "mosaic.fits", *hdus)
    found = contents_of(path)
    assert (found["kind"], found["exposures"]) == ("mosaic", ["SCI", "SCI,2", "SCI,3"])
    assert {"for": "--all-ext", "used": "all 3 exposures"} in found["use"]
    assert "are left out" in found["remarks"][0]
    one = contents_of(f"{path}[SCI,2]")
    assert (one["kind"], one["exposure"]["image"]) == ("exposure", f"{path}[SCI,2]")


def test_planes_that_lsst_tells_apart_are_one_exposure(tmp_path: Path) -> None:
    """They have no names; --all-ext took each of them for an exposure."""
    planes = [image_hdu(NOISE, EXTTYPE="IMAGE"), image_hdu(np.zeros(SHAPE, "i4"), EXTTYPE="MASK", MP_SAT=1)]
    path = write_hdus(tmp_path / "calexp.fits", *planes, image_hdu(np.full(SHAPE, 4, "f4"), EXTTYPE="VARIANCE"))
    found = contents_of(path)
    assert (found["kind"], found["exposure"]["layout"]) == ("exposure", "LSST's, by EXTTYPE")
    assert found["exposure"]["noise"] == {"plane": f"{path}[3]", "as": "variance"}
    assert [*exposures_in(path)] == ["1"]


def test_planes_and_tables(tmp_path: Path) -> None:
    write_hdus(tmp_path / "noise.fits", image_hdu(np.abs(NOISE), "ERR"))
    (tmp_path / "positions.csv").write_text("ra,dec\n1,2\n3,4\n")
    assert contents_of(tmp_path / "noise.fits")["kind"] == "plane"
    table = contents_of(tmp_path / "positions.csv")
    assert (table["kind"], table["rows"], table["columns"]) == ("table", 2, ["ra", "dec"])


def test_what_is_wrong_with_an_image_is_said(tmp_path: Path) -> None:
    write_hdus(tmp_path / "empty.fits", image_hdu(np.full(SHAPE, np.nan, "f4"), "SCI"))
    found = contents_of(tmp_path / "empty.fits")
    assert "exposure" not in found
    assert any("not one pixel of the image holds data" in remark for remark in found["remarks"])
    with pytest.raises(InputError, match="no such file"):
        contents_of(tmp_path / "none.fits")
